# $1: kubeadm's configuration.
/usr/local/bin/kubeadm init phase kubelet-start --config "$1"
