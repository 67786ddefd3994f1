#!/bin/bash
# pp-iptables: a file per application, and a command that is owed until it has succeeded.
set -u
. "$(dirname "$0")/../lib.sh"

have pp-iptables || skip_all "pp-iptables is not built yet"

export PP_STORE=dir:$T/store PP_NODE=n1
files=$T/etc/port_authority.d
cat >"$T/port_authority" <<END
#!/bin/sh
echo "\$*" >>"$T/calls"
[ ! -e "$T/fail" ] || { echo "not today" >&2; exit 3; }
END
chmod 755 "$T/port_authority"
calls() { wc -l <"$T/calls"; }
fw() { run pp-iptables -cmd="$T/port_authority" -config-dir="$files" --once --state-dir "$T/state" --max-destroy 1000 "$@"; }
put() { ppctl put --force "$1" "$2" >/dev/null 2>&1 || not_ok "put $1 $2"; }
ports() { put "clusters/$1/live/deploy_config" "{\"basedir\": \"$T/$1\", \"ports\": $2}"; }

ppctl init "$PP_STORE" >/dev/null 2>&1
# As the seed's own sample has it.
ports slug '[1212, 1231]'
put clusters/slug/live/config '{"min_nodes": 0, "user_config": {"some_value": "hello"}, "versions": {"56d459e7c581b913ad5afa627064d62aea2cfac3": "active"}}'
put nodes/n1/slug '{"cluster": "live"}'

fw --dry-run
is "$status" 2 "--dry-run finds work"
refute "and makes nothing" test -e "$files"
fw
is "$status" 0 "pp-iptables converges as the seed calls it"
[ "$status" = 0 ] || diag "$errors"
like "$errors" "refreshing portauthority" "and says what the seed says"
is "$(cat "$files/slug.yml")" '# Made by pp-port-firewall for node n1: changes here are undone.
"slug_1212_tcp":
  port: 1212
  protocol: tcp
"slug_1231_tcp":
  port: 1231
  protocol: tcp' "the file is as the seed's program wrote it"
is "$(cat "$T/calls")" rebuild "the command is run once"

tree() { find "$files" "$T/state" "$T/store" -printf '%p %y %m %s %T@ %C@\n' | grep -v /locks | sort; }
before=$(tree)
fw
is "$status" 0 "a second round converges"
is "$(tree)" "$before" "and changes nothing"
is "$(calls)" 1 "and runs nothing"

# ---- what is not ours ----

echo "mine" >"$files/mine.yml"
mkdir "$files/sub.yml"
ln -s /etc/passwd "$files/link.yml"
put nodes/n1/web '{"cluster": "live"}'
put clusters/web/live/config '{"versions": {}}'
ports web '[80, {"port": 53, "protocol": "udp", "from": ["10.0.0.0/8", "fd00::/8"]}]'
put gates/live/db '{"ports": [5432]}'
fw
is "$status" 0 "an application and a gate more"
is "$(cd "$files" && echo *)" "gates%2Flive%2Fdb.yml link.yml mine.yml slug.yml sub.yml web.yml" "files of ours and of others"
like "$(cat "$files/web.yml")" '"web_53_udp":
  port: 53
  protocol: udp
  from:
  - "10.0.0.0/8"
  - "fd00::/8"' "with networks"
is "$(calls)" 2 "the command is run once for both"

mv "$files/web.yml" "$T/web.yml"
echo "somebody's" >"$files/web.yml"
ports slug '[1212]'
fw
is "$status" 100 "a name of ours is taken: refused"
like "$errors" "web.yml has not our first line" "and named"
unlike "$(cat "$files/slug.yml")" 1231 "the other one is written"
is "$(cat "$files/web.yml")" "somebody's" "the foreign one stays"
mv "$T/web.yml" "$files/web.yml"

# ---- owed ----

: >"$T/fail"
ports slug '[1212, 1213]'
before=$(calls)
fw
is "$status" 111 "the command fails"
like "$errors" "not today" "and what it said is shown"
is "$(calls)" $((before + 1)) "it was run once"
fw
is "$(calls)" $((before + 2)) "it is owed, though the files are as they should be"
rm "$T/fail"
fw
is "$status" 0 "it succeeds"
fw
is "$(calls)" $((before + 3)) "and is owed no more"
rm "$T/state/applied.json"
fw
is "$(calls)" $((before + 4)) "owed again when nobody knows"

# ---- one bad document, drift, what is gone ----

put clusters/web/live/deploy_config '{"ports": 7}'
echo "# no" >>"$files/slug.yml"
fw
is "$status" 100 "a bad document is refused"
like "$(cat "$files/web.yml")" web_80_tcp "what it had open stays"
unlike "$(cat "$files/slug.yml")" "# no" "the other file is put right"
rm "$T/state/known.json"
fw
like "$(cat "$files/web.yml")" web_80_tcp "also when it is not remembered"
ppctl rm gates/live/db >/dev/null
fw
refute "a gate that is gone: its file goes" test -e "$files/gates%2Flive%2Fdb.yml"
cp "$files/slug.yml" "$files/old.yml"
: >"$files/.tmp-00000000-1-1-slug.yml"
fw
refute "a stray file of ours goes" test -e "$files/old.yml"
refute "what a killed round left goes" test -e "$files/.tmp-00000000-1-1-slug.yml"
ppctl rm nodes/n1/web >/dev/null
fw
is "$status" 0 "the bad one is gone: converged"
refute "and its file too" test -e "$files/web.yml"
ppctl rm nodes/n1/slug >/dev/null
ppctl rm nodes/n1/ >/dev/null 2>&1
fw
is "$status" 100 "every key of the node is gone: refused"
check "and nothing is removed" test -e "$files/slug.yml"
put nodes/n1/ '{"ensure": "absent"}'
before=$(calls)
fw
is "$status" 0 "the node is retired"
is "$(cd "$files" && echo *)" "link.yml mine.yml sub.yml" "only what is not ours is left"
is "$(cat "$files/mine.yml")" mine "as it was"
is "$(calls)" $((before + 1)) "and the command is run"
done_testing
