# Database servers on lab hosts, as an administrator would set them up by hand, and the bad states that such servers get into.
# servers/NAME holds what a test needs to log in: ca.crt, client.crt, client.key, password; `lab` reads engine, primary and pool there.
# shellcheck shell=bash disable=SC2154

tls=/etc/ssl/kine

server() {
  local name=${1:-} engine=${2:-} pool='' primary=''
  [ $# -ge 2 ] || die "server NAME postgres|mariadb|mysql [--pgbouncer session|transaction] [--standby-of NAME]"
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      --pgbouncer) pool=${2:-}; [[ $pool =~ ^(session|transaction)$ ]] || die "--pgbouncer session or transaction"; shift 2 ;;
      --standby-of) primary=${2:-}; server_exists "$primary"; shift 2 ;;
      *) die "server does not know $1" ;;
    esac
  done
  host_exists "$name"
  [[ $engine =~ ^(postgres|mariadb|mysql)$ ]] || die "$engine: an engine is postgres, mariadb or mysql"
  [ "$engine" = postgres ] || [ -z "$pool$primary" ] || die "--pgbouncer and --standby-of are for postgres"
  [ -z "$primary" ] || [ "$(server_value "$primary" engine)" = postgres ] || die "$primary is no PostgreSQL server"
  [ ! -e "$LAB/servers/$name" ] || die "$name is a server already; lab down $name, and a fresh one"
  locked "host-$name" server_make "$name" "$engine" "$pool" "$primary"
}

# A server that is half made leaves no credentials.
server_make() {
  local name=$1 engine=$2 pool=$3 primary=$4 folder=$LAB/servers/$1.part
  rm -rf "$folder"; mkdir -p "$LAB/servers"; umask 077; mkdir "$folder"
  echo "$engine" >"$folder/engine"
  credentials "$folder" "$name" "$primary"
  "install_$engine" "$name"
  certificates "$name" "$folder"
  if [ -n "$primary" ]; then
    echo "$primary" >"$folder/primary"
    configure_postgres "$name"; follow "$name" "$primary"
  else
    "configure_$engine" "$name"; "accounts_$engine" "$name" "$folder"
  fi
  if [ -n "$pool" ]; then pgbouncer "$name" "$pool"; echo "$pool" >"$folder/pool"; fi
  mv "$folder" "$LAB/servers/$name"
}

server_exists() { [ -f "$LAB/servers/${1:-}/engine" ] || die "\`${1:-}\` is no server; lab server NAME ENGINE makes one"; }
# server_value NAME engine|primary|pool
server_value() { cat "$LAB/servers/$1/$2" 2>/dev/null || cat "$LAB/servers/$1.part/$2" 2>/dev/null || true; }

# as_root NAME COMMAND...
as_root() { local name=$1; shift; log_in "$name" "sudo -n $(printf '%q ' "$@")"; }
# put NAME FILE GROUP: standard input becomes a file that root writes and the group reads.
put() { as_root "$1" install -m 640 -g "$3" /dev/stdin "$2"; }
packages() {
  local name=$1; shift
  as_root "$name" bash -ec 'export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; apt-get install -y -qq --no-install-recommends "$@"' packages "$@" \
    >"$LAB/servers/$name.log" 2>&1 </dev/null || die "$name: apt-get failed: $(tail -n 3 "$LAB/servers/$name.log")"
  rm -f "$LAB/servers/$name.log"
}
# sql NAME [DATABASE]: statements from standard input, as the server's administrator.
sql() {
  case $(server_value "$1" engine) in
    postgres) as_root "$1" su - postgres -c "psql -XqAt -v ON_ERROR_STOP=1 -d ${2:-postgres}" ;;
    *) as_root "$1" mysql -N "${2:-mysql}" ;;
  esac
}
# systemd refuses a fifth start within ten seconds, unless told to forget the others.
restart() {
  local unit=${2:-}
  if [ -z "$unit" ]; then unit=$(server_value "$1" engine); unit=${unit/%postgres/postgresql}; fi
  as_root "$1" sh -c "systemctl reset-failed '$unit*'; systemctl restart $unit"
}
# PostgreSQL takes most settings while it runs; the others are restarted for all.
reload() { if [ "$(server_value "$1" engine)" = postgres ]; then as_root "$1" systemctl reload postgresql; else restart "$1"; fi; }

# Every letter of the password that an address, a shell or a file format could trip over is in it.
credentials() {
  local folder=$1 name=$2 primary=$3 ip; ip=$(host_value "$name" IP)
  if [ -n "$primary" ]; then
    cp "$LAB/servers/$primary"/{ca.crt,ca.key,client.crt,client.key,password} "$folder"
  else
    printf '%s%s\n' "p@ss:w/rd?#%&=+'\"\$" "$(tr -dc 'a-zA-Z' </dev/urandom | head -c 24 || true)" >"$folder/password"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$folder/ca.key" -out "$folder/ca.crt" -days 30 \
      -subj "/CN=databases of $name" -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    key "$folder/client.key"
    certify "$folder" client kinecert '' 1
  fi
  key "$folder/server.key"
  certify "$folder" server "$name" "IP:$ip,DNS:$name.lab.internal" 1
  certify "$folder" expired "$name" "IP:$ip,DNS:$name.lab.internal" -2
  certify "$folder" other-name "other.lab.internal" "DNS:other.lab.internal" 1
}
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out "$1"; }

# certify FOLDER NAME COMMON-NAME SAN DAY: valid from the day before for 30 days, or for one where DAY is past. All of a server's have one key.
# `openssl x509` would begin it now, and a certificate that ends before it begins fails as malformed, not as expired.
certify() {
  local folder=$1 file=$1/$2.crt cn=$3 san=$4 day=$5 key=$1/server.key use=serverAuth end
  if [ "$2" = client ]; then key=$1/client.key use=clientAuth; fi
  end=$((day + 29)); [ "$day" -gt 0 ] || end=$((day + 1))
  : >"$folder/index"
  printf '%s\n' '[ca]' 'default_ca=it' '[it]' "database=$folder/index" "new_certs_dir=$folder" 'rand_serial=yes' 'unique_subject=no' 'default_md=sha256' \
    'policy=any' 'x509_extensions=leaf' '[any]' 'commonName=supplied' '[leaf]' 'basicConstraints=CA:FALSE' 'keyUsage=digitalSignature' \
    "extendedKeyUsage=$use" "${san:+subjectAltName=$san}" >"$folder/ca.conf"
  openssl req -new -key "$key" -subj "/CN=$cn" |
    openssl ca -batch -notext -config "$folder/ca.conf" -cert "$folder/ca.crt" -keyfile "$folder/ca.key" -in /dev/stdin -out "$file" \
      -startdate "$(date -u -d "$((day - 2)) days" +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d "$end days" +%Y%m%d%H%M%SZ)" 2>"$folder/openssl.log" ||
    die "openssl: $(cat "$folder/openssl.log")"
  rm -f "$folder"/{ca.conf,openssl.log,index*} "$folder"/[0-9A-F]*.pem
}

# The server reads current.crt, so that a break only has to turn a link.
certificates() {
  local name=$1 folder=$2 group; group=$(server_value "$name" engine); group=${group/mariadb/mysql}
  as_root "$name" install -d -m 755 $tls
  local file
  for file in ca.crt server.crt server.key expired.crt other-name.crt; do put "$name" "$tls/$file" "$group" <"$folder/$file"; done
  as_root "$name" ln -sfn server.crt $tls/current.crt
}
present() {
  local name=$1
  as_root "$name" ln -sfn "$2.crt" $tls/current.crt
  reload "$name"
  [ -z "$(server_value "$name" pool)" ] || restart "$name" pgbouncer
}

# Where a server reads one more file of settings. settings NAME TITLE: from standard input; none takes them away.
settings_file() {
  case $(server_value "$1" engine) in
    postgres) echo "$(postgres_folder "$1")/conf.d/lab-$2.conf" ;;
    mariadb) echo "/etc/mysql/mariadb.conf.d/99-lab-$2.cnf" ;;
    mysql) echo "/etc/mysql/mysql.conf.d/zz-lab-$2.cnf" ;;
  esac
}
settings() {
  local file text; text=$(cat); file=$(settings_file "$1" "$2" </dev/null)
  if [ -z "$text" ]; then as_root "$1" rm -f "$file"; else echo "$text" | as_root "$1" install -m 644 /dev/stdin "$file"; fi
}

# ---- PostgreSQL
install_postgres() { packages "$1" postgresql; }
postgres_folder() { as_root "$1" sh -c 'echo /etc/postgresql/*/main'; }

configure_postgres() {
  local name=$1
  settings "$name" server <<CONF
listen_addresses = '*'
password_encryption = 'scram-sha-256'
ssl = on
ssl_cert_file = '$tls/current.crt'
ssl_key_file = '$tls/server.key'
ssl_ca_file = '$tls/ca.crt'
CONF
  put "$name" "$(postgres_folder "$name")/pg_hba.conf" postgres <<HBA
local   all         postgres             peer
local   kine        root                 peer
local   kine        kine                 scram-sha-256
hostssl kine        kine       $LAB_NET.0/24 scram-sha-256
hostssl kine        kinecert   $LAB_NET.0/24 cert
hostssl replication replica    $LAB_NET.0/24 scram-sha-256
HBA
  restart "$name"
}

# Whoever logs in works as kine, so that its tables have one owner.
accounts_postgres() {
  { printf "CREATE ROLE kine LOGIN PASSWORD %s;\n" "$(literal "$(cat "$2/password")")"
    cat <<'SQL'
CREATE DATABASE kine OWNER kine;
REVOKE ALL ON DATABASE kine FROM PUBLIC;
CREATE ROLE kinecert LOGIN IN ROLE kine;
ALTER ROLE kinecert SET role = 'kine';
CREATE ROLE root LOGIN IN ROLE kine;
ALTER ROLE root SET role = 'kine';
SQL
  } | sql "$1"
}
# literal TEXT: an SQL string.
literal() { echo "'${1//\'/\'\'}'"; }

# PgBouncer gets the role's SCRAM secret: with the very same one it can hand the client's proof on, and knows no password itself.
pgbouncer() {
  local name=$1
  packages "$name" pgbouncer
  sql "$name" <<<"SELECT format('\"%s\" \"%s\"', rolname, rolpassword) FROM pg_authid WHERE rolname = 'kine'" | put "$name" /etc/pgbouncer/userlist.txt postgres
  pgbouncer_mode "$name" "$2"
}
pgbouncer_mode() {
  put "$1" /etc/pgbouncer/pgbouncer.ini postgres <<INI
[databases]
kine = host=/var/run/postgresql
[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir = /var/run/postgresql
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
client_tls_sslmode = require
client_tls_cert_file = $tls/current.crt
client_tls_key_file = $tls/server.key
pool_mode = $2
logfile = /var/log/postgresql/pgbouncer.log
pidfile = /var/run/postgresql/pgbouncer.pid
INI
  restart "$1" pgbouncer
}

# follow NAME PRIMARY: a hot standby, from a fresh copy of the primary; whatever NAME held is gone.
follow() {
  local name=$1 primary=$2 password; password=$(tr -dc 'a-zA-Z' </dev/urandom | head -c 24 || true)
  sql "$primary" <<SQL
DO \$\$ BEGIN IF to_regrole('replica') IS NULL THEN CREATE ROLE replica LOGIN REPLICATION; END IF; END \$\$;
ALTER ROLE replica PASSWORD '$password';
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '${name//-/_}' AND NOT active;
SQL
  as_root "$name" systemctl stop postgresql
  as_root "$name" sh -c 'rm -rf /var/lib/postgresql/*/main'
  echo "$(host_value "$primary" IP):*:*:*:$password" | as_root "$name" install -m 600 -o postgres /dev/stdin /var/lib/postgresql/.pgpass
  as_root "$name" su - postgres -c "pg_basebackup -D \$(echo /var/lib/postgresql/*)/main -R -X stream -C -S ${name//-/_} --checkpoint=fast \
    -d 'host=$(host_value "$primary" IP) user=replica sslmode=verify-full sslrootcert=$tls/ca.crt'"
  as_root "$name" systemctl start postgresql
}

# ---- MariaDB and MySQL
install_mariadb() { packages "$1" mariadb-server; }
install_mysql() { packages "$1" mysql-server; }
configure_mariadb() { configure_mysql "$1"; }
configure_mysql() {
  settings "$1" server <<CONF
[mysqld]
bind-address = *
skip-name-resolve
require_secure_transport = ON
ssl_ca = $tls/ca.crt
ssl_cert = $tls/current.crt
ssl_key = $tls/server.key
CONF
  restart "$1"
}
accounts_mariadb() { accounts_mysql "$@"; }
# root logs in through the socket by its own right in Debian.
accounts_mysql() {
  sql "$1" <<SQL
CREATE DATABASE kine;
CREATE USER kine@'$LAB_NET.%' IDENTIFIED BY $(literal "$(cat "$2/password")") REQUIRE SSL;
CREATE USER kinecert@'$LAB_NET.%' REQUIRE SUBJECT '/CN=kinecert';
GRANT ALL ON kine.* TO kine@'$LAB_NET.%';
GRANT ALL ON kine.* TO kinecert@'$LAB_NET.%';
SQL
}

# ---- Bad states
server_conditions='expired-certificate wrong-name read-only increment no-create few-connections other-cluster snapshot-isolation transaction-pooling promote'
server_change() {
  local verb=$1 name=${2:-} condition=${3:-}
  server_exists "$name"
  [[ " $server_conditions " == *" $condition "* ]] || die "no condition \`$condition\`; there are: $server_conditions"
  locked "host-$name" "server_$verb" "$name" "$condition" "$(server_value "$name" engine)"
}

server_break() {
  local name=$1 condition=$2 engine=$3
  case $condition:$engine in
    expired-certificate:*) present "$name" expired ;;
    wrong-name:*) present "$name" other-name ;;
    read-only:postgres) changed "$name" $condition "default_transaction_read_only = on" ;;
    read-only:mariadb) changed "$name" $condition "[mysqld]" "read_only = 1" ;;
    read-only:mysql) changed "$name" $condition "[mysqld]" "read_only = 1" "super_read_only = 1" ;;
    increment:m*) changed "$name" $condition "[mysqld]" "auto_increment_increment = 2" ;;
    few-connections:postgres) changed "$name" $condition "max_connections = 6" ;;
    few-connections:m*) changed "$name" $condition "[mysqld]" "max_connections = 6" ;;
    no-create:postgres) sql "$name" kine <<<"ALTER SCHEMA public OWNER TO postgres; REVOKE CREATE ON SCHEMA public FROM PUBLIC, kine;" ;;
    no-create:m*) sql "$name" <<<"REVOKE CREATE ON kine.* FROM kine@'$LAB_NET.%'; REVOKE CREATE ON kine.* FROM kinecert@'$LAB_NET.%';" ;;
    other-cluster:*) "other_cluster_$engine" | sql "$name" kine ;;
    snapshot-isolation:mariadb)
      [ -n "$(sql "$name" <<<"SHOW VARIABLES LIKE 'innodb_snapshot_isolation'")" ] || die "this MariaDB has no innodb_snapshot_isolation"
      changed "$name" $condition "[mysqld]" "innodb_snapshot_isolation = ON" ;;
    transaction-pooling:postgres) pooled "$name"; pgbouncer_mode "$name" transaction ;;
    promote:postgres) standby "$name"; sql "$name" <<<"SELECT pg_promote()" | grep -qx t || die "$name does not promote" ;;
    *) die "$engine does not know $condition" ;;
  esac
}

server_mend() {
  local name=$1 condition=$2 engine=$3
  case $condition:$engine in
    expired-certificate:*|wrong-name:*) present "$name" server ;;
    read-only:*|increment:m*|few-connections:*|snapshot-isolation:mariadb) changed "$name" "$condition" ;;
    no-create:postgres) sql "$name" kine <<<"ALTER SCHEMA public OWNER TO pg_database_owner; GRANT CREATE ON SCHEMA public TO pg_database_owner;" ;;
    no-create:m*) sql "$name" <<<"GRANT CREATE ON kine.* TO kine@'$LAB_NET.%'; GRANT CREATE ON kine.* TO kinecert@'$LAB_NET.%';" ;;
    other-cluster:*) sql "$name" kine <<<"DROP TABLE kine" ;;
    transaction-pooling:postgres) pooled "$name"; pgbouncer_mode "$name" session ;;
    promote:postgres) standby "$name"; follow "$name" "$(server_value "$name" primary)" ;;
    *) die "$engine does not know $condition" ;;
  esac
}

# changed NAME TITLE LINE...: settings that hold from now on, for connections that are open too; without lines, no longer.
changed() {
  local name=$1 title=$2; shift 2
  printf '%s\n' "$@" | settings "$name" "$title"
  if [ "$title" = read-only ]; then reload "$name"; else restart "$name"; fi
}
pooled() { [ -n "$(server_value "$1" pool)" ] || die "$1 has no PgBouncer; make it with --pgbouncer"; }
standby() { [ -n "$(server_value "$1" primary)" ] || die "$1 is no standby; make it with --standby-of"; }

# What kine v0.16.4 would have made, and the object that names a cluster: its kube-system namespace, as the API server stores it.
other_cluster_postgres() {
  cat <<SQL
SET ROLE kine;
CREATE TABLE kine (id BIGSERIAL PRIMARY KEY, name text COLLATE "C", created INTEGER, deleted INTEGER, create_revision BIGINT, prev_revision BIGINT,
  lease INTEGER, value bytea, old_value bytea);
CREATE INDEX kine_list_query_index ON kine (name, id DESC, deleted);
$(other_cluster_rows "decode('" "', 'hex')")
SQL
}
other_cluster_mariadb() { other_cluster_mysql; }
other_cluster_mysql() {
  cat <<SQL
CREATE TABLE kine (id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii, created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED,
  prev_revision BIGINT UNSIGNED, lease INTEGER, value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id));
$(other_cluster_rows "x'" "'")
SQL
}
other_cluster_rows() {
  local namespace meta type
  meta=$(field 1 "$(hex kube-system)")$(field 5 "$(hex 0badc0de-0000-4000-8000-000000000bad)")
  type=$(field 1 "$(hex v1)")$(field 2 "$(hex Namespace)")
  namespace=6b387300$(field 1 "$type")$(field 2 "$(field 1 "$meta")")
  cat <<SQL
CREATE INDEX kine_name_index ON kine (name);
CREATE INDEX kine_name_id_index ON kine (name, id);
CREATE INDEX kine_id_deleted_index ON kine (id, deleted);
CREATE INDEX kine_prev_revision_index ON kine (prev_revision);
CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision);
INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES ('compact_rev_key', 1, 0, 0, 0, 0, $1$2, NULL);
INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES ('/registry/health', 1, 0, 0, 0, 0, $1$(hex '{"health":"true"}')$2, NULL);
INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES ('/registry/namespaces/kube-system', 1, 0, 0, 0, 0, $1$namespace$2, NULL);
SQL
}
# Protobuf in hexadecimal: a text, and a field (of at most 127 bytes) that holds one.
hex() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }
field() { printf '%02x%02x%s' $(($1 << 3 | 2)) $((${#2} / 2)) "$2"; }
