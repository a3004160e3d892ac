#!/bin/sh
# Cuts the machine off: its default route, once by way of Vagrant's NAT, leads to a bridge with nothing behind it. Vagrant's own login and
# the lab's network are connected directly, and stay. With no default route at all, the addresses of Services would not even be tried.
set -eu
ip link show nowhere >/dev/null 2>&1 || ip link add nowhere type bridge
ip link set nowhere up
# kubeadm wants an address behind the default route, whatever it is told otherwise. This one is for documentation, and nobody's.
ip address replace 192.0.2.1/32 dev nowhere
for family in -4 -6; do
  while ip $family route show default | grep -qv ' dev nowhere'; do ip $family route delete default; done
  ip $family route replace default dev nowhere
done
