# Comes after every change: the journal's entry, in one write. An entry that was torn by a power cut is ended first.
entry=$(printf 'step\t%s\t%s\t%s\t%s' "$(date +%s)" "$run" "$step" "$digest")
if [ -n "$vouched" ]; then
  set -f
  IFS=$newline
  # shellcheck disable=SC2086
  entry=$entry$newline$(TZ=UTC0 stat -L -c 'file	%n	%s	%y' -- $vouched)
fi
mkdir -p "${journal%/*}"
umask 077
if [ -s "$journal" ] && [ -n "$(tail -c 1 "$journal")" ]; then
  entry=$newline$entry
fi
printf '%s\n' "$entry" >>"$journal"
