# What runs on a host, and how it is. Changes nothing. $1: the API's name.
# Answers in sections, each begun by `== NAME`; what the lines mean is read on the other side (status/look.rs). Keys are never among them.
set -u

# This very host's API server, whoever else the API's name leads to.
ask() {
  kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:6443 --tls-server-name "$api" \
    --request-timeout=5s get --raw "$1" 2>&1
  printf '\n== %s-status\n%s\n' "$2" "$?"
}

certificates() {
  printf 'file %s\n' "$1"
  sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p'
}

api=$1
echo '== host'
cat /proc/sys/kernel/hostname
date +%s
echo '== versions'
for program in kubelet containerd kine; do
  if command -v "$program" >/dev/null; then
    printf '%s ' "$program"
    "$program" --version 2>/dev/null | head -n 1
  fi
done
grep -hs '^ *image: ' /etc/kubernetes/manifests/*.yaml
echo '== units'
units='kubelet.service containerd.service etcdless-haproxy.service etcdless-keepalived.service'
for path in /etc/systemd/system/etcdless-kine-*.service; do
  if [ -e "$path" ]; then
    units="$units ${path##*/}"
  fi
done
# shellcheck disable=SC2086
systemctl show -p Id,LoadState,ActiveState,SubState,Result $units
echo '== kine'
for process in /proc/[0-9]*; do
  name=
  { read -r name <"$process/comm"; } 2>/dev/null
  if [ "$name" = kine ]; then
    grep -sm 1 -e "^0::" -e name=systemd "$process/cgroup" || echo
    tr '\0' ' ' <"$process/cmdline"
    echo
  fi
done
echo '== endpoint'
grep -Fs -- "$api" /etc/hosts
echo '== members'
grep -Es '^[[:space:]]*server[[:space:]]' /etc/etcdless/endpoint/haproxy.cfg
echo '== vip'
sed -n '/virtual_ipaddress/,/}/p' /etc/etcdless/endpoint/keepalived.conf 2>/dev/null
echo '== addresses'
ip -o addr show 2>/dev/null
echo '== certificates'
for path in /etc/kubernetes/pki/*.crt /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet-*-current.pem \
  /etc/etcdless/kine/pki/*.crt /etc/etcdless/kine/db/*/*.crt /etc/etcdless/datastore/*.crt; do
  if [ -e "$path" ]; then
    certificates "$path" <"$path"
  fi
done
for path in /etc/kubernetes/*.conf; do
  if [ -e "$path" ]; then
    sed -n 's/^ *client-certificate-data: *//p' "$path" | base64 -d 2>/dev/null | certificates "$path"
  fi
done
if [ -e /etc/kubernetes/admin.conf ]; then
  echo '== readyz'
  ask '/readyz?verbose' readyz
  echo '== nodes'
  ask '/api/v1/nodes?resourceVersion=0' nodes
fi
