#!/bin/bash
# pp-port-firewall in network namespaces with real traffic: what is open answers, what is not does not; nothing that is
# not ours is touched.
set -u
# The whole test lives in a network of its own, "the node"; a second one is where others are.
if [ -z "${FIREWALL_TEST:-}" ]; then
	for root in "" r; do
		unshare "-${root}n" nft list ruleset >/dev/null 2>&1 && FIREWALL_TEST=yes exec unshare "-${root}n" "$0" "$@"
	done
fi
. "$(dirname "$0")/../lib.sh"

if [ -z "${FIREWALL_TEST:-}" ]; then skip_all "no nft, or no right to a network namespace: the firewall is not tested at all"; fi
for program in nft ip nsenter pp-port-firewall; do
	have "$program" || skip_all "$program is not on PATH: the firewall is not tested at all"
done

packets=$BUILD_DIR/t/it/packets
export PP_STORE=dir:$T/store PP_NODE=n1
# Tests change their minds more often than people do.
fw() { run pp-port-firewall --once --state-dir "$T/state" --max-destroy 1000 "$@"; }
# fw_is STATUS DESC [OPTION...]
fw_is() {
	local want=$1 desc=$2
	shift 2
	fw "$@"
	is "$status" "$want" "$desc"
	[ "$status" = "$want" ] || diag "$errors"
}
put() { ppctl put --force "$1" "$2" >/dev/null 2>&1 || not_ok "put $1 $2"; }
ports() { put "clusters/$1/live/deploy_config" "{\"basedir\": \"$T/$1\", \"ports\": $2}"; }
app() { ports "$1" "$2"; put "clusters/$1/live/config" '{"versions": {}}'; put "nodes/n1/$1" '{"cluster": "live"}'; }
ours() { nft list table inet platypus; }

# ---- two networks ----

start others unshare -n sleep 1000
others=$pid
elsewhere() { nsenter -t "$others" -n "$@"; }
wait_for 5 sh -c "[ \"\$(readlink /proc/$others/ns/net)\" != \"\$(readlink /proc/self/ns/net)\" ]"
ip link set lo up
ip link add node0 type veth peer name other0 netns "$others"
ip addr add 10.9.0.1/24 dev node0
ip addr add fd09::1/64 dev node0 nodad
ip link set node0 up
elsewhere ip addr add 10.9.0.2/24 dev other0
elsewhere ip addr add 10.9.0.3/24 dev other0
elsewhere ip addr add fd09::2/64 dev other0 nodad
elsewhere ip addr add fd09::3/64 dev other0 nodad
elsewhere ip link set other0 up
elsewhere ip link set lo up
start serve "$packets" serve 22 2222 8001 8002 8003 8004 8005

# try WANT tcp|udp ADDRESS PORT SOURCE DESC: from elsewhere. What answers does so at once, but a busy machine may be late.
try() {
	local ms=20000
	[ "$1" != silent ] || ms=250
	is "$(elsewhere "$packets" try "$2" "$3" "$4" "$ms" "$5")" "$1" "$6: $2 port $4 of $3 from $5 is $1"
}
try4() { try "$1" "$2" 10.9.0.1 "$3" "${5:-10.9.0.2}" "$4"; }
try6() { try "$1" "$2" fd09::1 "$3" "${5:-fd09::2}" "$4"; }
answers() { [ "$(elsewhere "$packets" try tcp fd09::1 8001 1000 fd09::2)" = open ]; }

wait_for 10 answers || { not_ok "the two networks reach each other" "$(ip addr)"; done_testing; }

# ---- what is not ours ----

nft -f - <<'END'
table ip platypus {
	comment "the same name in another family"
	chain input { type filter hook input priority 10; policy accept; tcp dport 1 drop comment "not ours"; }
}
table inet other {
	set blocked { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 }; }
	chain input { type filter hook input priority -5; policy accept; ip saddr @blocked drop; }
	chain nat { type nat hook prerouting priority dstnat; tcp dport 81 redirect to :82; }
}
END
foreign() { nft -a list table ip platypus; nft -a list table inet other; }
foreign >"$T/foreign"
untouched() { is "$(foreign)" "$(cat "$T/foreign")" "tables of others are byte for byte as they were: $1"; }

# ---- policy drop: what is open, and to whom ----

# A connection that is older than the table, to a port that will not be open.
# hold NAME PORT: a connection to it whose ends are the descriptors in ${NAME}_in and ${NAME}_out.
hold() {
	mkfifo "$T/$1.in" "$T/$1.out"
	start "hold-$1" nsenter -t "$others" -n sh -c "exec '$packets' hold 10.9.0.1 $2 <'$T/$1.in' >'$T/$1.out'"
	exec {fd_in}>"$T/$1.in" {fd_out}<"$T/$1.out"
	eval "$1_in=$fd_in $1_out=$fd_out"
	read -r -t 30 line <&"$fd_out"
	is "$line" held "a connection to port $2 is made"
}
# echoes NAME DESC
echoes() {
	local in=$1_in out=$1_out
	echo "$2" >&"${!in}"
	read -r -t 30 line <&"${!out}"
	is "$line" "$2" "$2: the connection that was there still works"
}

ppctl init "$PP_STORE" >/dev/null 2>&1
app web '[8001, {"port": 8002, "protocol": "udp"}]'
app db '[{"port": 8003, "from": ["10.9.0.3", "fd09::3/128"]}, {"port": 8003, "protocol": "udp", "from": "10.9.0.0/29"}]'
hold old 8004
fw --policy drop --dry-run
is "$status" 2 "--dry-run finds work"
is "$(nft list tables inet)" "table inet other" "and makes no table"
fw_is 0 "--policy=drop converges" --policy drop
like "$errors" "Table inet platypus: does not exist; opening 22/tcp, 8001/tcp, 8003/tcp, 8002/udp, 8003/udp" "and says what it opens"
untouched "a table of ours is made"
echoes old "policy drop"

matrix() {
	try4 open tcp 8001 "$1"
	try6 open tcp 8001 "$1"
	try4 silent udp 8001 "$1"
	try4 open udp 8002 "$1"
	try6 open udp 8002 "$1"
	try6 silent tcp 8002 "$1"
	try4 silent tcp 8003 "$1"
	try4 open tcp 8003 "$1" 10.9.0.3
	try6 silent tcp 8003 "$1"
	try6 open tcp 8003 "$1" fd09::3
	try4 open udp 8003 "$1"
	try6 silent udp 8003 "$1" fd09::3
	try4 silent tcp 8004 "$1"
	try4 open tcp 22 "$1"
	try6 open tcp 22 "$1"
}
matrix "policy drop"
for address in 127.0.0.1 ::1; do
	is "$("$packets" try tcp $address 8004 20000)" open "policy drop: the node reaches itself on $address"
done
# What the node begins is answered; neighbours are found anew.
start serve2 nsenter -t "$others" -n "$packets" serve 9001
listens() { elsewhere "$packets" try tcp ::1 9001 1000 | grep -q open; }
wait_for 20 listens
is "$("$packets" try tcp fd09::2 9001 20000)" open "policy drop: what the node asks is answered"
is "$("$packets" try udp 10.9.0.2 9001 20000)" open "policy drop: by UDP too"
ip neigh flush dev node0
elsewhere ip neigh flush dev other0
try6 open tcp 8001 "policy drop, neighbours forgotten"

before=$(nft -a list table inet platypus)
fw_is 0 "a second round converges" --policy drop
is "$(nft -a list table inet platypus)" "$before" "and makes no new table"
unlike "$errors" "Table inet" "and says nothing"

# ---- change ----

hold web 8001
ports web '[8005, {"port": 8002, "protocol": "udp"}]'
fw_is 0 "ports change" --policy drop
like "$errors" "opening 8005/tcp; closing 8001/tcp" "and it is said which"
try4 open tcp 8005 "after the change"
try6 open tcp 8005 "after the change"
try4 silent tcp 8001 "after the change"
try4 open udp 8002 "after the change"
echoes web "after the change"
ports web '[8001, {"port": 8002, "protocol": "udp"}]'
fw_is 0 "and back" --policy drop
matrix "and back"
untouched "rules are replaced"

# ---- drift ----

drift() {
	local desc=$1 before
	before=$(ours)
	shift
	check "$desc" "$@"
	isnt "$(ours 2>&1)" "$before" "which is drift"
	fw_is 0 "drift ($desc) converges" --policy drop
	is "$(ours)" "$before" "drift ($desc) is repaired"
}
drift "a rule is added" nft add rule inet platypus input tcp dport 8004 accept
drift "all rules are deleted" nft flush chain inet platypus input
drift "the policy is changed" nft add chain inet platypus input '{ policy accept; }'
drift "a chain is added" nft add chain inet platypus another
drift "the table is put to sleep" nft add table inet platypus '{ flags dormant; }'
drift "the table is deleted" nft delete table inet platypus
matrix "drift repaired"
rm -r "$T/state"
fw_is 0 "with the state directory lost it converges" --policy drop
matrix "state lost"
untouched "drift is repaired"

# ---- one bad document ----

put clusters/db/live/deploy_config '{"ports": "all"}'
ports web '[8001, 8005, {"port": 8002, "protocol": "udp"}]'
fw_is 100 "a malformed document is refused" --policy drop
like "$errors" "blocked: db: clusters/db/live/deploy_config: .*what it had open stays open" "and named"
try4 open tcp 8005 "the other application's change is made"
try4 open tcp 8003 "what the bad one had open stays" 10.9.0.3
try4 silent tcp 8003 "what the bad one had open stays"
rm "$T/state/known.json"
ports web '[8001]'
fw_is 100 "not remembered either: refused" --policy drop
like "$errors" "no longer known" "and it says why"
try4 open tcp 8003 "what the bad one had open stays, not remembered" 10.9.0.3
app db '[{"port": 8003, "from": ["10.9.0.3", "fd09::3/128"]}, {"port": 8003, "protocol": "udp", "from": "10.9.0.0/29"}]'
ports web '[8001, {"port": 8002, "protocol": "udp"}]'
fw_is 0 "mended" --policy drop
matrix "mended"
ppctl rm clusters/db/live/deploy_config >/dev/null
fw_is 111 "a document that is absent is waited for" --policy drop
try4 open tcp 8003 "and closes nothing" 10.9.0.3
ports db '[{"port": 8003, "from": ["10.9.0.3", "fd09::3/128"]}, {"port": 8003, "protocol": "udp", "from": "10.9.0.0/29"}]'

# ---- gates ----

put gates/live/more '{"ports": [2222]}'
put gates/elsewhere/named '{"ports": [8004], "nodes": ["n2", "n1"]}'
put gates/elsewhere/other '{"ports": [8005]}'
put gates/live/others '{"ports": [8005], "nodes": ["n2"]}'
put gates/elsewhere/bad '{"ports": 1}'
fw_is 0 "gates converge, and a bad one for others is none of our business" --policy drop
try4 open tcp 2222 "a gate of the node's world"
try4 open tcp 8004 "a gate that names the node"
try4 silent tcp 8005 "a gate of another world or node"
# untrusted KEY PORT: a document that others than root may have written counts for nothing, and closes nothing.
untrusted() {
	if ! chown 65534 "$T/store/$1" 2>/dev/null; then skip "$1 of somebody else" "no right to give it away"; return; fi
	fw_is 100 "$1 of somebody else is refused" --policy drop
	like "$errors" "blocked: .*$1.*can be written by others than root; .*what it had open stays" "and the way out is said"
	try4 open tcp "$2" "$1 of somebody else"
	chown 0 "$T/store/$1"
}
untrusted gates/live/more 2222
untrusted clusters/web/live/deploy_config 8001
put gates/live/more '{"ports": [2222], "port": 1}'
put gates/live/bad '{"ports": ["x"]}'
fw_is 100 "a bad gate of our world is refused" --policy drop
like "$errors" "gates/live/bad" "and named"
try4 open tcp 2222 "the other gates"
for gate in live/more live/others live/bad elsewhere/named elsewhere/other elsewhere/bad; do
	ppctl rm "gates/$gate" >/dev/null
done
fw_is 0 "gates are gone" --policy drop
like "$errors" "Closing what gates/live/more opened: intent for it is gone" "which is said"
matrix "gates are gone"

# ---- policy accept ----

fw_is 0 "--policy=accept converges"
try4 open tcp 8004 "policy accept"
try6 open udp 8001 "policy accept"
try4 refused tcp 8003 "policy accept, only for others"
try6 refused tcp 8003 "policy accept, only for others"
try6 refused udp 8003 "policy accept, only for others" fd09::3
try4 open tcp 8003 "policy accept" 10.9.0.3
try6 open tcp 8003 "policy accept" fd09::3
is "$("$packets" try tcp 127.0.0.1 8003 20000)" open "policy accept: the node reaches itself"
ports db '[{"port": 22, "from": "10.99.0.0/16"}, {"port": 8003, "from": ["0.0.0.0/0", "10.0.0.0/8"]}]'
fw_is 0 "a whole family, and ssh for few"
try4 open tcp 22 "--always is stronger than a document"
try4 open tcp 8003 "all of IPv4"
try6 refused tcp 8003 "but none of IPv6"

# ---- killed while nft runs ----

cat >"$T/nft" <<'END'
#!/bin/sh
# Ends the agent's round and itself before or after the rules are loaded.
case "$*" in "-f -") [ ! -e "$KILL.before" ] || { rm "$KILL.before"; kill -9 $PPID $$; };; esac
nft "$@" || exit
case "$*" in "-f -") [ ! -e "$KILL.after" ] || { rm "$KILL.after"; kill -9 $PPID $$; };; esac
END
chmod 755 "$T/nft"
sed -i "s|\\\$KILL|$T/kill|g" "$T/nft"
for when in before after; do
	ports db '[8003]'
	fw_is 0 "before a kill" --nft "$T/nft"
	: >"$T/kill.$when"
	ports db '[{"port": 8003, "from": ["10.9.0.3"]}]'
	fw_is 111 "killed $when nft loads the rules" --nft "$T/nft"
	like "$errors" "RoundCrashed|without a result" "which is seen"
	fw_is 0 "and the next round converges" --nft "$T/nft"
	try4 refused tcp 8003 "killed $when nft loads"
	try4 open tcp 8003 "killed $when nft loads" 10.9.0.3
done
untouched "killed"

# ---- somebody changes the table right after it was made ----

cat >"$T/nft" <<END
#!/bin/sh
nft "\$@" || exit
case "\$*" in "-f -") [ ! -e "$T/flush" ] || { rm "$T/flush"; nft flush chain inet platypus input; };; esac
END
: >"$T/flush"
ports db '[{"port": 8003, "from": ["10.9.0.2"]}]'
fw_is 0 "the table is emptied right after it was made" --nft "$T/nft"
refute "... which happened" test -e "$T/flush"
try4 refused tcp 8003 "... and is not taken for ours" 10.9.0.3
ports db '[{"port": 8003, "from": ["10.9.0.3"]}]'
fw_is 0 "... and back"

# ---- what cannot be done ----

fw_is 111 "no nft" --nft "$T/nothing"
like "$errors" "install nftables, or name it with --nft" "and the way out is said"
fw_is 100 "a bad --always" --always ssh
fw_is 100 "a bad --table" --table 'x;y'
if have setpriv; then
	ports db '[8003]'
	run setpriv --bounding-set=-net_admin --inh-caps=-all pp-port-firewall --once --state-dir "$T/state"
	is "$status" 111 "without rights it fails"
	like "$errors" "run as root, or with CAP_NET_ADMIN" "and says which are needed"
	ports db '[{"port": 8003, "from": ["10.9.0.3"]}]'
	fw
else
	skip "without rights" "setpriv is not on PATH"
fi

# ---- what is gone ----

before=$(ours)
ppctl rm nodes/n1/db nodes/n1/web >/dev/null
ppctl rm nodes/n1/ >/dev/null
fw_is 100 "every key of the node is gone: refused"
like "$errors" "no key is left under nodes/n1/" "and it says so"
is "$(ours)" "$before" "nothing is closed"
put nodes/n1/ '{}'
put nodes/n1/web '{"cluster": "live"}'
fw_is 0 "one application is gone" --policy drop
like "$errors" "Closing what db opened: intent for it is gone from this node; it had open 8003/tcp" "it is said"
try4 silent tcp 8003 "its application is gone" 10.9.0.3
try4 open tcp 8001 "the other is there"
ppctl rm nodes/n1/web >/dev/null
fw_is 0 "no application is left" --policy drop
try4 silent tcp 8001 "policy drop without applications"
try4 open tcp 22 "policy drop without applications"
fw_is 0 "no application is left, policy accept"
is "$(nft list tables inet)" "table inet other" "there is no table"
put nodes/n1/web '{"cluster": "live"}'
fw_is 0 "it comes back" --policy drop
put nodes/n1/ '{"ensure": "absent"}'
fw_is 0 "the node is retired" --policy drop
is "$(nft list tables inet)" "table inet other" "there is no table"
untouched "retired"
put nodes/n1/ '{}'

# ---- the name is taken ----

nft -f - <<'END'
table inet platypus {
	chain owner { return comment "somebody else"; }
	chain input { type filter hook input priority filter; tcp dport 8005 drop; }
}
END
before=$(nft -a list ruleset)
fw_is 100 "a table of that name is somebody else's: refused"
like "$errors" "NotOurs|table inet platypus is somebody else's: .*--table" "and the way out is said"
is "$(nft -a list ruleset)" "$before" "it is byte for byte as it was"
fw_is 0 "another name" --table platypus2
is "$(nft list table inet platypus2 | grep -c 'tcp dport { 22, 8001 } accept')" 1 "holds the rules"
nft delete table inet platypus
fw_is 100 "a table of another node: refused" --table platypus2 --node n2 --state-dir "$T/state2"
ppctl put nodes/n2/ '{}' >/dev/null
ppctl put nodes/n2/web '{"cluster": "live"}' >/dev/null
fw_is 100 "a table of another node: refused" --table platypus2 --node n2 --state-dir "$T/state2"
like "$errors" "is that of node n1" "and it says whose"
nft delete table inet platypus2
untouched "names"

# ---- running ----

start daemon pp-port-firewall --state-dir "$T/state" --listen none --policy drop
daemon=$pid
opens() { [ "$(elsewhere "$packets" try tcp 10.9.0.1 "$1" 1000 10.9.0.2)" = open ]; }
has_rule() { ours | grep -q "tcp dport { $1 } accept"; }
check "a running agent makes the table" wait_for 20 has_rule "22, 8001"
try4 open tcp 8001 "a running agent"
try4 silent tcp 8004 "a running agent"
ports web '[8004]'
check "and follows intent" wait_for 20 has_rule "22, 8004"
try4 open tcp 8004 "a running agent, ports changed"
try4 silent tcp 8001 "a running agent, ports changed"
nft flush chain inet platypus input
kill -USR1 "$daemon"
check "and repairs drift when told to look" wait_for 20 has_rule "22, 8004"
stop "$daemon"
check "it leaves the table when it ends" has_rule "22, 8004"

# ---- the README ----

session() { awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$ROOT/agents/port-firewall/README.md"; }
session >"$T/session"
if unshare -rn true 2>/dev/null; then
	run env -u PP_STORE -u PP_NODE -u FIREWALL_TEST bash -c "cd '$T' && . ./session"
	is "$status" 0 "the README's session ends well"
	like "$output" "tcp dport \{ 22, 80 \} accept" "and shows the rules"
	[ "$status" = 0 ] || diag "$output" "$errors"
else
	skip "the README's session" "no user namespaces may be made here"
fi
done_testing
