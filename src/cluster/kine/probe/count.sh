# Asks kine, through the endpoint that the API server uses, how many keys there are. Prints its answer in hex.
#
# $1 gRPC frame of the range, each byte as \0ooo
# $2 unix: $3 the socket      $2 tcp: $3 the address, $4 CA, $5 certificate, $6 key
set -u
export LC_ALL=C
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' HUP INT TERM
printf '%b' "$1" >"$dir/range"
at=$3
case $2 in
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
    set -- --http2 --cacert "$4" --cert "$5" --key "$6"
    ;;
esac
if ! curl -sS --noproxy '*' --max-time 10 -H 'content-type: application/grpc' -H 'te: trailers' --data-binary "@$dir/range" \
    -D "$dir/head" -o "$dir/body" "$@" "$url/etcdserverpb.KV/Range" 2>"$dir/error"; then
    echo "kine at $at: $(sed -n '1s/^curl: *//p' "$dir/error")" >&2
    exit 4
fi
if ! grep -q '^grpc-status: *0' "$dir/head"; then
    echo "kine at $at: $(sed -n 's/^grpc-message: *//p' "$dir/head" | tr -d '\r')" >&2
    exit 4
fi
od -An -v -tx1 "$dir/body" | tr -d ' \n'
