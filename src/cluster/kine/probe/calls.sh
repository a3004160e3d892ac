# Calls methods of kine, or of etcd, through the endpoint that the API server uses, one after the other. Prints the answers, gRPC frames.
#
# $1 seconds that one may take
# $2 unix: $3 the socket      $2 tcp: $3 the address, $4 CA, $5 certificate, $6 key
# Standard input: a tar archive of `methods`, a line each, and of what they are asked, gRPC frames named 1, 2, ...
set -u
export LC_ALL=C
seconds=$1 at=$3
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
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' HUP INT TERM
tar -xf - -C "$dir" || exit 1
call=0
# A connection each: not every curl can use one of these again.
while read -r method; do
    call=$((call + 1))
    if ! curl -sS --noproxy '*' --max-time "$seconds" -H 'content-type: application/grpc' -H 'te: trailers' --data-binary "@$dir/$call" \
        -D "$dir/head" -o "$dir/body" "$@" "$url/etcdserverpb.$method" 2>"$dir/error"; then
        echo "kine at $at: $(sed -n '1s/^curl: *//p' "$dir/error")" >&2
        exit 4
    fi
    if ! grep -qi '^grpc-status: *0' "$dir/head"; then
        echo "kine at $at: $(sed -n 's/^grpc-message: *//p' "$dir/head" | tr -d '\r')" >&2
        exit 4
    fi
    cat "$dir/body"
done <"$dir/methods"
