# For t/fault/run and t/it/idempotent.sh: small worlds, each with work for one agent.
#
#	world_NAME    makes $W (empty before) as it is before the agent's first run
#	enter_NAME    starts what must be running in a fresh copy of it
#	command_NAME  sets the array `command`
#	ask_NAME      what a person does when the agent, killed and run again, asks him: in $again its exit
#	              status, before and after (may be left out)
#	good_NAME     says what is wrong when the agent has converged; silent when all is well
#	leave_NAME    ends what enter_NAME started
#	missing_NAME  says what it needs and is not there (may be left out)
#
# All of a world is below $W: store, repo, app (the basedir), runit, stage, state.
# Set STORE for another store than its own.
# shellcheck shell=bash disable=SC2034 # `command` is read by those who source this

# An array: bash gives names out in no order.
worlds=(install prune remove_app launch update reshape stop rolling rollback hold disable
	report worsen withdraw)
# Not all modes: what git and Terraform say of a full disk is theirs.
declare -A only=([apply]=kill [destroy]=kill)
# Exit status of an agent that has done all it can, where that is not 0.
declare -A ends=([rollback]=111 [hold]=111)
# Where the way leads through a third state: this may be neither as before nor as afterwards meanwhile.
declare -A through=([rollback]=app/current)
# A member of documents that says how the way there was.
declare -A varies=([apply]=intent_digest [destroy]=intent_digest)

tree=$BUILD_DIR/t/fault/tree
scan=$BUILD_DIR/t/fault/scan

# What may differ between two ways to the same end: times, numbers of changes, process ids, and
# what programs that are not ours note down. An empty directory in a store is no key.
state_of() {
	"$tree" -x '*/supervise' -x 'app/logs/*/*' -x store/.intent/revision \
		-d 'store/*' -x state/snapshot.json -x state/removals.json -x 'stage/*/exit*' -x 'stage/*/since.json' \
		-x store/.intent/sessions -x store/reality/health -x app/1 -x app/2 -x 'stub/[ace]*' -x stub/planned \
		-x '*/git/index' -x store/approvals -j spent ${varies[${name:-}]:+-j "${varies[$name]}"} \
		-j since -j installed -j next_attempt -j attempts -j at -j fence -j failed_at -j exits -j disable "$W"
}

put() { ppctl --store "${STORE:-dir:$W/store}" --node n1 put "$@" >/dev/null; }

# config VERSION=STATE...
config() {
	local one versions=
	for one; do versions+=${versions:+, }"\"${one%=*}\": \"${one#*=}\""; done
	put clusters/app/c/config "{\"versions\": {$versions}, \"user_config\": {\"some_value\": \"hello\"}}"
}

store() {
	mkdir -p "$W/store" "$W/runit"
	[ -n "${STORE:-}" ] || ppctl --node n1 init "dir:$W/store" >/dev/null
	put nodes/n1/ '{}'
	put nodes/n1/app '{"cluster": "c"}'
	put clusters/app/c/deploy_config "{\"basedir\": \"$W/app\", \"ports\": [],
		\"health\": {\"up\": \"50ms\", \"deadline\": \"20s\"}}"
}

# package DIRECTORY PROGRAM...: what an artifact holds; each program says who it is and waits.
package() {
	local directory=$1 program
	shift
	mkdir -p "$directory/bin" "$directory/share/deep/er"
	for program; do
		mkdir -p "$(dirname "$directory/$program")"
		printf '#!/bin/sh\necho "%s is up"\nexec sleep 100000\n' "$directory/$program" >"$directory/$program"
		chmod 755 "$directory/$program"
	done
	echo "${directory##*/}" >"$directory/share/deep/er/name"
	ln -s deep/er/name "$directory/share/link"
}

# artifact VERSION: into the repository, with its digest.
artifact() {
	local out=$W/repo/app/app_$1.tar.gz
	mkdir -p "$W/repo/app" "$W/tmp"
	package "$W/tmp/app_$1" bin/launch
	tar -C "$W/tmp/app_$1" -czf "$out" .
	sha256sum "$out" | cut -d' ' -f1 >"$out.sha256"
	rm -rf "$W/tmp"
}

# ---- pp-preparer ----

preparer() {
	command=("$BUILD_DIR/bin/pp-preparer" --once --store "${STORE:-dir:$W/store}" --node n1 --state-dir "$W/state"
		--repo "file://$W/repo" --keep 1 --max-destroy 20)
}
enter_nothing() { :; }

installed() {
	local version
	for version; do
		[ -x "$W/app/installs/app_$version/bin/launch" ] || echo "app_$version is not installed"
	done
	for version in "$W"/app/installs/*; do
		[[ " $* " == *" ${version##*_} "* ]] || echo "$version should not be there"
	done
}

world_install() { store; config 1=prep 2=active; artifact 1; artifact 2; }
enter_install() { :; }
command_install() { preparer; }
good_install() { installed 1 2; }
leave_install() { :; }

world_prune() {
	local version
	store
	for version in 1 2 3 4 5; do
		artifact "$version"
		config "$version=prep"
		preparer
		"${command[@]}" || return
		# Which was used last is seen by time.
		sleep 0.02
	done
}
enter_prune() { :; }
command_prune() { preparer; command+=(--keep 0); }
good_prune() { installed 5; }
leave_prune() { :; }

# The application is no longer this node's: what is installed stays, nothing else happens.
world_remove_app() { world_install; preparer; "${command[@]}" || return; ppctl --store "${STORE:-dir:$W/store}" rm nodes/n1/app >/dev/null; }
enter_remove_app() { :; }
command_remove_app() { preparer; }
good_remove_app() { installed 1 2; }
leave_remove_app() { :; }

# ---- pp-setlive ----

setlive() {
	command=("$BUILD_DIR/bin/pp-setlive" --once --store "${STORE:-dir:$W/store}" --node n1 --state-dir "$W/state"
		--runit "$W/runit" --runit-stage "$W/stage" --stop-timeout 10s --supervise-timeout 20s)
}

# The directory a service runs in; empty: it does not.
running() {
	local pid
	{ read -r pid <"$W/stage/$1/supervise/pid"; } 2>/dev/null && [ -n "$pid" ] && readlink "/proc/$pid/cwd"
}

runs_in() { [ "$(running "$1")" = "$2" ]; }

supervise() {
	"$scan" "$W/runit" >>"$W.scan.log" 2>&1 </dev/null &
	scanning=$!
}

unsupervise() {
	kill "$scanning" 2>/dev/null
	wait "$scanning" 2>/dev/null
	scanning=
}

# runsv sleeps for a second, deaf, when a service ends within a second of its start.
await_old() {
	local service
	for service; do
		wait_for 10 running "$service" || echo "# $service did not start" >&2
	done
	sleep 1.05
}

# live VERSION SERVICE...: only these run, from that version, and the link says so.
live() {
	local version=$1 service found
	shift
	found=$(readlink "$W/app/current")
	[ "$found" = "$W/app/installs/app_$version" ] || echo "current leads to '$found', not to version $version"
	for service; do
		# Its shell may still be on the way there.
		wait_for 5 runs_in "$service" "$W/app/installs/app_$version" ||
			echo "$service runs in '$(running "$service")', not in version $version"
	done
	for found in "$W"/stage/*; do
		[ ! -e "$found" ] || [[ " $* " == *" ${found##*/} "* ]] || echo "$found should not be there"
	done
}

# What an earlier run of the agent made: everything but the supervisor stays.
settled() {
	supervise
	setlive
	"${command[@]}"
	local code=$?
	unsupervise
	rm -rf "$W"/stage/*/supervise "$W"/stage/*/log/supervise
	return "$code"
}

world_launch() {
	store
	config 1=active 2=prep
	package "$W/app/installs/app_1" bin/launch
	package "$W/app/installs/app_2" bin/launch
}
enter_launch() { supervise; }
command_launch() { setlive; }
good_launch() { live 1 app; }
leave_launch() { unsupervise; }

world_update() { world_launch; settled && config 1=prep 2=active; }
enter_update() { supervise; await_old app; }
command_update() { setlive; }
good_update() { live 2 app; }
leave_update() { unsupervise; }

# The new version has other services than the old one.
world_reshape() {
	store
	config 1=active 2=prep
	package "$W/app/installs/app_1" bin/launch/web bin/launch/worker
	package "$W/app/installs/app_2" bin/launch/web
	settled && config 2=active
}
enter_reshape() { supervise; await_old app-web app-worker; }
command_reshape() { setlive; }
good_reshape() { live 2 app-web; }
leave_reshape() { unsupervise; }

# The application is no longer this node's: its service goes, its files stay.
world_stop() { world_launch; settled && ppctl --store "${STORE:-dir:$W/store}" rm nodes/n1/app >/dev/null; }
enter_stop() { supervise; await_old app; }
command_stop() { setlive; }
nothing_runs() { ! grep -qsaF "$W/app/" /proc/[0-9]*/cmdline; }
good_stop() {
	local found
	for found in "$W"/stage/* "$W"/runit/*; do
		if [ -e "$found" ] || [ -h "$found" ]; then echo "$found should not be there"; fi
	done
	[ -d "$W/app/installs/app_1" ] || echo "the installed version is gone"
	wait_for 5 nothing_runs || echo "there are still processes of it"
}
leave_stop() { unsupervise; }

# hooks VERSION: bin/disable and bin/enable, which note what they did.
hooks() {
	local hook
	for hook in disable enable; do
		printf '#!/bin/sh\necho %s >"%s/app/%s"\n' "$hook" "$W" "$1" >"$W/app/installs/app_$1/bin/$hook"
		chmod 755 "$W/app/installs/app_$1/bin/$hook"
	done
}
# It is in the state that this hook of a version makes; a hook that finds no room itself fails, which stops nobody.
hooked() { [[ ${mode:-} == full* ]] || [ "$(cat "$W/app/$1" 2>/dev/null)" = "$2" ] || echo "bin/$2 of version $1 was not the last to run"; }

# What reporters of three nodes publish, for as long as they run.
report() {
	local node said=0
	: >"$W.said" # not yet made, or of the time before, it would end the waiting
	{
		for node in n1 n2 n3; do echo "reality/health/app/c/$node {\"state\": \"healthy\"}"; done
		exec sleep 100000
	} >"$W.facts" 2>/dev/null &
	reporting=$!
	"$BUILD_DIR/t/it/facts" "dir:$W/store" <"$W.facts" >"$W.said" 2>&1 &
	reporter=$!
	while [ "$said" -lt 3 ] && kill -0 "$reporter"; do sleep 0.01; said=$(grep -c "done" "$W.said"); done
}
unreport() { kill "$reporter" "$reporting"; wait "$reporter" "$reporting"; } 2>/dev/null

# Slot, disable, stop, swap, start, enable, healthy, release.
world_rolling() {
	world_launch
	hooks 1
	hooks 2
	settled || return
	put clusters/app/c/config '{"versions": {"1": "prep", "2": "active"}, "min_nodes": 2, "user_config": {"some_value": "hello"}}'
	mkfifo "$W.facts"
}
enter_rolling() { supervise; report; await_old app; }
command_rolling() { setlive; }
good_rolling() {
	live 2 app
	hooked 1 disable
	hooked 2 enable
	[ ! -e "$W/store/locks/app/c/shutdown" ] || echo "its shutdown slot was not given back"
}
leave_rolling() { unreport; unsupervise; }

# Version 2 never becomes healthy, however slow the machine: the mark, and version 1 again.
world_rollback() {
	world_launch
	printf '#!/bin/sh\nexit 1\n' >"$W/app/installs/app_2/bin/check"
	chmod 755 "$W/app/installs/app_2/bin/check"
	printf '#!/bin/sh\nexit 3\n' >"$W/app/installs/app_2/bin/launch"
	settled || return
	put clusters/app/c/deploy_config "{\"basedir\": \"$W/app\", \"on_failure\": \"rollback\",
		\"health\": {\"up\": \"400ms\", \"deadline\": \"2s\"}}"
	config 1=prep 2=active
}
enter_rollback() { supervise; await_old app; }
command_rollback() { setlive; }
good_rollback() {
	live 1 app
	grep -q '"instead": *"1"' "$W/store/locks/app/c/shutdown" || echo "its slot is not marked"
}
leave_rollback() { unsupervise; }

# A round was killed after bin/disable, then came a hold: nothing is stopped, and it is enabled again.
world_hold() {
	world_launch
	hooks 1
	settled || return
	echo disable >"$W/app/1"
	sed -i 's/"enabled": *true/"enabled": false/' "$W/stage/app/started.json"
	grep -q '"enabled": false' "$W/stage/app/started.json" || return
	put nodes/n1/app '{"cluster": "c", "hold": "wait"}'
	config 1=prep 2=active
}
enter_hold() { supervise; await_old app; }
command_hold() { setlive; }
good_hold() { live 1 app; hooked 1 enable; }
leave_hold() { unsupervise; }

# No version is active any more, and bin/disable never ends by itself.
world_disable() {
	world_launch
	printf '#!/bin/sh\ntrap "" TERM\nsh -c "sleep 100000; :" "%s/hook" &\nwhile :; do sleep 0.1; done\n' "$W" \
		>"$W/app/installs/app_1/bin/disable"
	chmod 755 "$W/app/installs/app_1/bin/disable"
	settled || return
	put clusters/app/c/deploy_config "{\"basedir\": \"$W/app\", \"hook_timeout\": \"100ms\"}"
	config 1=prep 2=prep
}
enter_disable() { supervise; await_old app; }
command_disable() { setlive; }
# Who is killed may take a moment to be gone.
no_hook() { ! grep -qsaF "$W/hook" /proc/[0-9]*/cmdline; }
good_disable() {
	[ -e "$W/stage/app/down" ] || echo "it would be started at boot"
	! running app >/dev/null || echo "it still runs"
	wait_for 5 no_hook || echo "there are still processes of bin/disable"
}
leave_disable() { unsupervise; }

# ---- pp-port-firewall ----

worlds+=(open reopen authority)

# A network for each copy of a world: its name is that of the world's directory.
network() { local one=${W#"${TMPDIR:-/tmp}/"}; echo "${one//\//-}"; }
inside() { nsenter --net="/run/netns/$(network)" "$@"; }
no_network() {
	have nft && have ip && have nsenter || { echo "nft, ip or nsenter is not on PATH"; return; }
	unshare -n nft list ruleset >/dev/null 2>&1 && ip netns list >/dev/null 2>&1 || echo "no right to make networks"
}
foreign_tables() {
	inside nft -f - <<-'END'
	table inet other { chain input { type filter hook input priority -5; policy accept; tcp dport 81 drop; }; }
	table ip platypus { chain input { type filter hook input priority 5; policy accept; tcp dport 82 drop; }; }
	END
}
enter_network() { ip netns delete "$(network)" 2>/dev/null; ip netns add "$(network)" && foreign_tables; }
leave_network() { ip netns delete "$(network)"; }

firewall() {
	command=("$(command -v nsenter)" --net="/run/netns/$(network)" "$BUILD_DIR/bin/pp-port-firewall" --once
		--store "${STORE:-dir:$W/store}" --node n1 --state-dir "$W/state" --policy drop)
}
opens() { put "clusters/$1/c/deploy_config" "{\"basedir\": \"$W/$1\", \"ports\": $2}"; }

# opened RULE...: the table holds these rules for ports and no others; the tables of others are as they were.
opened() {
	local all ours found
	all=$(inside nft list ruleset)
	ours=$(sed -n '/^table inet platypus {$/,/^}$/p' <<<"$all")
	found=$(grep -E 'dport' <<<"$ours" | grep -vE 'sport|flags' | sed 's/^[ \t]*//')
	[ "$found" = "$(printf '%s\n' "$@")" ] || echo "the table holds: $found"
	grep -q 'policy drop;' <<<"$ours" || echo "the policy is not drop"
	found=$(grep '^table' <<<"$all")
	[ "$found" = $'table inet other {\ntable ip platypus {\ntable inet platypus {' ] || echo "there are other tables: $found"
	[ "$(grep -cE 'dport 8[12] drop' <<<"$all")" = 2 ] || echo "somebody else's table was changed"
}

world_open() {
	store
	config
	opens app '[80, {"port": 5432, "from": "10.0.0.0/8"}, {"port": 53, "protocol": "udp"}]'
}
missing_open() { no_network; }
enter_open() { enter_network; }
command_open() { firewall; }
good_open() {
	opened 'tcp dport { 22, 80 } accept' 'udp dport 53 accept' 'ip saddr 10.0.0.0/8 tcp dport 5432 accept'
}
leave_open() { leave_network; }

# One application opens other ports, another is gone.
world_reopen() {
	world_open
	put nodes/n1/gone '{"cluster": "c"}'
	put clusters/gone/c/config '{"versions": {}}'
	opens gone '[90]'
	enter_network
	firewall
	"${command[@]}" && inside nft list table inet platypus >"$W/before.nft"
	local code=$?
	leave_network
	opens app '[81]'
	ppctl --store "${STORE:-dir:$W/store}" rm nodes/n1/gone >/dev/null
	return "$code"
}
missing_reopen() { no_network; }
enter_reopen() { enter_network && inside nft -f "$W/before.nft"; }
command_reopen() { firewall; }
good_reopen() { opened 'tcp dport { 22, 81 } accept'; }
leave_reopen() { leave_network; }

# The seed's way: a file and a command.
world_authority() {
	store
	config
	opens app '[80, 81]'
	mkdir -p "$W/authority.d"
	printf '#!/bin/sh\ncat "%s"/authority.d/*.yml >"%s/rebuilt"\n' "$W" "$W" >"$W/authority"
	chmod 755 "$W/authority"
	echo mine >"$W/authority.d/mine.yml"
}
enter_authority() { :; }
command_authority() {
	command=("$BUILD_DIR/bin/pp-iptables" --once --store "${STORE:-dir:$W/store}" --node n1 --state-dir "$W/state"
		-cmd="$W/authority" -config-dir="$W/authority.d")
}
good_authority() {
	[ "$(cat "$W/authority.d/mine.yml")" = mine ] || echo "somebody else's file was changed"
	[ "$(cd "$W/authority.d" && echo *)" = "app.yml mine.yml" ] || echo "there are: $(ls -A "$W/authority.d")"
	grep -q app_81_tcp "$W/rebuilt" || echo "the command did not see the files"
}
leave_authority() { :; }

# ---- pp-health-reporter ----

reporter() {
	command=("$BUILD_DIR/bin/pp-health-reporter" --once --store "${STORE:-dir:$W/store}" --node n1 --state-dir "$W/state"
		--runit "$W/runit" --runit-stage "$W/stage")
}

# fact STATE: what stands in the store says so; "": nothing stands there.
fact() {
	local said
	said=$(ppctl --store "${STORE:-dir:$W/store}" get reality/health/app/c/n1 2>/dev/null)
	case $1 in
	'') [ -z "$said" ] || echo "nothing should be said, but there is: $said";;
	*) [[ $said == *"\"state\": \"$1\""* ]] || echo "it should be $1, but there is: $said";;
	esac
}

# In a directory of states of its own: what setlive remembers is no part of this.
served() {
	world_launch && settled && rm -rf "$W/state" "$W"/stage/*/exits
}
check() {
	printf '#!/bin/sh\n%s\n' "$1" >"$W/app/installs/app_1/bin/check" && chmod 755 "$W/app/installs/app_1/bin/check"
}
reported() {
	enter_report
	reporter
	"${command[@]}"
	local code=$?
	leave_report
	rm -rf "$W"/stage/*/supervise "$W"/stage/*/log/supervise "$W"/stage/*/exits
	return "$code"
}

# A service runs, and nothing is said of it yet.
world_report() { served; }
enter_report() { supervise; wait_for 10 running app; sleep 0.1; }
command_report() { reporter; }
good_report() { fact healthy; }
leave_report() { unsupervise; }

# It was healthy, and is so no more.
world_worsen() { served && check true && reported && check 'echo no; exit 1'; }
enter_worsen() { enter_report; }
command_worsen() { reporter; }
good_worsen() { fact unhealthy; }
leave_worsen() { unsupervise; }

# It was healthy, and the node has moved to another cluster, where nothing is meant to run.
world_withdraw() {
	served && reported && touch "$W/stage/app/down" && put clusters/app/d/deploy_config "{\"basedir\": \"$W/app\"}" &&
		put clusters/app/d/config '{"versions": {"1": "prep"}}' && put nodes/n1/app '{"cluster": "d"}'
}
enter_withdraw() { :; }
command_withdraw() { reporter; }
good_withdraw() { fact ''; }
leave_withdraw() { :; }

# ---- pp-terraform-applier ----

worlds+=(apply destroy)

terraforming() {
	command=("$(command -v env)" TF_VAR_stub="$W/stub" "$BUILD_DIR/bin/pp-terraform-applier" --once --store "${STORE:-dir:$W/store}" --node n1
		--state-dir "$W/state" --terraform "$ROOT/t/it/terraform-stub")
}
# planned FILE [ACTION ADDRESS]: what the stand-in for Terraform answers.
planned() {
	local change=
	[ $# = 1 ] || change="{\"address\": \"$3\", \"mode\": \"managed\", \"change\": {\"actions\": [\"$2\"], \"before\": null, \"after\": {\"v\": 1}}}"
	echo "{\"format_version\": \"1.2\", \"resource_changes\": [$change]}" >"$W/stub/$1.json"
}
stack() {
	mkdir -p "$W/store" "$W/stub" "$W/module"
	[ -n "${STORE:-}" ] || ppctl --node n1 init "dir:$W/store" >/dev/null
	echo '# nothing' >"$W/module/main.tf"
	planned after
	put stacks/prod/net "{\"source\": \"dir:$W/module\", \"state\": {\"backend\": \"local\", \"path\": \"$W/net.tfstate\"}}"
}
# What the agent says of the stack, as "REASON ID".
said_of_stack() {
	ppctl --store "${STORE:-dir:$W/store}" get reality/status/terraform-applier/n1/prod/net |
		sed -nE 's/^ *"(reason|id)": "(.*)",?$/\1=\2/p' | sort -r | head -n 2 | sed 's/.*=//' | paste -sd' '
}
applied() { cat "$W/stub/applies" 2>/dev/null | wc -l; }

# Killed once, run again: no second apply before a person has looked, and if one is to look, it is said why. Then he approves.
ask_stack() {
	local reason id
	read -r reason id < <(said_of_stack)
	[ "$(applied)" -le 1 ] || echo "it was applied $(applied) times, and nobody was asked"
	case $again:$(applied):$reason in
	0:1:* | 100:[01]:ApplyOutcomeUnknown) ;;
	*) echo "exit status $again, applied $(applied) times, and it says: ${reason:-nothing}";;
	esac
	[ "$again" = 100 ] || return 0
	ppctl --store "${STORE:-dir:$W/store}" approve stack prod/net "$id" >/dev/null 2>&1
	"${command[@]}" >>"$W.log2" 2>&1
	again=$?
}
nothing_else() { ! grep -qsaF "$W/" /proc/[0-9]*/cmdline; }
good_stack() {
	! grep -qE '"(create|delete)"' "$W/stub/plan.json" || echo "it is not applied"
	[ ! -e "$W/state/stacks/prod/net/pending.json" ] || echo "an apply is still open"
	[ -z "$(ppctl --store "${STORE:-dir:$W/store}" ls locks 2>/dev/null)" ] || echo "a lock is left"
	wait_for 5 nothing_else || echo "there are still processes of it"
}

# What creates is applied by itself.
world_apply() { stack && planned plan create stub.one; }
enter_apply() { :; }
command_apply() { terraforming; }
ask_apply() { ask_stack; }
good_apply() { good_stack; }
leave_apply() { :; }

# What destroys, because a person has approved it.
world_destroy() {
	local id
	stack && planned plan delete stub.one || return
	terraforming
	"${command[@]}"
	[ $? = 100 ] && read -r _ id < <(said_of_stack) &&
		ppctl --store "${STORE:-dir:$W/store}" approve stack prod/net "$id" >/dev/null && rm -r "$W/stub/calls"
}
enter_destroy() { :; }
command_destroy() { terraforming; }
ask_destroy() { ask_stack; }
good_destroy() { good_stack; }
leave_destroy() { :; }

# ---- ppctl ----

worlds+=(compiled checked published)
# Who only reads and prints has nothing that a kill could leave behind.
only[compiled]="broken broken+ nomem nomem+"
only[checked]=${only[compiled]}

# asking ARGUMENT...: what it prints is part of the world.
asking() {
	# shellcheck disable=SC2016 # of the shell that is started
	command=("$(command -v sh)" -c 'said=$1; shift; exec "$0" "$@" >"$said"' "$BUILD_DIR/bin/ppctl" "$W/said"
		"$@" --store "dir:$W/store" --node n1 --directory "$W/system")
}
# The seed's system, and a world for it.
world_compiled() {
	mkdir -p "$W/store" "$W/system/worlds" "$W/system/resources"
	ppctl --node n1 init "dir:$W/store" >/dev/null
	awk -v dir="$W/system" '/^-- .* --$/ { if (out) close(out); out = dir "/" $2; path = out; sub(/\/[^\/]*$/, "", path)
		system("mkdir -p " path); next } out { print >out }' "$ROOT/test-data/systems/good-seed-local.txt"
	rm -f "$W/system/documents" "$W/system/command"
	chmod +x "$W"/system/*/bin/launch
	printf '%s\n' 'capabilities: [deploy:runit, aws]' 'nodes: [n1, n2]' 'resources: [blocks]' \
		'state: {backend: s3, bucket: states, key: "prod/%s.tfstate", region: eu-west-1}' >"$W/system/worlds/prod.yaml"
	printf '%s\n' 'components:' '  "postgresql:v9.6":' '    exports: {host: address, port: port}' '  "redis/redis:4":' \
		'    resolve: {prod: "terraform:gh://foocorp/blocks//redis"}' '    exports: {host: host}' >"$W/system/resources/blocks.yaml"
}
enter_compiled() { :; }
command_compiled() { asking compile --world prod; }
good_compiled() { grep -q wickedcool "$W/said" || echo "it prints: $(cat "$W/said")"; }
leave_compiled() { :; }

# A definition with faults: each is found, or none is said to have been looked for.
world_checked() { world_compiled && sed -i 's/redis:4/redis:5/' "$W/system/resources/blocks.yaml" && echo 'nodes: 5' >>"$W/system/worlds/prod.yaml"; }
enter_checked() { :; }
command_checked() { asking validate --world prod; }
good_checked() { :; }
leave_checked() { :; }
ends[checked]=1

world_published() { world_compiled; }
enter_published() { :; }
command_published() { asking apply --world prod --provision; }
good_published() {
	ppctl --store "dir:$W/store" ls stacks | grep -q prod/wickedcool-postgresql || echo "its stacks are not there"
}
leave_published() { :; }
