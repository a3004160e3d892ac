# Makes what is missing of the certificates of kubeadm's own etcd. Standard input: kubeadm's configuration. The authority is made where `$1` is
# `first`, and must be there already elsewhere.
set -eu
PATH=$PATH:/usr/bin:/usr/local/bin
config=$(mktemp)
trap 'rm -f "$config"' EXIT
cat >"$config"
if [ "$1" != first ] && ! [ -e /etc/kubernetes/pki/etcd/ca.key ]; then
    echo "there is no /etc/kubernetes/pki/etcd/ca.key" >&2
    exit 1
fi
# What is there and fits is kept.
for one in etcd-ca etcd-server etcd-peer etcd-healthcheck-client apiserver-etcd-client; do
    kubeadm init phase certs "$one" --config "$config"
done
