#!/bin/bash
# A short one of t/fault/rollout: agents, reporters and their ways to the store fail while versions roll.
# long
FAULT_ROUNDS=${FAULT_ROUNDS:-40} exec "$(dirname "$0")/../fault/rollout"
