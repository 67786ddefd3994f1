#!/bin/bash
# System definitions: test-data/systems/<case>.txt compiled, and what comes out, to the byte; and a definition on its way
# into a store.
#
# A case is "-- NAME --" lines, each before a file's text. "command" says how ppctl is called; what it must print is
# "documents" (standard output) or "faults" (standard error), @ being the directory. UPDATE=1 writes these two anew: read
# the difference before you keep it.
set -u
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
. "$(dirname "$0")/../lib.sh"
export PP_STORE=dir:$T/store PP_NODE=web1
ppctl init "$PP_STORE" >/dev/null 2>&1
# For a read that never ends: a program's answer, not a hope.
bounded() { timeout 20 "$@"; }

# unpack CASE DIR: its files; those of no directory are sysdef.yaml's. The expected ones land in DIR.want/.
unpack() {
	awk -v dir="$2" '
		/^-- .* --$/ {
			name = $2
			if (out) close(out)
			out = (name ~ /^(command|documents|faults)$/ ? dir ".want/" : dir "/") name
			path = out; sub(/\/[^\/]*$/, "", path)
			system("mkdir -p " path)
			printf "" >out
			next
		}
		out { print >out }' "$1"
}

for file in "$ROOT"/test-data/systems/*.txt; do
	name=$(basename "$file" .txt) dir=$T/cases/$name
	unpack "$file" "$dir"
	read -ra words <"$dir.want/command"
	run bounded ppctl "${words[@]}" --directory "$dir"
	documents=${output//$dir/@} faults=${errors//$dir/@}
	if [ -n "${UPDATE:-}" ]; then
		awk '/^-- (documents|faults) --$/ { exit } { print }' "$file" >"$T/case"
		[ -z "$documents" ] || printf -- '-- documents --\n%s\n' "$documents" >>"$T/case"
		[ -z "$faults" ] || printf -- '-- faults --\n%s\n' "$faults" >>"$T/case"
		cat "$T/case" >"$file"
	fi
	want_documents=$(cat "$dir.want/documents" 2>/dev/null) want_faults=$(cat "$dir.want/faults" 2>/dev/null)
	if [ "$documents" = "$want_documents" ] && [ "$faults" = "$want_faults" ] &&
		[ "$status" = "$([ -n "$want_faults" ] && echo 1 || echo 0)" ]; then
		ok "$name"
	else
		diff <(echo "$want_documents$want_faults") <(echo "$documents$faults") >"$T/diff"
		not_ok "$name" "exit status $status" "$(head -n 20 "$T/diff")"
	fi
done
if [ "$tests_run" -ge 50 ]; then ok "there are $tests_run cases"; else not_ok "there are only $tests_run cases"; fi

done_testing
