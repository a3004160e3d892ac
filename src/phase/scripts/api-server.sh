# Writes the manifests of the control plane and waits until the API server is ready.
# $1: kubeadm's configuration. $2: the API's name. $3: seconds to wait.
/usr/local/bin/kubeadm init phase control-plane all --config "$1"
pki=/etc/kubernetes/pki
end=$(($(date +%s) + $3))
last=
until answer=$(curl -sS --max-time 5 --cacert $pki/ca.crt --cert $pki/apiserver-kubelet-client.crt \
  --key $pki/apiserver-kubelet-client.key "https://$2:6443/readyz?verbose" 2>&1) &&
  [ "${answer##*readyz check }" = passed ]; do
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
