# Comes before every change. $1: journal, $2: lock, $3: run, $4: step, $5: digest, $6: how many files the journal vouches for,
# then those files, then how many paths the change places, and those; what is left are the change's own arguments.
set -eu
umask 022
journal=$1
lock=$2
run=$3
step=$4
digest=$5
count=$6
shift 6
newline='
'
vouched=
while [ "$count" -gt 0 ]; do
  vouched=$vouched$1$newline
  shift
  count=$((count - 1))
done
# Whoever takes the host's lock next waits for this, so that a change whose connection was cut off is not done twice at a time.
exec 8>>"$lock.steps"
flock -s 8

# Adds lines to the journal in one write. An entry that was torn by a power cut is ended first.
write() {
  text=$1
  mkdir -p -- "${journal%/*}"
  if [ -s "$journal" ] && [ -n "$(tail -c 1 "$journal")" ]; then
    text=$newline$text
  fi
  (umask 077 && printf '%s\n' "$text" >>"$journal")
}

# What `reset` must know is noted before it is done: a change that is cut off afterwards is known, too. $1: kind, $2: of what.
note() {
  write "$(printf '%s\t%s' "$1" "$2")"
}

# $1: what phase artifacts brings, which may have been left out of the run.
staged() {
  if [ ! -e "$1" ]; then
    printf '%s is not there: phase artifacts brings it; run that first (--only artifacts), or leave out no phase\n' "$1" >&2
    exit 1
  fi
}

# Notes each of these paths that is not there yet, with the missing folders above it.
made() {
  entries=
  for path in "$@"; do
    while [ -n "$path" ] && [ ! -e "$path" ] && [ ! -L "$path" ]; do
      entries="$entries${entries:+$newline}made	$path"
      path=${path%/*}
    done
  done
  [ -z "$entries" ] || write "$entries"
}

# Once, before everything else: where containerd, the kubelet, Pods, kubectl and database servers keep files of their own.
if [ ! -e "$journal" ]; then
  made /etc/cni /etc/kubernetes /etc/mysql /etc/postgresql /etc/postgresql-common /lib/modules /opt/cni /opt/cni/bin/flannel \
    /opt/containerd /root/.kube/cache /usr/libexec/kubernetes /var/lib/cni /var/lib/containerd /var/lib/kubelet /var/lib/mysql \
    /var/lib/postgresql /var/log/containers /var/log/mysql /var/log/pods /var/log/postgresql
fi
count=$1
shift
while [ "$count" -gt 0 ]; do
  made "$1"
  shift
  count=$((count - 1))
done
known=yes
[ -e "$journal" ] || known=
