# Takes the temporary etcd away, and data that nobody has used yet.
#
# $1 the folder   $2 what the container is called
PATH=$PATH:/usr/local/bin
ctr --namespace k8s.io task rm --force "$2" >/dev/null 2>&1
ctr --namespace k8s.io container rm "$2" >/dev/null 2>&1
rm -rf "$1"
