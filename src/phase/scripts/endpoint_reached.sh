# The API's endpoint leads to an API server of this cluster. $1: HOST:PORT. $2: seconds to wait: a load balancer takes a moment to notice.
pki=/etc/kubernetes/pki
end=$(($(date +%s) + $2))
last=
while :; do
  answer=$(curl -sS --max-time 5 --cacert $pki/ca.crt --cert $pki/apiserver-kubelet-client.crt \
    --key $pki/apiserver-kubelet-client.key "https://$1/readyz" 2>&1) && [ "$answer" = ok ] && exit 0
  answer=$(printf '%s\n' "$answer" | head -n 1)
  [ "$answer" = "$last" ] || echo "waiting for $1: $answer"
  last=$answer
  if [ "$(date +%s)" -ge "$end" ]; then
    echo "$1 does not lead from here to an API server of this cluster: it must pass TCP on to port 6443 of the control planes, untouched" >&2
    exit 1
  fi
  sleep 0.2
done
