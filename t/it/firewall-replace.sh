#!/bin/bash
# Rules are replaced 200 times under load: no packet of a port that stays open is lost.
set -u
if [ -z "${FIREWALL_TEST:-}" ]; then
	for root in "" r; do
		unshare "-${root}n" nft list ruleset >/dev/null 2>&1 && FIREWALL_TEST=yes exec unshare "-${root}n" "$0" "$@"
	done
fi
. "$(dirname "$0")/../lib.sh"

if [ -z "${FIREWALL_TEST:-}" ]; then skip_all "no nft, or no right to a network namespace: no replacement is tested under load"; fi
for program in nft ip nsenter pp-port-firewall; do
	have "$program" || skip_all "$program is not on PATH: no replacement is tested under load"
done

replacements=200
packets=$BUILD_DIR/t/it/packets
export PP_STORE=dir:$T/store PP_NODE=n1

start others unshare -n sleep 1000
others=$pid
wait_for 5 sh -c "[ \"\$(readlink /proc/$others/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
ip link set lo up
ip link add node0 type veth peer name other0 netns "$others"
ip addr add 10.9.0.1/24 dev node0
ip addr add fd09::1/64 dev node0 nodad
ip link set node0 up
nsenter -t "$others" -n ip addr add 10.9.0.2/24 dev other0
nsenter -t "$others" -n ip addr add fd09::2/64 dev other0 nodad
nsenter -t "$others" -n ip link set other0 up
start serve "$packets" serve 8001
answers() { [ "$(nsenter -t "$others" -n "$packets" try tcp fd09::1 8001 1000)" = open ]; }
wait_for 10 answers || { not_ok "the two networks reach each other" "$(ip addr)"; done_testing; }

# What comes to the port right before the table's chain, and right after it.
nft -f - <<'END'
table inet watch {
	counter came { }
	counter passed { }
	chain before { type filter hook input priority -1; policy accept; th dport 8001 counter name came; }
	chain after { type filter hook input priority 1; policy accept; th dport 8001 counter name passed; }
}
END
count() { nft list counter inet watch "$1" | sed -n 's/.*packets \([0-9]*\) .*/\1/p'; }

ppctl init "$PP_STORE" >/dev/null 2>&1
put() { ppctl put "$1" "$2" >/dev/null 2>&1 || not_ok "put $1 $2"; }
ports() { put clusters/web/live/deploy_config "{\"basedir\": \"$T/web\", \"ports\": [8001, {\"port\": 8001, \"protocol\": \"udp\"}, $1]}"; }
ports 9000
put clusters/web/live/config '{"versions": {}}'
put nodes/n1/web '{"cluster": "live"}'

start daemon pp-port-firewall --state-dir "$T/state" --listen none --policy drop
daemon=$pid
has() { nft list table inet platypus 2>/dev/null | grep -q "8001, $1 }"; }
check "the table is made" wait_for 30 has 9000

# Each source of load ends when its standard input does.
mkfifo "$T/go"
for address in 10.9.0.1 fd09::1; do
	nsenter -t "$others" -n "$packets" load "$address" 8001 <"$T/go" >"$T/load.$address" &
	adopt $!
done
exec {go}>"$T/go"

missed=0
for ((i = 1; i <= replacements; i++)); do
	ports "$((9000 + i))"
	wait_for 30 has "$((9000 + i))" || missed=$((missed + 1))
done
is "$missed" 0 "$replacements replacements are made"
is "$(grep -c 'table: Table inet platypus: opening' "$T/daemon.log")" "$replacements" "each of them by the agent"
exec {go}>&-
done_loading() { [ -s "$T/load.10.9.0.1" ] && [ -s "$T/load.fd09::1" ]; }
wait_for 30 done_loading
for address in 10.9.0.1 fd09::1; do
	read -r udp lost tcp failed <"$T/load.$address"
	diag "$address: $udp datagrams, $lost lost; $tcp connections, $failed failed"
	is "$lost" 0 "no datagram to $address is lost"
	is "$failed" 0 "no connection to $address fails"
	isnt "$((udp > 1000 && tcp > 100))" 0 "and there was load"
done
# The last packets of what has just been closed may be on their way.
all_passed() { came=$(count came) && [ "$(count passed)" = "$came" ]; }
wait_for 5 all_passed
is "$(count passed)" "$came" "every packet to the port passed the table"
diag "$came packets in all"
stop "$daemon"
done_testing
