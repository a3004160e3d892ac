# $1: the kubeconfig with the token. The token's ID, which is before its point, is no secret.
set -e
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
id=$(sed -n 's/^ *token: \([a-z0-9]*\)\..*/\1/p' "$1")
kubectl --kubeconfig $config -n kube-system delete secret "bootstrap-token-$id" --ignore-not-found
rm -f -- "$1"
