# Is a host what it was before? Sourced by journeys that take hosts apart. What may differ is in as_before.allowed beside, a pattern a line.
# shellcheck shell=bash disable=SC2154

# snapshot NAME: everything that a host is, a line a thing.
snapshot() {
  on "$1" sh -s <<'SH'
find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o -printf 'file %y %m %l %p\n'
find /etc /usr/local /opt /root -xdev -type f -exec sha256sum {} + | sed 's/^/content /'
find /run -xdev -printf 'run %p\n'
findmnt -rno TARGET | grep -v '^/run/user' | sed 's/^/mount /'
systemctl list-unit-files --no-legend --plain | awk '{ print "unit-file", $1, $2 }'
systemctl list-units --all --no-legend --plain --full | awk '{ print "unit", $1, $3, $4 }'
{ iptables-save; ip6tables-save; } | sed -n 's/^\(-A\|:[^ ]* -\)/rule &/p'
ip -br link | sed 's/[ @].*//; s/^/link /'
ps -eo comm= | sort -u | sed 's/^/process /'
SH
}
# before NAME: keeps what it is now.
before() { snapshot "$1" | sort -u >"$work/$1.before"; }

# is_as_before NAME [ALSO]: the host is what it was; lines that match ALSO may differ, too.
is_as_before() {
  snapshot "$1" | sort -u >"$work/$1.now"
  diff "$work/$1.before" "$work/$1.now" | sed -n 's/^[<>] //p' | grep -vE -f "$here/lib/as_before.allowed" | grep -vE -e "${2:-^$}" >"$work/differs" || true
  if [ -s "$work/differs" ]; then
    diff "$work/$1.before" "$work/$1.now" | grep -F -f "$work/differs" >&2 || true
    fail "$1 is not what it was"
    return 1
  fi
}
