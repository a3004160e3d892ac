# $1: unit, $2: `running` or `enabled`, then the files that it watches.
unit=$1
want=$2
shift 2

show() {
  TZ=UTC0 systemctl show --value "$@" -- "$unit"
}

explain() {
  systemctl status --no-pager --full --lines=20 -- "$unit" >&2 || :
  exit 1
}

# Whether a file that it watches is newer than its start.
outdated() {
  [ "$#" -gt 0 ] || return 1
  since=$(show -p ExecMainStartTimestamp --timestamp=us)
  [ -n "$since" ] || since=$(show -p InactiveExitTimestamp --timestamp=us)
  mark=$(mktemp)
  touch -d "$since" "$mark"
  newer=$(find -L "$@" -maxdepth 0 -newer "$mark" 2>/dev/null || :)
  rm -f -- "$mark"
  [ -n "$newer" ]
}

stale=$(show -p NeedDaemonReload)
[ "$stale" = no ] || systemctl daemon-reload
case $(show -p UnitFileState) in
  enabled | static | generated | alias) ;;
  *)
    note enabled "$unit"
    systemctl --quiet enable -- "$unit"
    ;;
esac
if systemctl --quiet is-active -- "$unit"; then
  if [ "$stale" = yes ] || outdated "$@"; then
    systemctl restart -- "$unit" || explain
  fi
elif [ "$want" = running ]; then
  note started "$unit"
  systemctl reset-failed -- "$unit" 2>/dev/null || :
  systemctl start -- "$unit" || explain
fi
if [ "$want" = running ]; then
  systemctl --quiet is-active -- "$unit" || explain
fi
