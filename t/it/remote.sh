#!/bin/bash
# What only the remote engines must do: pages, many prefixes, users. On real servers.
set -u
. "$(dirname "$0")/../lib.sh"

remote=$BUILD_DIR/t/it/remote

# say LABEL MODE URL: the program's lines as ours.
say() {
	local line
	while IFS= read -r line; do
		case $line in
		'ok - '*) ok "$1: ${line#ok - }";;
		'not ok - '*) not_ok "$1: ${line#not ok - }";;
		*) diag "${line#\# }";;
		esac
	done < <("$remote" "$2" "$3" 2>&1)
}

auth() { check "$1" http POST "$ETCD_PORT" "/v3/auth/$2" "$3" "${4:+Authorization: $4}"; }

users() {
	auth "a user is added" user/add '{"name": "root", "password": "p"}'
	auth "and another" user/add '{"name": "reader", "password": "r"}'
	auth "the role of root is added" role/add '{"name": "root"}'
	auth "and given" user/grant '{"user": "root", "role": "root"}'
	auth "authentication is enabled" enable '{}'
	ETCDCTL_USER=root:p say "etcd as root" prefixes "$ETCD_URL"
	ETCDCTL_USER=reader:r say "etcd as reader" refused "$ETCD_URL"
	ETCDCTL_USER=root:wrong say "etcd with a wrong password" refused "$ETCD_URL"
	say "etcd as nobody" refused "$ETCD_URL"
}

if start_etcd; then
	say etcd pages "$ETCD_URL"
	users
else
	skip "etcd's pages and users" "etcd is not on PATH"
fi
if start_consul; then
	say consul prefixes "$CONSUL_URL"
	say consul pages "$CONSUL_URL"
else
	skip "Consul's prefixes" "consul is not on PATH"
fi
done_testing
