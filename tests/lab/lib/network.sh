# The bridge between the hosts, and the machine's firewall rules for it. Every rule carries the bridge's name as its comment.
# shellcheck shell=bash disable=SC2154

network_up() {
  rule nat POSTROUTING -A "$bridge" -s "$LAB_NET.0/24" ! -o "$bridge" -j MASQUERADE
  rule filter FORWARD -A "$bridge" -i "$bridge" -j ACCEPT
  rule filter FORWARD -A "$bridge" -o "$bridge" -j ACCEPT
  ip link show "$bridge" >/dev/null 2>&1 || { ip link add "$bridge" type bridge; ip addr add "$gateway/24" dev "$bridge"; }
  ip link set "$bridge" up
  # Hosts reach the package registries through this machine, and share its inotify limits.
  raise net.ipv4.ip_forward 1
  raise fs.inotify.max_user_instances 8192
  raise fs.inotify.max_user_watches 1048576
}

network_down() {
  remove_rules "$bridge"
  ip link show "$bridge" >/dev/null 2>&1 && ip link delete "$bridge"
  [ -f "$LAB/sysctl.before" ] || return 0
  sysctl -q -p "$LAB/sysctl.before"; rm "$LAB/sysctl.before"
}

# rule TABLE CHAIN -A|-I COMMENT MATCH...: adds a rule unless it is there.
rule() {
  local table=$1 chain=$2 how=$3 comment=$4; shift 4
  iptables -w -t "$table" -C "$chain" "$@" -m comment --comment "$comment" 2>/dev/null ||
    iptables -w -t "$table" "$how" "$chain" "$@" -m comment --comment "$comment"
}

remove_rules() {
  local table line
  for table in nat filter; do
    iptables -w -t "$table" -S | { grep -E -- "--comment \"?$1\"?( |\$)" || true; } | while read -r line; do
      xargs iptables -w -t "$table" <<<"-D ${line#-A }"
    done
  done
}

# raise NAME VALUE: a kernel setting that is lower now; `lab clean` puts the former one back.
raise() {
  local now; now=$(sysctl -n "$1")
  [ "$now" -lt "$2" ] || return 0
  echo "$1=$now" >>"$LAB/sysctl.before"
  sysctl -qw "$1=$2"
}
