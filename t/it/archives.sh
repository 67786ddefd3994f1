#!/bin/bash
# Malicious, broken and sound archives: through the library, and through the real agent, as root
# and as somebody else. After each: nothing outside changed, no device, no setuid, nothing of the
# bad ones installed.
set -u
. "$(dirname "$0")/../lib.sh"

mkdir "$T/archives"
"$BUILD_DIR/t/it/archives" "$T/archives" || { not_ok "archives are made"; done_testing; }
all=("$T"/archives/*)
[ "${#all[@]}" -ge 150 ] && ok "${#all[@]} archives" || not_ok "${#all[@]} archives"

# What must not change: all of $T beside the place of work, and what links aim at.
outside() {
	find "$T" -path "$T/$1" -prune -o -path "$T/.*" -prune -o -type f -printf '%p %m %U %n %s %T@\n' | sort
	stat -c '%n %h %Z %s' /etc/passwd
	ls -d /tmp/platypus-evil* 2>/dev/null
}

# Anything in a tree that no archive may bring about. PLACE OWNER MODES
intruders() {
	find "$1" -mindepth 2 \( -not -type f -not -type d -not -type l \
		-o -not -user "$2" \
		-o -type f -not -perm 644 -not -perm 755 \
		-o -type d -not -perm 755 \) -printf '%y %m %u %p\n'
	find "$1" -mindepth 2 -type l -lname '/*'
	find "$1" -mindepth 2 -type l -printf '%p\n' | while read -r link; do
		top=$1/$(cut -d/ -f1 <<<"${link#"$1"/}")
		case $(realpath -m "$link" 2>/dev/null) in
		"$top" | "$top"/* | '') ;;
		*) echo "leads out: $link";;
		esac
	done
}

# ---- the library ----

through_library() {
	local who=$1 owner=$2 archive name said before
	mkdir "$T/$who"
	chown "$owner" "$T/$who"
	before=$(outside "$who")
	for archive in "${all[@]}"; do
		name=${archive##*/}
		"${as[@]}" mkdir "$T/$who/$name"
		said=$("${as[@]}" "$BUILD_DIR/t/it/unpack" "$T/$who/$name" <"$archive" 2>&1)
		case $name:$said in
		good-*:ok\ * | bad-record-inside:ok\ *) ok "$who: $name";;
		bad-*:Refused:* | bad-*:Malformed:* | bad-*:TooBig:*) ok "$who: $name";;
		*) not_ok "$who: $name" "said: $said";;
		esac
	done
	is "$(intruders "$T/$who" "$owner")" "" "$who: no device, foreign owner, odd mode or link that leads out"
	is "$(outside "$who")" "$before" "$who: nothing outside changed"
	is "$(getfattr -Rd -m - "$T/$who" 2>/dev/null)" "" "$who: no attributes"
	[ -e "$T/$who/good-pax-decomposed/"$'u\xcc\x88' ] && ok "$who: names stay as they are, byte by byte" ||
		not_ok "$who: names stay as they are, byte by byte" "$(ls "$T/$who/good-pax-decomposed")"
}

as=()
through_library self "$(id -un)"
if can_drop; then
	as=(unprivileged)
	through_library nobody nobody
else
	skip "archives as an ordinary user" "not root, or no setpriv"
fi

# ---- the agent: every archive is a version ----

through_agent() {
	local who=$1 owner=$2 bad good before place=$T/$1
	mkdir -p "$place/repo/app" && chown -R "$owner" "$place"
	for archive in "${all[@]}"; do
		cp "$archive" "$place/repo/app/app_${archive##*/}.tar.gz"
	done
	bad=$(printf '%s\n' "${all[@]##*/}" | grep -c ^bad-)
	good=$(printf 'app_%s\n' "${all[@]##*/}" | grep ^app_good- | sort)
	"${as[@]}" "$BUILD_DIR/bin/ppctl" --store "dir:$place/store" init >/dev/null 2>&1
	for pair in "nodes/n/app={\"cluster\": \"c\"}" \
		"clusters/app/c/deploy_config={\"basedir\": \"$place/base\"}" \
		"clusters/app/c/config={\"versions\": {$(printf '"%s": "prep",' "${all[@]##*/}" | sed 's/,$//')}}"; do
		"${as[@]}" "$BUILD_DIR/bin/ppctl" --store "dir:$place/store" put "${pair%%=*}" "${pair#*=}" >/dev/null 2>&1
	done
	before=$(outside "$who")
	run "${as[@]}" "$BUILD_DIR/bin/pp-preparer" --store "dir:$place/store" --node n --once \
		--repo "file://$place/repo" --state-dir "$place/state"
	is "$status" 100 "$who: the agent says that something is refused for good"
	is "$(find "$place/base/installs" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort)" "$good" \
		"$who: of $bad bad ones none is installed, of the good ones each, and nothing else is left"
	is "$(intruders "$place/base/installs" "$owner" | grep -v 'good-link-to-itself')" "" \
		"$who: nothing in the installations that may not be there"
	is "$(outside "$who")" "$before" "$who: nothing outside changed"
	like "$errors" "is kept for the record|kept for the record" "$who: an archive cannot bring its own record"
}

as=()
through_agent agent "$(id -un)"
if can_drop; then
	as=(unprivileged)
	through_agent agent-nobody nobody
else
	skip "the agent as an ordinary user" "not root, or no setpriv"
fi
done_testing
