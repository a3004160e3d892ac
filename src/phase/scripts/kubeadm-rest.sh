# Everything of `kubeadm init` that comes after a running API server. Its own preflight is skipped: it waits 15 s for
# ExternalEtcdVersion, which kine cannot answer, and etcdless has checked the rest under the same names. Its wait for the control plane is
# skipped, too: the API server is ready already, and `verify` waits for everything at the end. kubelet-finalize came with the API server.
# $1: kubeadm's configuration.
/usr/local/bin/kubeadm init --config "$1" --skip-token-print --skip-certificate-key-print \
  --skip-phases=preflight,certs,kubeconfig,kubelet-start,control-plane,etcd,wait-control-plane,kubelet-finalize
