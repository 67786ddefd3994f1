# For the demos in contrib: a directory of their own, what is shown, how they end. bash.
#
# Wants the source tree as the current directory and $BUILD_DIR.

T=$(mktemp -d "${TMPDIR:-/tmp}/platypus-demo.XXXXXX") || exit 1
chmod 755 "$T"
unset PP_CONFIG CONSUL_HTTP_ADDR ETCDCTL_ENDPOINTS NOTIFY_SOCKET
# Also as root, where agents would keep what they know in /var/lib and /run.
export XDG_STATE_HOME=$T/state XDG_RUNTIME_DIR=$T/run STATE_DIRECTORY=$T/state RUNTIME_DIRECTORY=$T/run LC_ALL=C.UTF-8
mkdir -p "$T/state" "$T/run"
# shellcheck source=t/process.sh
. t/process.sh

# ---- what is shown ----

bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

step() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
good() { printf '  %s%s%s\n' "$green" "$1" "$plain"; }
# The demo's directory is long and says nothing.
brief() { sed -e "s|$T|\$D|g"; }
indent() { sed 's/^/  /'; }
typed() { printf '  %s$ %s%s\n' "$dim" "$*" "$plain" | brief; }

fail() {
	printf '\n%sThe demo failed: %s%s\n' "$red" "$1" "$plain"
	for log in "$T"/*.log; do
		[ -f "$log" ] || continue
		printf '%s-- %s%s\n' "$bold" "${log##*/}" "$plain"
		tail -n 15 "$log"
	done
	exit 1
}

# What a person would type: shown, then done.
type_in() {
	local words='' word code=0
	for word; do
		[[ $word =~ ^[A-Za-z0-9_./:=%@+-]+$ ]] || word="'$word'"
		words+="${words:+ }$word"
	done
	typed "$words"
	"$@" >"$T/said" 2>&1 || code=$?
	[ "$code" = 0 ] || { indent <"$T/said"; fail "$1 ended with status $code"; }
	brief <"$T/said" | indent
}

# In the background, as its own command line.
start_up() {
	local name=$1
	shift
	typed "$* &"
	start "$name" "$@"
}

finish() {
	local code=$?
	trap '' INT TERM HUP
	stop_all
	sweep
	give_ports_back
	if [ -n "${KEEP:-}" ]; then echo "kept: $T"; else chmod -R u+rwX "$T"; rm -rf "$T"; fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

now() { echo "${EPOCHREALTIME/[.,]/}"; }
