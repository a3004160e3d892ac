#!/bin/sh
# Runs on the operator's machine, once a host: refuses a host that a ticket system, an inventory or a colleague has not cleared.
echo "$ETCDLESS_HOST ($ETCDLESS_ROLE, $ETCDLESS_ADDRESS) may join $ETCDLESS_CLUSTER"
