#!/bin/bash
# The units in contrib/ as they are, under a systemd of our own: preparer and setlive deploy a service below /srv, which
# systemd runs, and health-reporter says so.
set -u
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
printf '#!/bin/sh\n[ "$(id -un)" = "%s" ] || exit 1\n' daemon >"$T/tree/bin/check"
chmod 755 "$T/tree/bin/launch" "$T/tree/bin/check"
tar -czf "$T/srv/repo/hello/hello_1.0.tar.gz" -C "$T/tree" .
(cd "$T/srv/repo/hello" && sha256sum hello_1.0.tar.gz >hello_1.0.tar.gz.sha256)
check "a store" ppctl init "$store"
check "intent: deploy_config" ppctl put clusters/hello/live/deploy_config \
	'{"basedir": "/srv/hello", "runas": "daemon", "health": {"up": "100ms", "check": true}}'
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

if have pp-health-reporter; then
	unit pp-health-reporter --supervisor systemd
	starts
	inside systemctl stop "$ran"
	cp "$ROOT/contrib/systemd/health-reporter-runit.conf" "$T/system/$ran.service.d/more.conf"
	starts
	fact() { ppctl --json get reality/health/hello/live/n1 | grep -q '"state": *"healthy"'; }
	eventually 20 "pp-health-reporter, with what runit and this store take, publishes a fact" fact
fi
is "$(inside journalctl -o cat --no-pager -n 500 | grep -iE 'read-only file system|operation not permitted|permission denied' | grep -v 'by user')" "" \
	"no sandbox got into the way"
done_testing
