#!/bin/bash
# What agents give up by themselves, whatever started them: as /proc says, and on a kernel that lacks a part of it.
set -u
. "$(dirname "$0")/../lib.sh"

# mask PID NAME: a set of capabilities, or another line of /proc/PID/status.
mask() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
# The helper takes its name when it has given up what it does; the runner does not wait for that.
helper() { wait_for 10 pgrep -P "$1" -x pp-helper; pgrep -P "$1" -x pp-helper; }
caps() { mask "$1" "$2" | sed 's/^0*//'; }
# What of these capabilities root has here at all.
had() { printf '%x' $((0x$1 & 0x$(mask $$ CapPrm))); }
ready() { grep -q 'Polling' "$T/$1.log"; }

toy=$BUILD_DIR/t/it/toy
mkdir "$T/store"
export PP_STORE=dir:$T/store PP_NODE=n1
# launch NAME CMD...
launch() {
	local name=$1
	shift
	start "$name" "$@" --state-dir "$T/$name.state" --listen "unix:$T/$name.sock" --log-level debug
	wait_for 10 ready "$name" || not_ok "$name starts" "$(cat "$T/$name.log")"
}

sanitized=
grep -qa __asan_init "$toy" && sanitized=yes

check_runner() {
	is "$(mask "$pid" CapInh)" 0000000000000000 "$1: nothing to inherit"
	is "$(caps "$pid" CapPrm)" "$2" "$1: the runner keeps what a store of somebody else takes"
	if [ -n "$sanitized" ]; then
		skip "$1: the runner's system calls and files" "built with sanitizers"
		return
	fi
	is "$(mask "$pid" Seccomp) $(mask "$pid" NoNewPrivs)" "2 1" "$1: its system calls are filtered, no new privileges"
	if grep -q 'This kernel has no Landlock' "$T/$1.log"; then
		skip "$1: Landlock" "this kernel has none"
	else
		check "$1: Landlock is entered, its ABI said" grep -qE "Landlock, ABI [0-9]+: writes below $T/$1.state, $T, $T only" "$T/$1.log"
	fi
}

if [ "$EUID" = 0 ]; then
	launch preparer pp-preparer
	check_runner preparer "$(had 1e)"
	is "$(caps "$(helper "$pid")" CapBnd) $(caps "$(helper "$pid")" CapPrm)" "$(had e0) $(had e0)" \
		"preparer: rounds keep what installing takes, and cannot get more"
	[ -n "$sanitized" ] || is "$(mask "$(helper "$pid")" Seccomp) $(mask "$(helper "$pid")" NoNewPrivs)" "2 1" \
		"preparer: rounds run nothing"
	launch setlive pp-setlive
	check_runner setlive "$(had 1e)"
	is "$(caps "$(helper "$pid")" CapBnd) $(mask "$(helper "$pid")" Seccomp)" "$(had eb) 0" \
		"setlive: rounds are bound, but hooks have all system calls"
	launch toy "$toy"
	is "$(caps "$(helper "$pid")" CapBnd)" "$(caps $$ CapBnd)" "an agent that says nothing: rounds keep all"
else
	skip "what root gives up" "we are not root"
fi
if can_drop; then
	mkdir -m 777 "$T/nobody"
	start user setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" --clear-groups -- \
		"$toy" --state-dir "$T/nobody/user.state" --listen "unix:$T/nobody/user.sock"
	wait_for 10 ready user || not_ok "as a person: it starts" "$(cat "$T/user.log")"
	[ -n "$sanitized" ] || is "$(mask "$pid" Seccomp) $(mask "$pid" NoNewPrivs)" "2 1" "as a person: the same"
fi

# A kernel that lacks it.
if have strace && strace -qq -e inject=landlock_create_ruleset:error=ENOSYS true 2>/dev/null && [ -z "$sanitized" ]; then
	ppctl put nodes/n1/ '{}' >/dev/null 2>&1
	run strace -f -qq -o "$T/trace" -e trace=landlock_create_ruleset -e inject=landlock_create_ruleset:error=ENOSYS \
		"$toy" --state-dir "$T/old.state" --once
	is "$status" 0 "without Landlock: it goes on"
	is "$(grep -c 'This kernel has no Landlock: the agent goes on without' <<<"$errors")" 1 "... and says so in one line"
else
	skip "without Landlock" "no strace that may, or sanitizers"
fi
done_testing
