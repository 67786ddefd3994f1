#!/bin/bash
# pp-configmap-injector reads states where Terraform's backends keep them: HTTP, Consul (plain, compressed, split) and a
# Secret of Kubernetes; asks once for all injections, and only for what has changed.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/injecting.sh"
export RUNTIME_DIRECTORY=$T/run TF_HTTP_USERNAME=u TF_HTTP_PASSWORD=canary-value
mkdir -p "$T/run" "$T/www"
# tfstate SERIAL HOST [PADDING]
tfstate() { echo '{"version": 4, "serial": '"$1"', "lineage": "l", "outputs": {"host": {"value": "'"$2"'", "type": "string"}}, "resources": ["'"${3:-}"'"]}'; }
# from NAME STATE: an injection of one value into $T/NAME.json
from() { inject "$1" '"HOST": {"from": "tfstate:'"$2"'#host"}' '{"type": "json", "path": "'"$T/$1"'.json"}'; }
host() { sed -nE 's/.*"HOST": "(.*)".*/\1/p' "$T/$1.json" 2>/dev/null; }
has() { [ "$(host "$1")" = "$2" ]; }

# ---- HTTP ----
start fileserver "$BUILD_DIR/t/it/fileserver" "$T/www" "$T/requests"
wait_for 5 test -s "$T/fileserver.log"
web=http://127.0.0.1:$(cat "$T/fileserver.log")
asked() { grep -c "^$1" "$T/requests" || :; }
from web "$web/tagged/s"
once
is "$status $(state web)" "111 waiting OutputMissing nothing is written: HOST: $web/tagged/s is not there" "http: no state yet"
tfstate 1 web-1 >"$T/www/s"
once
is "$(host web)" web-1 "http: read"
: >"$T/requests"
once
is "$(asked GET) $(asked 304)" "1 1" "... asked again for what is new only"
tfstate 2 web-2 >"$T/www/s"
once
is "$(host web)" web-2 "... and there is"
from web "$web/error/s"
once
is "$status $(state web)" "111 failing SourceUnavailable HOST: $web/error/s the server answers 503; what was written before stays" "http: 503"
from web "$web/page/s"
once
like "$(state web)" 'SourceUnavailable .* is no JSON' "http: a page in the place of a state"
from web "$web/tagged/s"
rm "$T/www/s"
once
like "$(state web)" 'SourceUnavailable .* is gone, though it was there before' "http: a state that is gone is not one without outputs"
is "$(host web)" web-2 "... and all the while the last good value stays"
from web "http://u:secret-canary@127.0.0.1:1/s"
once
like "$(state web)" 'credentials have no place in a document' "http: no credentials in documents"
run ppctl injection show prod/web
unlike "$output" canary "... and what stands there is not shown"
drop web

# ---- many injections, one question ----
tfstate 1 many-1 >"$T/www/many"
for i in {1..40}; do
	printf '%s' '{"values": {"HOST": {"from": "tfstate:'"$web"'/tagged/many#host"}}, "sinks": [{"type": "json", "path": "'"$T/many/$i"'.json"}]}' >"$T/many.json"
	ppctl put "injections/prod/m$i" "@$T/many.json" >>"$T/ppctl.log" 2>&1
done
: >"$T/requests"
start injector "${injector[@]}" --source-interval 1h
all_have() { [ "$(cat "$T"/many/*.json 2>/dev/null | grep -c "$1")" = 40 ]; }
check "40 injections over one state are written" wait_for 20 all_have many-1
is "$(asked GET)" 1 "... after one question"
is "$(find "$T/many" -mindepth 1 ! -name '*.json')" "" "... and nothing else is left"
stop "$pid"
start injector "${injector[@]}" --source-interval 2s
tfstate 2 many-2 >"$T/many.new" && mv "$T/many.new" "$T/www/many" # half of it would be another answer
check "... it changes: all are" wait_for 20 all_have many-2
stop "$pid"
# A question is noted when it comes, and that nothing is new when it is answered.
few() { [ "$(($(asked GET) - $(asked 304)))" -le 2 ]; }
check "... after one answer" wait_for 5 few
for i in {1..40}; do drop "m$i"; done

# ---- Consul ----
if have consul && start_consul states; then
	kv() { http PUT "$CONSUL_PORT" "/v1/kv/$1" "$2"; }
	from kv "consul://127.0.0.1:$CONSUL_PORT/tf/net"
	kv tf/net "$(tfstate 1 kv-1)" >/dev/null
	once
	is "$(host kv)" kv-1 "consul: plain"
	tfstate 2 kv-2 | gzip >"$T/zipped"
	# The body goes through a shell: base64 by a transaction.
	put_bytes() { http PUT "$CONSUL_PORT" /v1/txn '[{"KV": {"Verb": "set", "Key": "'"$1"'", "Value": "'"$(base64 -w0 "$2")"'"}}]' >/dev/null; }
	put_bytes tf/net "$T/zipped"
	once
	is "$(host kv)" kv-2 "consul: compressed"
	tfstate 3 kv-3 "$(head -c 3000 /dev/zero | tr '\0' x)" >"$T/large"
	hash=$(md5sum "$T/large" | cut -d' ' -f1)
	split -b 1000 "$T/large" "$T/part."
	chunks='' n=0
	for part in "$T"/part.*; do
		put_bytes "tf/net/tfstate.$hash/$n" "$part"
		chunks+="${chunks:+,}\"tf/net/tfstate.$hash/$n\"" n=$((n + 1))
	done
	kv tf/net "{\"current-hash\": \"$hash\", \"chunks\": [$chunks]}" >/dev/null
	once
	is "$(host kv)" kv-3 "consul: split"
	kv "tf/net/tfstate.$hash/1" other >/dev/null
	kv tf/net "{\"current-hash\": \"$hash\",  \"chunks\": [$chunks]}" >/dev/null
	once
	like "$(state kv)" 'SourceUnavailable .* (do not belong together|no JSON)' "consul: parts that do not fit"
	http DELETE "$CONSUL_PORT" "/v1/kv/tf/net/tfstate.$hash/1" >/dev/null
	kv tf/net "{ \"current-hash\": \"$hash\", \"chunks\": [$chunks]}" >/dev/null
	once
	like "$(state kv)" 'SourceUnavailable .*a part of it is gone' "consul: a part is gone"
	kv tf/net "$(tfstate 2 kv-old)" >/dev/null
	once
	like "$(state kv)" 'Refused .*serial 2, not 3 or more' "consul: an old state put back"
	kv tf/net-env:blue "$(tfstate 1 blue)" >/dev/null
	from kv "consul://127.0.0.1:$CONSUL_PORT/tf/net?workspace=blue"
	once
	is "$(host kv)" blue "consul: a workspace"
	from kv "consul://127.0.0.1:1/tf/net"
	once
	like "$(state kv)" 'failing SourceUnavailable HOST: consul://127.0.0.1:1/tf/net .*; what was written before stays' "consul: nobody there"
	drop kv
else
	skip "states in Consul" "consul is not on PATH"
fi

# ---- Kubernetes ----
start_kubeserver || not_ok "the API server runs"
secret() { kube PATCH "/api/v1/namespaces/prod/secrets/$1" '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "'"$1"'", "namespace": "prod"}, "data": {"tfstate": "'"$(gzip | base64 -w0)"'"}}'; }
from kube kubernetes://prod/net
once
like "$(state kube)" 'waiting OutputMissing' "kubernetes: no state yet"
tfstate 1 kube-1 | secret tfstate-default-net
once
is "$(host kube)" kube-1 "kubernetes: the Secret of Terraform's backend"
tfstate 1 blue | secret tfstate-blue-net
from kube 'kubernetes://prod/net?workspace=blue'
once
is "$(host kube)" blue "kubernetes: a workspace"
fault 9 503 tfstate
from kube kubernetes://prod/net
once
like "$(state kube)" 'failing SourceUnavailable' "kubernetes: 503"
refute "no value or password in logs, store or state" grep -rqE 'canary|web-2|kube-1' "$T/all.log" "$T/injector.log" "$T/state" "$T/store/reality"
done_testing
