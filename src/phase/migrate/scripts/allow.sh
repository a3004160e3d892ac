#!/bin/sh
# Written by etcdless. Writes to resources that moved are allowed again.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 20s delete --ignore-not-found \
  validatingadmissionpolicybindings,validatingadmissionpolicies etcdless-split || exit
systemctl stop etcdless-allow.timer 2>/dev/null || :
systemctl disable etcdless-allow.service 2>/dev/null || :
rm -f /etc/systemd/system/etcdless-allow.service /run/systemd/system/etcdless-allow.timer
systemctl daemon-reload
