# The index of a repository comes on standard input, the arguments are names of packages. Prints a line for each archive that this host lacks
# to install them, with its SHA-256 in it. Changes nothing: what is written on the way is gone in the end.
set -eu
brought=$(mktemp -d)
trap 'rm -rf -- "$brought"' EXIT
trap 'exit 143' HUP INT TERM
mkdir -- "$brought/repository"
cat >"$brought/repository/Packages"
repository "$brought" >&2
apt-get --quiet=2 --yes --no-install-recommends --print-uris -o DPkg::Lock::Timeout=120 install -- "$@"
