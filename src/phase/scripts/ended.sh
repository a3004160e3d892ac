# ended CONTAINER: the kubelet is through with static Pods of it. One of the same name that comes before is looked at again after 10 to 15 s only
# (backOffPeriod of the kubelet's pod workers). It removes a Pod's cgroups last; what does not go is not waited for any longer than that.
ended() {
  for there in /var/lib/kubelet/pods/*/containers/$1; do
    uid=${there#/var/lib/kubelet/pods/}
    uid=${uid%%/*}
    # That of a static Pod is a hash.
    case $uid in '*' | *-*) continue ;; esac
    tenths=0
    while [ "$tenths" -lt 100 ] && find /sys/fs/cgroup -type d -name "*pod$uid*" -print -quit | grep -q .; do
      tenths=$((tenths + 1))
      sleep 0.1
    done
  done
}
