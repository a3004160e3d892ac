# Stops the API server, and sees to it that it is back when nobody says otherwise in time. $1: the migration's folder, $2: seconds, $3: the
# store that serves
cd "$1"
exec 9>lock
flock 9
case $(cat state) in
staged | "on $3" | "frozen $3") ;;
*)
  printf 'it cannot be frozen: %s\n' "$(cat state)" >&2
  exit 1
  ;;
esac
systemctl stop etcdless-thaw.timer 2>/dev/null || :
printf '[Timer]\nOnActiveSec=%s\nAccuracySec=1\n' "$2" >/run/systemd/system/etcdless-thaw.timer
systemctl daemon-reload
systemctl enable etcdless-thaw.service
echo "frozen $3" >state.draft
mv -fT state.draft state
systemctl start etcdless-thaw.timer
flock -u 9
rm -f /etc/kubernetes/manifests/kube-apiserver.yaml
seconds=0
while pidof kube-apiserver >/dev/null; do
  if [ "$seconds" -ge 900 ]; then
    echo "the API server does not end" >&2
    exit 1
  fi
  seconds=$((seconds + 1))
  sleep 0.1
done
