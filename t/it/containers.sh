#!/bin/bash
# pp-container-runner with the real Docker engine, one of its own; ENGINE=podman: with Podman. container-faults.sh has an
# engine that fails.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/engines.sh"
have pp-container-runner || skip_all "pp-container-runner is not built"
have gcc || skip_all "gcc is not on PATH"

# ---- an engine, and images from nothing ----

export DOCKER_CONFIG=$T/docker-config
mkdir -p "$T/image"
start_engine || skip_all "$engine_why; NOTHING is shown of containers with it"
trap 'code=$?; clean_engine; (exit $code); at_exit' EXIT
gcc -static -O1 -o "$T/image/program" "$ROOT/t/it/container-program.c" || skip_all "gcc cannot link statically"
image() { tar -c -C "$T/image" program | import_image "$1" 'ENTRYPOINT ["/program"]' "CMD $2"; }
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
		\"environment\": {\"COLOUR\": \"blue\", \"WHO\": \"deploy\"}, \"health\": {\"up\": \"100ms\", \"deadline\": \"${deadline:-60s}\", \"http\": {\"port\": 80, \"path\": \"/\"}}}"
	activate "$1" "$2"
}
activate() { put "clusters/$1/c/config" "{\"versions\": {\"$2\": \"active\"}, \"user_config\": {\"greeting\": \"hello\"}, \"min_nodes\": ${min_nodes:-0}}"; }
runner=(pp-container-runner --listen none --max-destroy 100 --state-dir "$T/state" --check-interval 300ms --splay 0)
once() { run "${runner[@]}" --once; }
status_of() { ppctl --json get "reality/status/container-runner/n1/$1"; }
is_in() { [[ $(status_of "$1" 2>/dev/null | tr -d ' \n') == *"\"state\":\"$2\""* ]]; }
ours() { docker ps -q --no-trunc --filter "label=platypus.application=$1" "${@:2}"; }
version() { docker inspect --format '{{index .Config.Labels "platypus.version"}}' $(ours "$1") 2>/dev/null; }
runs() { [ "$(version "$1")" = "$2" ]; }
port_of() { status_of "$1" | sed -n 's/.*"80\/tcp": *"0.0.0.0:\([0-9]*\)".*/\1/p'; }
healthy() { [[ $(ppctl --json get "reality/health/$1/c/n1" 2>/dev/null | tr -d ' \n') == *'"state":"healthy","version":"'"$2"'"'* ]]; }
# events APP SINCE LIST: these, and no others.
events() { [ "$(engine_events "$1" "$2" | paste -sd,)" = "$3" ]; }
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
eventually "the old one went after the new one had come" events web "$since" "create 2,start 2,die 1,destroy 1"
printf 'canary-2a7b\n' >"$T/env/.new" && mv "$T/env/.new" "$T/env/PASSWORD"
changed() { http GET "$(port_of web)" /env | grep -q canary-2a7b; }
eventually "another value in envdir is another container" changed
alone() { [ "$(ours web -a | wc -l)" = 1 ]; }
eventually "... and the only one" alone

intend web 2 ', "ports": [{"container": 80}], "networks": ["front"]'
short() { [[ $(docker inspect --format '{{index .Config.Labels "platypus.spec"}}' "$(ours web)") != *www* ]] && alone; }
eventually "so is another section of the deploy_config" short
container=$(ours web) since=$(date +%s.%N)
deadline=1s intend web 3 ', "ports": [{"container": 80}], "networks": ["front"]'
eventually "a version that fails is marked" is_in web failing
gone() { [ "$(ours web -a)" = "$container" ]; }
eventually "... and removed" gone
ok "... the old one is untouched"
is "$(wc -l <"$T/state/log-web") $(head -n 1 "$T/state/log-web")" "200 line 101: no database" "... its last 200 lines are kept"
like "$(status_of web)" 'line 300: no database' "... and the last of them shown"
sleep 1
is "$(engine_events web "$since" | grep -c 'create 3')" 1 "... and it is not tried again"
ppctl rollout retry web >/dev/null 2>&1
again() { [ "$(engine_events web "$since" | grep -c 'create 3')" = 2 ]; }
eventually "... until a person says so" again
put nodes/n1/web '{"cluster": "c", "hold": "test"}'
intend web 2 ', "ports": [{"container": 80}], "networks": ["front"]'
since=$(date +%s.%N)
sleep 1
is "$(engine_events web "$since" | grep create)" "" "on hold nothing is started"
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
eventually "the new one came after the old one had gone" events db "$since" "die 1,destroy 1,create 2,start 2"
deadline=1s intend db 3 ', "volumes": [{"volume": "data", "target": "/data"}], "networks": ["front"]'
marked() { status_of db | grep -q 'runs instead'; }
eventually "one that fails makes way" marked
eventually "... for what ran before" runs db 2

# ---- the engine goes and comes ----

stop_engine
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
like "$(status_of other)" 'container other \(of image [a-z./]*web:1\) is there and not ours' "a name that is taken is said to be"
is "$(docker inspect --format '{{.Id}} {{.State.StartedAt}}' other)" "$foreign" "... and left alone"
is "$(ours web -a)" "" "what is left of an application is found by its labels, and removed"
check "... its network not, while others are on it" docker network inspect front
ppctl node rm db >/dev/null 2>&1
once
once
is "$(docker volume ls -q)" data "volumes stay"
refute "... networks go with the last one" docker network inspect front
docker rm -f other >/dev/null
ppctl node rm other >/dev/null 2>&1

# ---- a registry that wants an account ----

# registry: Debian's own, with one account; "ann" and "canary-9e1c".
start_registry() {
	mkdir -p "$T/registry"
	printf 'ann:%s\n' '$2b$05$2NPvlNkcouFuDdn5J8DyteKAGAH9nXW4Uax3gxzmfVy/C0AQwr0iu' >"$T/registry/htpasswd"
	cat >"$T/registry/config.yml" <<-END
	version: 0.1
	log: {level: error}
	storage: {filesystem: {rootdirectory: $T/registry/data}}
	http: {addr: $registry}
	auth: {htpasswd: {realm: test, path: $T/registry/htpasswd}}
	END
	start registry docker-registry serve "$T/registry/config.yml"
	wait_for 10 listens "${registry#*:}"
}
listens() { exec 8<>"/dev/tcp/127.0.0.1/$1" && exec 8>&-; } 2>/dev/null
push() {
	docker tag web:1 "$registry/shop/web:$1" && push_image "$registry/shop/web:$1" ann canary-9e1c &&
		docker rmi "$registry/shop/web:$1"
}
# pulls VERSION CONFIG STATUS WORDS DESC: what comes of it with that config.json.
pulls() {
	printf '%s\n' "$2" >"$DOCKER_CONFIG/config.json"
	put clusters/shop/c/config "{\"versions\": {\"$1\": \"active\"}}"
	once
	is "$status" "$3" "$5"
	like "$(status_of shop)" "$4" "... and says so"
	[ "$status" = "$3" ] || diag "$errors" "$(docker ps -a)" "$(tail -n 5 "$T/engine.log")"
}
if have docker-registry && start_registry; then
	mkdir -p "$DOCKER_CONFIG" "$T/helpers"
	cat >"$T/helpers/docker-credential-test" <<-END
	#!/bin/sh
	echo "\$*" >>"$T/asked"
	read -r registry || :
	echo "\$registry" >>"$T/asked"
	[ "\$registry" = "$registry" ] || { echo "credentials not found in native keychain"; exit 1; }
	echo '{"ServerURL": "$registry", "Username": "ann", "Secret": "canary-9e1c"}'
	END
	printf '#!/bin/sh\necho "the keyring is locked"\nexit 1\n' >"$T/helpers/docker-credential-locked"
	chmod 755 "$T"/helpers/*
	PATH=$T/helpers:$PATH
	for version in 1 2 3; do check "version $version is pushed" push "$version"; done
	ppctl node add shop c >/dev/null 2>&1
	put clusters/shop/c/deploy_config "{\"docker\": {\"image\": \"$registry/shop/web:%v\"}, \"stop_timeout\": \"1s\", \"health\": {\"up\": \"100ms\"}}"
	account=$(printf ann:canary-9e1c | base64) wrong=$(printf ann:canary-0000 | base64)
	pulls 1 '{}' 111 "no account was sent: none for $registry is in $DOCKER_CONFIG/config.json \(docker login\)" "without an account"
	pulls 1 "{\"auths\": {\"$registry\": {\"auth\": \"$wrong\"}}}" 111 "the account for $registry of $DOCKER_CONFIG/config.json was sent" \
		"with a wrong one"
	pulls 1 '{"auths": ' 111 "no account was sent: $DOCKER_CONFIG/config.json: .*line 2" "with half a config.json"
	pulls 1 '{"credsStore": "gone"}' 111 'docker-credential-gone is not on PATH: install it' "with a helper that is not there"
	pulls 1 '{"credsStore": "locked"}' 111 'docker-credential-locked get: exit status 1: the keyring is locked' "with one that fails"
	is "$(ours shop -a)" "" "nothing runs of what could not be pulled"
	pulls 1 "{\"auths\": {\"$registry\": {\"auth\": \"$account\"}}}" 0 '"converged"' "with what docker login left"
	pulls 2 "{\"credHelpers\": {\"$registry\": \"test\"}}" 0 '"converged"' "with a helper of that registry"
	pulls 3 "{\"auths\": {\"$registry\": {\"auth\": \"$account\"}}, \"credHelpers\": {\"other.example.com\": \"locked\"}}" 0 \
		'"converged"' "with one for another"
	is "$(sort -u "$T/asked" | paste -sd,)" "$registry,get" "a helper is asked for this registry, and not by its arguments"
	unlike "$(grep -rhsF -e canary-9e1c -e "$account" "$T/store"; cat "$T"/state/*.json)$output$errors" "canary-9e1c|$account" "no secret is kept anywhere"
	ppctl node rm shop >/dev/null 2>&1
	once
else
	skip "an image of a private registry" "docker-registry is not on PATH (Debian: docker-registry)"
fi

# ---- TLS ----

# certificate NAME AUTHORITY SUBJECT-ALTERNATIVE-NAME
certificate() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" &&
		printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3" >"$1.ext" &&
		openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -extfile "$1.ext" -out "$1.crt" -days 9
}
certificates() {
	local name
	for name in ca other; do
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.crt -days 9 \
			-subj "/CN=$name" || return 1
	done
	certificate server ca IP:127.0.0.1 && certificate client ca DNS:client || return 1
	# As Docker names them.
	mkdir mine strangers nobodys && cp ca.crt mine/ca.pem && cp ca.crt nobodys/ca.pem && cp other.crt strangers/ca.pem &&
		cp client.crt mine/cert.pem && cp client.key mine/key.pem
}
if [ "$ENGINE" = docker ] && have openssl; then
	mkdir "$T/certs"
	cd "$T/certs" || exit 1
	check "certificates" certificates
	stop_engine
	port=$(free_port)
	engine_more=(-H "tcp://127.0.0.1:$port" --tlsverify --tlscacert ca.crt --tlscert server.crt --tlskey server.key)
	check "an engine with TLS" start_engine
	ppctl node add tls c >/dev/null 2>&1
	put clusters/tls/c/deploy_config '{"docker": {"image": "web:%v"}, "stop_timeout": "1s", "health": {"up": "100ms"}}'
	activate tls 1
	# What Docker's own client is told, and what comes of it.
	while IFS='|' read -r desc host variables code words; do
		read -ra variables <<<"$variables"
		run env "${variables[@]}" "${runner[@]}" --once --engine "tcp://$host:$port"
		is "$status" "$code" "TLS: $desc"
		like "$(status_of tls)" "$words" "... and says so"
		[ -n "${serves:=$(ours tls)}" ]
	done <<-END
	verified|127.0.0.1|DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=mine|0|"converged"
	verified, with what is beside config.json|127.0.0.1|DOCKER_TLS_VERIFY=1 DOCKER_CONFIG=mine|0|"converged"
	not spoken|127.0.0.1|A=b|100|tcp://127.0.0.1:$port is no container engine.*status 400: Client sent an HTTP request to an HTTPS server
	another authority|127.0.0.1|DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=strangers|111|no container engine answers at tcp://127.0.0.1:$port .*certificate
	another name|localhost|DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=mine|111|no container engine answers at tcp://localhost:$port .*(name|localhost)
	without our own|127.0.0.1|DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=nobodys|111|no container engine answers at tcp://127.0.0.1:$port .*certificate
	no such directory|127.0.0.1|DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=/nowhere|111|to be verified \(DOCKER_TLS_VERIFY\): /nowhere/ca.pem \(DOCKER_CERT_PATH\): No such file
	END
	is "$(ours tls)" "$serves" "what runs is left alone while its engine cannot be asked"
	cd "$T" || exit 1
else
	skip "an engine with TLS" "Podman's service speaks none, or openssl is not on PATH"
fi

mkdir "$T/try"
run bash "$ROOT/t/it/readme.sh" container-runner
is "$status" 0 "the session of its README does what it says"
[ "$status" = 0 ] || diag "$output"
done_testing
