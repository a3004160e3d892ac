# $1: the node's name, $2: its address, $3: seconds, $4: `delete` or `keep` what Pods have in emptyDir volumes, $5: `drain`, or `cordon` where its machine
# is gone and no Pod there would ever say that it has ended. A node that is gone already is drained.
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
k() { kubectl --kubeconfig $config "$@"; }
set -e
known=$(k get nodes --request-timeout=30s -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}')
node=$(printf '%s\n' "$known" | awk -v name="$1" -v address="$2" '$1 == name { found = $1 } $2 == address && !found { found = $1 } END { print found }')
if [ -z "$node" ]; then
  echo "there is no node $1 any more"
  exit 0
fi
k cordon "$node"
[ "$5" = drain ] || exit 0
seconds=$3
if [ "$4" = delete ]; then
  set -- --delete-emptydir-data
else
  set --
fi
k drain "$node" --ignore-daemonsets --timeout="${seconds}s" "$@"
