# For t/it/*.sh: TAP without counting, a directory, and servers that never outlive the test.
#
#	#!/bin/bash
#	set -u
#	. "$(dirname "$0")/../lib.sh"
#	start_etcd || skip_all "etcd is not on PATH"
#	run ppctl --store "$ETCD_URL" put nodes/n1/slug '{"cluster": "c"}'
#	is "$status" 0 "put exits 0"
#	done_testing
#
# What a test finds here:
#
#	$T            a fresh directory, mode 0755, removed at exit (KEEP=1 keeps it)
#	$BUILD_DIR    the object directory; its bin/ is first on PATH
#	$ROOT         the source tree
#
# A test that ends without done_testing has failed. Everything works under `set -u`, and under
# `set -e` too, though none is needed.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${BUILD_DIR:=$ROOT/build/gcc}"
export BUILD_DIR
PATH=$BUILD_DIR/bin:$PATH:/usr/sbin:/sbin
# Can programs be started from memory, and has it two GB left?
in_memory() {
	[ -w /dev/shm ] && [[ ,$(findmnt -no OPTIONS -T /dev/shm), != *,noexec,* ]] &&
		[ "$(df --output=avail /dev/shm | tail -n 1)" -gt 2000000 ]
} 2>/dev/null
# Kills do not care for a disk, syncs take long, and no test shall fail because its machine's disk is slow. A script that
# needs a disk says `: "${TMPDIR:=/tmp}"` first.
if [ -z "${TMPDIR:-}" ] && in_memory; then export TMPDIR=/dev/shm; fi
T=$(mktemp -d "${TMPDIR:-/tmp}/platypus-test.XXXXXX") || exit 1
chmod 755 "$T"
# Nothing of the person's own set-up may leak in.
umask 022
unset PP_STORE PP_CONFIG PP_NODE CONSUL_HTTP_ADDR CONSUL_HTTP_TOKEN ETCDCTL_ENDPOINTS \
	ETCDCTL_USER NOTIFY_SOCKET STATE_DIRECTORY RUNTIME_DIRECTORY
export XDG_STATE_HOME=$T/.xdg-state XDG_RUNTIME_DIR=$T/.xdg-run NO_COLOR=1 LC_ALL=C.UTF-8

: "${PATIENCE:=4}" # of wait_for, http and stop: no test fails because its machine is slow
export PATIENCE   # the demos too
export ETCDCTL_COMMAND_TIMEOUT=60s # instead of 5 s

tests_run=0
tests_done=
# shellcheck source=t/process.sh
. "$ROOT/t/process.sh"

# ---- results ----

diag() { printf '%s\n' "$@" | sed 's/^/# /'; }

ok() { tests_run=$((tests_run + 1)); printf 'ok %d - %s\n' "$tests_run" "$1"; }

# not_ok DESC [LINE...]: the lines say what was seen. Also counts in a subshell.
not_ok() {
	tests_run=$((tests_run + 1))
	: >"$T/.failed"
	printf 'not ok %d - %s\n' "$tests_run" "$1"
	shift
	[ $# = 0 ] || diag "$@"
	return 0
}

skip() { tests_run=$((tests_run + 1)); printf 'ok %d - %s # SKIP %s\n' "$tests_run" "$1" "$2"; }

# The whole file, loudly.
skip_all() { skip "$(basename "$0" .sh)" "$1"; done_testing; }

# is GOT WANT DESC
is() {
	if [ "$1" = "$2" ]; then ok "$3"; else not_ok "$3" "got:  $1" "want: $2"; fi
}

isnt() {
	if [ "$1" != "$2" ]; then ok "$3"; else not_ok "$3" "got what it must not be: $1"; fi
}

# like GOT EXTENDED-REGEX DESC
like() {
	if [[ $1 =~ $2 ]]; then ok "$3"; else not_ok "$3" "got: $1" "does not match: $2"; fi
}

unlike() {
	if [[ ! $1 =~ $2 ]]; then ok "$3"; else not_ok "$3" "got: $1" "matches: $2"; fi
}

# check DESC CMD...: the command succeeds; its output is shown when it does not.
check() {
	local desc=$1 said code
	shift
	# Not in a command substitution: the command may be a function that sets variables.
	if "$@" >"$T/.check" 2>&1 </dev/null; then
		ok "$desc"
	else
		code=$?
		said=$(tail -n 30 "$T/.check")
		not_ok "$desc" "command: $*" "exit status $code" "$said"
	fi
}

# refute DESC CMD...: the command fails.
refute() {
	local desc=$1
	shift
	if "$@" >"$T/.check" 2>&1 </dev/null; then
		not_ok "$desc" "succeeded: $*" "$(tail -n 30 "$T/.check")"
	else
		ok "$desc"
	fi
}

# run CMD... sets $status, $output (stdout) and $errors (stderr); never fails itself.
# shellcheck disable=SC2034 # for the tests
run() {
	status=0
	"$@" >"$T/.out" 2>"$T/.err" </dev/null || status=$?
	output=$(cat "$T/.out")
	errors=$(cat "$T/.err")
}

# Last line of every test. TAP's plan is left out: t/run counts.
done_testing() {
	tests_done=yes
	[ ! -e "$T/.failed" ] && [ "$tests_run" -gt 0 ]
	exit $?
}

at_exit() {
	local code=$?
	trap '' INT TERM HUP
	stop_all
	sweep
	give_ports_back
	if [ -n "${KEEP:-}" ]; then
		echo "# kept: $T"
	else
		chmod -R u+rwX "$T" 2>/dev/null
		rm -rf "$T"
	fi
	if [ -z "$tests_done" ]; then
		echo "not ok $((tests_run + 1)) - $(basename "$0") ended before done_testing (status $code)"
		[ "$code" != 0 ] || code=1
	fi
	exit "$code"
}
trap at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- in a network of its own ----

# apart ARG...: begins the test anew where only its own processes are, if that may be: bridges and mounts that a
# container engine leaves go with it. Sets $is_apart.
is_apart=''
# shellcheck disable=SC2034 # for the tests
apart() {
	if [ -n "${TEST_APART:-}" ]; then
		unset TEST_APART
		is_apart=yes
		ip link set lo up
	elif [ "$EUID" = 0 ] && have ip && unshare --net --mount true 2>/dev/null; then
		tests_done=yes
		rm -rf "$T"
		TEST_APART=yes exec unshare --net --mount -- "$0" "$@"
	fi
}

# ---- as somebody else ----

# unprivileged CMD...: as nobody when we are root, else as we are.
unprivileged() {
	if [ "$EUID" != 0 ]; then "$@"; return; fi
	setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" --clear-groups -- "$@"
}

# The programs are in nobody's reach: in a tree below a private home they are copied.
reachable() {
	unprivileged test -x "$BUILD_DIR/bin/ppctl" || [ -d "$T/.bin" ] || { cp -a "$BUILD_DIR/bin" "$T/.bin" && PATH=$T/.bin:$PATH; }
}

# Can we become nobody? For tests that need both.
can_drop() { [ "$EUID" = 0 ] && have setpriv && id nobody >/dev/null 2>&1; }
