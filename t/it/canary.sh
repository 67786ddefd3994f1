#!/bin/bash
# No secret shows anywhere but where it is meant to be: values planted in a variable of Terraform, a state, a file and an
# environment variable; then logs, the store, sockets, command lines, environments, state directories, core files and
# what ppctl says are searched for them.
# shellcheck disable=SC2154 # lib.sh says what they are
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/injecting.sh"
start_kubeserver || { not_ok "the API server runs"; done_testing; }

# ---- what is planted, and how it would look ----

canary=canary$RANDOM$RANDOM$RANDOM
canary=${canary:0:18} # so that its base64 is a prefix of that of what begins with it
printf '%s\n' "$canary" "$(printf %s "$canary" | base64)" >"$T/patterns"
found_in() { grep -rlsaFf "$T/patterns" "$@"; }
mkdir -p "$T/stub" "$T/module" "$T/cores"
echo '# nothing' >"$T/module/main.tf"
echo "$canary-file" >"$T/password"
echo "$canary:5432" >"$T/address"
cat >"$T/net.tfstate" <<END
{"version": 4, "terraform_version": "1.11.4", "serial": 1, "lineage": "l", "resources": [], "outputs": {
	"address": {"value": "db.example.org", "type": "string"},
	"password": {"value": "$canary-state", "type": "string", "sensitive": true}}}
END
cat >"$T/stub/plan.json" <<END
{"format_version": "1.2", "resource_changes": [{"address": "stub.one", "mode": "managed", "change": {
	"actions": ["delete", "create"], "before": {"pw": "$canary-was"}, "after": {"pw": "$canary-tf"},
	"before_sensitive": {"pw": true}, "after_sensitive": {"pw": true}}}]}
END
echo '{"format_version": "1.2", "resource_changes": []}' >"$T/stub/after.json"
echo slow >"$T/stub/apply"
# A plug-in that gives a token, slow enough to be looked at.
printf '#!/bin/sh\necho >>%s\nsleep 0.3\necho "{\\"status\\": {\\"token\\": \\"$(cat %s)\\"}}"\n' "$T/plugged" "$T/second/token" >"$T/second/plugin"
chmod 755 "$T/second/plugin"
sed -i 's|tokenFile: token|exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin}|' "$T/second/config"

put stacks/prod/net "{\"source\": \"dir:$T/module\", \"state\": {\"backend\": \"local\", \"path\": \"$T/applied.tfstate\"}}"
values='"HOST": {"from": "tfstate:'$T'/net.tfstate#address"},
	"STATE": {"from": "tfstate:'$T'/net.tfstate#password"}, "FILE": {"from": "file:'$T'/password", "sensitive": true},
	"ENV": {"from": "env:PLANTED", "sensitive": true}'
inject db "$values" '{"type": "configmap", "namespace": "prod", "name": "db-env"},
	{"type": "secret", "namespace": "prod", "name": "db"},
	{"type": "externalname", "namespace": "prod", "name": "pg", "value": "HOST"},
	{"type": "envdir", "path": "'"$T"'/sinks/env"}, {"type": "dotenv", "path": "'"$T"'/sinks/db.env"},
	{"type": "json", "path": "'"$T"'/sinks/db.json"}'
# A service that is given all of it, and tells only that it was.
if have runsvdir; then
	mkdir -p "$T/repo/shop" "$T/build/bin" "$T/service"
	printf '#!/bin/sh\necho "$STATE $FILE $ENV" >"%s"\nexec sleep 1000\n' "$T/sinks/given" >"$T/build/bin/launch"
	chmod 755 "$T/build/bin/launch"
	tar -czf "$T/repo/shop/shop_1.0.tar.gz" -C "$T/build" .
	(cd "$T/repo/shop" && sha256sum shop_1.0.tar.gz >shop_1.0.tar.gz.sha256)
	put clusters/shop/prod/deploy_config "{\"basedir\": \"$T/shop\", \"envdir\": \"$T/sinks/env\", \"health\": {\"up\": \"50ms\"}}"
	put clusters/shop/prod/config '{"versions": {"1.0": "active"}}'
	put nodes/n1/shop '{"cluster": "prod"}'
fi
# Errors must not quote either: where a secret may not go, what is no host's name, what the server refuses.
inject wrong "$values" '{"type": "configmap", "namespace": "prod", "name": "wrong", "keys": ["HOST", "STATE"]}'
inject plain '"ADDRESS": {"from": "file:'"$T"'/address"}' '{"type": "externalname", "namespace": "prod", "name": "plain"}'

# ---- who is looked at while it runs ----

# Command lines, and environments of all that were not given it: the injector got one, the applier another, for Terraform.
sample() {
	local file pid comm
	while :; do
		grep -lsaFf "$T/patterns" /proc/[0-9]*/cmdline >>"$T/leaks"
		# shellcheck disable=SC2013 # no blanks in these
		for file in $(grep -lsaFf "$T/patterns" /proc/[0-9]*/environ); do
			pid=${file#/proc/} pid=${pid%/environ}
			{ read -r comm <"/proc/$pid/comm"; } 2>/dev/null || continue
			# The service asked for it, by its document.
			case $comm in pp-*|setsid) continue;; esac
			grep -qsz shop_1.0 "/proc/$pid/environ" && continue
			# Still there? Or was it a fork of its parent a moment ago, which is another program now?
			tr '\0' '\n' <"$file" >"$T/environ" 2>/dev/null
			grep -qaFf "$T/patterns" "$T/environ" && ! grep -q '^TF_IN_AUTOMATION=' "$T/environ" &&
				echo "$file $comm" >>"$T/leaks"
		done
		echo >>"$T/samples"
	done
}
: >"$T/leaks"
sample 2>/dev/null &
adopt $! sampler

# ---- it runs ----

ulimit -c unlimited
cd "$T/cores" || exit 1
common=(--log-level debug --interval 1h --splay 0)
injector_port=$(free_port) applier_port=$(free_port)
PLANTED=$canary-env start injector pp-configmap-injector "${common[@]}" --state-dir "$T/state/injector" \
	--listen "127.0.0.1:$injector_port"
injector_pid=$pid
TF_VAR_stub=$T/stub TF_VAR_pw=$canary-tf start applier pp-terraform-applier "${common[@]}" --state-dir "$T/state/applier" \
	--listen "127.0.0.1:$applier_port" --terraform "$ROOT/t/it/terraform-stub"
if have runsvdir; then
	start runsvdir runsvdir "$T/service"
	start preparer pp-preparer "${common[@]}" --state-dir "$T/state/preparer" --listen none --repo "file://$T/repo"
	start setlive pp-setlive "${common[@]}" --state-dir "$T/state/setlive" --listen none --runit "$T/service" --runit-stage "$T/stage"
else
	skip "a service is given the values" "runit is not on PATH"
fi
is_so() { ppctl get "reality/status/$1" | grep -q "\"$2\""; }
check "the injection is done" wait_for 20 is_so configmap-injector/n1/prod/db converged
check "the stack waits for approval" wait_for 20 is_so terraform-applier/n1/prod/net ApprovalRequired
run ppctl stack show prod/net
said=$output$errors
ppctl approve stack prod/net "$(ppctl get reality/status/terraform-applier/n1/prod/net | sed -nE 's/^ *"id": "(.*)",?$/\1/p' | head -n 1)" \
	>>"$T/ppctl.log" 2>&1
check "... and is applied" wait_for 20 is_so terraform-applier/n1/prod/net converged
check "what is wrong is said" wait_for 10 is_so configmap-injector/n1/prod/wrong Refused
check "... of a name, too" wait_for 10 is_so configmap-injector/n1/prod/plain Refused

# The values did arrive, or nothing below would mean anything.
is "$(cat "$T/sinks/env/STATE" "$T/sinks/env/ENV")" "$canary-state"$'\n'"$canary-env" "the values are in the directory"
is "$(at secrets/prod/db data/FILE)" "\"$(printf %s "$canary-file" | base64)\"" "and in the Secret"
if have runsvdir; then
	check "a service is given them" wait_for 30 test -s "$T/sinks/given"
	is "$(cat "$T/sinks/given")" "$canary-state $canary-file $canary-env" "... all of them"
	check "... and is healthy" wait_for 20 is_so setlive/n1/shop converged
fi
for name in stack injection; do
	run ppctl "$name" show "prod/$([ $name = stack ] && echo net || echo db)"
	said+=$output$errors
done
run ppctl status --all
said+=$output$errors
for port in $injector_port $applier_port; do
	said+=$(http GET "$port" /metrics; http GET "$port" /status; http GET "$port" /healthz)
done
like "$said" 'pp_|platypus' "metrics and status were read"

ppctl export --all >"$T/exported" 2>&1
like "$(cat "$T/exported")" 'reality/status/configmap-injector/n1/prod/db' "all keys were exported"

# ---- killed with values in hand ----

# A server that refuses, quoting what it was sent, until that is seen; and one that never answers a round which holds all
# values.
fault 1000 16-invalid-key PATCH
echo "$canary-file2" >"$T/password"
kill -USR1 "$injector_pid"
check "a refusal is said" wait_for 20 is_so configmap-injector/n1/prod/db Refused
fault 1 hang PATCH
echo "$canary-file3" >"$T/password"
kill -USR1 "$injector_pid"
check "a round hangs with values in hand" wait_for 20 grep -q ' hang$' "$T/requests"
family "$injector_pid" >"$T/family"
while read -r one start; do
	[ "$one" = "$injector_pid" ] || ! same_process "$one" "$start" || kill -ABRT "$one"
done <"$T/family"
kill -ABRT "$injector_pid"
gone() { ! is_ours "$injector_pid"; }
check "the agent ends by SIGABRT" wait_for 10 gone
is "$(find "$T/cores" / -maxdepth 1 -name 'core*' -type f -newer "$T/patterns" 2>/dev/null)" '' "no core file"

# ---- what was found ----

hidden() { not_ok "$1" "found in:" "$2"; }
nowhere() { if [ -z "$2" ]; then ok "$1"; else hidden "$1" "$2"; fi; }
nowhere "no log" "$(found_in "$T"/*.log)"
nowhere "no key of the store" "$(found_in "$T/store")"
nowhere "nothing that is exported" "$(found_in "$T/exported")"
nowhere "no socket, and nothing that ppctl says" "$(grep -aFf "$T/patterns" <<<"$said")"
# The cache of answers and the environment of the supervised service, nobody else's to read, are where values may be.
nowhere "no state directory, no service directory, no log of a service" \
	"$(found_in "$T/state" "$T/.xdg-state" "$T/stage" "$T/service" "$T/shop" 2>/dev/null | grep -vE "/answers/|^$T/stage/shop/env/")"
nowhere "no cache and no environment that others can read" \
	"$(find "$T/run" "$T/state" "$T/stage" \( -path '*/answers/*' -o -path '*/env/*' \) -type f -perm /077 2>/dev/null)"
nowhere "no command line, no environment of others" "$(sort "$T/leaks" | uniq -c)"
diag "$(wc -l <"$T/samples") samples of all processes"
check "they were looked at, and the plug-in among them" test "$(wc -l <"$T/samples")" -gt 5 -a -s "$T/plugged"
done_testing
