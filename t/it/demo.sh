#!/bin/bash
# The demo does what it says: as whoever we are, as nobody, and with a real etcd; it leaves nothing.
set -u
. "$(dirname "$0")/../lib.sh"

if ! have runsvdir; then skip_all "runit is not on PATH"; fi
if ! have pp-preparer || ! have pp-setlive; then skip_all "the agents are not built yet"; fi

# demo DESC CMD...: with a TMPDIR of its own, which must be empty afterwards.
demo() {
	local desc=$1 place
	shift
	place=$(mktemp -d "$T/demo.XXXXXX")
	chmod 1777 "$place"
	run env TMPDIR="$place" DEADLINE=30 "$@"
	if [ "$status" = 0 ]; then ok "$desc"; else not_ok "$desc" "$output" "$errors"; fi
	like "$output" 'version 2\.0 answers' "$desc: the next version took over"
	like "$output" 'Nothing is left behind' "$desc: it came to its end"
	is "$(find "$place" -mindepth 1 -not -path '*/platypus-ports*')" '' "$desc: no file is left"
	is "$(grep -lsaF "TMPDIR=$place" /proc/[0-9]*/environ)" '' "$desc: no process is left"
}

demo "the demo" "$ROOT/contrib/demo"
if ! can_drop; then
	skip "the demo as nobody" "only root can become nobody"
elif ! unprivileged test -x "$BUILD_DIR/bin/ppctl" -a -r "$ROOT/contrib/demo"; then
	skip "the demo as nobody" "nobody cannot read this directory"
else
	demo "the demo as nobody" setpriv --reuid="$(id -u nobody)" --regid="$(id -g nobody)" \
		--clear-groups -- "$ROOT/contrib/demo"
fi
if have etcd; then
	demo "the demo with etcd" env STORE=etcd "$ROOT/contrib/demo"
else
	skip "the demo with etcd" "etcd is not on PATH"
fi
done_testing
