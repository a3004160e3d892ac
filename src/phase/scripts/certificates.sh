# $1: kubeadm's configuration, the others: kubeconfigs as kubeadm names their phases. What exists and is right is kept.
set -e
config=$1
shift
/usr/local/bin/kubeadm init phase certs all --config "$config"
for kubeconfig in "$@"; do
  /usr/local/bin/kubeadm init phase kubeconfig "$kubeconfig" --config "$config"
done
