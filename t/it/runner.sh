#!/bin/bash
# The runner and its rounds, by the toy agent: <basedir>/greeting says what user_config.greeting says.
#
# Everything on a directory store; runner-engines.sh does what depends on the engine on a real etcd and a
# real Consul, runner-family.sh what a round has to do with its runner and its children.
#
#	t/it/runner.sh [TEST...]     only those: once, quiet, ...
set -u
. "$(dirname "$0")/../lib.sh"

toy=$BUILD_DIR/t/it/toy
calls=creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,link,linkat
calls+=,chmod,fchmod,fchmodat,chown,fchown,fchownat,lchown,truncate,ftruncate,utimensat,fsync,fdatasync
calls+=,mknod,mknodat,setxattr,open,openat

# ---- intent ----

# put KEY VALUE; a document written by hand appears by rename.
put() {
	if [ -n "$S" ] && [ "${1%/}" = "$1" ]; then
		mkdir -p "$S/${1%/*}"
		printf %s "$2" >"$T/.put" && mv "$T/.put" "$S/$1"
	else
		ppctl --store "$URL" put "$1" "$2" >/dev/null 2>&1
	fi
}
# del KEY...: all at once; they are there.
del() { ppctl --store "$URL" rm "$@" >/dev/null 2>&1; }
# config APP USER-CONFIG; app APP USER-CONFIG: all three documents.
config() { put "clusters/$1/c/config" "{\"versions\": {}, \"artifacts\": {}, \"user_config\": $2}"; }
app() {
	config "$1" "$2"
	put "clusters/$1/c/deploy_config" "{\"basedir\": \"$W/$1\"}"
	put "nodes/n1/$1" '{"cluster": "c"}'
}
greet() { app "$1" "{\"greeting\": \"$2\"}"; }
trick() { app "$1" "{\"greeting\": \"$3\", \"trick\": \"$2\"}"; }

# ---- the agent ----

# A store and a world of their own; what came before is gone.
fresh() {
	W=$(mktemp -d "$T/w.XXXXXX")
	chmod 755 "$W"
	state=$W/state
	if [ "${1:-dir}" = dir ]; then
		S=$W/store URL=dir:$W/store
		mkdir "$S"
	else
		S='' URL=$1
	fi
}
once() { run "$toy" --store "$URL" --node n1 --state-dir "$state" --listen none --once "$@"; }
# Starts it; its log is $log, its id $agent.
launch() {
	log=$(mktemp "$W/log.XXXX")
	start "$(basename "$W")-$(basename "$log")" "$toy" --store "$URL" --node n1 --state-dir "$state" \
		--listen "unix:$W/toy.sock" --interval 1h --splay 0 "$@"
	log=$T/$(basename "$W")-$(basename "$log").log agent=$pid
}
helper() { pgrep -P "$agent" -x pp-helper; }
rounds() { pgrep -P "$(helper)" -x pp-round; }
# shellcheck disable=SC2120 # at most one argument
ended() { ! proc_stat "${1:-$agent}"; }
says() { grep -qE "$1" "$log"; }
greets() { [ "$(cat "$W/$1/greeting" 2>/dev/null)" = "$2" ]; }
silent() { [ ! -e "$W/$1/greeting" ]; }
# doc SLICE: its status document, as any reader sees it.
doc() { ppctl --store "$URL" get "reality/status/toy/n1/$1" 2>/dev/null | tr -d ' \n'; }
# is_in SLICE STATE [REASON]
is_in() { [[ $(doc "$1") =~ \"reason\":\"${3:-[A-Za-z]*}\".*\"state\":\"$2\" ]]; }
undocumented() { [ -z "$(doc "$1")" ]; }
http_get() { curl -sf --max-time "$((5 * PATIENCE))" --unix-socket "$W/toy.sock" "http://toy$1"; }
metric() { http_get /metrics | sed -n "s/^$1{[^}]*${2:-}[^}]*} //p" | head -n 1; }
# Everything but the state directory and what is the store's own: names, inodes, contents, times.
files() { find "$W" \( -path "$W/log.*" -o -name toy.sock \) -prune -o -type d -printf '%p %i %m\n' -o -printf '%p %i %s %m %T@ %C@ %l\n' | sort; }
# Which it is, too: another may begin as soon as one has looked.
only_one() { one_round=$(rounds) && [ "$(wc -l <<<"$one_round")" = 1 ]; }
# at_rest: nothing runs any more, however often one looks.
at_rest() { [ -z "$(rounds)" ] && sleep 0.3 && [ -z "$(rounds)" ]; }

# ---- one round and out ----

test_once() {
	local as=$1 before
	put nodes/n1/ '{}'
	once --dry-run
	is "$status" 0 "$as--dry-run where nothing is meant ends, too"
	greet a hello
	once --dry-run
	is "$status" 2 "$as--dry-run with work: exit status 2"
	is "$output" "a: would write greeting: Writing: it says nothing, hello is meant" "$as... says what and why"
	[ -n "$S" ] && is "$(cd "$W" && echo *)" store "... and makes nothing, not even its state directory"
	once
	is "$status" 0 "$as--once: converged, exit status 0"
	like "${errors%%$'\n'*}" "Intent store ${URL%%,*}.*node n1" "${as}the first line logged names the store"
	check "$as... done" greets a hello
	like "$(doc a)" '"once":true' "$as... its status is marked"
	like "$(doc a)" '"intent_digest":"[0-9a-f]{64}".*"reason":"".*"since":"[0-9-]*T[0-9:.]*Z","state":"converged"' "$as... with all fields"
	before=$(files; doc a)
	once
	is "$status" 0 "$as--once again: exit status 0"
	is "$(files; doc a)" "$before" "$as... changes no file, nor the store"
	once --dry-run
	is "$status$output" 0 "$as--dry-run without work: exit status 0, no word"
	put nodes/n1/late '{"cluster": "c"}'
	once
	is "$status" 111 "${as}one waits for its config: exit status 111"
	like "$errors" "late: waiting|waiting: clusters/late/c/config does not exist yet" "$as... says what it waits for"
	check "$as... is waiting, NoConfig" is_in late waiting NoConfig
	check "$as... the other is not" is_in a converged
	config late '{"trick": 5}'
	put clusters/late/c/deploy_config "{\"basedir\": \"$W/late\"}"
	put nodes/n1/bad '{"cluster": 7}' 2>/dev/null || put nodes/n1/late '{"cluster": "d"}'
	[ -n "$S" ] || return 0
	once
	is "$status" 100 "one is malformed: exit status 100"
	check "... it is blocked, Malformed" is_in bad blocked Malformed
	like "$(doc bad)" 'nodes/n1/bad:.*cluster' "... and told where"
	check "... the others are converged" is_in late converged
	del nodes/n1/bad
	trick crashing crash x
	once
	is "$status" 111 "one crashes: exit status 111"
	[ "$status" = 111 ] || diag "$errors"
	check "... it is failing, RoundCrashed" is_in crashing failing RoundCrashed
	like "$(doc crashing)" 'killedbysignal6' "... with the signal"
	# Nothing of this is forgotten when the key goes.
	del nodes/n1/crashing clusters/crashing/c/config
	once
	is "$status" 0 "without it: exit status 0"
	check "... its status is gone" undocumented crashing
	if have flock; then
		before=$(doc a)
		greet a again
		exec 8<"$S" && flock -s 8
		{ sleep 4; flock -u 8; } &
		once
		is "$status" 0 "a store that somebody reads for four seconds: exit status 0"
		isnt "$(doc a)" "$before" "... and its status has been written"
		wait "$!"
		exec 8<&-
	fi
	run "$toy" --store "dir:$W/no-such" --node n1 --state-dir "$W/other" --listen none --once
	is "$status" 111 "no store, nothing kept: exit status 111"
	like "$errors" "there is no store here" "... and why"
	once --no-such-option
	is "$status" 100 "an unknown option: exit status 100"
	printf 'toy:\n  intervall: 5s\n' >"$W/c.yaml"
	once --config-file "$W/c.yaml"
	is "$status" 100 "an unknown name in the configuration file: exit status 100"
	like "$errors" 'c.yaml:2: intervall: unknown option; did you mean "interval"' "... with line and likely name"
}

# ---- absence ----

test_vanish() {
	local as=$1 count=$2 name left
	put nodes/n1/ '{}'
	for name in $(seq "$count"); do greet "a$name" hello; done
	launch
	check "${as}$count: converged" wait_for 5 is_in a1 converged
	wait_for 5 is_in "a$count" converged
	# shellcheck disable=SC2046 # words
	del nodes/n1/ $(seq -f 'nodes/n1/a%g' "$count")
	check "${as}all $count keys and the marker gone: blocked, IntentVanished" wait_for 5 is_in a1 blocked IntentVanished
	like "$(doc a1)" "ppctlputnodes/n1/" "$as... with the way out"
	sleep 0.3
	check "$as... nothing is removed" greets a1 hello
	greet a1 again
	check "${as}written again: converged" wait_for 5 is_in a1 converged
	check "$as... to the new intent" greets a1 again
	left=nodes/n1/a1
	[ -n "$S" ] || left+=' nodes/n1/' # ppctl has put it back
	if [ "$count" -gt 1 ]; then
		check "${as}a key that is gone among others: removed" wait_for 5 silent a2
		check "$as... with its status" wait_for 5 undocumented a2
		check "$as... and forgotten" wait_for 2 eval '! grep -q a2 "$state/slices.json"'
	fi
	stop "$agent"
	# shellcheck disable=SC2086 # words
	del $left
	once
	is "$status" 100 "${as}all gone while no agent ran: exit status 100"
	check "$as... nothing is removed" greets a1 again
	put nodes/n1/ '{}'
	once
	is "$status" 0 "${as}the marker proves the node is meant: removed"
	check "$as... really" silent a1
}

test_many_removals() {
	local i gone
	put nodes/n1/ '{}'
	for i in $(seq 10); do greet "a$i" hello; done
	once
	for i in $(seq 6); do del "nodes/n1/a$i"; done
	once
	is "$status" 100 "six of ten at once: exit status 100"
	like "$errors" "more than 5 are not done unasked.*--max-destroy" "... says the limit and the way out"
	gone=$(for i in $(seq 10); do silent "a$i" && echo "$i"; done | wc -l)
	is "$gone" 5 "... half of them are removed, and no more"
	once
	is "$status" 100 "restarted: still blocked"
	is "$(for i in $(seq 10); do silent "a$i" && echo "$i"; done | wc -l)" 5 "... and none is removed"
	grep -q "TooManyRemovals" <<<"$(for i in $(seq 6); do doc "a$i"; done)" && ok "... with the reason TooManyRemovals" ||
		not_ok "... with the reason TooManyRemovals"
	once --max-destroy 6
	is "$status" 0 "--max-destroy 6: done"
	rm -rf "$state/removals.json"
	del nodes/n1/a7
	once --max-destroy 0
	is "$status" 100 "--max-destroy 0: not one"
	put nodes/n1/ '{"ensure": "absent"}'
	once --max-destroy 0
	is "$status" 0 "the node is retired: all go, whatever the limit"
	is "$(ls -d "$W"/a*/greeting 2>/dev/null)" "" "... really all"
	is "$(cat "$state/slices.json")" "{}" "... and are forgotten"
}

# What the agent was told last says "remove", but the store cannot be asked again.
test_strongest() {
	greet a hello
	once
	config a '{}'
	once --max-destroy 0
	is "$status" 100 "a removal that is refused, and kept as the last good intent"
	mv "$S" "$S.away"
	once
	is "$status" 111 "the store is away: exit status 111"
	like "$errors" "nothing is removed, because intent could not be read again" "... nothing is removed on an old reading"
	check "... really" greets a hello
	mv "$S.away" "$S"
	once
	is "$status" 0 "the store is back: removed"
	check "... really" silent a
}

# ---- the store away ----

test_store_gone() {
	local before
	greet a hello
	launch
	wait_for 5 is_in a converged && wait_for 5 at_rest
	before=$(files | grep -v "$S")
	mv "$S" "$S.away"
	check "the store is gone: said once" wait_for 5 says "The intent store cannot be read"
	kill -USR1 "$agent"
	sleep 0.5
	is "$(files | grep -v "$S")" "$before" "... nothing changes"
	is "$(metric platypus_store_up)" 0 "... the metrics say so"
	like "$(http_get /healthz)" "^ok.store down" "... health, too, but the agent is well"
	mkdir "$S"
	sleep 0.5
	check "an empty store in its place: nothing is removed" greets a hello
	check "... IntentVanished" wait_for 5 is_in a blocked IntentVanished
	mv "$S" "$S.empty"
	mv "$S.away" "$S"
	greet a healed
	check "the store is back: converged within 2 s" wait_for 2 greets a healed
	# Once or twice: between the two moves there is none for a moment.
	like "$(grep -c 'cannot be read' "$log")" '^[12]$' "... with one line about each change"
	check "... status is back, too" wait_for 5 is_in a converged
	chmod 000 "$S/nodes"
	if unprivileged ls "$S/nodes" >/dev/null 2>&1 || [ "$EUID" = 0 ]; then
		skip "a store that cannot be read changes nothing" "root reads everything"
	else
		kill -USR1 "$agent"
		sleep 0.5
		check "a store that cannot be read changes nothing" greets a healed
	fi
	chmod 755 "$S/nodes"
	stop "$agent"
	# A machine that comes up before its store does.
	mv "$S" "$S.away"
	rm "$W/a/greeting"
	once
	is "$status" 111 "started without the store: exit status 111"
	like "$errors" "last good intent, kept in $state" "... says what it goes by"
	check "... which is converged to" greets a healed
	rm -f "$state/snapshot.json"
	rm "$W/a/greeting"
	once
	is "$status" 111 "... without that: exit status 111"
	check "... and nothing is done" silent a
	mv "$S.away" "$S"
}

# ---- slices beside each other ----

test_beside() {
	local i began
	trick slow sleep x
	trick crashing crash x
	trick failing fail x
	for i in $(seq 200); do greet "a$i" hello; done
	launch
	began=$EPOCHSECONDS
	all_greet() { [ "$(cat "$W"/a*/greeting 2>/dev/null | wc -c)" = 1000 ]; }
	check "200 beside a slow, a crashing and a failing one: converged" wait_for 20 all_greet
	diag "in $((EPOCHSECONDS - began)) s"
	check "... the crashing one is failing, RoundCrashed" wait_for 5 is_in crashing failing RoundCrashed
	check "... the failing one says why" wait_for 5 is_in failing failing Failed
	like "$(doc failing)" '"attempts":[0-9]+.*"next_attempt":"[0-9-]*T' "... how often, and when again"
	check "... all others are published" wait_for 10 is_in a200 converged
	# The others that fail are tried again now and then.
	check "... only the slow one is still at it" wait_for 5 only_one
	# Latest wins: what comes meanwhile is not lost.
	greet slow first
	greet slow second
	kill -KILL "$one_round"
	check "the slow one, ended from outside, goes on with the newest intent" wait_for 5 greets slow second
	greet crashing healed
	check "the crashing one, mended: at once, whatever its backoff" wait_for 2 greets crashing healed
	like "$(http_get /status)" '"a200": ' "/status has all slices"
	all_but_one() { [ "$(metric platypus_slices 'state="converged"')" = 202 ]; }
	check "/metrics counts them" wait_for 5 all_but_one
	like "$(metric platypus_actions_total)" '^20[0-9]$' "... and what was done"
	like "$(http_get /metrics)" 'platypus_slice_state\{agent="toy",slice="failing",state="failing",reason="Failed"\} 1' "... and each state"
	like "$(metric platypus_slice_since_seconds 'slice="failing"')" '^1[0-9]{9}\.[0-9]{3}$' "... and since when"
	like "$(http_get /metrics)" 'platypus_build_info\{agent="toy",node="n1",version=' "... and whose they are"
	is "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$W/toy.sock" http://toy/nothing)" 404 "... another page: 404"
	stop "$agent"
	check "ended: its status is gone" undocumented a1
	refute "... and its socket" test -e "$W/toy.sock"
}

# Intent that changes while a round for the old one runs.
test_race() {
	put nodes/n1/ '{}'
	greet a hello
	launch
	wait_for 5 is_in a converged
	trick a nap first
	check "a round is under way" wait_for 5 says Napping
	greet a second
	check "newer intent meanwhile: done right after" wait_for 3 greets a second
	check "... and published" wait_for 3 is_in a converged
	: >"$log"
	trick a nap second
	wait_for 5 says Napping
	del nodes/n1/a
	check "taken from the node meanwhile: removed, not just forgotten" wait_for 5 silent a
	check "... then forgotten" wait_for 3 undocumented a
	stop "$agent"
}

# ---- waking, drift, quiet ----

test_drift() {
	local port
	greet a hello
	port=$(free_port)
	launch --interval 1s --listen "127.0.0.1:$port"
	check "on TCP: /healthz" wait_for 5 http GET "$port" /healthz ''
	check "... converged" wait_for 5 greets a hello
	stop "$agent"
	greet a2 hello
	launch
	wait_for 5 greets a2 hello && wait_for 5 at_rest
	printf drift >"$W/a/greeting.x" && mv "$W/a/greeting.x" "$W/a/greeting"
	check "a path that is watched changes: mended at once" wait_for 2 greets a hello
	rm -rf "$W/a"
	check "... a directory that goes: made again" wait_for 2 greets a hello
	wait_for 5 at_rest
	rm -f "$W/a/greeting"
	check "... and is watched, being another one" wait_for 2 greets a hello
	stop "$agent"
	# In the first round: nobody listens yet to what it asks to be watched.
	trick a late hello
	launch
	wait_for 5 says Looked
	printf drift >"$W/a/greeting"
	check "a change between the first look and the first watch: not lost" wait_for 3 greets a hello
	stop "$agent"
	# Without watching paths: found by a signal, and at --interval. (The toy watches its basedir, not links.)
	mkdir "$W/real"
	app b "{\"greeting\": \"hi\"}"
	rm -rf "$W/b" && ln -s "$W/real" "$W/b"
	launch
	wait_for 5 greets b hi && wait_for 5 at_rest
	printf drift >"$W/real/greeting"
	kill -USR1 "$agent"
	check "SIGUSR1: drift is mended now" wait_for 2 greets b hi
	stop "$agent"
	launch --interval 1s
	wait_for 5 greets b hi && wait_for 5 at_rest
	printf drift >"$W/real/greeting"
	check "... and at --interval without it" wait_for 3 greets b hi
	stop "$agent"
}

switches() { awk '/^voluntary_ctxt/ { n += $2 } END { print n }' "/proc/$agent/status" "/proc/$(helper)/status"; }
private_kib() { awk '/^Private_Dirty/ { n += $2 } END { print n }' "/proc/$1/smaps_rollup"; }

# Sets $tracer; fails where tracing is not allowed.
trace() {
	have strace || return 1
	strace -ff -qq -o "$1" -e "trace=$calls" -p "$agent" -p "$(helper)" 2>/dev/null &
	tracer=$!
	adopt "$tracer" strace
	traced() { grep -q 'TracerPid:[[:space:]]*[1-9]' "/proc/$agent/status" && grep -q 'TracerPid:[[:space:]]*[1-9]' "/proc/$(helper)/status"; }
	wait_for 3 traced
}

test_quiet() {
	local before revision snapshots trace=$W/log.trace seconds=${QUIET_SECONDS:-6}
	greet a hello
	greet b hello
	launch
	wait_for 5 is_in a converged && wait_for 5 is_in b converged && wait_for 5 at_rest
	revision=$(cat "$S/.intent/revision")
	before=$(files)
	if trace "$trace"; then
		kill -USR1 "$agent"
		check "there is a second round" wait_for 5 eval 'grep -q a/greeting "$trace".*'
		wait_for 5 at_rest
		kill "$tracer"
		wait "$tracer" 2>/dev/null
		is "$(cat "$trace".* | grep -E 'O_(CREAT|WRONLY|RDWR|TRUNC)' | grep -v /dev/null
			cat "$trace".* | grep -vE ' = -1 |^\+\+\+|^---|^open(at)?\(')" "" \
			"... which makes no mutating system call"
	else
		skip "a second round makes no mutating system call" "no strace, or it may not trace"
		kill -USR1 "$agent"
		sleep 1
	fi
	is "$(files)" "$before" "... and leaves every file alone"
	is "$(cat "$S/.intent/revision")" "$revision" "... and the store"
	wait_for 5 at_rest
	sleeps() { before=$(switches) && sleep "$seconds" && [ "$(switches)" = "$before" ]; }
	check "idle for $seconds s: runner and helper do not wake" wait_for 10 sleeps
	snapshots=$(metric platypus_snapshots_total)
	put nodes/n2/other '{"cluster": "c"}'
	put nodes/n10/a '{"cluster": "c"}'
	put clusters/other/c/config '{}'
	sleep 0.5
	is "$(metric platypus_snapshots_total)" "$snapshots" "keys of others: nothing new"
	diag "private dirty memory: runner $(private_kib "$agent") KiB, helper $(private_kib "$(helper)") KiB"
	stop "$agent"
}

# ---- signals and deaths ----

test_signals() {
	local began first
	greet a hello
	trick slow sleep x
	launch
	wait_for 5 says 'Checking spec for slow'
	began=${EPOCHREALTIME/[.,]/}
	kill "$agent"
	check "SIGTERM: ends soon, though a round is slow" wait_for 3 ended
	diag "in $(((${EPOCHREALTIME/[.,]/} - began) / 1000)) ms"
	wait "$agent"
	is $? 0 "... with exit status 0"
	check "... and its status is gone" undocumented a
	trick slow deaf x
	launch
	check "... a deaf round" wait_for 5 says Deaf
	first=$(rounds)
	kill "$agent"
	# Two signals that come before it looks are one.
	wait_for 3 says 'a second signal ends them now'
	sleep 0.3
	refute "SIGTERM: waits for a round that does not listen" ended
	kill "$agent"
	check "... a second one ends it" wait_for 3 ended
	check "... with its round" wait_for 3 ended "$first"
	del nodes/n1/slow
	printf 'log-format: json\n' >"$W/c.yaml"
	launch --config-file "$W/c.yaml"
	wait_for 5 says 'Polling'
	printf 'log-formatt: json\n' >"$W/c.yaml"
	kill -HUP "$agent"
	check "SIGHUP with a faulty file: said" wait_for 3 says 'not read again, the old one stays.*log-formatt'
	greet a still
	check "... and goes on as before" wait_for 3 greets a still
	printf 'log-format: logfmt\nprefix: elsewhere\n' >"$W/c.yaml"
	kill -HUP "$agent"
	check "SIGHUP with a good file: taken" wait_for 3 says '^time=.*msg="Configuration read again"'
	greet a anew
	check "... and goes on, at the same place in the store" wait_for 3 greets a anew
	check "... with its status" wait_for 3 is_in a converged
	kill -KILL "$(helper)"
	check "the helper is killed: the agent ends" wait_for 3 ended
	wait "$agent"
	is $? 111 "... with exit status 111"
	check "... and says why" says 'helper process is gone'
}

test_killed() {
	local helper round first
	greet a hello
	trick slow sleep x
	launch
	wait_for 5 is_in a converged && wait_for 5 says 'Checking spec for slow' && wait_for 5 only_one
	helper=$(helper)
	round=$one_round
	first=$agent
	kill_now "$agent"
	check "the agent is killed: readers do not see its status any more" undocumented a
	check "... its helper ends" wait_for 2 ended "$helper"
	refute "... a round under way goes on" ended "$round"
	launch
	check "a successor waits for that round" wait_for 5 says 'Waiting for another round of slow to end'
	check "... and works on the others" wait_for 5 is_in a converged
	config slow '{"greeting": "now"}'
	sleep 0.3
	check "... but not on this one" silent slow
	kill -KILL "$round"
	check "... until the round is over" wait_for 5 greets slow now
	stop "$agent"
	run "$toy" --store "$URL" --node n1 --state-dir "$state" --listen "unix:$W/toy.sock" --once
	is "$status" 0 "a dead agent's socket is no obstacle"
	launch
	wait_for 5 http_get /healthz
	run "$toy" --store "$URL" --node n1 --state-dir "$W/other" --listen "unix:$W/toy.sock" --once
	is "$status" 111 "a living one's is"
	like "$errors" "toy.sock: another process does" "... and it says so"
	greet a "once more"
	stop "$agent"
	kill -0 "$first" 2>/dev/null && not_ok "the killed one is gone" || ok "the killed one is gone"
}

test_notify() {
	have python3 || { skip "sd_notify" "no python3 to listen"; return; }
	trick slow sleep x
	cat >"$W/listen.py" <<-'EOF'
		import socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind(sys.argv[1])
		while True:
		    print(s.recv(4096).decode(), flush=True)
	EOF
	start notify python3 "$W/listen.py" "$W/notify"
	wait_for 5 test -S "$W/notify"
	NOTIFY_SOCKET=$W/notify WATCHDOG_USEC=400000 launch
	check "READY, though the first rounds are not over" wait_for 5 grep -q '^READY=1' "$T/notify.log"
	check "... and the watchdog is fed" wait_for 5 eval '[ "$(grep -c ^WATCHDOG=1 "$T/notify.log")" -ge 3 ]'
	stop "$agent"
	check "STOPPING" wait_for 2 grep -q '^STOPPING=1' "$T/notify.log"
	is "$(grep -c '^READY=1' "$T/notify.log")" 1 "READY is said once"
	: >"$T/notify.log"
	URL=dir:$W/no-such NOTIFY_SOCKET=$W/notify launch
	check "READY with a store that is away: it may come up later" wait_for 5 grep -q '^READY=1' "$T/notify.log"
	stop "$agent"
}

test_progress() {
	trick a progress hello
	launch
	check "a round that reports: converged in the end" wait_for 5 is_in a converged
	stop "$agent"
	once
	is "$status" 0 "... and under --once"
	like "$(doc a)" '"once":true,"reason":"","since":"[^"]*","state":"converged"' "... which does not publish what is on the way"
}

# What makes a slice due beside its intent.
test_wake() {
	local digest
	counted() { [ "$(wc -l <"$state/rounds")" = "$1" ]; }
	put nodes/n1/ '{}'
	trick a count hello
	launch
	wait_for 5 is_in a converged && wait_for 5 at_rest
	# Each look counts: before it writes, after that, and one since nobody watched its directory before.
	check "one change, one round, and one when its directory is made" wait_for 2 counted 3
	digest=$(doc a)
	put locks/a/c '{}'
	check "what wakes it comes: a round" wait_for 2 counted 4
	put locks/a/c '{"holder": "x"}'
	check "... changes: a round" wait_for 2 counted 5
	put locks/b/c '{}'
	put nodes/n1/other '{"cluster": "c"}'
	sleep 0.3
	check "... something else does not" counted 5
	is "$(doc a)" "$digest" "... its status is as before, digest and all"
	config a '{"greeting": "napped", "trick": "nap"}'
	wait_for 5 says Napping
	put locks/a/c '{"holder": "y"}'
	config a '{"greeting": "napped", "trick": "nap", "x": 1}'
	check "... while a round is under way: looked at after it" wait_for 5 eval '[ "$(grep -c Napping "$log")" -ge 2 ]'
	wait_for 5 at_rest
	: >"$log"
	put locks/a/c '{"holder": "z"}'
	wait_for 5 says Napping
	put locks/a/c '{"holder": "zz"}'
	check "... while a round that it woke is" wait_for 5 eval '[ "$(grep -c Napping "$log")" = 2 ]'
	stop "$agent"
	del nodes/n1/other
	once
	is "$status" 0 "... and --once makes nothing of it"
}

# fact_of SLICE
fact_of() { ppctl --store "$URL" get "reality/health/$1/c/n1" 2>/dev/null; }
has_fact() { [ "$(fact_of a)" = "\"$1\"" ]; }
no_fact() { [ -z "$(fact_of a)" ]; }
# The session of the agent ends, by nobody's asking.
lose_session() {
	case $URL in
	dir:*) rm "$S"/.intent/sessions/*;;
	etcd:*) ETCDCTL_API=3 etcdctl --endpoints "127.0.0.1:$ETCD_PORT" lease list | sed 1d |
		while read -r lease; do
			ETCDCTL_API=3 etcdctl --endpoints "127.0.0.1:$ETCD_PORT" lease revoke "$lease"
		done;;
	consul:*) http GET "$CONSUL_PORT" /v1/session/list | grep -o '"ID":"[^"]*"' | cut -d'"' -f4 |
		while read -r session; do http PUT "$CONSUL_PORT" "/v1/session/destroy/$session"; done;;
	esac
}

# Facts hang on the agent's session.
test_session() {
	local as=$1
	put nodes/n1/ '{}'
	app a '{"greeting": "hello", "fact": "\"well\""}'
	once
	is "$status" 0 "${as}a fact under --once: published, without a session"
	check "$as... and stays" has_fact well
	launch
	alive() { is_in a converged && [[ $(doc a) != *once* ]]; }
	check "${as}a running agent binds it" wait_for 10 alive
	stop "$agent"
	check "$as... so that it goes with the agent" wait_for 5 no_fact
	launch
	check "${as}published again" wait_for 10 has_fact well
	if [ "${URL%%:*}" = etcd ] && ! have etcdctl; then
		skip "${as}a session that is lost" "etcdctl is not on PATH"
	else
		wait_for 5 is_in a converged && wait_for 5 at_rest
		# It would publish again before we have looked.
		kill -STOP "$agent"
		lose_session >/dev/null
		check "${as}the session is lost: so is the fact" wait_for 5 no_fact
		kill -CONT "$agent"
		greet b hello # a status document, which finds out
		check "$as... another session: published again" wait_for 15 has_fact well
		check "$as... status too" wait_for 5 is_in a converged
	fi
	app a '{"greeting": "hello", "fact": "\"better\""}'
	check "$as... another fact" wait_for 5 has_fact better
	kill_now "$agent"
	[ -z "$S" ] || check "the agent is killed: the fact is gone" wait_for 2 no_fact
}

# What a round runs ends with it: asked to, or killed.
test_children() {
	local left
	living() { pgrep -xf "sleep 7$$[123]" | wc -l; }
	gone() { [ "$(living)" = 0 ]; }
	app a "{\"trick\": \"child\", \"command\": \"sleep 7${$}1 & sleep 7${$}2\"}"
	launch
	wait_for 5 eval '[ "$(living)" = 2 ]'
	kill "$agent"
	check "asked to stop: a child that may be cancelled ends, and the agent" wait_for 5 ended
	check "... with all its family" wait_for 2 gone
	app a "{\"trick\": \"careless\", \"command\": \"(sleep 7${$}1 & sleep 7${$}2) & sleep 7${$}3\"}"
	launch
	wait_for 5 eval '[ "$(living)" = 3 ]'
	kill "$agent"
	wait_for 3 says 'a second signal ends them now'
	sleep 0.3
	is "$(living)" 3 "one that may not: is waited for"
	kill "$agent"
	check "... until a second signal: the agent ends" wait_for 5 ended
	check "... and nothing of the family is left" wait_for 2 gone
	launch
	wait_for 5 eval '[ "$(living)" = 3 ]'
	left=$(rounds)
	kill -KILL "$left"
	check "a round is killed from outside: so is all that worked for it" wait_for 2 eval '! pgrep -s "$left"'
	config a '{"trick": "fail"}'
	stop "$agent"
	check "... really" wait_for 2 gone
	cat >"$W/work" <<-EOF
		trap 'echo INT >>$W/told; told=yes' INT
		echo up >$W/told
		while [ -z "\$told" ]; do sleep 0.1; done
		sleep 0.7
		echo end >>$W/told
	EOF
	app b "{\"greeting\": \"hello\", \"work\": true, \"command\": \"exec sh $W/work\"}"
	del nodes/n1/a clusters/a/c/config
	launch
	wait_for 5 grep -q up "$W/told"
	kill "$agent"
	sleep 0.1
	kill "$agent"
	check "what must be interrupted: the agent waits for it" wait_for 5 ended
	is "$(tr '\n' ' ' <"$W/told")" "up INT end " "... it was told once, and came to its end"
}

# ---- an engine that goes and comes ----

# A server too busy to answer at once.
late() {
	local as=$1 server=$2 waker
	put nodes/n1/ '{}'
	greet a hello
	kill -STOP "$server"
	{ sleep 2; kill -CONT "$server"; } &
	waker=$!
	once
	is "$status" 0 "${as}a server that answers after two seconds: --once has waited"
	wait "$waker"
	del nodes/n1/ nodes/n1/a
}

heal() {
	local as=$1 server=$2
	put nodes/n1/ '{}'
	greet a hello
	launch
	# The status may still be that of an agent before it.
	wait_for 10 greets a hello
	check "${as}converged" wait_for 10 is_in a converged
	kill -STOP "$server"
	sleep 1
	check "${as}a server that hangs: nothing changes" greets a hello
	kill -CONT "$server"
	greet a healed
	check "${as}... and comes back: converged within 2 s" wait_for 2 greets a healed
	stop "$agent"
	check "${as}ended: its status is gone" wait_for 3 undocumented a
	rm "$W/a/greeting"
	kill -STOP "$server"
	launch
	sleep 0.5
	kill -KILL "$server"
	check "${as}the server is gone: the last good intent is converged to" wait_for 15 greets a healed
	kill "$agent"
	check "${as}... and the agent ends all the same" wait_for 5 ended
}

on_engine() {
	local as=$1 server=$2 url=$3
	fresh "$url"; test_once "$as"
	del nodes/n1/ nodes/n1/a nodes/n1/late
	fresh "$url"; test_vanish "$as" 2
	fresh "$url"; test_session "$as"
	del nodes/n1/ nodes/n1/a nodes/n1/b
	fresh "$url"; late "$as" "$server"
	fresh "$url"; heal "$as" "$server"
}
test_engines() {
	if start_etcd; then on_engine 'etcd: ' "$pid" "$ETCD_URL"; else skip "the same on etcd" "etcd is not on PATH"; fi
	if start_consul; then on_engine 'consul: ' "$pid" "$CONSUL_URL"; else skip "the same on consul" "consul is not on PATH"; fi
}

[ $# != 0 ] || set -- once vanish1 vanish2 many_removals strongest store_gone beside race drift quiet signals killed notify progress
for one; do
	fresh
	case $one in
	once) test_once '';;
	vanish1) test_vanish '' 1;;
	vanish2) test_vanish '' 2;;
	session) test_session '';;
	*) "test_$one";;
	esac
done
is "$(cat "$T"/*.log | grep -E 'Sanitizer|runtime error' | grep -vE 'fatal error|under ptrace')" "" "no sanitizer has a word to say"
done_testing
