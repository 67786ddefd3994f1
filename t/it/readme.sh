#!/bin/bash
# The README's agent, as it is printed there, builds and does what the text says.
set -u
. "$(dirname "$0")/../lib.sh"

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
