# $1: a script, then its arguments. It runs in a shell of its own: what it sets or ends does not touch the journal.
text=$1
shift
sh -c "$text" sh "$@"
