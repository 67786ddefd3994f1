#!/bin/bash
# Real servers are killed and come back: a watch is converged within 2 s of healing.
# alone
set -u
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../watching.sh"

# node N: starts member N of three; notes its pid in $T/N.pid.
node() {
	start "node$1" env -u ETCDCTL_API etcd --name "n$1" --data-dir "$T/n$1.data" --log-level error \
		--listen-client-urls "http://127.0.0.1:${client[$1]}" \
		--advertise-client-urls "http://127.0.0.1:${client[$1]}" \
		--listen-peer-urls "http://127.0.0.1:${peer[$1]}" \
		--initial-advertise-peer-urls "http://127.0.0.1:${peer[$1]}" \
		--initial-cluster "$members"
	node_pid[$1]=$pid
}

# Sets $first, the number of the member that leads. At times nobody does, so wait for it.
leads() {
	local n status
	for n in 1 2 3; do
		status=$(http POST "${client[$n]}" /v3/maintenance/status '{}') || continue
		[ "$(grep -o '"member_id":"[0-9]*"' <<<"$status" | grep -o '[0-9]*')" = \
			"$(grep -o '"leader":"[0-9]*"' <<<"$status" | grep -o '[0-9]*')" ] && first=$n && return
	done
	return 1
}

cluster() {
	declare -a client peer node_pid
	local members='' url='' n round first
	for n in 1 2 3; do
		client[n]=$(free_port) peer[n]=$(free_port)
		members+="${members:+,}n$n=http://127.0.0.1:${peer[$n]}"
		url+="${url:+,}127.0.0.1:${client[$n]}"
	done
	url=etcd://$url
	for n in 1 2 3; do node "$n"; done
	wait_for 20 leads || { not_ok "three etcds elect a leader" "$(tail -n 5 "$T"/node*.log)"; return; }
	watch cluster "$url"
	check "the watch on three etcds begins" begins cluster "$url" c0
	for round in 1 2; do
		wait_for 20 leads || { not_ok "the three have a leader" "$(tail -n 5 "$T"/node*.log)"; return; }
		kill_now "${node_pid[$first]}"
		heals cluster "$url" "c$round" 2 "leader $first of three killed: converged within 2 s"
		node "$first"
		wait_for 20 http GET "${client[$first]}" /health ''
	done
	# Quorum is lost and comes back.
	kill_now "${node_pid[1]}"
	kill_now "${node_pid[2]}"
	sleep 3
	node 1
	node 2
	heals cluster "$url" c3 2 "two of three killed and back: converged within 2 s"
}

restart_etcd() {
	local data=$T/single.data args
	start_etcd single
	local url=$ETCD_URL server=$pid
	mapfile -d '' -t args <"/proc/$server/cmdline"
	watch etcd "$url"
	check "the watch on one etcd begins" begins etcd "$url" e0
	kill_now "$server"
	sleep 2
	start single "${args[@]}"
	server=$pid
	heals etcd "$url" e1 2 "etcd killed and back: converged within 2 s"
	# Without its data: the same cluster id, a lower revision.
	kill_now "$server"
	rm -rf "$data"
	start single "${args[@]}"
	heals etcd "$url" e2 2 "etcd killed and back, empty: converged within 2 s"
}

restart_consul() {
	local args
	start_consul single-consul || return
	local url=$CONSUL_URL server=$pid
	mapfile -d '' -t args <"/proc/$server/cmdline"
	watch consul "$url"
	check "the watch on Consul begins" begins consul "$url" k0
	for round in 1 2 3 4 5 6 7 8; do "$watcher" heal "$url" "b/$round" x >/dev/null; done
	kill_now "$server"
	sleep 2
	start single-consul "${args[@]}"
	server=$pid
	heals consul "$url" k1 2 "Consul killed and back: converged within 2 s"
	kill_now "$server"
	rm -rf "$T/single-consul.data"
	start single-consul "${args[@]}"
	heals consul "$url" k2 2 "Consul killed and back, its index fallen: converged within 2 s"
}

if have etcd; then
	cluster
	restart_etcd
else
	skip "three etcds, one etcd" "etcd is not on PATH"
fi
if have consul; then
	restart_consul
else
	skip "Consul killed and back" "consul is not on PATH"
fi
done_testing
