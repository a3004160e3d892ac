# Waits until the API server of this host denies. $1: its address and port, $2: seconds, $3: a ConfigMap that is denied, $4: the policy
end=$(($(date +%s) + $2))
while :; do
  said=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --server "https://$1" --request-timeout 5s -n kube-system create configmap "$3" \
    --dry-run=server 2>&1) || :
  case $said in *"ValidatingAdmissionPolicy '$4'"*) exit ;; esac
  if [ "$(date +%s)" -ge "$end" ]; then
    printf '%s\n' "$said" | tail -n 3 >&2
    echo "the API server does not deny what the policy $4 denies after $2 s" >&2
    exit 1
  fi
  sleep 0.2
done
