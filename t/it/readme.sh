#!/bin/bash
# What the READMEs print does what they say.
#
#	t/it/readme.sh [AGENT...]      only the sessions of these agents
#
# The first block of agents/<agent>/README.md, indented or between "```sh" and "```", is a session that a newcomer
# can paste: it is run as it stands, but for /tmp/try, which is a directory of the test. Every command has to
# succeed (one that is meant to fail is written `! pp-x --once`), and what stands behind "# =>" must appear
# in the output, in this order. `<!-- needs: runsvdir root -->` anywhere in the file names what a
# machine may not have: programs, and the words root, engine (of containers) and userns (namespaces).
#
# The agent that the README at the top has for writing one builds, and works.
set -u
. "$(dirname "$0")/../lib.sh"

# ---- sessions ----

# session README [N]: the first indented block, without its indentation, or what stands between "```sh" and "```";
# of several such, the Nth.
session() {
	awk -v want="${2:-1}" '!inside && /^```sh$/ { n++; fenced = n == want; other = !fenced; next }
		other { if (/^```$/) other = 0; next }
		fenced && /^```$/ { exit }
		fenced { print; next }
		/^    / { inside = 1; print substr($0, 5); next }
		inside && /^$/ { print; next }
		inside { exit }' "$1"
}

# lacks README: what it needs and is not there; nothing when all is.
lacks() {
	local need
	for need in $(sed -n 's/^<!-- needs: \(.*\) -->$/\1/p' "$1"); do
		case $need in
		root) [ "$EUID" = 0 ] || { echo "it needs root"; return; };;
		userns) unshare -rn true 2>/dev/null || { echo "no user namespaces may be made here"; return; };;
		engine) docker version >/dev/null 2>&1 || { echo "no container engine answers"; return; };;
		*) have "$need" || { echo "$need is not on PATH"; return; };;
		esac
	done
}

# In the order of the text; says which is missing.
promises_kept() {
	local said=$2 promise
	while IFS= read -r promise; do
		[[ $said == *"$promise"* ]] || { echo "not said: $promise"; return 1; }
		said=${said#*"$promise"}
	done < <(sed -n 's/.*# => //p' "$1")
}

# run_session AGENT[+N]: leaves "ok" or what is wrong in $T/AGENT[+N].result.
run_session() {
	local agent=$1 try=$T/$1.try text=$T/$1.session
	mkdir -p "$try"
	session "$ROOT/agents/${agent%+*}/README.md" "${agent#"${agent%+*}"}" | sed "s|/tmp/try|$try|g" >"$text"
	# Monitor mode: a pasted session has jobs. Its directory may be anywhere.
	if ! (cd "$try" && TMPDIR=$T timeout "$((50 * PATIENCE))" bash -em "$text") >"$T/$agent.said" 2>&1 </dev/null; then
		echo "a command failed:" >"$T/$agent.result"
	elif ! promises_kept "$text" "$(cat "$T/$agent.said")" >"$T/$agent.result"; then
		:
	else
		echo ok >"$T/$agent.result"
		return
	fi
	tail -n 30 "$T/$agent.said" >>"$T/$agent.result"
}

# The name of each session of an agent: "ppctl", "ppctl+2".
names() {
	local n=2
	echo "$1"
	while [ "$n" -le "$(grep -c '^```sh$' "$ROOT/agents/$1/README.md")" ]; do echo "$1+$n"; n=$((n + 1)); done
}

sessions() {
	local agent name why readme running=()
	for agent; do
		readme=$ROOT/agents/$agent/README.md
		why=$(lacks "$readme")
		if [ -z "$(session "$readme")" ]; then
			not_ok "$agent: its README has a session"
		elif [ -n "$why" ]; then
			skip "$agent: the session of its README" "$why"
		else
			for name in $(names "$agent"); do
				run_session "$name" &
				running+=("$name:$!")
			done
		fi
	done
	for agent in "${running[@]}"; do
		wait "${agent#*:}"
		agent=${agent%:*}
		if [ "$(cat "$T/$agent.result")" = ok ]; then
			ok "$agent: the session of its README does what it says"
		else
			not_ok "$agent: the session of its README does what it says" "$(cat "$T/$agent.result")"
		fi
	done
}

if [ $# != 0 ]; then
	sessions "$@"
	done_testing
fi
agents=()
for agent in "$ROOT"/agents/*/README.md; do agents+=("$(basename "$(dirname "$agent")")"); done
sessions "${agents[@]}"

# ---- an agent of one's own ----

# block N: the Nth C block of the README.
block() { awk -v want="$1" '/^```c$/ { n++; inside = n == want; next } /^```$/ { inside = 0 } inside' "$ROOT/README.md"; }

build() {
	local flags=()
	case $BUILD_DIR in *address-undefined*) flags=(-fsanitize="address,undefined");; esac
	# shellcheck disable=SC2046,SC2086 # lists of flags
	gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wmissing-prototypes -Werror "${flags[@]}" -I"$ROOT/include" \
		-DINTENT_VERSION='"0"' $(pkg-config --cflags $packages) -o "$T/pp-stamp" "$T/plan.c" "$T/agent.c" \
		"$BUILD_DIR/libintent.a" $(pkg-config --libs $packages)
}

packages=$(sed -n 's/^packages := //p' "$ROOT/Makefile")
block 1 >"$T/plan.c"
block 2 >"$T/agent.c"
check "the README's agent compiles without a warning" build

mkdir -p "$T/base"
export PP_STORE=dir:$T/store PP_NODE=n1
stamp() { run "$T/pp-stamp" --state-dir "$T/state" "$@"; }
put() { check "put $1" ppctl put "$1" "$2"; }

have ppctl || skip_all "ppctl is not built yet"
check "a store is made" ppctl init "$PP_STORE"
put clusters/hello/live/deploy_config "{\"basedir\": \"$T/base\"}"
put clusters/hello/live/config '{"versions": {"1.0": "active"}}'
check "node add" ppctl node add hello live

stamp --dry-run
is "$status" 2 "--dry-run finds work"
like "$errors$output" 'it says "", 1.0 is active' "and says why"
refute "--dry-run changes nothing" test -e "$T/base/ACTIVE"
stamp --once
is "$status" 0 "--once converges"
is "$(cat "$T/base/ACTIVE")" 1.0 "the file names the active version"
stamp --dry-run
is "$status" 0 "a second round finds nothing to do"
done_testing
