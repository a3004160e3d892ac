# $1: the node's name, $2: its address.
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
k() { kubectl --kubeconfig $config --request-timeout=30s "$@"; }
set -e
known=$(k get nodes -o 'jsonpath={range .items[*]}{.metadata.name}{" "}{.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}')
node=$(printf '%s\n' "$known" | awk -v name="$1" -v address="$2" '$1 == name { found = $1 } $2 == address && !found { found = $1 } END { print found }')
[ -z "$node" ] || k delete node "$node"
