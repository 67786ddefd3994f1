#!/bin/bash
# What holds for every program: help, version, completion, wrong use, and a manual that names every option.
set -u
. "$(dirname "$0")/../lib.sh"

# options PROGRAM: the names that its completion knows, which are all rows of its tables.
options() { "$1" --completion=bash | grep -oE -- '--[a-z0-9-]+' | sort -u; }

# mdoc writes -name with Fl; a hyphen may be escaped.
is_described() {
	local name=${1#--}
	shift
	sed 's/\\-/-/g' "$@" | grep -qE -- "(Fl|Oc|,) +-?-?$name( |$)|Fl .*[ ,]-*$name( |$)"
}

one() {
	local program=$1 name manual option usage=100 missing='' page
	name=$(basename "$program")
	run "$program" --version
	like "$status $output" "^0 $name [0-9]" "$name --version"
	run "$program" --help
	is "$status" 0 "$name --help exits 0"
	is "$(printf '%s\n' "$output" | expand | awk 'length > 100')" '' "$name --help fits a screen"
	run "$program" --stroe=x
	[ "$name" = ppctl ] && usage=2
	is "$status" "$usage" "$name: a wrong option is wrong use"
	like "$errors" 'stroe.*store' "$name: and the right one is named"
	refute "$name --help notices that nobody could read it" sh -c "'$program' --help >/dev/full"
	"$program" --completion=bash >"$T/completion"
	check "$name: bash takes its completion" bash -n "$T/completion"
	check "$name: bash completes --store" bash -c "
		compopt() { :; }
		. '$T/completion'
		COMP_WORDS=($name --sto) COMP_CWORD=1
		_${name//-/_}
		[[ \" \${COMPREPLY[*]} \" == *' --store= '* ]]"
	manual=
	for page in "$ROOT"/agents/*/"$name".[18]; do [ -e "$page" ] && manual=$page; done
	if [ -z "$manual" ]; then not_ok "$name has a manual"; return; fi
	for option in $(options "$program"); do
		is_described "$option" "$manual" "$ROOT/libintent/intent.7" || missing+=" $option"
	done
	is "$missing" '' "$name: every option is described in its manual or in intent(7)"
}

for program in "$BUILD_DIR"/bin/*; do
	# A link is another name of one of them.
	[ -x "$program" ] && [ ! -h "$program" ] && one "$program"
done
[ "$tests_run" != 0 ] || skip_all "no program is built yet"
done_testing
