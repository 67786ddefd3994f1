#!/bin/bash
# apply.sh on a real Consul.
exec "$(dirname "$0")/apply.sh" consul
