# $1: the key's path under /proc/sys, $2: the value.
printf '%s\n' "$2" >"$1"
