#!/bin/bash
# The rights in contrib/policies are enough for pp-builder and no more, with real ACLs.
set -u
. "$(dirname "$0")/../lib.sh"
. "$ROOT/t/policing.sh"
have git || skip_all "git is not on PATH"
export PP_NODE=n1
mkdir -p "$T/src"
echo x >"$T/src/x"

# CMD... is what gives the builder its credentials; as_root has all of them.
granted() {
	local key
	rm -rf "$T/state" "$T/repo"
	check "$engine: a developer writes an application" as_root ppctl put apps/api "{\"repo\": \"dir:$T/src\",
		\"rules\": [{\"ref\": \"*\", \"recipe\": \"a\"}], \"recipes\": {\"a\": {\"tarball\": {\"repository\": \"$T/repo\"}}}}"
	run "$@" pp-builder --listen none --state-dir "$T/state" --once
	is "$status $(find "$T/repo" -name '*.tar.gz' | wc -l)" "0 1" "$engine: it is built with these rights"
	[ "$status" = 0 ] || diag "$errors"
	is "$(as_root ppctl ls reality/builds/api | grep -c .)" 1 "$engine: ... and published"
	for key in apps/api reality/refs/api/main clusters/api/c/config locks/stack/p/n reality/status/setlive/n1/x; do
		run "$@" ppctl put --force "$key" '{}'
		isnt "$status" 0 "$engine: it cannot write $key"
	done
}

with_consul consul-builder.hcl
with_etcd etcd-builder platypus-builder-n1
done_testing
