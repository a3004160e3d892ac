# $1: `drop` or `rename`. What is put aside stays together in a folder of its own, named by the time.
set -e
case $1 in
  drop) list stores | while IFS= read -r path; do rm -f -- "$path"; done ;;
  rename)
    beside=$kept-$(date -u +%Y%m%dT%H%M%SZ)
    mkdir -- "$beside"
    chmod 0700 -- "$beside"
    list stores | while IFS= read -r path; do mv -fT -- "$path" "$beside/${path##*/}"; done
    ;;
esac
