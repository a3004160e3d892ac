# Writes the API server's manifest and waits until it is ready.
# $1: kubeadm's configuration. $2: its address and port. $3: seconds to wait.
pki=/etc/kubernetes/pki
end=$(($(date +%s) + $3))
last=

# kubeadm restarts the kubelet to let it rotate its client certificate, at the very end of `kubeadm init`, when that interrupts the start of
# all other Pods. As soon as the API server answers is better: a kubelet that starts now shows the Pods of its manifests at once, instead
# of a minute after it first failed to.
finalize() {
  [ -z "$finalized" ] || return 0
  /usr/local/bin/kubeadm init phase kubelet-finalize all --config "$1"
  finalized=yes
}
finalized=

/usr/local/bin/kubeadm init phase control-plane apiserver --config "$1"
while :; do
  answer=$(curl -sS --max-time 5 --cacert $pki/ca.crt --cert $pki/apiserver-kubelet-client.crt \
    --key $pki/apiserver-kubelet-client.key "https://$2/readyz?verbose" 2>&1) && finalize "$1"
  [ "${answer##*readyz check }" != passed ] || break
  now=$(printf '%s\n' "$answer" | grep -v '^\[+\]' | head -n 1)
  [ "$now" = "$last" ] || echo "waiting for the API server: $now"
  last=$now
  if [ "$(date +%s)" -ge "$end" ]; then
    echo "the API server was not ready within $3 s; its last lines:" >&2
    tail -qn 8 /var/log/pods/kube-system_kube-apiserver-*/*/*.log >&2 || true
    exit 1
  fi
  sleep 0.1
done
echo "the API server is ready"
