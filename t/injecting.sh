# For tests of pp-configmap-injector, after lib.sh: a store, injections of the world prod, an API server. bash.
export PP_STORE=dir:$T/store PP_NODE=n1 KUBECONFIG=$T/missing:$T/kubeconfig:$T/second/config
# Not in /run, when root runs this: nothing of it may stay.
export RUNTIME_DIRECTORY=$T/run
mkdir -p "$T/run"
unset KUBERNETES_SERVICE_HOST "${!AWS_@}"
check "a store" ppctl init "$PP_STORE"

# ---- documents and their states ----

put() { ppctl put "$1" "$2" >>"$T/ppctl.log" 2>&1; }
# inject NAME VALUES SINKS: members of "values", items of "sinks".
inject() { put "injections/prod/$1" "{\"values\": {$2}, \"sinks\": [$3]}" || cat "$T/ppctl.log"; }
# Out of intent and of the agent's memory.
drop() { ppctl rm "injections/prod/$1" >>"$T/ppctl.log" 2>&1; rm -f "$T/state/injections/prod/$1.json"; }

injector=(pp-configmap-injector --listen none --state-dir "$T/state")
once() { run "${injector[@]}" --once "$@"; cat "$T/.err" >>"$T/all.log"; }
member() { sed -nE "s/^  \"$1\": \"(.*)\",?\$/\\1/p" "$T/.status" | head -n 1; }
# state [NAME]: "STATE REASON MESSAGE".
state() {
	ppctl get "reality/status/configmap-injector/n1/prod/${1:-db}" >"$T/.status"
	echo "$(member state) $(member reason) $(member message | sed 's/\\"/"/g')"
}

# ---- Kubernetes ----

# start_kubeserver: an API server, and a kubeconfig of three files for it; sets $kube_port. 1 when it does not start.
start_kubeserver() {
	mkdir "$T/second"
	echo one >"$T/second/token"
	start kubeserver "$BUILD_DIR/t/it/kubeserver" "$ROOT/test-data/recordings/kubernetes" "$T/second/token" "$T/requests"
	wait_for 5 test -s "$T/kubeserver.log" || return 1
	kube_port=$(cat "$T/kubeserver.log")
	cat >"$T/kubeconfig" <<-END
		current-context: here
		clusters:
		- name: c
		  cluster: {server: "http://127.0.0.1:$kube_port"}
		contexts:
		- name: here
		  context: {cluster: c, user: u}
		- name: nobody
		  context: {cluster: c, user: nobody}
	END
	cat >"$T/second/config" <<-END
		current-context: nobody
		users:
		- name: u
		  user: {tokenFile: token}
		- name: nobody
		  user: {token: wrong}
	END
}

objects() { http GET "$kube_port" /test/objects; }
# at PLURAL/NAMESPACE/NAME POINTER: what the object holds there, as JSON; nothing when it is not there.
at() {
	local found
	found=$(http GET "$kube_port" "/test/objects/${1//\//~1}${2:+/$2}") && printf '%s\n' "$found"
}
# fault TIMES ANSWER MATCH
fault() { http PUT "$kube_port" /test/fault "$*" >/dev/null; }
# kube METHOD PATH BODY: as somebody else.
kube() {
	http "$1" "$kube_port" "$2" "$3" \
		"Authorization: Bearer $(cat "$T/second/token")"$'\r\n'"Content-Type: application/merge-patch+json" >/dev/null
}
requests() { grep -cE "$1" "$T/requests" || :; }
forget() { : >"$T/requests"; }
