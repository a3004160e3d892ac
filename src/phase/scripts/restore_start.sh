# Starts what restore_stop.sh stopped. What is there again stays as it is.
# $1: the folder with the manifests
for unit in /etc/systemd/system/etcdless-kine-*.service; do
  [ ! -e "$unit" ] || systemctl start "${unit##*/}"
done
for manifest in "$1"/manifests/*.yaml; do
  [ ! -e "$manifest" ] || mv -f -- "$manifest" /etc/kubernetes/manifests/
done
rm -rf -- "$1"
