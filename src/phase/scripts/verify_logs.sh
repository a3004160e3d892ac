# The last lines that the client in the namespace "$1" printed.
kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=10s \
    get --raw "/api/v1/namespaces/$1/pods/client/log?tailLines=20"
