# $1: kubeadm's configuration, $2: the kubeconfig with the token, $3: the node's name. The token goes away whatever becomes of it.
trap 'rm -f -- "$ticket"' EXIT
# At its deadline as well: without this the shell would end at once.
trap 'exit 143' TERM
ticket=$2
own=/etc/kubernetes/kubelet.conf
# A run that was cut off after the node had joined: kubeadm would refuse a name that is there and Ready.
if [ -e $own ] && kubectl --kubeconfig $own --request-timeout=10s get node "$3" >/dev/null 2>&1; then
  systemctl is-active --quiet kubelet || systemctl start kubelet
  exit 0
fi
rm -f $own /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt
/usr/local/bin/kubeadm join --config "$1" --skip-phases=preflight
