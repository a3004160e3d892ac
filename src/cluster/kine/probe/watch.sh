# Asks kine, or etcd, what happened to keys. A watch has no end of its own: the store is asked for its progress until it says that all was sent.
# Prints its answers, gRPC frames.
#
# $1 seconds that all of it may take
# $2 gRPC frame of the watch, $3 of the question for progress, each byte as \0ooo
# $4 how the answer to that question, or the last one at all, looks in hex, as an extended regular expression
# $5 unix: $6 the socket      $5 tcp: $6 the address, $7 CA, $8 certificate, $9 key
set -u
export LC_ALL=C
dir=$(mktemp -d) || exit 1
curl=
trap '[ -z "$curl" ] || kill "$curl" 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' HUP INT TERM
seconds=$1 watch=$2 progress=$3 last=$4
at=$6
case $5 in
unix)
    if ! [ -S "$at" ]; then
        echo "kine at $at: there is no socket" >&2
        exit 4
    fi
    url=http://localhost
    set -- --http2-prior-knowledge --unix-socket "$at"
    ;;
tcp)
    url=$at
    set -- --http2 --cacert "$7" --cert "$8" --key "$9"
    ;;
esac
mkfifo "$dir/in"
: >"$dir/body"
# `-T .` sends what comes while it receives.
curl -sSN --noproxy '*' --max-time "$seconds" -X POST -H 'content-type: application/grpc' -H 'te: trailers' -H 'expect:' -T . \
    -D "$dir/head" -o "$dir/body" "$@" "$url/etcdserverpb.Watch/Watch" <"$dir/in" 2>"$dir/error" &
curl=$!
exec 3>"$dir/in"
# A store that hangs up must not end this script by a signal.
trap '' PIPE
printf '%b' "$watch" >&3
# It is what the store said last.
until tail -c 80 "$dir/body" | od -An -v -tx1 | tr -d ' \n' | grep -qE "$last"; do
    if ! kill -0 "$curl" 2>/dev/null; then
        curl=
        reason=$(sed -n '1s/^curl: *//p' "$dir/error")
        [ -n "$reason" ] || reason=$(sed -n 's/^grpc-message: *//p' "$dir/head" | tr -d '\r')
        echo "kine at $at: ${reason:-it ended the watch}" >&2
        exit 4
    fi
    printf '%b' "$progress" >&3 2>/dev/null
    sleep 0.1
done
exec 3>&-
kill "$curl" 2>/dev/null
wait "$curl" 2>/dev/null
curl=
cat "$dir/body"
