-- kine's table in partitions by the folder of the key, made before kine is (psql; `user` logs in, `partitions` are folders with commas between).
-- kine makes its indexes by itself and takes the table as it is.
SET ROLE :"user";
SELECT to_regclass('public.kine') IS NULL AS fresh \gset
\if :fresh
BEGIN;
CREATE TABLE kine (
  id BIGSERIAL, name text COLLATE "C", created INTEGER, deleted INTEGER, create_revision BIGINT, prev_revision BIGINT, lease INTEGER,
  value bytea, old_value bytea, CONSTRAINT kine_id_name_pkey PRIMARY KEY (id, name)
) PARTITION BY RANGE (name);
CREATE TABLE kine_others PARTITION OF kine DEFAULT;
SELECT format('CREATE TABLE %I PARTITION OF kine FOR VALUES FROM (%L) TO (%L)', 'kine_part_' || folder, '/registry/' || folder || '/', '/registry/' || folder || '0')
  FROM unnest(string_to_array(:'partitions', ',')) AS folder \gexec
-- A partitioned table cannot keep revisions unique, since its key must hold the name as well. kine rests on that: it fills a gap by taking
-- the revision, and whoever comes late with the same one must fail at a constraint of this very name, and tries again.
CREATE TABLE kine_ids (id BIGINT CONSTRAINT kine_pkey PRIMARY KEY);
CREATE FUNCTION kine_ids_taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.kine_ids VALUES (NEW.id); RETURN NEW; END $$;
CREATE FUNCTION kine_ids_free() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.kine_ids WHERE id = OLD.id; RETURN OLD; END $$;
CREATE TRIGGER kine_ids_taken BEFORE INSERT ON kine FOR EACH ROW EXECUTE FUNCTION kine_ids_taken();
CREATE TRIGGER kine_ids_free AFTER DELETE ON kine FOR EACH ROW EXECUTE FUNCTION kine_ids_free();
COMMIT;
\endif
