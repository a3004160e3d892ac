# Container images of the built binaries, as docker-archives: images/NAME-VERSION.tar, and beside each its reference and fingerprint.
# shellcheck shell=bash disable=SC2154,SC2153

# image_tar NAME REFERENCE ENTRYPOINT SPEC...: writes the archive unless one of the same recipe and the same inputs is there.
image_tar() {
  local tar=$LAB/images/$1.tar reference=$2 key spec; shift
  key=$({ cat "$here/image"; echo "${@//"$LAB"/}"
    for spec; do [[ $spec != *=* ]] || find "${spec#*=}" -type f -printf '%f %s %T@\n' | sort; done
  } | sha256sum | cut -d' ' -f1)
  if [ -f "$tar" ] && [ "$(cat "$tar.key" 2>/dev/null)" = "$reference $key" ]; then echo "reused image $reference"; return; fi
  local started=$SECONDS
  rm -f "$tar.key"
  "$here/image" "$tar.part" "$@"
  mv "$tar.part" "$tar"
  echo "$reference $key" >"$tar.key"
  echo "built  image $reference in $((SECONDS - started)) s"
}

image_kubernetes() {
  local v=$1 coredns=$2 pause=$3 b=$LAB/bin r=registry.k8s.io name
  for name in kube-apiserver kube-controller-manager kube-scheduler; do
    image_tar "$name-$v" "$r/$name:$v" "/usr/local/bin/$name" "/usr/local/bin/$name=$b/kubernetes-$v/$name"
  done
  image_tar "pause-$pause" "$r/pause:$pause" /pause "/pause=$b/pause"
  image_tar "coredns-$coredns" "$r/coredns/coredns:$coredns" /coredns "/coredns=$b/coredns-$coredns/coredns"
  firewall_root
  image_tar "kube-proxy-$v" "$r/kube-proxy:$v" /usr/local/bin/kube-proxy "/=$LAB/firewall-root" "/usr/local/bin/kube-proxy=$b/kubernetes-$v/kube-proxy"
}

images_common() {
  local b=$LAB/bin f=ghcr.io/flannel-io shell
  firewall_root
  mapfile -t shell < <(alpine_like)
  image_tar "kine-$KINE" "docker.io/rancher/kine:$KINE" /bin/kine user:nobody "${shell[@]}" "/bin/kine=$b/kine-$KINE/kine"
  image_tar "flannel-$FLANNEL" "$f/flannel:$FLANNEL" /opt/bin/flanneld "/=$LAB/firewall-root" "${shell[@]}" "/opt/bin/flanneld=$b/flannel-$FLANNEL/flanneld"
  image_tar "flannel-cni-$FLANNEL_CNI" "$f/flannel-cni-plugin:$FLANNEL_CNI" /flannel "${shell[@]}" "/flannel=$b/flannel-cni-$FLANNEL_CNI/flannel"
}

# What upstream's Alpine images have besides their program: busybox under the names of its applets.
alpine_like() {
  local applet
  echo "/bin/busybox=/bin/busybox"
  for applet in $(/bin/busybox --list); do
    case $applet in busybox) ;; *) echo "/bin/$applet@busybox" ;; esac
  done
}

# kube-proxy and flannel shell out to nft and iptables, so their images carry both with their libraries.
firewall_root() {
  local root=$LAB/firewall-root lib=usr/lib/x86_64-linux-gnu file name
  [ -f "$LAB/firewall-root.done" ] && return
  rm -rf "$root"; mkdir -p "$root"/{usr/sbin,run,$lib/xtables}
  cp -p /usr/sbin/xtables-nft-multi /usr/sbin/nft "$root/usr/sbin/"
  cp -p /$lib/xtables/*.so "$root/$lib/xtables/"
  for file in /usr/sbin/xtables-nft-multi /usr/sbin/nft /$lib/xtables/*.so; do
    for name in $(ldd "$file" | grep -oE '/lib[^ ]+'); do
      mkdir -p "$root$(dirname "$name")"
      cp -pLn "$name" "$root$name"
    done
  done
  for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -sf xtables-nft-multi "$root/usr/sbin/$name"
  done
  touch "$LAB/firewall-root.done"
}
