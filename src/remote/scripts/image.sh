# $1: reference, $2: `node` to pull it here, `push` to take an archive from standard input. ctr draws progress for terminals only
# on standard output, so that is dropped.
if [ "$2" = push ]; then
  ctr -n k8s.io images import - >/dev/null
else
  set -- "$1" --hosts-dir /etc/containerd/certs.d
  # containerd 1.7 ignores the hosts folder unless the client itself pulls; 1.6 has no such choice.
  if ctr images pull --help | grep -q -e --local; then
    set -- "$@" --local
  fi
  reference=$1
  shift
  ctr -n k8s.io images pull "$@" "$reference" >/dev/null
  set -- "$reference"
fi
if ! ctr -n k8s.io images ls -q | grep -Fqx -e "$1"; then
  printf 'what came does not hold %s\n' "$1" >&2
  exit 1
fi
