# Runs a script under a time limit, with the same environment everywhere. $1: seconds, $2: what is printed once it has ended, then the script and
# its arguments. This shell stays as the parent: a script that a signal ends then has a status, and a session without one was cut off.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
limit=$1
last=$2
shift 2
timeout -k 10 "$limit" sh -c "$@"
status=$?
printf '%s' "$last"
exit $status
