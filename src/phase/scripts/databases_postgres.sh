# $1: who logs in, $2: what makes a table in partitions; the other arguments are the databases, as NAME or NAME=FOLDER,FOLDER for a table in
# partitions. The server may still be on its way up.
set -e
user=$1
partitioned=$2
shift 2
sql() {
  runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -v user="$user" "$@"
}
cd /
tries=240
until sql -d postgres -c 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ]; then
    sql -d postgres -c 'SELECT 1' || :
    journalctl --no-pager --lines=15 --unit='postgresql*' >&2 || :
    exit 1
  fi
  sleep 0.25
done
# The user may not drop a database, and sees no other. kine makes its table by itself.
sql -d postgres <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'user') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
SQL
for wanted in "$@"; do
  database=${wanted%%=*}
  sql -d postgres -v database="$database" <<'SQL'
SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8'' LC_COLLATE ''C'' LC_CTYPE ''C''', :'database')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"user";
SQL
  sql -d "$database" <<'SQL'
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO :"user";
SQL
  if [ "$database" != "$wanted" ]; then
    printf '%s\n' "$partitioned" | sql -d "$database" -v partitions="${wanted#*=}"
  fi
done
