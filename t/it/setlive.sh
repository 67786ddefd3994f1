#!/bin/bash
# pp-setlive with a real runsvdir, as whoever runs this; setlive-user.sh does it as nobody.
set -u
. "$(dirname "$0")/../lib.sh"
have runsvdir || skip_all "runit is not on PATH"
have chpst || skip_all "runit's chpst is not on PATH"

S=$T/store R=$T/service G=$T/stage A=$T/slug
mkdir -p "$S" "$R"
as=${AS_NOBODY:+as nobody: }
me=$(id -un)

# put KEY JSON: the store's documents are files, whole by rename.
put() {
	mkdir -p "$S/$(dirname "$1")"
	printf '%s' "$2" >"$T/.put" && mv "$T/.put" "$S/$1"
}
agent() {
	pp-setlive --store "dir:$S" --node n1 --state-dir "$T/state" --runit "$R" --runit-stage "$G" \
		--supervise-timeout 60s "$@"
}
once() { run agent --once "$@"; }

# install APP VERSION [LAUNCH]: what preparer would have put there, published by rename.
install() {
	local dir=$T/$1/installs
	mkdir -p "$dir/.new/bin"
	printf '%s\n' '#!/bin/sh' "${3:-echo \"\$PP_VERSION\" >$T/$1.version; cat \"\$CONFIG_PATH\" >$T/$1.config; exec sleep 1000}" \
		>"$dir/.new/bin/launch"
	chmod 755 "$dir/.new/bin/launch"
	mv "$dir/.new" "$dir/$1_$2"
}
# intend APP VERSIONS [USER_CONFIG [DEPLOY [HEALTH]]]
intend() {
	put "clusters/$1/c/deploy_config" "{\"basedir\": \"$T/$1\", \"health\": {${5:-\"up\": \"50ms\"}}${4:+, $4}}"
	put "clusters/$1/c/config" "{\"versions\": $2, \"user_config\": ${3:-{\}}}"
	put "nodes/n1/$1" '{"cluster": "c"}'
}
# The first words of what it said it does, in order.
verbs() { grep -oE '(Stopping|Configuring service builder|Symlinking|Starting|Checking|Removing [^ ]*):' <<<"$errors" | tr -d '\n' | tr ':' ' ' | sed 's/ $//'; }
current() { readlink "$T/${1:-slug}/current"; }
serves() { [ "$(cat "$T/${2:-slug}.version" 2>/dev/null)" = "$1" ]; }
pid_of() { cat "$G/$1/supervise/pid" 2>/dev/null; }
up() { [ -n "$(pid_of "$1")" ] && [ "$(cat "$G/$1/supervise/stat")" = run ]; }
gone() { ! up "$1"; }
is_down() { [ "$(cat "$G/$1/supervise/stat")" = down ]; }
# Its logger has opened what it writes to: nothing of it changes any more.
logs() { readlink "/proc/$(cat "$G/$1/log/supervise/pid")/fd/"* | grep -qx "$T/$1/logs/$1/current"; }
# Everything below a directory that a round could have changed: names, inodes, contents, times.
snapshot() { find "$@" -name supervise -prune -o -printf '%p %i %s %T@ %C@ %l\n' 2>/dev/null | grep -v '\.log\|/state/locks' | sort; }

install slug 1.0
install slug 1.1
intend slug '{"1.0": "prep"}' '{"some_value": "hello"}'

# All that comes later is prepared at once: runsvdir looks for new services every five seconds.
port=$(free_port)
install crash 1.0 'echo "no database at db1"; exit 3'
install web 1.0 "printf 'HTTP/1.1 200 OK\r\n\r\n' >$T/answer; exec $BUILD_DIR/t/it/setlive-http $port $T/answer"
install slow 1.0 "trap '' TERM; echo \$\$ >$T/slow.version; while :; do sleep 0.1; done"
mkdir -p "$T/duo/installs/duo_1.0/bin/launch"
for part in a b; do
	printf '#!/bin/sh\necho $PP_VERSION >%s; exec sleep 1000\n' "$T/duo-$part.version" >"$T/duo/installs/duo_1.0/bin/launch/$part"
done
chmod 755 "$T"/duo/installs/duo_1.0/bin/launch/*
# Ends when it is allowed to.
install vars 1.0 "trap 'while [ ! -e $T/vars.go ]; do sleep 0.05; done; exit 0' TERM; echo \"given \$GIVEN\" >>$T/vars.seen; while :; do sleep 0.05; done"
for app in crash web slow duo vars; do intend $app '{"1.0": "prep"}'; done

# ---- before there is a supervisor ----
mv "$R" "$R.away"
once
is "$status" 111 "${as}no directory of runsvdir: not converged"
like "$errors" "$R does not exist: start runsvdir on it" "${as}... and it says so, with the way out"
mv "$R.away" "$R"

# ---- prepared: linked, down ----
once
is "$status" 0 "${as}a version that is only prepared: converged"
is "$(readlink "$R/slug")" "$G/slug" "${as}... its service is linked"
check "${as}... with a down file" test -e "$G/slug/down"
run agent --dry-run
is "$status" 0 "${as}... nothing more to do"

once
intend slug '{"1.0": "active", "1.1": "prep"}' '{"some_value": "hello"}'
once --supervise-timeout 300ms
is "$status" 111 "${as}no runsvdir: not converged"
like "$errors" "is runsvdir running on $R" "${as}... and it asks for it"

# ---- first launch ----
start_runsvdir "$R"
supervisor=$pid
run agent --dry-run
is "$status" 2 "${as}dry run: there is work"
refute "${as}... and nothing is done" serves 1.0
once
is "$status" 0 "${as}first launch: converged"
check "${as}... 1.0 runs" wait_for 2 serves 1.0
is "$(current)" "$A/installs/slug_1.0" "${as}... current points at it"
wait_for 2 test -s "$T/slug.config"
is "$(tr -d ' \n' <"$T/slug.config")" '{"some_value":"hello"}' "${as}... and sees its user_config"
check "${as}... it would start after a reboot" test ! -e "$G/slug/down"
is "$(verbs)" "Starting Checking" "${as}... what is prepared already needs no more than that"

# ---- a second round changes nothing ----
wait_for 5 logs slug
before=$(snapshot "$G" "$R" "$A" "$S") pid=$(pid_of slug)
once
is "$status" 0 "${as}second round: converged"
is "$(snapshot "$G" "$R" "$A" "$S" | diff - <(echo "$before") | grep -v 'logs/slug/current\|reality\|/.intent\|store ')" "" \
	"${as}... and has changed nothing"
is "$(pid_of slug)" "$pid" "${as}... nor restarted anything"

# ---- update ----
intend slug '{"1.0": "prep", "1.1": "active"}' '{"some_value": "hello"}'
once
is "$status" 0 "${as}update: converged"
check "${as}... 1.1 runs" wait_for 2 serves 1.1
is "$(current)" "$A/installs/slug_1.1" "${as}... current points at it"
is "$(readlink "$A/previous")" "$A/installs/slug_1.0" "${as}... previous at what was"
is "$(verbs)" "Stopping Symlinking Starting Checking" "${as}... in the order of the seed"

# ---- a disk that is broken once ----
# There is nothing to do but to write a file of ours anew or to wait for a check that could not be made, or it cannot tell.
idle_or_named() {
	case $1 in
	0) ;;
	2) ! grep -vE 'would (configure|await)' "$T/said" | grep -q would;;
	*) [ "$1" = 111 ] && grep -q 'Input/output error' "$T/said";;
	esac
}
# What an agent has open only root can see, for it is not dumpable.
if [ "$EUID" = 0 ] && can_unread; then
	is "$(each_unread 40 idle_or_named "$BUILD_DIR/bin/pp-setlive" --store "dir:$S" --node n1 --state-dir "$T/state" \
		--runit "$R" --runit-stage "$G" --dry-run)" '' "${as}a broken disk makes no work"
else
	skip "${as}a broken disk makes no work" "calls cannot be made to fail here"
fi

# ---- what a running process saw of intent changes ----
pid=$(pid_of slug)
intend slug '{"1.0": "prep", "1.1": "active"}' '{"some_value": "bye"}'
once
is "$status" 0 "${as}user_config changed: converged"
isnt "$(pid_of slug)" "$pid" "${as}... by a restart"
check "${as}... that sees it" wait_for 2 grep -q bye "$T/slug.config"
like "$errors" "Stopping: user_config changed" "${as}... for that reason"

pid=$(pid_of slug)
rm "$G/slug/started.json"
once
isnt "$(pid_of slug)" "$pid" "${as}an owed restart is not forgotten"

# ---- drift ----
pid=$(pid_of slug)
echo '# edited' >>"$G/slug/finish"
once
is "$status" 0 "${as}an edited file: converged"
refute "${as}... it is as it was" grep -q edited "$G/slug/finish"
is "$(pid_of slug)" "$pid" "${as}... without a restart"

# Its logger takes its time, and so long its runsv is there and on its way out.
read -r logger <"$G/slug/log/supervise/pid"
kill -STOP "$logger"
rm "$R/slug"
wait_for 8 is_down slug
{ sleep 1; kill -CONT "$logger"; } &
once
is "$status" 0 "${as}a lost link: converged"
check "${as}... linked again and running" up slug
check "${as}... by another supervisor, with a logger" test -s "$G/slug/log/supervise/pid"
isnt "$(cat "$G/slug/log/supervise/pid")" "$logger" "${as}... of its own"

# Told to exit, and then to stay when its pipe to the logger was closed already: it can start nothing any more.
read -r logger <"$G/slug/log/supervise/pid"
proc_stat "$logger"
kill -STOP "$logger"
kill -TERM "$ps_parent"
wait_for 8 grep -q 'want exit' "$G/slug/log/supervise/stat"
wait_for 8 grep -q '^down' "$G/slug/supervise/stat"
printf u >"$G/slug/supervise/control"
kill -CONT "$logger"
wait_for 8 grep -q '^down' "$G/slug/log/supervise/stat"
once
is "$status" 0 "${as}a supervisor that can start nothing any more: converged"
check "${as}... running" up slug
check "${as}... by another one, with a logger" test -s "$G/slug/log/supervise/pid"

# ---- a reboot ----
stop "$supervisor" HUP
check "${as}supervisor ended: the service too" wait_for 5 gone slug
rm -f "$T/slug.version"
start_runsvdir "$R"
supervisor=$pid
check "${as}after a reboot it runs without us" wait_for 5 serves 1.1
wait_for 5 up slug
wait_for 5 logs slug
before=$(snapshot "$G" "$R" "$A")
once
is "$status" 0 "${as}... and nothing needs doing"
is "$(snapshot "$G" "$R" "$A" | diff - <(echo "$before") | grep -v 'logs/slug/current')" "" "${as}... nothing is done"

# ---- foreign names ----
mkdir -p "$R/theirs" "$G/other"
install theirs 1.0
install other 1.0
intend theirs '{"1.0": "active"}'
intend other '{"1.0": "active"}'
once
is "$status" 100 "${as}names taken by others: refused"
like "$errors" "blocked: $R/theirs is not a link made by pp-setlive" "${as}... the link's is named"
like "$errors" "blocked: $G/other exists and was not made by pp-setlive" "${as}... the directory's is named"
# (runsvdir tries to supervise whatever it finds.)
is "$(find "$R/theirs" "$G/other" -mindepth 1 ! -path "$R/theirs/supervise*")" "" "${as}... and neither is touched"
check "${as}... nor does it hurt others" up slug
rm -r "$S"/nodes/n1/theirs "$S"/nodes/n1/other "$R/theirs" "$G/other"

# ---- a service that does not stay ----
# Not in time, however long its shell takes to end.
intend crash '{"1.0": "active"}' '{}' '"stop_timeout": "1s"' '"up": "10s", "deadline": "3s"'
once
is "$status" 111 "${as}a crash loop: not converged"
like "$errors" "crash: .*1.0 was not healthy within 3.0s" "${as}... it is unhealthy"
tells() { once; [[ $errors == *"status 3; last line of its log: no database at db1"* ]]; }
check "${as}... with its exit status and last words" wait_for 5 tells
is "$status" 111 "${as}... still not, when looked at again"
refute "${as}... and it does not claim to wait again" grep -q 'crash: Starting' <<<"$errors"

# ---- health over http ----
http="\"up\": 0, \"http\": {\"port\": $port, \"path\": \"/_status\"}"
intend web '{"1.0": "active"}' '{}' '' "$http"
rm "$S/nodes/n1/crash"
once
is "$status" 0 "${as}health over http: converged"
refute "${as}the crash loop is gone with its key" test -e "$G/crash"
printf 'HTTP/1.1 503 No\r\n\r\n' >"$T/answer"
intend web '{"1.0": "active"}' '{}' '' "$http, \"deadline\": \"1s\""
once
is "$status" 111 "${as}... 503: not converged"
# When it asked last, it may have had no answer.
tells() { once; [[ $errors =~ web:\ .*127.0.0.1:$port/_status:\ HTTP\ status\ 503 ]]; }
check "${as}... the check and what it said" wait_for 5 tells
rm "$S/nodes/n1/web"

# ---- several programs in bin/launch ----
intend duo '{"1.0": "active"}'
once
is "$status" 0 "${as}bin/launch is a directory: converged"
check "${as}... one service each" test -n "$(pid_of duo-a)" -a -n "$(pid_of duo-b)"
check "${as}... that runs" wait_for 2 serves 1.0 duo-b
refute "${as}http service is gone with its key" test -e "$R/web"

# ---- slow to stop: killed after its time ----
intend slow '{"1.0": "active"}' '{}' '"stop_timeout": "300ms"'
once
is "$status" 0 "${as}a service deaf to TERM runs"
wait_for 2 test -s "$T/slow.version"
intend slow '{"1.0": "prep"}' '{}' '"stop_timeout": "300ms"'
once
is "$status" 0 "${as}... is stopped"
refute "${as}... by force" kill -0 "$(cat "$T/slow.version")"
like "$errors" "did not stop within 300ms, killing it" "${as}... and says so"
check "${as}... and stays down" test -e "$G/slow/down"

# ---- no active version; the key gone ----
intend slug '{"1.0": "prep", "1.1": "prep"}'
once
is "$status" 0 "${as}no active version: converged"
check "${as}... stopped" gone slug
check "${as}... stays down at boot" test -e "$G/slug/down"
is "$(current)" "$A/installs/slug_1.1" "${as}... current stays"
intend slug '{"1.0": "prep", "1.1": "active"}'
once
check "${as}active again: runs" up slug
rm "$S/nodes/n1/slug"
slug=$(pid_of slug)
once
is "$status" 0 "${as}the node's key gone: converged"
refute "${as}... service directory removed" test -e "$G/slug"
refute "${as}... link removed" test -L "$R/slug"
refute "${as}... process ended" kill -0 "$slug"
check "${as}... installs, links and logs stay" test -d "$A/installs/slug_1.1" -a -L "$A/current" -a -f "$A/logs/slug/current"

# ---- a directory of variables that goes while a service is stopped for its sake ----
mkdir "$T/vars.env" && echo 1 >"$T/vars.env/GIVEN"
intend vars '{"1.0": "active"}' '{}' "\"envdir\": \"$T/vars.env\""
once
is "$status" 0 "${as}variables from a directory: converged"
check "${as}... the service has them" wait_for 2 grep -qx 'given 1' "$T/vars.seen"
echo 2 >"$T/vars.env/GIVEN"
start vars-agent pp-setlive --store "dir:$S" --node n1 --state-dir "$T/state" --runit "$R" --runit-stage "$G" \
	--listen none --interval 1h --splay 0
stopping() { grep -q 'vars: Stopping: envdir changed' "$T/vars-agent.log"; }
check "${as}... others are a reason to stop it" wait_for 5 stopping
mv "$T/vars.env" "$T/vars.away" && touch "$T/vars.go"
missing() { grep -q 'vars.env: the directory of the service.s variables is not there' "$T/vars-agent.log"; }
check "${as}... gone meanwhile: said" wait_for 5 missing
is "$(cat "$T/vars.seen")" "given 1" "${as}... and nothing is started without them"
mv "$T/vars.away" "$T/vars.env"
check "${as}... started when they are back" wait_for 5 grep -qx 'given 2' "$T/vars.seen"
stop "$pid"
rm "$S/nodes/n1/vars"
once
is "$status" 0 "${as}... and removed"

# What is not remembered is found by its mark.
rm -rf "$T/state"
rm "$S/nodes/n1/duo"
once
is "$status" 0 "${as}an application that vanished while the state was lost"
refute "${as}... is found by its mark and removed" test -e "$G/duo-a" -o -e "$G/duo-b"

# ---- every key gone at once ----
install slug 1.1 2>/dev/null
intend slug '{"1.1": "active"}'
once
rm "$S"/nodes/n1/*
once
is "$status" 100 "${as}every key of the node gone: refused"
check "${as}... and nothing is stopped" up slug

# ---- runas ----
intend slug '{"1.1": "active"}' '{}' '"runas": "no-such-user"'
once
is "$status" 100 "${as}a user that does not exist: refused"
like "$errors" "slug cannot run as no-such-user: there is no such user here" "${as}... by name"
if [ "$(id -u)" = 0 ]; then
	chmod 777 "$T"
	rm -f "$T/slug.version" "$T/slug.config"
	intend slug '{"1.1": "active"}' '{"x": 1}' '"runas": "nobody"'
	once
	is "$status" 0 "runas nobody: converged"
	check "... and reads its user_config" wait_for 2 grep -q x "$T/slug.config"
	is "$(stat -c %U "/proc/$(pid_of slug)")" nobody "... it is"
	is "$(stat -c '%U %a' "$G/slug/config.yaml")" "nobody 400" "... which nobody else can"
	chmod 755 "$T"
else
	intend slug '{"1.1": "active"}' '{}' '"runas": "root"'
	once
	is "$status" 100 "${as}as another user, not being root: refused"
	like "$errors" "pp-setlive is not root" "${as}... says why"
	intend slug '{"1.1": "active"}' '{}' "\"runas\": \"$me\""
	once
	is "$status" 0 "${as}as oneself: converged"
fi

# ---- the agent runs: woken by the store, and by what it waits for ----
start agent pp-setlive --store "dir:$S" --node n1 --state-dir "$T/state" --runit "$R" --runit-stage "$G" \
	--listen none --interval 1h --splay 0
agent=$pid
intend slug '{"2.0": "active"}'
waiting() { grep -q "installs/slug_2.0 does not exist yet" "$T/agent.log"; }
check "${as}waits for an install" wait_for 5 waiting
check "${as}... while the old version runs" up slug
sleep 1
install slug 2.0
check "${as}... and wakes when it appears" wait_for 5 serves 2.0
stop "$agent"

# ---- a servicebuilder of somebody else's ----
cat >"$T/builder" <<'END'
#!/bin/sh
# -c CONFIG -d RUNIT -s STAGE; as little of one as will do
for file in "$2"/*.yaml; do
	name=$(basename "$file" .yaml)
	program=$(sed 's/.*\["\(.*\)"\].*/\1/' "$file")
	mkdir -p "$6/$name"
	printf '#!/bin/sh\nexec %s\n' "$program" >"$6/$name/run"
	chmod 755 "$6/$name/run"
	[ -L "$4/$name" ] || ln -s "$6/$name" "$4/$name"
done
END
chmod 755 "$T/builder"
install built 1.0
intend built '{"1.0": "active"}'
once --servicebuilder "$T/builder" --config "$T/builder.d"
is "$status" 0 "${as}an external servicebuilder: converged"
check "${as}... runs" wait_for 2 serves 1.0 built
check "${as}... from its definition" test -s "$T/builder.d/built.yaml"

done_testing
