# Fresh Debian hosts with systemd and sshd, as systemd-nspawn containers with a disk, an address and a cgroup of their own.
# hosts/NAME is the disk; NAME.conf, NAME.pid and NAME.log lie beside it.
# shellcheck shell=bash disable=SC2154

# The lab's hosts; `up --suite unstable` is for what only Debian unstable has, such as MySQL.
default_suite=bookworm

host_name() {
  [[ ${1:-} =~ ^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$ ]] || die "\`${1:-}\` is no host name here: 1 to 12 of a-z, 0-9 and -"
  echo "$1"
}
host_exists() { host_name "${1:-}" >/dev/null; [ -d "$LAB/hosts/$1" ] || die "no host $1; lab status lists them"; }
host_names() { local f; for f in "$LAB"/hosts/*.conf; do [ ! -f "$f" ] || basename "$f" .conf; done; }
# host_value NAME KEY
host_value() { sed -n "s/^$2=//p" "$LAB/hosts/$1.conf"; }

# One root is bootstrapped, then copied for every host. Like a small VM image: systemd, sshd, what kubeadm's documentation asks for, no runtime.
base() {
  local started=$SECONDS suite=$1 root; root=$(base_folder "$suite")
  [ -f "$root.done" ] && return
  echo "bootstrapping Debian $suite, once"
  rm -rf --one-file-system "$root"
  debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,iproute2,iptables,kmod,sudo,ca-certificates,procps,ethtool,socat,conntrack,curl,netbase \
    "$suite" "$root" >"$LAB/debootstrap.log" 2>&1 9>&- || die "debootstrap failed: $(tail -n 3 "$LAB/debootstrap.log")"
  [ -f "$LAB/id" ] || ssh-keygen -q -t ed25519 -N '' -C lab -f "$LAB/id"
  # The host's cgroup tree and /proc/sys arrive read-only, and /dev/kmsg is missing; a real machine has them.
  cat >"$root/etc/systemd/system/lab-writable.service" <<'UNIT'
[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mount -o remount,bind,rw /sys/fs/cgroup; for c in /sys/fs/cgroup/*; do mountpoint -q $c && mount -o remount,bind,rw $c; done; mount -o remount,bind,rw /proc/sys; [ -e /dev/kmsg ] || ln -s /dev/null /dev/kmsg; mount --make-rshared /'
[Install]
WantedBy=sysinit.target
UNIT
  chroot "$root" systemctl enable -q lab-writable.service systemd-networkd ssh
  if [ "$suite" = $default_suite ] && [ -f /etc/apt/sources.list.d/debian.sources ]; then
    cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"; rm -f "$root/etc/apt/sources.list"
  fi
  # A mirror may be older than the week for which unstable's index is valid.
  [ "$suite" = $default_suite ] || echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/90-lab"
  rm -rf "$root/etc/hostname" "$root"/etc/ssh/ssh_host_* "$root"/var/cache/apt/archives/*.deb
  : >"$root/etc/machine-id"
  touch "$root.done"
  echo "base took $((SECONDS - started)) s"
}

base_folder() { if [ "$1" = $default_suite ]; then echo "$LAB/base"; else echo "$LAB/base-$1"; fi; }

up() {
  local name=${1:-} ip=${2:-} login=root egress=yes mirror=yes suite=$default_suite
  [ $# -ge 2 ] || die "up NAME IP [--user USER] [--no-egress] [--no-mirror] [--suite unstable]"
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      --user) login=${2:?--user needs a name}; shift 2 ;;
      --no-egress) egress=no; shift ;;
      --no-mirror) mirror=no; shift ;;
      --suite) suite=${2:-}; [[ $suite =~ ^($default_suite|unstable)$ ]] || die "--suite $default_suite or unstable"; shift 2 ;;
      *) die "up does not know $1" ;;
    esac
  done
  host_name "$name" >/dev/null
  [[ $ip =~ ^"$LAB_NET".([0-9]+)$ ]] && [ "${BASH_REMATCH[1]}" -ge 2 ] && [ "${BASH_REMATCH[1]}" -le 254 ] ||
    die "$ip is not an address of the lab: $LAB_NET.2 to $LAB_NET.254"
  [[ $login =~ ^[a-z][a-z0-9-]*$ ]] || die "--user $login: a login name"
  locked base base "$suite"
  locked "host-$name" create_host "$name" "$ip" "$login" "$egress" "$mirror" "$suite"
}

create_host() {
  local name=$1 ip=$2 login=$3 root=$LAB/hosts/$1 other home
  [ ! -e "$root" ] || die "$name exists; lab down $name"
  for other in $(host_names); do [ "$(host_value "$other" IP)" != "$ip" ] || die "$ip belongs to $other"; done
  printf 'IP=%s\nLOGIN=%s\nEGRESS=%s\nMIRROR=%s\nSUITE=%s\nOWNER=%s\n' "$ip" "$login" "$4" "$5" "$6" "${LAB_OWNER:-}" >"$LAB/hosts/$name.conf"
  rm -rf --one-file-system "$root.part"
  cp -a --reflink=auto "$(base_folder "$6")" "$root.part"
  root=$root.part
  rm -f "$root/var/lib/dbus/machine-id"   # systemd would take it for this host's own
  echo "$name" >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$root/etc/hosts"
  cp -L /etc/resolv.conf "$root/etc/resolv.conf"
  # The name sorts before systemd's own 80-container-host0.network.
  printf '[Match]\nName=host0\n[Network]\nAddress=%s/24\nGateway=%s\nDHCP=no\nLinkLocalAddressing=no\n' "$ip" "$gateway" \
    >"$root/etc/systemd/network/10-host0.network"
  ssh-keygen -q -t ed25519 -N '' -C "root@$name" -f "$root/etc/ssh/ssh_host_ed25519_key"
  home=$root/root
  if [ "$login" != root ]; then
    chroot "$root" useradd -m -s /bin/bash "$login"
    echo "$login ALL=(ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/90-lab"; chmod 440 "$root/etc/sudoers.d/90-lab"
    home=$root/home/$login
  fi
  install -d -m 700 "$home/.ssh"; install -m 600 "$LAB/id.pub" "$home/.ssh/authorized_keys"
  chown -R --reference="$home" "$home/.ssh"
  mv "$root" "$LAB/hosts/$name"
  start_host "$name"
}

start() {
  host_exists "${1:-}"
  locked "host-$1" start_host "$1"
}

start_host() {
  local name=$1 ip pid deadline; ip=$(host_value "$1" IP)
  if host_runs "$name"; then die "$name runs already"; fi
  [ ! -e "/sys/class/net/vb-$name" ] || die "a host $name of another lab runs on this machine"
  kill_host "$name"
  locked network network_up
  locked network host_rules "$name" "$ip"
  (
    exec 9>&-
    enter_cgroup "$name"
    if [ "$(host_value "$name" SUITE)" = unstable ]; then enter_cgroup2 "$name"; export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1; fi
    SYSTEMD_SECCOMP=0 exec setsid systemd-nspawn -q -D "$LAB/hosts/$name" -b --register=no --keep-unit --network-bridge="$bridge" \
      --capability=all --private-users=no --machine="$name"
  ) >"$LAB/hosts/$name.log" 2>&1 </dev/null &
  pid=$!
  echo $pid >"$LAB/hosts/$name.pid"
  # Booted, not only reachable: what runs next should not share the machine with the rest of the boot.
  deadline=$((SECONDS + 60))
  until log_in "$name" 'systemctl is-system-running --wait >/dev/null; true' 2>/dev/null; do
    [ -d "/proc/$pid" ] || die "$name did not boot: $(tail -n 3 "$LAB/hosts/$name.log")"
    [ $SECONDS -lt $deadline ] || die "$name does not answer after 60 s; see $LAB/hosts/$name.log"
    sleep 0.1
  done
}

host_rules() {
  local mark=$bridge.$1 ip=$2
  if [ "$(host_value "$1" EGRESS)" = no ]; then
    rule filter FORWARD -I "$mark" -s "$ip" ! -o "$bridge" -j REJECT
  fi
  if [ "$(host_value "$1" MIRROR)" = no ]; then
    rule filter INPUT -I "$mark" -s "$ip" -p tcp -m multiport --dports 5000,8000:8999 -j REJECT --reject-with tcp-reset
  fi
}

# The machine's cgroup hierarchies: one with cgroup v2, one for each controller with v1.
hierarchies() { if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else printf '%s\n' /sys/fs/cgroup/*; fi; }

# A host needs a cgroup of its own in every hierarchy. Without it all hosts share /kubepods.slice, and each kubelet removes the others' pods.
enter_cgroup() {
  local c g
  for c in $(hierarchies); do
    g=$c/$bridge.$1; mkdir -p "$g"
    if [ -f "$g/cpuset.cpus" ] && [ -f "$g/cgroup.clone_children" ]; then
      cat "$c/cpuset.cpus" >"$g/cpuset.cpus"; cat "$c/cpuset.mems" >"$g/cpuset.mems"; echo 1 >"$g/cgroup.clone_children"
    fi
    echo "$BASHPID" >"$g/cgroup.procs"
  done
}

# systemd of unstable needs cgroup v2. Where the machine's is v1, v2 is there too, only mounted nowhere; hosts that share its root would end each other's services.
enter_cgroup2() {
  [ ! -f /sys/fs/cgroup/cgroup.controllers ] || return 0
  mkdir -p "$LAB/cgroup2"
  mountpoint -q "$LAB/cgroup2" || mount -t cgroup2 none "$LAB/cgroup2"
  mkdir -p "$LAB/cgroup2/$bridge.$1"
  echo "$BASHPID" >"$LAB/cgroup2/$bridge.$1/cgroup.procs"
}

host_processes() {
  local g=/sys/fs/cgroup/pids/$bridge.$1
  [ -d /sys/fs/cgroup/pids ] || g=/sys/fs/cgroup/$bridge.$1
  [ ! -d "$g" ] || find "$g" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}
host_runs() { [ -n "$(host_processes "$1")" ]; }

# Ends every process of the host at once, as a power cut would.
kill_host() {
  local name=$1 processes c
  for _ in $(seq 200); do
    processes=$(host_processes "$name")
    [ -n "$processes" ] || break
    # shellcheck disable=SC2086
    kill -KILL $processes 2>/dev/null || true
    sleep 0.05
  done
  ! host_runs "$name" || die "processes of $name do not end: $(host_processes "$name" | tr '\n' ' ')"
  for c in $(hierarchies) "$LAB/cgroup2"; do
    [ ! -d "$c/$bridge.$name" ] || find "$c/$bridge.$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  ip link delete "vb-$name" 2>/dev/null || true
  rm -f "$LAB/hosts/$name.pid"
}

down_one() {
  if [ ! -e "$LAB/hosts/$1" ] && [ ! -f "$LAB/hosts/$1.conf" ]; then echo "lab: no host $1 to take down" >&2; return; fi
  kill_host "$1"
  locked network remove_rules "$bridge.$1"
  rm -rf --one-file-system "$LAB/hosts/$1" "$LAB/hosts/$1.part" "$LAB/hosts/$1."{conf,pid,log} "$LAB/servers/$1" "$LAB/servers/$1."{part,log}
}

host_list() {
  local name
  for name in $(host_names); do
    echo "host     $name $(host_value "$name" LOGIN)@$(host_value "$name" IP) $(if host_runs "$name"; then echo "runs, $(host_processes "$name" | wc -l) processes"; else echo 'is off'; fi)" \
      "$(if [ "$(host_value "$name" EGRESS)" = no ]; then echo '(no egress)'; fi)" "$(if [ "$(host_value "$name" MIRROR)" = no ]; then echo '(no mirror)'; fi)"
  done
}

log_in() {
  local to=${1:-} name login=root; [ $# -gt 0 ] || die "ssh NAME|IP [COMMAND]"
  shift
  for name in $(host_names); do
    if [ "$to" = "$name" ] || [ "$to" = "$(host_value "$name" IP)" ]; then to=$(host_value "$name" IP) login=$(host_value "$name" LOGIN); break; fi
  done
  ssh -F none -i "$LAB/id" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=2 -o BatchMode=yes "$login@$to" "$@"
}
