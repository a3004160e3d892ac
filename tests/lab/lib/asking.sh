# shellcheck shell=sh
# Asks the API server over and over from a host, each time over a connection of its own. Prints a line an answer: seconds since 1970, curl's exit code.
# $1: URL, $2: seconds. The certificates are the kubelet's.
end=$(($(date +%s) + $2))
while [ "$(date +%s)" -lt $end ]; do
  curl -sS --max-time 2 -o /dev/null --cacert /etc/kubernetes/pki/ca.crt --cert /var/lib/kubelet/pki/kubelet-client-current.pem \
    --key /var/lib/kubelet/pki/kubelet-client-current.pem --fail "$1" 2>/dev/null
  echo "$(date +%s.%N) $?"
  sleep 0.05
done
