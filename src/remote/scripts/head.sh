# Comes before every change. $1: journal, $2: lock, $3: run, $4: step, $5: digest, $6: how many files the journal vouches for,
# then those files; what is left are the change's own arguments.
set -eu
umask 022
journal=$1
lock=$2
run=$3
step=$4
digest=$5
count=$6
shift 6
newline='
'
vouched=
while [ "$count" -gt 0 ]; do
  vouched=$vouched$1$newline
  shift
  count=$((count - 1))
done
# Whoever takes the host's lock next waits for this, so that a change whose connection was cut off is not done twice at a time.
exec 8>>"$lock.steps"
flock -s 8
