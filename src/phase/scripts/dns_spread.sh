# Moves CoreDNS apart where all of it is on one node and there are others that would take it. Pods are started before the old ones go.
set -e
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
k() { kubectl --kubeconfig $config "$@"; }
# $@: nodes that joined a moment ago, which are Ready once the Pod network is up there. One that did not make it is told elsewhere.
k wait --for=condition=Ready --timeout=60s "$@" || :
places=$(k -n kube-system get pods -l k8s-app=kube-dns -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l)
[ "$places" -eq 1 ] || exit 0
k -n kube-system rollout restart deployment/coredns
k -n kube-system rollout status --timeout=180s deployment/coredns
