#!/bin/bash
# The seed's own example on one machine: load, get, run; by bin/launch as nobody, and in containers where an engine runs.
# shellcheck disable=SC2154 # status, output and errors are set by run
set -u
. "$(dirname "$0")/../lib.sh"
# shellcheck source=t/docker.sh
. "$ROOT/t/docker.sh"
have git || skip_all "git is not on PATH"
{ have runsv && have chpst; } || skip_all "runit is not on PATH"
have script || skip_all "script (bsdutils) is not on PATH"
reachable

# ---- what is on GitHub ----

export HOME=$T/home GIT_CONFIG_NOSYSTEM=1 TERM=xterm
export XDG_STATE_HOME=$T/.xdg-state
unset DOCKER_HOST DOCKER_TLS_VERIFY
mkdir -p "$T/github" "$HOME/workspace" "$XDG_STATE_HOME"
cat >"$HOME/.gitconfig" <<END
[user]
	name = Somebody
	email = somebody@example.org
[url "file://$T/github/"]
	insteadOf = https://github.com/
[safe]
	directory = *
END

# publish REPOSITORY: what is in the current directory.
publish() {
	{ git init -q . && git add -A && git commit -qm first &&
		git clone -q --bare . "$T/github/foocorp/$1.git"; } >/dev/null 2>&1 || not_ok "$1 is published"
}

mkdir -p "$T/made/sysdef" && cd "$T/made/sysdef" || exit 1
# Word for word, with its two colons.
cat >sysdef.yaml <<'END'
components:
  # Each component specifies how to use it for that environment.
  "redis:v3":
    # point pib to use a Redis docker image hosted somewhere
    dev: docker://redis/redis:3.2
    
    # or reference a Terraform stack. Datawire can provide a lot of nice very common ones similar to how Segment.io works.
    prod: terraform:gh://datawire/building-blocks//elasticache-redis-v3

  "postgresql:v9.6":
    dev: docker://postgresql/postgresql:9.6
    prod: terraform:gh://datawire/building-blocks//rds-postgresql-v96

applications:
  WickedCool:
    services:
    - gh:foocorp/wickedcool-api
    - gh:foocorp/wickedcool-analytics
    - gh:foocorp/wickedcool-admin
    provides:
    - postgresql:v9.6
END
publish sysdef

# launch NAME WORDS: a program that says what it was given.
launch() {
	printf '%s\n' '#!/bin/sh' "echo \"$2, db at \$POSTGRESQL_RESOURCE_HOST:\$POSTGRESQL_RESOURCE_PORT\"" \
		'exec sleep 1000' >"$1"
	chmod 755 "$1"
}
for name in api analytics admin; do
	mkdir -p "$T/made/wickedcool-$name/bin" && cd "$T/made/wickedcool-$name" || exit 1
	launch bin/launch "$name v1"
	echo 'health: {up: 200ms, deadline: 15s}' >deployd.yaml
	publish "wickedcool-$name"
done

# ---- who runs it ----

as=()
if can_drop; then
	chown -R nobody "$HOME" "$XDG_STATE_HOME"
	as=(setpriv "--reuid=$(id -u nobody)" "--regid=$(id -g nobody)" --clear-groups --)
fi
cd "$HOME/workspace" || exit 1
pib() { "${as[@]}" env "PATH=$PATH" pib-local "$@"; }

# start_run NAME: in the background; sets $pid, the program's own.
start_run() {
	: >"$T/$1.log"
	start "$1" "${as[@]}" env "PATH=$PATH" "${docker[@]}" pib-local run wickedcool
}
said() { grep -qE -- "$2" "$T/$1.log"; }
healthy() {
	local name
	for name in api analytics admin; do said "$1" "^wickedcool-$name: healthy" || return 1; done
}
state() { echo "$XDG_STATE_HOME"/platypus/local/workspace-*; }
pid_of() { cat "$(state)/stage/wickedcool-$1/supervise/pid" 2>/dev/null; }
pids() { echo "$(pid_of api) $(pid_of analytics) $(pid_of admin)"; }
# Processes that are told of our state directory, but for those of the test.
ours() { grep -lsa "$XDG_STATE_HOME/[p]latypus" /proc/[0-9]*/cmdline | sed 's|/proc/\([0-9]*\)/.*|\1|'; }
gone() { [ -z "$(ours)" ]; }
ended() { ! proc_stat "$1"; }
shows() { wait_for 15 said "$@" || { diag "$(tail -n 25 "$T/$1.log")"; return 1; }; }

# ---- by bin/launch, without an engine ----

docker=("DOCKER_HOST=unix://$T/no-engine.sock")
check "load" pib load gh://foocorp/sysdef
check "get" pib get wickedcool
[ ! -e "$T/.failed" ] || done_testing

sleep 1000 & foreign=$!
start_run first; first=$pid
wait_for 15 healthy first; check "three services are healthy" healthy first
[ ! -e "$T/.failed" ] || { diag "$(cat "$T/first.log")"; done_testing; }
like "$(cat "$T/first.log")" "wickedcool-postgresql: missing: no container engine answers at .*no-engine.sock" \
	"what needs an engine says so"
like "$(cat "$T/first.log")" "install docker.io or podman" "and how it is got"
check "lines have names before them, and requirements come by the environment" \
	shows first '^wickedcool-api +\| api v1, db at 127.0.0.1:[0-9]+'
unlike "$(cat "$T/first.log")" $'\033' "and no colours where there is no terminal"
run pib run wickedcool; is "$status" 1 "a second run is refused"
like "$errors" "wickedcool runs here already \(process $first\)" "and says who is first"

before=$(pids)
kill_now "$first"
wait_for 5 ended "$first"
is "$(pids)" "$before" "killed with -9: services go on"
start_run second; second=$pid
wait_for 15 healthy second; check "run again: all are healthy" healthy second
said second "taken over as it is"; is $? 0 "what runs is taken over"
is "$(pids)" "$before" "by the same processes"

analytics=$(pid_of analytics) api=$(pid_of api)
launch wickedcool-api/bin/launch "api v2"
check "an edited file replaces its service" shows second "wickedcool-api +\| api v2"
isnt "$(pid_of api)" "$api" "by another process"
is "$(pid_of analytics)" "$analytics" "and no other service"
printf '#!/bin/sh\necho "no such table"\nexit 3\n' >wickedcool-api/bin/launch
check "a version that fails is told, with the reason" shows second "wickedcool-api: failed: .*ended with status 3"
check "and its last lines" shows second "^    \| no such table"
launch wickedcool-api/bin/launch "api v3"
check "and corrected by the next edit" shows second "wickedcool-api +\| api v3"
mv wickedcool-api away
check "its directory is gone: it goes on, and that is told" shows second "^wickedcool-api: healthy, .*; tarball: .*wickedcool-api"
mv away wickedcool-api

run pib stop nothing; is "$status" 1 "stop of something else is refused"
kill -STOP "$second"
run timeout 60 "${as[@]}" env "PATH=$PATH" pib-local stop wickedcool
is "$status" 0 "stop, from elsewhere, though it is suspended"
wait_for 5 ended "$second"; check "ends the first" ended "$second"
like "$(cat "$T/second.log")" "wickedcool is stopped" "which says so"
wait_for 3 gone; is "$(ours)" "" "nothing of ours is left"
kill -0 "$foreign"; is $? 0 "and what is foreign lives"

# ---- on a terminal ----

size() { stat -c %s "$T/terminal.log"; }
shown() { [ "$(grep -oaE 'wickedcool-(api|admin|analytics)\S* +\S*healthy' "$T/terminal.log" | sort -u | wc -l)" = 3 ]; }
drawn_since() { [ "$(size)" -gt "$1" ]; }
calm() { local before; before=$(size); sleep 1; [ "$(size)" = "$before" ]; }
# script stops with what it runs.
resumed() { kill -CONT "$inner" $script; drawn_since "$before"; }
ended_there() { kill -CONT $script; [ -e "$T/terminal.done" ]; }
at_terminal() {
	local one
	# What it is about to run has its name, too, for a moment: its parent is meant.
	for one in $(pgrep -x pib-local); do
		grep -qsaF "XDG_STATE_HOME=$XDG_STATE_HOME" "/proc/$one/environ" &&
			[ "$(ps -o comm= $(ps -o ppid= "$one"))" = script ] && echo "$one"
	done
}
# What a person does at it.
watch() {
	local inner
	wait_for 10 shown
	wait_for 10 calm && echo calm
	inner=$(at_terminal)
	before=$(size)
	stty -F "$(readlink "/proc/$inner/fd/1")" cols 40
	wait_for 5 drawn_since "$before" && wait_for 10 calm && tail -c "+$((before + 1))" "$T/terminal.log" >"$T/narrow"
	before=$(size) script=$(ps -o ppid= "$inner")
	kill -STOP "$inner"
	wait_for 5 resumed && tail -c "+$((before + 1))" "$T/terminal.log" >"$T/resumed"
}
# Ctrl-C comes by the terminal, as a person types it. No shell between: dash would say 130 whatever its child says.
script='' before=0
{ watch >"$T/watched"; printf '\003'; wait_for 15 ended_there; } |
	{ "${as[@]}" env -u NO_COLOR "PATH=$PATH" "${docker[@]}" \
		script -qefc "exec pib-local run wickedcool" "$HOME/terminal" >"$T/terminal.log" 2>&1
		echo $? >"$T/terminal.done"; }
is "$(cat "$T/terminal.done")" 0 "on a terminal, Ctrl-C ends it well"
plain=$(sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' "$T/terminal.log" | tr -d '\r')
like "$plain" "SERVICE +STATE +ADDRESS +VERSION" "there is a table"
like "$plain" "wickedcool-api +healthy +[0-9a-f]{12}"$'\n' "with states and versions"
like "$(cat "$T/terminal.log")" $'\033\\[3[0-9]m''wickedcool-api' "names have colours"
like "${plain##*SERVICE}" "wickedcool-api +stopped" "and in the end all are stopped"
is "$(cat "$T/watched")" calm "while nothing changes, nothing is drawn"
escapes='s/\x1b\[[0-9;?]*[A-Za-z]//g'
is "$(sed "$escapes; s/…/./g" "$T/narrow" | tr -d '\r' | awk 'length > 40')" "" "made narrower: drawn anew, as wide as it is"
like "$(cat "$T/narrow")" 'SERVICE' "... with its table"
up=$'\033''\[[0-9]+A'
unlike "$(cat "$T/resumed")" "$up" "suspended and resumed: drawn below what others wrote"
wait_for 3 gone; is "$(ours)" "" "nothing of ours is left"
kill "$foreign"

# ---- in containers ----

gcc -O2 -static -o "$T/local-service" "$ROOT/t/it/local-service.c" 2>/dev/null || docker_why="there is no gcc -static"
if [ -n "$docker_why" ] || ! start_docker; then
	skip "in containers" "$docker_why"
	done_testing
fi
as=() docker=()
export XDG_STATE_HOME=$T/.xdg-docker
scratch_image postgresql/postgresql:9.6 "$T/local-service"
docker run -d --name foreign --network none postgresql/postgresql:9.6 >/dev/null 2>&1

# in_image NAME WORDS: its next version is built from a Dockerfile.
in_image() {
	cp "$T/local-service" "wickedcool-$1/program"
	printf 'FROM scratch\nCOPY program /program\nENTRYPOINT ["/program", "%s"]\n' "$2" >"wickedcool-$1/Dockerfile"
}
# Nothing has to fail any more, and containers begin slowly.
for name in api analytics admin; do echo 'health: {up: 200ms, deadline: 60s}' >"wickedcool-$name/deployd.yaml"; done
in_image api "api v1"
launch wickedcool-admin/bin/launch "admin v1"
# A client that can be held up.
mkdir "$T/bin"
printf '#!/bin/sh\nwhile [ "$1" = build ] && [ -e %s/hold ]; do sleep 0.1; done\nexec %s "$@"\n' "$T" "$(command -v docker)" >"$T/bin/docker"
chmod 755 "$T/bin/docker"
PATH=$T/bin:$PATH
container() { docker ps --no-trunc --quiet --filter "label=platypus.application=$1"; }
containers() { echo "$(container wickedcool-api) $(container wickedcool-postgresql)"; }
ran() { docker ps --all --quiet --filter label=platypus.node; }

start_run engine; engine=$pid
wait_for 30 healthy engine; check "with an engine, three services are healthy" healthy engine
like "$(cat "$T/engine.log")" "wickedcool-admin: waiting: waits for wickedcool-postgresql" "after what they need"
like "$(cat "$T/engine.log")" "wickedcool-postgresql: healthy at localhost:[0-9]+, version 9.6" "the database has an address"
check "a container says what it was given" shows engine "^wickedcool-api +\\| api v1, db at [^:]+:[0-9]+"
before=$(containers) programs=$(pid_of admin)
like "$before" "^[0-9a-f]{64} [0-9a-f]{64}$" "there are two containers of ours"
kill_now "$engine"
wait_for 5 ended "$engine"
start_run adopted; adopted=$pid
wait_for 20 healthy adopted; check "killed with -9 and run again: all are healthy" healthy adopted
is "$(containers) $(pid_of admin)" "$before $programs" "in the same containers and processes"
: >"$T/hold"
in_image api "api v2"
check "an edited file: that it is built is told" shows adopted "^wickedcool-api: healthy, .*; building what was edited"
rm "$T/hold"
check "... and replaces its container" shows adopted "^wickedcool-api +\\| api v2"
is "$(container wickedcool-postgresql)" "${before#* }" "and not the database"
cp -r ../workspace ../other; cd ../other || exit 1
run pib run wickedcool; is "$status" 1 "in another directory it would have the same containers"
like "$errors" "wickedcool runs in $HOME/workspace \(process $adopted\), and both would have the container wickedcool-" "... which is told, and where"
cd ../workspace || exit 1
kill -INT "$adopted"
wait_for 30 ended "$adopted"; check "Ctrl-C ends it" ended "$adopted"
is "$(ran)" "" "with all its containers"
is "$(docker ps --format '{{.Names}}')" foreign "and not the foreign one"
is "$(docker volume ls --quiet)" wickedcool-postgresql "volumes stay"
wait_for 3 gone; is "$(ours)" "" "nothing of ours is left"
run pib stop wickedcool --volumes; is "$status" 0 "stop --volumes"
is "$(docker volume ls --quiet)" "" "removes them"
docker rm -f foreign >/dev/null 2>&1
docker create --name wickedcool-postgresql --network none postgresql/postgresql:9.6 >/dev/null 2>&1
start_run blocked; blocked=$pid
check "somebody else has a name that is needed: told" shows blocked "^wickedcool-postgresql: failed: .*wickedcool-postgresql"
kill -INT "$blocked"
wait_for 30 ended "$blocked"; like "$(cat "$T/blocked.log")" "wickedcool is stopped" "... and the end waits for no such thing"
docker rm -f wickedcool-postgresql >/dev/null 2>&1
start_run away; away=$pid
check "again" shows away "^wickedcool-postgresql: healthy"
stop "$docker_pid"
check "an engine that goes away: told" shows away "^wickedcool-postgresql: .*no container engine answers"
unlike "$(cat "$T/away.log")" "(Cannot connect|unexpected EOF|Error response)" "... and nobody's lines have the client's complaints among them"
kill -INT "$away"
check "... Ctrl-C: it stops" shows away "^stopping; Ctrl-C once more"
kill -INT "$away"
wait_for 30 ended "$away"; like "$(cat "$T/away.log")" "left as it is: .*wickedcool-postgresql \(container\)" "what cannot be taken away is named"
# Services are left, as it says; agents are not.
at_work() { ps -o comm= -p "$(ours | paste -sd,)" 2>/dev/null | grep '^pp-'; }
idle() { [ -z "$(at_work)" ]; }
wait_for 3 idle; is "$(at_work)" "" "... and no agent goes on"
end_docker
done_testing
