#!/bin/bash
# The stores and the preparer over TLS: real servers, real certificates, and each way they can be wrong.
set -u
. "$(dirname "$0")/../lib.sh"

have openssl || skip_all "openssl is not on PATH"
unset "${!ETCDCTL_@}" "${!CONSUL_@}" SSL_CERT_FILE SSL_CERT_DIR
mkdir "$T/certs"
cd "$T/certs" || exit 1

# ---- certificates ----

fresh=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
authority() { openssl req -x509 "${fresh[@]}" -keyout "$1.key" -out "$1.crt" -days 30 -subj "/CN=$1"; }
sign() {
	openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -extfile "$1.ext" \
		-out "$1.crt" "${@:3}"
}
# issue NAME AUTHORITY SUBJECT-ALTERNATIVE-NAME
issue() {
	openssl req -new "${fresh[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" &&
		# Of servers too: etcd's gateway is a client of its own server.
		printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3" >"$1.ext" &&
		sign "$1" "$2" -days 30
}
# Yesterday's. Old versions of openssl know no date here, new ones no negative number.
expire() { sign "$1" "$2" -days -1 || sign "$1" "$2" -not_before 20200101000000Z -not_after 20200201000000Z; }
certificates() {
	authority ca && authority other && issue server ca IP:127.0.0.1 && issue client ca DNS:client &&
		issue renewed ca DNS:client && issue stranger other DNS:client &&
		issue old ca IP:127.0.0.1 && expire old ca &&
		openssl ec -in client.key -aes128 -passout pass:sesame -out locked.key
}
check "certificates are made" certificates
# What the servers serve with, and what the clients show: names whose content changes.
use() { cp "$1.crt" "$2.crt.new" && cp "$1.key" "$2.key.new" && mv "$2.key.new" "$2.key" && mv "$2.crt.new" "$2.crt"; }
use server now
use client mine
# What must never be seen; the lines of the keys, and a passphrase.
{ grep -hE '^[A-Za-z0-9+/=]{20,}$' ./*.key; printf '%s\n' PRIVATE sesame; } >"$T/secrets"

# ---- what each engine must do ----

# The variables of engine $1: CA, certificate, key.
names() {
	case $1 in
	etcd) ca=ETCDCTL_CACERT cert=ETCDCTL_CERT key=ETCDCTL_KEY;;
	consul) ca=CONSUL_CACERT cert=CONSUL_CLIENT_CERT key=CONSUL_CLIENT_KEY;;
	esac
}

# with CA CERTIFICATE KEY CMD...: "-" is none.
with() {
	local set=()
	[ "$1" = - ] || set+=("$ca=$T/certs/$1")
	[ "$2" = - ] || set+=("$cert=$T/certs/$2")
	[ "$3" = - ] || set+=("$key=$T/certs/$3")
	run env "${set[@]}" "${@:4}"
}

# refused DESC REGEX CA CERTIFICATE KEY: a get and a put.
refused() {
	local verb document
	for verb in get put; do
		document=()
		[ "$verb" = get ] || document=('{"cluster": "evil"}')
		with "$3" "$4" "$5" ppctl "$verb" nodes/n/toy "${document[@]}"
		is "$status $output" "111 " "$engine: $1: $verb fails for now, and says nothing else"
		like "$errors" "$2" "$engine: $1: $verb says why"
		is "$(wc -l <"$T/.err")" 1 "$engine: $1: in one line"
		refute "$engine: $1: no secret" grep -FnHf "$T/secrets" "$T/.err"
	done
}

# A watch does not say when it has begun, and shows only what changes: put until it is seen.
seen() {
	with ca.crt mine.crt mine.key ppctl put nodes/n/seen "{\"cluster\": \"c$RANDOM\"}"
	grep -q nodes/n/seen "$T/watch-$engine.log"
}

works() {
	with ca.crt mine.crt mine.key ppctl put nodes/n/toy '{"cluster": "c"}'
	is "$status" 0 "$engine: a put with both certificates"
	with ca.crt mine.crt mine.key ppctl get nodes/n/toy
	like "$output" '"cluster": "c"' "$engine: and a get"
	start "watch-$engine" env "$ca=ca.crt" "$cert=mine.crt" "$key=mine.key" ppctl watch nodes/n
	check "$engine: a watch sees a put" wait_for 10 seen
	stop "$pid"
}

# serve_with NAME: that certificate from now on, and by whatever connection comes next.
serve_with() {
	use "$1" now
	[ "$engine" != consul ] || kill -HUP "$server"
	wait_for 5 shown "$1"
}
shown() {
	openssl s_client -connect "${PP_STORE#*//}" -cert mine.crt -key mine.key </dev/null 2>/dev/null |
		openssl x509 -noout -subject | grep -qE "CN *= *$1\$"
}

# What the server may not be. A refusal that a reset overtakes is told in fewer words.
cut='the connection was cut at once: does the server take our certificate|Connection reset by peer'
fails() {
	local at=127.0.0.1
	refused "an unknown CA" "issuer certificate: .*belongs into .*other.crt" other.crt mine.crt mine.key
	refused "no CA" "issuer certificate: .*name its CA's certificate with $ca" - mine.crt mine.key
	refused "no client certificate" "demands a client certificate.*: name one with $cert and $key|$cut" ca.crt - -
	refused "a stranger's certificate" "does not take the client certificate .*stranger.crt|$cut" \
		ca.crt stranger.crt stranger.key
	refused "another key" "stranger.key \($cert and $key\): is not the key of the client certificate" \
		ca.crt mine.crt stranger.key
	refused "a key with a passphrase" "locked.key .*: holds no private key without a passphrase" \
		ca.crt mine.crt locked.key
	refused "no such file" "gone.crt \($ca\): No such file" gone.crt mine.crt mine.key
	refused "a CA that is none" "server.ext \($ca\): holds no certificate" server.ext mine.crt mine.key
	PP_STORE=${PP_STORE/$at/localhost}
	refused "another host name" "https://localhost:.*'localhost': use a name that" ca.crt mine.crt mine.key
	PP_STORE=${PP_STORE/localhost/$at}
	serve_with old
	refused "an expired certificate" "certificate has expired: renew the server's certificate" \
		ca.crt mine.crt mine.key
	serve_with server
	with ca.crt mine.crt mine.key ppctl get nodes/n/toy
	like "$status $output" '"cluster": "c"' "$engine: renewed, it serves what was there before"
}

# ---- an agent, and SIGHUP ----

sockets() { readlink "/proc/$agent"/fd/* 2>/dev/null | grep ^socket | sort; }
greets() { [ "$(cat "$T/base-$engine/greeting" 2>/dev/null)" = "$1" ]; }
# greet WORD: put it and see it arrive
greet() {
	with ca.crt client.crt client.key ppctl put clusters/toy/c/config \
		"{\"versions\": {}, \"user_config\": {\"greeting\": \"$1\"}}"
	wait_for 15 greets "$1"
}
rests() { with ca.crt client.crt client.key ppctl get reality/status/toy/n/toy; [[ $output == *'"converged"'* ]]; }
said() { grep -qE "$1" "$T/toy-$engine.log"; }
anew() { [ -z "$(comm -12 <(sockets) <(echo "$before" | grep -v '^$'))" ] || [ "$(sockets)" != "$before" ]; }

hangup() {
	local agent before
	with ca.crt client.crt client.key ppctl put clusters/toy/c/deploy_config "{\"basedir\": \"$T/base-$engine\"}"
	start "toy-$engine" env "$ca=ca.crt" "$cert=mine.crt" "$key=mine.key" \
		"$BUILD_DIR/t/it/toy" --node n --state-dir "$T/state-$engine"
	agent=$pid
	check "$engine: an agent works over TLS" greet one
	refute "$engine: no secret in its arguments" grep -aFf "$T/secrets" "/proc/$agent/cmdline"
	# Its status is the last thing that it says to the store.
	check "$engine: and is at rest" wait_for 15 rests
	before=$(sockets)
	echo broken >mine.crt
	kill -HUP "$agent"
	check "$engine: a broken renewal is told" wait_for 10 said "old ones stay: .*mine.crt \($cert and $key\): holds no cert"
	# One that was idle may have been closed by itself.
	is "$(comm -13 <(echo "$before") <(sockets))" "" "$engine: and the connections stay"
	check "$engine: so the agent still hears" greet two
	before=$(sockets)
	: >"$T/toy-$engine.log"
	use renewed mine
	kill -HUP "$agent"
	check "$engine: a good renewal is taken" wait_for 10 said "Configuration read again"
	check "$engine: by connecting anew" wait_for 10 anew
	check "$engine: and the agent hears again" greet three
	refute "$engine: without a complaint" said "old ones stay|ERROR"
	refute "$engine: and no secret in its log" grep -FHf "$T/secrets" "$T/toy-$engine.log"
	stop "$agent"
	use client mine
}

all_of() { engine=$1; names "$1"; works; fails; hangup; }

# ---- the servers ----

tls_etcd() {
	local port peer
	have etcd || return 1
	port=$(free_port) peer=http://127.0.0.1:$(free_port)
	start etcd env -u ETCDCTL_API etcd --name e --data-dir "$T/etcd.data" \
		--listen-client-urls "https://127.0.0.1:$port" --advertise-client-urls "https://127.0.0.1:$port" \
		--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "e=$peer" \
		--cert-file now.crt --key-file now.key --trusted-ca-file ca.crt --client-cert-auth
	server=$pid
	export PP_STORE=etcd+https://127.0.0.1:$port
}

tls_consul() {
	local port
	have consul || return 1
	port=$(free_port)
	start consul consul agent -server -bootstrap-expect 1 -node c -data-dir "$T/consul.data" \
		-bind 127.0.0.1 -client 127.0.0.1 -hcl "ports { http = -1 https = $port server = $(free_port)
		serf_lan = $(free_port) serf_wan = $(free_port) dns = -1 grpc = -1 }
		performance { raft_multiplier = 1 } disable_update_check = true verify_incoming = true
		ca_file = \"$T/certs/ca.crt\" cert_file = \"$T/certs/now.crt\" key_file = \"$T/certs/now.key\""
	server=$pid
	export PP_STORE=consul+https://127.0.0.1:$port
}

ready() { with ca.crt mine.crt mine.key ppctl put nodes/n/toy '{"cluster": "c"}'; [ "$status" = 0 ]; }

for engine in etcd consul; do
	names "$engine"
	if ! "tls_$engine"; then
		skip "$engine over TLS" "$engine is not on PATH"
	elif wait_for 30 ready; then
		all_of "$engine"
		stop "$server"
	else
		not_ok "$engine becomes ready" "$(tail -n 20 "$T/$engine.log")" "$errors"
	fi
done

# ---- artifacts ----

export PP_STORE=dir:$T/store
mkdir -p "$T/www/app" "$T/src"
echo whole >"$T/src/data"
tar -C "$T/src" -czf "$T/www/app/app_1.tar.gz" .
# openssl answers 200 and an excuse for what is not there.
(cd "$T/www/app" && sha256sum app_1.tar.gz >app_1.tar.gz.sha256)
ppctl init "$PP_STORE" >/dev/null 2>&1
ppctl put nodes/n/app '{"cluster": "c"}' >/dev/null
ppctl put clusters/app/c/deploy_config "{\"basedir\": \"$T/base\"}" >/dev/null
ppctl put clusters/app/c/config '{"versions": {"1": "prep"}}' >/dev/null

port=$(free_port)
# serve NAME: files over TLS with that certificate; sets $server
serve() {
	(cd "$T/www" && exec openssl s_server -quiet -WWW -accept "127.0.0.1:$port" \
		-cert "$T/certs/$1.crt" -key "$T/certs/$1.key") >"$T/www.log" 2>&1 </dev/null &
	server=$!
	adopt "$server" www
	wait_for 10 openssl s_client -connect "127.0.0.1:$port" </dev/null
}
prepare() {
	run pp-preparer --node n --once --state-dir "$T/state" --repo "https://${host:-127.0.0.1}:$port/" "$@"
}
# spoiled DESC REGEX ARGS...: refused for now
spoiled() {
	prepare "${@:3}"
	is "$status" 111 "artifacts: $1: temporary"
	like "$errors" "$2" "artifacts: $1: says why"
	is "$(find "$T/base" -name 'app_1*' -o -name '.tmp-*' 2>/dev/null)" "" "artifacts: $1: nothing is there"
}

check "a server of files begins" serve server
spoiled "the system's CAs" "issuer certificate: is it the right server\? Then name its CA's certificate with --ca-file"
spoiled "another CA" "issuer certificate: .* its CA's certificate belongs into .*other.crt" --ca-file other.crt
spoiled "no such file" "gone.crt \(--ca-file\): No such file" --ca-file gone.crt
host=localhost spoiled "another name" "'localhost': use a name that" --ca-file ca.crt
stop "$server"
check "one with an expired certificate begins" serve old
spoiled "an expired certificate" "certificate has expired: renew the server's certificate" --ca-file ca.crt
stop "$server"
check "and the first one again" serve server
prepare --ca-file ca.crt
is "$status" 0 "artifacts: the right CA" || diag "$errors"
is "$(cat "$T/base/installs/app_1/data" 2>/dev/null)" whole "artifacts: it is installed, whole"
like "$(cat "$T/base/installs/app_1/.platypus.json" 2>/dev/null)" "https://127.0.0.1:$port/app/app_1.tar.gz" "artifacts: and where from"
done_testing
