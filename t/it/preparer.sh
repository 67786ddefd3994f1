#!/bin/bash
# pp-preparer against a real directory store: where artifacts come from, what is refused, what is
# resumed, what is kept, what a kill leaves behind.
set -u
. "$(dirname "$0")/../lib.sh"

REPO=$T/repo/app BASE=$T/base INSTALLS=$T/base/installs
export PP_STORE=dir:$T/store
mkdir -p "$REPO" "$T/src/bin" "$T/work"

# These tests change their minds far more often than people do.
prepare() {
	run pp-preparer --node n --once --state-dir "$T/state" --repo "file://$T/repo/" --max-destroy 1000 "$@"
}
put() { ppctl put "$1" "$2" >/dev/null 2>&1 || not_ok "put $1 $2"; }
# config VERSIONS-JSON [ARTIFACTS-JSON]
config() { put clusters/app/c/config "{\"versions\": $1, \"artifacts\": ${2:-{\}}}"; }
# make VERSION [SUFFIX] [KIB]: an artifact whose launch script names the version
make() {
	printf '#!/bin/sh\necho %s\n' "$1" >"$T/src/bin/launch"
	chmod 755 "$T/src/bin/launch"
	rm -f "$T/src/data"
	[ -z "${3:-}" ] || head -c "$3"K /dev/urandom >"$T/src/data"
	tar -C "$T/src" -caf "$REPO/app_$1.tar.${2:-gz}" .
}
sum() { sha256sum "$REPO/$1" | cut -c1-64; }
serves() { is "$("$INSTALLS/app_$1/bin/launch" 2>&1)" "$1" "$2"; }
missing() { if [ -e "$INSTALLS/app_$1" ]; then not_ok "$2" "$errors"; else ok "$2"; fi; }
# Nothing but installations, none half.
tidy() { is "$(find "$INSTALLS" -mindepth 1 -maxdepth 1 -name '.*' 2>/dev/null)" "" "$1: no leftovers"; }
record() { cat "$INSTALLS/app_$1/.platypus.json" 2>/dev/null; }

ppctl init "$PP_STORE" >/dev/null 2>&1
put nodes/n/app '{"cluster": "c"}'
put clusters/app/c/deploy_config "{\"basedir\": \"$BASE\"}"

# ---- the happy path ----

make 1 gz; make 2 zst; make 3 xz
make plain; gzip -d <"$REPO/app_plain.tar.gz" >"$T/plain" && mv "$T/plain" "$REPO/app_plain.tar.gz" # not packed at all: first bytes decide
config '{"1": "active", "2": "prep", "3": "prep", "plain": "prep"}'
prepare --dry-run
is "$status" 2 "--dry-run finds work"
refute "--dry-run installs nothing" test -e "$BASE"
prepare
is "$status" 0 "four versions are installed"
for version in 1 2 3; do serves "$version" "version $version is whole"; done
serves plain "an archive that is not packed"
like "$errors" "INFO +\[.*\] .*Does not exist: $INSTALLS/app_1" "the log says what was missing"
like "$errors" "Extracting $REPO/app_1.tar.gz to $INSTALLS/\.tmp-" "and where from"
like "$errors" "Moving $INSTALLS/\.tmp-[^ ]* to $INSTALLS/app_1" "and where to"
like "$errors" "WARN .*No digest for app_1" "an artifact that nobody vouches for is warned of"
is "$(stat -c '%U %a' "$INSTALLS/app_1" "$INSTALLS/app_1/bin" "$INSTALLS/app_1/bin/launch" | sort -u)" \
	"$(id -un) 755" "what is installed is ours, mode 755"
like "$(record 1)" "\"sha256\":\"$(sum app_1.tar.gz)\"" "the record holds the digest"
tidy "happy path"

tree() { find "$BASE" "$T/store" -printf '%p %y %m %U %s %T@ %l %C@\n' | sort; }
before=$(tree)
if have strace; then
	strace -f -qq -o "$T/strace" -e trace=%file,ftruncate,fchmod,fchown,write,pwrite64,fsync,syncfs \
		pp-preparer --node n --once --state-dir "$T/state" --repo "file://$T/repo/" >/dev/null 2>&1
	is "$(grep -E 'rename|unlink|rmdir|mkdir|symlink|[^d]link(at)?\(|O_CREAT|O_TRUNC|fchmod|fchown|syncfs' "$T/strace" |
		grep -F "\"$BASE")" "" "a second --once makes no mutating call"
else
	skip "a second --once makes no mutating call" "no strace"
fi
prepare
is "$status" 0 "a second --once has nothing to do"
is "$(tree)" "$before" "and changes nothing"

# ---- drift ----

rm -rf "$INSTALLS/app_2"
prepare
serves 2 "an installation that vanished comes back"

# ---- digests ----

make d1; make d2; make d3
config '{"d1": "prep"}' "{\"d1\": {\"sha256\": \"$(sum app_d1.tar.gz)\"}}"
prepare
is "$status" 0 "the digest of the document fits"
unlike "$errors" "No digest" "and nobody warns"
config '{"d2": "prep", "d3": "prep"}' "{\"d2\": {\"sha256\": \"$(sum app_d1.tar.gz)\"}}"
prepare
is "$status" 100 "a wrong digest is refused for good"
like "$errors" "sha256 is $(sum app_d2.tar.gz), but the document says $(sum app_d1.tar.gz)" "naming both"
missing d2 "and nothing is installed"
serves d3 "while the other version is"
tidy "wrong digest"

for form in '%s\n' '%s  app_s.tar.gz\n' '%s *app_s.tar.gz\n' '%s'; do
	rm -rf "$INSTALLS/app_s"
	make s
	# shellcheck disable=SC2059 # the form is the test
	printf "$form" "$(sum app_s.tar.gz)" >"$REPO/app_s.tar.gz.sha256"
	config '{"s": "prep"}'
	prepare --require-digest
	is "$status" 0 "a .sha256 of the form '$form'"
done
make w; echo "$(sum app_s.tar.gz)  app_w.tar.gz" >"$REPO/app_w.tar.gz.sha256"
config '{"w": "prep"}'
prepare
is "$status" 100 "a .sha256 that does not fit"
like "$errors" "the .sha256 file beside it says" "and says so"
missing w "is not installed"
echo "not a digest" >"$REPO/app_w.tar.gz.sha256"
prepare
like "$errors" "does not begin with 64 hexadecimal digits" "a .sha256 that is none"
missing w "is not installed"
make r
config '{"r": "prep"}'
prepare --require-digest
is "$status" 100 "--require-digest without a digest"
like "$errors" "--require-digest, and neither the document \(artifacts.r.sha256\) nor" "says what to do"
missing r "is not installed"
prepare
serves r "without --require-digest it is"

config '{"r": "prep"}' "{\"r\": {\"sha256\": \"$(sum app_d1.tar.gz)\"}}"
before=$(tree)
prepare
is "$status" 100 "the digest of an installed version changes: blocked"
like "$errors" "DigestChanged|version r is installed with sha256 $(sum app_r.tar.gz), the document now says" "naming both"
is "$(tree | grep -v "$T/store")" "$(grep -v "$T/store" <<<"$before")" "and nothing is touched"

# ---- signatures ----

if have minisign; then
	mkdir "$T/keys"
	minisign -G -W -f -p "$T/keys/ours.pub" -s "$T/ours.sec" >/dev/null
	minisign -G -W -f -p "$T/other.pub" -s "$T/other.sec" >/dev/null
	sign() { minisign -S -s "$T/$1.sec" -m "$REPO/$2" "${@:3}" >/dev/null; }
	make k1; sign ours app_k1.tar.gz
	config '{"k1": "prep"}'
	prepare --trusted-keys "$T/keys"
	is "$status" 0 "a good signature"
	like "$(record k1)" "\"key\":\"[0-9A-F]+\"" "the record names the key"
	make k2; sign other app_k2.tar.gz
	make k3
	make k4; sign ours app_k4.tar.gz; make k4 gz 1
	make k5; cp "$REPO/app_k1.tar.gz" "$REPO/app_k5.tar.gz"; cp "$REPO/app_k1.tar.gz.minisig" "$REPO/app_k5.tar.gz.minisig"
	make k6; sign ours app_k6.tar.gz -l
	config '{"k2": "prep", "k3": "prep", "k4": "prep", "k5": "prep", "k6": "prep"}' \
		"{\"k3\": {\"sha256\": \"$(sum app_k3.tar.gz)\"}}"
	prepare --trusted-keys "$T/keys/ours.pub"
	is "$status" 100 "bad signatures"
	like "$errors" "which is not among the trusted keys" "an unknown key"; missing k2 "... is not installed"
	like "$errors" "there is no .minisig file" "no signature, though the digest fits"; missing k3 "... is not installed"
	like "$errors" "does not fit the file" "a signature of something else"; missing k4 "... is not installed"
	like "$errors" "is for a file named 'app_k1.tar.gz'" "another version's artifact and signature"; missing k5 "... is not installed"
	like "$errors" "minisign -S -H" "the old kind"; missing k6 "... is not installed"
	tidy "bad signatures"
	config '{"k3": "prep"}'
	prepare --trusted-keys "$T/nowhere"
	unlike "$status" "^0$" "keys that cannot be read are an error"
	missing k3 "and nothing is installed unverified"
else
	skip "signatures" "minisign is not on PATH"
fi

# ---- what is missing ----

config '{"none": "active", "1": "prep"}'
prepare
is "$status" 111 "a missing artifact is temporary"
like "$errors" "no artifact for app_none: looked for $REPO/app_none.tar.gz, .*tar.zst, .*tar.xz" "and says where it looked"
run pp-preparer --node n --once --state-dir "$T/state"
like "$errors" "nothing says where version none comes from: give --repo" "neither --repo nor a URL"
mkdir "$INSTALLS/app_none"
prepare
is "$status" 0 "a directory that somebody made counts as installed"
rm -rf "$INSTALLS/app_none"
echo x >"$INSTALLS/app_none"
prepare
is "$status" 100 "a file in the place of an installation"
like "$errors" "$INSTALLS/app_none is a regular file: move it away" "is named"
rm -f "$INSTALLS/app_none"

# ---- pruning ----

rm -rf "$INSTALLS"
versions=
for n in 1 2 3 4 5 6; do
	make "p$n"
	versions+="${versions:+, }\"p$n\": \"prep\""
	config "{$versions}"
	prepare
done
mkdir "$INSTALLS/app_foreign"
ln -s installs/app_p1 "$BASE/current"
ln -s "$INSTALLS/app_p2" "$BASE/previous"
config '{"p6": "active"}'
prepare
is "$status" 0 "surplus installations go"
is "$(cd "$INSTALLS" && echo *)" "app_foreign app_p1 app_p2 app_p4 app_p5 app_p6" \
	"current, previous, the named, the newest two and the foreign stay"
exec 8<"$INSTALLS/app_p4"
flock -s 8
prepare --keep 0
is "$(cd "$INSTALLS" && echo *)" "app_foreign app_p1 app_p2 app_p4 app_p6" "--keep 0, but one is in use"
is "$status" 111 "and waits"
like "$errors" "app_p4 is in use" "saying which"
exec 8<&-
prepare --keep 0
is "$(cd "$INSTALLS" && echo *)" "app_foreign app_p1 app_p2 app_p6" "until it is not"
ppctl rm nodes/n/app >/dev/null 2>&1
prepare --keep 0
is "$(cd "$INSTALLS" && echo *)" "app_foreign app_p1 app_p2 app_p6" "an application that left keeps its installations"
put nodes/n/app '{"cluster": "c"}'
rm -f "$BASE/current" "$BASE/previous"

# ---- http ----

make big gz 700
make small
start server "$BUILD_DIR/t/it/fileserver" "$REPO" "$T/requests"
wait_for 5 test -s "$T/server.log"
port=$(head -n 1 "$T/server.log")
# fetch MODE VERSION [OPTION...]: a fresh installation of VERSION through that kind of server
fetch() {
	rm -rf "$INSTALLS/app_$2" "$T/state/cache" "$T/state"/*/cache
	http GET "$port" /reset/x '' >/dev/null
	: >"$T/requests"
	config "{\"$2\": \"prep\"}" "{\"$2\": {\"url\": \"http://127.0.0.1:$port/$1/app_$2.tar.gz\"}}"
	prepare "${@:3}"
}
gets() { grep -c "/app_$1.tar.gz [0-9]*$" "$T/requests"; }
whole() { is "$(sha256sum <"$INSTALLS/app_${2:-big}/data" 2>&1)" "$big" "$1"; }

make big gz 700
big=$(sha256sum <"$T/src/data")
make small
fetch plain big; is "$status" 0 "by http"; whole "by http: whole"
is "$(gets big)" 1 "in one request"
fetch cut big; is "$status" 0 "a connection that is cut again and again"; whole "... is resumed"
[ "$(gets big)" -ge 10 ] && ok "... by $(gets big) requests" || not_ok "... by $(gets big) requests"
is "$(awk '{ print $3 }' "$T/requests" | head -n 3 | xargs)" "0 65536 131072" "... each from where the last one ended"
fetch modified big; is "$status" 0 "resumed by Last-Modified"; whole "... whole"
fetch norange big; is "$status" 0 "a server that ignores Range"; whole "... is read again"
fetch changed big; is "$status" 111 "an artifact that changes under way is temporary"
like "$errors" "changed while it was fetched" "... and named"; missing big "... not installed"
fetch lying big; is "$status" 111 "a server that answers another range"; missing big "... not installed"
fetch bare big; is "$status" 111 "a cut without ETag or Last-Modified"; missing big "... not installed"
fetch stall big --stall-timeout 2s; is "$status" 0 "a server that falls silent"; whole "... is asked again"
fetch error small; is "$status" 111 "status 503 is temporary"
like "$errors" "the server answered with status 503" "... and named"
fetch moved small; serves small "a redirection is followed"
fetch page small; is "$status" 100 "a page in the place of an artifact"
like "$errors" "neither a tar archive" "... is named"; missing small "... not installed"
fetch plain nowhere; is "$status" 111 "404"
like "$errors" "no artifact for app_nowhere" "... is named"
tidy "http"
sum app_small.tar.gz >"$REPO/app_small.tar.gz.sha256"
fetch plain small --require-digest; is "$status" 0 "the .sha256 comes by http too"
config '{"t": "prep"}' "{\"t\": {\"url\": \"http://127.0.0.1:$port/plain/app_small.tar.gz?token=hunter2\"}}"
prepare
is "$status" 0 "a URL with a query"
unlike "$errors$(record t)$(cat "$T"/state/*.json 2>/dev/null)" "hunter2" "... which is neither logged nor recorded"
like "$(cat "$T/requests")" "small.tar.gz.sha256\?token" "... and kept for what stands beside"
rm -f "$REPO/app_small.tar.gz.sha256"
config '{"f": "prep"}' '{"f": {"url": "http://127.0.0.1:1/app.tar.gz"}}'
prepare
is "$status" 111 "nobody listens"

# The same artifact for three applications is fetched once.
rm -rf "$T/state"/cache "$T/state"/*/cache
: >"$T/requests"
for n in x y z; do
	put "nodes/n/$n" '{"cluster": "c"}'
	put "clusters/$n/c/deploy_config" "{\"basedir\": \"$T/base-$n\"}"
	put "clusters/$n/c/config" "{\"versions\": {\"1\": \"prep\"}, \"artifacts\": {\"1\": {\"url\": \"http://127.0.0.1:$port/slow/app_big.tar.gz\"}}}"
done
ppctl rm nodes/n/app >/dev/null 2>&1
prepare
is "$status" 0 "three applications with one artifact"
is "$(sha256sum <"$T/base-z/installs/z_1/data")" "$big" "... whole"
is "$(gets big)" 1 "... fetch it once"
for n in x y z; do ppctl rm "nodes/n/$n" >/dev/null 2>&1; done
put nodes/n/app '{"cluster": "c"}'

# ---- a kill in the middle ----

make long gz 3000 # 2.4 s by the slow server
big=$(sha256sum <"$T/src/data")
# from MODE: by that kind of server
from() { config '{"long": "prep"}' "{\"long\": {\"url\": \"http://127.0.0.1:$port/$1/app_long.tar.gz\"}}"; }
from slow
leftovers=0
for round in 6 5 4 3 2 1; do
	rm -rf "$INSTALLS/app_long" "$T/state/cache" "$T/state"/*/cache
	# Of one that stops for 20 s something is left, however slowly we kill.
	[ "$round" != 1 ] || { http GET "$port" /reset/x '' >/dev/null; from stall; }
	start killed pp-preparer --node n --once --state-dir "$T/state" --repo "file://$T/repo/"
	wait_for 5 grep -q Extracting "$T/killed.log"
	sleep "0.$((round * 11))"
	each_of "$(family "$pid")" KILL
	stop "$pid" KILL
	rm -f "$T/killed.log"
	leftovers=$((leftovers + $(find "$INSTALLS" -maxdepth 1 -name '.tmp-*' | wc -l)))
	[ ! -e "$INSTALLS/app_long" ] || whole "killed in round $round: what is there is whole" long
done
from slow
[ "$leftovers" -gt 0 ] && ok "killed six times, $leftovers leftovers" || not_ok "killed six times, no leftovers: not killed in time"
nobody_left() { ! grep -qsaF "$T/state" /proc/[0-9]*/cmdline; }
check "no fetcher or unpacker outlives its round" wait_for 5 nobody_left
prepare
is "$status" 0 "then converges"
whole "... whole" long
tidy "after kills"

# ---- a full disk ----

if [ "$EUID" = 0 ] && mkdir -p "$T/tiny" && mount -t tmpfs -o size=400k tmpfs "$T/tiny" 2>/dev/null; then
	put clusters/app/c/deploy_config "{\"basedir\": \"$T/tiny/base\"}"
	config '{"big": "prep", "small": "prep"}'
	prepare
	is "$status" 111 "a full disk is temporary"
	like "$errors" "No space left on device" "... and named"
	# Versions go side by side: the small one may have found room or not.
	is "$(find "$T/tiny/base/installs" -mindepth 1 -maxdepth 1 -not -name app_small)" "" "... and nothing is left of what did not fit"
	mount -o remount,size=10m "$T/tiny"
	prepare
	is "$status" 0 "... and with room it converges"
	umount "$T/tiny"
	put clusters/app/c/deploy_config "{\"basedir\": \"$BASE\"}"
else
	skip "a full disk" "no tmpfs can be mounted"
fi

# ---- who may what ----

if can_drop; then
	rm -rf "$INSTALLS"; config '{"1": "prep"}'
	chmod 600 "$REPO/app_1.tar.gz"
	prepare
	is "$status" 0 "a repository that only root may read, by --repo"
	config '{"u": "prep"}' "{\"u\": {\"url\": \"file://$REPO/app_1.tar.gz\"}}"
	prepare
	isnt "$status" 0 "... but not by a document's URL"
	missing u "... nothing is copied that only root may read"
	chmod 644 "$REPO/app_1.tar.gz"
	config '{"2": "prep"}'
	prepare --unpack-user root
	is "$status" 100 "never unpacked as root"; missing 2 "..."
	prepare --unpack-user nobody-of-that-name
	like "$errors" "there is no user 'nobody-of-that-name'" "a user that is not there"
	put clusters/app/c/deploy_config "{\"basedir\": \"$BASE\", \"runas\": \"nobody\"}"
	prepare --unpack-user nobody
	is "$status" 100 "never as the user that the service runs as"
	like "$errors" "app runs as 'nobody'" "... says so"
	put clusters/app/c/deploy_config "{\"basedir\": \"$BASE\"}"
	chown nobody "$INSTALLS"
	prepare
	is "$status" 100 "an installs directory that somebody else may write"
	like "$errors" "could swap what root runs" "... says why"
	chown root "$INSTALLS"
	have strace && {
		# In a file each: in one file a call may stand in two parts, when another process makes one meanwhile.
		strace -ff -qq -o "$T/calls" -e trace=openat2,setresuid,connect,seccomp,execve \
			pp-preparer --node n --once --state-dir "$T/state" --repo "file://$T/repo/" >/dev/null 2>&1
		check "the unpacker is nobody" grep -qE "setresuid\(65534, 65534, 65534\) += 0" "$T"/calls.*
		check "... behind a filter" grep -qE "seccomp\(SECCOMP_SET_MODE_FILTER, .*len=.* = 0" "$T"/calls.*
	}
	serves 2 "and what it made is root's"
	is "$(stat -c '%U:%G' "$INSTALLS/app_2/bin/launch")" "root:root" "... every file"

	# Root keeps no capability that passes permissions by.
	mkdir -m 700 "$T/closed"; chown nobody "$T/closed"
	put clusters/app/c/deploy_config "{\"basedir\": \"$T/closed/base\"}"
	prepare
	isnt "$status" 0 "a basedir that another user keeps for himself"
	like "$errors" "$T/closed.*Root, too, is held to permissions here: give it to root" "... says why, and the way out"
	chown root "$T/closed"
	prepare
	is "$status" 0 "... which helps"
	put clusters/app/c/deploy_config "{\"basedir\": \"$BASE\"}"
	chmod 600 "$REPO/app_1.tar.gz"; chown nobody "$REPO/app_1.tar.gz"
	rm -rf "$INSTALLS"; config '{"1": "prep"}'
	prepare
	like "$errors" "app_1.tar.gz.*Root, too, is held" "an artifact that another user keeps for himself"
	missing 1 "... is not installed"
	chmod 644 "$REPO/app_1.tar.gz"
	prepare
	is "$status" 0 "... until others may read it"

	reachable
	export PP_STORE=dir:$T/theirs/store
	mkdir "$T/theirs"; chown nobody "$T/theirs"
	theirs() { unprivileged ppctl "$@" >/dev/null 2>&1; }
	theirs init "$PP_STORE"
	theirs put nodes/n/app '{"cluster": "c"}'
	theirs put clusters/app/c/deploy_config "{\"basedir\": \"$T/theirs/base\"}"
	theirs put clusters/app/c/config '{"versions": {"1": "active", "2": "prep"}}'
	run unprivileged env HOME="$T/theirs" pp-preparer --node n --once --state-dir "$T/theirs/state" --repo "file://$T/repo"
	is "$status" 0 "an ordinary user"
	is "$("$T/theirs/base/installs/app_1/bin/launch")" 1 "... installs for itself"
else
	skip "users" "not root"
fi
done_testing
