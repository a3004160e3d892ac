# What is left of a further control plane once its API server is up. The cluster has its configuration, its add-ons and the rights of its nodes
# from the first one.
# $1: kubeadm's configuration, $2: the node's name, $3: the runtime's socket.
set -e
/usr/local/bin/kubeadm init phase mark-control-plane --config "$1"
# kubeadm looks there for the socket when it upgrades the node.
kubectl --kubeconfig /etc/kubernetes/admin.conf annotate --overwrite node "$2" "kubeadm.alpha.kubernetes.io/cri-socket=$3"
