# $1: path, $2: mode, $3: size in bytes; the content on standard input. A content that was cut off replaces nothing.
folder=${1%/*}
draft=$folder/.${1##*/}.etcdless
trap 'rm -f -- "$draft"' EXIT
mkdir -p -- "$folder/"
rm -f -- "$draft"
(umask 077 && cat >"$draft")
if [ "$(wc -c <"$draft")" -ne "$3" ]; then
  printf '%s: the content was cut off on its way\n' "$1" >&2
  exit 1
fi
chmod -- "$2" "$draft"
mv -fT -- "$draft" "$1"
