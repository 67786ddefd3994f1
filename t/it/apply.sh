#!/bin/bash
# The seed's system, word for word but for its two colons, on its way into a store: diff, apply, deploy,
# orphans; who else writes meanwhile, and who is killed; and a world where it runs, by pp-preparer and pp-setlive.
#
#	apply.sh [etcd|consul]     on a real one; otherwise a directory
set -u
. "$(dirname "$0")/../lib.sh"
export PP_NODE=web1

# The seed's files, out of its case, into $W.
make_files() {
	awk -v dir="$W" '/^-- .* --$/ { if (out) close(out); out = dir "/" $2; path = out; sub(/\/[^\/]*$/, "", path)
		system("mkdir -p " path); next } out { print >out }' "$ROOT/test-data/systems/good-seed-local.txt"
	rm -f "$W/documents" "$W/command"
	chmod +x "$W"/*/bin/launch
	mkdir -p "$W/worlds" "$W/resources"
	cat >"$W/worlds/prod.yaml" <<-'END'
		capabilities: [deploy:runit, aws]
		nodes: [web1, web2]
		resources: [blocks]
		artifacts: /srv/artifacts
		state: {backend: s3, bucket: states, key: "prod/%s.tfstate", region: eu-west-1}
	END
	cat >"$W/resources/blocks.yaml" <<-'END'
		components:
		  "postgresql:v9.6":
		    exports: {host: address, port: port}
		  "redis/redis:4":
		    resolve: {prod: "terraform:gh://foocorp/blocks//redis", staging: "static:"}
		    exports: {host: host}
	END
}

# What stands in the store, and when it was written.
standing() { ppctl ls --json; }

# through N COMMAND CMD...: CMD by a way to the store that runs COMMAND at its Nth transaction (rollout-proxy.c).
through() {
	local port way
	port=$(free_port)
	start way "$BUILD_DIR/t/it/rollout-proxy" "$port" "${PP_STORE##*:}" "$1" "$2"
	way=$pid
	shift 2
	wait_for 5 bash -c ": </dev/tcp/127.0.0.1/$port"
	PP_STORE=${PP_STORE%:*}:$port run "$@"
	stop "$way"
}

# ---- a world with aws: stacks and injections ----

stacks_and_injections() {
	run ppctl diff --world prod
	is "$status" 2 "diff says that there is something to write"
	like "$output" "\+ injections/prod/wickedcool-api"$'\n' "injections are written"
	like "$output" "= stacks/prod/wickedcool-postgresql: .*--provision" "no stack without --provision"
	is "$(ppctl ls nodes)" "nodes/web1/" "diff writes nothing"
	check "apply" ppctl apply --world prod
	revisions=$(standing)
	run ppctl apply --world prod
	is "$status $output" "0 $(printf '= stacks/prod/%s: the stack is not there yet: --provision makes it\n' wickedcool-postgresql wickedcool-api-redis)" \
		"a second apply has nothing to do"
	is "$(standing)" "$revisions" "and writes nothing, not even its record"
	check "apply --provision" ppctl apply --world prod --provision
	is "$(ppctl ls stacks | tr '\n' ' ')" "stacks/prod/wickedcool-api-redis stacks/prod/wickedcool-postgresql " "writes the stacks"
	like "$(ppctl --json get injections/prod/wickedcool-admin | tr -d ' \n')" \
		'"POSTGRESQL_RESOURCE_HOST":\{"from":"tfstate:s3://states/prod/wickedcool-postgresql.tfstate\?region=eu-west-1#address"\}' \
		"a value comes from the stack's state"
	ppctl export >"$D/exported"
	is "$(ppctl init "dir:$D/copy" >/dev/null 2>&1; ppctl --store "dir:$D/copy" import "$D/exported" 2>&1 | grep -c fault)" 0 \
		"every document passes the checks of put and import"
}

# ---- what others write stays ----

what_others_write() {
	ppctl prep wickedcool-api 1.0 --cluster prod >/dev/null 2>&1
	ppctl activate wickedcool-api 1.0 --cluster prod >/dev/null 2>&1
	ppctl hold wickedcool-api --cluster prod --why test >/dev/null 2>&1
	run ppctl diff --world prod --provision
	is "$status" 0 "versions and holds are nobody's change"
	ppctl put clusters/wickedcool-admin/prod/deploy_config '{"basedir": "/elsewhere"}' >/dev/null 2>&1
	run ppctl diff --world prod --provision
	like "$output" "~ clusters/wickedcool-admin/prod/deploy_config \(changed by hand since\)"$'\n'"    /basedir: \"/elsewhere\" -> \"/srv/wickedcool-admin\"" \
		"what somebody changed by hand is shown"
	check "and put back" ppctl apply --world prod
	echo 'environment: {API_TOKEN: hush, LOG: loud}' >>wickedcool-admin/deployd.yaml
	run ppctl diff --world prod
	like "$output" "/environment/API_TOKEN: \(none\) -> \(hidden\)"$'\n'" */environment/LOG: \(none\) -> \"loud\"" "what is called a token is not shown"
	sed -i '/^environment/d' wickedcool-admin/deployd.yaml
	run ppctl diff --world nowhere
	is "$status" 1 "a world that nobody knows"
	like "$errors" "no world \"nowhere\"; there is local, prod\. " "and which there are"
	run ppctl diff --world prod
	seen=$(sed -n 's/.*at revision //p' <<<"$errors")
}

# ---- two people at once ----

# One has read, and is about to write; then $D/other is applied; then the one writes.
late_apply() {
	if [ "$engine" != dir ]; then
		through 1 "cd $D/other && PP_STORE=$PP_STORE ppctl apply --world prod" ppctl apply --world prod
		return
	fi
	have flock || return
	# Held back by a reader's lock, the store is exchanged for one in which that has happened.
	cp -a "$D/store" "$D/after"
	(cd "$D/other" && PP_STORE=dir:$D/after ppctl apply --world prod) >/dev/null 2>&1
	exec 8<"$D/store"
	flock -s 8
	ppctl apply --world prod >"$D/late" 2>&1 8<&- &
	late=$!
	check "one has read, and waits to write" wait_for 10 grep -qE "FLOCK .* WRITE $late " /proc/locks
	cp -a "$D/after/." "$D/store/"
	exec 8<&-
	wait "$late"
	status=$? errors=$(cat "$D/late")
}

two_at_once() {
	local writers=()
	run ppctl apply --world prod --seen "$seen"
	is "$status" 0 "nothing to do is no conflict"
	echo 'min_nodes: 1' >>wickedcool-admin/deployd.yaml
	ppctl apply --world prod >/dev/null 2>&1
	sed -i 's/^min_nodes: 1/min_nodes: 2/' wickedcool-admin/deployd.yaml
	run ppctl apply --world prod --seen "$seen"
	is "$status" 1 "what was applied since the diff is refused"
	like "$errors" "clusters/wickedcool-admin/prod/config was changed since you looked" "and named"
	like "$errors" "systems/prod/work: somebody else applied this definition since you looked" "so is the definition"
	echo 'min_nodes: 5' >wickedcool-analytics/deployd.yaml
	seen=$(ppctl diff --world prod 2>&1 >/dev/null | sed -n 's/.*at revision //p')
	check "what was seen and stands is applied" ppctl apply --world prod --seen "$seen"
	cp -r "$W" "$D/other"
	echo 'min_nodes: 3' >"$D/other/wickedcool-analytics/deployd.yaml"
	sed -i '1i name: work' "$D/other/sysdef.yaml"
	echo 'min_nodes: 4' >wickedcool-analytics/deployd.yaml
	if late_apply; then
		is "$status" 1 "who read before the other wrote is refused"
		like "$errors" "clusters/wickedcool-analytics/prod/config was changed meanwhile" "told which document"
		like "$errors" "systems/prod/work: somebody else applied this definition meanwhile" "and that it was this definition"
		like "$errors" "ppctl: nothing was written: somebody else wrote at the same time \(2 documents\)" "and that nothing was written"
		like "$(ppctl get clusters/wickedcool-analytics/prod/config | tr -d ' \n')" '"min_nodes":3' "nor was it"
	else
		skip "who read before the other wrote is refused" "flock is not on PATH"
	fi
	rm -rf "$D/other" wickedcool-analytics/deployd.yaml
	# Each writes two documents, again and again; whatever comes of it, the two are of one person.
	cp -r "$W" "$D/other"
	for who in work other; do
		(cd "$D/$who" && for round in 1 2 3 4 5 6 7 8; do
			printf 'min_nodes: %d\nenvironment: {WHO: "%s%d"}\n' "$round" "$who" "$round" >wickedcool-analytics/deployd.yaml
			sed -i '/^name:/d' sysdef.yaml; echo 'name: work' >>sysdef.yaml
			ppctl apply --world prod >>"$D/$who.out" 2>&1 || echo "exit $?" >>"$D/$who.out"
		done) &
		writers+=($!)
	done
	wait "${writers[@]}"
	both=$(ppctl get clusters/wickedcool-analytics/prod/config | tr -d ' \n' | sed 's/.*"min_nodes":\([0-9]*\).*/\1/')
	like "$(ppctl get clusters/wickedcool-analytics/prod/deploy_config | tr -d ' \n')" "\"WHO\":\"(work|other)$both\"" "nobody's half is written"
	is "$(grep -h '^exit' "$D"/{work,other}.out | sort -u | tr -d '\n')" "$(grep -qh '^exit' "$D"/{work,other}.out && echo 'exit 1')" "who came second is refused, and nothing worse"
	! grep -qh '^exit' "$D"/{work,other}.out ||
		like "$(cat "$D"/{work,other}.out)" "(was changed meanwhile|applied this definition meanwhile)" "and told what changed"
	rm -f wickedcool-analytics/deployd.yaml
	sed -i '/^name:/d' sysdef.yaml; sed -i '/^environment/d; /^min_nodes/d' wickedcool-admin/deployd.yaml
	is "$(find . -type f -exec sha256sum {} + | sort)" "$before" "the files are the seed's again"
	ppctl apply --world prod >/dev/null 2>&1
}

# ---- what is not ours ----

what_is_not_ours() {
	ppctl put worlds/test '{"capabilities": ["deploy:runit"], "nodes": ["web9"], "resources": ["blocks"], "environment": "staging"}' >/dev/null 2>&1
	ppctl put clusters/wickedcool-api/test/config '{"versions": {}, "min_nodes": 7}' >/dev/null 2>&1
	sed -i '/^    prod:.*rds/a\    staging: "static:"' sysdef.yaml
	sed -i 's/exports: {host: host}/exports: {host: {value: redis.test}}/; s/exports: {host: address, port: port}/exports: {host: {output: address, value: db.test}, port: {output: port, value: 5432}}/' resources/blocks.yaml
	run ppctl apply --world test
	is "$status" 1 "a document that somebody else wrote is not overwritten"
	like "$output" "= clusters/wickedcool-api/test/config: .*--adopt" "and named"
	is "$(ppctl ls nodes/web9 2>/dev/null)" "" "nothing else is written then"
	check "unless --adopt says so" ppctl apply --world test --adopt
}

# ---- removed and renamed ----

removed_and_renamed() {
	printf 'image:\n  repository: registry.example.com/foocorp/wickedcool-api\n' >wickedcool-api/Pibstack
	cp sysdef.yaml "$D/sysdef.yaml"
	before=$(ppctl get injections/prod/wickedcool-analytics)
	sed -i '/wickedcool-analytics/d' sysdef.yaml
	run ppctl apply --world prod wickedcool
	unlike "$output" "^- |absent" "of one application only, nothing is removed"
	run ppctl apply --world prod
	is "$status" 0 "apply without a service and a requirement"
	is "$(ppctl ls nodes/web2 | tr '\n' ' ')" "nodes/web2/ nodes/web2/wickedcool-admin nodes/web2/wickedcool-api " "the service goes"
	check "its stack stays" ppctl get stacks/prod/wickedcool-api-redis
	like "$(ppctl orphans --world prod)" "stacks/prod/wickedcool-api-redis .*ensure.*absent" "orphans lists it, and the way out"
	like "$output" "~ injections/prod/wickedcool-analytics \(no longer said: its sinks are taken away\)" "what its injection wrote goes"
	like "$(ppctl get injections/prod/wickedcool-analytics | tr -d ' \n')" '"ensure":"absent","sinks":\[\{' "which the document says, for nothing goes by itself"
	like "$(ppctl orphans --world prod)" "injections/prod/wickedcool-analytics  .*then: ppctl rm injections/prod/wickedcool-analytics" "orphans says how it goes in the end"
	run ppctl orphans --world nowhere
	like "$status $errors" "^1 .*\"nowhere\"; there is prod, test" "a world that nothing was applied to is not said to have none"
	is "$(ppctl ls apps/wickedcool-analytics)" "apps/wickedcool-analytics" "another world still has the service"
	printf 'requires: [redis/redis:4]\n' >>wickedcool-api/Pibstack
	check "required again" ppctl apply --world prod
	unlike "$(ppctl orphans --world prod)" "stacks/" "it is no orphan any more"
	revisions=$(standing)
	ppctl apply --world prod >/dev/null 2>&1
	is "$(standing)" "$revisions" "a second apply leaves all that so"
	cp sysdef.yaml "$D/without.yaml"
	cp "$D/sysdef.yaml" sysdef.yaml
	run ppctl apply --world prod
	unlike "$output" "by hand" "the service is back, and nobody's hand is blamed"
	is "$(ppctl get injections/prod/wickedcool-analytics) $(ppctl orphans --world prod 2>/dev/null)" "$before " "its injection is as it was"
	cp "$D/without.yaml" sysdef.yaml
	ppctl apply --world prod >/dev/null 2>&1

	mv worlds/prod.yaml "$D/prod.yaml"
	check "the world's file is gone" ppctl apply --world prod
	check "the world is not" ppctl get worlds/prod
	mv "$D/prod.yaml" worlds/prod.yaml
}

# ---- more than one transaction ----

# Forty services, $1: WHO they are, in the current directory.
make_many() {
	local service
	printf 'name: many\napplications:\n  Many:\n    services:\n' >sysdef.yaml
	printf '    - gh:foocorp/%s\n' s{0..39} >>sysdef.yaml
	mkdir -p s{0..39}/bin
	for service in s{0..39}; do echo >"$service/bin/launch"; echo "environment: {WHO: $1}" >"$service/deployd.yaml"; done
}

# How many services are WHO.
many_are() { ppctl export clusters | grep -o "\"WHO\": *\"$1\"" | grep -c .; }

# Killed when it is to write its transaction $1, which is lost.
apply_and_die() {
	through "$1" "kill -KILL \$(cat $D/pid); kill -USR1 \$PPID" bash -c "echo \$\$ >$D/pid; exec ppctl apply"
}

many() {
	mkdir "$D/many" "$D/yours" && (cd "$D/yours" && make_many you)
	cd "$D/many" && make_many one || exit 1
	if [ "$engine" != dir ]; then
		apply_and_die 3
		is "$status $(many_are one)" "137 10" "killed after two transactions"
	fi
	check "forty services are more than one transaction takes" ppctl apply
	is "$(ppctl ls nodes/web1 | grep -c /s)" 40 "and all are written"
	revisions=$(standing)
	run ppctl apply
	is "$status $errors" "0 0 changes written to local" "and none is left"
	is "$(standing)" "$revisions" "a second apply writes nothing"
	[ "$engine" = dir ] || many_and_trouble
	cd "$W" || exit 1
}

many_and_trouble() {
	# Killed between two transactions; and then two services are gone from the definition, one of them changed already.
	make_many two
	apply_and_die 2
	is "$status $(many_are two)" "137 30" "killed after one of two transactions"
	run ppctl diff
	is "$status $(grep -c '^~' <<<"$output") $(grep -c 'by hand' <<<"$output")" "2 10 0" "the rest is still to be written, and nobody's hand is blamed"
	sed -i '/s0$/d; /s9$/d' sysdef.yaml
	check "another definition is applied then" ppctl apply
	is "$(ppctl ls clusters/s0 2>&1; ppctl ls clusters/s9 2>&1)" "nothing below clusters/s0 in $PP_STORE"$'\n'"nothing below clusters/s9 in $PP_STORE" "what it does not say is removed, written or not"
	is "$(many_are two)" 38 "and the rest is written"
	unlike "$(ppctl get systems/local/many)" '": "[0-9a-f]+ ' "the record is as after any apply"

	# Somebody else, between two transactions.
	make_many three
	through 2 "cd $D/yours && PP_STORE=$PP_STORE ppctl apply" ppctl apply
	is "$status" 1 "somebody else applied the same definition in between: refused"
	like "$errors" "systems/local/many: somebody else applied this definition meanwhile" "and told"
	is "$(many_are you)" 40 "everything is the other's then, nothing half written"
	ppctl apply >/dev/null 2>&1
	make_many four
	through 2 "ppctl --store $PP_STORE put clusters/s9/local/deploy_config '{\"basedir\": \"/x\"}'" ppctl apply
	is "$status $errors" "1 clusters/s9/local/deploy_config was changed meanwhile
ppctl: 30 of 40 changes are written; apply again, it goes on from there: somebody else wrote at the same time (1 document): look again with \"ppctl diff\", then apply" \
		"somebody else wrote one document: it alone is named, and how far it came"
	check "apply again" ppctl apply
	is "$(many_are four)" 40 "goes on from there"

	# The store goes away.
	make_many five
	# shellcheck disable=SC2016 # for the proxy's shell
	through 2 'kill -USR1 $PPID' ppctl apply
	is "$status" 111 "the store goes away in between"
	like "$errors" "^ppctl: at least 30 of 40 changes are written; apply again, it goes on from there: .*whether it was written is not known" "what is known is said"
	# shellcheck disable=SC2016
	through -1 'kill -USR1 $PPID' ppctl apply
	is "$status $(many_are five)" "111 40" "the answer is lost, not what was written"
	run ppctl apply
	is "$status $errors" "0 0 changes written to local" "and apply again finds that out"
	make_many six
	through 1 'sleep 0.5' ppctl apply
	is "$status $(many_are six)" "0 40" "a slow store is only slow"
	run ppctl diff --store "${PP_STORE%:*}:1"
	is "$status" 111 "no store: try again"
	like "$errors" "ppctl: .*127.0.0.1:1" "says which"
}

# ---- deploy, and what runs ----

deploy() {
	cd "$W" || exit 1
	run ppctl deploy wickedcool --world prod
	is "$status" 1 "without --version, a service's version is its commit"
	ppctl put reality/builds/wickedcool-admin/2.1/tarball '{"input": "i", "url": "file:///a", "sha256": "0", "at": "2026-11-21T17:00:00Z"}' --force >/dev/null 2>&1
	run ppctl deploy wickedcool --world prod --version 2.0
	is "$status $errors" "1 ppctl: wickedcool-admin 2.0 is not built; there is 2.1" "a version that the builder did not make, of what it makes"
	ppctl rm reality/builds/wickedcool-admin/2.1/tarball >/dev/null 2>&1
	check "deploy --version" ppctl deploy wickedcool --world prod --version 2.0
	like "$(ppctl get clusters/wickedcool-api/prod/config | tr -d ' \n')" '"previous":"1.0","versions":\{"1.0":"prep","2.0":"active"\}' \
		"activates that version of each, the one before prepared"
}

what_runs() {
	if have runsvdir; then
		cat >worlds/lab.yaml <<-END
			capabilities: [deploy:runit]
			environment: staging
			nodes: [web1]
			basedir: $T/srv
			resources: [blocks]
		END
		mkdir -p "$T/repo"
		for service in admin api; do
			printf '#!/bin/sh\necho "%s runs" >"%s/%s"\nexec sleep 1000\n' "$service" "$T" "$service" >"$T/launch"
			mkdir -p "$T/tree/bin" "$T/repo/wickedcool-$service" && install -m 755 "$T/launch" "$T/tree/bin/launch"
			tar -C "$T/tree" -czf "$T/repo/wickedcool-$service/wickedcool-${service}_1.tar.gz" .
		done
		sed -i '/^health/d; /^ports/d' wickedcool-admin/deployd.yaml
		ppctl init "dir:$T/lab" >/dev/null 2>&1
		check "deployed to a world with deploy:runit" ppctl deploy wickedcool --world lab --version 1 --store "dir:$T/lab"
		# What the injector does: the values are beside the service before it starts.
		for service in admin api; do mkdir -p "$T/srv/wickedcool-$service/env"; echo db.test >"$T/srv/wickedcool-$service/env/POSTGRESQL_RESOURCE_HOST"; done
		check "preparer installs" pp-preparer --node web1 --once --store "dir:$T/lab" --state-dir "$T/p" --repo "file://$T/repo"
		start_runsvdir "$T/runit"
		check "setlive sets live" pp-setlive --node web1 --once --store "dir:$T/lab" --state-dir "$T/s" --runit "$T/runit" \
			--runit-stage "$T/stage" --supervise-timeout 60s
		wait_for 20 test -s "$T/api" -a -s "$T/admin"
		is "$(cat "$T/api" "$T/admin" 2>/dev/null)" "api runs"$'\n'"admin runs" "the services run"
	else
		skip "the services run" "runit is not on PATH"
	fi
}

engine=${1:-dir}
D=$T/$engine W=$T/$engine/work
export PP_STORE=dir:$D/store
if [ "$engine" = dir ]; then
	ppctl init "$PP_STORE" >/dev/null 2>&1
else
	"start_$engine" || skip_all "$engine is not on PATH"
	[ "$engine" = etcd ] && PP_STORE=$ETCD_URL || PP_STORE=$CONSUL_URL
	ppctl put nodes/web1/ '{}' >/dev/null 2>&1
fi
make_files
cd "$W" || exit 1
before=$(find . -type f -exec sha256sum {} + | sort)
stacks_and_injections
what_others_write
two_at_once
what_is_not_ours
removed_and_renamed
many
deploy
[ "$engine" != dir ] || what_runs
done_testing
