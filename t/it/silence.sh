#!/bin/bash
# Packets of standing connections vanish without a word, new connections work (what a forgetful
# firewall does): a watch is converged within 30 s. In a network namespace of its own.
set -u
if [ "${1:-}" != inside ]; then
	unshare -n true 2>/dev/null && command -v nft >/dev/null && exec unshare -n "$0" inside
fi
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../watching.sh"
[ "${1:-}" = inside ] || { skip_all "needs nft and the right to make a network namespace"; exit; }
ip link set lo up 2>/dev/null || { skip_all "the namespace's loopback does not come up"; exit; }
have etcd || have consul || { skip_all "neither etcd nor consul is on PATH"; exit; }

# forget PID PORT: that process's connections to it are cut off in both directions. (Not all of them: etcd's
# gateway is a client of the same port.)
forget() {
	local hex port inodes
	printf -v hex '%04X' "$2"
	inodes=" $(readlink /proc/"$1"/fd/* 2>/dev/null | sed -n 's/^socket:\[\(.*\)\]$/\1/p' | tr '\n' ' ')"
	# shellcheck disable=SC2013 # numbers: no blanks in them
	for port in $(awk -v hex=":$hex" -v inodes="$inodes" '$4 == "01" && index($3, hex) && index(inodes, " " $10 " ") {
			split($2, at, ":"); print at[2] }' /proc/net/tcp); do
		nft add rule inet silence input tcp sport $((16#$port)) tcp dport "$2" drop
		nft add rule inet silence input tcp dport $((16#$port)) tcp sport "$2" drop
		forgotten=$((${forgotten:-0} + 1))
	done
}

if ! nft 'add table inet silence; add chain inet silence input { type filter hook input priority 0; }' 2>"$T/nft"; then
	skip_all "nft: $(head -n 1 "$T/nft")"
	exit
fi
if have etcd; then
	start_etcd
	watch etcd-watch "$ETCD_URL"
	check "the watch on etcd begins" begins etcd-watch "$ETCD_URL" e0
	forget "$pid" "$ETCD_PORT"
fi
if have consul; then
	start_consul
	watch consul-watch "$CONSUL_URL"
	check "the watch on Consul begins" begins consul-watch "$CONSUL_URL" k0
	forget "$pid" "$CONSUL_PORT"
fi
check "connections were cut off" [ "${forgotten:-0}" -gt 0 ]
have consul && heals consul-watch "$CONSUL_URL" k1 30 "Consul's packets vanish: converged within 30 s" &
have etcd && heals etcd-watch "$ETCD_URL" e1 30 "etcd's packets vanish: converged within 30 s"
wait $!
have consul || skip "Consul's packets vanish" "consul is not on PATH"
have etcd || skip "etcd's packets vanish" "etcd is not on PATH"
done_testing
