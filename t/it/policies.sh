#!/bin/bash
# The rights in contrib/policies are enough for a node's agents and no more, with real ACLs.
set -u
. "$(dirname "$0")/../lib.sh"

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

# An agent of node n1, and what it must not be able to do. CMD... gives it its credentials.
try() {
	local key
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

# ---- Consul ----

consul_acl() {
	engine=consul
	as_root() { env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN=root-token "$@"; }
	local rules token body operator
	CONSUL_HCL='acl { enabled = true default_policy = "deny" tokens { master = "root-token" agent = "root-token" } }' \
		start_consul consul || { not_ok "consul with ACLs starts"; return; }
	rules=$(sed 's/NODE/n1/g; s/#.*//' "$ROOT/contrib/policies/consul-agent.hcl" | sed 's/session "n1"/session "consul"/' |
		tr '\n\t' '  ' | sed 's/"/\\"/g')
	wait_for 15 http PUT "$CONSUL_PORT" /v1/acl/policy "{\"Name\": \"n1\", \"Rules\": \"$rules\"}" 'X-Consul-Token: root-token' ||
		{ not_ok "consul takes the policy" "$rules"; return; }
	body=$(http PUT "$CONSUL_PORT" /v1/acl/token '{"Policies": [{"Name": "n1"}]}' 'X-Consul-Token: root-token')
	token=$(sed -n 's/.*"SecretID": *"\([^"]*\)".*/\1/p' <<<"$body")
	like "$token" '^[0-9a-f-]{36}$' "consul: the policy makes a token"
	rules=$(sed 's/#.*//' "$ROOT/contrib/policies/consul-operator.hcl" | tr '\n\t' '  ' | sed 's/"/\\"/g')
	http PUT "$CONSUL_PORT" /v1/acl/policy "{\"Name\": \"operator\", \"Rules\": \"$rules\"}" 'X-Consul-Token: root-token' >/dev/null ||
		not_ok "consul takes the operator's policy" "$rules"
	operator=$(http PUT "$CONSUL_PORT" /v1/acl/token '{"Policies": [{"Name": "operator"}]}' 'X-Consul-Token: root-token' |
		sed -n 's/.*"SecretID": *"\([^"]*\)".*/\1/p')
	check "consul: an operator writes intent" write_intent env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN="$operator"
	refute "consul: ... and no facts" env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN="$operator" \
		ppctl put --force reality/health/hello/live/n1 '{"state": "healthy"}'
	check "consul: another node's intent" as_root ppctl put --force nodes/n2/hello '{"cluster": "secret"}'
	try env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN="$token"
}

# ---- etcd ----

etcd_roles() {
	engine=etcd
	as_root() { env PP_STORE="$ETCD_URL" ETCDCTL_USER=root:root-password "$@"; }
	start_etcd etcd || { not_ok "etcd starts"; return; }
	export ETCDCTL_ENDPOINTS=http://127.0.0.1:$ETCD_PORT ETCDCTL_API=3
	check "etcd: root" etcdctl user add root:root-password
	check "etcd: root's role" etcdctl user grant-role root root
	check "etcd: authentication" etcdctl auth enable
	export ETCDCTL_USER=root:root-password PASSWORD=-
	run bash -c "echo n1-password | '$ROOT/contrib/policies/etcd' n1"
	is "$status" 0 "etcd takes the roles"
	[ "$status" = 0 ] || diag "$errors"
	unset ETCDCTL_USER ETCDCTL_ENDPOINTS PASSWORD
	check "etcd: an operator writes intent" write_intent as_root
	check "etcd: another node's intent" as_root ppctl put --force nodes/n2/hello '{"cluster": "secret"}'
	try env PP_STORE="$ETCD_URL" ETCDCTL_USER=platypus-n1:n1-password
}

if have consul; then consul_acl; else skip "rights in Consul" "consul is not on PATH"; fi
if have etcd && have etcdctl; then etcd_roles; else skip "rights in etcd" "etcd or etcdctl is not on PATH"; fi
done_testing
