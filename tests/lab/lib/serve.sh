# What is built, offered as files (laid out HOST/PATH of their release sites, with each site's own checksum file) and as images.
# shellcheck shell=bash disable=SC2154,SC2153

serve() {
  local started=$SECONDS
  [ -d "$LAB/bin/kine-$KINE" ] || die "nothing is built yet: lab build"
  network_up
  mirror
  file_server 8080 "$LAB/mirror"
  registry_server
  push_images
  echo "files  http://$gateway:8080/HOST/PATH"
  echo "images $gateway:5000/HOST/NAME:TAG"
  echo "serve took $((SECONDS - started)) s"
}

mirror() {
  local b=$LAB/bin d v name t
  for v in $(awk 'NF { print $1 }' <<<"$KUBERNETES_TABLE"); do
    [ -x "$b/kubernetes-$v/kube-proxy" ] || continue
    d=dl.k8s.io/release/$v/bin/linux/amd64
    for name in kubeadm kubelet kubectl; do
      # This site's checksum file is the bare digest.
      if offer "$b/kubernetes-$v/$name" "$d/$name"; then digest "$d/$name" >"$LAB/mirror/$d/$name.sha256"; fi
    done
  done

  d=github.com/containerd/containerd/releases/download/$CONTAINERD t=containerd-${CONTAINERD#v}-linux-amd64.tar.gz
  if offer_tar "$b/containerd-$CONTAINERD" "$d/$t" bin/; then digest_line "$d" "$t" >"$LAB/mirror/$d/$t.sha256sum"; fi
  d=github.com/containernetworking/plugins/releases/download/$CNI t=cni-plugins-linux-amd64-$CNI.tgz
  if offer_tar "$b/cni-$CNI" "$d/$t" ./; then digest_line "$d" "$t" >"$LAB/mirror/$d/$t.sha256"; fi
  d=github.com/k3s-io/kine/releases/download/$KINE
  if offer "$b/kine-$KINE/kine" "$d/kine-amd64"; then digest_line "$d" kine-amd64 >"$LAB/mirror/$d/sha256sum-amd64.txt"; fi

  # runc's checksum file covers every architecture and is clear-signed.
  d=github.com/opencontainers/runc/releases/download/$RUNC
  if offer "$b/runc-$RUNC/runc" "$d/runc.amd64"; then
    {
      printf -- '-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n'
      digest_line "$d" runc.amd64
      printf '%064d  runc.arm64\n%064d  runc.tar.xz\n' 1 2
      printf -- '-----BEGIN PGP SIGNATURE-----\n\n(the lab has no key)\n-----END PGP SIGNATURE-----\n'
    } >"$LAB/mirror/$d/runc.sha256sum"
  fi
}

# offer FILE PATH: puts a hard link into the mirror; true when it was not there yet.
offer() {
  local to=$LAB/mirror/$2
  if [ "$1" -ef "$to" ]; then return 1; fi
  mkdir -p "$(dirname "$to")"
  ln -f "$1" "$to"
}

# offer_tar FOLDER PATH PREFIX: the folder's files as a reproducible .tar.gz; true when it was made now.
offer_tar() {
  local to=$LAB/mirror/$2
  if [ -f "$to" ] && [ -z "$(find "$1" -newer "$to" -print -quit)" ]; then return 1; fi
  mkdir -p "$(dirname "$to")"
  (cd "$1" && printf '%s\n' * | tar --transform "s,^,$3," --mtime=@0 --owner=0 --group=0 --numeric-owner -c -T - | gzip -n >"$to.part")
  mv "$to.part" "$to"
}

digest() { sha256sum <"$LAB/mirror/$1" | cut -d' ' -f1; }
digest_line() { (cd "$LAB/mirror/$1" && sha256sum "$2"); }

# daemon NAME COMMAND...: keeps COMMAND running with its process id in NAME.pid and its output in NAME.log.
daemon() {
  local name=$1; shift
  if running "$name"; then return; fi
  setsid "$@" >"$LAB/$name.log" 2>&1 </dev/null 9>&- &
  echo "$! $(process_start $!)" >"$LAB/$name.pid"
}

# In clock ticks since the machine's boot; field 22 of stat, counted after the command's closing parenthesis.
process_start() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# A process id alone may belong to another process by now; its start is compared too.
running() {
  local pid start
  [ -f "$LAB/$1.pid" ] && read -r pid start <"$LAB/$1.pid" && [ "$(process_start "$pid")" = "$start" ]
}

stop_daemon() {
  local pid
  if running "$1"; then
    read -r pid _ <"$LAB/$1.pid"; kill "$pid"
    for _ in $(seq 100); do [ -d "/proc/$pid" ] || break; sleep 0.05; done
  fi
  rm -f "$LAB/$1.pid" "$LAB/$1.log"
}

# await URL NAME: until the daemon answers.
await() {
  for _ in $(seq 100); do
    curl -s -o /dev/null "$1" && return
    running "$2" || break
    sleep 0.05
  done
  die "$2 does not answer at $1: $(tail -n 3 "$LAB/$2.log")"
}

file_server() { daemon "files-$1" "$here/files" "$2" "$gateway" "$1"; await "http://$gateway:$1/" "files-$1"; }

# Debian's package, or the same unpacked by `lab deps`.
registry_program() { command -v docker-registry || { [ -x "$LAB/tools/usr/bin/docker-registry" ] && echo "$LAB/tools/usr/bin/docker-registry"; }; }

registry_server() {
  local program; program=$(registry_program) || die "docker-registry is missing: lab deps"
  cat >"$LAB/registry.yml" <<YAML
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $LAB/registry}, delete: {enabled: true}}
http: {addr: "$gateway:5000"}
YAML
  daemon registry "$program" serve "$LAB/registry.yml"
  await "http://$gateway:5000/v2/" registry
}

proxy_program() { command -v tinyproxy || { [ -x "$LAB/tools/usr/bin/tinyproxy" ] && echo "$LAB/tools/usr/bin/tinyproxy"; }; }

# proxy PORT [--refuse]: its log has a line a request, with the address that was asked for.
proxy() {
  local port=${1:-} program allowed="$LAB_NET.0/24"
  [[ $port =~ ^31[0-9]{2}$ ]] || die "proxy PORT [--refuse]: 3100 to 3199"
  program=$(proxy_program) || die "tinyproxy is missing: lab deps"
  [ "${2:-}" != --refuse ] || allowed=127.0.0.1
  network_up
  printf '%s\n' "Port $port" "Listen $gateway" "Timeout 60" "MaxClients 200" "LogLevel Connect" "Allow $allowed" "ConnectPort 443" >"$LAB/proxy-$port.conf"
  stop_daemon "proxy-$port"
  daemon "proxy-$port" "$program" -d -c "$LAB/proxy-$port.conf"
  await "http://$gateway:$port/" "proxy-$port"
  echo "http://$gateway:$port"
}

# Images whose fingerprint the registry has not seen.
push_images() {
  local key reference tar pushed=$LAB/registry/pushed started
  mkdir -p "$pushed"
  for key in "$LAB"/images/*.tar.key; do
    tar=${key%.key}
    cmp -s "$key" "$pushed/${tar##*/}" && continue
    started=$SECONDS
    read -r reference _ <"$key"
    skopeo copy -q --insecure-policy --dest-tls-verify=false "docker-archive:$tar" "docker://$gateway:5000/$reference"
    cp "$key" "$pushed/${tar##*/}"
    echo "pushed $reference in $((SECONDS - started)) s"
  done
}

serving() {
  local f name
  for f in "$LAB"/*.pid; do
    [ -f "$f" ] || continue
    name=${f##*/}; name=${name%.pid}
    if running "$name"; then echo "serving  $name (process $(cut -d' ' -f1 "$f"))"; else echo "stopped  $name"; fi
  done
}

# A copy for tests to spoil. Files are hard links: replace them (as `lab spoil` does), never write into them.
serve_copy() {
  local port=${1:-} copy
  if ! [[ $port =~ ^8[0-9]{3}$ ]] || [ "$port" = 8080 ]; then die "serve-copy PORT: 8000 to 8999, but not 8080"; fi
  [ -d "$LAB/mirror" ] || die "nothing is served yet: lab serve"
  network_up
  copy=$LAB/mirror-$port
  stop_daemon "files-$port"; rm -rf "$copy"
  cp -al "$LAB/mirror" "$copy"
  file_server "$port" "$copy"
  echo "http://$gateway:$port"
}

# spoil PORT KIND FILE: FILE is a path in the mirror, or a name such as kubelet, which means that file of every version.
spoil() {
  local port=${1:-} kind=${2:-} name=${3:-} copy file found=''
  copy=$LAB/mirror-$port
  if [ -z "$name" ] || [ ! -d "$copy" ]; then die "spoil PORT missing|checksum|truncate|cut FILE, after lab serve-copy PORT"; fi
  while read -r file; do
    spoil_file "$kind" "$file"
    echo "$kind ${file#"$copy"/}"; found=yes
  done < <(find "$copy" -type f \( -path "$copy/$name" -o -name "$name" \))
  [ -n "$found" ] || die "no $name in $copy"
}

# The copy's files are hard links, so a changed file takes the link's place.
spoil_file() {
  local file=$2 middle; middle=$(($(stat -c %s "$2") / 2))
  case $1 in
    missing) rm "$file" ;;
    cut) touch "$file.cut" ;;
    truncate) head -c $middle "$file" >"$file.part"; mv "$file.part" "$file" ;;
    # One byte in the middle is inverted; the length stays.
    checksum)
      python3 - "$file" $middle <<'PY'
import sys
path, at = sys.argv[1], int(sys.argv[2])
data = bytearray(open(path, "rb").read())
data[at] ^= 0xFF
open(path + ".part", "wb").write(data)
PY
      mv "$file.part" "$file" ;;
    *) die "spoil knows missing, checksum, truncate and cut, not $1" ;;
  esac
}

unserve() {
  local port=${1:-}
  if [ -z "$port" ]; then unserve_all; return; fi
  [ "$port" != 8080 ] || die "unserve without a port stops the mirror"
  stop_daemon "files-$port"; rm -rf "$LAB/mirror-$port"
}

unserve_all() {
  local f name
  for f in "$LAB"/*.pid; do
    [ -f "$f" ] || continue
    name=${f##*/}; name=${name%.pid}
    stop_daemon "$name"
    case $name in files-8080|registry) ;; files-*) rm -rf "$LAB/mirror-${name#files-}" ;; esac
  done
}
