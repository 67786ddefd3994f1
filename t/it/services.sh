#!/bin/bash
# Services through the library: made, started, ended, limited, settled, removed. The same for each supervisor:
# here runit; systemd.sh runs this file under a systemd of its own.
set -u
. "$(dirname "$0")/../lib.sh"
: "${SUPERVISOR:=runit}"
if [ "$SUPERVISOR" = runit ]; then
	have runsvdir || skip_all "runit is not on PATH"
	have chpst || skip_all "runit's chpst is not on PATH"
fi
a="$SUPERVISOR: "
R=$T/service G=$T/stage A=$T/app
mkdir -p "$R" "$A/installs"

# install VERSION NAME LAUNCH [NAME LAUNCH]...: NAME "" for a bin/launch that is a program.
install() {
	local dir=$A/installs/app_$1/bin
	shift
	mkdir -p "$dir"
	while [ $# != 0 ]; do
		[ -z "$1" ] || mkdir -p "$dir/launch"
		printf '#!/bin/sh\n%s\n' "$2" >"$dir/launch${1:+/$1}"
		chmod 755 "$dir/launch${1:+/$1}"
		shift 2
	done
}
# intend [DEPLOY]: further members of deploy_config.
intend() {
	local options="\"supervisor\": \"$SUPERVISOR\", \"runit\": \"$R\", \"runit-stage\": \"$G\""
	printf '%s' "{\"app\": \"app\", \"node\": \"n1\", \"cluster\": \"c\", \"basedir\": \"$A\", \"options\": {$options},
		\"config\": {\"user_config\": {\"some\": \"value\"}},
		\"deploy\": {\"health\": {\"up\": \"50ms\"}${1:+, $1}}}" >"$T/intent"
}
services() { "$BUILD_DIR/t/it/services" "$T/intent" "$@"; }
# live VERSION: what setlive's link does.
live() { ln -sfn "$A/installs/app_$1" "$A/current"; }
# again VERSION [DEPLOY]: all of the version, stopped before and started now.
again() {
	services stop "${names[@]}" && intend "${2:-}" && services configure "${names[@]}" && live "$1" &&
		services start "${names[@]}"
}
# member NAME MEMBER: of what a look says.
member() { services look "$1" | grep -oE "\"$2\":[a-z0-9]+" | cut -d: -f2; }
pid_of() { member "$1" pid; }
runs() { [ "$(member "$1" running)" = true ]; }
down() { [ "$(member "$1" running)" = false ]; }
another() { runs "$1" && [ "$(pid_of "$1")" != "$2" ]; }
# Ends at least so often; exactly for what does not go on ending.
ended() { [ "$(member "$1" exits)" -ge "$2" ]; }
has_exits() { [ "$(member "$1" exits)" = "$2" ]; }
healthy() { [ "$(services health "$1")" = '""' ]; }
says() { services health "$1" | grep -qE "$2"; }

intend
names=(app)
install 1 '' "env >$T/env; cat \"\$CONFIG_PATH\" >$T/config; grep . /proc/self/limits >$T/limits; exec sleep 1000"
[ "$SUPERVISOR" != runit ] || start_runsvdir "$R"

# ---- made, and down ----
check "${a}a service is made" services configure app
check "${a}... it is down" down app
is "$(services observe app | grep -o '"want":"[a-z]*"')" '"want":"down"' "${a}... and meant to be"
is "$(services list)$(services apps)" '["app"]["app"]' "${a}... it is known as ours"
before=$(find "$G" -name supervise -prune -o -printf '%p %i %T@ %C@\n')
check "${a}made again" services configure app
is "$(find "$G" -name supervise -prune -o -printf '%p %i %T@ %C@\n')" "$before" "${a}... nothing is touched"
is "$(services observe app | grep -o '"stale":\[[^]]*\]')" '"stale":[]' "${a}... for nothing is stale"

# ---- started ----
live 1
is "$(services current)" '"1"' "${a}current is read"
check "${a}started" services start app
check "${a}... it runs" wait_for 5 runs app
wait_for 5 test -s "$T/limits"
is "$(tr -d ' \n' <"$T/config")" '{"some":"value"}' "${a}... with its configuration"
for pair in PP_APP=app PP_VERSION=1 PP_NODE=n1 PP_CLUSTER=c; do
	check "${a}... and $pair" grep -qx "$pair" "$T/env"
done
check "${a}... healthy soon" wait_for 5 healthy 1
like "$(services observe app)" '"started":\{"version":"x"\}' "${a}... what it was started with is known"
services note app '{"settled": true}'
like "$(services observe app)" '"settled":true' "${a}... and what is noted later"
# systemd is asked over D-Bus by whoever is not root; there is none here.
if can_drop && [ "$SUPERVISOR" = runit ]; then
	chmod 755 "$A" "$T"
	pid=$(pid_of app)
	like "$(unprivileged "$BUILD_DIR/t/it/services" "$T/intent" look app 2>&1)" \
		"\"pid\":$pid,\"running\":true,\"supervised\":true,\"up\":true" "${a}nobody may look, and sees the same"
fi

# ---- an end nobody asked for ----
pid=$(pid_of app)
kill -KILL "$pid"
check "${a}killed from outside: it is started again" wait_for 10 another app "$pid"
# First of all: in ten seconds it is over.
check "${a}... and must stay up for ten seconds" wait_for 2 says 1 "up for .* of 10s, for it ended 1 time"
check "${a}... the end is remembered" wait_for 2 has_exits app 1
like "$(services exits app)" '^\[\{"at":"20[^"]*Z","signal":9\}\]$' "${a}... with its signal"
check "${a}stopped and started" again 1
check "${a}... what it was asked for is no end" has_exits app 0
is "$(services exits app | grep -o '"at"' | wc -l)" 1 "${a}... the one before is still told"
check "${a}... and it is healthy soon" wait_for 5 healthy 1

# ---- what its environment may be ----
rm "$T/env" "$T/limits"
odd='a "b" $c `d` \ %n '"'"'e'"'"' \n'
check "${a}an odd environment" again 1 "\"environment\": {\"ODD\": \"$(sed 's/[\"]/\\&/g' <<<"$odd")\", \"TWO\": \"1\\n2\"}"
wait_for 5 test -s "$T/limits"
is "$(grep ^ODD= "$T/env")" "ODD=$odd" "${a}... arrives as it is"
is "$(grep -A1 ^TWO= "$T/env" | tr '\n' '|')" "TWO=1|2|" "${a}... newlines too"
is "$(find "$G/app" \( -name environment -o -name ODD \) -printf '%m\n')" 600 \
	"${a}... and can be read by us alone"

# ---- limits ----
rm "$T/limits"
check "${a}limits" again 1 '"limits": {"files": 777, "file_size": "1M", "core": 0}'
wait_for 5 test -s "$T/limits"
for pair in 'open files:777' 'file size:1048576' 'core file size:0'; do
	like "$(cat "$T/limits")" "Max ${pair%:*} +${pair#*:} +${pair#*:} " "${a}... ${pair%:*}, soft and hard"
done

# ---- it ends at once, always ----
install 2 '' "echo no database; exit 3"
check "${a}a crash loop" again 2
check "${a}... is counted" wait_for 10 ended app 2
# Its log may be behind.
check "${a}... and never healthy, with how it ended and its last words" wait_for 5 \
	says 2 "(is down|up for .* of [1-6]).*; it last ended with status 3; last line of its log: no database"
check "${a}... it can be settled: " services settle 30000 app
down=$(services settle 100 app)
is "$down" true "${a}... it is down"
sleep 1.5
check "${a}... and does not turn up again" down app
check "${a}... until it is started" services start app
check "${a}... again" wait_for 10 ended app 1

# Not more than twenty are kept.
for number in $(seq 40 64); do
	echo "2026-11-21T10:00:00Z 0aa5b9ac-0000-0000-0000-000000000000 1.00 status $number"
done >"$G/app/exits"
kept() { [ "$(services exits app | grep -o '"at"' | wc -l)" = 20 ] && services exits app | grep -q '"status":3}'; }
check "${a}... twenty ends are kept" wait_for 10 kept
is "$(wc -l <"$G/app/exits")" 20 "${a}... on disk too"

# ---- one that stays up is not harmed ----
check "${a}one that stays up" again 1
wait_for 5 healthy 1
pid=$(pid_of app)
is "$(services settle 300 app)" false "${a}... is not down"
is "$(pid_of app)" "$pid" "${a}... nor harmed by the question"
kill -KILL "$pid"
check "${a}... and is started again when it ends" wait_for 10 another app "$pid"

# ---- what becomes of one that ends by itself ----
install 3 '' "echo run >>$T/runs; exit \$(cat $T/code)"
echo 0 >"$T/code"
ran() { [ "$(wc -l <"$T/runs")" -ge "$1" ]; }
check "${a}restart on-failure, it succeeds" again 3 '"restart": "on-failure"'
check "${a}... it ran" wait_for 5 ran 1
check "${a}... and is down" wait_for 5 down app
check "${a}... which is not healthy" wait_for 5 says 3 "the process is down; it last ended with status 0"
sleep 1.5
is "$(wc -l <"$T/runs")" 1 "${a}... for good"
like "$(services observe app)" '"want":"up"' "${a}... though it is meant to be up"
is "$(services settle 100 app)" true "${a}... it is down, by the question too"
is "$(wc -l <"$T/runs")" 1 "${a}... which does not start it"
echo 1 >"$T/code"
: >"$T/runs"
check "${a}restart on-failure, it fails" services start app
check "${a}... it is started again" wait_for 10 ran 3
services stop app
: >"$T/runs"
check "${a}restart never" again 3 '"restart": "never"'
check "${a}... it ran" wait_for 5 ran 1
check "${a}... which is an end" wait_for 5 has_exits app 1
sleep 1.5
is "$(wc -l <"$T/runs")" 1 "${a}... once"

# ---- as somebody else ----
if can_drop; then
	install 6 '' "id -un >$T/user/id; head -c 9 \"\$CONFIG_PATH\" >$T/user/config; exec sleep 1000"
	mkdir "$T/user" && chmod 777 "$T/user"
	check "${a}runas nobody" again 6 '"runas": "nobody"'
	check "${a}... it runs" wait_for 5 test -s "$T/user/config"
	is "$(cat "$T/user/id")" nobody "${a}... as nobody, who can read its configuration"
fi

# ---- deaf to TERM ----
install 4 '' "trap '' TERM; echo >$T/deaf; while :; do sleep 0.1; done"
check "${a}deaf to TERM" again 4 '"stop_timeout": "300ms"'
wait_for 5 test -e "$T/deaf"
pid=$(pid_of app)
run services stop-for-good app
is "$status$errors" "0did not stop within 300ms, killing it" "${a}... is stopped, and that is told"
refute "${a}... by force" kill -0 "$pid"
like "$(services observe app)" '"down":true' "${a}... and stays down after a reboot"

# ---- several programs ----
install 5 one "echo >$T/one; exec sleep 1000" two "exit 1"
names=(app-one app-two)
intend
check "${a}two programs are two services" services configure app-one app-two
live 5
check "${a}... started together" services start app-one app-two
check "${a}... the first runs" wait_for 5 test -e "$T/one"
wait_for 10 ended app-two 1
like "$(services health 5)" "^\"app-two: " "${a}... health is that of the worst"
pid=$(pid_of app-one)
is "$(services settle 2500 app-one app-two)" false "${a}... one up, one not: not down"
is "$(pid_of app-one)" "$pid" "${a}... and the first is not harmed"
check "${a}... nor is the second left alone" wait_for 10 ended app-two $(($(member app-two exits) + 1))

# ---- somebody else's ----
mkdir "$G/app-theirs"
run services configure app-theirs
like "$errors" "^NotOurs: $G/app-theirs exists and was not made by pp-setlive" "${a}a foreign directory is refused"
mkdir "$G/app-theirs/.platypus.json"
run services configure app-theirs
like "$errors" "^NotOurs: $G/app-theirs exists and was not made by pp-setlive" "${a}... whatever is in it"

# ---- a broken disk ----
# What it says undisturbed, or what kept it from that. Which of our own files are as rendered is left out: one that
# cannot be read is written anew. So are the last words of one that is down.
told() { sed -E 's/"started_ms":[0-9]+//; s/"stale":[^]]*]//; s/; (it last ended|last line).*/"/' "$1"; }
same_or_named() {
	if [ "$1" = 0 ]; then [ "$(told "$T/said")" = "$(told "$T/undisturbed")" ]; else grep -q 'Input/output error' "$T/said"; fi
}
services stop app-two
cp "$BUILD_DIR/t/it/services" "$T/pp-services"
if [ "$SUPERVISOR" = runit ] && can_unread; then
	for words in apps list current 'look app-one' 'observe app-one' 'health 5' 'exits app-two'; do
		# shellcheck disable=SC2086 # two words
		is "$(each_unread 1 same_or_named "$T/pp-services" "$T/intent" $words)" '' "${a}a disk that is broken once: $words"
	done
elif [ "$SUPERVISOR" = runit ]; then
	skip "${a}a disk that is broken once" "calls cannot be made to fail here"
fi
rmdir "$G/app-theirs/.platypus.json"

# ---- removed ----
for name in app app-one app-two; do check "${a}$name is removed" services remove "$name"; done
refute "${a}... with its process" kill -0 "$pid"
is "$(ls -A "$G")$(ls -A "$R")" "app-theirs" "${a}... and nothing is left"
is "$(services list)" '[]' "${a}... nor listed"

done_testing
