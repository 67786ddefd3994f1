#!/bin/bash
# pp-terraform-applier with a stand-in for Terraform: what it decides, and faults. terraform-real.sh has the real one.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/terraforming.sh"
# plan [ADDRESS:ACTIONS:VALUE...]: Terraform's JSON; ACTIONS as in "delete,create".
plan() {
	local one address actions value items=
	for one; do
		IFS=: read -r address actions value <<<"$one"
		items+="${items:+,}{\"address\":\"$address\",\"mode\":\"managed\",\"change\":{\"actions\":[\"${actions//,/\",\"}\"],\"before\":null,\"after\":{\"v\":\"$value\",\"pw\":\"canary-value\"}}}"
	done
	echo "{\"format_version\":\"1.2\",\"timestamp\":\"$EPOCHREALTIME\",\"resource_changes\":[$items],\"prior_state\":{\"values\":{\"root_module\":{\"resources\":[{\"mode\":\"managed\",\"address\":\"stub.old\"}]}}}}"
}
# fresh: a stack that nobody has seen, and a stand-in that has done nothing.
fresh() {
	rm -rf "$T/state" "$stub"
	mkdir -p "$stub"
	ppctl rm approvals/stack/prod/net >/dev/null 2>&1
	stack net "${1:-}"
	plan >"$stub/after.json"
}

# ---- what is applied by itself, and what is not ----
fresh
plan stub.one:create:1 stub.two:update:1 >"$stub/plan.json"
run "${applier[@]}" --dry-run
is "$status" 2 "dry run: there is work"
like "$output$errors" 'Applying plan [0-9a-f]{24}: 1 to add, 1 to change, 0 to destroy' "... and it says which"
is "$(applies)" "" "... and nothing is applied"
once
is "$status" 0 "what creates and updates is applied"
is "$(applies)" 1 "... once"
like "$(cat "$stub/calls")" 'plan .*-detailed-exitcode.*-out=/proc/self/fd/0' "... from a plan that is no file"
once
is "$status" 0 "a second round: converged"
is "$(applies)" 1 "... and nothing is applied"

fresh '"apply": "none"'
plan stub.one:create:1 >"$stub/plan.json"
once
is "$status" 100 "apply none: blocked"
is "$(member reason)" ApprovalRequired "... for approval"

fresh
plan stub.one:delete,create:1 stub.two:create:1 >"$stub/plan.json"
once
is "$status" 100 "a replacement: blocked"
is "$(member reason)" ApprovalRequired "... for approval"
id=$(plan_id)
like "$(member message)" "2 to add, 0 to change, 1 to destroy .*ppctl approve stack prod/net $id\$" "... with counts and the exact line"
unlike "$(ppctl get reality/status/terraform-applier/n1/prod/net)" canary "... and no value"
run ppctl stack show prod/net --state-dir "$T/state"
like "$output" 'following actions: pw = \(sensitive value\)' "ppctl stack show: the plan as Terraform shows it"
like "$output" "ppctl approve stack prod/net $id" "... and the line that approves it"
run ppctl stack show prod/net
like "$output" '-/[+] stub.one' "... elsewhere, its addresses"
approve 0123456789abcdef
once
is "$status" 100 "approval of another plan"
is "$(applies)" "" "... allows nothing"
approve "$id"
cp "$stub/plan.json" "$stub/before.json"
once
is "$status" 0 "approved: applied"
is "$(applies)" 1 "... once"
cp "$stub/before.json" "$stub/plan.json"
once
is "$status" 100 "the same effect again"
is "$(applies)" 1 "... needs another approval: each is used once"

fresh
plan stub.one:delete:1 >"$stub/plan.json"
ppctl put --force approvals/stack/prod/net '{"plan": "all of them"}' >>"$T/ppctl.log" 2>&1
once
is "$status $(member reason)" "100 ApprovalRequired" "a malformed approval is none"
like "$(member approval_fault)" 'approvals/stack/prod/net: /plan: must be' "... and is named"

# ---- between plan and approval ----
fresh
plan stub.one:delete:1 >"$stub/plan.json"
once
approve "$(plan_id)"
plan stub.one:delete:1 stub.two:delete:1 >"$stub/plan.json"
once
is "$status $(applies)" "100 " "drift between plan and approval: nothing is applied"
fresh
plan stub.one:delete:1 >"$stub/plan.json"
once
approve "$(plan_id)"
rm -f "$stub/planned"
plan stub.two:delete:1 >"$stub/plan2.json"
once
is "$(applies)" "" "drift between the last look and the apply: nothing is applied"
like "$errors" "no longer what would happen, and nothing was applied" "... and it says so"
once
is "$status $(member reason)" "100 ApprovalRequired" "... and asks again"

# ---- protected, absent, orphaned ----
fresh '"protect": ["stub.d*"], "apply": "all"'
plan stub.db:delete:1 >"$stub/plan.json"
once
is "$status $(member reason)" "100 Refused" "a protected address is refused, whatever apply says"
approve "$(plan_id)"
once
is "$status $(applies)" "100 " "... approval or not"
like "$(member message)" 'stub.db would be lost, and .*protect.* has stub[.]d[*]' "... and it says by what"

fresh '"ensure": "absent", "apply": "all"'
plan stub.one:delete:1 >"$stub/plan.json"
once
is "$status $(member reason)" "100 ApprovalRequired" "ensure absent needs approval, whatever apply says"
like "$(cat "$stub/calls")" 'plan .*-destroy' "... and plans a destroy"

fresh
plan >"$stub/plan.json"
once
ppctl rm stacks/prod/net >>"$T/ppctl.log" 2>&1
before=$(plans)
once
is "$status $(member reason)" "100 Orphaned" "a stack that vanished: orphaned"
is "$(plans)" "$before" "... and Terraform is not even asked"

# ---- drift ----
fresh
plan >"$stub/plan.json"
once
plan stub.one:update:1 >"$stub/plan.json"
once
is "$status $(applies)" "100 " "drift is reported"
like "$(member message)" 'changed from outside' "... as such"
stack net '"drift": "apply"'
once
is "$status $(applies)" "0 1" "drift: apply: repaired"
plan stub.one:update:2 >"$stub/plan.json"
plan stub.one:update:3 >"$stub/after.json"
once
is "$status $(applies)" "100 2" "a module that never settles is applied once, not for ever"

# ---- failures ----
fresh
plan stub.one:create:1 >"$stub/plan.json"
echo fail >"$stub/apply"
once
is "$status $(member reason)" "111 ChildFailed" "a failed apply: failing"
like "$(member message)" 'creating the thing: quota exceeded' "... with what Terraform says"
refute "... it leaves no question open" test -e "$T/state/stacks/prod/net/pending.json"
before=$(plans) ; rm "$stub/apply"
once
is "$status" 0 "... planned anew, and applied"
check "... planned before it" test "$(plans)" -gt "$before"

fresh
plan stub.one:create:1 >"$stub/plan.json"
echo errored >"$stub/apply"
once
is "$status $(member reason)" "100 ApplyOutcomeUnknown" "a state that could not be written"
is "$(cat "$T/state/stacks/prod/net/errored.tfstate")" '{"version": 4}' "... is kept"
rm "$stub/apply"; once
is "$status $(applies)" "100 1" "... and nothing is applied until a person has seen to it"

fresh
plan stub.one:create:1 >"$stub/plan.json"
printf 'Error message: PreconditionFailed, RequestID: RQ1, HostID: H1\\nLock Info:\\n  ID:        5e2b-77\\n  Path:      env:/net\\n  Operation: OperationTypeApply\\n  Who:       anna@elsewhere\\n  Created:   %s +0000 UTC\\n' \
	"$(date -u -d '5 minutes ago' '+%F %T.123456')" >"$stub/lock"
once
is "$status $(member reason)" "111 Busy" "Terraform's own lock is held: waiting"
like "$(member message)" 'held by anna@elsewhere for OperationTypeApply, since 5m[0-9]*s; whether that process still lives cannot be known.*force-unlock 5e2b-77' "... by whom, since when, and what can be known of him"
sed -i "s/anna@elsewhere/anna@$(uname -n)/" "$stub/lock"
once
like "$(member message)" '(no Terraform is to be seen on|a Terraform .process [0-9]+. runs on) this host' "... of this host it is known"
echo 'Error message: HTTP remote state already locked: ID=77-5e2b\nLock Info:\n  ID:        own\n  Who:       me@here' >"$stub/lock"
once
like "$(member message)" 'held by somebody whom this backend does not name; whether .* cannot be known.*force-unlock 77-5e2b' "... where Terraform shows its own lock instead, that is not taken for the holder's"
is "$(grep -c force-unlock "$stub/calls")" 0 "... and it is not broken"

fresh
plan stub.one:create:1 >"$stub/plan.json"
echo 1.4.9 >"$stub/version"
once
is "$status" 100 "Terraform 1.4: refused"
like "$errors" 'is version "1.4.9"; 1.5 or newer is needed' "... and why"

# ---- killed, stopped ----
hanging() { [ -s "$stub/apply.pid" ] && [ -e "$stub/applies" ]; }
# begin: an agent whose apply hangs; sets $agent and $apply.
begin() {
	plan stub.one:create:1 >"$stub/plan.json"
	echo hang >"$stub/apply"
	rm -f "$stub/apply.pid" "$stub/applies" "$stub/signals"
	start applier "${applier[@]}" --interval 1s --splay 0
	agent=$pid
	wait_for 10 hanging || diag "$(cat "$T/applier.log")"
	apply=$(cat "$stub/apply.pid")
}

fresh
begin
check "pending is written before an apply begins" test -s "$T/state/stacks/prod/net/pending.json"
kill -TERM "$agent"
check "SIGTERM during an apply: the agent ends" wait_for 10 gone "$agent"
check "... and Terraform has ended by itself" gone "$apply"
is "$(cat "$stub/signals")" INT "... after one SIGINT"
refute "... and nothing is left open: it could write its state" test -e "$T/state/stacks/prod/net/pending.json"

fresh
begin
echo deaf >"$stub/apply"
kill -TERM "$agent"
saw_int() { [ "$(cat "$stub/signals")" = INT ]; }
check "an apply that does not end at once gets its SIGINT" wait_for 5 saw_int
sleep 3
check "... is waited for" proc_stat "$agent"
is "$(cat "$stub/signals")" INT "... and gets no other signal"
kill -KILL "$apply"
check "... and ends when it does" wait_for 10 gone "$agent"
once
is "$status $(member reason)" "100 ApplyOutcomeUnknown" "Terraform killed: the outcome is not known"
is "$(applies)" 1 "... and nothing is applied again"
like "$(member message)" 'was cut short at .*ppctl approve stack prod/net' "... a person may decide"
rm "$stub/apply"
plan >"$stub/plan.json"
once
is "$status $(member state)" "0 converged" "... or an empty plan shows that nothing is left to do"

# kill_round: the whole agent dies at once, as with a machine that runs out of memory.
fresh '"apply": "all"'
plan stub.one:delete:1 >"$stub/plan.json"
begin
for one in $(family "$agent" | cut -d' ' -f1); do [ "$one" = "$apply" ] || kill -KILL "$one" 2>/dev/null; done
check "the agent killed during an apply: Terraform is interrupted" wait_for 5 gone "$apply"
is "$(grep -c INT "$stub/signals")" 1 "... once"
stop "$agent"
rm "$stub/apply"
once
is "$status $(member reason)" "100 ApplyOutcomeUnknown" "... the outcome is not known"
is "$(applies)" 1 "... and there is no second apply"
approve "$(plan_id)"
once
is "$status $(applies)" "0 2" "... unless a person approves what is left"

# An approval that a killed apply had used does not count again.
fresh
plan stub.one:delete:1 >"$stub/plan.json"
once
approve "$(plan_id)"
echo hang >"$stub/apply"
start applier "${applier[@]}"
wait_for 10 hanging
kill -KILL "$(cat "$stub/apply.pid")"
unknown() { [ "$(member reason)" = ApplyOutcomeUnknown ]; }
check "an approved apply is killed" wait_for 5 unknown
stop "$pid"
rm "$stub/apply"
once
is "$status $(applies)" "100 1" "... its approval does not count twice"

# Killed at each call of Terraform in one convergence; in the apply before and after its work. A second run
# never applies twice, and never calls converged what nobody saw end.
# try_step N: adds to $wrong; fails when there is no such call.
try_step() {
	echo "$1" >"$stub/kill-at"
	plan stub.one:create:1 >"$stub/plan.json"
	once
	[ -e "$stub/killed" ] || return 1
	begun=$(grep -c '^apply' "$stub/calls")
	once
	case $begun:$(applies):$status:$(member reason) in
	0:1:0: | 1:1:100:ApplyOutcomeUnknown | 1::100:ApplyOutcomeUnknown | 1:1:0:) ;;
	*) wrong+=" $1 ($begun begun, then $(applies) applied, exit $status, $(member reason))";;
	esac
} 2>/dev/null
step=1 wrong=
fresh
while try_step "$step"; do
	step=$((step + 1))
	fresh
done
check "there are enough calls to be killed at" test "$step" -gt 9
last=$(grep -n '^apply' "$stub/calls" | cut -d: -f1)
fresh
: >"$stub/kill-after"
try_step "$last"
is "$(applies)" 1 "killed right after the work of an apply, too: it is not done again"
is "$wrong" "" "killed at each of $step calls of Terraform: never a second apply, and nothing unreported"

# What a killed git, and a killed agent, left: git would let no other begin. `make fault` kills at each call.
fresh
plan >"$stub/plan.json"
once
home=$T/state/stacks/prod/net
: >"$home/git/index.lock"
: >"$home/git/objects/tmp_obj_x"
echo '# more' >>"$T/module/main.tf"
: >"$home/.tmp-00000000-1-1"
once
is "$status $(find "$home" -name '*.lock' -o -name 'tmp_*' -o -name '.tmp-*')" "0 " "what a killed git and a killed agent left stops nobody, and goes"

# ---- two appliers ----
fresh
plan stub.one:create:1 >"$stub/plan.json"
echo slow >"$stub/apply"
start one pp-terraform-applier --node a --state-dir "$T/state.a" --listen none --terraform "$ROOT/t/it/terraform-stub"
first=$pid
start two pp-terraform-applier --node b --state-dir "$T/state.b" --listen none --terraform "$ROOT/t/it/terraform-stub"
both() { [ "$(member state a)" = converged ] && [ "$(member state b)" = converged ]; }
check "two appliers at once: both converge" wait_for 20 both
is "$(applies)" 1 "... and one applied"
stop "$pid"; stop "$first"

# ---- the lock of a world ----
fresh '"lock": "prod"'
plan stub.one:create:1 >"$stub/plan.json"
ppctl put locks/world/prod '{"holder": "job-runner@n2", "since": "2026-11-21T10:00:00Z"}' >>"$T/ppctl.log" 2>&1
once
is "$status $(member reason)" "111 Busy" "the world's lock is held: waiting"
like "$(member message)" 'locks/world/prod: held by job-runner@n2' "... by whom"
ppctl rm locks/world/prod >>"$T/ppctl.log" 2>&1
once
is "$status $(applies)" "0 1" "... then applied"
is "$(ppctl ls locks)" "" "... and no lock is left"

# ---- on a server: the locks hang on a session that is renewed ----
if start_etcd; then
	directory=$PP_STORE PP_STORE=$ETCD_URL
	fresh
	begin
	run ppctl lock ls
	like "$output" 'locks/stack/prod/net +terraform-applier@n1 +since' "etcd: the lock of an apply and its holder are to be seen"
	kill -KILL "$apply"
	is_open() { [ "$(member reason)" = ApplyOutcomeUnknown ]; }
	check "etcd: an apply that is killed is reported" wait_for 10 is_open
	run ppctl lock ls
	is "$output" "" "etcd: ... and its lock is free"
	stop "$agent"
	PP_STORE=$directory
else
	skip "etcd: the lock of an apply and its holder are to be seen" "etcd is not on PATH"
fi

# ---- how often it is planned ----
fresh
plan stub.one:delete:1 >"$stub/plan.json"
start often "${applier[@]}" --interval 1s --splay 0
asked() { [ "$(member reason)" = ApprovalRequired ]; }
wait_for 10 asked
before=$(plans)
kill -USR1 "$pid"; sleep 1.5
is "$(plans)" "$before" "while nothing has changed, the last plan counts"
approve "$(plan_id)"
settled() { [ "$(member state)" = converged ]; }
check "an approval is acted on at once" wait_for 10 settled
stop "$pid"
fresh
plan >"$stub/plan.json"
start often "${applier[@]}" --interval 1s --splay 0 --drift-interval 1s
more() { [ "$(plans)" -gt 2 ]; }
check "... until --drift-interval is over" wait_for 15 more
stop "$pid"

# ---- one state for two ----
fresh
stack other "\"state\": {\"backend\": \"local\", \"path\": \"$T/net.tfstate\"}"
plan stub.one:create:1 >"$stub/plan.json"
once
is "$status $(applies)" "100 " "two stacks with one state: nothing is applied"
like "$errors" 'the state of both stacks/prod/net and stacks/prod/other' "... and both are named"
ppctl rm stacks/prod/other >>"$T/ppctl.log" 2>&1
once
is "$status $(applies)" "0 1" "... until one of them is gone"

# ---- secrets ----
like "$(cat "$stub/env")" 'TF_VAR_pw=canary-value' "Terraform gets the variables that it is to have"
unlike "$(cat "$stub/env")" 'store-canary' "... and not the store's token"
is "$(grep -rlE 'canary-value|store-canary' "$T/state" "$T/store" "$T"/*.log "$stub/calls" 2>/dev/null)" "" \
	"a secret of the plan is in no file of the agent, in no document, log or argv"
is "$(find "$T/state" -name '*tfplan*' -o -name 'tf.plan')" "" "and no plan is left as a file"
is "$(find "$T/state" -type f -perm /077 | grep -v '/git/')" "" "what is kept is nobody else's to read"

done_testing
