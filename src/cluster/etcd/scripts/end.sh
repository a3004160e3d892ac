# Ends the etcd that `begin` started, and keeps what it holds as one file. Prints the file's size.
#
# $1 the folder   $2 what the container is called
set -eu
PATH=$PATH:/usr/local/bin
folder=$1 name=$2
ctr() { command ctr --namespace k8s.io "$@"; }
if ! [ -f "$folder/store.db" ]; then
    # It writes all that it holds before it ends.
    ctr task kill --signal SIGTERM "$name" >/dev/null 2>&1 || true
    tries=600
    while ctr task ls | grep -q "^$name .*RUNNING"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "etcd does not end" >&2; exit 1; }
        sleep 0.1
    done
    ctr task rm "$name" >/dev/null 2>&1 || true
    ctr container rm "$name" >/dev/null 2>&1 || true
    mv "$folder/data/member/snap/db" "$folder/store.db"
    rm -rf "$folder/data"
fi
stat -c %s "$folder/store.db"
