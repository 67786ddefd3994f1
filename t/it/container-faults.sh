#!/bin/bash
# pp-container-runner and an engine that fails it: killed, cut off and refused at each of its calls, two runners at once. What
# has state never runs twice, and it always ends as it should. t/it/engine.c; containers.sh has the real Docker.
set -u
. "$(dirname "$0")/../lib.sh"
have pp-container-runner || skip_all "pp-container-runner is not built"

export PP_STORE=dir:$T/store PP_NODE=n1
put() { check "put $1" ppctl put "$1" "$2"; }
# intend APP VERSION DOCKER: with whatever else is in docker.
intend() {
	put "clusters/$1/c/deploy_config" "{\"docker\": {\"image\": \"$1:%v\"$3}, \"health\": {\"up\": \"0ms\", \"deadline\": \"60s\"}}"
	put "clusters/$1/c/config" "{\"versions\": {\"$2\": \"active\"}}"
}
# world NAME BODY-MEMBERS IMAGE...: version 1 of db runs as container NAME.
world() {
	local name=$1 more=$2 images
	shift 2
	images=$(printf '"%s",' "$@")
	cat >"$T/world" <<-END
	{"images": [${images%,}], "volumes": {"data": {"Name": "data", "Labels": {"platypus.node": "n1", "platypus.application": "db"}}},
	 "containers": [{"name": "$name", "running": true, "body": {"Image": "db:1", "HostConfig": {$more},
	  "Labels": {"platypus.node": "n1", "platypus.application": "db", "platypus.version": "1", "platypus.digest": "old",
	   "platypus.spec": "{\"app\":\"db\",\"env\":{},\"image\":\"db:1\",\"node\":\"n1\",\"version\":\"1\",\"volumes\":[{\"target\":\"/d\",\"volume\":\"data\"}]}"}}}]}
	END
}
# engine OPTION...: what it says last is the result. An engine that answers has all the time it needs; where it does not,
# one that is only late is one more fault, of which no harm comes.
engine() {
	local patience=${patience:-20s}
	case $* in *fault=hang*) patience=500ms;; esac
	run "$BUILD_DIR/t/it/engine" "$T/engine.sock" world="$T/world" state="$T/state" "$@" -- pp-container-runner --once \
		--engine "unix://$T/engine.sock" --engine-timeout "$patience" --listen none --log-level error --max-destroy 100
	said=${output##*$'\n'}
}
# never_twice DESC OPTION...
never_twice() {
	local desc=$1
	shift
	engine "$@"
	like "$said" '^calls: [1-9][0-9]*, killed: [0-9]+, doubled: 0, not converged: 0$' "$desc ($said)"
	case $* in *fault=kill*) like "$said" 'killed: [1-9][0-9]' "... the agent was killed each time";; esac
	[ "$status" = 0 ] || diag "$(head -n 20 <<<"$output")" "$(tail -n 5 <<<"$errors")"
}

check "a store" ppctl init "$PP_STORE"
check "node add" ppctl node add db c
mount='"Mounts": [{"Type": "volume", "Source": "data", "Target": "/d", "ReadOnly": false}]'

world db "$mount" db:1 db:2
intend db 2 ', "volumes": [{"volume": "data", "target": "/d"}]'
never_twice "stateful: an update" fault=none wants=db
for fault in kill-before kill-after cut-before cut-after 500; do
	never_twice "stateful: $fault at each call" fault=$fault wants=db
done
# Answers that are none; those that take their time less often.
for fault in half/2 404/2 page/2 503/5 login/5 nothing/5 restart/5 hang/6; do
	never_twice "stateful: ${fault%/*} at each call of ${fault#*/}" fault="${fault%/*}" step="${fault#*/}" wants=db
done
never_twice "stateful: two runners at once, ten times" fault=none agents=2 times=10 wants=db

# One that was run side by side before.
world db.0123456789ab "$mount" db:1 db:2
never_twice "stateful now, side by side before: kill-after at each call" fault=kill-after wants=db

world db.0123456789ab '' db:1 db:2
intend db 2 ''
for fault in kill-after cut-after; do
	never_twice "side by side: $fault at each call" fault=$fault wants=db.
done
never_twice "side by side: two runners at once" fault=none agents=2 times=5 wants=db.

# ---- an engine that never answers as one ----

status_of() { ppctl --json get "reality/status/container-runner/n1/$1" | tr -d '\n'; }
world db "$mount" db:1 db:2
intend db 2 ', "volumes": [{"volume": "data", "target": "/d"}]'
no_engine='what answers at unix:[^ ]* is no container engine, or stands before one: GET'
while IFS='|' read -r fault state words; do
	VERBOSE=1 engine fault="$fault" always=1 wants=db
	like "$(status_of db)" "\"message\": \"[^\"]*$words.*\"state\": \"$state\"" "always $fault: $state"
	like "$output" '"platypus.digest": "old".*"Status": "running"' "... and what runs goes on"
done <<END
500|failing|the engine says: no space
503|failing|$no_engine /_ping gave status 503: <html>no backend
404|failing|$no_engine /_ping gave status 404: <html>not here
login|failing|$no_engine /_ping gave status 302
page|failing|$no_engine /_ping gave status 200: <html>welcome
nothing|failing|$no_engine /containers/json gave another kind of document
half|waiting|no container engine answers at unix:[^ ]* \(transfer closed
cut-before|waiting|no container engine answers at unix:[^ ]* \(
hang|waiting|no container engine answers at unix:[^ ]* \([^\"]*timed out
END

# ---- one slice hangs, another does not ----

check "node add" ppctl node add stuck c
intend stuck 1 ''
world db "$mount" db:1 db:2 stuck:1
patience=5s engine fault=none hang='create?name=stuck' always=1 wants=db
like "$(status_of stuck)" 'container stuck[^ ]*: the engine at unix[^ ]*: POST [^ ]*create: [^"]*timed out.*"state": "failing"' \
	"a call that is never answered is an error of its slice"
like "$(status_of db)" '"state": "converged"' "... and of no other"
check "node rm" ppctl node rm stuck
intend db 2 ""

# ---- images ----

world db.0123456789ab '' db:1
never_twice "an image that is not there is pulled" fault=none wants=db.
put clusters/db/c/deploy_config '{"docker": {"image": "broken:%v"}}'
engine fault=none wants=db.
like "$errors" 'pulling broken:2: failed to register layer: disk full' "an error in the middle of a pull is one"
like "$said" 'not converged: 1' "... and nothing is replaced"
# A runner that goes on: when it made each attempt, by a clock that may be slewed meanwhile.
: >"$T/looped"
run "$BUILD_DIR/t/it/engine" "$T/engine.sock" world="$T/world" state="$T/state" fault=none -- bash -c "
	pp-container-runner --engine unix://$T/engine.sock --state-dir $T/state/looped --check-interval 100ms --listen none >$T/looped 2>&1 &
	for ((i = 0; i < 900; i++)); do [ \$(grep -c Pulling $T/looped) -lt 3 ] || break; sleep 0.1; done
	kill %1; wait"
read -r first second third < <(sed -n 's/.*INFO *\[\([^]]*\)\] db: Pulling.*/\1/p' "$T/looped" | head -n 3 | date -f - +%s%3N | paste -sd' ')
check "what failed is tried again after a second, then two" test "$((second - first))" -ge 950 -a "$((third - second))" -ge 1950 ||
	diag "$(tail -n 20 "$T/looped")"
put clusters/db/c/deploy_config '{"docker": {"image": "broken:%v", "pull": "never"}}'
engine fault=none wants=db.
like "$(ppctl get reality/status/container-runner/n1/db)" '"ImageMissing"' "one that is not to be pulled is waited for"

run pp-container-runner --once --engine "unix://$T/nothing" --state-dir "$T/none" --log-level error
is "$status" 111 "without an engine"
like "$(ppctl get reality/status/container-runner/n1/db)" 'no container engine answers at unix:[^ ]*/nothing \(No such file or directory\): start Docker or Podman.*"EngineMissing"' \
	"... it is waited for"
done_testing
