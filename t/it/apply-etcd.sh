#!/bin/bash
# apply.sh on a real etcd.
exec "$(dirname "$0")/apply.sh" etcd
