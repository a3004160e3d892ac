# $1: path, $2: mode.
mkdir -p -- "$1"
chmod -- "$2" "$1"
