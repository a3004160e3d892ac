# $1: kubeadm's configuration. What exists and is right is kept.
/usr/local/bin/kubeadm init phase certs all --config "$1"
/usr/local/bin/kubeadm init phase kubeconfig all --config "$1"
