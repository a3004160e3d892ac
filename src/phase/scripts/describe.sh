# Keeps the cluster's description in the cluster: ConfigMap etcdless in kube-system.
# $1: the file that holds it.
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
k() { kubectl --kubeconfig $config -n kube-system "$@"; }
k create configmap etcdless --from-file=cluster.yaml="$1" --dry-run=client -o yaml |
  k apply --server-side --force-conflicts --field-manager=etcdless -f -
