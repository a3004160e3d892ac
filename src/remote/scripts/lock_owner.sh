# $1: the lock, $2: `ask` or `break`. Answers the owner's text, or nothing where nobody holds it. `break` ends the holder.
[ -e "$1" ] || exit 0
exec 9>>"$1" || exit 1
if flock -n 9; then
  exit 0
fi
{
  read -r owner
  read -r holder
} <"$1"
if [ "$2" = break ]; then
  kill "$holder" && flock -w 10 9 || exit 1
fi
printf '%s\n' "$owner"
