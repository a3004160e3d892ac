# $1: the container's name, the others: files that kine reads once, when it starts. A kine that is older than one of them is ended, and the
# kubelet starts it anew in its Pod. A changed manifest would make it do so, too, but before that the kubelet takes the old Pod out of the API,
# which waits for kine.
set -e
name=$1
shift
boot=$(sed -n 's/^btime //p' /proc/stat)
ticks_a_second=$(getconf CLK_TCK 2>/dev/null || echo 100)

# The process of a container that runs.
running() {
  ctr -n k8s.io tasks list | awk -v id="$1" '$1 == id && $3 == "RUNNING" { print $2 }'
}

ctr -n k8s.io containers list -q "labels.\"io.kubernetes.container.name\"==$name" | while read -r id; do
  process=$(running "$id")
  [ -n "$process" ] || continue
  ticks=$(sed 's/.*) //' "/proc/$process/stat" | cut -d ' ' -f 20)
  start=$((boot + ticks / ticks_a_second))
  older=
  for file in "$@"; do
    [ "$(stat -c %Y -- "$file")" -lt "$start" ] || older=$file
  done
  [ -n "$older" ] || continue
  echo "$older is newer than $name"
  ctr -n k8s.io tasks kill --signal SIGTERM "$id"
  tries=30
  while [ -n "$(running "$id")" ]; do
    tries=$((tries - 1))
    # It waits for clients that watch; what it acknowledged is in the database.
    [ "$tries" -ne 0 ] || ctr -n k8s.io tasks kill --signal SIGKILL "$id"
    [ "$tries" -gt -100 ] || exit 1
    sleep 0.1
  done
done
