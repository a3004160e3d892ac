# ended CONTAINER: the kubelet is through with static Pods of it. One of the same name that comes before is looked at again after 10 to 15 s only
# (backOffPeriod of its pod workers). It first removes the Pod's folder, every 2 s; what does not go is not waited for any longer than that.
ended() {
  for there in /var/lib/kubelet/pods/*/containers/$1; do
    uid=${there#/var/lib/kubelet/pods/}
    uid=${uid%%/*}
    # That of a static Pod is a hash.
    case $uid in '*' | *-*) continue ;; esac
    tenths=0
    while [ -e "/var/lib/kubelet/pods/$uid" ] && [ "$tenths" -lt 100 ]; do
      tenths=$((tenths + 1))
      sleep 0.1
    done
    # The Pod's worker looks for the folder every 0.1 s.
    sleep 0.2
  done
}
