# Starts an etcd of one member that only root on this host can ask, in a network of its own, in an empty folder. What an earlier one left is
# taken away. Its revisions begin where it is told, and all older ones are gone.
#
# $1 its image   $2 the folder   $3 what the container is called   $4 the revision to begin with
set -eu
PATH=$PATH:/usr/local/bin
image=$1 folder=$2 name=$3 revision=$4
ctr() { command ctr --namespace k8s.io "$@"; }
runs() { ctr task ls | grep -q "^$name .*RUNNING"; }
start() {
    rm -f "$folder/etcd.sock"
    # What it loses when the machine goes down is copied again.
    ctr run --detach --log-uri "file://$folder/log" --mount "type=bind,src=$folder,dst=$folder,options=rbind:rw" "$image" "$name" \
        etcd --name=copy --data-dir="$folder/data" --listen-client-urls="unix://$folder/etcd.sock" --listen-peer-urls=unix:///peers \
        --advertise-client-urls=http://localhost:2379 --unsafe-no-fsync --quota-backend-bytes=8589934592 --log-level=warn
    tries=300
    # The socket is there before etcd is: one that is ended so early leaves a file without anything in it.
    until curl -fs --noproxy '*' --max-time 2 -o /dev/null --unix-socket "$folder/etcd.sock" http://localhost/health; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ] || ! runs; then
            tail -n 5 "$folder/log" >&2
            echo "etcd does not start" >&2
            exit 1
        fi
        sleep 0.1
    done
}
ended() {
    ctr task rm --force "$name" >/dev/null 2>&1 || true
    ctr container rm "$name" >/dev/null 2>&1 || true
}
ended
rm -rf "$folder"
mkdir -p "$folder"
chmod 0700 "$folder"

# What is restored has the revision that it is given; a key has it from when it is written.
start
ctr task kill --signal SIGTERM "$name" >/dev/null
tries=300
while runs; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "etcd does not end" >&2; exit 1; }
    sleep 0.1
done
ended
mv "$folder/data/member/snap/db" "$folder/empty.db"
rm -rf "$folder/data"
restore() {
    ctr run --rm --mount "type=bind,src=$folder,dst=$folder,options=rbind:rw" "$image" "$name" \
        "$1" snapshot restore "$folder/empty.db" --skip-hash-check=true --data-dir "$folder/data" --name copy \
        --initial-cluster copy=http://localhost:2380 --bump-revision "$revision" --mark-compacted >"$folder/log" 2>&1
}
# Images of etcd before 3.6 have it as a part of etcdctl.
if ! restore etcdutl; then
    ctr container rm "$name" >/dev/null 2>&1 || true
    if ! grep -q 'executable file not found' "$folder/log" || ! restore etcdctl; then
        tail -n 5 "$folder/log" >&2
        exit 1
    fi
fi
rm "$folder/empty.db"
start
