# $1: the unit, $2: its configuration. Connections that are open stay so; one that was just started has read it already.
set -e
systemctl reload -- "$1"
systemctl --quiet is-active -- "$1"
