#!/bin/bash
# The same files, not changed by a byte: in a world with deploy:runit a running service, by builder, injector, preparer
# and setlive; in one with aws, stacks and injections.
set -u
. "$(dirname "$0")/../lib.sh"
have git || skip_all "git is not on PATH"
have runsvdir || skip_all "runit is not on PATH"
# The person's own git has nothing to say, but for what stands in for GitHub.
unset XDG_CONFIG_HOME GIT_CONFIG_GLOBAL
export PP_STORE=dir:$T/store PP_NODE=web1 HOME=$T
ppctl init "$PP_STORE" >/dev/null 2>&1
git config --global user.name nobody
git config --global user.email nobody@example.com
git config --global init.defaultBranch main
git config --global "url.file://$T/hub/.insteadOf" https://github.com/

publish() { # NAME: what is in $T/new becomes gh:foocorp/NAME
	git -C "$T/new" init -q && git -C "$T/new" add -A && git -C "$T/new" commit -qm first &&
		git clone -q --bare "$T/new" "$T/hub/foocorp/$1.git" && rm -rf "$T/new"
}

mkdir -p "$T/new/worlds" "$T/new/resources" "$T/hub/foocorp"
cat >"$T/new/sysdef.yaml" <<-'END'
	components:
	  "postgresql:v9.6":
	    dev: docker://postgresql/postgresql:9.6
	    staging: "static:"
	    prod: terraform:gh://datawire/building-blocks//rds-postgresql-v96
	applications:
	  WickedCool:
	    services:
	    - gh:foocorp/wickedcool-api
	    - gh:foocorp/wickedcool-admin
	    provides:
	    - postgresql:v9.6
END
cat >"$T/new/resources/blocks.yaml" <<-'END'
	components:
	  "postgresql:v9.6":
	    exports: {host: {output: address, value: db.test}, port: {output: port, value: 5432}}
END
cat >"$T/new/worlds/lab.yaml" <<-END
	capabilities: [deploy:runit]
	environment: staging
	nodes: [web1]
	basedir: $T/srv
	resources: [blocks]
	artifacts: $T/artifacts
END
cat >"$T/new/worlds/prod.yaml" <<-'END'
	capabilities: [deploy:runit, aws]
	nodes: [web1, web2]
	resources: [blocks]
	state: {backend: s3, bucket: states, key: "prod/%s.tfstate", region: eu-west-1}
END
publish sysdef
for service in api admin; do
	mkdir -p "$T/new/bin"
	printf '#!/bin/sh\necho "%s: $POSTGRESQL_RESOURCE_HOST:$POSTGRESQL_RESOURCE_PORT" >"%s"\nexec sleep 1000\n' "$service" "$T/$service" \
		>"$T/new/bin/launch"
	chmod +x "$T/new/bin/launch"
	publish "wickedcool-$service"
done

mkdir "$T/work" && cd "$T/work" || exit 1
check "load" ppctl load gh://foocorp/sysdef
check "get" ppctl get wickedcool
digest() { find . -type f -not -path '*/.git/*' -exec sha256sum {} + | sort; }
before=$(digest)

# ---- deploy:runit ----

check "apply to a world with deploy:runit" ppctl apply --world lab
is "$(ppctl ls stacks 2>/dev/null)" "" "no stack is written for it"
mkdir -p "$T/artifacts"
check "the builder builds" pp-builder --once --state-dir "$T/b"
check "the injector hands over" pp-configmap-injector --once --state-dir "$T/i"
check "deploy" ppctl deploy wickedcool --world lab
check "the preparer installs" pp-preparer --once --state-dir "$T/p" --repo "file://$T/artifacts"
start_runsvdir "$T/runit"
check "setlive sets live" pp-setlive --once --state-dir "$T/s" --runit "$T/runit" --runit-stage "$T/stage" --supervise-timeout 60s
check "both run" wait_for 20 test -s "$T/api" -a -s "$T/admin"
is "$(cat "$T/api" "$T/admin" 2>/dev/null)" "api: db.test:5432"$'\n'"admin: db.test:5432" "with what they require in their environment"

# ---- aws ----

check "apply to a world with aws" ppctl apply --world prod --provision
is "$(ppctl ls stacks | tr '\n' ' ')" "stacks/prod/wickedcool-postgresql " "the database is a stack"
like "$(ppctl --json get injections/prod/wickedcool-api | tr -d ' \n')" \
	'"POSTGRESQL_RESOURCE_HOST":\{"from":"tfstate:s3://states/prod/wickedcool-postgresql.tfstate\?region=eu-west-1#address"\}' \
	"and what it exports an injection"
is "$(digest)" "$before" "no file was changed for either"

done_testing
