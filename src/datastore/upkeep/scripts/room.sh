# Prints how many bytes the disk of a file has free. $1: the file
LC_ALL=C stat -f -c '%a %S' "$1" | { read -r blocks size && echo $((blocks * size)); }
