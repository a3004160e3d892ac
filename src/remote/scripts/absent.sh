# $1: the file.
rm -f -- "$1"
