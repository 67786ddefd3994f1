#!/bin/bash
# The rights in contrib/policies are enough for a node's agents and no more, with real ACLs.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/policing.sh"

if ! have pp-preparer; then skip_all "pp-preparer is not built yet"; fi

mkdir -p "$T/repo/hello" "$T/tree/bin"
printf '#!/bin/sh\n' >"$T/tree/bin/launch"
chmod 755 "$T/tree/bin/launch"
tar -czf "$T/repo/hello/hello_1.0.tar.gz" -C "$T/tree" .

# write_intent CMD...: with the rights of whoever may write it.
write_intent() {
	"$@" ppctl put clusters/hello/live/deploy_config "{\"basedir\": \"$T/$engine\"}" &&
		"$@" ppctl put clusters/hello/live/config '{"versions": {"1.0": "active"}}' &&
		"$@" ppctl --node n1 node add hello live
}

# With Consul an operator has a policy, too.
operator_writes() {
	local token
	[ "$engine" = consul ] || { check "etcd: an operator writes intent" write_intent as_root; return; }
	token=$(make_token operator consul-operator.hcl)
	check "consul: an operator writes intent" write_intent env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN="$token"
	refute "consul: ... and no facts" env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN="$token" \
		ppctl put --force reality/health/hello/live/n1 '{"state": "healthy"}'
}

# An agent of node n1, and what it must not be able to do. CMD... gives it its credentials.
granted() {
	local key
	operator_writes
	check "$engine: another node's intent" as_root ppctl put --force nodes/n2/hello '{"cluster": "secret"}'
	run "$@" pp-preparer --once --node n1 --repo "file://$T/repo/" --state-dir "$T/$engine.state"
	is "$status" 0 "$engine: pp-preparer converges with its node's rights"
	[ "$status" = 0 ] || diag "$errors"
	# With a command in the place of nft, which needs other rights.
	run "$@" pp-port-firewall --once --node n1 --cmd true --config-dir "$T/$engine.ports" --state-dir "$T/$engine.ports.state"
	is "$status" 0 "$engine: pp-port-firewall converges with its node's rights"
	[ "$status" = 0 ] || diag "$errors"
	start "$engine.preparer" "$@" pp-preparer --node n1 --repo "file://$T/repo/" \
		--state-dir "$T/$engine.state" --listen none
	if wait_for 15 has_status; then
		ok "$engine: a running agent opens its lease and publishes its status"
	else
		not_ok "$engine: a running agent opens its lease and publishes its status" "$(cat "$T/$engine.preparer.log")"
	fi
	for key in clusters/hello/live/config nodes/n1/other nodes/n2/hello reality/status/preparer/n2/hello; do
		run "$@" ppctl put --force "$key" '{"cluster": "live"}'
		isnt "$status" 0 "$engine: it cannot write $key"
	done
	run "$@" ppctl get nodes/n2/hello
	unlike "$output" secret "$engine: it cannot read another node's intent"
}

has_status() { as_root ppctl get reality/status/preparer/n1/hello | grep -q '"state": *"converged"' &&
	! as_root ppctl get reality/status/preparer/n1/hello | grep -q '"once"'; }

with_consul consul-agent.hcl
with_etcd etcd platypus-n1
done_testing
