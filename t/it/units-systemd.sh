#!/bin/bash
# The units in contrib/ as they are, under a systemd of our own: preparer and setlive deploy a service below /srv, which
# systemd runs, and health-reporter says so.
set -u
: "${TMPDIR:=/tmp}" # its /dev is another
. "$(dirname "$0")/../lib.sh"
mkdir -p "$T/srv/repo/hello" "$T/srv/bin" "$T/lib" "$T/tree/bin"
chmod 755 "$T/srv" "$T/lib"
# shellcheck source=t/systemd.sh
. "$ROOT/t/systemd.sh"
have pp-preparer && have pp-setlive || skip_all "an agent is not built"

store=dir:/var/lib/platypus/store
ppctl() { inside env PP_STORE="$store" PP_NODE=n1 ppctl "$@"; }

# A /dev of its own is more than some namespaces let systemd make.
printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' Type=oneshot ExecStart=/bin/true PrivateDevices=yes \
	>"$T/system/probe.service"
inside systemctl daemon-reload
devices=
inside systemctl start probe 2>/dev/null || { devices=PrivateDevices=no; skip "PrivateDevices" "not in these namespaces"; }

# unit NAME ARG...: as shipped, but for where the program is (a unit may see another /tmp, in which we may be built), whom
# it serves and (there is no such user here) its name.
unit() {
	local name=$1 user
	shift
	cp "$ROOT/contrib/systemd/$name.service" "$T/system/"
	cp "$BUILD_DIR/bin/$name" "$T/srv/bin/"
	user=$(sed -n 's/^User=/User=/p' "$T/system/$name.service")
	mkdir -p "$T/system/$name.service.d"
	printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' ExecStart= "ExecStart=/srv/bin/$name $*" \
		"Environment=PP_STORE=$store PP_NODE=n1 ASAN_OPTIONS=${ASAN_OPTIONS:-}" ${user:+User=nobody Group=nogroup} $devices \
		>"$T/system/$name.service.d/here.conf"
	ran=$name
}
running() { inside systemctl is-active --quiet "$ran"; }
starts() {
	inside systemctl daemon-reload
	inside systemctl start "$ran" && running && ok "$ran starts" ||
		not_ok "$ran starts" "$(inside systemctl status "$ran" 2>&1 | tail -n 5)" "$(log)"
}
log() { inside journalctl -u "$ran" -o cat --no-pager -n 15 2>&1; }
# eventually SECONDS DESC CMD...: with the unit's log when it does not.
eventually() {
	if wait_for "$1" "${@:3}"; then ok "$2"; else not_ok "$2" "$(log)"; fi
}

printf '#!/bin/sh\necho up\nexec sleep 1000\n' >"$T/tree/bin/launch"
# What an application brings is confined by none of the units: it sees processes, may gain privileges, and writes in /tmp.
chmod 711 "$T"
mkdir -m 777 "$T/free"
free='[ "$(id -un)" = daemon ] && [ -r /proc/1/stat ] && grep -q "NoNewPrivs:.0" /proc/self/status && touch "'$T'/free/x"'
printf '#!/bin/sh\n%s || { echo confined; exit 1; }\n' "$free" >"$T/tree/bin/check"
for hook in enable disable; do
	printf '#!/bin/sh\n%s && echo "%s $PP_VERSION" >>"%s/free/hooks"\n' "$free" $hook "$T" >"$T/tree/bin/$hook"
done
chmod 755 "$T"/tree/bin/*
# pack VERSION
pack() {
	tar -czf "$T/srv/repo/hello/hello_$1.tar.gz" -C "$T/tree" .
	(cd "$T/srv/repo/hello" && sha256sum "hello_$1.tar.gz" >"hello_$1.tar.gz.sha256")
}
pack 1.0
check "a store" ppctl init "$store"
# within TIME
within() {
	check "intent: deploy_config" ppctl put clusters/hello/live/deploy_config \
		'{"basedir": "/srv/hello", "runas": "daemon", "health": {"up": "100ms", "check": true, "deadline": "'"$1"'"}}'
}
within 30s
check "intent: config" ppctl put clusters/hello/live/config '{"versions": {"1.0": "active"}}'
check "intent: node" ppctl node add hello live

unit pp-preparer --repo file:///srv/repo/
starts
eventually 20 "pp-preparer installs below /srv" test -x "$T/srv/hello/installs/hello_1.0/bin/launch"
is "$(stat -c '%U %a' "$T/srv/hello/installs/hello_1.0/bin/launch")" "root 755" "... as root's, for all to read"
unit pp-setlive --supervisor systemd
starts
served() { [ "$(inside systemctl is-active platypus-hello.service)" = active ]; }
eventually 20 "pp-setlive lets systemd run it" served
converged() { ppctl --json get reality/status/setlive/n1/hello | grep -q '"state": *"converged"'; }
eventually 20 "... and is converged" converged
# shellcheck disable=SC2016 # for the shell inside
is "$(inside sh -c 'stat -c %U "/proc/$(systemctl show --property=MainPID --value platypus-hello)"')" daemon "... as its user"

is "$(cat "$T/free/hooks")" "enable 1.0" "... bin/enable has run, with what a hook may expect"

pack 1.1
rm "$T/tree/bin/enable" "$T/tree/bin/disable"
printf '#!/bin/sh\necho no database >&2\nexit 3\n' >"$T/tree/bin/check"
pack 1.2
check "intent: another version" ppctl put clusters/hello/live/config '{"versions": {"1.1": "active", "1.2": "prep"}}'
hooks() { [ "$(paste -sd, "$T/free/hooks")" = "enable 1.0,disable 1.0,enable 1.1" ]; }
eventually 20 "an update runs bin/disable of the old and bin/enable of the new version" hooks
eventually 20 "... and is converged" converged
if have pp-health-reporter; then
	unit pp-health-reporter --supervisor systemd
	starts
	inside systemctl stop "$ran"
	cp "$ROOT/contrib/systemd/health-reporter-runit.conf" "$T/system/$ran.service.d/more.conf"
	starts
	fact() { ppctl --json get reality/health/hello/live/n1 | grep -q '"state": *"healthy"'; }
	eventually 20 "pp-health-reporter, with what runit and this store take, publishes a fact" fact
fi
within 5s
check "intent: a version that is not well" ppctl put clusters/hello/live/config '{"versions": {"1.1": "prep", "1.2": "active"}}'
# Once its time is over: until then it is checked again and again.
unwell() { ppctl --json get reality/status/setlive/n1/hello | grep -q '"message": *"[^"]*bin/check: exit status 3: no database'; }
eventually 40 "what bin/check says in vain is told" unwell
left_of_hooks() { inside sh -c 'ls -A /run/platypus | grep -v sock; systemctl list-units --all --plain --no-legend "*hook*" | grep -v activ'; }
no_hooks() { [ -z "$(left_of_hooks)" ]; }
wait_for 5 no_hooks
is "$(left_of_hooks)" "" "nothing is left of hooks"

# The same unit, and runit: ProtectProc= hides from root's group nothing of how long a process has been up.
if have runsvdir && have chpst; then
	inside systemctl stop pp-setlive
	mkdir -p "$T/srv/service"
	# Ends as runsvdir.service does.
	inside systemd-run --quiet --unit=runsvdir --property=DefaultDependencies=no --property=KillSignal=SIGHUP \
		--property=KillMode=mixed runsvdir -P /srv/service
	within 30s
	ppctl put clusters/hello/live/config '{"versions": {"1.1": "active"}}' >/dev/null 2>&1
	ppctl rm reality/status/setlive/n1/hello >/dev/null 2>&1
	unit pp-setlive --supervisor runit --runit /srv/service --runit-stage /srv/stage --log-user daemon
	starts
	eventually 20 "pp-setlive lets runit run it, and is converged" converged
	is "$(tail -n 1 "$T/free/hooks")" "enable 1.1" "... bin/enable has run there, too"
	# Not in the order of a shutdown: pp-setlive is there to start again what ends.
	inside systemctl stop runsvdir
	isnt "$(inside systemctl show --property=Result --value runsvdir)" timeout "runsvdir ends beside it, with all of its own"
	inside systemctl stop pp-setlive
else
	skip "the unit and runit" "runsvdir is not on PATH"
fi
is "$(inside journalctl -o cat --no-pager -n 500 | grep -iE 'read-only file system|operation not permitted|permission denied' | grep -v 'by user')" "" \
	"no sandbox got into the way"
done_testing
