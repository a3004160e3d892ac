# Prints the manifest that kubeadm would make of its own etcd. Standard input: kubeadm's configuration.
set -eu
PATH=$PATH:/usr/bin:/usr/local/bin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/config"
KUBEADM_INIT_DRYRUN_DIR=$dir kubeadm init phase etcd local --dry-run --config "$dir/config" >"$dir/said" 2>&1 || { tail -n 5 "$dir/said" >&2; exit 1; }
cat "$(find "$dir" /etc/kubernetes/tmp -newer "$dir/config" -name etcd.yaml 2>/dev/null | head -n 1)"
