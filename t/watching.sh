# For tests that hurt a real store under a watch. After t/lib.sh.

watcher=$BUILD_DIR/t/it/watcher

# watch NAME URL: the snapshots of a/ in $T/NAME.log.
watch() { start "$1" "$watcher" watch "$2" a/; }

# When NAME first saw VALUE, in ms.
seen_at() { awk -v value="$2" '$2 == value { print $1; exit }' "$T/$1.log"; }
saw() { [ -n "$(seen_at "$1" "$2")" ]; }

# begins NAME URL VALUE: the watch sees a first value.
begins() {
	"$watcher" heal "$2" a/k "$3" >/dev/null && wait_for 20 saw "$1" "$3"
}

# lost NAME FROM TO: for how many ms of these the machine did not let it run.
lost() { awk -v from="$2" -v to="$3" '$2 == "stalled" && $1 > from && $1 - $3 < to { ms += $3 } END { print ms + 0 }' "$T/$1.log"; }

# heals NAME URL VALUE SECONDS DESC: waits until the store heals, writes, and wants NAME to see it in time.
heals() {
	local when seen took
	if ! when=$("$watcher" heal "$2" a/k "$3"); then
		not_ok "$5" "the store did not heal"
		return
	fi
	wait_for $(($4 + 10)) saw "$1" "$3"
	seen=$(seen_at "$1" "$3")
	sleep 0.1 # a stall is told after what was seen at its end
	took=${seen:+$((seen - when - $(lost "$1" "$when" "$seen")))}
	if [ -n "$took" ] && [ "$took" -le $(($4 * 1000)) ]; then
		ok "$5 ($took ms)"
	else
		not_ok "$5" "seen after ${seen:+$((seen - when))} ms, of which it could run $took" "$(tail -n 8 "$T/$1.log")"
	fi
}
