# Prints a part of a file, compressed.
#
# $1 the file   $2 which part, from 0   $3 MiB a part
set -eu
dd if="$1" bs=1M skip=$(($2 * $3)) count="$3" 2>/dev/null | gzip -1
