#!/bin/bash
# System definitions: test-data/systems/<case>.txt compiled, and what comes out, to the byte; and a definition on its way
# into a store.
#
# A case is "-- NAME --" lines, each before a file's text. "command" says how ppctl is called; what it must print is
# "documents" (standard output) or "faults" (standard error), @ being the directory. UPDATE=1 writes these two anew: read
# the difference before you keep it.
set -u
. "$(dirname "$0")/../lib.sh"
export PP_STORE=dir:$T/store PP_NODE=web1
ppctl init "$PP_STORE" >/dev/null 2>&1
# For a read that never ends: a program's answer, not a hope.
bounded() { timeout 100 "$@"; }

# All cases at once: their files below cases/NAME/, those that say what is expected below cases/NAME.want/.
unpack() {
	awk -v top="$T/cases/" -v list="$1" '
		FNR == 1 { name = FILENAME; sub(/.*\//, "", name); sub(/\.txt$/, "", name); close(out); out = "" }
		/^-- .* --$/ {
			close(out)
			out = top name ($2 ~ /^(command|documents|faults)$/ ? ".want/" : "/") $2
			path = out
			if (list && sub(/\/[^\/]*$/, "", path) && !seen[path]++) print path
			else if (!list) printf "" >out
			next
		}
		out && !list { print >out }' "$ROOT"/test-data/systems/*.txt
}
unpack list | xargs mkdir -p
unpack ''

for file in "$ROOT"/test-data/systems/*.txt; do
	name=${file##*/} name=${name%.txt} dir=$T/cases/${file##*/}
	dir=${dir%.txt}
	read -ra words <"$dir.want/command"
	run bounded ppctl "${words[@]}" --directory "$dir"
	documents=${output//$dir/@} faults=${errors//$dir/@}
	if [ -n "${UPDATE:-}" ]; then
		awk '/^-- (documents|faults) --$/ { exit } { print }' "$file" >"$T/case"
		[ -z "$documents" ] || printf -- '-- documents --\n%s\n' "$documents" >>"$T/case"
		[ -z "$faults" ] || printf -- '-- faults --\n%s\n' "$faults" >>"$T/case"
		cat "$T/case" >"$file"
	fi
	want_documents='' want_faults=''
	[ ! -e "$dir.want/documents" ] || want_documents=$(<"$dir.want/documents")
	[ ! -e "$dir.want/faults" ] || want_faults=$(<"$dir.want/faults")
	if [ "$documents" = "$want_documents" ] && [ "$faults" = "$want_faults" ] &&
		[ "$status" = $((${#want_faults} > 0)) ]; then
		ok "$name"
	else
		diff <(echo "$want_documents$want_faults") <(echo "$documents$faults") >"$T/diff"
		not_ok "$name" "exit status $status" "$(head -n 20 "$T/diff")"
	fi
done
if [ "$tests_run" -ge 50 ]; then ok "there are $tests_run cases"; else not_ok "there are only $tests_run cases"; fi

done_testing
