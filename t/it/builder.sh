#!/bin/bash
# pp-builder: archives from directories and git, what is built once, faults; images by a stand-in for the engine's client.
set -u
. "$(dirname "$0")/../lib.sh"
have git || skip_all "git is not on PATH"
# The person's own git has nothing to say, but for what stands in for GitHub.
export HOME=$T/home PP_STORE=dir:$T/store PP_NODE=n1 CONSUL_HTTP_TOKEN=store-canary DOCKER_STUB=$T/engine
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example
mkdir -p "$HOME" "$T/engine" "$T/hub/acme"
git config --global init.defaultBranch main
git config --global "url.$T/hub/.insteadOf" https://github.com/
check "a store" ppctl init "$PP_STORE"

builder=(pp-builder --listen none --state-dir "$T/state" --docker "$ROOT/t/it/docker-stub" --as-root)
once() { run "${builder[@]}" --once "$@"; cat "$T/.err" >>"$T/all.log"; }
put() { ppctl put "$1" "$2" >>"$T/ppctl.log" 2>&1 || not_ok "put $1"; }
# app NAME REPO RULES RECIPES [MEMBERS]
app() { put "apps/$1" "{\"repo\": \"$2\", \"rules\": [$3], \"recipes\": {$4}${5:+, $5}}"; }
archive="\"archive\": {\"tarball\": {\"repository\": \"$T/repo\"}}"
member() { ppctl get "reality/status/builder/${2:-n1}/${3:-hello}" 2>/dev/null | sed -nE "s/^ *\"$1\": \"(.*)\",?\$/\\1/p" | head -n 1; }
state() { ppctl get "reality/status/builder/${1:-n1}/${2:-hello}" 2>/dev/null | sed -nE 's/^  "state": "(.*)",?$/\1/p'; }
# fact APP MEMBER: of each revision, a line.
fact() { ppctl export "reality/builds/$1" --all | sed -nE "s/^ *\"$2\": \"(.*)\",?\$/\\1/p"; }
facts() { ppctl ls "reality/builds/$1" 2>/dev/null | grep -c .; }
archives() { find "$T/repo/$1" -name '*.tar.gz' 2>/dev/null | wc -l; }
builds() { grep -c . "$T/engine/builds" 2>/dev/null || :; }
gone() { ! proc_stat "$1"; }
# becomes FILE CONTENT: at once, for somebody watches it, and would build what is half written.
becomes() { printf '%s\n' "$2" >"$T/.new" && mv "$T/.new" "$1"; }
any='{"ref": "*", "recipe": "archive"}'

# ---- an archive of a directory ----
mkdir -p "$T/hello/bin" "$T/hello/.git"
printf 'exec sleep 1\n' >"$T/hello/bin/launch"
chmod +x "$T/hello/bin/launch"
ln -s bin/launch "$T/hello/start"
app hello "dir:$T/hello" "$any" "$archive"
once --dry-run
is "$status" 2 "dry run: there is work"
is "$(archives hello)" 0 "... and none is done"
once
is "$status" 0 "an archive of a directory"
is "$(archives hello) $(facts hello)" "1 1" "... is there, and published"
first=$(fact hello url) sum=$(fact hello sha256)
is "$(sha256sum <"${first#file://}" | cut -c1-64)" "$sum" "... under its digest"
check "... which stands beside it, as sha256sum takes it" bash -c "cd '$T/repo/hello' && sha256sum -c ./*.sha256"
is "$(tar tf "${first#file://}" | tr '\n' ' ')" "bin/ bin/launch start " "... with all of it, sorted, and without .git"
is "$(tar tvf "${first#file://}" | awk '{print $1, $2, $4}' | sort -u | tr '\n' ';')" \
	"-rwxr-xr-x 0/0 1980-01-01;drwxr-xr-x 0/0 1980-01-01;lrwxrwxrwx 0/0 1980-01-01;" "... whoever made it, whenever"
cp -a "$T/repo" "$T/before"
once
is "$status" 0 "a second round"
check "... changes nothing" diff -r "$T/repo" "$T/before"
once --dry-run
is "$status" 0 "... and finds nothing to do"
rm -r "$T/repo" "$T/state"
touch "$T/hello/bin/launch"
once
check "built anew elsewhere, later, without its memory: the same bytes" cmp "${first#file://}" "$T/before/hello/${first##*/}"
echo x >>"${first#file://}"
once
is "$status" 0 "an archive that somebody changed"
is "$(sha256sum <"${first#file://}" | cut -c1-64)" "$sum" "... is put right"
rm "${first#file://}.sha256"
once
check "one without its digest is made again" test -e "${first#file://}.sha256"
mkdir -p "$T/state/apps/hello/work/.tmp-x"
echo '# changed' >>"$T/hello/bin/launch"
once
is "$(archives hello) $(facts hello)" "2 2" "an edit: another archive, another fact"
sed -i '$d' "$T/hello/bin/launch"
once
is "$(archives hello) $(facts hello)" "2 2" "the edit taken back: nothing is built"

# ---- git: the same content is built once ----
git init -q --bare "$T/hub/acme/api.git"
git clone -q "$T/hub/acme/api.git" "$T/work" 2>/dev/null
commit() { mkdir -p "$T/work/svc" && echo "$1" >"$T/work/svc/code" && git -C "$T/work" add . && git -C "$T/work" commit -qm "$1" && git -C "$T/work" push -q origin HEAD:"${2:-main}"; }
commit one
echo top >"$T/work/README" && commit one release-1
app api gh://acme/api '{"ref": "main", "recipe": "archive"}, {"ref": "release-1", "recipe": "archive"}' "$archive" '"path": "svc"'
once
is "$status" 0 "two branches of a repository"
is "$(archives api) $(facts api)" "1 2" "... with one content below the path: one archive, two facts"
is "$(fact api sha256 | sort -u | grep -c .)" 1 "... that say the same"
is "$(tar tf "$T/repo/api/"*.tar.gz)" code "... of the path alone"
commit two
once
is "$(archives api) $(facts api)" "2 3" "a push: built"
app api gh://acme/api '{"ref": "main", "recipe": "archive"}, {"ref": "nowhere", "recipe": "archive"}' "$archive" '"path": "svc"'
once
is "$status $(state n1 api)" "111 waiting" "a branch that is not there is waited for"
like "$(member message n1 api)" 'archive@nowhere: .*has no branch or tag nowhere' "... by its name"
commit three
once
is "$(archives api)" 3 "... and holds up no other"
app api gh://acme/api '{"ref": "release-*", "recipe": "archive"}' "$archive" '"path": "svc"'
once
is "$status $(archives api)" "0 3" "a pattern wants nothing"
git -C "$T/work" checkout -q -b old && commit four release-2
put reality/refs/api/release-2 "{\"commit\": \"$(git -C "$T/work" rev-parse HEAD)\"}"
put reality/refs/api/feature "{\"commit\": \"0000000000000000000000000000000000000000\"}"
once
is "$status $(archives api)" "0 4" "... until facts say what fits it"
app api gh://acme/api '{"ref": "main", "recipe": "nothing"}' "$archive"
once
like "$(member message n1 api)" 'apps/api: /rules/0/recipe: there is no recipe .*nothing' "a rule without its recipe is refused"
ppctl rm apps/api >>"$T/ppctl.log" 2>&1
once
is "$status" 0 "an application that is gone"
refute "... is forgotten" test -e "$T/state/apps/api"
is "$(archives api)" 4 "... and its archives stay"

# ---- a command, and how it may fail ----
mkdir -p "$T/cmd"
printf 'env >"$1"\nmkdir -p dist\ncp in dist/out\necho "it is made"\n' >"$T/cmd/make.sh"
echo content >"$T/cmd/in"
# cmd [MEMBERS]
cmd() { put apps/cmd "{\"repo\": \"dir:$T/cmd\", \"rules\": [$any], \"recipes\": {\"archive\": {\"tarball\": {\"repository\": \"$T/repo\", \"command\": [\"sh\", \"make.sh\", \"$T/cmd.env\"], \"directory\": \"dist\"}}}${1:-}}"; }
cmd
once
is "$status" 0 "a recipe with a command"
is "$(tar tf "$T/repo/cmd/"*.tar.gz)" out "... packs what it made"
refute "... outside the person's directory" test -e "$T/cmd/dist"
unlike "$(cat "$T/cmd.env")" canary "... without the store's tokens in its environment"
like "$(cat "$T/state/logs/cmd/"*.log)" 'it is made' "... and a log"
printf 'for i in $(seq 40); do echo "line $i"; done\necho "no such header: zlib.h" >&2\nexit 3\n' >"$T/cmd/make.sh"
once
is "$status $(state n1 cmd)" "111 failing" "a broken build"
like "$(member message n1 cmd)" "archive at [0-9a-f]{12}: sh: exit status 3: no such header: zlib.h \(log: $T/state/logs/cmd/" "... says what, and where its log is"
log=$(member log n1 cmd)
like "$(cat "$log")" 'line 1.*line 40' "... which has all of it"
like "$(member tail n1 cmd)" 'line 40\\nno such header' "... its end stands in the status"
unlike "$(member tail n1 cmd)" 'line 20\\n' "... but no more than that"
logs() { find "$T/state/logs/cmd" -name '*.log' | wc -l; }
before=$(logs)
more() { [ "$(logs)" -gt "$before" ]; }
start again "${builder[@]}" --interval 1s --splay 0 --apps cmd
check "a builder that is started anew tries what failed once more" wait_for 10 more
before=$(logs)
sleep 2
is "$(logs)" "$before" "... and not again while its input is the same"
kill -USR1 "$pid"
check "... but for SIGUSR1" wait_for 10 more
becomes "$T/cmd/make.sh" 'mkdir dist; cp in dist'
converged() { [ "$(state n1 cmd)" = converged ]; }
check "... or when it changes, which is seen at once" wait_for 10 converged
before=$(archives cmd)
mkdir "$T/cmd/deep" && echo 1 >"$T/cmd/deep/x"
another() { [ "$(archives cmd)" -gt "$before" ]; }
check "... also below, in what is new" wait_for 10 another
check "... and built" wait_for 10 converged
before=$(member intent_digest n1 cmd)
taken() { [ "$(member intent_digest n1 cmd)" != "$before" ]; }
cmd ', "quiet_period": "1h"'
check "a quiet period is taken note of" wait_for 10 taken
before=$(archives cmd)
becomes "$T/cmd/deep/x" 2
resting() { [[ $(member message n1 cmd) == *"changed a moment ago: it is built when it has rested"* ]]; }
check "a quiet period: what has just changed rests" wait_for 10 resting
is "$(archives cmd)" "$before" "... and is not built"
kill -USR1 "$pid"
check "... until it has, or somebody asks" wait_for 10 another
stop "$pid"
cmd
if [ "$EUID" = 0 ]; then
	echo >>"$T/cmd/in"
	run pp-builder --listen none --state-dir "$T/state" --once
	like "$(member message n1 cmd)" 'its command would run as root' "without --as-root, root runs no command"
	echo 1 >>"$T/cmd/in"
fi

# ---- two at once, killed, stopped ----
printf 'echo x >>%s/runs; echo $$ >%s/cmd.pid; while [ -e %s/hang ]; do sleep 0.05; done; mkdir dist; cp in dist\n' "$T" "$T" "$T" >"$T/cmd/make.sh"
runs() { grep -c . "$T/runs" 2>/dev/null || :; }
building() { [ -s "$T/cmd.pid" ]; }
: >"$T/hang"
start one "${builder[@]}" --apps cmd; one=$pid
check "a build has begun" wait_for 10 building
start two env PP_NODE=n2 "${builder[@]}" --apps cmd --state-dir "$T/state2"; two=$pid
busy() { [ "$(member reason n2 cmd)" = Busy ]; }
check "a second builder waits for the first" wait_for 10 busy
like "$(member message n2 cmd)" 'is being built by builder@n1 since|held by builder@n1 since' "... and says for whom"
rm "$T/hang"
both() { converged && [ "$(state n2 cmd)" = converged ]; }
check "... until it is built" wait_for 10 both
is "$(runs)" 1 "... once"
stop "$two"

rm -f "$T/cmd.pid"; : >"$T/hang"
echo more >>"$T/cmd/in"
check "an edit is built" wait_for 10 building
child=$(cat "$T/cmd.pid")
kill_now "$one"
check "the runner killed: its round goes on" proc_stat "$child"
rm "$T/hang"
once --apps cmd
is "$status $(runs)" "0 2" "... the next one waits for it, and builds nothing twice"
rm -f "$T/cmd.pid"; : >"$T/hang"; echo more >>"$T/cmd/in"
start one "${builder[@]}" --apps cmd
check "another edit is built" wait_for 10 building
child=$(cat "$T/cmd.pid")
all=$(family "$pid" | grep -v "^$child ")
# The runner first: it begins another round when it sees one end.
kill_now "$pid"
each_of "$all" KILL
check "kill -9 of all of the builder: its command ends too" wait_for 5 gone "$child"
wait_for 5 none_left "$all" # and their locks
rm -f "$T/hang" "$T/cmd.pid"
once --apps cmd
is "$status $(runs)" "0 4" "... and the next one builds it"
is "$(find "$T/state/apps/cmd/work" -mindepth 1; find "$T/repo/cmd" -name '.tmp*')" "" "... and leaves nothing lying about"
rm "$T/cmd.pid"; : >"$T/hang"; echo more >>"$T/cmd/in"
start one "${builder[@]}" --apps cmd
check "a build is under way" wait_for 10 building
kill -TERM "$pid"
check "SIGTERM ends it" wait_for 10 gone "$pid"
rm -f "$T/hang"
once --apps cmd
is "$status" 0 "... which is no verdict on its input: it is built"

# ---- what was built once ----
mkdir -p "$T/old"
app old "dir:$T/old" "$any" "$archive"
# Each with a time of its own, of which facts bear the milliseconds.
edit() { echo "$1" >"$T/old/in"; once --apps old --max-destroy 100 --keep "${2:-2}"; }
for n in 1 2 3 4; do edit "$n" 100; done
is "$(archives old) $(facts old)" "4 4" "four builds of an application"
oldest=$(ppctl export reality/builds/old --all | grep -oE '"(at|input)": "[^"]*' | paste - - | sort | head -n 1 | sed 's/.*input": "//')
put clusters/old/prod/config "{\"versions\": {\"v1\": \"prep\"}, \"artifacts\": {\"v1\": {\"sha256\": \"$(sha256sum <"$T/repo/old/old_${oldest:0:20}.tar.gz" | cut -c1-64)\"}}}"
: >"$T/repo/old/old_foreign.tar.gz"
once --dry-run --apps old --max-destroy 100 --keep 1
like "$output" 'would prune [0-9a-f]{40}/archive: Nothing names it, and it is not among the last 1' "what is too many is told"
is "$(archives old)" 5 "... by a dry run, and stays"
once --apps old --max-destroy 100 --keep 1
is "$status $(archives old) $(facts old)" "0 4 3" "what nothing names and is not among the last goes, archive and fact"
check "... and what intent names stays" test -e "$T/repo/old/old_${oldest:0:20}.tar.gz"
is "$(find "$T/repo/old" -name '*.sha256' | wc -l)" 3 "... and what goes goes with its digest"
once --dry-run --apps old --max-destroy 100 --keep 1
is "$status" 0 "... and then there is nothing to do"
chmod 600 "$T/store/clusters/old/prod/config"; echo '{"versions": broken' >"$T/store/clusters/old/prod/config"
echo "old_${oldest:0:20}" >>"$T/store/clusters/old/prod/config"
edit 5 1
check "a document that is broken names what it names" test -e "$T/repo/old/old_${oldest:0:20}.tar.gz"
ppctl rm clusters/old/prod/config >>"$T/ppctl.log" 2>&1
app old "dir:$T/nowhere" "$any" "$archive"
before=$(archives old)
once --apps old --max-destroy 100 --keep 0
is "$(archives old)" "$before" "where it is not known what is wanted, nothing goes"
app old "dir:$T/old" "$any" "$archive"
gone=$(ppctl export reality/builds/old --all | sed -nE 's|.*"url": "file://(.*)".*|\1|p' | grep -v "_$oldest" | head -n 1)
rm -f "$gone"
once --apps old --max-destroy 100 --keep 0
is "$status $(facts old) $(archives old)" "0 1 2" "killed between archive and fact: the fact goes the next time"
edit 1 0
is "$status $(facts old)" "0 1" "what was removed and is wanted again is built again"
mkdir -p "$T/pic"; echo 'FROM scratch' >"$T/pic/Dockerfile"
app pic "dir:$T/pic" '{"ref": "*", "recipe": "image"}' '"image": {"image": {"name": "pic"}}'
once --apps pic
images() { grep -lE '^name pic:' "$T/engine/images/"* 2>/dev/null | wc -l; }
echo '# 2' >>"$T/pic/Dockerfile"; once --apps pic --max-destroy 100 --keep 0
is "$status $(images) $(facts pic)" "0 1 1" "an image that is not needed goes with its fact"
sed -i 's/^store .*/store another/' "$T/engine/images/"*
echo '# 3' >>"$T/pic/Dockerfile"; once --apps pic --max-destroy 100 --keep 0
is "$status $(images) $(facts pic)" "0 2 1" "... one that another store's builder made stays"
: >"$T/engine/inuse"
echo '# 4' >>"$T/pic/Dockerfile"; once --apps pic --max-destroy 100 --keep 0
is "$status $(images) $(facts pic)" "0 3 1" "... and one that is in use"
rm -r "$T/engine/inuse" "$T/engine/builds" "$T/engine/images"

# ---- the queue ----
mkdir "$T/many"
printf 'n=$(cat n)\necho "begin $1 $n" >>%s/order\nwhile [ -e %s/hang ]; do sleep 0.05; done\necho "end $1 $n" >>%s/order\n' "$T" "$T" "$T" >"$T/many/make.sh"
becomes "$T/many/n" 1
recipe() { echo "\"$1\": {\"tarball\": {\"repository\": \"$T/repo\", \"command\": [\"sh\", \"make.sh\", \"$1\"]}}"; }
many() { app many "dir:$T/many" '{"ref": "*", "recipe": "b"}, {"ref": "*", "recipe": "a"}' "$(recipe a), $(recipe b)" "\"concurrency\": $1"; }
order() { tr '\n' ';' <"$T/order"; }
began() { grep -q "$1" "$T/order"; }
many 1
once --apps many
is "$(order)" "begin b 1;end b 1;begin a 1;end a 1;" "two builds: in the order of the rules, one after the other"
: >"$T/order"; becomes "$T/many/n" 2; : >"$T/hang"
start queue "${builder[@]}" --apps many; queue=$pid
check "a build is under way, another is queued" wait_for 10 began "begin b 2"
becomes "$T/many/n" 3
rm "$T/hang"
check "its source changes meanwhile" wait_for 15 began "end a 3"
is "$(order)" "begin b 2;end b 2;begin b 3;end b 3;begin a 3;end a 3;" "... it is finished, and what was queued is dropped"
: >"$T/order"; : >"$T/hang"
many 2
becomes "$T/many/n" 4
check "concurrency 2: one is under way" wait_for 10 began "begin b 4"
check "... and the other beside it" wait_for 10 began "begin a 4"
rm "$T/hang"
check "... to their ends" wait_for 15 began "end a 4"
stop "$queue"
: >"$T/order"
becomes "$T/many/n" 5
once --apps many --builds 1
is "$(order | sed 's/ [ab] / /g')" "begin 5;end 5;begin 5;end 5;" "--builds 1: one of all"
is "$(find "$T/state/queue" "$T/state/apps/many/queue" -type f)" "" "no ticket is left"

# ---- an archive to a server ----
mkdir "$T/server"
echo server-canary >"$T/token"
start server "$BUILD_DIR/t/it/artifacts" "$T/server" server-canary
server=$pid
wait_for 5 test -s "$T/server.log"
app far "dir:$T/hello" "$any" "\"archive\": {\"tarball\": {\"repository\": \"http://127.0.0.1:$(cat "$T/server.log")/store/\"}}"
mkdir "$T/server/store"
far() { once --apps far "$@"; }
far
is "$status $(member reason n1 far)" "111 Unavailable" "a server that lets nobody in"
like "$(member message n1 far)" 'answers with status 401: --token-file names what lets us in' "... says what to do"
: >"$T/server/full"
far --token-file "$T/token"
like "$(member message n1 far)" '/store/far/far_[0-9a-f]{20}.tar.gz: the server answers with status 507' "one that has no room"
rm "$T/server/full"
far --token-file "$T/token"
is "$status" 0 "... is tried again soon"
is "$(sha256sum <"$(echo "$T"/server/store/far/*.tar.gz)" | cut -c1-64)" "$(fact far sha256)" "an archive on a server"
is "$(fact far sha256)" "$sum" "... has the bytes that it has in a directory"
check "... and its digest beside it" bash -c "cd '$T/server/store/far' && sha256sum -c ./*.sha256"
cp -a "$T/server" "$T/server.before"
far --token-file "$T/token"
is "$status" 0 "a second round"
check "... puts nothing" diff -r "$T/server" "$T/server.before"
rm "$T"/server/store/far/*.tar.gz
far --token-file "$T/token"
check "an archive that is gone is put again" bash -c "cd '$T/server/store/far' && sha256sum -c ./*.sha256"
stop "$server"
far --token-file "$T/token"
is "$status $(member reason n1 far)" "111 Unavailable" "a server that is gone"
ppctl rm apps/far >>"$T/ppctl.log" 2>&1

# ---- images ----
mkdir -p "$T/img"
printf 'FROM scratch\nCOPY x /\n' >"$T/img/Dockerfile"
echo 1 >"$T/img/x"
img() { app img "dir:$T/img" '{"ref": "*", "recipe": "image"}' "\"image\": {\"image\": {$1}}"; }
image() { once --apps img; }
img '"args": {"LEVEL": "3"}, "target": "run"'
: >"$T/engine/down"
image
is "$status $(member reason n1 img)" "111 Waiting" "no engine: waiting"
like "$(member message n1 img)" 'no container engine answers: Cannot connect' "... with its words"
rm "$T/engine/down"
image
is "$status" 0 "an image"
input=$(fact img input)
is "$(fact img image)" "img:${input:0:20}" "... has a tag by its content"
like "$(grep '^build' "$T/engine/calls")" '--label platypus.input=[0-9a-f]{64} .*--target run --build-arg LEVEL=3 \.$' "... and was built as the recipe says"
unlike "$(cat "$T/engine/env")" canary "... by a client that has none of the store's tokens"
image
is "$status $(builds)" "0 1" "... once"
rm -r "$T/engine/images"
image
is "$status $(builds)" "0 2" "an image that somebody removed is built again"
printf 'FROM scratch\nRUN false\n' >"$T/img/Dockerfile"
image
is "$status $(state n1 img)" "111 failing" "a broken Dockerfile"
like "$(member message n1 img)" 'docker-stub: exit status 1: The command .* returned a non-zero code' "... says why"
rm "$T/img/Dockerfile"
image
like "$(member message n1 img)" 'there is no Dockerfile in the source' "... and so does none"
printf 'FROM scratch\n' >"$T/img/Dockerfile"
img '"name": "registry.example/team/img", "push": true'
: >"$T/engine/refuse"
image
is "$status $(member reason n1 img)" "111 Unavailable" "a registry that takes nothing"
like "$(member message n1 img)" 'cannot be pushed .*denied' "... says so"
rm "$T/engine/refuse"
image
is "$status" 0 "... and is tried again soon"
like "$(fact img image | tail -n 1)" '^(registry.example/team/img@sha256:[0-9a-f]{64}|img:)' "a pushed image is known by its digest"
before=$(builds)
run env PP_NODE=n2 "${builder[@]}" --once --apps img --state-dir "$T/state2"
is "$status $(builds)" "0 $before" "another node's builder takes its word"
is "$(grep -c canary "$T/all.log")" 0 "no secret in any log"
done_testing
