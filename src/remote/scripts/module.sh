# $1: the module.
modprobe -- "$1"
