#!/bin/bash
# The seed's system, word for word but for its two colons, on its way into a store: diff, apply, deploy, orphans; who else
# writes meanwhile; and a world where it runs, by pp-preparer and pp-setlive, with no file changed.
set -u
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
. "$(dirname "$0")/../lib.sh"
export PP_STORE=dir:$T/store PP_NODE=web1
ppctl init "$PP_STORE" >/dev/null 2>&1
W=$T/work

# The seed's files, out of its case.
awk -v dir="$W" '/^-- .* --$/ { if (out) close(out); out = dir "/" $2; path = out; sub(/\/[^\/]*$/, "", path)
	system("mkdir -p " path); next } out { print >out }' "$ROOT/test-data/systems/good-seed-local.txt"
rm -f "$W/documents" "$W/command"
chmod +x "$W"/*/bin/launch
mkdir -p "$W/worlds" "$W/resources"
cat >"$W/worlds/prod.yaml" <<-'END'
	capabilities: [deploy:runit, aws]
	nodes: [web1, web2]
	resources: [blocks]
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
cd "$W" || exit 1
before=$(find . -type f -exec sha256sum {} + | sort)

# ---- a world with aws: stacks and injections ----

run ppctl diff --world prod
is "$status" 2 "diff says that there is something to write"
like "$output" "\+ injections/prod/wickedcool-api"$'\n' "injections are written"
like "$output" "= stacks/prod/wickedcool-postgresql: .*--provision" "no stack without --provision"
is "$(ppctl ls nodes)" "nodes/web1/" "diff writes nothing"
check "apply" ppctl apply --world prod
revision=$(cat "$T/store/.intent/revision")
run ppctl apply --world prod
is "$status $output" "0 $(printf '= stacks/prod/%s: the stack is not there yet: --provision makes it\n' wickedcool-postgresql wickedcool-api-redis)" \
	"a second apply has nothing to do"
is "$(cat "$T/store/.intent/revision")" "$revision" "and writes nothing, not even its record"
check "apply --provision" ppctl apply --world prod --provision
is "$(ppctl ls stacks | tr '\n' ' ')" "stacks/prod/wickedcool-api-redis stacks/prod/wickedcool-postgresql " "writes the stacks"
like "$(ppctl --json get injections/prod/wickedcool-admin | tr -d ' \n')" \
	'"POSTGRESQL_RESOURCE_HOST":\{"from":"tfstate:s3://states/prod/wickedcool-postgresql.tfstate\?region=eu-west-1#address"\}' \
	"a value comes from the stack's state"
ppctl export >"$T/exported"
is "$(ppctl --store "dir:$T/copy" init "dir:$T/copy" >/dev/null 2>&1; ppctl --store "dir:$T/copy" import "$T/exported" 2>&1 | grep -c fault)" 0 \
	"every document passes the checks of put and import"

# ---- what others write stays ----

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
run ppctl diff --world prod
seen=$(sed -n 's/.*at revision //p' <<<"$errors")

# ---- two people at once ----

run ppctl apply --world prod --seen "$seen"
is "$status" 0 "nothing to do is no conflict"
echo 'min_nodes: 1' >>wickedcool-admin/deployd.yaml
ppctl apply --world prod >/dev/null 2>&1
sed -i 's/^min_nodes: 1/min_nodes: 2/' wickedcool-admin/deployd.yaml
run ppctl apply --world prod --seen "$seen"
is "$status" 1 "what was applied since the diff is refused"
like "$errors" "clusters/wickedcool-admin/prod/config was changed since you looked" "and named"
like "$errors" "systems/prod/work: somebody else applied this definition since you looked" "so is the definition"
# Between reading and writing, somebody else applies: held back by a reader's lock, the store is exchanged for one in
# which that has happened.
if have flock; then
	cp -r "$W" "$T/other" && cp -a "$T/store" "$T/after"
	echo 'min_nodes: 3' >"$T/other/wickedcool-analytics/deployd.yaml"
	sed -i '1i name: work' "$T/other/sysdef.yaml"
	(cd "$T/other" && PP_STORE=dir:$T/after ppctl apply --world prod) >/dev/null 2>&1
	echo 'min_nodes: 4' >wickedcool-analytics/deployd.yaml
	exec 8<"$T/store"
	flock -s 8
	ppctl apply --world prod >"$T/late" 2>&1 8<&- &
	late=$!
	check "one has read, and waits to write" wait_for 10 grep -qE "FLOCK .* WRITE $late " /proc/locks
	cp -a "$T/after/." "$T/store/"
	exec 8<&-
	wait "$late"
	is $? 1 "who read before the other wrote is refused"
	like "$(cat "$T/late")" "clusters/wickedcool-analytics/prod/config was changed meanwhile" "told which document"
	like "$(cat "$T/late")" "systems/prod/work: somebody else applied this definition meanwhile" "and that it was this definition"
	like "$(ppctl get clusters/wickedcool-analytics/prod/config | tr -d ' \n')" '"min_nodes":3' "and has written nothing"
	rm -rf "$T/other" wickedcool-analytics/deployd.yaml
else
	skip "who read before the other wrote is refused" "flock is not on PATH"
fi
# Each writes two documents, again and again; whatever comes of it, the two are of one person.
cp -r "$W" "$T/other"
for who in work other; do
	(cd "$T/$who" && for round in 1 2 3 4 5 6 7 8; do
		printf 'min_nodes: %d\nenvironment: {WHO: "%s%d"}\n' "$round" "$who" "$round" >wickedcool-analytics/deployd.yaml
		sed -i '/^name:/d' sysdef.yaml; echo 'name: work' >>sysdef.yaml
		ppctl apply --world prod >>"$T/$who.out" 2>&1 || echo "exit $?" >>"$T/$who.out"
	done) &
done
wait
both=$(ppctl get clusters/wickedcool-analytics/prod/config | tr -d ' \n' | sed 's/.*"min_nodes":\([0-9]*\).*/\1/')
like "$(ppctl get clusters/wickedcool-analytics/prod/deploy_config | tr -d ' \n')" "\"WHO\":\"(work|other)$both\"" "nobody's half is written"
is "$(grep -h '^exit' "$T"/{work,other}.out | sort -u | tr -d '\n')" "$(grep -qh '^exit' "$T"/{work,other}.out && echo 'exit 1')" "who came second is refused, and nothing worse"
! grep -qh '^exit' "$T"/{work,other}.out ||
	like "$(cat "$T"/{work,other}.out)" "(was changed meanwhile|applied this definition meanwhile)" "and told what changed"
rm -f wickedcool-analytics/deployd.yaml
sed -i '/^name:/d' sysdef.yaml; sed -i '/^environment/d; /^min_nodes/d' wickedcool-admin/deployd.yaml
is "$(find . -type f -exec sha256sum {} + | sort)" "$before" "the files are the seed's again"
ppctl apply --world prod >/dev/null 2>&1

# ---- what is not ours ----

ppctl put worlds/test '{"capabilities": ["deploy:runit"], "nodes": ["web9"], "resources": ["blocks"], "environment": "staging"}' >/dev/null 2>&1
ppctl put clusters/wickedcool-api/test/config '{"versions": {}, "min_nodes": 7}' >/dev/null 2>&1
sed -i '/^    prod:.*rds/a\    staging: "static:"' sysdef.yaml
sed -i 's/exports: {host: host}/exports: {host: {value: redis.test}}/; s/exports: {host: address, port: port}/exports: {host: {output: address, value: db.test}, port: {output: port, value: 5432}}/' resources/blocks.yaml
run ppctl apply --world test
is "$status" 1 "a document that somebody else wrote is not overwritten"
like "$output" "= clusters/wickedcool-api/test/config: .*--adopt" "and named"
is "$(ppctl ls nodes/web9 2>/dev/null)" "" "nothing else is written then"
check "unless --adopt says so" ppctl apply --world test --adopt

# ---- removed and renamed ----

printf 'image:\n  repository: registry.example.com/foocorp/wickedcool-api\n' >wickedcool-api/Pibstack
sed -i '/wickedcool-analytics/d' sysdef.yaml
run ppctl apply --world prod wickedcool
unlike "$output" "^- " "of one application only, nothing is removed"
check "apply without a service and a requirement" ppctl apply --world prod
is "$(ppctl ls nodes/web2 | tr '\n' ' ')" "nodes/web2/ nodes/web2/wickedcool-admin nodes/web2/wickedcool-api " "the service goes"
check "its stack stays" ppctl get stacks/prod/wickedcool-api-redis
like "$(ppctl orphans --world prod)" "stacks/prod/wickedcool-api-redis .*ensure.*absent" "orphans lists it, and the way out"
is "$(ppctl ls apps/wickedcool-analytics)" "apps/wickedcool-analytics" "another world still has the service"
printf 'requires: [redis/redis:4]\n' >>wickedcool-api/Pibstack
check "required again" ppctl apply --world prod
is "$(ppctl orphans --world prod 2>/dev/null)" "" "it is no orphan any more"

mv worlds/prod.yaml "$T/prod.yaml"
check "the world's file is gone" ppctl apply --world prod
check "the world is not" ppctl get worlds/prod
mv "$T/prod.yaml" worlds/prod.yaml

# ---- more than one transaction ----

mkdir "$T/many" && cd "$T/many" || exit 1
printf 'applications:\n  Many:\n    services:\n' >sysdef.yaml
for ((i = 0; i < 40; i++)); do echo "    - gh:foocorp/s$i" >>sysdef.yaml; mkdir -p "s$i/bin"; echo >"s$i/bin/launch"; done
check "forty services are more than one transaction takes" ppctl apply
is "$(ppctl ls nodes/web1 | grep -c /s)" 40 "and all are written"
run ppctl diff
is "$status" 0 "and none is left"

# ---- deploy, and what runs ----

cd "$W" || exit 1
run ppctl deploy wickedcool --world prod
is "$status" 1 "without --version, a service's version is its commit"
check "deploy --version" ppctl deploy wickedcool --world prod --version 2.0
like "$(ppctl get clusters/wickedcool-api/prod/config | tr -d ' \n')" '"previous":"1.0","versions":\{"1.0":"prep","2.0":"active"\}' \
	"activates that version of each, the one before prepared"
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
		--runit-stage "$T/stage" --supervise-timeout 20s
	wait_for 20 [ -s "$T/api" ]
	is "$(cat "$T/api" "$T/admin" 2>/dev/null)" "api runs"$'\n'"admin runs" "the services run"
else
	skip "the services run" "runit is not on PATH"
fi

done_testing
