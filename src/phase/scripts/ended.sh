# ended CONTAINER: the kubelet is through with static Pods of it. One of the same name that comes before is looked at again after 10 to 15 s only
# (backOffPeriod of its pod workers). Nothing tells when it is; it stops the sandbox, whose cgroups go, lists containers every second, and takes
# the Pod's folder away every other second. What does not go is not waited for any longer than it would take anyway.
ended() {
  found=
  for there in /var/lib/kubelet/pods/*/containers/$1; do
    uid=${there#/var/lib/kubelet/pods/}
    uid=${uid%%/*}
    # That of a static Pod is a hash.
    case $uid in '*' | *-*) continue ;; esac
    found=yes
    tenths=0
    while [ "$tenths" -lt 100 ] &&
      { [ -e "/var/lib/kubelet/pods/$uid" ] || find /sys/fs/cgroup -type d -name "*pod$uid*" -print -quit 2>/dev/null | grep -q .; }; do
      tenths=$((tenths + 1))
      sleep 0.1
    done
  done
  [ -z "$found" ] || sleep 1.1
}
