#!/bin/bash
# pp-container-runner with the real Docker engine, one of its own. container-faults.sh has an engine that fails.
set -u
. "$(dirname "$0")/../lib.sh"
have pp-container-runner || skip_all "pp-container-runner is not built"
have dockerd && have docker || skip_all "Docker is not on PATH (Debian: docker.io); NOTHING is shown of containers"
[ "$EUID" = 0 ] || skip_all "only root may start an engine of its own; NOTHING is shown of containers"
have gcc || skip_all "gcc is not on PATH"

# ---- an engine, and images from nothing ----

export DOCKER_HOST=unix://$T/docker.sock DOCKER_CONFIG=$T/docker-config
start_engine() {
	start dockerd dockerd --data-root "$T/data" --exec-root "$T/exec" -H "$DOCKER_HOST" --pidfile "$T/docker.pid" \
		--iptables=false --ip6tables=false --bridge=none --storage-driver=vfs
	engine=$pid
	wait_for 20 docker version
}
mkdir -p "$T/data" "$T/exec" "$T/image"
start_engine || skip_all "dockerd does not run here ($(grep -o 'level=fatal.*' "$T/dockerd.log" | tail -n 1)); NOTHING is shown of containers"
gcc -static -O1 -o "$T/image/program" "$ROOT/t/it/container-program.c" || skip_all "gcc cannot link statically"
image() { tar -c -C "$T/image" program | docker import -c 'ENTRYPOINT ["/program"]' -c "CMD $2" - "$1" >/dev/null; }
check "an image" image web:1 '["serve", "80"]'
check "an image that fails" image web:3 '["fail"]'
docker tag web:1 web:2
docker tag web:1 web:4

# ---- intent ----

export PP_STORE=dir:$T/store PP_NODE=n1
put() { ppctl put "$1" "$2" >/dev/null 2>&1 || not_ok "put $1"; }
# intend APP VERSION [DOCKER]
intend() {
	put "clusters/$1/c/deploy_config" "{\"docker\": {\"image\": \"web:%v\"${3:-}}, \"envdir\": \"$T/env\", \"stop_timeout\": \"2s\",
		\"environment\": {\"COLOUR\": \"blue\", \"WHO\": \"deploy\"}, \"health\": {\"up\": \"100ms\", \"deadline\": \"${deadline:-10s}\", \"http\": {\"port\": 80, \"path\": \"/\"}}}"
	activate "$1" "$2"
}
activate() { put "clusters/$1/c/config" "{\"versions\": {\"$2\": \"active\"}, \"user_config\": {\"greeting\": \"hello\"}, \"min_nodes\": ${min_nodes:-0}}"; }
runner=(pp-container-runner --listen none --state-dir "$T/state" --check-interval 300ms --splay 0)
once() { run "${runner[@]}" --once; }
status_of() { ppctl --json get "reality/status/container-runner/n1/$1"; }
is_in() { [[ $(status_of "$1" 2>/dev/null | tr -d ' \n') == *"\"state\":\"$2\""* ]]; }
ours() { docker ps -q --no-trunc --filter "label=platypus.application=$1" "${@:2}"; }
version() { docker inspect --format '{{index .Config.Labels "platypus.version"}}' $(ours "$1") 2>/dev/null; }
runs() { [ "$(version "$1")" = "$2" ]; }
port_of() { status_of "$1" | sed -n 's/.*"80\/tcp": *"0.0.0.0:\([0-9]*\)".*/\1/p'; }
healthy() { [[ $(ppctl --json get "reality/health/$1/c/n1" 2>/dev/null | tr -d ' \n') == *'"state":"healthy","version":"'"$2"'"'* ]]; }
# What the engine did to containers of an application since then: "create 1", "start 1", ...
events() {
	docker events --since "$2" --until "$(date +%s.%N)" --filter type=container --filter "label=platypus.application=$1" \
		--format '{{.Action}} {{index .Actor.Attributes "platypus.version"}}' | grep -E '^(create|start|die|destroy) '
}
# eventually DESC CMD...
eventually() {
	if wait_for 20 "${@:2}"; then ok "$1"; else not_ok "$1" "$(tail -n 8 "$T/runner.log" 2>&1)" "$(docker ps -a)"; fi
}

check "a store" ppctl init "$PP_STORE"
ppctl node add web c >/dev/null 2>&1

# ---- the first one ----

intend web 1 ', "ports": [{"container": 80}], "networks": ["front"], "aliases": ["www"], "env": {"WHO": "docker"}, "memory": "64M", "cpus": "0.5", "drain": "300ms"'
once
is "$status" 111 "without its envdir"
like "$(status_of web)" EnvironmentMissing "... it waits"
is "$(ours web)" "" "... and nothing runs"
mkdir "$T/env"
printf 'canary-5d41\n' >"$T/env/PASSWORD"
printf 'env\n' >"$T/env/COLOUR"
once
is "$status" 0 "it converges"
port=$(port_of web)
says=$(http GET "$port" /env)
for variable in PASSWORD=canary-5d41 COLOUR=env WHO=docker PP_APP=web PP_VERSION=1 PP_NODE=n1 PP_CLUSTER=c; do
	like "$says" "$variable" "its environment has ${variable%%=*}"
done
like "$(http GET "$port" /config)" '"greeting": "hello"' "user_config is a file in it"
container=$(ours web)
is "$(docker inspect --format '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}}' "$container")" \
	"67108864 500000000 unless-stopped" "its limits"
like "$(docker inspect --format '{{.NetworkSettings.Networks.front.Aliases}}' "$container")" 'web www' "its names on its network"
once
is "$status $(ours web)" "0 $container" "a second round changes nothing"
unlike "$(docker inspect --format '{{json .Config.Labels}}' "$container")$(status_of web)$output$errors$(cat "$T"/state/*.json)" canary \
	"no value of envdir is in labels, status, logs or notes"

# ---- one after the other, by a runner that goes on ----

start runner "${runner[@]}"
agent=$pid
eventually "its health is published" healthy web 1
since=$(date +%s.%N)
min_nodes=0 activate web 2
eventually "a new version runs" runs web 2
eventually "... and its health is published" healthy web 2
eventually "... and is converged" is_in web converged
is "$(events web "$since" | paste -sd,)" "create 2,start 2,die 1,destroy 1" "the old one went after the new one had come"
printf 'canary-2a7b\n' >"$T/env/.new" && mv "$T/env/.new" "$T/env/PASSWORD"
changed() { http GET "$(port_of web)" /env | grep -q canary-2a7b; }
eventually "another value in envdir is another container" changed

container=$(ours web) since=$(date +%s.%N) deadline=1s
intend web 3 ', "ports": [{"container": 80}], "networks": ["front"]'
eventually "a version that fails is marked" is_in web failing
gone() { [ "$(ours web -a)" = "$container" ]; }
eventually "... and removed" gone
ok "... the old one is untouched"
is "$(wc -l <"$T/state/log-web") $(head -n 1 "$T/state/log-web")" "200 line 101: no database" "... its last 200 lines are kept"
like "$(status_of web)" 'line 300: no database' "... and the last of them shown"
sleep 1
is "$(events web "$since" | grep -c 'create 3')" 1 "... and it is not tried again"
ppctl rollout retry web >/dev/null 2>&1
again() { [ "$(events web "$since" | grep -c 'create 3')" = 2 ]; }
eventually "... until a person says so" again
put nodes/n1/web '{"cluster": "c", "hold": "test"}'
deadline=10s intend web 2 ', "ports": [{"container": 80}], "networks": ["front"]'
since=$(date +%s.%N)
sleep 1
is "$(events web "$since" | grep create)" "" "on hold nothing is started"
put nodes/n1/web '{"cluster": "c"}'
eventually "then it goes on" is_in web converged

docker stop -t 1 "$(ours web)" >/dev/null
running() { [ -n "$(ours web)" ]; }
eventually "one that was stopped by hand runs again" running

# ---- state ----

ppctl node add db c >/dev/null 2>&1
intend db 1 ', "volumes": [{"volume": "data", "target": "/data"}], "networks": ["front"]'
eventually "one with state runs" is_in db converged
since=$(date +%s.%N)
activate db 2
eventually "... and is updated" runs db 2
eventually "... and healthy, though no port is published" is_in db converged
is "$(events db "$since" | paste -sd,)" "die 1,destroy 1,create 2,start 2" "the new one came after the old one had gone"
deadline=1s intend db 3 ', "volumes": [{"volume": "data", "target": "/data"}], "networks": ["front"]'
marked() { status_of db | grep -q 'runs instead'; }
eventually "one that fails makes way" marked
eventually "... for what ran before" runs db 2

# ---- the engine goes and comes ----

stop "$engine"
eventually "without its engine it waits" is_in web waiting
like "$(status_of web)" 'EngineMissing' "... and says so"
check "the engine is back" start_engine
eventually "... and everything is as it was" is_in web converged
stop "$agent"

# ---- what is not ours, and what nobody wants ----

docker run -d --name other web:1 >/dev/null
ppctl node add other c >/dev/null 2>&1
intend other 1 ', "ports": [{"container": 80, "host": 30123}]'
foreign=$(docker inspect --format '{{.Id}} {{.State.StartedAt}}' other)
ppctl node rm web >/dev/null 2>&1
rm -r "$T/state"
once
like "$(status_of other)" 'container other \(of image web:1\) is there and not ours' "a name that is taken is said to be"
is "$(docker inspect --format '{{.Id}} {{.State.StartedAt}}' other)" "$foreign" "... and left alone"
is "$(ours web -a)" "" "what is left of an application is found by its labels, and removed"
check "... its network not, while others are on it" docker network inspect front
ppctl node rm db >/dev/null 2>&1
once
once
is "$(docker volume ls -q)" data "volumes stay"
refute "... networks go with the last one" docker network inspect front
docker rm -f other >/dev/null

mkdir "$T/try"
run bash "$ROOT/t/it/readme.sh" container-runner
is "$status" 0 "the session of its README does what it says"
[ "$status" = 0 ] || diag "$output"
done_testing
