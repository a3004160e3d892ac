# Everything of `kubeadm init` that comes after a running API server. Its own preflight is skipped: it waits 15 s for
# ExternalEtcdVersion, which kine cannot answer, and etcdless has checked the rest under the same names. Its wait for the control plane is
# skipped, too: the API server is ready already, and `verify` waits for everything at the end. kubelet-finalize came with the API server.
# $1: kubeadm's configuration.
set -e
kubeadm() { /usr/local/bin/kubeadm init "$@" --config "$config"; }
# The rights of admin.conf are made further below.
admin=/etc/kubernetes/super-admin.conf
[ -e $admin ] || admin=/etc/kubernetes/admin.conf
k() { kubectl --kubeconfig $admin "$@"; }
config=$1

# Where a host knows no name server, as without internet, CoreDNS has nobody to forward to, and ends at once. kubeadm keeps a Corefile that is
# there already, so its own one is put there without that block. The kubelet hands systemd-resolved's servers on, where that runs.
resolv=/run/systemd/resolve/resolv.conf
[ -e $resolv ] || resolv=/etc/resolv.conf
if ! grep -q '^[[:space:]]*nameserver' $resolv && ! k -n kube-system get configmap coredns >/dev/null 2>&1; then
  echo 'this host has no name server: cluster DNS answers for the cluster alone'
  kubeadm phase addon coredns --print-manifest | awk '
    function done() { if (text ~ /(^|\n)kind: ConfigMap\n/) printf "%s", text; text = "" }
    /^---/ { done(); next }
    /^ *forward \. / { skipped = /\{ *$/; next }
    skipped { skipped = !/\}/; next }
    { text = text $0 "\n" }
    END { done() }' | k create -f - || k -n kube-system get configmap coredns >/dev/null
fi

kubeadm --skip-token-print --skip-certificate-key-print \
  --skip-phases=preflight,certs,kubeconfig,kubelet-start,control-plane,etcd,wait-control-plane,kubelet-finalize
