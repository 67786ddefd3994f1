#!/bin/bash
# The directory store: writers killed at every system call and at random, and failing disks.
set -u
. "$(dirname "$0")/../lib.sh"

tool=$BUILD_DIR/t/it/dir-kill
store=dir:$T/store
mkdir "$T/store"

leftovers() { find "$T/store" -name 'stage-*' -o -name journal; }

# Neither does LeakSanitizer work under strace nor is it the subject here.
export ASAN_OPTIONS=detect_leaks=0

# calls COMMAND: "NAME ORDINAL" of each system call that changes something; to be killed between
# two others is to be killed before the later one.
calls() {
	"$tool" "$store" reset
	strace -qq -o "$T/trace" "$tool" "$store" "$1" || return
	awk -F'(' '
		{ seen[$1]++ }
		/^(p?write|fsync|rename|unlink|mkdir|rmdir|link|fchmod|flock|exit_group)|O_CREAT/ {
			print $1, seen[$1] }' "$T/trace"
}

# walk COMMAND ALLOWED: kill it at each of these; what is left must be one of ALLOWED.
walk() {
	local name nth points=0 bad=() state outcome=''
	"$tool" "$store" reset
	while read -r name nth <&3; do
		points=$((points + 1))
		strace -qq -o /dev/null -e trace="$name" \
			-e inject="$name:signal=KILL:when=$nth" "$tool" "$store" "$1" >/dev/null
		state=$("$tool" "$store" check)
		case " $2 " in
		*" $state "*) ;;
		*) bad+=("$name $nth: $state");;
		esac
		outcome+=$state$'\n'
		"$tool" "$store" reset || bad+=("reset after $name $nth")
		[ -z "$(leftovers)" ] || bad+=("$name $nth left $(leftovers)")
	done 3<"$T/calls" 2>/dev/null
	is "${bad[*]}" '' "$1: killed at $points system calls, all or nothing every time"
	[ "$points" -gt 10 ] || not_ok "$1: too few system calls ($points)"
	for state in $2; do
		check "$1: some kills left $state" grep -qx "$state" <(echo "$outcome")
	done
}

if have strace && strace -qq -o /dev/null true; then
	for row in 'txn:Aa Ba' 'single:Aa Ab' 'bound:Aa'; do
		calls "${row%%:*}" >"$T/calls"
		walk "${row%%:*}" "${row#*:}"
	done
else
	skip 'killed at every system call' 'STRACE IS NOT ON PATH'
fi

run "$tool" "$store" storm 6
like "$output" '^[0-9]+ kills$' 'storm: nothing torn, no revision falls'
diag "$output"
is "$(leftovers)" '' 'storm: the next writer sweeps what the dead left'

# ---- a second identical read changes nothing ----

if have strace && strace -qq -o /dev/null true; then
	"$tool" "$store" reset
	"$tool" "$store" check >/dev/null
	strace -qq -f -o "$T/trace" "$tool" "$store" check >/dev/null
	mutating='^[0-9]+ +(rename|unlink|mkdir|rmdir|link|symlink|chmod|fchmod|chown|fchown|ftruncate|truncate|utimensat|pwrite|fsync|fdatasync|mknod|setxattr)|O_(CREAT|WRONLY|RDWR)'
	is "$(grep -E "$mutating" "$T/trace" | grep -v '/dev/\|/proc/')" '' \
		'a read makes no mutating system call'
fi

# ---- disks that fail ----

# fail CALL ERROR COMMAND WANT: from its first call on that file system, persistently.
fail_with() {
	"$tool" "$store" reset
	run strace -qq -f -o /dev/null -e trace="$1" -e inject="$1:error=$2" "$tool" "$store" "$3"
	is "$status" 1 "$3 with $1 failing ($2) fails"
	like "$output" "$4" "$3 with $1 failing ($2) says why"
	is "$("$tool" "$store" check)" Aa "$3 with $1 failing ($2) changes nothing"
}

if have strace && strace -qq -o /dev/null true; then
	# Not write(): the tool has to say something, too.
	for call in fsync pwrite64 fchmod; do
		fail_with "$call" ENOSPC single 'No space left.*free some space'
		fail_with "$call" EIO single 'Input/output error'
		fail_with "$call" ENOSPC txn 'No space left.*free some space'
	done
	fail_with renameat EIO single 'Input/output error'
	fail_with renameat ENOSPC txn 'No space left'
	fail_with mkdirat EACCES txn 'Permission denied.*ask the directory'
fi

# ---- a file system that is full ----

full="$T/full"
mkdir "$full"
if [ "$EUID" = 0 ] && mount -t tmpfs -o size=256k,mode=755 none "$full" 2>/dev/null; then
	store=dir:$full/store
	mkdir "$full/store"
	"$tool" "$store" reset
	head -c 1M /dev/zero >"$full/ballast" 2>/dev/null
	run "$tool" "$store" txn
	is "$status" 1 'a full disk: refused'
	like "$output" 'No space left.*nothing was written, free some' 'a full disk: says so'
	is "$("$tool" "$store" check)" Aa 'a full disk: everything is as before'
	is "$(find "$full/store" -name 'stage-*')" '' 'a full disk: no leftovers'
	rm "$full/ballast"
	check 'with space again: written' "$tool" "$store" txn
	is "$("$tool" "$store" check)" Ba 'with space again: all of it'
	umount "$full"
else
	skip 'a full disk' 'needs root to mount a small one'
fi

done_testing
