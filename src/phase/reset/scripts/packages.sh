# Just these, in the package manager's own order; nothing that others need.
set -e
export DEBIAN_FRONTEND=noninteractive
names=$(list packages)
if have dpkg; then
  # shellcheck disable=SC2086
  dpkg --purge $names
else
  # shellcheck disable=SC2086
  rpm --erase $names
fi
systemctl daemon-reload
