# A container engine of the test's own, for t/it/*.sh. After t/lib.sh.
#
#	start_docker          sets DOCKER_HOST; 1, with the reason in $docker_why, where none can run
#	end_docker            before done_testing: a running engine holds mounts below $T
#	scratch_image NAME PROGRAM   an image of nothing but that static program
#
# shellcheck shell=bash disable=SC2154,SC2034 # $T and start are t/lib.sh's, the variables the tests'

docker_why='' docker_pid=''
apart "$@"

start_docker() {
	[ "$EUID" = 0 ] || { docker_why="dockerd needs root"; return 1; }
	{ have dockerd && have docker && have containerd; } || { docker_why="docker.io is not installed"; return 1; }
	mkdir -p "$T/docker"
	# Nothing of the machine's own firewall and bridges is touched.
	start docker dockerd --data-root "$T/docker/data" --exec-root "$T/docker/exec" --host "unix://$T/docker/sock" \
		--pidfile "$T/docker/pid" --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs
	docker_pid=$pid
	export DOCKER_HOST=unix://$T/docker/sock
	wait_for 20 docker version && return
	docker_why="dockerd does not start here: $(grep -oE 'msg="?failed.*|.*[Ff]ailed.*' "$T/docker.log" | tail -n 1)"
	end_docker
	return 1
}

end_docker() {
	local place
	stop "$docker_pid"
	# What a killed one leaves.
	while read -r _ place _; do
		case $place in "$T"/docker/*) umount -l "$place";; esac
	done </proc/mounts 2>/dev/null
}

scratch_image() {
	mkdir -p "$T/image"
	cp "$2" "$T/image/program"
	printf 'FROM scratch\nCOPY program /program\nENTRYPOINT ["/program"]\n' >"$T/image/Dockerfile"
	docker build -q -t "$1" "$T/image" >/dev/null 2>&1
}
