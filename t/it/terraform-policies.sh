#!/bin/bash
# The rights in contrib/policies are enough for pp-terraform-applier and no more, with real ACLs.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/terraforming.sh"

changes='{"format_version":"1.2","resource_changes":[{"address":"stub.one","mode":"managed","change":{"actions":["create"]}}]}'

# try CMD...: what gives the applier its credentials; as_root has all of them.
try() {
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

etcd_roles() {
	engine=etcd
	as_root() { env PP_STORE="$ETCD_URL" ETCDCTL_USER=root:root-password "$@"; }
	start_etcd etcd || { not_ok "etcd starts"; return; }
	export ETCDCTL_ENDPOINTS=http://127.0.0.1:$ETCD_PORT ETCDCTL_API=3
	etcdctl user add root:root-password >"$T/etcdctl.log" 2>&1
	etcdctl user grant-role root root >>"$T/etcdctl.log" 2>&1
	check "etcd: authentication" etcdctl auth enable
	export ETCDCTL_USER=root:root-password PASSWORD=-
	run bash -c "echo n1-password | WORLD=prod '$ROOT/contrib/policies/etcd-terraform' n1"
	is "$status" 0 "etcd takes the role"
	[ "$status" = 0 ] || diag "$errors"
	unset ETCDCTL_USER ETCDCTL_ENDPOINTS PASSWORD
	applier+=(--world prod)
	try env PP_STORE="$ETCD_URL" ETCDCTL_USER=platypus-terraform-n1:n1-password
}

consul_acl() {
	local rules body token
	engine=consul
	as_root() { env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN=root-token "$@"; }
	CONSUL_HCL='acl { enabled = true default_policy = "deny" tokens { master = "root-token" agent = "root-token" } }' \
		start_consul consul || { not_ok "consul with ACLs starts"; return; }
	rules=$(sed 's/NODE/n1/g; s/#.*//' "$ROOT/contrib/policies/consul-terraform.hcl" | sed 's/session "n1"/session "consul"/' |
		tr '\n\t' '  ' | sed 's/"/\\"/g')
	wait_for 15 http PUT "$CONSUL_PORT" /v1/acl/policy "{\"Name\": \"n1\", \"Rules\": \"$rules\"}" 'X-Consul-Token: root-token' ||
		{ not_ok "consul takes the policy" "$rules"; return; }
	body=$(http PUT "$CONSUL_PORT" /v1/acl/token '{"Policies": [{"Name": "n1"}]}' 'X-Consul-Token: root-token')
	token=$(sed -n 's/.*"SecretID": *"\([^"]*\)".*/\1/p' <<<"$body")
	try env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN="$token"
}

if have consul; then consul_acl; else skip "rights in Consul" "consul is not on PATH"; fi
if have etcd && have etcdctl; then etcd_roles; else skip "rights in etcd" "etcd or etcdctl is not on PATH"; fi
done_testing
