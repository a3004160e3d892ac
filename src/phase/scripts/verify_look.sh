# One look at the cluster through its admin kubeconfig. Changes nothing.
# Prints a section `== NAME STATUS` for readyz, nodes and pods: kubectl's exit status, then what it printed.
set -u
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

ask() {
    kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s get --raw "$2" \
        >"$dir/$1" 2>&1
    echo "$?" >"$dir/$1.status"
}

# From the API server's cache: a poll costs kine nothing.
ask readyz '/readyz?verbose' &
ask nodes '/api/v1/nodes?resourceVersion=0' &
ask pods '/api/v1/pods?resourceVersion=0' &
wait

for name in readyz nodes pods; do
    echo "== $name $(cat "$dir/$name.status")"
    cat "$dir/$name"
    echo
done
