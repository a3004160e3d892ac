# $1: URL, $2: SHA-256, $3: staging path, $4: `node` to fetch it here, `push` to take it from standard input.
# A line `::bytes N` tells progress, `::digest HEX` with status 65 that something else came. Nothing of a failure stays.
url=$1
expected=$2
staged=$3
part=$staged.part
watcher=

sha256() {
  sha256sum <"$1" | cut -d ' ' -f 1
}

tidy() {
  [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || :
  rm -f -- "$part"
}

# A background job must not hold the connection's output or the lock once it is told to end.
watch() {
  while sleep 0.3 >/dev/null 2>&1; do
    stat -c '::bytes %s' -- "$part" 2>/dev/null || :
  done 8>&-
}

mkdir -p -- "${staged%/*}"
if [ ! -f "$staged" ] || [ "$(sha256 "$staged")" != "$expected" ]; then
  trap tidy EXIT
  trap 'exit 143' HUP INT TERM
  if [ "$4" = push ]; then
    cat >"$part"
  else
    watch &
    watcher=$!
    # Only what may pass is tried again: timeouts, 408, 429 and 5xx.
    reason=$(curl --fail --silent --show-error --location --globoff --proto =http,https --connect-timeout 10 \
      --speed-limit 1 --speed-time 60 --retry 3 --output "$part" -- "$url" 2>&1) || {
      printf '%s: %s\n' "$url" "${reason:-curl failed}" >&2
      exit 1
    }
    # An empty file is a file, too.
    [ -e "$part" ] || : >"$part"
    stat -c '::bytes %s' -- "$part"
  fi
  actual=$(sha256 "$part")
  if [ "$actual" != "$expected" ]; then
    printf '::digest %s\n' "$actual"
    exit 65
  fi
  mv -fT -- "$part" "$staged"
fi
