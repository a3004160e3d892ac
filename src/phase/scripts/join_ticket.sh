# $1: where the kubeconfig belongs, $2: the API's name and port.
set -e
umask 077
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
token=$(/usr/local/bin/kubeadm token create --kubeconfig $config --ttl 30m --description 'etcdless: hosts join')
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
    token: $token
contexts:
- name: join
  context:
    cluster: join
    user: join
current-context: join
CONFIG
