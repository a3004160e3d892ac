-- kine's own table (v0.16.4, pkg/drivers/mysql/mysql.go).
CREATE TABLE IF NOT EXISTS kine (
  id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii, created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED,
  prev_revision BIGINT UNSIGNED, lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id),
  INDEX kine_name_index (name), INDEX kine_name_id_index (name, id), INDEX kine_id_deleted_index (id, deleted),
  INDEX kine_prev_revision_index (prev_revision), UNIQUE INDEX kine_name_prev_revision_uindex (name, prev_revision)
);
