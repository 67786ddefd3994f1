#!/bin/bash
# health.sh, on etcd.
exec "$(dirname "$0")/health.sh" etcd
