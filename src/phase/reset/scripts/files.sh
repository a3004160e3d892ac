# Folders go where nothing else is in them. A folder that is a disk of its own is emptied, never what is mounted below it.
set -e
list standing | while read -r path; do
  find "$path" -xdev -mindepth 1 -delete
done
list files | while IFS= read -r path; do
  case $path in
    /etc/kubernetes/* | /var/lib/kubelet/* | /var/lib/cni/* | /etc/cni/net.d/*) rm -rf --one-file-system -- "$path" ;;
    *)
      if [ -d "$path" ] && [ ! -L "$path" ]; then
        mountpoint -q -- "$path" || rmdir -- "$path"
      else
        rm -f -- "$path"
      fi
      ;;
  esac
done
systemctl daemon-reload
