#!/bin/bash
# One suite for every store engine: dir: (as root and as nobody), a real etcd, a real Consul.
set -u
. "$(dirname "$0")/../lib.sh"

programs=(conformance conformance-session conformance-loop)

# begin LABEL URL [CMD...]: all programs, which CMD runs, side by side; one after another on a directory, where who
# writes has all others wait, and on a slow disk not everybody's turn would come in time.
begin() {
	local label=$1 url=$2 program
	shift 2
	for program in "${programs[@]}"; do
		{
			"$@" "$BUILD_DIR/t/it/$program" "$url" "$label" >"$T/$label.$program" 2>&1
			echo "$?" >"$T/$label.$program.status"
		} &
		jobs[$label]+=" $!"
		[[ $url != dir:* ]] || wait "$!"
	done
}

# finish LABEL: wait for them and say what they said.
finish() {
	local program
	# shellcheck disable=SC2086 # a list
	wait ${jobs[$1]}
	for program in "${programs[@]}"; do
		collect "$(cat "$T/$1.$program.status")" "$1" "$program"
	done
}

# The program's own lines, numbered on.
collect() {
	local line seen='' failed=''
	while IFS= read -r line; do
		case $line in
		'ok '*) ok "${line#ok * - }"; seen=yes;;
		'not ok '*) not_ok "${line#not ok * - }"; seen=yes failed=yes;;
		*) printf '%s\n' "$line";;
		esac
	done <"$T/$2.$3"
	[ -n "$seen" ] || not_ok "$2: $3 printed no result (status $1)"
	[ "$1" = 0 ] || [ -n "$failed" ] || not_ok "$2: $3 ended with status $1"
}

declare -A jobs=()

# A server's cases mostly wait for sessions to expire: the directory's run meanwhile.
etcd='' consul=''
if start_etcd; then
	etcd=$pid
	begin etcd "$ETCD_URL"
fi
if start_consul; then
	consul=$pid
	begin consul "$CONSUL_URL"
fi

mkdir "$T/dir"
begin dir "dir:$T/dir"
finish dir
is "$(find "$T/dir" -name 'stage-*' -o -name journal)" '' 'dir: no leftovers'
is "$(find "$T/dir" -mindepth 1 -type d -empty -not -path '*/.intent/*')" '' \
	'dir: no empty directories'

if can_drop; then
	install -d -o nobody -g "$(id -g nobody)" "$T/nobody"
	begin dir-as-nobody "dir:$T/nobody" unprivileged
	finish dir-as-nobody
	is "$(find "$T/nobody" ! -user nobody)" '' 'dir-as-nobody: everything is its own'
else
	skip 'dir-as-nobody: conformance' 'needs root and setpriv'
fi

if [ -n "$etcd" ]; then
	finish etcd
	stop "$etcd"
else
	skip 'etcd: conformance' 'ETCD IS NOT ON PATH: this engine was not tested'
fi

if [ -n "$consul" ]; then
	finish consul
	stop "$consul"
else
	skip 'consul: conformance' 'CONSUL IS NOT ON PATH: this engine was not tested'
fi

done_testing
