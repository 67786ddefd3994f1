#!/bin/bash
# Killed at, or refused disk space by, some of the calls that change something: `make fault` takes all.
cd "$(dirname "$0")/../.." || exit 1
export FAULT_MODES="kill full full+" FAULT_KINDS="change space" FAULT_SECONDS="${FAULT_SECONDS:-20}"
# Not those of an apply, which terraform.sh kills at each step, nor the rollout of rollout-faults.sh, nor the two that wait
# for so long that a point takes ten seconds.
exec t/fault/run install prune remove_app launch update reshape stop rolling hold report worsen withdraw \
	open reopen authority
