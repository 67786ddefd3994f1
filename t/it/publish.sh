#!/bin/bash
# The preparer's writer and publisher against an unpacker that was taken over.
set -u
. "$(dirname "$0")/../lib.sh"

mkdir "$T/top"
"$BUILD_DIR/t/it/publish" "$T/top" >"$T/said" 2>&1
code=$?
while IFS= read -r line; do
	case $line in
	*'# SKIP '*) line=${line#ok * - }; skip "${line%% # SKIP*}" "${line##*# SKIP }";;
	'ok '*) ok "${line#ok * - }";;
	'not ok '*) not_ok "${line#not ok * - }";;
	*) diag "${line#\# }";;
	esac
done <"$T/said"
is "$code" 0 "the program ends well"
done_testing
