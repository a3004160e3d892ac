# The way to kine, or etcd. Stands before each of the scripts that ask it.
set -u
export LC_ALL=C
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' HUP INT TERM

# endpoint unix SOCKET, or endpoint tcp URL CA CERTIFICATE KEY: where the API server finds it.
endpoint() {
    at=$2
    case $1 in
    unix) socket=$2 url=http://localhost ;;
    tcp) socket='' url=$2 ca=$3 cert=$4 key=$5 ;;
    esac
}

# Whether there can be an answer at all.
is_there() {
    [ -z "$socket" ] || [ -S "$socket" ]
}

# ask SERVICE/METHOD CURL-OPTION...: the answer is in $dir/body. `run=exec` makes it the caller's own process.
ask() {
    method=$1
    shift
    if [ -n "$socket" ]; then
        set -- --http2-prior-knowledge --unix-socket "$socket" "$@"
    else
        set -- --http2 --cacert "$ca" --cert "$cert" --key "$key" "$@"
    fi
    ${run-} curl -sS --noproxy '*' -H 'content-type: application/grpc' -H 'te: trailers' -D "$dir/head" -o "$dir/body" "$@" \
        "$url/etcdserverpb.$method" 2>"$dir/error"
}

# Why there is no answer; why there is none but a refusal.
curl_said() {
    sed -n '1s/^curl: *//p' "$dir/error"
}
grpc_said() {
    sed -n 's/^grpc-message: *//p' "$dir/head" | tr -d '\r'
}

refused() {
    echo "kine at $at: $1" >&2
    exit 4
}
