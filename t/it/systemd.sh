#!/bin/bash
# The same services, and pp-setlive itself, under a systemd of our own.
set -u
: "${TMPDIR:=/tmp}" # its /dev is another
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/systemd.sh"

inside env SUPERVISOR=systemd T= "$ROOT/t/it/services.sh"
is $? 0 "systemd: the tests of services"

# ---- pp-setlive ----
S=$T/store G=$T/stage A=$T/slug
put() {
	mkdir -p "$S/$(dirname "$1")"
	printf '%s' "$2" >"$T/.put" && mv "$T/.put" "$S/$1"
}
once() {
	run inside pp-setlive --once --store "dir:$S" --node n1 --state-dir "$T/state" --supervisor systemd \
		--runit "$T" --runit-stage "$G" "$@"
}
install() {
	mkdir -p "$A/installs/slug_$1/bin"
	printf '%s\n' '#!/bin/sh' "echo \"\$PP_VERSION\" >$T/version; $2" >"$A/installs/slug_$1/bin/launch"
	chmod 755 "$A/installs/slug_$1/bin/launch"
}
# intend VERSIONS [UP DEADLINE]
intend() {
	put clusters/slug/c/deploy_config "{\"basedir\": \"$A\", \"health\": {\"up\": \"${2:-50ms}\", \"deadline\": \"${3:-30s}\"}}"
	put clusters/slug/c/config "{\"versions\": $1}"
	put nodes/n1/slug '{"cluster": "c"}'
}
serves() { [ "$(cat "$T/version" 2>/dev/null)" = "$1" ]; }
main_pid() { inside systemctl show --property=MainPID --value platypus-slug.service; }
active() { [ "$(inside systemctl is-active platypus-slug.service)" = active ]; }
snapshot() { find "$G" "$A" "$T/system" -printf '%p %i %s %T@ %C@ %l\n' | sort; }
unit=$T/system/platypus-slug.service boots=$T/system/multi-user.target.wants/platypus-slug.service

install 1.0 'exec sleep 1000'
install 1.1 'exec sleep 1000'
install 1.2 'echo no database; exit 3'
intend '{"1.0": "prep"}'
once
is "$status" 0 "systemd: a version that is only prepared: converged"
check "systemd: ... its unit is there" grep -q '^# Made by pp-setlive' "$unit"
refute "systemd: ... and not started at boot" test -e "$boots"
intend '{"1.0": "active", "1.1": "prep"}'
once
is "$status" 0 "systemd: first launch: converged"
check "systemd: ... 1.0 runs" wait_for 2 serves 1.0
check "systemd: ... and would after a reboot" test -L "$boots"
before=$(snapshot) pid=$(main_pid)
once
is "$status$(main_pid)" "0$pid" "systemd: second round: converged"
is "$(snapshot | diff - <(echo "$before"))" "" "systemd: ... and nothing changed"
intend '{"1.0": "prep", "1.1": "active"}'
once
is "$status" 0 "systemd: update: converged"
check "systemd: ... 1.1 runs" wait_for 2 serves 1.1
isnt "$(main_pid)" "$pid" "systemd: ... as a new process"

# ---- drift ----
pid=$(main_pid)
echo '# edited' >>"$unit"
once
is "$status" 0 "systemd: an edited unit: converged"
refute "systemd: ... it is as it was" grep -q edited "$unit"
is "$(inside systemctl show --property=NeedDaemonReload --value platypus-slug.service)$(main_pid)" "no$pid" \
	"systemd: ... and read again, without a restart"
inside systemctl stop platypus-slug.service
once
check "systemd: stopped by hand: started again" active

# ---- a reboot ----
rm "$T/version"
kill_now "$boot"
boot_systemd
check "systemd: after a reboot it runs without us" wait_for 5 serves 1.1
wait_for 5 active
sleep 0.1
before=$(snapshot)
once
is "$status" 0 "systemd: ... and nothing needs doing"
is "$(snapshot | diff - <(echo "$before"))" "" "systemd: ... nothing is done"

# ---- an end that is noticed before its own start ----
# finish, run as systemd would with such a job under way.
mkdir "$T/jobs"
printf '#!/bin/sh\ncat %s/jobs/list\n' "$T" >"$T/jobs/systemctl"
chmod 755 "$T/jobs/systemctl"
finish() {
	printf '%3d %-24s %-7s running\n' 7 platypus-other.service stop 145 platypus-slug.service "$1" >"$T/jobs/list"
	rm -f "$G/slug/exits"
	PATH=$T/jobs:$PATH EXIT_CODE=exited EXIT_STATUS=3 sh "$G/slug/finish"
	[ -s "$G/slug/exits" ]
}
check "systemd: an end while its start is under way: nobody asked for it" finish start
for job in stop restart try-restart; do
	refute "systemd: ... while its $job is under way: somebody did" finish "$job"
done

# ---- a crash loop; somebody else's unit; the end ----
# Not in time, however long its shell takes to end.
intend '{"1.2": "active"}' 10s 3s
once
is "$status" 111 "systemd: a crash loop: not converged"
tells() { once; [[ $errors == *"it last ended with status 3; last line of its log: no database"* ]]; }
check "systemd: ... with its last words" wait_for 5 tells
echo '[Service]' >"$T/system/platypus-other.service"
put clusters/other/c/deploy_config "{\"basedir\": \"$T/other\"}"
put clusters/other/c/config '{"versions": {"1": "prep"}}'
put nodes/n1/other '{"cluster": "c"}'
intend '{"1.1": "active"}'
once
is "$status" 100 "systemd: a foreign unit: refused"
like "$errors" "system/platypus-other.service is not a unit made by pp-setlive; move it away" "systemd: ... by name"
is "$(cat "$T/system/platypus-other.service")" '[Service]' "systemd: ... and not touched"
check "systemd: ... nor does it hurt others" wait_for 2 serves 1.1
rm "$S/nodes/n1/other"
pid=$(main_pid)
rm "$S/nodes/n1/slug"
put nodes/n1/keep '{"cluster": "c"}'
once
refute "systemd: the node's key gone: the unit too" test -e "$unit" -o -L "$boots" -o -e "$G/slug"
refute "systemd: ... and the process" inside kill -0 "$pid"
is "$(inside systemctl show --property=LoadState --value platypus-slug.service)" not-found "systemd: ... which is forgotten"

done_testing
