# Moves CoreDNS apart where all of it is on one node and there are others that would take it. Pods are started before the old ones go.
set -e
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
k() { /usr/local/bin/kubectl --kubeconfig $config "$@"; }
# Nodes that joined a moment ago are Ready once the Pod network is up there; one that is down is nobody's business here.
k wait --for=condition=Ready --timeout=60s nodes --all || :
places=$(k -n kube-system get pods -l k8s-app=kube-dns -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)
[ "$places" -eq 1 ] || exit 0
k -n kube-system rollout restart deployment/coredns
k -n kube-system rollout status --timeout=60s deployment/coredns
