# A cluster of nodes on this machine, for tests of rollouts. After t/lib.sh.
#
#	make_nodes COUNT MIN_NODES        a real etcd; for each node a proxy to it, a runsvdir, and its directories
#	start_agents                      pp-setlive and pp-health-reporter for each
#	activate VERSION [keep|rollback [ANYTHING]]
#	end_nodes                         all at once, before done_testing: one by one takes long
#
# The application is slug in cluster c, its nodes n1, n2, ...; of its versions good1 and good2 are good, bad1 and bad2 are
# never healthy. Its services write $history, of which rollout-history says what happened.
#
# shellcheck disable=SC2034,SC2154 # this file's variables are the tests', t/lib.sh's are ours

history=$T/history
nodes=()                                        # n1 n2 ...
declare -A proxy setlive reporter supervisor url # node -> process, its way to the store
up_ms=100
good_deadline=60s                               # by when a good version is healthy, on the slowest machine

put() { ppctl --store "$ETCD_URL" put "$1" "$2" >/dev/null 2>&1 || not_ok "put $1"; }
slots() { ppctl --store "$ETCD_URL" --json get locks/slug/c/shutdown 2>/dev/null | tr -d ' \n'; }
fact() { ppctl --store "$ETCD_URL" --json get "reality/health/slug/c/$1" 2>/dev/null | tr -d ' \n'; }
status_of() { ppctl --store "$ETCD_URL" --json get "reality/status/setlive/$1/slug" 2>/dev/null | tr -d '\n'; }

# install NODE VERSION up|sick
install_version() {
	local bin=$T/$1/slug/installs/slug_$2/bin
	mkdir -p "$bin"
	printf '#!/bin/sh\nexec %s %s %s %s\n' "$BUILD_DIR/t/it/rollout-service" "$history" "$3" "$up_ms" >"$bin/launch"
	printf '#!/bin/sh\n[ -e %s.%s ] || { echo "no database"; exit 1; }\n' "$history" "$1" >"$bin/check"
	chmod 755 "$bin"/*
}

# Both documents at once: nothing is tried between two writes.
activate() {
	local versions='"good1": "prep", "good2": "prep", "bad1": "prep", "bad2": "prep"' within=$good_deadline
	case $1 in bad*) within=3s;; esac
	versions=${versions/"\"$1\": \"prep\""/"\"$1\": \"active\""}
	cat >"$T/activate" <<-END
	{"clusters/slug/c/deploy_config": {"basedir": "$T/%n/slug", "on_failure": "${2:-keep}",
		"health": {"up": "${up_ms}ms", "deadline": "$within"}},
	"clusters/slug/c/config": {"versions": {$versions},
		"min_nodes": $min_nodes, "user_config": "${3:-}"}}
	END
	ppctl --store "$ETCD_URL" import "$T/activate" >/dev/null 2>&1 || not_ok "activate $*"
}

make_nodes() {
	local count=$1 node port
	min_nodes=$2
	start_etcd || return
	: >"$history"
	activate none
	for ((index = 1; index <= count; index++)); do
		node=n$index
		nodes+=("$node")
		port=$(free_port)
		url[$node]=etcd://127.0.0.1:$port
		start "proxy-$node" "$BUILD_DIR/t/it/rollout-proxy" "$port" "$ETCD_PORT"
		proxy[$node]=$pid
		mkdir -p "$T/$node/service"
		install_version "$node" good1 up
		install_version "$node" good2 up
		install_version "$node" bad1 sick
		install_version "$node" bad2 sick
		put "nodes/$node/slug" '{"cluster": "c"}'
	done
	# What is prepared is linked before runsvdir looks: later it would wait for its next scan.
	for node in "${nodes[@]}"; do
		pp-setlive --once $(options "$node" setlive) >>"$T/setlive-$node.log" 2>&1
		start "runsvdir-$node" runsvdir "$T/$node/service"
		supervisor[$node]=$pid
	done
}

# options NODE AGENT
options() {
	echo "--store ${url[$1]} --node $1 --state-dir $T/$1/$2 --listen none --splay 0" \
		"--runit $T/$1/service --runit-stage $T/$1/stage"
}

# In process groups of their own, and not noted in `started`: campaigns start hundreds. End them with end_agents.
start_setlive() {
	setsid pp-setlive $(options "$1" setlive) --interval 10s >>"$T/setlive-$1.log" 2>&1 </dev/null &
	setlive[$1]=$!
	disown
}
start_reporter() {
	setsid pp-health-reporter $(options "$1" reporter) --check-interval "${check_interval:-300ms}" \
		>>"$T/reporter-$1.log" 2>&1 </dev/null &
	reporter[$1]=$!
	disown
}
start_agents() {
	local node
	for node in "${nodes[@]}"; do
		start_setlive "$node"
		start_reporter "$node"
	done
}
end_agents() {
	local one
	for one in "${setlive[@]}" "${reporter[@]}"; do each_of "$(family "$one")" KILL; done
}
end_nodes() {
	local one
	end_agents
	for one in "${supervisor[@]}"; do kill -HUP "$one"; done
	for one in "${proxy[@]}"; do kill -KILL "$one"; done
	for one in "${supervisor[@]}" "${proxy[@]}"; do wait "$one"; done 2>/dev/null
}

# ---- what the history says ----

# said WORD...: the number behind these words, 0 when nothing is said of it.
said() {
	"$BUILD_DIR/t/it/rollout-history" "$history" "${#nodes[@]}" |
		awk -v words="$* " 'index($0, words) == 1 { number = $NF } END { print number + 0 }'
}
all_run() { [ "$(said runs "$1")" = "${#nodes[@]}" ] && [ "$(said away)" = 0 ]; }
no_slots() { [ -z "$(slots)" ]; }
settled_on() { all_run "$1" && no_slots; }
# Every slot is marked: nobody is trying any more.
count() { slots | grep -o "\"$1\":" | wc -l; }
all_marked() { [ "$(count failed)" -gt 0 ] && [ "$(count failed)" = "$(count holder)" ]; }
