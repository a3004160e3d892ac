# The kubelet first, which would start Pods again; then Pods, ten seconds to end by themselves; then what holds them.
set -e
systemctl stop kubelet.service 2>/dev/null || :
if ! brought_containerd && have ctr; then
  # Their tasks are ended below; here, what a containerd that stays knows of them goes.
  for id in $(ctr -n k8s.io tasks list -q 2>/dev/null); do
    ctr -n k8s.io tasks kill --all --signal SIGTERM "$id" 2>/dev/null || :
  done
fi
signal() {
  list processes | while read -r pid name; do
    case $1-$name in
      # Ends at once, and with it the Pod's network, that others still want to say goodbye over.
      TERM-pause | TERM-containerd-shim*) ;;
      *) kill "-$1" "$pid" 2>/dev/null || : ;;
    esac
  done
}
running() {
  list processes | grep -v -e ' pause$' -e ' containerd-shim' -q
}
waited=0
signal TERM
while running && [ "$waited" -lt 50 ]; do
  sleep 0.2
  waited=$((waited + 1))
done
if brought_containerd; then
  systemctl stop containerd.service 2>/dev/null || :
elif have ctr; then
  for id in $(ctr -n k8s.io tasks list -q 2>/dev/null); do
    ctr -n k8s.io tasks delete --force "$id" >/dev/null 2>&1 || :
  done
  for kind in containers images; do
    names=$(ctr -n k8s.io $kind list -q)
    # shellcheck disable=SC2086
    [ -z "$names" ] || ctr -n k8s.io $kind remove $names >/dev/null 2>&1 || :
  done
fi
waited=0
while [ -n "$(list processes)" ]; do
  if [ "$waited" -ge 50 ]; then
    list processes >&2
    exit 1
  fi
  signal KILL
  sleep 0.2
  waited=$((waited + 1))
done
