# A container engine of a test's own, Docker or Podman, for t/it/containers.sh. After t/lib.sh.
#
#	ENGINE=docker|podman
#	$registry             where a registry of the test's own may listen
#	start_engine          sets DOCKER_HOST and $engine, its process; 1, with the reason in $engine_why
#	engine_more=()        more arguments of it
#	stop_engine           its process only: it may be started again
#	import_image NAME CHANGE...   a tar on standard input
#	push_image NAME USER PASSWORD   to $registry
#	engine_events APP SINCE  what it did to containers of an application: "create 1", "start 1", "die 1", "destroy 1"
#	clean_engine          at the end: nothing of it stays
#
# shellcheck shell=bash disable=SC2154,SC2034 # $T and start are t/lib.sh's, the variables the tests'

: "${ENGINE:=docker}"
engine_why='' engine='' engine_more=()
registry=127.0.0.1:$(free_port) # that it may speak plain HTTP to
export DOCKER_HOST=unix://$T/engine.sock

apart "$@"

podman=(podman --root "$T/data" --runroot "$T/exec" --tmpdir "$T/podman" --storage-driver vfs)

prepare_docker() {
	have dockerd || { engine_why="dockerd is not on PATH (Debian: docker.io)"; return 1; }
	serve=(dockerd --data-root "$T/data" --exec-root "$T/exec" -H "$DOCKER_HOST" --pidfile "$T/docker.pid"
		--iptables=false --ip6tables=false --bridge=none --storage-driver=vfs)
}

prepare_podman() {
	have podman || { engine_why="podman is not on PATH (Debian: podman)"; return 1; }
	[ -n "$is_apart" ] || { engine_why="no network of its own can be made for Podman"; return 1; }
	# Where its networks are remembered is no option; what is mounted is nobody else's. Once: a new start finds them again.
	if [ ! -d "$T/cni" ]; then
		mkdir -p "$T/cni" /var/lib/cni /run/netns
		mount -t tmpfs none /var/lib/cni && mount -t tmpfs none /run/netns || return
	fi
	# Limits that any root may set, locks that are nobody else's.
	cat >"$T/containers.conf" <<-END
	[containers]
	default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
	[engine]
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	lock_type = "file"
	[network]
	network_config_dir = "$T/cni"
	END
	# Docker speaks plain HTTP to registries of this machine unasked.
	printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$registry" >"$T/registries.conf"
	export CONTAINERS_CONF=$T/containers.conf CONTAINERS_REGISTRIES_CONF=$T/registries.conf
	# Accounts are the runner's to bring, not the service's to find.
	serve=(env -u DOCKER_CONFIG HOME="$T" "${podman[@]}" system service --time=0 "$DOCKER_HOST")
}

start_engine() {
	[ "$EUID" = 0 ] || { engine_why="only root may start an engine of its own"; return 1; }
	have docker || { engine_why="the client docker is not on PATH (Debian: docker.io)"; return 1; }
	mkdir -p "$T/data" "$T/exec"
	"prepare_$ENGINE" || return 1
	start engine "${serve[@]}" "${engine_more[@]}"
	engine=$pid
	wait_for 20 docker version && return
	engine_why="$ENGINE does not run here ($(grep -E 'level=(fatal|error)|Error' "$T/engine.log" | tail -n 1))"
	return 1
}

stop_engine() { stop "$engine"; }

import_image() {
	local name=$1 changes=() change
	shift
	for change; do changes+=(-c "$change"); done
	case $ENGINE in
	docker) docker import "${changes[@]}" - "$name";;
	podman) "${podman[@]}" import "${changes[@]}" - "docker.io/library/$name";;
	esac >/dev/null
}

push_image() {
	local -x DOCKER_CONFIG=$T/pusher
	mkdir -p "$T/pusher"
	[ -e "$T/pusher/config.json" ] || echo '{}' >"$T/pusher/config.json"
	case $ENGINE in
	docker)
		docker login -u "$2" --password-stdin "$registry" <<<"$3" && docker push "$1";;
	podman) "${podman[@]}" push --tls-verify=false --creds "$2:$3" "$1";;
	esac
}

engine_events() {
	local until
	until=$(date +%s.%N)
	case $ENGINE in
	docker) docker events --since "$2" --until "$until" --filter type=container --filter "label=platypus.application=$1" \
		--format '{{.Action}} {{index .Actor.Attributes "platypus.version"}}';;
	podman) "${podman[@]}" events --stream=false --since "$(date -d "@$2" +%FT%T.%N%:z)" --filter type=container \
		--filter "label=platypus.application=$1" --format '{{.Status}} {{index .Attributes "platypus.version"}}' |
		sed 's/^died /die /; s/^remove /destroy /';;
	esac | grep -E '^(create|start|die|destroy) '
}

# What Podman runs does not end with its service.
clean_engine() {
	[ "$ENGINE" != podman ] || "${podman[@]}" rm -fa -t 0 >/dev/null 2>&1
}
