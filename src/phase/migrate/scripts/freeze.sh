# Stops the API server, and sees to it that it is back when nobody says otherwise in time. $1: the migration's folder, $2: seconds, $3: the
# store that serves
cd "$1" || exit
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
# Before anything stops: a timer that finds nothing frozen does nothing.
systemctl start etcdless-thaw.timer
echo "frozen $3" >state.draft
mv -fT state.draft state
flock -u 9
rm -f /etc/kubernetes/manifests/kube-apiserver.yaml
# It would wait for its watchers, who would wait for it; what it acknowledged is in the store.
tenths=0
# shellcheck disable=SC2086
while pids=$(pidof kube-apiserver); do
  case $tenths in
  600)
    echo "the API server does not end" >&2
    exit 1
    ;;
  20 | 40 | 60) kill -TERM $pids 2>/dev/null || : ;;
  80 | 120 | 160 | 200 | 300 | 400 | 500) kill -KILL $pids 2>/dev/null || : ;;
  esac
  tenths=$((tenths + 1))
  sleep 0.1
done
