# Asks a SQLite file something, with whatever the host has for that. Prints a row a line, columns apart by `|`.
# Readers keep nobody from writing: kine's file has a write-ahead log.
#
# $1: the file, $2: the statement, $3: seconds that it may take; ends with 124 after them, with 3 where the host has nothing to ask with
if command -v sqlite3 >/dev/null; then
    exec timeout "$3" sqlite3 -batch -readonly -init /dev/null -noheader -list "$1" "$2" </dev/null
fi
if command -v python3 >/dev/null && python3 -I -c 'import sqlite3' 2>/dev/null; then
    exec timeout "$3" python3 -I -c '
import pathlib, sqlite3, sys
database = sqlite3.connect(pathlib.Path(sys.argv[1]).as_uri() + "?mode=ro", uri=True)
for row in database.execute(sys.argv[2]):
    print(*row, sep="|")
' "$1" "$2"
fi
exit 3
