# Proves that kine works, through the endpoint that the API server uses: a key is absent, created, read back, deleted, absent again.
#
# $1 seconds to wait for kine's first answer   $2 how often to do it
# $3 what the value holds                      $4 $5 $6 gRPC frames for range, create, delete, each byte as \0ooo
# $7 unix: $8 the socket                       $7 tcp: $8 the address, $9 CA, ${10} certificate, ${11} key
#
# Prints `write` and `read` with curl's pretransfer and total times in seconds, and `answer` with the bytes that were read, in hex.
# Ends with 3 where kine did not answer in time, 4 where it refused, 5 where it did not keep what it was given.
wait=$1 rounds=$2 value=$3
printf '%b' "$4" >"$dir/range"
printf '%b' "$5" >"$dir/create"
printf '%b' "$6" >"$dir/delete"
shift 6
endpoint "$@"

# call METHOD FRAME: the answer is in $dir/body, the times in $times. Where it fails, $why says so.
call() {
    if ! is_there; then
        curl_status=7 grpc_status='' why='there is no socket'
        return 1
    fi
    rm -f "$dir/head" "$dir/body"
    times=$(ask "KV/$1" --max-time 10 --data-binary "@$dir/$2" -w '%{time_pretransfer} %{time_total}')
    curl_status=$?
    if [ "$curl_status" -ne 0 ]; then
        grpc_status='' why=$(curl_said)
        return 1
    fi
    grpc_status=$(sed -n 's/^grpc-status: *\([0-9]*\).*/\1/p' "$dir/head")
    if [ "$grpc_status" != 0 ]; then
        why="$1: grpc-status ${grpc_status:-missing}: $(grpc_said)"
        return 1
    fi
}

# Whether waiting cannot help: curl's exit statuses for certificates, gRPC's UNIMPLEMENTED.
permanent() {
    case $curl_status in 2 | 51 | 58 | 60 | 77 | 90 | 91) return 0 ;; esac
    [ "$grpc_status" = 12 ]
}

wrong() {
    echo "kine at $at: $1" >&2
    exit 5
}

until_second=$(($(date +%s) + wait))
said=''

# Waits for an answer.
await() {
    until call Range range; do
        permanent && refused "$why"
        if [ "$(date +%s)" -ge "$until_second" ]; then
            echo "kine at $at does not answer after $wait s: $why" >&2
            exit 3
        fi
        if [ "$why" != "$said" ]; then
            echo "waiting for kine at $at: $why"
            said=$why
        fi
        sleep 0.1
    done
}

holds() {
    grep -qF -- "$value" "$dir/body"
}

# The first is for what a run that was cut off left behind.
round() {
    call Txn delete delete && call Txn create create || return 1
    echo "write $times"
    call Range range || return 1
    echo "read $times"
    holds || wrong 'the value that was written is not the one that is read'
    echo "answer $(od -An -v -tx1 "$dir/body" | tr -d ' \n')"
    call Txn delete delete && call Range range || return 1
    ! holds || wrong 'a deleted key is still there'
}

await
while [ "$rounds" -gt 0 ]; do
    if round; then
        rounds=$((rounds - 1))
    elif [ -z "$grpc_status" ] && ! permanent && [ "$(date +%s)" -lt "$until_second" ]; then
        # A kine that is restarted, as for new certificates, goes away in the middle.
        await
    else
        refused "$why"
    fi
done
echo "kine at $at keeps what is written"
