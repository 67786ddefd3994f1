#!/bin/bash
# pp-terraform-applier with the real Terraform, its built-in terraform_data and the local backend: the whole way.
set -u
. "$(dirname "$0")/../lib.sh"
have terraform || skip_all "terraform is not on PATH"
. "$ROOT/t/terraforming.sh"
unset TF_VAR_stub
applier=(pp-terraform-applier --listen none --state-dir "$T/state" --lock-timeout 1s)

# ---- the session of the README, as it stands there ----
session() { sed -n '/^Paste this/,/^\[pp-/p' "$ROOT/agents/terraform-applier/README.md" | sed -n 's/^    //p' | sed "s|/tmp/try|$T/try|g"; }
session >"$T/session"
run env -u PP_STORE -u PP_NODE bash "$T/session"
is "$status" 0 "the README's session ends well"
[ "$status" = 0 ] || diag "$output" "$errors"
like "$errors" 'blocked: 1 to add, 0 to change, 1 to destroy' "... the replacement was asked about"
like "$output" 'terraform_data.db must be replaced' "... and shown"
like "$errors" 'Applying plan [0-9a-f]+: 1 to add, 0 to change, 1 to destroy .*; approved by' "... and applied once approved"
like "$(cat "$T/try/db.tfstate")" 'db-2.example' "... and its output is in the state"

# ---- a module from git, by branch; a secret ----
repository=$T/repository
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
commit() { git -C "$repository" add -A && git -C "$repository" commit -qm "$1"; }
mkdir -p "$repository/net"
git init -q -b main "$repository"
cat >"$repository/net/main.tf" <<'END'
variable "name" {}
variable "pw" { sensitive = true }
resource "terraform_data" "net" { input = "${var.name}:${var.pw}" }
resource "terraform_data" "held" { triggers_replace = ["1"] }
resource "terraform_data" "slow" {
  input = "1"
  provisioner "local-exec" { command = "echo $$ >>provisioned; sleep 0" }
}
output "name" { value = var.name }
output "secret" {
  value     = terraform_data.net.output
  sensitive = true
}
END
commit one
gitstack() { ppctl put stacks/prod/net "{\"source\": \"file://$repository//net@${1:-main}\", \"vars\": {\"name\": \"${2:-a}\"}, \"protect\": [\"terraform_data.held\"], \"state\": {\"backend\": \"local\", \"path\": \"$T/net.tfstate\"}}" >>"$T/ppctl.log" 2>&1; }
gitstack
once
is "$status" 0 "a module from git: applied"
is "$(member commit)" "$(git -C "$repository" rev-parse main)" "... at the commit of its branch"
like "$(cat "$T/net.tfstate")" 'a:canary-value' "... with the variables of intent and of the environment"
once
is "$status" 0 "... and nothing is left to do"
unlike "$errors" 'Applying' "... so nothing is done"

sed -i 's/triggers_replace = \["1"\]/triggers_replace = ["2"]/' "$repository/net/main.tf"
commit two
once
is "$status $(member reason)" "100 Refused" "the branch moved: a protected resource would be replaced"
like "$(member message)" 'terraform_data.held would be lost' "... and is not"
git -C "$repository" revert --no-edit HEAD >/dev/null 2>&1
sed -i 's/input = "1"/input = "2"/' "$repository/net/main.tf"
commit three
once
is "$status" 0 "a harmless commit is applied by itself"
is "$(find "$T/state/stacks/prod/net/src" -mindepth 1 -maxdepth 1 | wc -l)" 1 "... and only its checkout is kept"

# ---- drift of the real thing ----
sed -i 's/a:canary-value/b:canary-value/' "$T/net.tfstate"
once
is "$status $(member reason)" "100 ApprovalRequired" "drift: reported"
unlike "$(cat "$T/state/stacks/prod/net/plan.txt")" 'canary' "... and the plan that is kept hides what is sensitive"
approve "$(plan_id)"
once
is "$status" 0 "... and repaired when approved"

# ---- the state is lost ----
mv "$T/net.tfstate" "$T/kept.tfstate"
gitstack main c
once
is "$status $(member reason)" "100 ApprovalRequired" "a state that is lost: asked about, though nothing but new resources is planned"
like "$(member message)" 'had some when last applied; if it was lost, get it back' "... and why is said"
mv "$T/kept.tfstate" "$T/net.tfstate"
once
is "$status" 0 "... and once it is back, intent is applied"
gitstack
once

# ---- Terraform's own lock, held by a live process ----
if have python3; then
	cat >"$T/holder.py" <<-END
	import fcntl, json, time
	state = open("$T/net.tfstate", "r+")
	fcntl.lockf(state, fcntl.LOCK_EX)
	json.dump({"ID": "0c1d", "Operation": "OperationTypeApply", "Info": "", "Who": "anna@desk", "Version": "1.11.4",
	    "Created": "2026-11-21T10:00:00Z", "Path": "$T/net.tfstate"}, open("$T/.net.tfstate.lock.info", "w"))
	open("$T/held", "w")
	time.sleep(1000)
	END
	start holder python3 "$T/holder.py"
	wait_for 5 test -e "$T/held"
	once
	is "$status $(member reason)" "111 Busy" "the state's lock is held by a live process: waiting"
	like "$(member message)" "held by anna@desk for OperationTypeApply, since .*; process $pid here has it" "... which is named"
	stop "$pid"
	rm -f "$T/.net.tfstate.lock.info"
else
	skip "the state's lock is held by a live process" "python3 is not on PATH"
fi

# ---- stopped in the middle of a real apply ----
sed -i 's/input = "2"/input = "3"\n  triggers_replace = ["3"]/; s/sleep 0/exec sleep 300/' "$repository/net/main.tf"
commit four
once
approve "$(plan_id)"
rm -rf "$T/provisioning"
start real "${applier[@]}"
agent=$pid
provisioning() { ls "$T"/state/stacks/prod/net/src/*/net/provisioned; }
check "a long apply is under way" wait_for 20 provisioning
says() { ppctl get reality/status/terraform-applier/n1/prod/net | grep -q "\"resource\": \"terraform_data.slow\""; }
check "... and the status says at which resource" wait_for 20 says
kill -TERM "$agent"
check "SIGTERM: the agent ends when Terraform has" wait_for 20 gone "$agent"
like "$(cat "$T/net.tfstate")" '"status": "tainted"' "... which wrote what it had half made into its state"
refute "... so that nothing is unknown" test -e "$T/state/stacks/prod/net/pending.json"
sed -i 's/exec sleep 300/sleep 0/' "$repository/net/main.tf"
commit five
once
is "$status $(member reason)" "100 ApprovalRequired" "the half-made resource would be replaced: asked about"

# ---- the end ----
ppctl put stacks/prod/net "{\"source\": \"file://$repository//net\", \"vars\": {\"name\": \"a\"}, \"ensure\": \"absent\", \"state\": {\"backend\": \"local\", \"path\": \"$T/net.tfstate\"}}" >>"$T/ppctl.log" 2>&1
once
is "$status $(member reason)" "100 ApprovalRequired" "ensure absent: asked about"
approve "$(plan_id)"
once
is "$status" 0 "... and destroyed once approved"
unlike "$(cat "$T/net.tfstate")" '"type": "terraform_data"' "... all of it"
ppctl rm stacks/prod/net >>"$T/ppctl.log" 2>&1
once
is "$status" 0 "its key removed: nothing is orphaned"
refute "... and forgotten" test -e "$T/state/stacks/prod/net"

# ---- what cannot be planned ----
ppctl put stacks/prod/none "{\"source\": \"dir:$T/try/module\"}" >>"$T/ppctl.log" 2>&1
once
like "$errors" 'nothing says where the state is kept' "a stack without any backend is refused"
ppctl put stacks/prod/none "{\"source\": \"file://$repository@nowhere\", \"state\": {\"backend\": \"local\", \"path\": \"$T/x.tfstate\"}}" >>"$T/ppctl.log" 2>&1
once
like "$errors" 'has no branch or tag nowhere' "a ref that does not exist is named"
echo 'resource "terraform_data" "x" { input = var.undeclared }' >"$repository/main.tf"
commit six
ppctl put stacks/prod/none "{\"source\": \"file://$repository\", \"state\": {\"backend\": \"local\", \"path\": \"$T/x.tfstate\"}}" >>"$T/ppctl.log" 2>&1
once
like "$errors" 'Reference to undeclared input variable .main.tf:1.' "a fault of the module is named, with file and line"
ppctl rm stacks/prod/none >>"$T/ppctl.log" 2>&1

is "$(grep -rlE 'canary-value|store-canary' "$T/state" "$T/store" "$T"/*.log 2>/dev/null)" "" \
	"no secret is in any file of the agent, in any document or log"
done_testing
