#!/bin/bash
# Two hundred applications on one node are updated at once; one of them does not stop before it is told that it is
# enough, one never does by itself. The others do not wait for them.
# long
set -u
. "$(dirname "$0")/../lib.sh"
have runsvdir || skip_all "runit is not on PATH"
[ -x "$BUILD_DIR/bin/pp-setlive" ] || skip_all "pp-setlive is not built"

count=200 slow=app100 deaf=app101
store=dir:$T/store

# documents VERSION: all configurations with this version active.
documents() {
	seq 1 "$count" | awk -v version="$1" '{
		printf "%s\"clusters/app%d/c/config\": {\"versions\": {\"1\": \"%s\", \"2\": \"%s\"}}", (NR > 1 ? ",\n" : "{"),
			$1, version == 1 ? "active" : "prep", version == 2 ? "active" : "prep"
	} END { print "}" }'
}

world() {
	local i base
	ppctl --node n1 init "$store" || return
	mkdir -p "$T/runit" "$T/stage"
	seq 1 "$count" | awk -v base="$T/base" '{
		printf "%s\"nodes/n1/app%d\": {\"cluster\": \"c\"}", (NR > 1 ? ",\n" : "{"), $1
		printf ",\n\"clusters/app%d/c/deploy_config\": {\"basedir\": \"%s/app%d\", \"stop_timeout\": \"10s\",", $1, base, $1
		printf " \"health\": {\"up\": \"100ms\", \"deadline\": \"60s\"}}"
	} END { print "}" }' >"$T/places.json"
	for ((i = 1; i <= count; i++)); do
		base=$T/base/app$i/installs/app${i}
		mkdir -p "${base}_1/bin" "${base}_2/bin"
		printf '#!/bin/sh\nexec sleep 100000\n' >"${base}_1/bin/launch"
		case app$i in
		"$slow") printf '#!/bin/sh\ntrap "" TERM\nwhile [ ! -e "%s" ]; do sleep 1; done\n' "$T/enough" >"${base}_1/bin/launch";;
		"$deaf") printf '#!/bin/sh\ntrap "" TERM\nwhile :; do sleep 1; done\n' >"${base}_1/bin/launch";;
		esac
		printf '#!/bin/sh\nexec sleep 100000\n' >"${base}_2/bin/launch"
		chmod 755 "${base}"_[12]/bin/launch
	done
	ppctl --store "$store" import "$T/places.json" && documents 1 >"$T/1.json" && documents 2 >"$T/2.json" &&
		ppctl --store "$store" import "$T/1.json"
}

# How many services run in version $1.
running() {
	local pid links=()
	while read -r pid; do links+=("/proc/$pid/cwd"); done < <(cat "$T"/stage/*/supervise/pid 2>/dev/null)
	[ ${#links[@]} = 0 ] && { echo 0; return; }
	readlink "${links[@]}" 2>/dev/null | grep -c "_$1\$"
}
run_in() { [ "$(running "$1")" -ge "$2" ]; }
# How many applications the agent calls converged in version $1.
converged() {
	ppctl --store "$store" export --all reality/status/setlive/n1/ | tr -d ' \n' | sed 's/"reality/\n&/g' |
		grep '"state":"converged"' | grep -c "\"current\":\"$1\""
}
are_converged() { [ "$(converged "$1")" -ge "$2" ]; }
seconds_since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f\n", to - from }'; }

check "a world of $count applications" world
[ ! -e "$T/.failed" ] || done_testing
start_runsvdir "$T/runit"
start setlive "$BUILD_DIR/bin/pp-setlive" --store "$store" --node n1 --state-dir "$T/state" --listen none \
	--runit "$T/runit" --runit-stage "$T/stage" --supervise-timeout 60s
from=$EPOCHREALTIME
if ! wait_for 60 are_converged 1 "$count"; then
	not_ok "all $count run" "$(running 1) run, $(converged 1) converged" "$(tail -n 20 "$T/setlive.log")"
	done_testing
fi
ok "all $count run"
diag "first launch of $count: $(seconds_since "$from") s"
check "one that stops slowly has all the time it needs" ppctl --store "$store" put "clusters/$slow/c/deploy_config" \
	"{\"basedir\": \"$T/base/$slow\", \"stop_timeout\": \"1h\", \"health\": {\"up\": \"100ms\", \"deadline\": \"60s\"}}"
# runsv is deaf for a second when a service ends within a second of its start.
sleep 1
from=$EPOCHREALTIME
check "all get another version at once" ppctl --store "$store" import "$T/2.json"
if wait_for 60 run_in 2 $((count - 1)); then
	diag "$((count - 1)) run the new version after $(seconds_since "$from") s"
	ok "the others run the new version, also who had to be killed"
else
	not_ok "the others run the new version, also who had to be killed" "only $(running 2) after $(seconds_since "$from") s" \
		"$(tail -n 20 "$T/setlive.log")"
fi
if wait_for 60 are_converged 2 $((count - 1)); then
	ok "the others are converged"
else
	not_ok "the others are converged" "only $(converged 2)"
fi
diag "$(converged 2) converged after $(seconds_since "$from") s"
is "$(running 1)" 1 "the slow one is still stopping meanwhile"
: >"$T/enough"
wait_for 60 are_converged 2 "$count"
is "$(converged 2)" "$count" "the slow one follows when it has stopped"
diag "all $count after $(seconds_since "$from") s"
done_testing
