# Asks kine, or etcd, what happened to keys. A watch has no end of its own: the store is asked for its progress until it says that all was sent.
# Prints its answers, gRPC frames.
#
# $1 seconds that all of it may take
# $2 gRPC frame of the watch, $3 of the question for progress, each byte as \0ooo
# $4 how the answer to that question, or the last one at all, looks in hex, as an extended regular expression
# $5 unix: $6 the socket      $5 tcp: $6 the address, $7 CA, $8 certificate, $9 key
curl=
trap '[ -z "$curl" ] || kill "$curl" 2>/dev/null; rm -rf "$dir"' EXIT
seconds=$1 watch=$2 progress=$3 last=$4
shift 4
endpoint "$@"
is_there || refused 'there is no socket'
mkfifo "$dir/in"
: >"$dir/body"
# `-T .` sends what comes while it receives.
run='exec'
ask Watch/Watch -N --max-time "$seconds" -X POST -H 'expect:' -T . <"$dir/in" &
curl=$!
exec 3>"$dir/in"
# A store that hangs up must not end this script by a signal.
trap '' PIPE
printf '%b' "$watch" >&3
# It is what the store said last.
until tail -c 80 "$dir/body" | od -An -v -tx1 | tr -d ' \n' | grep -qE "$last"; do
    if ! kill -0 "$curl" 2>/dev/null; then
        curl=
        reason=$(curl_said)
        [ -n "$reason" ] || reason=$(grpc_said)
        refused "${reason:-it ended the watch}"
    fi
    printf '%b' "$progress" >&3 2>/dev/null
    sleep 0.1
done
exec 3>&-
kill "$curl" 2>/dev/null
wait "$curl" 2>/dev/null
curl=
cat "$dir/body"
