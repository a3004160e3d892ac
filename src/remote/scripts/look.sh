# Looks at a host and changes nothing. $1: the journal. Standard input: what to look at, KIND<tab>VALUE a line, `end` last.
# Answers in sections, each begun by `== NAME`; what the lines mean is read on the other side (look.rs), so little is done here.
newline='
'
tab=$(printf '\t')
journal=$1
IFS=$newline
set -f

files='' texts='' sysctls='' units='' packages='' images='' features='' complete=''
for line in $(cat); do
  value=${line#*"$tab"}
  case $line in
    file"$tab"*) files=$files$newline$value ;;
    text"$tab"*) texts=$texts$newline$value ;;
    sysctl"$tab"*) sysctls=$sysctls$newline$value ;;
    unit"$tab"*) units=$units$newline$value ;;
    package"$tab"*) packages=$packages$newline$value ;;
    image"$tab"*) images=$images$newline$value ;;
    feature"$tab"*) features=$features$newline$value ;;
    end) complete=yes ;;
  esac
done
if [ -z "$complete" ]; then
  echo 'the questions were cut off on their way' >&2
  exit 1
fi

have() {
  command -v "$1" >/dev/null
}

existing() {
  for path in "$@"; do
    if [ -e "$path" ]; then
      printf '%s\n' "$path"
    fi
  done
}

echo '== clock'
date +%s%3N
echo '== uname'
names=$(uname -rm)
kernel=${names% *}
printf '%s\n' "$names"

# Small files that are read elsewhere, each line with its path in front.
echo '== lines'
grep -aHs '' /etc/os-release /etc/fstab /proc/swaps /proc/filesystems /proc/meminfo /proc/1/status \
  /proc/sys/kernel/hostname /sys/devices/system/cpu/online $sysctls

echo '== existing'
existing /sys/fs/cgroup/cgroup.controllers /proc/modules "/lib/modules/$kernel" /proc/sys/net/bridge \
  /proc/sys/net/netfilter/nf_conntrack_max /proc/net/nf_conntrack /proc/net/ip_vs

# What another cluster, or one that was not taken apart, leaves behind: files, and folders that are not empty.
echo '== traces'
set +f
existing /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf /etc/kubernetes/manifests/* /etc/kubernetes/pki/ca.crt \
  /var/lib/kubelet/config.yaml /etc/cni/net.d/* /var/lib/etcdless/kine/*.db
for path in /var/lib/etcd /etc/rancher /var/lib/rancher /etc/k0s /var/lib/k0s /var/snap/microk8s; do
  set -- "$path"/*
  if [ -e "$1" ]; then
    printf '%s\n' "$path"
  fi
done
set -f

echo '== features'
set --
for name in $features; do
  if [ -d "/sys/module/$name" ]; then
    printf '%s\n' "$name"
  else
    set -- "$@" "$name"
  fi
done
if [ "$#" -gt 0 ]; then
  if [ -e /proc/modules ] && have modprobe; then
    echo '== modprobe'
    modprobe --dry-run --all "$@" 2>&1
  fi
  for name in "$@"; do
    set -- "$@" -e "/$name.ko"
    shift
  done
  echo '== builtin'
  grep -Fs "$@" "/lib/modules/$kernel/modules.builtin"
fi

# The kind and permissions are the hexadecimal mode. What is too large to hash at every look has a journal's entry instead.
echo '== files'
found=$(TZ=UTC0 stat -L -c "%f$tab%s$tab%y$tab%n" -- /proc/sys/net/netfilter/nf_conntrack_max $files 2>/dev/null)
printf '%s\n' "$found"
set --
for line in $found; do
  rest=${line#*"$tab"}
  case $line in
    8*) [ "${rest%%"$tab"*}" -gt 1048576 ] || set -- "$@" "${rest#*"$tab"*"$tab"}" ;;
  esac
done
if [ "$#" -gt 0 ]; then
  echo '== sha256'
  sha256sum -- "$@" 2>/dev/null
fi

echo '== texts'
for path in "$journal" $texts; do
  if [ -f "$path" ] && text=$(base64 -w 0 -- "$path" 2>/dev/null); then
    printf '%s\t%s\n' "$path" "$text"
  fi
done

echo '== swapunits'
systemctl list-units --type=swap --all --plain --no-legend --full 2>/dev/null
if [ -n "$units" ]; then
  # Microseconds where systemctl can show them (247 and later).
  echo '== units'
  properties=Names,LoadState,ActiveState,UnitFileState,NeedDaemonReload,InactiveExitTimestamp,ExecMainStartTimestamp
  TZ=UTC0 systemctl show --timestamp=us -p "$properties" -- $units 2>/dev/null ||
    TZ=UTC0 systemctl show -p "$properties" -- $units 2>/dev/null
fi

if [ -n "$packages" ]; then
  echo '== packages'
  if have dpkg-query; then
    dpkg-query -W -f '${db:Status-Status}\t${Package}\t${Version}\n' -- $packages 2>/dev/null
  elif have rpm; then
    rpm -q --qf 'installed\t%{NAME}\t%{VERSION}-%{RELEASE}\n' -- $packages 2>/dev/null
  fi
fi

# A socket that nobody serves makes ctr wait.
if [ -n "$images" ] && [ -S /run/containerd/containerd.sock ] && have ctr; then
  echo '== images'
  timeout 10 ctr -n k8s.io images ls -q 2>/dev/null
fi

echo '== addresses'
ip -o addr show 2>/dev/null
echo '== route'
ip -4 -o route get 1.0.0.0 2>/dev/null || ip -6 -o route get 2000:: 2>/dev/null
echo '== listeners'
ss -ltnpH 2>/dev/null
echo '== free'
for path in /var/lib/containerd /var/lib/kubelet /var/lib/etcdless /usr/local /etc; do
  while [ ! -e "$path" ]; do
    path=${path%/*}
  done
  stat -c %m -- "$path"
done 2>/dev/null | sort -u | while read -r mount; do
  stat -f -c "%a$tab%b$tab%S$tab%n" -- "$mount" 2>/dev/null
done
echo '== tools'
for name in curl tar gzip sha256sum systemctl modprobe iptables nft ip ss mount conntrack socat ethtool flock timeout base64; do
  if have "$name"; then
    printf '%s\n' "$name"
  fi
done
echo '== end'
