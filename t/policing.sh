# The rights in contrib/policies on real engines, with real ACLs: for t/it/*policies.sh. bash.
#
# with_consul and with_etcd start one, and then call granted CMD..., which the test defines: CMD... gives the
# credentials that a policy makes; as_root CMD... has all rights; $engine is "consul" or "etcd".

# make_token NAME FILE: a token with what is in contrib/policies/FILE; fails when Consul does not take it.
make_token() {
	local rules
	# Sessions of a single server belong to it.
	rules=$(sed 's/NODE/n1/g; s/#.*//' "$ROOT/contrib/policies/$2" | sed 's/session "n1"/session "consul"/' |
		tr '\n\t' '  ' | sed 's/"/\\"/g')
	wait_for 15 http PUT "$CONSUL_PORT" /v1/acl/policy "{\"Name\": \"$1\", \"Rules\": \"$rules\"}" 'X-Consul-Token: root-token' &&
		http PUT "$CONSUL_PORT" /v1/acl/token "{\"Policies\": [{\"Name\": \"$1\"}]}" 'X-Consul-Token: root-token' |
		sed -n 's/.*"SecretID": *"\([^"]*\)".*/\1/p'
}

# with_consul FILE: of contrib/policies.
with_consul() {
	local token
	have consul || { skip "rights in Consul" "consul is not on PATH"; return; }
	engine=consul
	as_root() { env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN=root-token "$@"; }
	CONSUL_HCL='acl { enabled = true default_policy = "deny" tokens { master = "root-token" agent = "root-token" } }' \
		start_consul consul || { not_ok "consul with ACLs starts"; return; }
	token=$(make_token n1 "$1")
	like "$token" '^[0-9a-f-]{36}$' "consul: the policy makes a token"
	granted env PP_STORE="$CONSUL_URL" CONSUL_HTTP_TOKEN="$token"
}

# with_etcd SCRIPT USER: of contrib/policies, which makes that user.
with_etcd() {
	if ! have etcd || ! have etcdctl; then skip "rights in etcd" "etcd or etcdctl is not on PATH"; return; fi
	engine=etcd
	as_root() { env PP_STORE="$ETCD_URL" ETCDCTL_USER=root:root-password "$@"; }
	start_etcd etcd || { not_ok "etcd starts"; return; }
	export ETCDCTL_ENDPOINTS=http://127.0.0.1:$ETCD_PORT ETCDCTL_API=3 ETCDCTL_DIAL_TIMEOUT=60s
	check "etcd: root" etcdctl user add root:root-password
	check "etcd: root's role" etcdctl user grant-role root root
	check "etcd: authentication" etcdctl auth enable
	export ETCDCTL_USER=root:root-password PASSWORD=-
	run bash -c "echo n1-password | '$ROOT/contrib/policies/$1' n1"
	is "$status" 0 "etcd takes the roles"
	[ "$status" = 0 ] || diag "$errors"
	unset ETCDCTL_USER ETCDCTL_ENDPOINTS ETCDCTL_DIAL_TIMEOUT PASSWORD
	granted env PP_STORE="$ETCD_URL" ETCDCTL_USER="$2:n1-password"
}
