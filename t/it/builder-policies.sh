#!/bin/bash
# The rights in contrib/policies are enough for pp-builder and no more, with real ACLs.
set -u
. "$(dirname "$0")/../lib.sh"
have git || skip_all "git is not on PATH"
export PP_NODE=n1
mkdir -p "$T/src"
echo x >"$T/src/x"

# try CMD...: what gives the builder its credentials; as_root has all of them.
try() {
	local key
	rm -rf "$T/state" "$T/repo"
	check "$engine: a developer writes an application" as_root ppctl put apps/api "{\"repo\": \"dir:$T/src\",
		\"rules\": [{\"ref\": \"*\", \"recipe\": \"a\"}], \"recipes\": {\"a\": {\"tarball\": {\"repository\": \"$T/repo\"}}}}"
	run "$@" pp-builder --listen none --state-dir "$T/state" --once
	is "$status $(find "$T/repo" -name '*.tar.gz' | wc -l)" "0 1" "$engine: it is built with these rights"
	[ "$status" = 0 ] || diag "$errors"
	is "$(as_root ppctl ls reality/builds/api | grep -c .)" 1 "$engine: ... and published"
	for key in apps/api reality/refs/api/main clusters/api/c/config locks/stack/p/n reality/status/setlive/n1/x; do
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
	run bash -c "echo n1-password | '$ROOT/contrib/policies/etcd-builder' n1"
	is "$status" 0 "etcd takes the role"
	[ "$status" = 0 ] || diag "$errors"
	unset ETCDCTL_USER ETCDCTL_ENDPOINTS PASSWORD
	try env PP_STORE="$ETCD_URL" ETCDCTL_USER=platypus-builder-n1:n1-password
}

consul_acl() {
	local rules body token
	engine=consul
	as_root() { env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN=root-token "$@"; }
	CONSUL_HCL='acl { enabled = true default_policy = "deny" tokens { master = "root-token" agent = "root-token" } }' \
		start_consul consul || { not_ok "consul with ACLs starts"; return; }
	rules=$(sed 's/NODE/n1/g; s/#.*//' "$ROOT/contrib/policies/consul-builder.hcl" | sed 's/session "n1"/session "consul"/' |
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
