# Enabled and started ones as they were; a unit's file goes with the other files.
set -e
for unit in $({ list noted enabled; list noted started; } | sort -u); do
  systemctl stop -- "$unit" 2>/dev/null || :
  ! has_noted enabled "$unit" || systemctl --quiet disable -- "$unit" 2>/dev/null || :
  systemctl reset-failed -- "$unit" 2>/dev/null || :
done
set +f
for unit in $(systemctl list-units --all --plain --no-legend --full 'kubepods*.slice' 'cri-containerd-*.scope' | cut -d ' ' -f 1); do
  systemctl stop -- "$unit" 2>/dev/null || :
  systemctl reset-failed -- "$unit" 2>/dev/null || :
done
# With cgroup v1, the kubelet makes some that systemd does not know of.
find /sys/fs/cgroup/kubepods* /sys/fs/cgroup/*/kubepods* -depth -type d -exec rmdir {} + 2>/dev/null || :
