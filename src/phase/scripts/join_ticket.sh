# $1: where the kubeconfig belongs, $2: the API's name and port.
set -e
umask 077
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
# What `kubeadm token create` makes; kubeadm itself refuses on a host whose default route has no address.
random() { tr -dc 'a-z0-9' </dev/urandom | head -c "$1"; }
id=$(random 6)
secret=$(random 16)
kubectl --kubeconfig $config create -f - <<SECRET
apiVersion: v1
kind: Secret
metadata: { name: bootstrap-token-$id, namespace: kube-system }
type: bootstrap.kubernetes.io/token
stringData:
  token-id: "$id"
  token-secret: "$secret"
  description: "etcdless: hosts join"
  expiration: "$(date -u -d '+30 minutes' +%Y-%m-%dT%H:%M:%SZ)"
  usage-bootstrap-authentication: "true"
  usage-bootstrap-signing: "true"
  auth-extra-groups: system:bootstrappers:kubeadm:default-node-token
SECRET
mkdir -p "${1%/*}"
cat >"$1" <<CONFIG
apiVersion: v1
kind: Config
clusters:
- name: join
  cluster:
    server: https://$2
    certificate-authority-data: $(base64 -w 0 /etc/kubernetes/pki/ca.crt)
users:
- name: join
  user:
    token: $id.$secret
contexts:
- name: join
  context:
    cluster: join
    user: join
current-context: join
CONFIG
