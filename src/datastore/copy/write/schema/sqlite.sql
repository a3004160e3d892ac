-- kine's own table (v0.16.4, pkg/drivers/sqlite/sqlite.go).
CREATE TABLE kine (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created INTEGER, deleted INTEGER, create_revision INTEGER, prev_revision INTEGER, lease INTEGER,
  value BLOB, old_value BLOB
);
CREATE INDEX kine_name_index ON kine (name);
CREATE INDEX kine_name_id_index ON kine (name, id);
CREATE INDEX kine_id_deleted_index ON kine (id, deleted);
CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision);
CREATE INDEX kine_id_compact_rev_key_with_prev_revision_index ON kine (id, name, prev_revision) WHERE name != 'compact_rev_key' AND prev_revision != 0;
