# Waiting, ports, processes and servers, for t/lib.sh and contrib/demo. bash.
#
# Wants $T, a directory of ours; logs and data go there. stop_all, sweep and give_ports_back belong into
# the trap on EXIT of whoever sources this.

started=()   # "PID START NAME" of everything that is to end with us
# What start_etcd and start_consul say.
ETCD_URL='' ETCD_PORT='' CONSUL_URL='' CONSUL_PORT=''
export ETCD_URL CONSUL_URL

# ---- waiting ----

# wait_for SECONDS CMD...: until it succeeds; 1 when it never did. The seconds are those of a machine that has nothing
# else to do; $PATIENCE times as many are waited.
wait_for() {
	local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * ${PATIENCE:-1} * 1000000))
	shift
	while ! "$@" >/dev/null 2>&1; do
		[ "${EPOCHREALTIME/[.,]/}" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

have() { command -v "$1" >/dev/null 2>&1; }

# A port of 127.0.0.1 that nobody uses, below the range that outgoing connections take, and
# noted so that a test running beside this one does not get the same: in one place, whatever its TMPDIR is.
notes=/tmp/platypus-ports.$UID
free_port() {
	local port hex owner
	mkdir -p "$notes" || return 1
	while :; do
		port=$((20000 + RANDOM % 12000))
		printf -v hex '%04X' "$port"
		grep -qsE "^ *[0-9]+: [0-9A-F]+:$hex " /proc/net/tcp /proc/net/tcp6 && continue
		if ! ln -s "$$" "$notes/$port" 2>/dev/null; then
			owner=$(readlink "$notes/$port") && [ ! -d "/proc/$owner" ] && rm -f "$notes/$port"
			continue
		fi
		echo "$port"
		return
	done
}

give_ports_back() {
	local note
	for note in "$notes"/*; do
		[ "$(readlink "$note")" = "$$" ] && rm -f "$note"
	done
	return 0
}

# http METHOD PORT PATH [BODY [HEADER]]: prints the answer's body; fails unless the status is 2xx.
# No curl: a newcomer's machine need not have the program.
http() {
	local body=${4:-} answer head line
	exec 9<>"/dev/tcp/127.0.0.1/$2" || return 1
	# Through cat: bash writes line by line, and a small server answers the first one.
	printf '%s %s HTTP/1.0\r\nHost: 127.0.0.1\r\n%sContent-Length: %d\r\n\r\n%s' \
		"$1" "$3" "${5:+$5$'\r\n'}" "${#body}" "$body" | cat >&9
	answer=$(timeout "$((5 * ${PATIENCE:-1}))" cat <&9 | tr -d '\0')
	exec 9>&- 9<&-
	head=${answer%%$'\r\n\r\n'*}
	line=${head%%$'\r'*}
	[ "$answer" = "$head" ] || printf '%s\n' "${answer#*$'\r\n\r\n'}"
	[[ $line =~ ^HTTP/1\.[01]\ 2 ]]
} 2>/dev/null

# ---- processes, always by id ----

# proc_stat PID: sets ps_parent, ps_group, ps_start; fails when it is gone or a zombie.
proc_stat() {
	local line fields
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
	read -ra fields <<<"${line##*) }"
	[ "${fields[0]}" != Z ] || return 1
	ps_parent=${fields[1]} ps_group=${fields[2]} ps_start=${fields[19]}
}

# Is PID still the process that began at START? A number may be given out again.
same_process() { [ -n "$1" ] && proc_stat "$1" && [ "$ps_start" = "$2" ]; }

# "PID START" of a process, its group and everything below it.
family() {
	local -A member=(["$1"]=1)
	local entry pid grew=yes found=()
	while [ -n "$grew" ]; do
		grew=
		for entry in /proc/[0-9]*; do
			pid=${entry#/proc/}
			proc_stat "$pid" || continue
			if [ -z "${member[$pid]:-}" ]; then
				[ -n "${member[$ps_parent]:-}" ] || [ "$ps_group" = "$1" ] || continue
				member[$pid]=1 grew=yes
			fi
		done
	done
	for pid in "${!member[@]}"; do
		proc_stat "$pid" && found+=("$pid $ps_start")
	done
	[ ${#found[@]} = 0 ] || printf '%s\n' "${found[@]}"
}

# start NAME CMD...: in the background, leader of its own group, output in $T/NAME.log.
# Sets $pid; ended with the test.
start() {
	local name=$1
	shift
	: >>"$T/$name.log" # there before who reads it
	setsid "$@" >>"$T/$name.log" 2>&1 </dev/null &
	pid=$!
	adopt "$pid" "$name"
}

# adopt PID [NAME]: end it with the test, though it was started otherwise. One that has ended already is
# not noted: its number may be somebody else's when we are done.
adopt() {
	proc_stat "$1" && started+=("$1 $ps_start ${2:-$1}")
	return 0
}

# Is PID still what `start` or `adopt` noted under that number?
is_ours() {
	local entry target start
	proc_stat "$1" || return 1
	for entry in "${started[@]}"; do
		read -r target start _ <<<"$entry"
		[ "$target" = "$1" ] && [ "$start" = "$ps_start" ] && return 0
	done
	return 1
}

# stop PID [SIGNAL [PATIENCE]]: that signal (TERM) and up to 5 s, $PATIENCE times, to end, family and all; KILL for what
# is left.
# What a dead leader left behind is for sweep: its group's number may have been given out again.
stop() {
	local target=$1 signal=${2:-TERM} patience=${3:-${PATIENCE:-1}} tries=0 all
	is_ours "$target" || return 0
	all=$(family "$target")
	kill -"$signal" "$target" 2>/dev/null
	while [ "$tries" -lt $((100 * patience)) ]; do
		! none_left "$all" || break
		# What the leader left behind is asked too; the leader itself later, for a second signal ends what it is at.
		if [ "$tries" = 20 ] && ! is_ours "$target" || [ "$tries" = $((20 * patience)) ]; then each_of "$all" TERM; fi
		sleep 0.05
		tries=$((tries + 1))
	done
	! is_ours "$target" || all+=$'\n'$(family "$target")
	each_of "$all" KILL
	wait "$target" 2>/dev/null
	wait_for 5 none_left "$all"
	return 0
}

# none_left LIST, each_of LIST SIGNAL: of what `family` prints.
none_left() {
	local one start
	while read -r one start; do
		! same_process "$one" "$start" || return 1
	done <<<"$1"
}
each_of() {
	local one start
	while read -r one start; do
		[ -n "$one" ] && same_process "$one" "$start" && kill -"$2" "$one" 2>/dev/null
	done <<<"$1"
	return 0
}

# kill_now PID: SIGKILL, and wait until it is gone.
kill_now() {
	is_ours "$1" && kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	return 0
}

stop_all() {
	local index target name
	for ((index = ${#started[@]} - 1; index >= 0; index--)); do
		read -r target _ name <<<"${started[index]}"
		# Nobody asks any more how they ended.
		case $name in
		runsvdir*) stop "$target" HUP 1;;
		*) stop "$target" TERM 1;;
		esac
	done
	started=()
}

# What left its family (double fork and setsid) still has our directory in its environment: whoever
# sources this exports XDG_STATE_HOME below $T.
sweep() {
	local entry one rest=
	# shellcheck disable=SC2013 # no blanks in these
	for entry in $(grep -lsaF "XDG_STATE_HOME=$T/" /proc/[0-9]*/environ); do
		one=${entry#/proc/} one=${one%/environ}
		[ "$one" = "$$" ] || [ "$one" = "$BASHPID" ] || ! proc_stat "$one" || rest+="$one $ps_start"$'\n'
	done
	each_of "$rest" KILL
	wait_for 5 none_left "$rest"
	return 0
}

# ---- servers ----

# start_etcd [NAME]: a single etcd; sets ETCD_URL (etcd://...), ETCD_PORT and $pid.
# 1 when it is not on PATH.
start_etcd() {
	local name=${1:-etcd} peer
	have etcd || return 1
	ETCD_PORT=$(free_port) peer=$(free_port)
	start "$name" env -u ETCDCTL_API etcd --name "$name" --data-dir "$T/$name.data" \
		--listen-client-urls "http://127.0.0.1:$ETCD_PORT" \
		--advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
		--listen-peer-urls "http://127.0.0.1:$peer" \
		--initial-advertise-peer-urls "http://127.0.0.1:$peer" \
		--initial-cluster "$name=http://127.0.0.1:$peer"
	ETCD_URL=etcd://127.0.0.1:$ETCD_PORT
	wait_for 20 http GET "$ETCD_PORT" /health '' && return
	{ echo "etcd did not become ready:"; tail -n 20 "$T/$name.log"; } >&2
	return 2
}

# A leader is known; with ACLs no more can be asked without a token.
consul_answers() { http GET "$CONSUL_PORT" /v1/status/leader | grep -q :; }

# start_consul [NAME]: a single Consul server, with $CONSUL_HCL added to its configuration; sets CONSUL_URL, CONSUL_PORT and $pid.
# 1 when it is not on PATH.
start_consul() {
	local name=${1:-consul}
	have consul || return 1
	CONSUL_PORT=$(free_port)
	start "$name" consul agent -server -bootstrap-expect 1 -node "$name" \
		-data-dir "$T/$name.data" -bind 127.0.0.1 -client 127.0.0.1 -hcl \
		"ports { http = $CONSUL_PORT server = $(free_port) serf_lan = $(free_port)
		serf_wan = $(free_port) dns = -1 grpc = -1 }
		performance { raft_multiplier = 1 } disable_update_check = true ${CONSUL_HCL:-}"
	CONSUL_URL=consul://127.0.0.1:$CONSUL_PORT
	wait_for 30 consul_answers && return
	{ echo "consul did not become ready:"; tail -n 20 "$T/$name.log"; } >&2
	return 2
}

# start_runsvdir DIR: supervises DIR (made when missing); sets $pid. 1 when runit is absent.
start_runsvdir() {
	have runsvdir || return 1
	mkdir -p "$1"
	start "runsvdir-${1##*/}" runsvdir "$1"
}

# each_unread EVERY JUDGE COMMAND...: runs COMMAND, a program named pp*, for each EVERY-th call by which it asks the disk
# for something below $T, and lets that one fail. Words of those that JUDGE, which gets the exit status and finds
# what was said in $T/said, does not take; what is said undisturbed is in $T/undisturbed.
each_unread() {
	local every=$1 judge=$2 number ordinal code count=0
	shift 2
	killat -b "$T" "$T/calls" -- "$@" >"$T/undisturbed" 2>&1
	while read -r number ordinal; do
		count=$((count + 1))
		killat -b "$T" -e 5 "$number" "$ordinal" -- "$@" >"$T/said" 2>&1
		code=$?
		"$judge" "$code" || echo "call $number, the $ordinal.: exit status $code: $(cat "$T/said")"
	done < <(awk -v every="$every" '$3 == "disk" && n++ % every == 0 { print $1, $4 }' "$T/calls")
	[ "$count" -gt 2 ] || echo "it asked the disk $count times"
}
killat() { ASAN_OPTIONS=detect_leaks=0 "$BUILD_DIR/t/fault/killat" "$@"; }
can_unread() { killat -b "$T" -e 5 0 1000000 -- true >/dev/null 2>&1; [ $? = 3 ]; }
