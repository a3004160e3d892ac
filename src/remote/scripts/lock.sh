# Takes the host's lock and holds it until standard input closes. $1: the lock, $2: the owner's text, $3: seconds to wait for a
# change of an earlier connection that still runs, $4: seconds to wait for another run. Answers `held`, `locked` with the owner, or
# `busy`; before it waits for another run, `waits` with the owner.
# Appending, so that a lock that another holds keeps its text.
umask 077
exec 9>>"$1" 8>>"$1.steps" || exit 1
# The lock of a run that was killed a moment ago is given back as soon as the host hears of it.
if ! flock -w 1 9; then
  [ "$4" -eq 0 ] || printf 'waits\t%s\n' "$(head -n 1 "$1")"
  if [ "$4" -eq 0 ] || ! flock -w "$4" 9; then
    printf 'locked\t%s\n' "$(head -n 1 "$1")"
    exit 0
  fi
fi
if ! flock -w "$3" 8; then
  echo busy
  exit 0
fi
exec 8>&-
printf '%s\n%s\n' "$2" "$$" >"$1"
echo held
exec cat >/dev/null
