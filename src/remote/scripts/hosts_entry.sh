# $1: the hosts file, $2: name, $3: address. Our line comes first, since the first line that has a name wins; others stay.
draft=$1.etcdless
trap 'rm -f -- "$draft"' EXIT
[ -e "$1" ] || : >"$1"
cp -p -- "$1" "$draft"
{
  printf '%s %s # etcdless\n' "$3" "$2"
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      *" $2 # etcdless") ;;
      *) printf '%s\n' "$line" ;;
    esac
  done <"$1"
} >"$draft"
# A file that is mounted over cannot be replaced, only written.
mv -fT -- "$draft" "$1" 2>/dev/null || cat -- "$draft" >"$1"
