# What etcdless knows of this host, the journal last: until then, a run that is cut off can be gone on with.
set -e
list records | while IFS= read -r path; do
  [ "$path" = "$journal" ] || rm -rf --one-file-system -- "$path"
done
for path in "$kept" /var/lib/etcdless; do
  [ ! -d "$path" ] || find "$path" -maxdepth 0 -empty -delete
done
rm -f -- "$journal"
[ ! -d /var/lib/etcdless ] || find /var/lib/etcdless -maxdepth 0 -empty -delete
