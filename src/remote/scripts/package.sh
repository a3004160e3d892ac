# The arguments are names of packages. Package lists are only fetched anew where the ones that are here do not do.
export DEBIAN_FRONTEND=noninteractive

apt() {
  apt-get --quiet --yes --no-install-recommends -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@"
}

if command -v apt-get >/dev/null; then
  if ! apt --simulate install -- "$@" >/dev/null 2>&1 || ! apt install -- "$@"; then
    apt update
    apt install -- "$@"
  fi
elif command -v dnf >/dev/null; then
  dnf --assumeyes --setopt=install_weak_deps=False install "$@"
elif command -v yum >/dev/null; then
  yum --assumeyes install "$@"
else
  echo 'no package manager that is known: apt-get, dnf, yum' >&2
  exit 1
fi
