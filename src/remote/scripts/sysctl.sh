# $1: the key's path under /proc/sys, $2: the value. The first value that was there is the one that `reset` puts back.
if ! grep -qsF -- "sysctl	$1	" "$journal"; then
  note sysctl "$1	$(cat -- "$1")"
fi
printf '%s\n' "$2" >"$1"
