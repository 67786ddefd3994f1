#!/bin/bash
# The rights in contrib/policies are enough for pp-terraform-applier and no more, with real ACLs.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/terraforming.sh"
. "$ROOT/t/policing.sh"

changes='{"format_version":"1.2","resource_changes":[{"address":"stub.one","mode":"managed","change":{"actions":["create"]}}]}'

# CMD... is what gives the applier its credentials; as_root has all of them.
granted() {
	local key
	rm -rf "$T/state" "$stub"; mkdir -p "$stub"
	echo "$changes" >"$stub/plan.json"
	echo '{"format_version":"1.2"}' >"$stub/after.json"
	check "$engine: an operator writes a stack" as_root ppctl put stacks/prod/net \
		"{\"source\": \"dir:$T/module\", \"lock\": \"prod\", \"state\": {\"backend\": \"local\", \"path\": \"$T/net.tfstate\"}}"
	run "$@" "${applier[@]}" --once
	is "$status $(applies)" "0 1" "$engine: a stack is applied with these rights"
	[ "$status" = 0 ] || diag "$errors"
	for key in approvals/stack/prod/net stacks/prod/net locks/job/x reality/status/setlive/n1/x; do
		run "$@" ppctl put --force "$key" '{}'
		isnt "$status" 0 "$engine: it cannot write $key"
	done
}

with_consul consul-terraform.hcl
# What it is granted in etcd is of one world.
applier+=(--world prod)
WORLD=prod with_etcd etcd-terraform platypus-terraform-n1
done_testing
