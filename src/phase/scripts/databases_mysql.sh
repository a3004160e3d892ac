# $1: who logs in, $2: how many databases follow; then the databases, then the addresses that the user comes from.
# Names and addresses are letters, digits, `_`, `.` and `:` alone. The server may still be on its way up.
set -e
user=$1
count=$2
shift 2
client=$(command -v mariadb || command -v mysql)
sql() {
  "$client" --batch --skip-column-names "$@"
}
tries=240
until sql --execute 'SELECT 1' >/dev/null 2>&1; do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ]; then
    sql --execute 'SELECT 1' || :
    journalctl --no-pager --lines=15 --unit=mariadb --unit=mysql --unit=mysqld >&2 || :
    exit 1
  fi
  sleep 0.25
done
databases=
while [ "$count" -gt 0 ]; do
  databases="$databases $1"
  count=$((count - 1))
  shift
done
{
  for database in $databases; do
    echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"
  done
  # No password: the certificate is what lets the user in.
  for address in "$@"; do
    echo "CREATE USER IF NOT EXISTS '$user'@'$address';"
    echo "ALTER USER '$user'@'$address' REQUIRE SUBJECT '/CN=$user';"
    for database in $databases; do
      echo "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX ON \`$database\`.* TO '$user'@'$address';"
    done
  done
  # Machines that are control planes no longer.
  sql --execute "SELECT host FROM mysql.user WHERE user = '$user'" | while read -r address; do
    case " $* " in
      *" $address "*) ;;
      *) echo "DROP USER '$user'@'$address';" ;;
    esac
  done
} | sql
