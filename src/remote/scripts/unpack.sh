# $1: staged tar.gz, $2: folder, then what must exist afterwards. Times become now: units that watch the files compare them with
# their start.
staged "$1"
archive=$1
into=$2
shift 2
# Everything that is in it, not only what must be.
tar --list --gzip --file "$archive" | while IFS= read -r member; do
  member=${member#./}
  [ -z "$member" ] || made "${into%/}/${member%/}"
done
mkdir -p -- "$into"
tar --extract --gzip --file "$archive" --directory "$into" --no-same-owner --touch
for path in "$@"; do
  if [ ! -e "$path" ]; then
    printf '%s does not hold %s\n' "$archive" "$path" >&2
    exit 1
  fi
done
if [ "$#" -gt 0 ] && command -v restorecon >/dev/null; then
  restorecon -R -- "$@"
fi
rm -f -- "$archive"
