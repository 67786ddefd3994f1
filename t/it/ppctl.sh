#!/bin/bash
# Every subcommand of ppctl on a directory store: what it writes, what it says, how it ends.
# shellcheck disable=SC2154 # status, output and errors are set by run
set -u
. "$(dirname "$0")/../lib.sh"
cd "$T" || exit 1
export PP_STORE=dir:$T/store PP_NODE=n1 HOME=$T TMPDIR=$T LANG=C.UTF-8
config=clusters/slug/development/config
deploy=clusters/slug/development/deploy_config

quiet() { ppctl "$@" 2>/dev/null; }
json() { ppctl get "$1" --json; }
revision() { json "$1" | sed -n 's/^ *"revision": \([0-9]*\).*/\1/p'; }
flat() { tr -d ' \n'; }

# ---- the command line ----

run ppctl; is "$status" 2 "no command is a wrong use"
like "$output" "activate APP VERSION" "and shows them all"
run ppctl activte slug 1; is "$status" 2 "unknown command"
like "$errors" 'did you mean activate\?' "with a suggestion"
run ppctl lock; like "$errors" 'lock ls, lock break' "half a command lists its other half"
run ppctl put a b c; is "$status" 2 "too many arguments"
like "$errors" "quote the JSON" "put guesses why"
run ppctl get; is "$status" 2 "too few arguments"
run ppctl ls --lnog; is "$status" 2 "unknown option"
like "$errors" 'did you mean --long\?' "with a suggestion"
run ppctl ls -node 'a b'; is "$status" 2 "a node's name is checked"
run ppctl help prep; is "$status" 0 "help of a command"
like "$output" "--sha256 HEX" "lists its options"
run ppctl prep --help; like "$output" "--sha256 HEX" "--help after a command is the same"
run ppctl lock ls --help; like "$output" "ppctl lock ls" "also after one of two words"
run ppctl --version; like "$output" "^ppctl [0-9]" "--version"

missing=
for command in $(ppctl help | sed -n 's/^  \([a-z]\)/\1/p' | sed 's/ *\([A-Z[].*\)*  .*//; s/ /_/g'); do
	grep -qE "^\.It Ic ${command//_/ }( |$)" "$ROOT/agents/ppctl/ppctl.1" || missing+=" $command"
done
is "$missing" "" "the manual has every command"

ppctl --completion=bash >completion
check "the completion script is bash" bash -n completion
complete_with() {
	bash -c '. ./completion; COMP_WORDS=(ppctl "$@"); COMP_CWORD=$#; _ppctl_more; echo "${COMPREPLY[*]}"' - "$@"
}
is "$(complete_with act)" activate "it completes commands"
like "$(complete_with status --wa)" "--watch" "and options"
is "$(complete_with lock '')" "break ls" "and second words"
mkdir worlds && : >worlds/prod.yaml && : >worlds/test.yaml
is "$(complete_with apply --world = p) $(complete_with diff -world '')" "prod prod test" "and worlds"
like "$(ppctl --completion=zsh)" "#compdef ppctl" "zsh has one too"

# ---- init and newcomers ----

run ppctl ls; is "$status" 111 "a store that is not there may come"
like "$errors" "store" "and says which"
run ppctl ls --store "$T/store"; is "$status" 2 "a path is no store's address"
like "$errors" "a directory's has dir: before it" "and what is missing is said"
run ppctl init "$T/store"; is "$status" 0 "init with a path"
like "$errors" "export PP_STORE=dir:$T/store" "says how it is found"
run ppctl init; is "$status" 0 "init again is fine"
is "$(ppctl ls)" "nodes/n1/" "the node is marked"
(unset PP_STORE; [ "$(id -u)" = 0 ] || ppctl init) 2>/dev/null
[ "$(id -u)" = 0 ] || check "a person's store is below XDG_STATE_HOME" [ -d "$XDG_STATE_HOME/platypus/store" ]
run ppctl status; like "$errors" "ppctl node add APP CLUSTER" "an empty store says how to begin"
run ppctl prep slug 1; is "$status" 1 "an application that nobody runs"
like "$errors" "ppctl node add slug CLUSTER" "says what comes first"

# ---- put, get, ls, rm ----

run ppctl put "$config" '{"versions": {"1": "active", "2": "active"}, "min_nodes": "2", "artifact": {},
	"artifacts": {"1": {"sha256": "00"}}}'
is "$status" 1 "faults refuse a document"
like "$errors" "5 faults|4 faults" "all are counted"
like "$errors" "/versions: has more than one active" "the versions"
like "$errors" "/min_nodes: must be a whole number" "the number"
like "$errors" '/artifact: unknown field; did you mean "artifacts"' "the slip"
like "$errors" "/artifacts/1/sha256: must be 64" "the digest, with its path"
like "$errors" "--force" "and the way out"
refute "and nothing is written" ppctl get "$config"
run ppctl put node/n1/x '{}'; is "$status" 1 "an unknown key is refused"
like "$errors" "keys begin with nodes/" "with those that there are"
run ppctl put nodes/n1 '{}'; like "$errors" "nodes/<node>/<app>" "a key cut short shows the pattern"
run ppctl put "$config" '{"versions": '; like "$errors" "line 1" "bytes that are no JSON"
run ppctl put "$config" '{"versions": {}, "artifacts": {"1": {"url": "https://u:topsecret@h/x"}}}'
is "$status" 1 "a password in a URL is refused"
unlike "$errors" "topsecret" "and not repeated"
run ppctl put "$config" 'no json at all' --force; is "$status" 0 "--force takes anything"
is "$(ppctl get "$config")" "no json at all" "as it is"

run ppctl put "$config" '{"versions": {"1.0":  "active"}}'; is "$status" 0 "put"
is "$(ppctl get "$config" | flat)" '{"versions":{"1.0":"active"}}' "get"
first=$(revision "$config")
run ppctl put "$config" '{ "versions":{"1.0":"active"} }'
like "$errors" "unchanged" "the same content is not written"
is "$(revision "$config")" "$first" "so nobody is woken"
echo '{"versions": {"1.0": "active", "1.1": "prep"}}' >file.json
run ppctl put "$config" @file.json; is "$status" 0 "put @FILE"
run bash -c 'ppctl put "$1" - <file.json' - "$config"; like "$errors" unchanged "put - reads the same"
run bash -c 'cat file.json | ppctl put "$1" -' - "$config"; like "$errors" unchanged "... from a pipe too"
run ppctl put "$config" @absent.json; is "$status" 1 "a file that is not there"
like "$errors" "absent.json" "is named"
run ppctl put "$config" '{"versions": {}}' --revision "$first"; is "$status" 1 "a revision that has passed"
run ppctl put "$config" '{"versions": {}}' --revision "$(revision "$config")"; is "$status" 0 "the right one"
run ppctl put "$deploy" '{"basedir": "/srv/slug"}' --revision 0; is "$status" 0 "revision 0: new"
run ppctl put "$deploy" '{"basedir": "/srv/x"}' --revision 0; is "$status" 1 "revision 0: not new any more"
run ppctl get "$deploy" -json; like "$(flat <<<"$output")" '"document":\{"basedir":"/srv/slug"\},"key":' "get --json"

run ppctl put nodes/n2/slug '{"cluster": "development"}'; is "$status" 0 "a node's document"
is "$(ppctl get nodes/n2/)" "{}" "brings the node's marker"
is "$(ppctl ls nodes)" "$(printf 'nodes/n1/\nnodes/n2/\nnodes/n2/slug')" "ls takes a prefix without slash"
is "$(ppctl ls nodes/n)" "" "which is no beginning of a name"
is "$(ppctl ls nodes/n2/slug)" "nodes/n2/slug" "and a key"
like "$(complete_with get nodes/n2/)" "^nodes/n2/ nodes/n2/slug$" "completion knows the keys"
like "$(ppctl ls --long nodes/n2/slug)" "^ *[0-9]+ +[0-9]+ B  nodes/n2/slug  the application" "ls --long"
like "$(ppctl ls --json | flat)" '"key":"nodes/n2/slug"' "ls --json"
run ppctl get nodes/n9/slug; is "$status" 1 "a document that is not there"
like "$errors" "ppctl ls" "says how to find others"
run ppctl rm nodes/n2/slug nodes/n9/slug; is "$status" 1 "rm says what was not there"
is "$(ppctl ls nodes/n2/)" "nodes/n2/" "and removes the rest, not the marker"
run ppctl rm nodes/n2/; like "$errors" '"ensure": "absent"' "rm of the last marker warns"
run ppctl --prefix team/a put nodes/n3/x '{"cluster": "c"}'; is "$status" 0 "--prefix"
is "$(PP_PREFIX=team/a/ ppctl ls)" "$(printf 'nodes/n3/\nnodes/n3/x')" "is a store of its own"
run bash -c 'ppctl ls >/dev/full'; is "$status" 1 "a full standard output is an error"

# ---- versions ----

quiet rm "$config" "$deploy"
run ppctl node add slug development; is "$status" 0 "node add"
is "$(ppctl get nodes/n1/slug | flat)" '{"cluster":"development"}' "writes the document"
quiet put nodes/n1/slug '{"cluster": "development", "hold": "disk"}'
quiet node add slug development
like "$(ppctl get nodes/n1/slug | flat)" '"hold":"disk"' "and keeps what else is in it"
quiet put nodes/n1/slug '{"cluster": "development"}'
run ppctl prep slug 1.0; is "$status" 0 "prep without any configuration"
like "$errors" "put $deploy" "says what is missing"
quiet put "$deploy" '{"basedir": "/srv/slug"}'
run ppctl activate slug 1.O; is "$status" 1 "a version that was never prepared"
like "$errors" 'did you mean 1.0\?' "is a slip"
run ppctl activate slug 1.0; is "$errors" "slug in development: active 1.0, prepared none" "activate"
quiet prep slug 1.1 -url http://repo/1.1.tar.gz -sha256 "$(printf '%064d' 1)"
run ppctl prep slug 1.1 --url http://repo/other.tar.gz; is "$status" 1 "an archive never changes"
run ppctl prep slug 1.1 --url http://repo/other.tar.gz --force; is "$status" 0 "except by force"
run ppctl prep slug 1.2 --sha256 abc; is "$status" 1 "a digest is checked"
quiet activate slug 1.1
is "$(ppctl get "$config" | flat)" '{"artifacts":{"1.1":{"sha256":"'"$(printf '%064d' 1)"'","url":"http://repo/other.tar.gz"}},"previous":"1.0","versions":{"1.0":"prep","1.1":"active"}}' "the whole document"
run ppctl activate slug 1.1; like "$errors" "as before" "activating the active one"
run ppctl unprep slug 1.1; is "$status" 1 "the active one is not forgotten"
run ppctl prep slug 1.1; like "$errors" "active 1.1" "nor stopped by prep"
run ppctl rollback slug; like "$errors" "active 1.0, prepared 1.1" "rollback"
run ppctl rollback slug; like "$errors" "active 1.1, prepared 1.0" "and back"
run ppctl deactivate slug; like "$errors" "active none, prepared 1.0, 1.1" "deactivate"
run ppctl rollback slug; like "$errors" "active 1.1, prepared 1.0" "rollback of that"
run ppctl unprep slug 1.0 --json; like "$(flat <<<"$output")" '"versions":\{"1.1":"active"\}' "unprep"
run ppctl --node n2 node add slug stagign
like "$errors" "No document describes that cluster yet; those there are of slug describe: development$" "a cluster that is none yet"
run ppctl --node n2 node add slug development; unlike "$errors" "No document" "... not so of one that is"
quiet --node n2 node add slug staging
run ppctl --node n2 prep slug 9; like "$errors" "slug in staging" "the cluster is this node's"
run ppctl --node n7 prep slug 9; is "$status" 2 "several clusters and none meant"
like "$errors" "development, staging|staging, development" "are listed"
run ppctl --node n7 prep slug 9 --cluster staging; is "$status" 0 "--cluster"
quiet put clusters/bad/c/config '{"versions": 1}' --force
run ppctl prep bad 1; is "$status" 1 "a malformed configuration"
like "$errors" "ppctl edit clusters/bad/c/config" "is not overwritten"
quiet --node n2 node rm slug
is "$(ppctl ls nodes/n2/)" "nodes/n2/" "node rm leaves the marker"
run ppctl --node n2 node rm slug; is "$status" 1 "and is not done twice"
quiet rm clusters/bad/c/config clusters/slug/staging/config

# Twenty at once: nobody's change is lost, one version is active.
pids=()
for i in $(seq 16); do ppctl prep slug "c$i" 2>>race & pids+=($!); done
for i in 1 2 3 4; do ppctl activate slug "c$i" --force 2>>race & pids+=($!); done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=$((failed + 1)); done
is "$failed" 0 "twenty changes at once all succeed"
is "$(ppctl get "$config" | grep -c '"c[0-9]*": ')" 16 "and all are there"
is "$(ppctl get "$config" | grep -c '"active"')" 1 "with one version active"

# ---- export, import ----

ppctl export >all.json
quiet put reality/refs/slug/main '"x"'
ppctl export >again.json
check "export is intent only" cmp all.json again.json
refute "and none of what others keep in the store" grep -q team/ all.json
like "$(ppctl export --all)" "reality/refs/slug/main" "export --all is everything"
like "$(ppctl export nodes/n1)" "nodes/n1/slug" "export takes a prefix"
export PP_STORE=dir:$T/second
quiet init
run bash -c 'cat all.json | ppctl import -'; is "$status" 0 "import, from a pipe"
ppctl export >again.json
check "a round trip changes nothing" cmp all.json again.json
run ppctl import all.json; like "$errors" "^0 of" "a second import writes nothing"
echo '{"nodes/a/x": {"cluster": 1}, "nodes/a/y": {}, "node/b": {}, "nodes/good/z": {"cluster": "c"}}' >bad.json
run ppctl import bad.json; is "$status" 1 "import checks everything"
like "$errors" "nodes/a/x /cluster: must be" "names each document"
like "$errors" "nodes/a/y /cluster: is missing" "and each fault"
like "$errors" "node/b: no document" "and each key"
refute "and writes nothing then" ppctl get nodes/good/z
run ppctl import all.json --store "dir:$T/second" --dry-run; is "$output" "" "a dry run of nothing"
{ echo '{'; for i in $(seq 300); do echo "\"nodes/m$i/app\": {\"cluster\": \"c\"},"; done; echo '"nodes/m0/app": {"cluster": "c"}}'; } >many.json
run ppctl import many.json --dry-run; is "$(wc -l <<<"$output")" 602 "a dry run lists documents and markers"
run bash -c 'ppctl import - <many.json'; is "$status" 0 "import of hundreds, from standard input"
is "$(ppctl ls nodes | grep -c '/m[0-9]*/$')" 301 "with the markers of their nodes"
run ppctl import /dev/null; is "$status" 1 "nothing to import"
export PP_STORE=dir:$T/store

# ---- edit ----

quiet put "$config" '{"versions": {"1.0": "active"}, "min_nodes": 1}'
editor() { printf '#!/bin/sh\n%s\n' "$1" >editor.sh; chmod +x editor.sh; }
export EDITOR="$T/editor.sh"
unset VISUAL
editor 'sed -i "s/1.0/2.0/" "$1"'
run ppctl edit "$config"; is "$status" 0 "edit"
like "$(ppctl get "$config")" '"2.0": "active"' "writes what was edited"
is "$(compgen -G "$T/ppctl-edit-*")" "" "and leaves no file"
editor 'true'
run ppctl edit "$config"; like "$errors" unchanged "edit without a change"
editor 'sed -i "s/\"min_nodes\": 1/\"min_nods\": -1/" "$1"'
run ppctl edit "$config"; is "$status" 1 "edit with a fault"
like "$errors" 'did you mean "min_nodes"' "says it"
kept=$(compgen -G "$T/ppctl-edit-*")
like "$errors" "$kept" "and where the text is"
check "it is kept" grep -q min_nods "$kept"
rm -f "$kept"
editor 'ppctl put '"$config"' "{\"versions\": {\"3.0\": \"active\"}}" 2>/dev/null; sed -i "s/2.0/2.1/" "$1"'
run ppctl edit "$config"; is "$status" 1 "somebody else writes meanwhile"
kept=$(compgen -G "$T/ppctl-edit-*")
like "$errors" "$kept" "the text is kept"
check "whole" grep -q 2.1 "$kept"
like "$(ppctl get "$config")" '"3.0": "active"' "and theirs stands"
rm -f "$kept"
editor 'exit 3'
run ppctl edit "$config"; is "$status" 1 "an editor that fails writes nothing"
rm -f ppctl-edit-*
editor 'sed -i "s/\"\"/\"c\"/" "$1"'
run ppctl edit nodes/n1/new; is "$status" 0 "edit of a new document begins with its required members"
is "$(ppctl get nodes/n1/new | flat)" '{"cluster":"c"}' "and makes it"
editor 'echo "$#" >>args'
VISUAL="$T/editor.sh  one two" run ppctl edit "$config"
is "$(cat args)" 3 "VISUAL may have arguments"
quiet rm nodes/n1/new

# ---- watch ----

ppctl watch nodes >seen 2>seen.err &
watcher=$!
ppctl watch --json nodes >seen.json 2>&1 &
watcher2=$!
wait_for 5 grep -q watching seen.err
# That one does not say when it has begun, and shows only what changes.
begun() { quiet put nodes/w1/b "{\"cluster\": \"c$RANDOM\"}"; grep -q nodes/w1/b seen.json; }
wait_for 5 begun
quiet rm nodes/w1/b
quiet put nodes/w1/a '{"cluster": "c"}'
check "watch sees a new document" wait_for 5 grep -q '+ nodes/w1/a {"cluster":"c"}' seen
quiet put nodes/w1/a '{"cluster": "d"}'
check "and a change" wait_for 5 grep -q '~ nodes/w1/a {"cluster":"d"}' seen
quiet put worlds/w '{}'
quiet rm nodes/w1/a
check "and a removal" wait_for 5 grep -q -- '- nodes/w1/a$' seen
refute "and nothing outside its prefix" grep -q worlds seen
check "as JSON too" wait_for 5 grep -q '"event":"delete".*"key":"nodes/w1/a"' seen.json
kill -INT $watcher 2>/dev/null || kill $watcher
kill $watcher2
wait $watcher2; is $? 0 "watch ends well when told"
kill $watcher 2>/dev/null
wait $watcher

# ---- status ----

now=$(date -u +%Y-%m-%dT%H:%M:%S.000Z)
say() { quiet put "reality/status/$1" "{\"state\": \"$2\", \"reason\": \"$3\", \"message\": \"$4\", \"since\": \"$now\"}"; }
quiet put "$config" '{"versions": {"1.0": "active", "0.9": "prep"}}'
run ppctl status slug --long; is "$status" 111 "no agent has said anything"
like "$output" "slug +development +1.0 +0.9 +preparer +absent" "absent agents are shown"
like "$output" "slug +development +1.0 +0.9 +setlive +absent" "each of them"
say preparer/n1/slug converged Converged "2 installed"
say setlive/n1/slug waiting NotInstalled "version 1.0 is not installed"
run ppctl status --long; is "$status" 111 "one waits"
like "$output" "setlive +waiting +[^ ]+ +version 1.0 is not installed" "and why"
like "$(ppctl status)" "n1 +slug +development +1.0 +waiting +- +[^ ]+ +setlive: version 1.0 is not installed" "in one line for the application"
say setlive/n1/slug blocked Clash "basedir is taken"
run ppctl status; is "$status" 100 "one is blocked"
say setlive/n1/slug converged Converged ""
run ppctl status slug; is "$status" 0 "all converged"
like "$output" "slug +development +1.0 +converged +- +[^ ]+ +preparer, setlive$" "in one line"
run ppctl status slug --json; is "$status" 0 "as JSON"
like "$(flat <<<"$output")" '"converged":true,"slices":\[\{"active":"1.0","agent":"preparer","app":"slug","cluster":"development","current":true,' "its rows"
quiet activate slug 0.9
run ppctl status slug --long; is "$status" 111 "what was said before the intent changed"
like "$output" "setlive +pending" "is pending"
like "$(ppctl status slug --json | flat)" '"converged":false.*"current":false' "also as JSON"
run ppctl status slog; is "$status" 1 "an application that is nowhere"
like "$errors" "node add slog CLUSTER" "says so"
quiet --node n2 node add slug development
unlike "$(ppctl status)" "n2" "this node only"
like "$(ppctl status --all)" "n2 +slug" "--all"
like "$(ppctl status --node n2)" "n2 +slug" "--node"
unlike "$(ppctl status --node n2)" "n1 " "and no other"
like "$(PP_NODE='' ppctl status)" "n1 .*" "a machine that is no node sees all"
quiet put reality/status/setlive/n1/slug '"what?"' --force
like "$(ppctl status --long)" "setlive +malformed" "a status that is none"
quiet put reality/status/setlive/n1/slug '{"state": "waiting", "message": "a\u001b[2Jb"}'
unlike "$(ppctl status)" $'\033' "control characters of a status reach no terminal"
quiet put reality/status/preparer/n1/slug '{"state": "converging", "reason": "Working", "message": "", "detail":
	{"progress": {"phase": "fetching", "version": "1.1", "bytes": 500000, "total": 1000000}}}'
like "$(ppctl status --long)" "converging +- +fetching 1.1, 50% of 976" "progress"
say preparer/n1/slug converged Converged ""
quiet put reality/status/builder/n1/prod/x '{"state": "failing"}'
like "$(ppctl status --long)" "prod/x +- +.*builder +failing" "slices that are no application"
like "$(ppctl status)" "prod/x +- +- +failing +.*builder failing" "in one line, too"
quiet rm reality/status/builder/n1/prod/x

ppctl status slug --watch >seen 2>seen.err &
watcher=$!
check "status --watch begins with all" wait_for 5 grep -q "setlive active=0.9 waiting" seen
say setlive/n1/slug converged Converged ""
check "and goes on with what changed" wait_for 5 grep -q "setlive active=0.9 converged" seen
is "$(grep -c preparer seen)" 1 "and nothing else"
kill $watcher
wait $watcher; is $? 0 "until it is told to end"
run timeout 60 ppctl status slug --wait 1h; is "$status" 0 "--wait for what is so already"
say setlive/n1/slug waiting NotInstalled ""
run ppctl status slug --wait 1s; is "$status" 111 "--wait in vain"
(sleep 0.5; say setlive/n1/slug converged Converged "") &
waiter=$!
run timeout 60 ppctl status slug --wait 1h; is "$status" 0 "--wait until it is so"
wait $waiter

# ---- in a terminal ----

if have script; then
	tty() { script -qec "stty cols ${2:-100} rows 24; $1" /dev/null </dev/null | tr -d '\r'; }
	unset NO_COLOR
	export TERM=xterm
	like "$(tty 'ppctl status slug')" $'\033\\[32mconverged\033\\[0m' "a terminal has colours"
	unlike "$(NO_COLOR=1 tty 'ppctl status slug')" $'\033' "but for NO_COLOR"
	unlike "$(TERM=dumb tty 'ppctl status slug')" $'\033' "or a dumb one"
	unlike "$(ppctl status slug)" $'\033' "or no terminal"
	say setlive/n1/slug failing Unhealthy "$(printf 'word%.0s ' $(seq 60))"
	wide=$(NO_COLOR=1 tty 'ppctl status slug' 72 | awk '{ if (length > most) most = length } END { print most }')
	check "nothing is wider than the terminal ($wide)" [ "$wide" -le 72 ]
	is "$(NO_COLOR=1 tty 'ppctl status slug' 72 | grep -o word | wc -l)" 60 "and nothing is lost of a failure"
	start watched script -qec 'stty cols 100 rows 24; ppctl status slug --watch' /dev/null
	check "--watch redraws in place" wait_for 5 grep -q $'\033\\[[0-9]*A' "$T/watched.log"
	stop "$pid" INT
	export NO_COLOR=1
else
	skip "terminals" "there is no script(1)"
fi

# ---- locks ----

run ppctl lock ls; is "$status" 0 "no locks"
quiet put locks/world/prod '{"holder": "job-runner@n1", "since": "2026-01-02T03:04:05Z"}'
quiet put locks/slug/development/shutdown '{"slots": {"n1": {"since": "2026-01-02T03:04:05Z", "version": "1.1"}}}'
run ppctl lock ls; like "$output" "locks/world/prod +job-runner@n1 +since 2026-01-02T03:04:05Z" "lock ls"
like "$output" "shutdown +n1 +since 2026-01-02T03:04:05Z +1.1" "shows slots too"
like "$(ppctl lock ls world --json | flat)" '"holder":"job-runner@n1","key":"locks/world/prod","node":"n1"' "as JSON"
run ppctl lock break world/prod; is "$status" 0 "lock break"
like "$output" "job-runner@n1" "says whose it was"
is "$(ppctl ls locks)" "locks/slug/development/shutdown" "and takes only that"
run ppctl lock break world/prod; is "$status" 1 "a lock that nobody holds"

# ---- plan ----

mkdir bin
cp "$(command -v ppctl)" bin/
agent() { printf '#!/bin/sh\n%s\n' "$2" >"bin/pp-$1"; chmod +x "bin/pp-$1"; }
agent idle 'exit 0'
run bin/ppctl plan; is "$status" 0 "plan: nothing to do"
agent busy 'echo "slug: would install slug_1.0: it is not there"; exit 2'
agent args 'echo "$PP_STORE $@"; exit 0'
run bin/ppctl plan; is "$status" 2 "plan: work"
like "$output" "busy: work to do" "who has it"
like "$output" "  slug: would install slug_1.0" "and what"
like "$output" "idle: nothing to do" "who has none"
ln -s pp-busy bin/pp-alias
unlike "$(bin/ppctl plan)" "alias" "a second name is asked nothing"
like "$output" "dir:$T/store --once --dry-run .*--node n1" "each is asked about this store and node"
agent stuck 'echo "db: basedir is taken" >&2; exit 100'
run bin/ppctl plan; is "$status" 100 "plan: blocked"
like "$output" "basedir is taken" "and why"
like "$(bin/ppctl plan --json | flat)" '"agent":"busy","notes":\[\],"status":2' "as JSON"
agent late 'echo "{\"level\": \"info\", \"slice\": \"web\", \"msg\": \"waiting: not installed\"}" >&2
	echo "{\"level\": \"info\", \"msg\": \"Polling intent store\"}" >&2; exit 111'
agent dies 'kill -9 $$'
run bin/ppctl plan
like "$output" "late: waiting or failing"$'\n'"  web: waiting: not installed" "what an agent waits for"
unlike "$output" "Polling" "without everyday lines"
like "$output" "dies: killed by signal 9" "an agent that dies"
agent slow 'sleep 30'
run bin/ppctl plan --timeout 1s; like "$output" "no answer within its --timeout" "an agent that hangs"
rm bin/pp-*
run env PATH=/nowhere bin/ppctl plan; is "$status" 1 "plan without agents"

# ---- the same on servers ----

# What depends on the engine: conflicts, transactions of many, watches, closing down.
on_server() {
	local pids=() failed=0 pid i watcher
	export PP_STORE=$1
	run ppctl init; is "$status" 0 "$2: init only marks the node"
	run ppctl import "$T/many.json"; is "$status" 0 "$2: import of hundreds"
	quiet node add slug development
	for i in $(seq 16); do ppctl prep slug "c$i" 2>>race & pids+=($!); done
	for i in 1 2 3 4; do ppctl activate slug "c$i" --force 2>>race & pids+=($!); done
	for pid in "${pids[@]}"; do wait "$pid" || failed=$((failed + 1)); done
	is "$failed" 0 "$2: twenty changes at once all succeed"
	is "$(ppctl get "$config" | grep -c '"c[0-9]*": ')" 16 "$2: and all are there"
	is "$(ppctl get "$config" | grep -c '"active"')" 1 "$2: with one version active"
	run ppctl put "$config" '{"versions": {}}' --revision 1; is "$status" 1 "$2: a revision that has passed"
	rm -f seen seen.err # of the watch before: it has said that it watches
	ppctl watch nodes >seen 2>seen.err &
	watcher=$!
	wait_for 10 grep -q watching seen.err
	quiet put nodes/w1/a '{"cluster": "c"}'
	check "$2: watch sees a change" wait_for 10 grep -q '+ nodes/w1/a {"cluster":"c"}' seen
	kill $watcher
	wait $watcher; is $? 0 "$2: and ends well"
	quiet put reality/status/preparer/n1/slug '{"state": "converged"}'
	(sleep 0.5; quiet put reality/status/setlive/n1/slug '{"state": "converged"}') &
	run ppctl status --wait 1m; is "$status" 0 "$2: status --wait"
	quiet put locks/world/prod '{"holder": "x@n1"}'
	run ppctl lock break world/prod; is "$status" 0 "$2: lock break"
}

if start_etcd; then on_server "$ETCD_URL" etcd; else skip "etcd" "etcd is not on PATH"; fi
if start_consul; then on_server "$CONSUL_URL" consul; else skip "consul" "consul is not on PATH"; fi
run ppctl ls --store "etcd://127.0.0.1:$(free_port)"; is "$status" 111 "a server that is down may come back"

done_testing
