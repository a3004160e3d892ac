# Upstream binaries from their Go modules, one folder per component and version: bin/kubernetes-v1.34.4/kubelet.
# shellcheck shell=bash disable=SC2154,SC2153

# go_build FOLDER MODULE VERSION PACKAGE OUTPUT [LDFLAGS] [TAGS]: builds upstream/FOLDER unless OUTPUT is there.
# FOLDER's go.mod must pin VERSION of MODULE. TAGS, even empty ones, mean cgo and a static binary.
go_build() {
  local folder=$1 module=$2 version=$3 package=$4 output=$LAB/bin/$5 flags="-s -w ${6:-}" cgo=0 started=$SECONDS
  if [ -x "$output" ]; then echo "reused $5"; return; fi
  grep -qE "^\s*(require )?$module $version( |\$)" "$here/upstream/$folder/go.mod" ||
    die "versions.env asks for $module $version, which upstream/$folder/go.mod does not pin"
  if [ $# -ge 7 ]; then cgo=1; flags="$flags -linkmode external -extldflags -static"; fi
  mkdir -p "$(dirname "$output")"
  (cd "$here/upstream/$folder" && CGO_ENABLED=$cgo nice -n "${LAB_NICE:-0}" \
    go build -trimpath -buildvcs=false -tags "${7:-}" -ldflags "$flags" -o "$output.part" "$package")
  mv "$output.part" "$output"
  echo "built  $5 in $((SECONDS - started)) s"
}

build() {
  local started=$SECONDS kubernetes=() etcd=''
  while [ $# -gt 0 ]; do
    case $1 in
      --kubernetes) kubernetes+=("${2:?--kubernetes needs a version}"); shift 2 ;;
      --etcd) etcd=yes; shift ;;
      *) die "build takes --kubernetes VERSION and --etcd" ;;
    esac
  done
  [ ${#kubernetes[@]} -gt 0 ] || kubernetes=("$KUBERNETES")
  command -v go >/dev/null || die "needs Go 1.26 or newer: https://go.dev/dl"
  local v coredns pause
  for v in "${kubernetes[@]}"; do
    read -r coredns pause < <(kubernetes_row "$v")
    build_kubernetes "$v"
    build_coredns "$coredns"
    build_pause
    image_kubernetes "$v" "$coredns" "$pause"
  done
  build_runtime
  build_kine
  build_flannel
  images_common
  build_informer
  [ -z "$etcd" ] || build_etcd
  echo "build took $((SECONDS - started)) s"
}

# The CoreDNS and pause versions of a Kubernetes version.
kubernetes_row() {
  awk -v v="$1" '$1 == v { print $2, $3; found = 1 } END { exit !found }' <<<"$KUBERNETES_TABLE" ||
    die "no Kubernetes $1 here; versions.env has: $(awk 'NF { printf "%s ", $1 }' <<<"$KUBERNETES_TABLE")"
}

build_kubernetes() {
  local minor v=k8s.io/component-base/version name; minor=$(cut -d. -f2 <<<"$1")
  local stamp="-X $v.gitVersion=$1 -X $v.gitMajor=1 -X $v.gitMinor=$minor -X $v.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=$1"
  for name in kubeadm kubectl kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
    go_build "kubernetes-1.$minor" k8s.io/kubernetes "$1" "k8s.io/kubernetes/cmd/$name" "kubernetes-$1/$name" "$stamp"
  done
}

build_coredns() {
  go_build "coredns-${1#v}" github.com/coredns/coredns "$1" github.com/coredns/coredns "coredns-$1/coredns"
}

build_pause() {
  [ "$LAB/bin/pause" -nt "$here/pause.c" ] || gcc -Os -static -o "$LAB/bin/pause" "$here/pause.c"
}

build_runtime() {
  local name p=github.com/containerd/containerd/v2
  for name in containerd containerd-shim-runc-v2 ctr; do
    go_build containerd $p "$CONTAINERD" $p/cmd/$name "containerd-$CONTAINERD/$name" "-X $p/version.Version=$CONTAINERD -X $p/version.Package=$p"
  done
  p=github.com/opencontainers/runc
  go_build runc $p "$RUNC" $p "runc-$RUNC/runc" "-X main.version=${RUNC#v}" "seccomp netgo osusergo"
  p=github.com/containernetworking/plugins
  for name in main/bridge main/loopback ipam/host-local meta/portmap; do
    go_build cni $p "$CNI" $p/plugins/$name "cni-$CNI/${name#*/}"
  done
}

build_kine() {
  local p=github.com/k3s-io/kine
  go_build kine $p "$KINE" $p "kine-$KINE/kine" "-X $p/pkg/version.Version=$KINE" "netgo osusergo"
}

build_flannel() {
  local p=github.com/flannel-io/flannel
  go_build flannel $p "$FLANNEL" $p "flannel-$FLANNEL/flanneld" "-X $p/pkg/version.Version=$FLANNEL" "netgo osusergo"
  # The plugin of the image comes from the last release of the plugins' own repository that had it.
  p=github.com/containernetworking/plugins
  go_build flannel-cni $p v0.9.1 $p/plugins/meta/flannel "flannel-cni-$FLANNEL_CNI/flannel"
}

# Our own, for journeys that want to know what controllers hear.
build_informer() {
  local output=$LAB/bin/informer/informer
  if [ "$output" -nt "$here/informer/main.go" ] && [ "$output" -nt "$here/informer/go.mod" ]; then echo "reused informer"; return; fi
  mkdir -p "${output%/*}"
  (cd "$here/informer" && CGO_ENABLED=0 nice -n "${LAB_NICE:-0}" go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$output.part" .)
  mv "$output.part" "$output"
}

build_etcd() {
  local p=go.etcd.io/etcd
  go_build etcd $p/server/v3 "$ETCD" $p/server/v3 "etcd-$ETCD/etcd"
  go_build etcdctl $p/etcdctl/v3 "$ETCD" $p/etcdctl/v3 "etcd-$ETCD/etcdctl"
  go_build etcdutl $p/etcdutl/v3 "$ETCD" $p/etcdutl/v3 "etcd-$ETCD/etcdutl"
  image_tar "etcd-$ETCD" "registry.k8s.io/etcd:${ETCD#v}-0" /usr/local/bin/etcd \
    "/usr/local/bin=$LAB/bin/etcd-$ETCD"
}
