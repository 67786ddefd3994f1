#!/bin/bash
# pp-setlive on nodes of one cluster: shutdown slots, holds, bin/disable and bin/enable, failure, rollback, retry. Health
# facts are written here, so that nothing happens before the test says so.
# long
set -u
. "$(dirname "$0")/../lib.sh"
have runsvdir || skip_all "runit is not on PATH"
have chpst || skip_all "runit's chpst is not on PATH"

S=$T/store
export PP_STORE=dir:$S
ppctl init "$PP_STORE" >/dev/null 2>&1

# ---- what people and reporters write ----

put() { ppctl put "$@" >/dev/null; }
# intend VERSIONS [MIN_NODES [DEPLOY]]
intend() {
	put clusters/slug/c/deploy_config "{\"basedir\": \"$T/%n\", \"health\": {\"up\": \"${up:-50ms}\", \"deadline\": \"${deadline:-30s}\"}${3:+, $3}}"
	put clusters/slug/c/config "{\"versions\": $1, \"min_nodes\": ${2:-0}}"
}
mkfifo "$T/facts.in"
exec 7<>"$T/facts.in"
: >"$T/facts.log"
start facts sh -c 'exec "$0" "$1" <"$2"' "$BUILD_DIR/t/it/facts" "$PP_STORE" "$T/facts.in"
# fact NODE [STATE]: published by whoever keeps it alive; without a state it goes.
fact() {
	local before
	before=$(grep -c "done" "$T/facts.log")
	echo "reality/health/slug/c/$1${2:+ {\"state\": \"$2\"\}}" >&7
	wait_for 5 facts_said "$before"
}
facts_said() { [ "$(grep -c "done" "$T/facts.log")" -gt "$1" ]; }

# ---- nodes ----

# install NODE VERSION [LAUNCH [DISABLE [ENABLE]]]
install() {
	local dir=$T/$1/installs name=launch
	rm -rf "$dir/.new"
	mkdir -p "$dir/.new/bin"
	for text in "${3:-exec sleep 1000}" "${4:-}" "${5:-}"; do
		if [ -n "$text" ]; then
			printf '#!/bin/sh\n%s\n' "$text" >"$dir/.new/bin/$name"
			chmod 755 "$dir/.new/bin/$name"
		fi
		if [ "$name" = launch ]; then name=disable; else name=enable; fi
	done
	rm -rf "$dir/slug_$2"
	mv "$dir/.new" "$dir/slug_$2"
}
agent() {
	local node=$1
	shift
	pp-setlive --node "$node" --state-dir "$T/$node/state" --runit "$T/$node/service" --runit-stage "$T/$node/stage" \
		--supervise-timeout 60s --listen none "$@"
}
once() { local node=$1; shift; run agent "$node" --once "$@"; }
current() { basename "$(readlink "$T/$1/current")"; }
pid_of() { cat "$T/$1/stage/slug/supervise/pid" 2>/dev/null; }
is_in_install() { [ "$(readlink "/proc/$(pid_of "$1")/cwd")" = "$T/$1/installs/slug_$2" ]; }
is_down() { grep -q '^down$' "$T/$1/stage/slug/supervise/stat"; }
# What has just been started may still be on its way there.
serves() { [ "$(current "$1")" = "slug_$2" ] && wait_for 2 is_in_install "$@"; }
slots() { cat "$S/locks/slug/c/shutdown" 2>/dev/null; }
has_slot() { slots | tr -d ' \n' | grep -q "\"$1\":{"; }
refute_slot() { ! has_slot "$1"; }
status_of() { ppctl get "reality/status/setlive/$1/slug" 2>/dev/null; }
is_state() { status_of "$1" | grep -q "\"state\": *\"$2\""; }
says() { status_of "$1" | grep -qE "$2"; }
verbs() { grep -oE '(Taking the|Giving back|(Marking|Disabling|Enabling|Stopping|Symlinking|Starting|Checking):)' <<<"$errors" | tr -d ':' | tr '\n' ' ' | sed 's/ the//g; s/ $//'; }

# Linked before runsvdir looks for the first time: it looks again after five seconds only.
intend '{"1.0": "prep", "1.1": "prep"}'
for one in w1 w2 w3; do
	mkdir -p "$T/$one/service"
	for version in 1.0 1.1; do install $one $version; done
	put "nodes/$one/slug" '{"cluster": "c"}'
	once $one
	start_runsvdir "$T/$one/service"
done
intend '{"1.0": "active", "1.1": "prep"}'
for one in w1 w2 w3; do once $one; done
is "$status" 0 "three nodes run 1.0"
check "... without any slot" test ! -e "$S/locks/slug"

# ---- a slot is waited for, taken, given back ----
intend '{"1.0": "prep", "1.1": "active"}' 2
once w1
is "$status" 111 "an update with min_nodes 2 and no health known: not converged"
like "$errors" "waits for a shutdown slot: other nodes healthy without one: 0, min_nodes: 2" "... it waits for a slot and says why"
check "... and 1.0 runs on" serves w1 1.0
fact w1 healthy
fact w2 healthy
once w1
like "$errors" "other nodes healthy without one: 1, min_nodes: 2" "one other healthy node is one too few"
fact w3 healthy
fact w1
once w1
is "$(verbs)" "Taking Stopping Symlinking Starting Checking" "two are enough: slot, stop, swap, start, check"
check "... 1.1 runs" serves w1 1.1
check "... the slot stays while its health is not published" has_slot w1
like "$errors" "reality/health/slug/c/w1 does not say so yet" "... and says what it waits for"
is "$status" 111 "... which is not converged"
once w2
is "$status" 111 "a second node waits meanwhile"
like "$errors" "slots: w1 \(1.1 since" "... and says behind whom"
check "... with 1.0" serves w2 1.0
fact w1 healthy
once w1
is "$(verbs)" "Giving back" "health is published: the slot is given back"
is "$status" 0 "... converged"
refute "... nobody holds one" has_slot w1
before=$(cd "$S" && find . -type f | sort | xargs cat | grep -v '^[0-9]*$' | cksum)
once w1
is "$status$(verbs)" 0 "... and a second round does nothing"
is "$(cd "$S" && find . -type f | sort | xargs cat | grep -v '^[0-9]*$' | cksum)" "$before" "... and writes nothing"

# ---- agents that run: woken by the slots of others ----
fact w2 unhealthy
start w2 pp-setlive --node w2 --state-dir "$T/w2/state" --runit "$T/w2/service" --runit-stage "$T/w2/stage" --listen none --interval 1h --splay 0
w2=$pid
check "the next node takes its turn" wait_for 10 has_slot w2
check "... and runs 1.1" wait_for 10 serves w2 1.1
start w3 pp-setlive --node w3 --state-dir "$T/w3/state" --runit "$T/w3/service" --runit-stage "$T/w3/stage" --listen none --interval 1h --splay 0
w3=$pid
check "the third waits, and its status says behind whom" wait_for 10 says w3 "slots: w2"
check "... its state is waiting" is_state w3 waiting
fact w2 healthy
check "the slot of the second goes" wait_for 10 refute_slot w2
check "... and the third goes on by itself" wait_for 10 serves w3 1.1
check "... and gives its slot back" wait_for 10 refute_slot w3
check "... converged" wait_for 10 is_state w3 converged
stop "$w2"; stop "$w3"

# ---- the slot is not needed by what is down, nor for what was stopped by hand ----
fact w2 unhealthy
fact w3 unhealthy
sv -w 30 down "$T/w1/stage/slug" >/dev/null
once w1
check "stopped by hand: started again without a slot" serves w1 1.1
is "$(verbs)" "Starting Checking" "... and without asking for one"
sv -w 30 down "$T/w1/stage/slug" >/dev/null
intend '{"1.0": "active", "1.1": "prep"}' 2
fact w1
once w1
check "down: another version needs no healthy others" serves w1 1.0
like "$(slots | tr -d ' \n')" '"waived":true' "... its slot says so"
intend '{"1.0": "prep", "1.1": "active"}' 2
fact w1 healthy
once w1
check "which does not serve to stop it once it is healthy" serves w1 1.0
fact w2 healthy
fact w3 healthy
once w1
once w1
check "... but the test does" serves w1 1.1
refute "... and the slot is given back" has_slot w1

# ---- the store cannot be read: what was read before counts ----
away() { mv "$S" "$S.away"; }
back() { mv "$S.away" "$S"; }
intend '{"1.0": "active", "1.1": "prep"}' 2
fact w2 unhealthy
once w1
sv -w 30 down "$T/w2/stage/slug" >/dev/null
away
once w1
is "$status" 111 "without a store, with min_nodes: no update"
check "... and nothing is stopped" serves w1 1.1
back
intend '{"1.0": "prep", "1.1": "active"}' 2
once w2
sv -w 30 down "$T/w2/stage/slug" >/dev/null
away
once w2
check "... but what is down is started with what it had" serves w2 1.1
back
once w1
# ---- hold ----
intend '{"1.0": "active", "1.1": "prep"}' 0
for where in nodes/w1/ nodes/w1/slug clusters/slug/c/config clusters/slug/c/deploy_config; do
	was=$(ppctl get "$where" 2>/dev/null) || was='{}'
	held=$(sed '0,/{/s//{"hold": {"why": "disk is replaced", "who": "anna"}, /; s/, *}$/}/' <<<"$was")
	put "$where" "$held"
	once w1
	is "$status" 111 "hold on $where: not converged"
	like "$errors" "on hold: $where: disk is replaced, says anna" "... where, why and who"
	check "... 1.1 runs on" serves w1 1.1
	put "$where" "$was"
done
put nodes/w1/slug '{"cluster": "c", "hold": {"why": "x", "until": "2020-01-01T00:00:00Z"}}'
once w1
check "a hold that has ended holds nothing" serves w1 1.0
# hold_for SECONDS
hold_for() {
	put nodes/w1/slug "{\"cluster\": \"c\", \"hold\": {\"until\": \"$(date -u -d "+$1 seconds" +%Y-%m-%dT%H:%M:%SZ)\"}}"
}
hold_for 1000
intend '{"1.0": "prep", "1.1": "active"}' 0
start w1 pp-setlive --node w1 --state-dir "$T/w1/state" --runit "$T/w1/service" --runit-stage "$T/w1/stage" --listen none --interval 1h --splay 0
w1=$pid
check "a hold that has not ended" wait_for 5 is_state w1 waiting
check "... holds" serves w1 1.0
hold_for 2
check "... and ends by itself" wait_for 10 serves w1 1.1
stop "$w1"
put nodes/w1/slug '{"cluster": "c"}'

# ---- newer intent ends the wait for what does not become healthy ----
install w1 1.2 "exec sleep 1000"
printf '#!/bin/sh\necho no database\nexit 1\n' >"$T/w1/installs/slug_1.2/bin/check"
chmod 755 "$T/w1/installs/slug_1.2/bin/check"
deadline=1000s
intend '{"1.1": "prep", "1.2": "active"}' 1
fact w1 healthy
start bad pp-setlive --node w1 --state-dir "$T/w1/state" --runit "$T/w1/service" --runit-stage "$T/w1/stage" --listen none --interval 1h --splay 0
bad=$pid
waited() { [ "$(grep -c "Checking: 1.2" "$T/bad.log")" = "$1" ]; }
check "a version that is not healthy is waited for" wait_for 10 waited 1
check "... and the status says meanwhile why it is not" wait_for 5 says w1 '"health": *"slug: .*no database'
put nodes/w1/slug '{"cluster": "c", "hold": "wait"}'
check "... a hold ends that" wait_for 5 is_state w1 waiting
put nodes/w1/slug '{"cluster": "c"}'
check "... and goes on with it when it is lifted" wait_for 5 waited 2
is "$(grep -c "Starting: 1.2" "$T/bad.log")" 1 "... without a restart"
check "... its slot stays" has_slot w1
intend '{"1.0": "active", "1.2": "prep"}' 1
check "another version is set live at once" wait_for 10 serves w1 1.0
is "$(basename "$(readlink "$T/w1/previous")")" slug_1.1 "... previous names what was healthy before"
check "... and the slot given back with its health" wait_for 5 refute_slot w1
intend '{"1.0": "prep", "1.2": "active"}' 1
check "not healthy again" wait_for 10 waited 3
intend '{"1.0": "prep", "1.2": "prep"}' 1
check "no version active: stopped at once" wait_for 10 is_down w1
check "... the slot stays while the health of before is published" has_slot w1
fact w1
check "... and no longer" wait_for 5 refute_slot w1
refute "what had not had its time is marked by none of this" grep -q "Marking" "$T/bad.log"
stop "$bad"
fact w1 healthy
deadline=30s

# ---- bin/disable, bin/enable; a hold that comes at the last moment ----
log=$T/hooks.log
install w1 2.0 "echo start 2.0 >>$log; exec sleep 1000" "echo disable \$PP_VERSION \$PP_NODE \$(pwd) >>$log" "echo enable \$PP_VERSION >>$log"
install w1 2.1 "echo start 2.1 >>$log; exec sleep 1000" "echo disable \$PP_VERSION >>$log; ppctl put nodes/w1/slug '{\"cluster\": \"c\", \"hold\": \"wait\"}'" \
	"echo enable \$PP_VERSION >>$log; [ -e $T/may-enable ]"
intend '{"2.0": "active"}' 0 "\"environment\": {\"PATH\": \"$PATH\", \"PP_STORE\": \"$PP_STORE\"}"
once w1
is "$status" 0 "a version with bin/enable"
check "... is started" wait_for 2 grep -q "start 2.0" "$log"
like "$(cat "$log")" "enable 2.0" "... and enabled"
intend '{"2.1": "active"}' 0 "\"environment\": {\"PATH\": \"$PATH\", \"PP_STORE\": \"$PP_STORE\"}"
once w1
is "$(verbs)" "Disabling Stopping Symlinking Starting Enabling" "an update: disable, stop, swap, start, enable"
like "$(cat "$log")" "disable 2.0 w1 $T/w1/installs/slug_2.0" "... the old version's bin/disable, in its install, with its environment"
is "$status" 111 "... a bin/enable that fails is not converged"
like "$errors" "bin/enable: exit status 1" "... and is named"
touch "$T/may-enable"
once w1
is "$(verbs)" "Enabling Checking" "... it is run again"
is "$status" 0 "... and then converged"
intend '{"2.0": "active"}' 0 "\"environment\": {\"PATH\": \"$PATH\", \"PP_STORE\": \"$PP_STORE\"}"
once w1
like "$errors" "left as it is, on hold: nodes/w1/slug: wait" "a hold that comes while bin/disable runs is seen before the stop"
check "... which does not happen" serves w1 2.1
once w1
is "$(tail -n 1 "$log")" "enable 2.1" "... and what was disabled is enabled again"
put nodes/w1/slug '{"cluster": "c"}'

# A bin/disable that never ends, nor do its children.
install w1 3.0 "exec sleep 1000" "trap '' TERM; sleep 987654 & echo \$! >$T/child; while :; do sleep 0.1; done"
intend '{"3.0": "active"}' 0
sed -i "s/ppctl put.*/:/" "$T/w1/installs/slug_2.1/bin/disable"
once w1
check "3.0 runs" serves w1 3.0
intend '{"1.1": "active"}' 0 '"hook_timeout": "300ms"'
once w1
check "a bin/disable that never ends is ended" serves w1 1.1
refute "... with its whole process group" kill -0 "$(cat "$T/child")"
like "$errors" "It is stopped all the same, though: .*bin/disable" "... it is said"
is "$status" 0 "... and the update goes on"
check "... and in the status" says w1 '"disable":'

# ---- failure: marked, tried nowhere else ----
for one in w1 w2; do install $one 4.0 "echo broken; exit 3"; done
fact w1 healthy
fact w2 healthy
fact w3 healthy
for one in w2 w3; do install $one 2.0; done
for one in w1 w2 w3; do install $one 5.0; done
intend '{"5.0": "active", "4.0": "prep"}' 0
for one in w1 w2 w3; do once $one; done
# Nothing is healthy in time any more, however long its shell takes to end.
up=10s deadline=1500ms
intend '{"4.0": "active", "5.0": "prep"}' 1
once w1
is "$status" 111 "a version that crash-loops: not converged"
like "$errors" "failing: 4.0 was not healthy within 1.5s" "... failing"
tells() { once w1; [[ $errors =~ "4.0 was not healthy within 1.5s".*"status 3; last line of its log: broken" ]]; }
check "... with its last words" wait_for 5 tells
check "... its slot stays" has_slot w1
like "$(slots)" "was not healthy within 1.5s" "... marked"
unlike "$(slots)" "broken" "... without a word of its log"
once w2
like "$errors" "4.0 is not set live: on w1 it was not healthy within 1.5s" "no other node takes it"
check "... it runs on" serves w2 5.0
check "... it is failing" is_state w2 failing
for ((i = 0; i < 4; i++)); do
	once w1
	[ "$status" = 111 ] && is_state w1 failing && ! says w1 '"settled"' || break
done
is "$i" 4 "a crash loop is never converged"
check "... its exits are in the status" says w1 '"exits"'

# ---- retry ----
install w1 4.0 "exec sleep 1000"
once w1
check "mended by hand: still failing" is_state w1 failing
like "$errors" "ppctl rollout retry slug" "... with the way out"
rm -rf "$T/w1/installs/slug_4.0"
install w1 4.0 "exit 3"
check "ppctl rollout retry" ppctl rollout retry slug
once w1
like "$errors" "4.0 is tried again, as was asked for|Starting: 4.0" "a retry: started again"
like "$(slots)" "failed" "... and marked again, when it fails again"

# ---- rollback ----
up=50ms deadline=30s
intend '{"5.0": "active", "4.0": "prep"}' 1 '"on_failure": "rollback"'
once w1
fact w1 healthy
once w1
check "new intent ends the failure" serves w1 5.0
is "$status" 0 "... converged"
up=10s deadline=1500ms
intend '{"4.0": "active", "5.0": "prep"}' 1 '"on_failure": "rollback"'
once w1
check "rollback: 5.0 is set live instead of 4.0" serves w1 5.0
is "$status" 111 "... which is not converged"
like "$errors" "4.0 was not healthy within 1.5s; 5.0 was set live instead" "... failing, and says so"
check "... the slot stays" has_slot w1
like "$(slots)" '"instead": *"5.0"' "... marked with what was set live"
pid=$(pid_of w1)
once w1
is "$(pid_of w1)" "$pid" "... and is not tried again"
once w2
check "... nor elsewhere" serves w2 5.0
away
once w1
back
is "$(pid_of w1)" "$pid" "... nor while the store cannot be read"

# ---- the application leaves the node ----
rm "$S/nodes/w1/slug"
put nodes/w1/ '{}'
once w1
check "gone from the node, its fact still good: the slot stays" has_slot w1
refute "... the service does not" test -e "$T/w1/stage/slug"
fact w1
once w1
refute "... until the fact is gone, too" has_slot w1
is "$status" 0 "... converged"

done_testing
