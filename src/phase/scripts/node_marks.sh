# $1: the node's name, $2: how many labels follow; then the labels, then the taints.
set -e
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
k() { kubectl --kubeconfig $config "$@"; }
name=$1
labels=$2
shift 2
# A kubelet that has just joined registers its node by itself.
tries=300
until k get node "$name" >/dev/null 2>&1; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "there is no node $name" >&2; exit 1; }
  sleep 0.2
done
while [ "$labels" -gt 0 ]; do
  k label --overwrite node "$name" "$1"
  labels=$((labels - 1))
  shift
done
[ "$#" -eq 0 ] || k taint --overwrite node "$name" "$@"
