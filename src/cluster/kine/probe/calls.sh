# Calls methods of kine, or of etcd, through the endpoint that the API server uses, one after the other. Prints the answers, gRPC frames.
#
# $1 seconds that one may take
# $2 unix: $3 the socket      $2 tcp: $3 the address, $4 CA, $5 certificate, $6 key
# Standard input: a tar archive of `methods`, a line each, and of what they are asked, gRPC frames named 1, 2, ...
seconds=$1
shift
endpoint "$@"
is_there || refused 'there is no socket'
tar -xf - -C "$dir" || exit 1
call=0
# A connection each: not every curl can use one of these again.
while read -r what; do
    call=$((call + 1))
    ask "$what" --max-time "$seconds" --data-binary "@$dir/$call" || refused "$(curl_said)"
    grep -qi '^grpc-status: *0' "$dir/head" || refused "$(grpc_said)"
    cat "$dir/body"
done <"$dir/methods"
