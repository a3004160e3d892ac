# Can a server be reached from here? $1: name or address, $2: port, $3...: a word for each further connection. Prints
# what getent knows of the name, an empty line, and curl's `SECONDS_UNTIL_RESOLVED SECONDS_UNTIL_CONNECTED`, a line a connection;
# where none comes up, `curl: (STATUS) WHY` before it.
# A connection sends nothing, so that no server takes it for a login; curl ends it after 0.2 s.
name=$1
port=$2
shift 2
getent ahosts "$name" 2>/dev/null
echo
case $name in *:*) url="telnet://[$name]:$port" ;; *) url="telnet://$name:$port" ;; esac
connect() {
  curl -q -sS --noproxy '*' --connect-timeout "$1" -m "$1" -o /dev/null -w '%{time_namelookup} %{time_connect}\n' "$url" 2>&1 </dev/null
}
first=$(connect 0.2)
case $first in
  *' 0.000000' | *' 0,000000') connect 5 ;;
  *) echo "$first" ;;
esac
for _; do connect 0.2; done
