# Nodes as the store has them were ready when the backup was made. kubeadm lets nobody join by a name that is.
# The arguments: their names.
config=/etc/kubernetes/super-admin.conf
[ -e $config ] || config=/etc/kubernetes/admin.conf
k() { kubectl --kubeconfig $config "$@"; }
for name in "$@"; do
  ! k get node "$name" >/dev/null 2>&1 || k patch node "$name" --subresource=status \
    -p '{"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"Restored","message":"the machine joins again"}]}}'
done
