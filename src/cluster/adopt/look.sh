# What a cluster of kubeadm's tells of itself: a line each, `NAME TEXT`. Reads only.
#
# $1 the API server's manifest
set -eu
PATH=$PATH:/usr/local/bin
config=/etc/kubernetes/admin.conf
if ! [ -e "$config" ] || ! [ -e "$1" ]; then
    echo "there is no $1 and $config: it is no control plane of kubeadm's" >&2
    exit 3
fi
k() { kubectl --kubeconfig "$config" --request-timeout 20s get --raw "$1" | tr -d '\n'; }
kubectl --kubeconfig "$config" --request-timeout 20s get --raw /readyz >/dev/null
say() { printf '%s %s\n' "$1" "$2"; }
maps=/api/v1/namespaces/kube-system/configmaps
say addresses "$(hostname -I)"
for name in kubeadm-config kubelet-config kube-proxy; do
    # A cluster may have gone without kube-proxy.
    text=$(k "$maps/$name" 2>/dev/null)
    [ -z "$text" ] || say "$name" "$text"
done
say nodes "$(k /api/v1/nodes)"
say daemonsets "$(k '/apis/apps/v1/daemonsets?limit=500')"
# A line end as a form feed, which YAML has not.
say manifest "$(tr '\n' '\f' <"$1")"
