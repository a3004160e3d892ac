# What journeys share. Sourced; `tests/lab/run` gives ETCDLESS (the program), LAB_NET and KEY, and runs `lab serve` before.
# shellcheck shell=bash
lab() { "$here/lab" "$@"; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
mirror=${MIRROR:-http://$LAB_NET.1:8080}
registry=${REGISTRY:-$LAB_NET.1:5000}
work=$(mktemp -d)
hosts=()
# The operator's own files are those of this journey.
export HOME=$work KUBECONFIG=$work/kubeconfig XDG_STATE_HOME=$work/state NO_COLOR=1 ETCDLESS_SSH_CONFIG=$work/ssh_config
printf "Host *\n  UserKnownHostsFile %s/known_hosts\n" "$work" >"$work/ssh_config"

tidy() {
  local status=$?
  [ ${#hosts[@]} -eq 0 ] || [ -n "${KEEP:-}" ] || lab down "${hosts[@]}" || true
  rm -rf "$work"
  exit $status
}
trap tidy EXIT

fail() { echo "FAILED: $*" >&2; return 1; }
say() { printf '%6.1f s  %s\n' "$(echo "$EPOCHREALTIME - $began" | bc)" "$*"; }
began=$EPOCHREALTIME

# host NAME NUMBER [OPTION...]: boots a fresh host at LAB_NET.NUMBER; sets ip.
host() {
  local name=$1; ip=$LAB_NET.$2; shift 2
  hosts+=("$name")
  lab up "$name" "$ip" "$@" >/dev/null
}

# init TARGET [OPTION...]: with the lab's sources.
init() {
  "$ETCDLESS" init "$@" --identity "$KEY" --mirror "$mirror" --registry "$registry" --yes
}

# on NAME COMMAND...: as root on a host.
on() { lab ssh "$@"; }
kubectl_on() { local name=$1; shift; on "$name" kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }

# until_true SECONDS COMMAND...: polls.
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { fail "not within time: $*"; return 1; }
    sleep 0.2
  done
}

# tree NAME FOLDER...: every file with its mode, size and content; what lives and changes by itself is left out.
tree() {
  local root; root=$(lab root "$1"); shift
  (cd "$root" && find "$@" -xdev \( -path './var/log' -o -path './proc' -o -path './sys' -o -path './run' -o -path './dev' \
    -o -path './tmp' -o -path './var/tmp' -o -path './var/lib/systemd' -o -path '*/var/lib/etcdless/kine' -o -path 'var/lib/etcdless/kine' \) -prune \
    -o \( -type f -o -type l -o -type d \) -printf '%p %y %m %l\n' -type f -exec sha256sum {} + | sort)
}

# same BEFORE AFTER WHAT: two trees are equal.
same() { diff "$1" "$2" >"$work/difference" || { cat "$work/difference" >&2; fail "$3"; }; }

# answers CODE TEXT COMMAND...: the command ends with this exit code and says this.
answers() {
  local code=$1 text=$2 status=0; shift 2
  "$@" >"$work/said" 2>&1 || status=$?
  [ $status -eq "$code" ] || { cat "$work/said" >&2; fail "exit code $status, expected $code: $*"; return 1; }
  grep -qF -- "$text" "$work/said" || { cat "$work/said" >&2; fail "does not say: $text"; return 1; }
}

# healthy NAME: every Pod is ready, and etcdless says that the cluster is well.
healthy() {
  "$ETCDLESS" verify "$(target "$1")" --identity "$KEY" --yes --timeout "${2:-120}" >"$work/verify" 2>&1 || {
    cat "$work/verify" >&2; fail "verify of $1"; return 1; }
  # CoreDNS is replaced where it is spread over nodes; what goes away is nobody's worry.
  local unready
  unready=$(kubectl_on "$1" get pods -A --no-headers | awk '!/^etcdless-verify/ && $4 != "Completed" && $4 != "Terminating" { split($3, n, "/"); if (n[1] != n[2]) print }')
  [ -z "$unready" ] || { echo "$unready" >&2; fail "Pods that are not ready"; }
}

# target NAME: how etcdless names a host of this journey.
target() { echo "root@$(on "$1" ip -4 -o addr show host0 | awk '{sub("/.*","",$4); print $4}')"; }

# asking NAME SECONDS FILE URL: asks the API from a host over and over, in the background; sets asker.
# shellcheck disable=SC2034
asking() {
  on "$1" sh -s -- "$4" "$2" <"$here/lib/asking.sh" >"$3" &
  asker=$!
}

# silence FILE: the longest span in seconds without an answer, up to the last line.
silence() { awk 'NR == 1 { last = $1 } $2 == 0 { if ($1 - last > most) most = $1 - last; last = $1 } END { if ($1 - last > most) most = $1 - last; printf "%.1f", most }' "$1"; }
