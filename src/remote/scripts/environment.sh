# Takes `NAME=VALUE` off the arguments into the environment. $1: how many, then those, then what comes after them.
count=$1
shift
while [ "$count" -gt 0 ]; do
  export "${1?}"
  shift
  count=$((count - 1))
done
