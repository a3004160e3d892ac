# Stops API server, controllers and kine, and waits until none of them runs. What starts them is put aside.
# $1: the folder for that, $2: seconds to wait. ended() stands before.
mkdir -p -- "$1/manifests"
chmod 0700 -- "$1" "$1/manifests"
for name in kube-apiserver kube-controller-manager kube-scheduler; do
  manifest=/etc/kubernetes/manifests/$name.yaml
  [ ! -e $manifest ] || mv -f -- $manifest "$1/manifests/"
done
for manifest in /etc/kubernetes/manifests/kine*.yaml; do
  [ ! -e "$manifest" ] || mv -f -- "$manifest" "$1/manifests/"
done
systemctl stop 'etcdless-kine-*.service'
# The kernel keeps 15 letters of a name.
running() { cat /proc/[0-9]*/comm 2>/dev/null | grep -xE 'kube-apiserver|kube-controller|kube-scheduler|kine' | sort -u; }
end=$(($(date +%s) + $2))
while still=$(running) && [ -n "$still" ]; do
  if [ "$(date +%s)" -ge "$end" ]; then
    printf 'still running after %s s: %s\n' "$2" "$still" >&2
    exit 1
  fi
  sleep 0.2
done
# A small store is filled before the kubelet has seen that they are gone.
for container in 'kine*' kube-apiserver kube-controller-manager kube-scheduler; do
  ended "$container"
done
