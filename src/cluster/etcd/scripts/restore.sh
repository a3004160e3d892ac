# Makes a member's data of a store's file.
#
# $1 the image   $2 the folder with the file   $3 the member's name   $4 its peers' address   $5 all members, NAME=ADDRESS,...
# $6 where the data belong. What is there of an etcd that served is kept beside it; what this script made and nobody used is taken away.
set -eu
PATH=$PATH:/usr/local/bin
image=$1 folder=$2 name=$3 peer=$4 members=$5 data=$6
if pidof etcd >/dev/null; then
    echo "an etcd runs on this host" >&2
    exit 1
fi
unused=$folder.unused
if [ -e "$unused" ]; then
    rm -rf "$data"
elif [ -n "$(ls -A "$data" 2>/dev/null)" ]; then
    kept=$data.before number=1
    while [ -e "$kept" ]; do
        number=$((number + 1))
        kept=$data.before.$number
    done
    mv -T "$data" "$kept"
fi
ctr() { command ctr --namespace k8s.io "$@"; }
rm -rf "$folder/restored"
restore() {
    ctr run --rm --mount "type=bind,src=$folder,dst=$folder,options=rbind:rw" "$image" etcdless-restore \
        "$1" snapshot restore "$folder/store.db" --skip-hash-check=true --data-dir "$folder/restored" --name "$name" \
        --initial-cluster "$members" --initial-advertise-peer-urls "$peer" >"$folder/log" 2>&1
}
ctr container rm etcdless-restore >/dev/null 2>&1 || true
# Images of etcd before 3.6 have it as a part of etcdctl.
if ! restore etcdutl; then
    ctr container rm etcdless-restore >/dev/null 2>&1 || true
    if ! grep -q 'executable file not found' "$folder/log" || ! restore etcdctl; then
        tail -n 5 "$folder/log" >&2
        exit 1
    fi
fi
: >"$unused"
mkdir -p "$data"
chmod 0700 "$data"
mv "$folder/restored/member" "$data/member"
sync -f "$data" 2>/dev/null || sync
