# Keeps the files of the store that serves, so that they can be put back. $1: the migration's folder, $2...: paths that the switch is about
cd "$1"
shift
case $(cat state 2>/dev/null) in
'' | staged | 'on old') ;;
*)
  printf 'a migration is under way here: %s\n' "$(cat state)" >&2
  exit 1
  ;;
esac
rm -rf old new new.db
mkdir -m 0700 old new
for path; do
  if [ -e "$path" ]; then
    mkdir -p -- "old${path%/*}"
    cp -p -- "$path" "old$path"
    # What the new store does not change is the same there.
    mkdir -p -- "new${path%/*}"
    cp -p -- "$path" "new$path"
  fi
done
printf '%s\n' "$@" >paths
echo staged >state
