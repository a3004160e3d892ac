# Asks a SQLite file something, with whatever the host has for that. Prints the names of the columns and then the rows, each ended by 036, their
# columns apart by 037. Readers keep nobody from writing: kine's file has a write-ahead log.
#
# $1: the file, $2: the statement, $3: seconds that it may take; ends with 124 after them, with 3 where the host has nothing to ask with
if command -v sqlite3 >/dev/null; then
    # Functions of sqlite3's own write files; older releases cannot be told not to.
    safe=-safe
    sqlite3 -safe -batch -init /dev/null :memory: '' >/dev/null 2>&1 || safe=-batch
    exec timeout "$3" sqlite3 "$safe" -batch -readonly -init /dev/null -header -list -separator "$(printf '\037')" -newline "$(printf '\036')" \
        "$1" "$2" </dev/null
fi
if command -v python3 >/dev/null && python3 -I -c 'import sqlite3' 2>/dev/null; then
    exec timeout "$3" python3 -I -c '
import pathlib, sqlite3, sys
def text(value):
    return "" if value is None else value.hex() if isinstance(value, bytes) else str(value)
database = sqlite3.connect(pathlib.Path(sys.argv[1]).as_uri() + "?mode=ro", uri=True)
try:
    answer = database.execute(sys.argv[2])
    if answer.description:
        print(*[column[0] for column in answer.description], sep="\x1f", end="\x1e")
    for row in answer:
        print(*map(text, row), sep="\x1f", end="\x1e")
except (sqlite3.Error, sqlite3.Warning) as error:
    sys.exit(str(error))
' "$1" "$2"
fi
exit 3
