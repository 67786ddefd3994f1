#!/bin/bash
# The injector's sinks in Kubernetes, against a small API server that applies as the recorded one does, gives its recorded
# answers, and fails in every other way.
# shellcheck disable=SC2154 # lib.sh says what they are
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/injecting.sh"
start_kubeserver || { not_ok "the API server runs"; done_testing; }

# ---- what is written ----

echo s3cret >"$T/password"
echo old >"$T/extra"
values='"HOST": {"value": "db.example.org"}, "PORT": {"value": 5432},
	"PASSWORD": {"from": "file:'$T'/password", "sensitive": true}, "EXTRA": {"from": "file:'$T'/extra", "sensitive": true}'
configmap='{"type": "configmap", "namespace": "prod", "name": "db-env"}' secret='{"type": "secret", "namespace": "prod", "name": "db"}'
inject db "$values" "$configmap, $secret"
once
is "$status" 0 "both objects are written"
is "$(at configmaps/prod/db-env data)" '{"HOST":"db.example.org","PORT":"5432"}' "the ConfigMap takes what is not sensitive"
is "$(at secrets/prod/db data)" "{\"EXTRA\":\"$(printf old | base64)\",\"PASSWORD\":\"$(printf s3cret | base64)\"}" \
	"the Secret takes what is, as base64"
is "$(at secrets/prod/db metadata/annotations)" '{"pp.dev/injection":"prod/db"}' "an object names its injection"
forget
once
is "$status $(requests PATCH)" "0 0" "a second round writes nothing"

inject db "${values/, \"EXTRA\"*/}, \"LEVEL\": {\"value\": \"info\"}" "$configmap, $secret"
forget
once
is "$(at configmaps/prod/db-env data)" '{"HOST":"db.example.org","LEVEL":"info","PORT":"5432"}' "a new value is added"
is "$(at secrets/prod/db data)" "{\"PASSWORD\":\"$(printf s3cret | base64)\"}" "a value that is gone leaves the object"
is "$(requests PATCH)" 2 "each is written once"

# ---- what others do to it ----

kube PATCH /api/v1/namespaces/prod/configmaps/db-env '{"data": {"PORT": null, "THEIRS": "x"}}'
once
is "$status $(at configmaps/prod/db-env data)" \
	'0 {"HOST":"db.example.org","LEVEL":"info","PORT":"5432","THEIRS":"x"}' "a key that somebody took out is back, theirs stays"
kube PATCH "/api/v1/namespaces/prod/configmaps/db-env?fieldManager=kubectl-edit" '{"data": {"HOST": "other.example.org"}}'
once
like "$(state)" '^failing Conflict .*"kubectl-edit".*\.data\.HOST' "who keeps a field from us is named, and which"
is "$(at configmaps/prod/db-env data/HOST)" '"other.example.org"' "nothing is forced"
kube PATCH "/api/v1/namespaces/prod/configmaps/db-env?fieldManager=kubectl-edit" '{"data": {"HOST": null}}'
once
is "$status $(at configmaps/prod/db-env data/HOST)" '0 "db.example.org"' "once they give it up, it is right again"

kube POST "/api/v1/namespaces/prod/secrets?fieldManager=helm" \
	"{\"metadata\": {\"name\": \"taken\"}, \"data\": {\"PASSWORD\": \"$(printf theirs | base64)\"}}"
before=$(at secrets/prod/taken '')
inject taken '"PASSWORD": {"from": "file:'"$T"'/password", "sensitive": true}' "${secret/\"db\"/\"taken\"}"
forget
once
like "$(state taken)" '^blocked NotOurs .*field manager helm' "a foreign Secret of that name: it is said whose"
is "$(requests PATCH) $(at secrets/prod/taken '')" "0 $before" "it is untouched"
inject taken '"PASSWORD": {"from": "file:'"$T"'/password", "sensitive": true}' "${secret/\"db\"/\"taken\", \"adopt\": true}"
once
like "$(state taken)" '^failing Conflict .*"helm"' "taken over, but what its manager keeps is not forced"
inject taken '"TOKEN": {"from": "file:'"$T"'/password", "sensitive": true}' "${secret/\"db\"/\"taken\", \"adopt\": true}"
once
is "$(state taken | cut -d' ' -f1) $(at secrets/prod/taken data/TOKEN)" "converged \"$(printf s3cret | base64)\"" \
	"what nobody else keeps is added to it"
put injections/prod/taken '{"values": {}, "sinks": [], "ensure": "absent"}'
once
is "$(at secrets/prod/taken data)" "{\"PASSWORD\":\"$(printf theirs | base64)\"}" "given up: theirs stays, ours is gone"

# ---- what is refused before it is sent ----

# refused NAME VALUES SINK WORDS DESC
refused() {
	inject "$1" "$2" "$3"
	forget
	once
	like "$(state "$1")" "^blocked (Refused|TooBig|Malformed) .*$4" "$5"
	is "$(requests 'PATCH')" 0 "$5: nothing is sent"
	drop "$1"
}
refused keys "$values" "${configmap/\"db-env\"/\"keys\", \"keys\": [\"HOST\", \"PASSWORD\"]}" 'PASSWORD is sensitive' \
	"a sensitive value into a ConfigMap"
refused name '"A": {"value": 1}' "${configmap/db-env/Bad_Name}" 'lower-case letters' "a name that Kubernetes does not take"
head -c 600000 /dev/zero | tr '\0' x >"$T/big"
refused big '"A": {"from": "file:'"$T"'/big"}, "B": {"from": "file:'"$T"'/big"}' "${configmap/db-env/big}" '1 MiB' "more than an object can hold"

# ---- a Service that stands for a host ----

service='{"type": "externalname", "namespace": "prod", "name": "pg"}'
host() { inject pg "\"HOST\": {\"value\": \"$1\"}" "$service"; once; }
host db.example.org
is "$(at services/prod/pg spec)" '{"externalName":"db.example.org","type":"ExternalName"}' "a host's name: an ExternalName"
uid=$(at services/prod/pg metadata/uid)
host 10.1.2.3
is "$(at services/prod/pg spec)" '{"clusterIP":"None","clusterIPs":["None"],"type":"ClusterIP"}' "an address: a headless Service"
is "$(at endpointslices/prod/pg endpoints/0/addresses) $(at endpointslices/prod/pg addressType)" '["10.1.2.3"] "IPv4"' \
	"and an EndpointSlice"
is "$(at endpointslices/prod/pg metadata/labels/kubernetes.io~1service-name)" '"pg"' "which says whose it is"
forget
once
is "$status $(requests 'PATCH|DELETE')" "0 0" "and stays as it is"
kube DELETE /apis/discovery.k8s.io/v1/namespaces/prod/endpointslices/pg ''
host 10.1.2.3
is "$(at endpointslices/prod/pg endpoints/0/addresses)" '["10.1.2.3"]' "it is put back"
host fd00::7
is "$(at endpointslices/prod/pg endpoints/0/addresses) $(at endpointslices/prod/pg addressType)" '["fd00::7"] "IPv6"' \
	"an address of the other family"
host db.example.org
is "$(at services/prod/pg spec)$(at endpointslices/prod/pg '')" '{"externalName":"db.example.org","type":"ExternalName"}' \
	"and back: no slice is left"
is "$uid" "$(at services/prod/pg metadata/uid)" "it was the same Service all along"
is "$(grep -nE '(PATCH|DELETE) .*(services|slices)/pg 20' "$T/requests" | tail -n 2 | sed 's/^[0-9]*://')" "\
PATCH /api/v1/namespaces/prod/services/pg 200
DELETE /apis/discovery.k8s.io/v1/namespaces/prod/endpointslices/pg 200" "which had its slice until it needed none"
host 127.0.0.1
like "$(state pg)" '^blocked Refused .*no other pod can reach' "an address that only this host can reach is refused"
host db.example.org:5432
like "$(state pg)" '^blocked Refused .*neither scheme nor port' "so is a port behind the name"
is "$(at services/prod/pg spec/externalName)" '"db.example.org"' "what was there stays"
inject pg "\"HOST\": {\"from\": \"file:$T/none\", \"optional\": true}" "$service"
once
is "$(state pg | cut -d' ' -f1)$(at services/prod/pg '')" converged "its optional value is gone, and so is the Service"
host 10.1.2.3
put injections/prod/pg '{"values": {}, "sinks": [], "ensure": "absent"}'
once
is "$(objects | grep -o '"[a-z]*/prod/pg"')" '' "absent: nothing of it is left"
drop pg

# ---- an API server that is not well ----

echo v0 >"$T/v"
inject db '"V": {"from": "file:'"$T"'/v"}' "$configmap"
once
drop taken
turn=0
# hurts TIMES ANSWER MATCH STATE-AND-WORDS REQUESTS DESC [OPTION...]: a change, the fault, and what comes of it; then it heals.
hurts() {
	echo "v$((++turn))" >"$T/v"
	forget
	fault "$1 $2 $3"
	once "${@:7}"
	like "$(state)" "^$4" "$6"
	is "$(requests .)" "$5" "$6: so many requests"
	unlike "$(state)" "v$turn" "$6: the value is not quoted"
	fault "0 - -"
	once
	is "$(state | cut -d' ' -f1) $(at configmaps/prod/db-env data/V)" "converged \"v$turn\"" "$6: heals"
}
hurts 1 12-unauthorized GET 'converged' 5 "401 once: asked again with the token as it is now"
hurts 2 12-unauthorized GET 'blocked Refused .*token or certificate.*401' 2 "401 twice"
hurts 1 13-forbidden GET 'blocked Refused .*403.*cannot get resource' 1 "403 on looking"
hurts 1 14-forbidden-apply PATCH 'blocked Refused .*403.*cannot patch resource' 3 "403 on writing"
hurts 1 15-namespace-missing PATCH 'waiting Waiting .*namespaces "nope" not found' 3 "its namespace is missing"
hurts 1 22-apply-over-foreign PATCH 'failing Conflict .*conflict with "curl"' 3 "409"
hurts 1 16-invalid-key PATCH 'blocked Refused .*422 Invalid' 3 "422"
hurts 1 429:1 PATCH 'failing Unavailable .*patience' 3 "429"
hurts 1 503 GET 'failing Unavailable .*503' 1 "503"
hurts 1 18-unknown-field PATCH 'failing Unavailable .*500' 3 "500"
hurts 1 cut PATCH 'failing Unavailable' 3 "a cut connection while writing"
hurts 1 hang PATCH 'failing Timeout' 3 "no answer at all" --kube-timeout 5s

echo two >"$T/second/token"
echo rotated >"$T/v"
once
is "$(at configmaps/prod/db-env data/V)" '"rotated"' "a renewed token is used at once"
run "${injector[@]}" --once --context nobody
like "$(state)" '^blocked Refused .*401' "--context: as somebody whom the server does not know"
once
inject nowhere '"A": {"value": 1}' '{"type": "configmap", "namespace": "nowhere", "name": "a"}'
once
like "$(state nowhere)" '^waiting Waiting .*"nowhere" not found' "a namespace that is not there yet is waited for"
drop nowhere

# The server says when: not before.
echo patient >"$T/v"
fault 9 429:60 PATCH
forget
start injector "${injector[@]}" --interval 1h
asked() { [ "$(requests 'PATCH.*429')" -gt 0 ]; }
check "429 with Retry-After: it is asked" wait_for 15 asked
sleep 3 # Backoff alone would have asked twice more.
is "$(requests 'PATCH.*429')" 1 "... and not again before its time"
stop "$pid"
fault 0 - -
once
is "$(at configmaps/prod/db-env data/V)" '"patient"' "... and then it takes it"
unlike "$(cat "$T/all.log" "$T/injector.log")" 's3cret|czNjcmV0' "no log holds the secret"
done_testing
