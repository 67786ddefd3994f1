#!/bin/bash
# pp-health-reporter beside a real runsvdir: what it says of services, how often, and when it falls
# silent. On a directory; `health.sh etcd` on etcd.
set -u
. "$(dirname "$0")/../lib.sh"
have runsvdir || skip_all "runit is not on PATH"
{ have pp-health-reporter && have pp-setlive; } || skip_all "an agent is not built"

# ---- the node: services made by pp-setlive ----

apps='slug web port crash hang flap'

# install APP LAUNCH [CHECK]: what preparer would have put there.
install() {
	local bin=$W/$1/installs/$1_1.0/bin
	mkdir -p "$bin"
	printf '#!/bin/sh\n%s\n' "$2" >"$bin/launch"
	[ -z "${3:-}" ] || printf '#!/bin/sh\n%s\n' "$3" >"$bin/check"
	chmod 755 "$bin"/*
}

# intend APP STATE [HEALTH]
intend() {
	put "clusters/$1/c/deploy_config" "{\"basedir\": \"$W/$1\", \"health\": {\"up\": \"100ms\", \"deadline\": \"${deadline:-30s}\"${3:+, $3}}}"
	put "clusters/$1/c/config" "{\"versions\": {\"1.0\": \"$2\"}}"
	put "nodes/n1/$1" '{"cluster": "c"}'
}
put() { ppctl --store "$STORE" put "$1" "$2" >/dev/null 2>&1 || not_ok "put $1"; }

setlive() {
	run pp-setlive --once --store "$STORE" --node n1 --state-dir "$W/setlive" --runit "$W/service" --runit-stage "$W/stage"
}

# reporter NAME [OPTION]...: with a state directory of its own.
reporter() {
	local name=$1
	shift
	start "$name" pp-health-reporter --store "$STORE" --node n1 --state-dir "$W/$name" --listen none --splay 0 \
		--runit "$W/service" --runit-stage "$W/stage" --check-interval 300ms "$@"
}
once() {
	run pp-health-reporter --once --store "$STORE" --node n1 --state-dir "$W/once" --runit "$W/service" --runit-stage "$W/stage" "$@"
}

pid_of() { cat "$W/stage/$1/supervise/pid"; }

# ---- the facts ----

fact() { ppctl --store "$STORE" --json get "reality/health/$1/c/${2:-n1}" 2>/dev/null | tr -d ' \n'; }
says() { [[ $(fact "$1") == *"\"state\":\"$2\""* ]]; }
says_why() { [[ $(ppctl --store "$STORE" --json get "reality/health/$1/c/n1" 2>/dev/null) =~ \"reason\":\ ?\".*$2 ]]; }
silent() { [ -z "$(fact "$@")" ]; }
leased() { [[ $(fact "$1") == *state* && $(fact "$1") != *once* ]]; }
# becomes DESC APP STATE
becomes() {
	if wait_for 20 says "$2" "$3"; then ok "$1"; else not_ok "$1" "$(fact "$2")" "$(tail -n 20 "$T/reporter1.log")"; fi
}
published() { grep -cE "] $1: (Publishing|Withdrawing)" "$T/$2.log"; }
revision() {
	case $STORE in
	etcd:*) http POST "$ETCD_PORT" /v3/kv/range '{"key": "AA=="}' | sed 's/.*"revision":"\([0-9]*\)".*/\1/';;
	*) cat "$W/store/.intent/revision";;
	esac
}

quiet() { local revision; revision=$(revision); sleep 1.5; [ "$(revision)" = "$revision" ]; }

# The lease that a fact is bound to, and its early end; etcd alone.
entry() { http POST "$ETCD_PORT" /v3/kv/range "{\"key\": \"$(printf %s "reality/health/$1/c/n1" | base64)\"}"; }
lease_of() { entry "$1" | sed -n 's/.*"lease":"\([0-9]*\)".*/\1/p'; }
expire() { http POST "$ETCD_PORT" /v3/lease/revoke "{\"ID\": \"$1\"}"; }
is_leased_anew() { local now; now=$(lease_of "$1"); [ -n "$now" ] && [ "$now" != "$2" ]; }

# ---- what is shown on each engine ----

make_world() {
	local app
	mkdir -p "$W"
	case $STORE in dir:*) ppctl --node n1 init "$STORE" >/dev/null 2>&1;; esac
	port=$(free_port) listening=$(free_port)
	printf 'HTTP/1.1 200 OK\r\n\r\n' >"$W/answer"
	install slug 'exec sleep 1000' "echo \$PP_APP \$PP_VERSION \$PP_NODE >$W/check.says; test ! -e $W/slug.bad"
	install web "exec $BUILD_DIR/t/it/setlive-http $port $W/answer"
	install port "exec $BUILD_DIR/t/it/setlive-http $listening $W/answer"
	install crash 'echo no database at db1; exit 3'
	install hang 'exec sleep 1000' "test -e $W/hang.good || exec sleep 7$$.98765"
	install flap 'exec sleep 1000' "test ! -e $W/flap.bad"
	touch "$W/hang.good"
	for app in $apps; do intend "$app" prep; done
	setlive
	start_runsvdir "$W/service"
	deadline=500ms intend crash active
	intend slug active
	intend web active "\"http\": {\"port\": $port, \"path\": \"/_status\"}"
	intend port active "\"tcp\": $listening"
	intend hang active '"timeout": "2s"'
	intend flap active
}

try_once() {
	once
	is "$status" 0 "$as--once before anything runs: nothing to do"
	check "$as... and nothing is said" silent slug
	setlive
	once
	is "$status" 0 "$as--once with running services"
	like "$(fact slug)" '"once":true' "$as... the fact is marked"
	like "$(fact slug)" '"state":"healthy".*"version":"1.0"' "$as... healthy, in this version"
	is "$(cat "$W/check.says")" "slug 1.0 n1" "$as... bin/check had the service's environment"
	local revision
	revision=$(revision)
	once
	is "$status $(revision)" "0 $revision" "${as}a second --once writes nothing"
	touch "$W/slug.bad"
	once
	like "$(fact slug)" '"reason":"slug:.*bin/check' "${as}a bad check counts at once with --once"
	rm "$W/slug.bad"
}

try_running() {
	local app
	reporter reporter1
	first=$pid
	check "${as}a running reporter takes over what --once said" wait_for 10 leased slug
	for app in slug web port hang flap; do
		becomes "$as$app is healthy" "$app" healthy
	done
	like "$(fact slug)" "\"host\":\"$(uname -n)\"" "$as... says who says so"
	once
	check "${as}--once beside it leaves the fact alone" leased slug
	check "${as}nothing is written while nothing changes" wait_for 10 quiet
}

# The reporter was there first: the service that comes is seen at once, not at the next look at everything.
try_latecomer() {
	STORE=dir:$T/late/store W=$T/late
	as="a service that comes later: "
	mkdir -p "$W"
	ppctl --node n1 init "$STORE" >/dev/null 2>&1
	install late 'exec sleep 1000'
	intend late active
	reporter reporter5 --check-interval 10s
	check "${as}it is named, and nothing is there" wait_for 20 grep -q 'Checking spec for late' "$T/reporter5.log"
	start_runsvdir "$W/service"
	setlive
	if wait_for 20 says late healthy; then ok "${as}it is reported"; else
		not_ok "${as}it is reported" "$(tail -n 5 "$T/reporter5.log")"
	fi
}

try_checks() {
	printf 'HTTP/1.1 503 No\r\n\r\n' >"$W/answer"
	becomes "${as}http answers 503: unhealthy" web unhealthy
	check "$as... and says so" says_why web "127.0.0.1:$port/_status: HTTP status 503"
	printf 'HTTP/1.1 204 OK\r\n\r\n' >"$W/answer"
	becomes "${as}http answers 204: healthy" web healthy
	kill -STOP "$(pid_of port)" # its backlog still connects
	check "${as}tcp looks no further than the connection" says port healthy
	kill -CONT "$(pid_of port)"
	kill -KILL "$(pid_of slug)"
	becomes "${as}a killed service is unhealthy" slug unhealthy
	rm "$W/hang.good"
	becomes "${as}a check that hangs is a failed check" hang unhealthy
	touch "$W/hang.good"
	becomes "$as... until it answers" hang healthy
	refute "$as... and what hung is gone" grep -qsaF "7$$.98765" /proc/[0-9]*/cmdline
}

try_crash_loop() {
	becomes "${as}a crash loop is unhealthy" crash unhealthy
	check "$as... how it ended, and its last words" wait_for 20 says_why crash 'status 3; last line of its log: no database at db1'
	is "$(grep -c 'crash: Publishing healthy' "$T/reporter1.log")" 0 "$as... it was never healthy"
	intend crash prep
	setlive
	check "${as}stopped: nothing is said of it" wait_for 10 silent crash
}

found() { grep -q "\"found\":\"$1\"" "$W/reporter1/fact-flap.json"; }
bad_is_told() { ! says flap healthy; }
# Bad and good again $1 times, each of them seen, and as long as it is not unknown, said.
flap() {
	local i
	for ((i = 0; i < $1; i++)); do
		touch "$W/flap.bad"
		{ wait_for 10 found bad && wait_for 10 bad_is_told; } || return
		rm "$W/flap.bad"
		wait_for 10 found good || return
	done
}
# How often the fact was written: by the key's own count, or as a watcher sees it.
writes() {
	case $STORE in
	etcd:*) entry flap | sed -n 's/.*"version":"\([0-9]*\)".*/\1/p';;
	*) grep -cE 'healthy|unknown' "$T/watch.log";;
	esac
}
between() { [ "$3" -ge "$1" ] && [ "$3" -le "$2" ]; }
try_flapping() {
	local before
	start watch ppctl --store "$STORE" watch reality/health/flap/
	local watcher=$pid
	wait_for 10 test -s "$T/watch.log"
	before=$(writes)
	check "${as}a check that is bad and good again three times" flap 3
	becomes "$as... is neither" flap unknown
	check "$as... and says how often" says_why flap 'its health changed [0-9]+ times within'
	case $STORE in dir:*) wait_for 10 grep -q unknown "$T/watch.log";; esac
	check "$as... in six writes at most" between 2 6 $(($(writes) - before))
	before=$(writes)
	check "$as... five times more" flap 5
	is "$(writes)" "$before" "$as... are no news"
	stop "$watcher"
}

try_places() {
	put clusters/port/d/deploy_config "{\"basedir\": \"$W/port\", \"health\": {\"up\": \"100ms\"}}"
	put clusters/port/d/config '{"versions": {"1.0": "active"}}'
	put nodes/n1/port '{"cluster": "d"}'
	check "${as}in another cluster: the fact is there" wait_for 10 speaks d port n1
	check "$as... and no longer here" wait_for 10 silent port
	ppctl --store "$STORE" rm nodes/n1/port >/dev/null 2>&1
	check "${as}no longer this node's: nor there" wait_for 10 speaks_not d port n1
	put nodes/n2/slug '{"cluster": "c"}'
	reporter reporter3 --node n2
	check "${as}another node has a fact of its own" wait_for 10 speaks c slug n2
	stop "$pid"
	check "$as... which goes" wait_for 10 silent slug n2
	check "$as... by itself" says slug healthy
}
# speaks CLUSTER APP NODE
speaks() { ppctl --store "$STORE" get "reality/health/$2/$1/$3" 2>/dev/null | grep -q healthy; }
speaks_not() { ! speaks "$@"; }

# A service of root's runsvdir, seen by somebody else.
try_outsider() {
	can_drop || { skip "${as}an outsider looks" "only root can become somebody else"; return; }
	reachable
	command install -d -o nobody "$W/outsider"
	put nodes/n3/slug '{"cluster": "c"}'
	local outsider=(unprivileged pp-health-reporter --once --store "$STORE" --node n3 --state-dir "$W/outsider"
		--runit "$W/service" --runit-stage "$W/stage")
	run "${outsider[@]}"
	is "$status" 0 "${as}an outsider looks"
	like "$(fact slug n3)" '"state":"healthy"' "$as... and sees as much"
	chmod 700 "$W/stage/slug/supervise"
	run "${outsider[@]}"
	is "$status" 111 "${as}where he may not look"
	like "$errors" 'stage/slug/supervise cannot be read: run pp-health-reporter as root' "$as... he says so"
	like "$(fact slug n3)" '"state":"unknown"' "$as... and that he does not know"
	chmod 755 "$W/stage/slug/supervise"
}

try_killed() {
	kill_now "$first"
	check "${as}a killed reporter's facts vanish" wait_for 10 silent slug
	reporter reporter1
	first=$pid
	becomes "${as}started again, it says so again" slug healthy
}

# The same where a lease has to run out first.
try_lease() {
	local lease
	lease=$(lease_of slug)
	isnt "$lease" "" "${as}the fact is bound to a lease"
	check "$as... which is revoked" expire "$lease"
	check "${as}a fact that went with its lease is published again" wait_for 30 is_leased_anew slug "$lease"
	lease=$(lease_of slug)
	kill_now "$first"
	reporter reporter1
	first=$pid
	check "${as}a successor of a killed reporter takes over what that one said" wait_for 10 is_leased_anew slug "$lease"
	kill_now "$first"
	check "${as}a killed reporter's lease runs out" expire "$(lease_of slug)"
	check "$as... and its facts vanish" silent slug
	reporter reporter1
	first=$pid
	becomes "$as... until it is back" slug healthy
}

try_second_reporter() {
	local revision since
	since=$(fact slug)
	reporter reporter2
	second=$pid
	check "${as}a second reporter of this node is refused" wait_for 10 grep -q "reality/health/slug/c/n1 is kept by another pp-health-reporter, on $(uname -n)" "$T/reporter2.log"
	is "$(fact slug)" "$since" "$as... and changes nothing"
	stop "$first"
	becomes "$as... until the first one has ended" slug healthy
	intend slug prep
	setlive
	check "${as}stopped: nothing is said of it" wait_for 10 silent slug
	stop "$second"
	check "${as}SIGTERM: all facts are gone" silent web
}

scenario() {
	as="${STORE%%:*}: " W=$T/${STORE%%:*}
	make_world
	try_once
	try_running
	try_checks
	try_flapping
	try_crash_loop
	becomes "${as}a killed service that stays up is healthy again" slug healthy
	try_places
	case $STORE in etcd:*) try_outsider; try_lease;; *) try_killed;; esac
	try_second_reporter
}

# The README's session, as a newcomer pastes it, but for the place.
try_session() {
	awk '/^    / { sub(/^    /, ""); print }' "$ROOT/agents/health-reporter/README.md" | sed "s|/tmp/try|$T/try|g" >"$T/session"
	run bash -eum "$T/session"
	is "$status" 0 "the README's session runs to its end"
	[ "$status" = 0 ] || diag "$errors"
	# Everything that it showed, in order.
	unlike "$output" '(^|[^/])reality/health/' "... which is gone at the end"
	is "$(grep -oE '"state": "[a-z]*"' <<<"$output" | tr -d '\n')" '"state": "healthy""state": "unhealthy"' "... and shows what it says"
	like "$output" 'bin/check: exit status 1' "... and why"
}

if [ "${1:-}" = etcd ]; then
	start_etcd || skip_all "etcd is not on PATH"
	STORE=$ETCD_URL
else
	STORE=dir:$T/dir/store
fi
scenario
case $STORE in dir:*) try_session; try_latecomer;; esac
done_testing
