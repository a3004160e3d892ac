# What journeys that move a cluster to another store share: what is there before and after, and who writes and listens meanwhile. Sourced after
# journey.sh; `plane` is the control plane that is asked.
# shellcheck shell=bash disable=SC2154
# k: a script with kubectl, as the administrator.
k() { { echo 'export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin'; cat; } | on "$plane" sh -es -- "$@"; }
# filled MANY: a Deployment, a StatefulSet, custom resources and so many ConfigMaps are there.
filled() {
  k "$1" <<'SH' >/dev/null
kubectl create deployment web --image=registry.k8s.io/pause:3.10.1 --replicas=3
kubectl create -f - <<YAML
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: kept }
spec:
  serviceName: kept
  selector: { matchLabels: { app: kept } }
  template:
    metadata: { labels: { app: kept } }
    spec: { containers: [{ name: pause, image: "registry.k8s.io/pause:3.10.1" }] }
YAML
kubectl rollout status deployment web --timeout=120s
kubectl rollout status statefulset kept --timeout=120s
kubectl create -f - <<YAML
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.example.com }
spec:
  group: example.com
  names: { plural: things, singular: thing, kind: Thing }
  scope: Namespaced
  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }]
YAML
kubectl wait --for=condition=Established crd/things.example.com
printf 'apiVersion: example.com/v1\nkind: Thing\nmetadata: { name: one }\nspec: { a: 1 }\n' | kubectl create -f -
{
  echo 'apiVersion: v1'; echo 'kind: List'; echo 'items:'
  seq "$1" | sed 's/.*/- {apiVersion: v1, kind: ConfigMap, metadata: {name: many-&, namespace: default}, data: {n: "&"}}/'
} >/root/many.yaml
kubectl create -f /root/many.yaml
SH
  say "$1 ConfigMaps, Pods and custom resources are there"
}

# Every object that nobody rewrites by itself, with its UID and content, but for the revision.
objects() {
  k <<'SH' | python3 -c '
import json, sys
for line in sys.stdin:
    for item in json.loads(line).get("items", []):
        # What the cluster and kubeadm keep of the cluster names the datastore.
        if item["metadata"]["name"] in ("etcdless", "kubeadm-config"): continue
        # Those of verify, on their way out.
        if "etcdless-verify" in item["metadata"]["name"] + item["metadata"].get("namespace", ""): continue
        item["metadata"].pop("resourceVersion", None)
        # The tokens that kubeadm signs it with come and go.
        if item["metadata"]["name"] == "cluster-info": item.pop("data")
        print(item["metadata"].get("namespace", ""), item["metadata"]["name"], item["metadata"]["uid"], json.dumps(item, sort_keys=True))
' | sort
for path in /api/v1/configmaps /api/v1/secrets /api/v1/namespaces /api/v1/services /api/v1/serviceaccounts /apis/example.com/v1/things \
  /apis/apps/v1/daemonsets /apis/rbac.authorization.k8s.io/v1/clusterroles /apis/rbac.authorization.k8s.io/v1/roles; do
  kubectl get --raw "$path" | tr -d '\n'; echo
done
SH
}
# Every container of every Pod but those that a migration replaces, verify's own, and those of Jobs, as kubeadm's `upgrade plan` makes one.
containers() {
  k <<'SH' | grep -v etcdless-verify | sort
kubectl get pods -A -l 'tier!=control-plane,!batch.kubernetes.io/job-name' -o \
  'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.uid} {.status.containerStatuses[*].containerID}{"\n"}{end}'
SH
}
# The revision that the store is at.
revision() { k <<<"kubectl get --raw '/api/v1/namespaces?limit=1' | grep -o '\"resourceVersion\":\"[0-9]*\"' | head -n 1 | tr -dc 0-9"; }
# Writes one after the other, deletes some, and notes what was acknowledged. An informer listens as controllers do.
writing() {
  k <<<'kubectl create namespace writing >/dev/null'
  on "$plane" 'cat >/root/informer' <"$LAB/bin/informer/informer"
  on "$plane" sh -s <<<'chmod 755 /root/informer; exec /root/informer /etc/kubernetes/admin.conf writing 2>/root/informer.log' >"$work/heard" &
  listener=$!
  on "$plane" sh -s <<'SH' >"$work/written" &
export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin
n=0
until [ -e /root/enough ]; do
  n=$((n + 1))
  kubectl -n writing create configmap "written-$n" --request-timeout=5s >/dev/null 2>&1 || continue
  # What is to be deleted is nobody's loss, unless it is acknowledged.
  [ $((n % 5)) -eq 0 ] || { echo "written-$n"; continue; }
  kubectl -n writing delete configmap "written-$n" --request-timeout=5s >/dev/null 2>&1 && echo "deleted written-$n"
done
SH
  writer=$!
}
# What whoever listened must think that there is.
heard() {
  awk '$1 == "add" { there[$2] = 1 } $1 == "delete" { delete there[$2] } END { for (name in there) print name }' "$work/heard" | sort >"$work/believed"
  cmp -s "$work/believed" "$work/there"
}
written() {
  on "$plane" touch /root/enough; wait "$writer" || true; on "$plane" rm /root/enough
  k <<<"kubectl -n writing get configmaps -o name | sed 's,.*/,,'" | sort >"$work/there"
  grep -v ' ' "$work/written" | sort | comm -23 - "$work/there" >"$work/lost"
  [ ! -s "$work/lost" ] || { head "$work/lost" >&2; fail "$(wc -l <"$work/lost") of $(wc -l <"$work/written") acknowledged writes are lost"; }
  sed -n 's/^deleted //p' "$work/written" | sort | comm -12 - "$work/there" >"$work/risen"
  [ ! -s "$work/risen" ] || { head "$work/risen" >&2; fail "what was deleted is there again"; }
  # client-go waits longer and longer before it asks a server that is away.
  until_true 120 heard || { diff "$work/believed" "$work/there" | head >&2; fail "who listened knows something else than what is there"; }
  say "$(wc -l <"$work/written") writes were acknowledged meanwhile, all are there, and who listened heard of each"
  on "$plane" sh -s <<<'kill $(pidof informer)'; wait "$listener" || true
  k <<<"kubectl delete namespace writing >/dev/null"
}
# equal: what is there is what was there.
equal() {
  objects >"$work/after"
  diff "$work/before" "$work/after" >"$work/difference" || { head -c 3000 "$work/difference" >&2; fail "objects are others"; }
  containers >"$work/containers.after"
  same "$work/containers" "$work/containers.after" "a container was started anew"
  local now; now=$(revision)
  [ "$now" -gt "$last" ] || fail "revision $now is not above $last"
  last=$now
}
# moved ARGUMENT...
moved() {
  "$ETCDLESS" migrate "$@" --yes -v >"$work/moved" 2>"$work/debug" || { tail -n 30 "$work/debug" >&2; fail "migrate $*"; }
  say "$(grep -o 'the API was away.*' "$work/debug")"
}
ready() { k <<<'kubectl get --raw /readyz >/dev/null'; }
# From now on everything is compared with what is there.
remember() {
  objects >"$work/before"; containers >"$work/containers"; last=$(revision)
  [ "$(wc -l <"$work/before")" -gt "$1" ] || fail "the list of objects is too short"
  [ "$(wc -l <"$work/containers")" -gt 4 ] || fail "the list of containers is too short"
}
