#!/bin/bash
# pp-configmap-injector with files: values from states, the environment, files and each other; what is missing, old or
# foreign; what goes again.
set -u
. "$(dirname "$0")/../lib.sh"
export PP_STORE=dir:$T/store PP_NODE=n1 RUNTIME_DIRECTORY=$T/run DB_LEVEL=debug AWS_SECRET_ACCESS_KEY=own-canary
mkdir -p "$T/run"
check "a store" ppctl init "$PP_STORE"
injector=(pp-configmap-injector --listen none --state-dir "$T/state")
once() { run "${injector[@]}" --once "$@"; cat "$T/.err" >>"$T/all.log"; }
put() { ppctl put "injections/prod/$1" "$2" >>"$T/ppctl.log" 2>&1 || cat "$T/ppctl.log"; }
member() { ppctl get "reality/status/configmap-injector/n1/prod/${2:-db}" | sed -nE "s/^  \"$1\": \"(.*)\",?\$/\\1/p"; }
# state SERIAL OUTPUTS [LINEAGE]
state() {
	echo '{"version": 4, "terraform_version": "1.11.4", "serial": '"$1"', "lineage": "'"${3:-a-b}"'", "outputs": {'"$2"'},
		"resources": [{"mode": "managed", "instances": [{"attributes": {"n": 18446744073709551615}}]}]}'
}
output() { echo "\"$1\": {\"value\": $2, \"type\": \"string\"${3:+, \"sensitive\": true}}"; }
plain="$(output address '"db1.example"'), $(output db '{"host": "h 1", "ports": [1, 2.50, 18446744073709551615]}')"
full="$plain, $(output password '"canary-value"' yes)"

# ---- values and files ----
state 3 "$full" >"$T/s.tfstate"
printf 'from a file\n' >"$T/value"
from="\"from\": \"tfstate:$T/s.tfstate#"
put db '{"values": {"HOST": {'"$from"'address"}, "PASSWORD": {'"$from"'password", "optional": true}, "LEVEL": {"from": "env:DB_LEVEL"},
	"PORT": {'"$from"'db/ports/1"}, "BIG": {'"$from"'db/ports/2"}, "DB": {'"$from"'db"}, "F": {"from": "file:'"$T"'/value"}, "N": {"value": 7}},
	"sinks": [{"type": "envdir", "path": "'"$T"'/out/env", "mode": "0640"}, {"type": "dotenv", "path": "'"$T"'/out/db.env"},
	{"type": "json", "path": "'"$T"'/out/db.json", "keys": ["HOST", "PORT"]}]}'
once --dry-run
is "$status" 2 "dry run: there is work"
like "$output" 'would write envdir' "... and it says what"
check "... and nothing is made" test ! -e "$T/out" -a ! -e "$T/state"
once
is "$status" 0 "written"
is "$(cat "$T/out/env/HOST")" db1.example "envdir: a variable is a file"
is "$(cat "$T/out/env/PORT" "$T/out/env/BIG")" $'2.50\n18446744073709551615' "... numbers are as they were written"
is "$(cat "$T/out/env/DB")" '{"host":"h 1","ports":[1,2.50,18446744073709551615]}' "... an object is its JSON"
is "$(stat -c '%a %n' "$T/out/env" "$T/out/env/HOST")" "750 $T/out/env"$'\n'"640 $T/out/env/HOST" "... with the mode asked for"
is "$(set -a; unset HOST; . "$T/out/db.env"; echo "$HOST|$DB|$F|$LEVEL")" \
	'db1.example|{"host":"h 1","ports":[1,2.50,18446744073709551615]}|from a file|debug' "dotenv: a shell reads it"
like "$(cat "$T/out/db.env")" $'\nHOST=db1.example\n' "... and what needs no quotes has none"
is "$(tr -d ' \n' <"$T/out/db.json")" '{"HOST":"db1.example","PORT":"2.50"}' "json: only its keys"
is "$(stat -c %a "$T/out/db.env")" 600 "... and for nobody else to read"
before=$(find "$T/out" -printf '%p %i %T@\n' | sort)
once
is "$status" 0 "a second round: converged"
is "$(find "$T/out" -printf '%p %i %T@\n' | sort)" "$before" "... and nothing is touched"

# ---- drift, and what goes ----
echo other >"$T/out/env/HOST"; echo x >"$T/out/env/EXTRA"; sed -i 's/^HOST.*/HOST=other/' "$T/out/db.env"; chmod 644 "$T/out/db.json"
once
is "$(cat "$T/out/env/HOST" "$T/out/env/EXTRA" 2>/dev/null)" db1.example "drift is put right, what is not wanted goes"
like "$(cat "$T/out/db.env")" HOST=db1.example "... in a file, too"
is "$(stat -c %a "$T/out/db.json")" 600 "... and a mode"
like "$errors" 'EXTRA goes' "... and it says so"
state 4 "$plain" >"$T/s.tfstate"
once
is "$status" 0 "an optional output became null"
refute "... its key goes" test -e "$T/out/env/PASSWORD"
is "$(cat "$T/out/env/HOST")" db1.example "... and no other"

# ---- missing, unreadable, old, foreign ----
state 5 "$full" >"$T/s.tfstate"
once
before=$(find "$T/out" -printf '%p %i %T@\n' | sort)
state 6 "$(output password '"new"' yes)" >"$T/s.tfstate"
once
is "$status" 111 "a required output is missing"
is "$(member state) $(member reason)" "waiting OutputMissing" "... waits"
like "$(member message)" 'HOST: .*no output address; PORT: .*no output db' "... naming every one"
is "$(find "$T/out" -printf '%p %i %T@\n' | sort)" "$before" "... and nothing at all is written"
head -c 60 <(state 7 "$full") >"$T/s.tfstate"
once
is "$(member state) $(member reason)" "failing SourceUnavailable" "half a state"
rm "$T/s.tfstate"
once
is "$(member reason)" SourceUnavailable "a state that is gone"
state 4 "$full" >"$T/s.tfstate"
once
is "$status $(member reason)" "100 Refused" "a lower serial is refused"
like "$(member message)" 'serial 4, not 6 or more.*remove [^ ]*/sources/[0-9a-f]+' "... with the way out"
state 9 "$full" other-lineage >"$T/s.tfstate"
once
like "$(member message)" 'another state than before \(lineage other-lineage, not a-b\)' "another lineage, too"
is "$(find "$T/out" -printf '%p %i %T@\n' | sort)" "$before" "... and all the while the last good values stay"
rm "$(member message | sed -E 's/.*remove ([^;]*).*/\1/')"
once
is "$status" 0 "... until somebody says that it is meant"
mkdir "$T/foreign"; echo mine >"$T/foreign/HOST"; echo 'A=b' >"$T/f.env"
put other '{"values": {"HOST": {"value": "x"}}, "sinks": [{"type": "envdir", "path": "'"$T"'/foreign"}, {"type": "dotenv", "path": "'"$T"'/f.env"},
	{"type": "json", "path": "'"$T"'/ok.json"}]}'
once
is "$status" 100 "what is somebody else's: blocked"
is "$(member reason other)" NotOurs "... NotOurs"
is "$(cat "$T/foreign/HOST" "$T/f.env")" $'mine\nA=b' "... and left as it is"
check "... the other sink is written" test -e "$T/ok.json"
put other '{"values": {"HOST": {"value": "x"}}, "sinks": [{"type": "envdir", "path": "'"$T"'/foreign", "adopt": true}]}'
once
is "$(cat "$T/foreign/HOST")" x "adopt: taken over"
refute "... and a sink that is named no more goes" test -e "$T/ok.json"
is "$(cat "$T/f.env")" A=b "... but not what never was ours"
put bad '{"values": {"A": {"value": "two\nlines"}, "B": {"value": "blank "}}, "sinks": [{"type": "dotenv", "path": "'"$T"'/b.env", "keys": ["A"]},
	{"type": "envdir", "path": "'"$T"'/b", "keys": ["B"]}]}'
once
like "$errors" 'value of A has more than one line' "dotenv refuses what it cannot hold, by name"
like "$errors" 'value of B ends in a blank' "... and so does an envdir"
ppctl rm injections/prod/bad >/dev/null
printf 'a\nb' >"$T/lines"
put lines '{"values": {"A": {"from": "file:'"$T"'/lines"}, "E": {"value": ""}}, "sinks": [{"type": "envdir", "path": "'"$T"'/lines.d"}]}'
once
if have chpst; then
	is "$(chpst -e "$T/lines.d" sh -c 'echo "$A|${E-unset}"')" $'a\nb|' "chpst -e reads lines and empty values"
else
	skip "chpst -e" "chpst is not on PATH"
fi

# ---- what is somebody else's to do, and what is nobody's ----
env='{"type": "dotenv", "path": "'"$T"'/here.env"}'
put here '{"values": {"A": {"value": 1}}, "sinks": ['"$env"', {"type": "json", "path": "'"$T"'/here.json", "owner": "'"$(id -un)"'"}]}'
once
once --sinks dotenv
check "a sink that another agent is to do now (--sinks) stays" test -e "$T/here.json"
sed -i "s/\"owner\": *\"$(id -un)\"/\"owner\": \"no-such-user\"/" "$T/state/injections/prod/here.json"
put here '{"values": {"A": {"value": 1}}, "sinks": ['"$env"']}'
once --dry-run
like "$output" "would remove json $T/here.json: Removing json $T/here.json: the injection names it no more" "one that is named no more goes"
once
is "$(cat "$T"/here.*)" "$(cat "$T/here.env")" "... although its owner is gone, too"
ppctl rm injections/prod/here >/dev/null

# ---- references ----
put two '{"values": {"PW": {"from": "injection:prod/db#PASSWORD"}}, "sinks": [{"type": "configmap", "namespace": "a", "name": "b", "keys": ["PW"]}]}'
once
like "$(member message two)" 'PW is sensitive, and no configmap takes that' "what is sensitive is so for who refers to it"
put two '{"values": {"A": {"from": "injection:prod/three#B"}}, "sinks": [{"type": "json", "path": "'"$T"'/two.json"}]}'
put three '{"values": {"B": {"from": "injection:prod/two#A"}}, "sinks": []}'
once
like "$(member message two)" 'circle: prod/two#A, prod/three#B, prod/two#A' "a circle is named"
put two '{"values": {"A": {"from": "env:AWS_SECRET_ACCESS_KEY"}}, "sinks": [{"type": "json", "path": "'"$T"'/two.json"}]}'
once
like "$(member message two)" 'AWS_SECRET_ACCESS_KEY is a variable that this agent itself' "the agent's own secrets are nobody's value"
put two '{"values": {"A": {"value": 1}}, "sinks": [{"type": "dotenv", "path": "'"$T"'/out/db.env"}]}'
once
is "$(member reason two) $(member reason)" "Clash Clash" "two injections into one file: neither"
put two '{"values": {"A": {"value": 1}}, "sinks": [{"type": "dotenv", "path": "'"$T"'/out/env/x.env"}]}'
once
like "$(member reason two) $(member message)" "Clash .*injections/prod/db writes envdir .*, and injections/prod/two writes dotenv .*the same place" \
	"a file in a directory of variables: neither"
put two '{"values": {"A": {"value": 1}}, "sinks": [{"type": "dotenv", "path": "'"$T"'/two"}, {"type": "json", "path": "'"$T"'/two"}]}'
once
like "$(member message two)" "its sinks dotenv .*/two and json .*/two are in one place" "two forms of one file: neither"
ppctl rm injections/prod/two injections/prod/three >/dev/null

# ---- showing ----
once
run ppctl injection show prod/db
like "$output" 'PASSWORD  [0-9a-f]{16}  tfstate:.*#password  \(sensitive\)' "ppctl injection show: key, digest, source"
like "$output" "> envdir $T/out/env: written, 8 keys" "... and sinks"
unlike "$output" 'canary|db1.example' "... and no value"

# ---- a running agent: woken by the file, and one read for all ----

start injector "${injector[@]}"
state 10 "${full/db1/db2}" other-lineage >"$T/s.tfstate"
check "a changed state wakes it" wait_for 10 grep -q db2.example "$T/out/env/HOST"
echo spoilt >"$T/out/env/HOST"
check "... and so does drift" wait_for 10 grep -q db2.example "$T/out/env/HOST"
stop "$pid"

# ---- the end ----
ppctl rm injections/prod/other >/dev/null
once
is "$status $(member reason other)" "100 Orphaned" "the document is gone: orphaned"
check "... nothing is removed" test -e "$T/foreign/HOST"
put db '{"values": {"A": {"value": 1}}, "sinks": [{"type": "dotenv", "path": "'"$T"'/out/db.env"}], "ensure": "absent"}'
once
is "$(member reason)" TooManyRemovals "ensure absent: more than --max-destroy is not removed unasked"
once --max-destroy 9
is "$(ls -A "$T/out")" "" "ensure absent: all of it goes, also what the document does not name any more"
refute "no value in logs, store or state" grep -rqE 'canary|db[12]\.example' "$T/all.log" "$T/store" "$T/state" "$T/ppctl.log"
done_testing
