# Creates the objects of the manifest on standard input. kubectl's discovery cache goes with the run, so the host keeps nothing.
set -u
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
kubectl --kubeconfig /etc/kubernetes/admin.conf --cache-dir "$dir" --request-timeout=20s \
    create --validate=false -f -
