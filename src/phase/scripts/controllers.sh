# $1: kubeadm's configuration. Comes after the API server: without one, both only fail, wait and try again.
/usr/local/bin/kubeadm init phase control-plane controller-manager --config "$1"
/usr/local/bin/kubeadm init phase control-plane scheduler --config "$1"
