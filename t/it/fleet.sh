#!/bin/bash
# What ppctl says of a whole fleet, and does to it: status, rollout, hold, shutdown slots. Documents
# are written by hand; what agents would keep alive is kept by fleet.c.
# shellcheck disable=SC2154 # status, output and errors are set by run
set -u
. "$(dirname "$0")/../lib.sh"
cd "$T" || exit 1
have ppctl && [ -x "$BUILD_DIR/t/it/fleet" ] || skip_all "not built"
export HOME=$T LANG=C.UTF-8 USER=anna
unset SUDO_USER
config=clusters/slug/prod/config slots=locks/slug/prod/shutdown

quiet() { ppctl "$@" 2>/dev/null; }
flat() { tr -d ' \n'; }
revision() { ppctl get "$1" --json | sed -n 's/^ *"revision": \([0-9]*\).*/\1/p'; }
# Of one moment, so that times differ by what is said, however slow the machine is.
ago() { TZ=UTC0 printf '%(%Y-%m-%dT%H:%M:%SZ)T' $((epoch - $1)); }

# ---- the words of agents ----

begin() {
	coproc FLEET { exec "$BUILD_DIR/t/it/fleet" "$PP_STORE" 2>&1; }
	adopt "$FLEET_PID" fleet
}

# tell LINE...: each is kept alive by fleet.
tell() {
	local line answer
	for line; do
		printf '%s\n' "$line" >&"${FLEET[1]}"
		read -r answer <&"${FLEET[0]}"
		[ "$answer" = ok ] || diag "fleet: $answer"
	done
}

# agent AGENT NODE STATE [AGO [REASON [MESSAGE [VERSION]]]]
agent() {
	local detail=
	[ -z "${7:-}" ] || detail=", \"detail\": {\"current\": \"$7\"}"
	tell "reality/status/$1/$2/slug {\"state\": \"$3\", \"reason\": \"${5:-Converged}\", \"message\": \"${6:-}\", \"since\": \"$(ago "${4:-600}")\"$detail}"
}
fact() { tell "reality/health/slug/prod/$1 {\"state\": \"$2\", \"version\": \"$3\", \"since\": \"$(ago "${4:-600}")\"}"; }

# runs NODE VERSION [AGO]: all is well there.
runs() {
	agent preparer "$1" converged "${3:-600}"
	agent setlive "$1" converged "${3:-600}" Converged '' "$2"
	agent health-reporter "$1" converged "${3:-600}"
	fact "$1" healthy "$2" "${3:-600}"
}

# slot NODE [FAILED]: a member of the shutdown document, for the active version.
slot() {
	printf '"%s": {"holder": "setlive@%s", "since": "%s", "version": "1.1", "target": "%s"%s}' "$1" "$1" \
		"$(ago 40)" "$target" "${2:+, \"failed\": \"$2\", \"instead\": \"1.0\"}"
}

fleet_of() {
	local i
	{
		echo '{'
		for i in $(seq "$1"); do echo "\"nodes/web$i/slug\": {\"cluster\": \"prod\"},"; done
		echo "\"$config\": {\"versions\": {\"1.0\": \"active\", \"1.1\": \"prep\"}, \"min_nodes\": 8},
			\"clusters/slug/prod/deploy_config\": {\"basedir\": \"/srv/slug\"}}"
	} >fleet.json
	quiet import fleet.json
}

phase() { ppctl rollout slug --json | flat | sed -n "s/.*\"node\":\"$1\",\"phase\":\"\([a-z]*\)\".*/\1/p"; }

# ---- ten nodes, three agents ----

rolling() {
	local i watcher
	run ppctl status --all; is "$status" 0 "$1: ten nodes are well"
	is "$(grep -cE '^web[0-9]+ +slug +prod +1.0 +converged +healthy +[0-9]+m +health-reporter, preparer, setlive$' <<<"$output")" 10 "$1: a line for each"
	is "$(wc -l <<<"$output")" 11 "$1: and no other"
	is "$(sed -n 's/ .*//p' <<<"$output" | tail -n 1)" web10 "$1: in the order of numbers"
	is "$(ppctl status --all --long | wc -l)" 31 "$1: --long has a line for each agent"
	is "$(ppctl status --all --json | grep -c '"agent":')" 30 "$1: and so has JSON"
	is "$(ppctl status --all --json | grep -c '"good": true')" 10 "$1: with the facts"
	like "$(ppctl status --all --summary)" "^slug +prod +1.0 +10 +10 converged$|"$'\n'"slug +prod +1.0 +10 +10 converged$" "$1: --summary has one for the cluster"
	run ppctl rollout slug; is "$status" 0 "$1: rollout: done"
	like "$output" "10 of 10" "$1: on all nodes"

	quiet activate slug 1.1
	target=$(ppctl rollout slug --json | sed -n 's/^ *"target": "\(.*\)",*$/\1/p')
	run ppctl rollout slug; is "$status" 111 "$1: a new version has not come far"
	like "$output" "0 of 10"$'\n'"  waiting +10  web\[1-10\]" "$1: no node"
	unlike "$output" "left" "$1: there is nothing to estimate from"
	runs web1 1.1 80
	unlike "$(ppctl rollout slug)" "left" "$1: nor from one node"
	runs web2 1.1 60
	runs web3 1.1 40
	runs web4 1.1 20
	for i in 6 7 8 9 10; do
		agent preparer web$i converged
		agent health-reporter web$i converged
		agent setlive web$i waiting 60 Waiting "only 8 other nodes are healthy" 1.0
	done
	agent preparer web5 converged
	agent health-reporter web5 converged
	agent setlive web5 converging 10 Working "" 1.1
	quiet put "$slots" "{\"slots\": {$(slot web5)}}"
	run ppctl rollout slug; is "$status" 111 "$1: it goes on"
	like "$output" "4 of 10, about [0-9ms]+ left \(20s a node\)" "$1: and how long is told from its pace"
	like "$output" "progress +1  web5: slot since [0-9]+[sm]" "$1: who holds a slot, since when"
	like "$output" "waiting +5  web\[6-10\]: only 8 other nodes are healthy" "$1: who waits, and why"
	run ppctl status slug --all; is "$status" 111 "$1: status shows it too"
	like "$output" "web6 +slug +prod +1.0->1.1 +waiting +healthy +[0-9]+m +setlive: only 8 other nodes are healthy, behind web5" "$1: what runs, and behind whom it waits"
	like "$output" "web5 .* converging .*slot for 1.1 since [0-9]+[sm]" "$1: and the slot"
	like "$(ppctl lock ls)" "$slots +setlive@web5 +since [^ ]+  1.1$" "$1: lock ls shows it"
}

# ---- what goes wrong ----

failing() {
	local before
	quiet put "$slots" "{\"slots\": {$(slot web5 'was not healthy within 30s')}}"
	agent setlive web5 failing 5 Unhealthy "1.1: was not healthy within 30s" 1.0
	run ppctl rollout slug; is "$status" 100 "$1: it failed"
	like "$output" "failed +1  web5: was not healthy within 30s; runs instead: 1.0" "$1: where and why"
	like "$output" "waiting +5  web\[6-10\]: not tried: it failed elsewhere" "$1: and is tried nowhere else"
	like "$output" "ppctl rollout retry slug" "$1: and what may be done"
	unlike "$output" "left" "$1: without an estimate"
	quiet put "$slots" "{\"slots\": {$(target=0000000000000000 slot web5 'was not healthy')}}"
	unlike "$(ppctl rollout slug)" "not tried" "$1: a mark of what was meant before holds nobody"
	quiet put "$slots" "{\"slots\": {$(slot web5 'was not healthy within 30s')}}"
	like "$(ppctl lock ls)" "setlive@web5 .*1.1  failed: was not healthy within 30s; runs instead: 1.0" "$1: lock ls shows the mark"
	like "$(ppctl status slug --all)" "web5 .*slot: 1.1 failed: was not healthy" "$1: so does status"
	run ppctl rollout retry slug; is "$status" 0 "$1: rollout retry"
	unlike "$(ppctl get "$slots")" '"failed"' "$1: takes the mark away"
	like "$(ppctl get "$slots")" '"web5"' "$1: not the slot"
	before=$(revision "$slots")
	run ppctl rollout retry slug; like "$errors" "as before" "$1: a second time changes nothing"
	is "$(revision "$slots")" "$before" "$1: nor writes"
	run ppctl rollout retry slog; is "$status" 0 "$1: an application without slots"

	tell reality/status/setlive/web3/slug
	like "$(ppctl status --all)" "web3 +slug +prod +1.1 +absent +healthy +[^ ]+ +no word from pp-setlive: is it running there" "$1: an agent that is gone"
	is "$(phase web3)" absent "$1: whose node's way is not known"
	fact web2 unhealthy 1.1
	like "$(ppctl status --all)" "web2 +slug +prod +1.1 +converged +unhealthy +.*health: unhealthy" "$1: facts beside states"
	is "$(phase web2)" unhealthy "$1: such a node is not done"
	quiet put reality/health/slug/prod/web2 '{"state": "healthy", "version": "1.1"}'
	like "$(ppctl status --all)" "web2 +slug +prod +1.1 +converged +stale" "$1: a fact that nobody keeps alive"
	runs web2 1.1 60
	runs web3 1.1 40
}

# ---- slots ----

breaking() {
	quiet put "$slots" "{\"slots\": {$(slot web5), $(slot web6), $(slot web7 'no luck')}}"
	is "$(ppctl lock ls | wc -l)" 3 "$1: a line for each slot"
	is "$(ppctl lock ls --json | grep -c '"node": "web[567]"')" 3 "$1: as JSON too"
	run ppctl lock break "$slots"; is "$status" 2 "$1: which of them must be said"
	like "$errors" "web5, web6, web7" "$1: they are listed"
	run ppctl lock break "$slots" web9; is "$status" 1 "$1: one that has none"
	like "$errors" "web5, web6, web7" "$1: likewise"
	run ppctl lock break slug/prod/shutdown web6; is "$status" 0 "$1: one is freed"
	like "$output" "setlive@web6" "$1: whose it was"
	is "$(ppctl lock ls | grep -c 'web[57]')" 2 "$1: the others stay"
	run ppctl lock break "$slots" --all; is "$status" 0 "$1: --all"
	is "$(ppctl lock ls 2>/dev/null)" "" "$1: frees all"
	quiet put "$slots" "{\"slots\": {$(slot web5)}}"
	run ppctl lock break "$slots"; is "$status" 0 "$1: the only one needs no name"
	is "$(ppctl lock ls 2>/dev/null)" "" "$1: and the document goes with it"
	quiet put locks/world/prod '{"holder": "job-runner@n1"}'
	run ppctl lock break world/prod web1; is "$status" 2 "$1: other locks have no nodes"
	quiet lock break world/prod >/dev/null
}

# ---- holds ----

holding() {
	local before i
	run ppctl hold slug --node web9 the disk is replaced; is "$status" 0 "$1: hold an application on a node"
	like "$errors" "held: nodes/web9/slug: the disk is replaced, says anna@" "$1: is said"
	like "$(ppctl get nodes/web9/slug | flat)" '"cluster":"prod","hold":\{"since":"[^"]+Z","who":"anna@[^"]*","why":"thediskisreplaced"\}' "$1: and written"
	before=$(revision nodes/web9/slug)
	run ppctl hold slug --node web9 the disk is replaced; like "$errors" "as before" "$1: twice is once"
	is "$(revision nodes/web9/slug)" "$before" "$1: and not written"
	is "$(phase web9)" held "$1: rollout knows it"
	like "$(ppctl status --all)" "web9 .* held +healthy .*held by nodes/web9/slug: the disk is replaced, says anna@" "$1: status, too, with who and why"
	run ppctl hold --node web10 "its turn is later" --until 2h; is "$status" 0 "$1: hold a node"
	like "$(ppctl get nodes/web10/ | flat)" '"until":"20' "$1: until"
	like "$(ppctl status --all --json)" '"key": "nodes/web10/"' "$1: JSON says where"
	for i in 5 6 7 8; do runs web$i 1.1 $((130 - 10 * i)); done
	run ppctl rollout slug; is "$status" 3 "$1: what is held will not go on by itself"
	like "$output" "stuck"$'[^\n]*\n'".*8 of 10" "$1: that is stuck"
	run ppctl unhold --node web10; like "$errors" "held no more: nodes/web10/: its turn is later, says anna@" "$1: unhold"
	is "$(ppctl get nodes/web10/ | flat)" "{}" "$1: leaves no trace"
	run ppctl unhold --node web10; like "$errors" "not held: nodes/web10/ \(as before\)" "$1: twice is once"
	quiet put "clusters/slug/prod/deploy_config" '{"basedir": "/srv/slug", "hold": "audit"}'
	run ppctl hold slug a freeze; like "$errors" "held: $config: a freeze" "$1: hold a cluster"
	run ppctl unhold slug; like "$errors" "still held: clusters/slug/prod/deploy_config: audit" "$1: unhold says what still holds"
	quiet put "clusters/slug/prod/deploy_config" '{"basedir": "/srv/slug"}'
	quiet put nodes/web9/slug '{"cluster": "prod", "hold": {"why": "past", "until": "2026-01-01T00:00:00Z"}}'
	unlike "$(ppctl status --all)" "held by" "$1: a hold whose time has passed holds nothing"
	quiet unhold slug --node web9

	run ppctl hold; is "$status" 2 "$1: hold what?"
	run ppctl hold slog; is "$status" 1 "$1: an application that is nowhere"
	run ppctl hold slug --node web99; is "$status" 1 "$1: a node that runs it not"
	run ppctl hold --node web1 disk; is "$status" 1 "$1: one word is an application"
	like "$errors" "--why disk" "$1: or a reason, said so"
	run ppctl hold --node web99 "a b"; is "$status" 1 "$1: a node that is none"
	refute "$1: is not made one" ppctl get nodes/web99/
	run ppctl hold slug --cluster stage; is "$status" 1 "$1: a cluster that is none"
	run ppctl hold slug --until yesterday; is "$status" 2 "$1: a time that is none"
	run ppctl hold slug --until 2020-01-01T00:00:00Z; is "$status" 2 "$1: a time that has passed"
	run env SUDO_USER=berta ppctl hold slug --json; like "$(flat <<<"$output")" '"changed":true,"hold":\{[^}]*"who":"berta@' "$1: who asked root, as JSON"
	quiet unhold slug
}

watching() {
	local watcher
	for i in $(seq 8); do runs "web$i" 1.1; done
	agent setlive web9 converging 1 Working "" 1.0
	agent setlive web10 waiting 1 Waiting "" 1.0
	ppctl rollout slug --watch >seen 2>seen.err &
	watcher=$!
	check "$1: --watch says how it stands" wait_for 10 grep -q "slug in prod: 1.1 rolling, 8 done, 1 progress, 1 waiting" seen
	runs web9 1.1 1
	runs web10 1.1 0
	wait_for 10 grep -q "10 done" seen || kill $watcher
	wait $watcher; is $? 0 "$1: and ends when it is done"
	like "$(tail -n 1 seen)" "1.1 done, 10 done" "$1: with that"
	quiet put "$slots" "{\"slots\": {$(slot web5 'no luck')}}"
	run timeout 100 ppctl rollout slug --watch; is "$status" 100 "$1: or has failed"
	quiet lock break "$slots" >/dev/null
	quiet hold slug --node web1 x
	agent setlive web1 waiting 300 Waiting "on hold"
	run timeout 100 ppctl rollout slug --watch --json; is "$status" 3 "$1: or is stuck"
	like "$output" '"state":"stuck","time"' "$1: in JSON, a document for each change"
	# The watch's own connection: a server that takes longer than from one second to the next.
	if [ "$1" = etcd ] && have strace; then
		run env ASAN_OPTIONS=detect_leaks=0 timeout 100 strace -f -qq -o strace -e trace=connect \
			-e inject=connect:delay_enter=1500000:when=2 ppctl rollout slug --watch
		is "$status $(grep -c DELAYED strace)" "3 1" "$1: a store that is late is waited for"
	fi
	run timeout 100 ppctl rollout slog --watch; is "$status" 1 "$1: or is of nothing"
}

on_store() {
	export PP_STORE=$1
	epoch=$(date +%s)
	ppctl init >/dev/null 2>&1 && ppctl rm "$(ppctl ls nodes)" >/dev/null 2>&1
	fleet_of 10
	begin
	for i in $(seq 10); do runs "web$i" 1.0; done
	rolling "$2"
	failing "$2"
	breaking "$2"
	holding "$2"
	watching "$2"
	eval "exec ${FLEET[1]}>&-"
	wait "$FLEET_PID"
	is "$?" 0 "$2: the fleet's words end with it"
	like "$(ppctl status --all)" "no word from pp-preparer, pp-setlive: are they running there" "$2: then all are gone"
}

on_store "dir:$T/store" dir

# ---- the README ----

session() { awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$ROOT/agents/ppctl/README.md"; }
session >session
run env TMPDIR="$T" bash -u session
is "$status" 0 "the README's session ends well"
like "$output" "web1 +slug +prod +1.0 +absent .*no word from pp-preparer, pp-setlive" "and shows what its words say"
like "$output" "web3 .*held by nodes/web3/slug: its disk is replaced, says anna@.*, until 20" "who holds, why and until when"
like "$output" "0 of 3"$'\n'" +absent +3  web\[1-3\]" "and how far the version is"
like "$errors" "held no more: nodes/web3/slug" "and takes it back"

# ---- terminals ----

if have script; then
	tty() { script -qec "stty cols $2 rows $3; $1" /dev/null </dev/null | tr -d '\r'; }
	widest() { local line most=0; while read -r line; do [ ${#line} -le $most ] || most=${#line}; done; echo $most; }
	export TERM=xterm
	for columns in 60 80 132; do
		for command in "status --all" "status --all --long" "status --summary" "rollout slug"; do
			most=$(tty "ppctl $command" $columns 60 | widest)
			check "ppctl $command is not wider than $columns columns ($most)" [ "$most" -le $columns ]
		done
	done
	fleet_of 200
	like "$(tty "ppctl status --all" 100 24)" "slug +prod +1.0 +200 +200 absent"$'\n'" +absent web\[1-200\]: no word" "what does not fit is summed up by cluster"
	is "$(ppctl status --all | grep -c '^web')" 200 "but not where a program reads"
else
	skip "terminals" "there is no script(1)"
fi

if start_etcd; then on_store "$ETCD_URL" etcd; else skip "etcd" "etcd is not on PATH"; fi
done_testing
