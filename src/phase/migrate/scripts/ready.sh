# Waits until the API server of this host is ready. $1: its address and port, $2: seconds
end=$(($(date +%s) + $2))
until said=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --server "https://$1" --request-timeout 5s get --raw /readyz 2>&1); do
  if [ "$(date +%s)" -ge "$end" ]; then
    printf '%s\n' "$said" | tail -n 3 >&2
    echo "the API server is not ready after $2 s" >&2
    exit 1
  fi
  sleep 0.2
done
