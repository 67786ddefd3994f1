#!/bin/bash
# The whole way, by agents that do not know each other: stack -> plan -> approval -> apply -> state -> injection ->
# a directory of variables -> the service is started again with them, by setlive, not by the injector. With a
# stand-in for Terraform, and with the real one where it is.
# long
set -u
. "$(dirname "$0")/../lib.sh"
have runsvdir || skip_all "runit is not on PATH"
have chpst || skip_all "runit's chpst is not on PATH"
. "$ROOT/t/terraforming.sh"
export RUNTIME_DIRECTORY=$T/run
mkdir -p "$T/run" "$T/web/installs/web_1.0/bin"
R=$T/service G=$T/stage
cat >"$T/web/installs/web_1.0/bin/launch" <<END
#!/bin/sh
echo "\$DB_HOST \${#DB_PASSWORD} \$PP_APP" >>$T/seen
exec sleep 1000
END
chmod 755 "$T/web/installs/web_1.0/bin/launch"
start_runsvdir "$R"
# Three agents, each on its own; what they print is kept.
injector() { start injector pp-configmap-injector --listen none --state-dir "$T/istate"; injector=$pid; }
setlive() { start setlive pp-setlive --listen none --state-dir "$T/sstate" --runit "$R" --runit-stage "$G"; setlive=$pid; }
pid_of() { cat "$G/web/supervise/pid" 2>/dev/null; }
says() { ppctl get "reality/status/$1/n1/$2" 2>/dev/null | grep -q "$3"; }
blocked() { says terraform-applier "prod/$1" ApprovalRequired && [ "$(plan_id n1 "$1")" != "${last:-}" ]; }
seen() { [ "$(tail -n 1 "$T/seen" 2>/dev/null)" = "$1" ]; }

# way NAME: "stub" or "real"; propose N makes the next plan lead to host db-N.
way() {
	local name=$1 old
	last=
	start applier "${applier[@]}"
	local its=$pid
	rm -rf "$T/env" "$T/seen"
	ppctl put "injections/prod/$name" '{"values": {"DB_HOST": {"from": "tfstate:'"$T/$name"'.tfstate#host"},
		"DB_PASSWORD": {"from": "tfstate:'"$T/$name"'.tfstate#password"}}, "sinks": [{"type": "envdir", "path": "'"$T"'/env"}]}' >>"$T/ppctl.log" 2>&1
	check "$name: the service waits for its variables" wait_for 15 says setlive web EnvironmentMissing
	check "... they wait for the state" wait_for 15 says configmap-injector "prod/$name" OutputMissing
	check "... and that for a person" wait_for 20 blocked "$name"
	refute "... nothing runs" test -e "$T/seen"
	last=$(plan_id n1 "$name")
	approve "$last" "$name"
	check "$name: once approved, the service runs with what Terraform made" wait_for 30 seen "db-1 12 web"
	check "$name: settled" wait_for 20 says setlive web '"state": "converged"'

	old=$(pid_of)
	stop "$setlive"
	propose 2
	check "$name: a change is asked about again" wait_for 30 blocked "$name"
	is "$(cat "$T/env/DB_HOST")" db-1 "... and until then nothing changes"
	last=$(plan_id n1 "$name")
	approve "$last" "$name"
	check "$name: the variables change" wait_for 30 grep -qx db-2 "$T/env/DB_HOST"
	is "$(pid_of)" "$old" "... and the injector leaves the service alone"
	setlive
	check "$name: its owner starts it again" wait_for 20 seen "db-2 12 web"
	is "$(grep -c . "$T/seen")" 2 "... once"
	like "$(cat "$T/setlive.log")" 'Stopping: envdir changed' "... and says why"
	# The service speaks before its runsv has noted its number.
	check "$name: settled again" wait_for 20 says setlive web '"state": "converged"'

	old=$(pid_of)
	mv "$T/env" "$T/env-aside" # at once: of what "rm -r" has half removed, half the variables would be gone
	rm -rf "$T/env-aside"
	check "$name: the variables come back by themselves" wait_for 15 grep -qx db-2 "$T/env/DB_HOST"
	is "$(pid_of)" "$old" "... and the service does not notice"
	stop "$its"
	ppctl put "injections/prod/$name" '{"values": {}, "sinks": [], "ensure": "absent"}' >>"$T/ppctl.log" 2>&1
	check "$name: retired" wait_for 15 test ! -e "$T/env"
	is "$(pid_of)" "$old" "... which stops nothing"
}

ppctl put clusters/web/prod/deploy_config '{"basedir": "'"$T"'/web", "envdir": "'"$T"'/env", "health": {"up": "50ms"}}' >>"$T/ppctl.log" 2>&1
ppctl put clusters/web/prod/config '{"versions": {"1.0": "active"}}' >>"$T/ppctl.log" 2>&1
ppctl node add web prod >>"$T/ppctl.log" 2>&1
injector
setlive

# ---- a stand-in for Terraform ----
propose() {
	echo '{"format_version": "1.2", "resource_changes": [{"address": "stub.db", "mode": "managed", "change": {"actions": ["update"], "before": null, "after": {"v": "'"$1"'"}}}]}' >"$stub/plan.json"
	echo '{"version": 4, "serial": '"$1"', "lineage": "l", "outputs": {"host": {"value": "db-'"$1"'"}, "password": {"value": "canary-value", "sensitive": true}}}' >"$stub/state"
	stack stub '"apply": "none", "vars": {"n": "'"$1"'"}'
}
echo '{"format_version": "1.2", "resource_changes": []}' >"$stub/after.json"
echo "$T/stub.tfstate" >"$stub/state-to"
propose 1
way stub

# ---- the real one ----
if have terraform; then
	applier=(pp-terraform-applier --listen none --state-dir "$T/state")
	cat >"$T/module/main.tf" <<'END'
variable "n" {}
resource "terraform_data" "db" { input = "db-${var.n}" }
output "host" { value = terraform_data.db.output }
output "password" {
  value     = "canary-value"
  sensitive = true
}
END
	propose() { stack real '"apply": "none", "vars": {"n": "'"$1"'"}'; }
	ppctl rm stacks/prod/stub injections/prod/stub >>"$T/ppctl.log" 2>&1
	stop "$setlive"
	ppctl rm nodes/n1/web >>"$T/ppctl.log" 2>&1
	run pp-setlive --once --state-dir "$T/sstate" --runit "$R" --runit-stage "$G"
	ppctl node add web prod >>"$T/ppctl.log" 2>&1
	setlive
	propose 1
	way real
else
	skip "the whole way with the real Terraform" "terraform is not on PATH"
fi
stop "$injector"
refute "the password is in no log, status, or note" grep -rqs canary "$T"/*.log "$T/store/reality" "$T/istate" "$T/sstate" "$G/.digest-key" "$G/web/started.json"
done_testing
