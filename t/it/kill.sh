#!/bin/bash
# Killed at, or refused disk space by, some of the calls that change something: `make fault` takes all.
cd "$(dirname "$0")/../.." || exit 1
export FAULT_MODES="kill full full+" FAULT_KINDS="change space" FAULT_SECONDS="${FAULT_SECONDS:-20}"
# Not those of an apply, which terraform.sh kills at each step, nor the rollout of rollout-faults.sh.
exec t/fault/run install prune remove_app launch update reshape stop rolling rollback hold disable \
	report worsen withdraw open reopen authority
