#!/bin/bash
# Killed at, or refused disk space by, some of the calls that change something: `make fault` takes all.
# long
cd "$(dirname "$0")/../.." || exit 1
export FAULT_KINDS="change space" FAULT_SECONDS="${FAULT_SECONDS:-20}"
exec t/fault/run
