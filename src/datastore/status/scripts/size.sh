# Prints the bytes of a SQLite file and of its write-ahead log, a line each. $1: the file
LC_ALL=C stat -c %s "$1" || exit 1
[ -e "$1-wal" ] || exit 0
stat -c %s "$1-wal"
