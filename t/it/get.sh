#!/bin/bash
# ppctl load and get, with real git and local repositories that stand in for GitHub by git's own insteadOf.
set -u
. "$(dirname "$0")/../lib.sh"
have git || skip_all "git is not on PATH"
have ppctl || skip_all "ppctl is not built"
export HOME=$T/home PP_STORE=dir:$T/store
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example
unset GIT_DIR GIT_WORK_TREE GIT_ASKPASS SSH_ASKPASS GIT_TERMINAL_PROMPT XDG_CONFIG_HOME
mkdir -p "$HOME" "$T/hub/foocorp" "$T/ws"
git config --global init.defaultBranch main
git config --global "url.$T/hub/.insteadOf" https://github.com/

# repository NAME: on the hub, with one commit; its author's clone is $T/author/NAME.
repository() {
	git init -q --bare "$T/hub/foocorp/$1.git"
	git clone -q "$T/hub/foocorp/$1.git" "$T/author/$1" 2>/dev/null
	push "$1" README "$1"
}
# push NAME FILE CONTENT
push() {
	echo "$3" >"$T/author/$1/$2"
	git -C "$T/author/$1" add . && git -C "$T/author/$1" commit -qm "$3" && git -C "$T/author/$1" push -q origin HEAD:main
}
for name in sysdef api web admin; do repository "$name"; done
services() { printf 'applications:\n  WickedCool:\n    services:\n%s' "$(printf '    - gh:foocorp/%s\n' "$@")"; }
push sysdef sysdef.yaml "$(services api web admin)"
cd "$T/ws" || exit 1

# ---- load ----
run ppctl get wickedcool
is "$status" 1 "get before load"
like "$errors" 'there is no system definition here: .ppctl load SOURCE' "... says what to do"
run ppctl load gh://foocorp/nothing
is "$status" 1 "load of what is not there"
like "$errors" 'gh://foocorp/nothing: cannot be cloned: .*(not exist|not appear to be|not found)' "... says so, with git's words"
is "$(ls -A)" "" "... and leaves nothing"
run ppctl load not-a-source
is "$status" 1 "load of what is no source"
like "$errors" 'must be gh://ORG/REPO, a git URL' "... says what one is"
run ppctl load gh://foocorp/api
like "$errors" 'there is no sysdef.yaml in gh://foocorp/api' "load of a repository without sysdef.yaml"
rm -rf api
run pib-local load gh://foocorp/sysdef
is "$status" 0 "load gh://foocorp/sysdef, by another name"
like "$output" '^WickedCool: 3 services$' "... says what is in it"
like "$errors" 'Next: pib-local get WickedCool' "... and what comes next, by the name it was called by"
check "... and it stands in the working directory" test -e sysdef/sysdef.yaml
run ppctl load gh:foocorp/sysdef
is "$status" 0 "load again, in the other spelling"
like "$errors" 'sysdef: up to date' "... fast-forwards"
mkdir "$T/elsewhere"
run ppctl load "$T/ws/sysdef" --directory "$T/elsewhere"
is "$status" 0 "load of a directory"
is "$(ls "$T/elsewhere")" "" "... uses it where it is"

# ---- get ----
run ppctl get wickedcool
is "$status" 0 "get wickedcool: without regard to case"
is "$(printf '%s\n' "$output" | sort | tr '\n' ';')" \
	"admin: cloned from https://github.com/foocorp/admin.git;api: cloned from https://github.com/foocorp/api.git;web: cloned from https://github.com/foocorp/web.git;" \
	"... a plain line each"
is "$(cat api/README web/README admin/README | tr '\n' ' ')" "api web admin " "... side by side"
run ppctl get wickedcool
is "$status $(grep -c ': up to date$' <<<"$output")" "0 3" "get again: nothing to do"

push api code new
push web code new
push admin code new
echo mine >web/README
before=$(git -C web rev-parse HEAD)
echo mine >admin/own && git -C admin add . && git -C admin commit -qm mine
echo untracked >api/notes
(cd api && run ppctl get wickedcool; echo "$status" >"$T/status"; printf '%s\n' "$output" "$errors" >"$T/said")
is "$(cat "$T/status")" 0 "get from below the working directory"
like "$(cat "$T/said")" 'api: main: 1 new commit' "what can be fast-forwarded is"
is "$(cat api/code api/notes | tr '\n' ' ')" "new untracked " "... beside files that git does not know"
like "$(cat "$T/said")" 'web: left alone: main is 1 commit behind, but there are changes in the tree; commit or stash' "a dirty tree is left alone"
is "$(cat web/README) $(git -C web rev-parse HEAD)" "mine $before" "... as it is"
like "$(cat "$T/said")" 'admin: left alone: main has diverged, 1 commit here and 1 there; git -C admin pull --rebase' "a diverged branch too"
refute "... as it is" test -e admin/code
git -C web checkout -q README && git -C admin pull -q --rebase
run ppctl get WickedCool
like "$output" 'admin: up to date, 1 commit not pushed' "what a person has not pushed is said"
like "$output" 'web: main: 1 new commit' "... and a clean tree goes on"

git -C api switch -q -c topic
run ppctl get wickedcool
like "$errors" 'api: left alone: topic follows no other branch; git -C api branch --set-upstream-to' "a branch that follows nothing"
git -C api switch -q --detach main
run ppctl get wickedcool
like "$errors" 'api: left alone: it is on no branch; git -C api switch' "no branch at all"
git -C api switch -q main

push sysdef sysdef.yaml "$(services api gone web admin extra)"
run ppctl load gh://foocorp/sysdef
repository extra
mkdir gone && echo mine >gone/file
run ppctl get wickedcool
is "$status" 1 "one cannot be got"
like "$errors" 'gone: .*/ws/gone is in the way, and is no git repository: move it aside' "... and why"
like "$errors" '^1 of 5 could not be got|.1 of 5 could not be got' "... is counted"
is "$(cat gone/file extra/README | tr '\n' ' ')" "mine extra " "... and the others are there"
rm -r gone
run ppctl --json get wickedcool
is "$status $(grep -c '"outcome": "current"' <<<"$output") $(grep -c '"outcome": "failed"' <<<"$output")" "1 4 1" "--json: an object each"
run ppctl get wickedcol
like "$errors" 'wickedcol.*WickedCool' "an application that is not there: the nearest"
run ppctl get --all
is "$status" 1 "--all: every application"
run ppctl get nodes/n1/x
like "$errors" 'nodes/n1/x|there is no store here' "a name with a slash is a document's key"

# ---- stopped in the middle ----
mkdir "$T/slow" && printf '#!/bin/sh\necho $$ >%s/slow.pid\nexec sleep 60\n' "$T" >"$T/slow/git-remote-slow" && chmod +x "$T/slow/git-remote-slow"
git config --global url.slow://x/.insteadOf https://slow.example/
push sysdef sysdef.yaml "$(printf 'applications:\n  Slow:\n    services:\n    - https://slow.example/foocorp/tortoise\n')"
ppctl load gh://foocorp/sysdef >/dev/null 2>&1
start getting env PATH="$T/slow:$PATH" ppctl get slow
cloning() { [ -s "$T/slow.pid" ]; }
check "a clone under way" wait_for 10 cloning
kill -TERM "$pid"
gone() { ! proc_stat "$1"; }
check "is ended with its get" wait_for 10 gone "$(cat "$T/slow.pid")"
check "... which says so" wait_for 5 grep -q 'tortoise: interrupted' "$T/getting.log"
ended() { ! proc_stat "$pid"; }
check "... and ends" wait_for 5 ended
ppctl load gh://foocorp/sysdef >/dev/null 2>&1
is "$(find . -maxdepth 1 -name 'tortoise*')" "" "... and leaves no half of a repository"

# ---- private ones ----
mkdir "$T/private"
cat >"$T/private/git-remote-private" <<END
#!/bin/sh
if [ "\${GIT_TERMINAL_PROMPT:-}" = 0 ]; then
	echo "fatal: could not read Username for 'https://private.example': terminal prompts disabled" >&2
	exit 128
fi
echo "the person gives a password" >/dev/tty
exec git remote-ext "\$1" "git-upload-pack $T/hub/foocorp/\${2##*/}.git"
END
chmod +x "$T/private/git-remote-private"
git config --global url.private://x/.insteadOf https://private.example/
push sysdef sysdef.yaml "$(printf 'applications:\n  Own:\n    services:\n    - https://private.example/foocorp/admin\n    - gh:foocorp/web\n')"
ppctl load gh://foocorp/sysdef >/dev/null 2>&1
rm -rf admin
export PATH=$T/private:$PATH
# Without a terminal at all.
run setsid -w ppctl get own
is "$status" 1 "a private repository, and nobody to ask"
like "$errors" 'admin: cannot be cloned: could not read Username' "... cannot be got"
if have script; then
	TERM=xterm script -qec 'ppctl get own' "$T/typescript" >/dev/null 2>&1 </dev/null
	like "$(cat "$T/typescript")" 'the person gives a password' "on a terminal, git itself asks, in the foreground"
	is "$(cat admin/README)" admin "... and has it"
else
	skip "a password on a terminal" "script is not on PATH"
fi
rm -rf admin
git clone -q https://github.com/foocorp/admin.git admin

# ---- on a terminal ----
push sysdef sysdef.yaml "$(services api web admin)"
ppctl load gh://foocorp/sysdef >/dev/null 2>&1
rm -rf api
push web code newer
echo dirty >web/README
if have script; then
	TERM=xterm script -qec 'stty cols 60 rows 20; ppctl get wickedcool' "$T/typescript" >/dev/null 2>&1 </dev/null
	text=$(cat "$T/typescript")
	like "$text" $'\033\\[\\?2026h' "on a terminal, it is drawn"
	last=${text##*$'\033[?2026h'}
	last=${last%%$'\033[?2026l'*}
	plain=$(printf '%s' "$last" | sed $'s/\033\\[[0-9;?]*[A-Za-z]//g' | tr -d '\r')
	like "$plain" 'api +cloned from' "... the last picture has every repository's end"
	like "$plain" 'admin +up to date' "... one a line"
	is "$(printf '%s' "$plain" | grep -c 'Receiving\|Cloning\|remote:')" 0 "... and nothing of git's own words"
	widest=0
	while IFS= read -r line; do [ "${#line}" -le "$widest" ] || widest=${#line}; done <<<"$plain"
	check "... no line of it is wider than the terminal" test "$widest" -le 60
	like "$(tr -d '\r\n' <"$T/typescript")" 'web: left alone: main is 1 commit behind.*commit or stash them, then get it again' "... what a person has to do stands below it in full"
else
	skip "progress on a terminal" "script is not on PATH"
fi
done_testing
