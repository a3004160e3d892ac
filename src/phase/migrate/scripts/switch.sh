# Puts the files of the old or of the new store in place, while no API server runs here.
#   commit old|new   unless the time of the freeze is over; from then on it is that store, whatever happens
#   follow old|new   once another control plane has committed
#   exchange new     everything but the API server, while no time is decided yet: etcd takes what changed before API servers start
#   resume           what the state says: at the end of the freeze's time, and at every boot
# The state is `staged`, `frozen FROM` while no API server may run, `held` where another control plane decides, `committed TO` while
# files are put in place, or `on WHICH`. Both stores' files are below old/ and new/, their paths in `paths`.
# ended() stands before.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd "$(dirname "$0")"
api=/etc/kubernetes/manifests/kube-apiserver.yaml
exec 9>lock
flock 9

is() {
  printf '%s\n' "$1" >state.draft
  sync state.draft
  mv -fT state.draft state
}

# put PATH: as the store that it goes to has it; where it has none, nothing.
put() {
  if [ -e "$to$1" ]; then
    mkdir -p -- "${1%/*}"
    cp -p -- "$to$1" "${1%/*}/.${1##*/}.etcdless"
    mv -fT -- "${1%/*}/.${1##*/}.etcdless" "$1"
  else
    rm -f -- "$1"
  fi
}

differs() {
  if [ -e "$to$1" ]; then
    ! cmp -s -- "$to$1" "$1"
  else
    [ -e "$1" ]
  fi
}

# gone PROGRAM
gone() {
  tenths=0
  while pidof "$1" >/dev/null; do
    [ "$tenths" -lt 900 ] || {
      printf '%s does not end\n' "$1" >&2
      exit 1
    }
    tenths=$((tenths + 1))
    sleep 0.1
  done
}

state=$(cat state)
to=${2-}
case "$1 $state" in
"commit frozen "* | "commit committed $to" | "commit on $to" | "follow "* | "exchange frozen "*) ;;
"commit "* | "exchange "*)
  printf 'the time of the freeze is over: the store stays what it was (%s)\n' "$state" >&2
  exit 9
  ;;
"resume frozen "* | "resume committed "*) to=${state#* } ;;
*) exit 0 ;;
esac
verb=$1
[ "$verb" = exchange ] || is "committed $to"

changed=
units=
while read -r path; do
  case $path in *.service) units="$units ${path##*/}" ;; esac
  [ "$path" = "$api" ] || ! differs "$path" || changed=yes
done <paths
[ ! -e "$to.db" ] || changed=yes
if [ -n "$changed" ]; then
  # Whoever still had the old store open would be taken for the new one: both listen at the same place.
  rm -f -- "$api"
  gone kube-apiserver
  while read -r path; do
    case $path in /etc/kubernetes/manifests/*) rm -f -- "$path" ;; esac
  done <paths
  # shellcheck disable=SC2086
  [ -z "$units" ] || systemctl stop $units 2>/dev/null || :
  gone kine
  while read -r path; do
    case $path in /etc/kubernetes/manifests/kine*.yaml) [ ! -e "$to$path" ] || ended 'kine*' ;; esac
  done <paths
  ! grep -qx '/etc/kubernetes/manifests/etcd.yaml' paths || gone etcd
  while read -r path; do
    [ "$path" = "$api" ] || put "$path"
  done <paths
  if [ -e "$to.db" ]; then
    for file in "$to.db"/*.db; do
      place=/var/lib/etcdless/kine/${file##*/}
      # What is there belonged to the store that this one takes the place of.
      for part in "$place" "$place-wal" "$place-shm"; do
        [ ! -e "$part" ] || mv -fT -- "$part" "$part.before"
      done
      chmod 0600 "$file"
      mv -T -- "$file" "$place"
    done
    rm -r -- "$to.db"
  fi
  if [ -n "$units" ]; then
    systemctl daemon-reload
    for unit in $units; do
      [ -e "/etc/systemd/system/$unit" ] || continue
      # A store of its own that was not there before.
      systemctl enable "$unit"
      systemctl restart "$unit"
    done
  fi
fi
# An API server that finds no kine gives up, and the kubelet waits before it starts the next one. kine answers once its store is open.
port=2381
while read -r path; do
  case $path in
  /etc/kubernetes/manifests/etcd.yaml | /etc/kubernetes/manifests/kine*.yaml | */etcdless-kine-*.service) [ -e "$to$path" ] || continue ;;
  *) continue ;;
  esac
  tenths=0
  until curl -fs --noproxy '*' --max-time 2 -o /dev/null "http://127.0.0.1:$port/metrics" || [ "$tenths" -ge 600 ]; do
    tenths=$((tenths + 1))
    sleep 0.1
  done
  port=$((port + 1))
done <paths
[ "$verb" != exchange ] || exit 0
ended kube-apiserver
put "$api"
is "on $to"
# Data of etcd that wait to be used are used from now on, or not at all.
[ ! -e /etc/kubernetes/manifests/etcd.yaml ] || rm -rf /var/lib/etcdless/etcd /var/lib/etcdless/etcd.unused
systemctl disable etcdless-thaw.service 2>/dev/null || :
systemctl stop etcdless-thaw.timer
# What was denied for this time is allowed again, once the API server answers.
[ ! -e /etc/systemd/system/etcdless-allow.service ] || systemctl start --no-block etcdless-allow.service || :
