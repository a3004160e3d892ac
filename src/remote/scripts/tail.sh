# Comes after every change: the journal's entry, in one write. A change that took the journal itself away was the last one.
if [ -n "$known" ] && [ ! -e "$journal" ]; then
  exit 0
fi
entry=$(printf 'step\t%s\t%s\t%s\t%s' "$(date +%s)" "$run" "$step" "$digest")
if [ -n "$vouched" ]; then
  set -f
  IFS=$newline
  # shellcheck disable=SC2086
  entry=$entry$newline$(TZ=UTC0 stat -L -c 'file	%n	%s	%y' -- $vouched)
fi
write "$entry"
