#!/bin/bash
# pp-builder with the real engine and its own client: an image from nothing, once, by its content.
set -u
. "$(dirname "$0")/../lib.sh"
have git || skip_all "git is not on PATH"
have dockerd && have docker || skip_all "Docker is not on PATH (Debian: docker.io); NOTHING is shown of real images"
[ "$EUID" = 0 ] || skip_all "only root may start an engine of its own; NOTHING is shown of real images"

export HOME=$T/home DOCKER_HOST=unix://$T/docker.sock DOCKER_CONFIG=$T/docker-config PP_STORE=dir:$T/store PP_NODE=n1
mkdir -p "$HOME" "$T/data" "$T/exec" "$T/api/bin"
start_engine() {
	start dockerd dockerd --data-root "$T/data" --exec-root "$T/exec" -H "$DOCKER_HOST" --pidfile "$T/docker.pid" \
		--iptables=false --ip6tables=false --bridge=none --storage-driver=vfs
	engine=$pid
	wait_for 20 docker version
}
builder=(pp-builder --listen none --state-dir "$T/state")
once() { run "${builder[@]}" --once "$@"; }
fact() { ppctl export reality/builds --all | sed -nE "s/^ *\"$1\": \"(.*)\",?\$/\\1/p"; }
status_of() { ppctl get reality/status/builder/n1/api; }

check "a store" ppctl init "$PP_STORE"
printf 'FROM scratch AS base\nARG LEVEL=0\nCOPY bin /bin\nLABEL level=$LEVEL\nFROM base\nCMD ["/bin/api"]\n' >"$T/api/Dockerfile"
echo one >"$T/api/bin/api"
ppctl put apps/api "{\"repo\": \"dir:$T/api\", \"rules\": [{\"ref\": \"*\", \"recipe\": \"image\"}],
	\"recipes\": {\"image\": {\"image\": {\"name\": \"team/api\", \"args\": {\"LEVEL\": \"3\"}}}}}" >/dev/null 2>&1
once
is "$status" 111 "no engine yet"
like "$(status_of)" 'no container engine answers: ' "... is waited for, in the client's own words"
start_engine || skip_all "dockerd does not run here ($(grep -o 'level=fatal.*' "$T/dockerd.log" | tail -n 1)); NOTHING is shown of real images"
once
is "$status" 0 "an image"
[ "$status" = 0 ] || diag "$(status_of)" "$(cat "$T/state/logs/api/"*)"
image=$(fact image) input=$(fact input)
is "$image" "team/api:${input:0:20}" "... is published by a tag that says its content"
is "$(docker image inspect "$image" --format '{{.Id}} {{index .Config.Labels "platypus.input"}} {{.Config.Labels.level}}')" \
	"$(fact id) $input 3" "... and is in the engine, with its label and arguments"
created=$(docker image inspect "$image" --format '{{.Created}}')
docker tag "$image" person/own:1
once
is "$status $(docker image inspect "$image" --format '{{.Created}}')" "0 $created" "a second round builds nothing"
rm -r "$T/state"
once
is "$status $(find "$T/state" -name "*.log" | wc -l)" "0 0" "nor does one that has forgotten everything"
docker image rm "$image" >/dev/null
once
is "$status" 0 "its tag removed"
check "... it is there again" docker image inspect "$image"
check "... and a person's own tag too" docker image inspect person/own:1
echo two >"$T/api/bin/api"
once
is "$(fact image | sort -u | wc -l)" 2 "an edit: another image"
once --keep 0
is "$status $(fact image | wc -l) $(docker image ls -q team/api | wc -l)" "0 1 1" "what nothing names goes, fact and tag"
check "... and a person's own tag of it stays" docker image inspect person/own:1
echo 'COPY nothing /' >>"$T/api/Dockerfile"
once
is "$status" 111 "a Dockerfile that is broken"
like "$(status_of)" 'image at [0-9a-f]{12}: docker: exit status 1: .*nothing.*\(log: ' "... fails with the engine's words and its log"
stop "$engine"
once
is "$status" 111 "the engine stopped"
like "$(status_of)" '"state": "waiting"' "... is waited for, and no verdict on the source"
done_testing
