# Writes a SQLite file anew, without what is free in it. kine may have it open: it reads on, and its writes wait.
#
# $1: the file; ends with 3 where the host has nothing to do it with
[ -f "$1" ] || { echo "there is no file $1" >&2; exit 1; }
# What is written meanwhile is beside the file, where there is known to be room.
SQLITE_TMPDIR=$(dirname "$1")
export SQLITE_TMPDIR
if command -v sqlite3 >/dev/null; then
    exec sqlite3 -batch -bail -init /dev/null -cmd '.timeout 20000' "$1" 'VACUUM; PRAGMA wal_checkpoint(TRUNCATE);' </dev/null
fi
if command -v python3 >/dev/null && python3 -I -c 'import sqlite3' 2>/dev/null; then
    exec python3 -I -c '
import pathlib, sqlite3, sys
try:
    database = sqlite3.connect(pathlib.Path(sys.argv[1]).as_uri() + "?mode=rw", uri=True, timeout=20, isolation_level=None)
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
except sqlite3.Error as error:
    sys.exit(str(error))
' "$1"
fi
exit 3
