#!/bin/sh
# Runs on the host, as root.
logger -t etcdless "$ETCDLESS_HOST is prepared for $ETCDLESS_CLUSTER"
