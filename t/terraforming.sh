# For t/it/terraform*.sh, after lib.sh: a store, a stack, its applier. bash.
have git || skip_all "git is not on PATH"
unset TF_CLI_CONFIG_FILE TF_IN_AUTOMATION "${!TF_VAR_@}"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1

export PP_STORE=dir:$T/store PP_NODE=n1 TF_VAR_stub=$T/stub TF_VAR_pw=canary-value CONSUL_HTTP_TOKEN=store-canary
stub=$T/stub
mkdir -p "$T/module" "$stub"
echo '# nothing' >"$T/module/main.tf"
check "a store" ppctl init "$PP_STORE"

applier=(pp-terraform-applier --listen none --state-dir "$T/state" --terraform "$ROOT/t/it/terraform-stub")
once() { run "${applier[@]}" --once "$@"; cat "$T/.err" >>"$T/all.log"; }
# stack NAME [MEMBERS]
stack() {
	local state="\"state\": {\"backend\": \"local\", \"path\": \"$T/$1.tfstate\"}"
	case ${2:-} in *'"state"'*) state=$2;; '') ;; *) state+=", $2";; esac
	ppctl put "stacks/prod/$1" "{\"source\": \"dir:$T/module\", $state}" >>"$T/ppctl.log" 2>&1
}
member() { ppctl get "reality/status/terraform-applier/${2:-n1}/prod/${3:-net}" | sed -nE "s/^ *\"$1\": \"(.*)\",?\$/\\1/p" | head -n 1; }
plan_id() { member id "$@"; }
approve() { ppctl approve stack "prod/${2:-net}" "$1" >>"$T/ppctl.log" 2>&1; }
applies() { grep -c . "$stub/applies" 2>/dev/null || :; }
plans() { grep -c '^plan' "$stub/calls" 2>/dev/null || :; }
gone() { ! proc_stat "$1"; }
