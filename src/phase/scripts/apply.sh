# $1: a manifest. super-admin.conf (1.29+) works before kubeadm has bound admin.conf's group.
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
kubectl --kubeconfig $config apply --server-side --force-conflicts --field-manager=etcdless -f "$1"
