# Comes before every script of `reset`. $1: the journal, $2: `node`, or `server` for the host of a database server.
# A function a kind of thing, each printing what is still here, one a line; so what is taken apart, what `--dry-run` shows and what is
# proven in the end is the same list.
journal=$1
role=$2
shift 2
kept=/var/lib/etcdless/kine
tab=$(printf '\t')
newline='
'
set -f

# Within a script that ends at the first error: that something is not there is none.
list() (
  set +e
  "$@"
  :
)

have() {
  command -v "$1" >/dev/null
}

# What the journal noted of a kind.
noted() {
  [ ! -e "$journal" ] || sed -n "s/^$1$tab//p" "$journal" | sort -u
}

has_noted() {
  grep -qsxF -e "$1$tab$2" "$journal"
}

exists() {
  [ -e "$1" ] || [ -L "$1" ]
}

# Whether etcdless was here at all: of others nothing is touched.
ours() {
  [ -e "$journal" ] || [ -e /etc/etcdless ]
}

# A containerd that was here before stays; only what Kubernetes has in it goes.
brought_containerd() {
  has_noted made /usr/local/bin/containerd || has_noted package containerd
}

# Pods' processes by their cgroup, and the shims that hold them: those of this system, not of a container that runs Kubernetes itself.
pids() {
  set +f
  grep -ls '^[^:]*:[^:]*:/kubepods' /proc/[0-9]*/cgroup
  here=$(readlink /proc/self/ns/pid)
  for comm in $(grep -ls '^containerd-shim' /proc/[0-9]*/comm); do
    if grep -qsxz k8s.io "${comm%/comm}/cmdline" && [ "$(readlink "${comm%/comm}/ns/pid")" = "$here" ]; then
      printf '%s\n' "$comm"
    fi
  done
  set -f
}

processes() {
  pids | cut -d / -f 3 | sort -un | while read -r pid; do
    # It may have ended meanwhile.
    if { read -r name <"/proc/$pid/comm"; } 2>/dev/null; then
      printf '%s %s\n' "$pid" "$name"
    fi
  done
}

# Units that etcdless enabled or started, and what the kubelet and containerd had systemd make.
units() {
  { noted enabled; noted started; } | sort -u | while read -r unit; do
    if systemctl --quiet is-active -- "$unit"; then
      printf '%s\n' "$unit"
    elif has_noted enabled "$unit" && [ "$(systemctl is-enabled -- "$unit" 2>/dev/null)" = enabled ]; then
      printf '%s\n' "$unit"
    fi
  done
  systemctl list-units --all --plain --no-legend --full 'kubepods*.slice' 'cri-containerd-*.scope' | cut -d ' ' -f 1
}

# The last one mounted first.
mounts() {
  while read -r _ path _; do
    case $path in
      /var/lib/kubelet/* | /run/netns/cni-* | /var/lib/cni/* | /run/containerd/*/k8s.io/*) ;;
      /run/containerd/* | /var/lib/containerd/*) brought_containerd || continue ;;
      *) continue ;;
    esac
    # Blanks are written as \040.
    printf '%b\n' "$path"
  done </proc/self/mounts | tac
}

links() {
  set +f
  for path in /sys/class/net/*; do
    case ${path##*/} in
      cni0 | flannel.1 | flannel-v6.1 | kube-ipvs0) printf '%s\n' "${path##*/}" ;;
      # As the bridge plugin of CNI names its ends: eight digits.
      veth[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]) printf '%s\n' "${path##*/}" ;;
    esac
  done
  set -f
}

# The programs that show iptables' rules: of both kinds where both are installed.
savers() {
  for family in iptables ip6tables; do
    if have $family-nft-save; then
      echo $family-nft
      ! have $family-legacy-save || echo $family-legacy
    elif have $family-save; then
      echo $family
    fi
  done
}

# `iptables-nft nat KUBE-SERVICES`, `nft ip kube-proxy`, `ipset KUBE-CLUSTER-IP`, `ipvs -t 10.96.0.1:443`.
rules() {
  for family in $(savers); do
    $family-save 2>/dev/null | while read -r first _; do
      case $first in
        \**) table=${first#\*} ;;
        :KUBE-* | :CNI-* | :FLANNEL-*) printf '%s %s %s\n' "$family" "$table" "${first#:}" ;;
      esac
    done
  done
  if have nft; then
    nft list tables 2>/dev/null | sed -n 's/^table \([^ ]*\) \(kube-proxy\|flannel-ipv[46]\)$/nft \1 \2/p'
  fi
  if have ipset; then
    ipset list -name 2>/dev/null | sed -n 's/^KUBE-/ipset &/p'
  fi
  # kube-proxy gives the addresses of all its Services to one link.
  if have ipvsadm && [ -e /sys/class/net/kube-ipvs0 ]; then
    addresses=$(ip -o address show dev kube-ipvs0 | tr -s ' ' | cut -d ' ' -f 4)
    ipvsadm --save --numeric 2>/dev/null | while read -r verb protocol server _; do
      address=${server%:*}
      address=${address#[}
      case "$verb $newline$addresses$newline" in
        "-A "*"$newline${address%]}/"*) printf 'ipvs %s %s\n' "$protocol" "$server" ;;
      esac
    done
  fi
}

# Folders whose whole content is Kubernetes', or a server's that goes with its data.
trees() {
  if [ "$role" = server ]; then
    printf '%s\n' /etc/mysql /etc/postgresql /etc/postgresql-common /var/lib/mysql /var/lib/postgresql /var/log/mysql /var/log/postgresql
  else
    printf '%s\n' /etc/cni /etc/kubernetes /opt/cni /opt/containerd /root/.kube/cache /run/flannel /usr/libexec/kubernetes /var/lib/cni \
      /var/lib/containerd /var/lib/kubelet /var/log/containers /var/log/pods
    ! brought_containerd || printf '%s\n' /run/containerd /run/nri
  fi
}

is_tree() {
  case $1 in
    /run/*) true ;;
    *) has_noted made "$1" ;;
  esac
}

# The trees that are here.
standing() {
  trees | while read -r path; do
    if is_tree "$path" && exists "$path"; then
      printf '%s\n' "$path"
    fi
  done
}

# Folders that etcdless made and somebody else uses, too: `FOLDER<tab>WHAT` is in it.
shared() {
  notes=$(noted made)
  here=$(standing)
  set --
  for path in $here; do
    set -- "$@" -path "$path" -prune -o
  done
  printf '%s\n' "$notes" | while read -r folder; do
    case $folder in
      '' | /var/lib/etcdless* | /etc/etcdless* | /run/etcdless*) continue ;;
    esac
    for path in $here; do
      case $folder in
        "$path" | "$path"/*) continue 2 ;;
      esac
    done
    if [ -d "$folder" ] && [ ! -L "$folder" ]; then
      other=$(find "$folder" -xdev -mindepth 1 "$@" -print 2>/dev/null | grep -vxF -e "$notes" | head -n 1)
      [ -z "$other" ] || printf '%s\t%s\n' "$folder" "$other"
    fi
  done
}

# Everything that was not here before, the deepest first. What etcdless keeps for itself comes last of all, and is not among this.
files() {
  {
    # Where such a folder was here before, what is in it is Kubernetes' all the same: a host with another cluster's is refused.
    for path in /etc/kubernetes /var/lib/kubelet /var/lib/cni /etc/cni/net.d; do
      [ "$role" != node ] || find "$path" -xdev -mindepth 1 -maxdepth 1 2>/dev/null
    done
    standing
    busy=$(shared | cut -f 1)
    noted made | grep -v -e '^/var/lib/etcdless' -e '^/etc/etcdless' -e '^/run/etcdless' | while read -r path; do
      case $newline$busy$newline in
        *"$newline$path$newline"*) ;;
        *) ! exists "$path" || printf '%s\n' "$path" ;;
      esac
    done
  } | sort -ru
}

# What etcdless turned off or set: `hosts`, `swap UNIT`, `fstab`, `sysctl PATH VALUE`, the value being the one from before.
settings() {
  ! grep -qs ' # etcdless$' /etc/hosts || echo hosts
  ! grep -qs '^# etcdless: ' /etc/fstab || echo fstab
  noted masked | while read -r unit; do
    [ "$(systemctl is-enabled -- "$unit" 2>/dev/null)" != masked ] || printf 'swap %s\n' "$unit"
  done
  [ ! -e "$journal" ] || sed -n "s/^sysctl$tab//p" "$journal" | while IFS=$tab read -r path value; do
    # `2048 4096` and such are written with tabs.
    if [ -e "$path" ] && [ "$(tr '\t' ' ' <"$path")" != "$(printf '%s' "$value" | tr '\t' ' ')" ]; then
      printf 'sysctl %s %s\n' "$path" "$value"
    fi
  done
}

# Packages that came with etcdless, as far as nothing else needs them by now.
packages() {
  installed=$(noted package | while read -r name; do
    if have dpkg-query; then
      [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$name" 2>/dev/null)" != installed ] || printf '%s\n' "$name"
    elif have rpm; then
      ! rpm -q --quiet "$name" || printf '%s\n' "$name"
    fi
  done)
  [ -n "$installed" ] || return 0
  needed=
  if have dpkg; then
    # shellcheck disable=SC2086
    needed=$(dpkg --no-act --purge $installed 2>&1 | sed -n 's/^dpkg: dependency problems prevent removal of \([^ :]*\).*/\1/p')
  fi
  for name in $installed; do
    case $newline$needed$newline in
      *"$newline$name$newline"*) ;;
      *) printf '%s\n' "$name" ;;
    esac
  done
}

# The files of SQLite stores.
stores() {
  set +f
  for path in "$kept"/*.db*; do
    ! exists "$path" || printf '%s\n' "$path"
  done
  set -f
}

# What etcdless keeps for itself.
records() {
  for path in /etc/etcdless /run/etcdless; do
    ! exists "$path" || printf '%s\n' "$path"
  done
  find /var/lib/etcdless -xdev -mindepth 1 -maxdepth 1 ! -name kine ! -name 'kine-*' 2>/dev/null
}

# Says what is there that stays, and why.
remarks() {
  shared | while IFS=$tab read -r folder other; do
    printf '%s is not etcdless'\''s: %s stays\n' "$other" "$folder"
  done
  [ -e "$journal" ] || [ ! -e /etc/etcdless ] || echo "$journal is gone: which programs below /usr/local and /opt are etcdless's is not known"
}

# Stores that an earlier `reset` put aside.
aside() {
  set +f
  for path in /var/lib/etcdless/kine-*; do
    ! exists "$path" || printf '%s holds a store that was put aside\n' "$path"
  done
  set -f
}
