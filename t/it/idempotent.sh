#!/bin/bash
# What is converged is left alone: no change on disk, no signal, no write to the store.
#
# A second --once may write below its state directory; a running agent's second round not
# even there. Seen twice: in the system calls, and in inodes and times of change of every file.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/fault/worlds.sh"
have strace || skip_all "strace is not on PATH"

calls=creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,symlink,symlinkat,link,linkat
calls+=,mknod,mknodat,chmod,fchmod,fchmodat,chown,lchown,fchown,fchownat,truncate,ftruncate,fallocate
calls+=,utimensat,setxattr,fsetxattr,mount,umount2,write,writev,pwrite64,pwritev,sendfile,copy_file_range
calls+=,kill,openat,open,openat2,exit_group

# Calls that others of the family came in between of, in one line again.
joined() {
	awk '/ <unfinished \.\.\.>$/ { sub(/ <unfinished \.\.\.>$/, ""); begun[$1] = $0; next }
		/ <\.\.\. .* resumed>/ { sub(/^[0-9]+ +<\.\.\. .* resumed>/, begun[$1]) }
		{ print }' "$1"
}

# Successful calls of a trace that change something. An open that creates is seen in the files; pipes,
# sockets, devices and memory are nobody else's; $T/*.log is where we sent the words.
changes() {
	joined "$1" | grep -E ' = [0-9]' | grep -vE ' (open|openat|openat2)\(' |
		grep -vE 'kill\([0-9-]+, 0\)|exit_group' |
		grep -vE ' (write|writev|pwrite64|ftruncate|fchmod|fallocate)\([0-9]+<(pipe|socket|anon_inode|UNIX|TCP|/dev/|/memfd:)' |
		grep -vF "<$T/seen.log>"
}
truncating() { joined "$1" | grep -E ' = [0-9]' | grep -E ' open(at|at2)?\(.*O_TRUNC'; }

revision() {
	case $STORE in
	etcd:*) http POST "$ETCD_PORT" /v3/kv/range '{"key": "AA=="}' | sed 's/.*"revision":"\([0-9]*\)".*/\1/';;
	*) cat "$W/store/.intent/revision";;
	esac
}

files() { "$tree" -t -x '*/supervise' -x 'app/logs/*' "$@" "$W"; }

# same NAME BEFORE AFTER: two listings.
same() {
	if cmp -s "$2" "$3"; then ok "$1"; else not_ok "$1" "$(diff "$2" "$3" | head -20)"; fi
}

again_once() {
	local what=$1 revision
	"${command[@]}" >"$T/seen.log" 2>&1 || { not_ok "$what: converges" "$(cat "$T/seen.log")"; return 1; }
	revision=$(revision)
	files -x state -d 'store/*' >"$T/before"
	strace -f -qq -y -e "trace=$calls" -o "$T/trace" "${command[@]}" >"$T/seen.log" 2>&1
	is $? 0 "$what: a second --once exits 0"
	files -x state -d 'store/*' >"$T/after"
	is "$({ changes "$T/trace"; truncating "$T/trace"; } | grep -vF "$W/state")" "" \
		"$what: a second --once makes no mutating call outside its state directory"
	same "$what: a second --once leaves every file alone" "$T/before" "$T/after"
	is "$(revision)" "$revision" "$what: a second --once does not write to the store"
}

# A round has ended: a process other than the two that stay.
rounds() { grep -c 'exit_group' "$T/trace"; }
more_rounds() { [ "$(rounds)" -gt "$1" ]; }
# No round is under way, and nobody does anything: the trace stays as it is.
at_rest() {
	local size
	size=$(stat -c %s "$T/trace")
	sleep 0.5
	! pgrep -P "$(pgrep -P "$agent_pid" -x pp-helper)" -x pp-round && [ "$(stat -c %s "$T/trace")" = "$size" ]
}
# By the running agent, not by what a --once left there.
is_settled() {
	local said
	said=$(ppctl --store "$STORE" get "reality/status/$1/n1/app") || return
	[[ $said == *'"converged"'* && $said != *'"once"'* ]]
}

again_running() {
	local what=$1 agent=$2 argument running=() revision ended agent_pid size
	for argument in "${command[@]}"; do [ "$argument" = --once ] || running+=("$argument"); done
	running+=(--interval 1h --listen none)
	: >"$T/seen.log"
	strace -f -qq -y -e "trace=$calls" -o "$T/trace" "${running[@]}" >"$T/seen.log" 2>&1 </dev/null &
	adopt $!
	local tracer=$!
	wait_for 20 is_settled "$agent" || { not_ok "$what: converges" "$(cat "$T/seen.log")"; stop "$tracer"; return; }
	read -r agent_pid _ <"/proc/$tracer/task/$tracer/children"
	# What came of being woken by one's own writes is over.
	wait_for 10 at_rest
	revision=$(revision) ended=$(rounds)
	files >"$T/before"
	size=$(stat -c %s "$T/trace")
	kill -USR1 "$agent_pid"
	wait_for 20 more_rounds "$ended" || not_ok "$what: SIGUSR1 starts a round"
	wait_for 10 at_rest
	files >"$T/after"
	tail -c "+$((size + 1))" "$T/trace" >"$T/round"
	is "$(changes "$T/round"; truncating "$T/round")" "" "$what: a running agent's second round makes no mutating call"
	same "$what: a running agent's second round leaves every file alone" "$T/before" "$T/after"
	is "$(revision)" "$revision" "$what: a running agent's second round does not write to the store"
	isnt "$ended" 0 "$what: there was a first round"
	kill -TERM "$agent_pid"
	wait_for 10 gone "$tracer" || not_ok "$what: SIGTERM ends it"
}

gone() { ! [ -d "/proc/$1" ] || ! proc_stat "$1"; }

both() {
	local world=$1 agent=$2 what
	what="$agent on ${STORE%%:*}:"
	W=$T/$world.${STORE%%:*}
	mkdir -p "$W"
	if ! "world_$world" >"$T/setup" 2>&1; then not_ok "$what its world can be made" "$(cat "$T/setup")"; return; fi
	"enter_$world"
	"command_$world"
	again_once "$what" && again_running "$what" "$agent"
	"leave_$world"
}

stores() {
	local world=$1 agent=$2
	[ -x "$BUILD_DIR/bin/pp-$agent" ] || { skip "$agent" "pp-$agent is not built"; return; }
	STORE=dir:$T/$world.dir/store
	both "$world" "$agent"
	[ -n "$ETCD_URL" ] || { skip "$agent on etcd" "etcd is not on PATH"; return; }
	STORE=$ETCD_URL
	both "$world" "$agent"
}

start_etcd || :
stores install preparer
if have runsv; then
	stores launch setlive
	stores report health-reporter
else
	skip "setlive, health-reporter" "runit is not on PATH"
fi
done_testing
