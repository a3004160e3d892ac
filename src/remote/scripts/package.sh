# $1: `node` for the host's own sources, `push` to take a repository as an archive from standard input; then names of packages. Package
# lists are only fetched anew where the ones that are here do not do. What comes new is noted, so that `reset` removes that and nothing else.
export DEBIAN_FRONTEND=noninteractive
source=$1
shift

apt() {
  apt-get --quiet --yes --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@"
}

# `Inst NAME (VERSION ...)` is new; `Inst NAME [OLD] (NEW ...)` only gets another version.
new() {
  apt --simulate install -- "$@" 2>/dev/null | sed -n 's/^Inst \([^ ]*\) (.*/\1/p' | while read -r name; do
    note package "$name"
  done
}

rpms() {
  rpm -qa --queryformat '%{NAME}\n' | sort
}

if [ "$source" = push ]; then
  if ! command -v apt-get >/dev/null; then
    echo 'packages of a bundle are for apt-get, which is not here' >&2
    exit 1
  fi
  brought=$(mktemp -d)
  trap 'rm -rf -- "$brought"' EXIT
  trap 'exit 143' HUP INT TERM
  mkdir -- "$brought/repository"
  tar -x -f - -C "$brought/repository"
  repository "$brought"
  new "$@"
  apt install -- "$@"
elif command -v apt-get >/dev/null; then
  new "$@"
  if ! apt --simulate install -- "$@" >/dev/null 2>&1 || ! apt install -- "$@"; then
    apt update
    new "$@"
    apt install -- "$@"
  fi
elif command -v dnf >/dev/null || command -v yum >/dev/null; then
  before=$(rpms)
  if command -v dnf >/dev/null; then
    dnf --assumeyes --setopt=install_weak_deps=False install "$@"
  else
    yum --assumeyes install "$@"
  fi
  rpms | while read -r name; do
    case $newline$before$newline in
      *"$newline$name$newline"*) ;;
      *) note package "$name" ;;
    esac
  done
else
  echo 'no package manager that is known: apt-get, dnf, yum' >&2
  exit 1
fi
