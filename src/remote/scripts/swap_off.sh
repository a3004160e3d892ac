# $1: fstab. Its swap lines become comments, the first version is kept; units are masked, so that no generator starts them again.
swapoff -a
swap='^[[:space:]]*[^#[:space:]][^[:space:]]*[[:space:]]+[^[:space:]]+[[:space:]]+swap([[:space:]]|$)'
if grep -Eqs -- "$swap" "$1"; then
  [ -e "$1.etcdless" ] || cp -p -- "$1" "$1.etcdless"
  cp -p -- "$1" "$1.draft"
  sed -E "s/$swap/# etcdless: &/" "$1" >"$1.draft"
  mv -f -- "$1.draft" "$1"
fi
systemctl list-units --type=swap --all --plain --no-legend --full | while read -r unit load _; do
  [ "$load" != masked ] || continue
  # A unit file of the administrator's is in the way of a mask.
  if [ -f "/etc/systemd/system/$unit" ] && [ ! -L "/etc/systemd/system/$unit" ]; then
    mv -f -- "/etc/systemd/system/$unit" "/etc/systemd/system/$unit.etcdless"
  fi
  note masked "$unit"
  systemctl mask --now -- "$unit"
done
systemctl daemon-reload
