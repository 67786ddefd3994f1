#!/bin/bash
# Ten nodes, eight of them required, on a real etcd: versions that are good, and versions that are not.
# long
set -u
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../nodes.sh"
have etcd || skip_all "etcd is not on PATH"
have runsvdir || skip_all "runit is not on PATH"
{ have pp-health-reporter && have pp-setlive; } || skip_all "an agent is not built"

see() { printf '# %d s: %s; slots %s\n' "$SECONDS" "$("$BUILD_DIR/t/it/rollout-history" "$history" 10 | tr '\n' ',')" "$(slots)"; }
# eventually SECONDS DESC CMD...: with what is there when it does not.
eventually() {
	local seconds=$1 desc=$2
	shift 2
	if wait_for "$seconds" "$@"; then ok "$desc"; see; else not_ok "$desc" "$(see)" "$(tail -n 5 "$T"/setlive-n*.log)"; fi
}
# Nobody tries it any more: each node has marked it, or says on which other one it failed.
given_up() {
	local node slots
	slots=$(slots)
	[[ $slots == *'"failed":'* ]] || return 1
	for node in "${nodes[@]}"; do
		[[ $slots =~ \"$node\":\{[^}]*\"failed\": ]] || [[ $(status_of "$node") == *"is not set live: on "* ]] || return 1
	done
}
tried_again() { [[ $(slots) == *'"attempt":1,"failed":'* ]] && given_up; }
in_bounds() {
	local worst
	worst=$(said worst)
	if [ "$worst" -le 2 ]; then ok "... never more than two away at once ($worst)"; else not_ok "... two away at once at most" "$(see)"; fi
}

make_nodes 10 8
start_agents
activate good1
eventually 60 "ten nodes come up" settled_on good1

# ---- a good version ----
activate good2
eventually 60 "a good version rolls through" settled_on good2
is "$(said rounds)" 10 "... each node was stopped once"
in_bounds

# ---- one that never becomes healthy, with rollback ----
activate bad1 rollback
eventually 60 "a bad version with rollback: it is given up everywhere" given_up
eventually 30 "... and the previous one runs where it was tried" all_run good2
tried=$(said tried bad1)
is "$tried" "$(count instead)" "... the slots say so; it was tried on no other node"
is "$(said rounds)" $((10 + 2 * tried)) "... nor was anything stopped there"
in_bounds

for node in $(slots | grep -oE '"n[0-9]+":' | tr -d '":'); do
	check "... ppctl lock break of $node" ppctl --store "$ETCD_URL" lock break slug/c/shutdown "$node"
done
eventually 60 "... which is another attempt" given_up
eventually 30 "... and the previous one runs again" all_run good2
in_bounds

# ---- another one, kept ----
activate bad2 keep
eventually 60 "another bad version, kept: it is given up everywhere" given_up
tried=$(count failed)
is "$(said tried bad2)" "$tried" "... it was tried on no other node"
is "$(said runs good2)" $((10 - tried)) "... the others run what they ran"
in_bounds

check "... ppctl rollout retry" ppctl --store "$ETCD_URL" rollout retry slug
eventually 60 "... it fails again" tried_again
is "$(said tried bad2)" "$tried" "... where it was"
in_bounds

activate good1
eventually 60 "other intent clears it, on all ten" settled_on good1
in_bounds
end_nodes
done_testing
