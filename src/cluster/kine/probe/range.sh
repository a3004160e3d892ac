# Asks kine, or etcd, for a range of keys, through the endpoint that the API server uses. Prints its answer, a gRPC frame.
#
# $1 seconds that the answer may take
# $2 gRPC frame of the range, each byte as \0ooo
# $3 unix: $4 the socket      $3 tcp: $4 the address, $5 CA, $6 certificate, $7 key
set -u
export LC_ALL=C
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' HUP INT TERM
printf '%b' "$2" >"$dir/range"
seconds=$1
at=$4
case $3 in
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
    set -- --http2 --cacert "$5" --cert "$6" --key "$7"
    ;;
esac
if ! curl -sS --noproxy '*' --max-time "$seconds" -H 'content-type: application/grpc' -H 'te: trailers' --data-binary "@$dir/range" \
    -D "$dir/head" -o "$dir/body" "$@" "$url/etcdserverpb.KV/Range" 2>"$dir/error"; then
    echo "kine at $at: $(sed -n '1s/^curl: *//p' "$dir/error")" >&2
    exit 4
fi
if ! grep -qi '^grpc-status: *0' "$dir/head"; then
    echo "kine at $at: $(sed -n 's/^grpc-message: *//p' "$dir/head" | tr -d '\r')" >&2
    exit 4
fi
cat "$dir/body"
