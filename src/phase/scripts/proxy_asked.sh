# Does the proxy let this host through? $1: the proxy, $2: what to ask for through it; where that is empty, only the proxy itself is asked.
# Prints `STATUS-OF-CONNECT STATUS SECONDS-UNTIL-CONNECTED` and curl's error, in any order.
command -v curl >/dev/null 2>&1 || exit 127
if [ -n "$2" ]; then set -- --proxy "$1" --noproxy '' "$2"; else set -- --noproxy '*' "$1"; fi
curl -q -sS --globoff --connect-timeout 10 --max-time 30 --output /dev/null --write-out '%{http_connect} %{http_code} %{time_connect}\n' "$@" 2>&1
exit 0
