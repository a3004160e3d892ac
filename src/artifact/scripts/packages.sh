# The arguments are names of packages. Prints what apt would fetch on an empty machine of this release to install them, a line an archive as
# `apt-get --print-uris` does, then the entries of the package lists. Uses the sources of this host, and changes nothing on it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 143' HUP INT TERM
mkdir -p -- "$folder/lists/partial" "$folder/archives/partial"
: >"$folder/status"
cat >"$folder/apt.conf" <<CONF
Dir::State::status "$folder/status";
Dir::State::Lists "$folder/lists";
Dir::Cache::Archives "$folder/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
Acquire::Languages "none";
CONF
export APT_CONFIG=$folder/apt.conf
# Without a status, all that packages depend on is listed, also what this host happens to have.
apt-get --quiet=2 update >&2
apt-get --quiet=2 --yes --no-install-recommends --print-uris install -- "$@" >"$folder/uris"
cat -- "$folder/uris"
echo '=='
# The name of an archive is NAME_VERSION_ARCHITECTURE.deb, with %3a for a colon in the version.
sed -n "s/^'[^']*' \([^_]*\)_\([^_]*\)_\([^_.]*\)\.deb .*/\1=\2/p" "$folder/uris" | sed 's/%3a/:/g' | xargs apt-cache show
