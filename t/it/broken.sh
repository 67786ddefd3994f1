#!/bin/bash
# One install, with a disk that is broken or without memory, at some of its calls: `make fault` takes all.
cd "$(dirname "$0")/../.." || exit 1
export FAULT_MODES="broken nomem" FAULT_SECONDS="${FAULT_SECONDS:-4}" JOBS=2
exec t/fault/run install
