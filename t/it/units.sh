#!/bin/bash
# The units in contrib/: systemd takes them, and what they leave of root's power is enough.
set -u
. "$(dirname "$0")/../lib.sh"

units=$ROOT/contrib/systemd

verify() {
	local said
	# The programs and their manuals need not be installed here.
	said=$(systemd-analyze verify "$1" 2>&1 | grep -vE 'is not executable|failed with code 16|man:')
	[ -z "$said" ] || { echo "$said"; return 1; }
}

if have systemd-analyze; then
	for unit in "$units"/*.service; do
		check "systemd takes ${unit##*/}" verify "$unit"
	done
	check "the units leave no more of root's power than they must" "$ROOT/t/lint" units
else
	skip "systemd takes the units" "systemd-analyze is not on PATH"
fi

# The unit's bounding set, as setpriv wants it.
bounds() {
	sed -n 's/^CapabilityBoundingSet=//p' "$units/$1.service" | tr 'A-Z ' 'a-z\n' |
		sed 's/^cap_/+/' | paste -sd, | sed 's/^/-all,/'
}

confined() {
	local unit=$1
	shift
	setpriv --no-new-privs --bounding-set "$(bounds "$unit")" --inh-caps=-all "$@"
}

if [ "$EUID" != 0 ] || ! have setpriv; then
	skip "agents work with their unit's capabilities" "only root has capabilities to give up"
	done_testing
fi
like "$(bounds pp-preparer)" '^-all,[+]setuid,.*[+]kill$' "the unit's capabilities are found"
like "$(confined pp-preparer sh -c 'grep CapEff /proc/self/status')" '00000e0$' "and nothing else is left"

if ! { have pp-preparer && have pp-setlive && have runsvdir; }; then
	skip "agents work with their unit's capabilities" "an agent or runit is not there"
	done_testing
fi

export PP_STORE=dir:$T/store PP_NODE=n1
mkdir -p "$T/repo/hello" "$T/tree/bin"
printf '#!/bin/sh\nid -u\nexec sleep 1000\n' >"$T/tree/bin/launch"
chmod 755 "$T/tree/bin/launch"
tar -czf "$T/repo/hello/hello_1.0.tar.gz" -C "$T/tree" .
(cd "$T/repo/hello" && sha256sum hello_1.0.tar.gz >hello_1.0.tar.gz.sha256)
check "a store" ppctl init "$PP_STORE"
check "deploy_config" ppctl put clusters/hello/live/deploy_config "{\"basedir\": \"$T/hello\", \"runas\": \"daemon\"}"
check "config" ppctl put clusters/hello/live/config '{"versions": {"1.0": "active"}}'
check "node add" ppctl node add hello live

run confined pp-preparer pp-preparer --once --repo "file://$T/repo/" --state-dir "$T/preparer" --listen none
is "$status" 0 "pp-preparer converges with its unit's capabilities"
[ "$status" = 0 ] || diag "$errors"
is "$(stat -c %U "$T/hello/installs/hello_1.0/bin/launch")" root "what is installed belongs to root"

start_runsvdir "$T/service"
start setlive setpriv --no-new-privs --bounding-set "$(bounds pp-setlive)" --inh-caps=-all \
	pp-setlive --runit "$T/service" --runit-stage "$T/stage" --state-dir "$T/setlive" --listen none
converged() { ppctl status hello; }
if wait_for 20 converged; then
	ok "pp-setlive converges with its unit's capabilities"
else
	not_ok "pp-setlive converges with its unit's capabilities" "$(cat "$T/setlive.log")" "$(ppctl status)"
fi

if have pp-port-firewall && unshare -n nft list ruleset >/dev/null 2>&1; then
	run confined pp-port-firewall unshare -n true
	isnt "$status" 0 "the firewall's capabilities make no namespace"
	run unshare -n setpriv --no-new-privs --bounding-set "$(bounds pp-port-firewall)" --inh-caps=-all \
		pp-port-firewall --once --policy drop --state-dir "$T/firewall" --listen none
	is "$status" 0 "pp-port-firewall converges with its unit's capabilities"
	[ "$status" = 0 ] || diag "$errors"
else
	skip "pp-port-firewall converges with its unit's capabilities" "no nft, or no right to a network namespace"
fi
done_testing
