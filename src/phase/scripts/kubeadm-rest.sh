# Everything of `kubeadm init` that comes after a running API server. Its own preflight is skipped: it waits 15 s for
# ExternalEtcdVersion, which kine cannot answer, and etcdless has checked the rest under the same names.
# $1: kubeadm's configuration.
/usr/local/bin/kubeadm init --config "$1" --skip-token-print --skip-certificate-key-print \
  --skip-phases=preflight,certs,kubeconfig,kubelet-start,control-plane,etcd
