#!/bin/bash
# The real Terraform keeps its state with a server (HTTP, Consul, S3), put there by pp-terraform-applier; from there
# pp-configmap-injector takes its outputs: what Terraform writes is what it reads.
set -u
. "$(dirname "$0")/../lib.sh"
have terraform || skip_all "terraform is not on PATH"
PATH=$PATH${S3_SERVER_PATH:+:$S3_SERVER_PATH}
. "$ROOT/t/terraforming.sh"
. "$ROOT/t/injecting.sh"
unset TF_VAR_stub CONSUL_HTTP_TOKEN
export TF_HTTP_USERNAME=u TF_HTTP_PASSWORD=canary-value
applier=(pp-terraform-applier --listen none --state-dir "$T/applier" --lock-timeout 0s)
# Both files have one of that name.
said() { ppctl get "reality/status/terraform-applier/n1/prod/$2" | sed -nE "s/^ *\"$1\": \"(.*)\",?\$/\\1/p" | head -n 1; }
apply() { run "${applier[@]}" --once "$@"; cat "$T/.err" >>"$T/all.log"; }
declare -A states lines
names=()

# Such a large state Consul has in parts, although it is compressed.
cat >"$T/module/main.tf" <<'END'
variable "host" {}
variable "lines" { default = 0 }
variable "slow" { default = 0 }
variable "pw" { sensitive = true }
resource "terraform_data" "slow" {
  count = var.slow
  provisioner "local-exec" { command = "exec sleep 1000" }
}
resource "terraform_data" "one" { input = var.pw }
output "host" { value = var.host }
output "password" {
  value     = terraform_data.one.output
  sensitive = true
}
output "large" { value = [sha512("0"), join("", flatten([for i in range(var.lines) : [for k in range(1000) : sha512("${i * 1000 + k}")]]))] }
END

# keep NAME STATE URL LINES: a stack whose state is there, and an injection that takes its outputs.
keep() {
	names+=("$1")
	states[$1]=$2 lines[$1]=$4
	inject "$1" '"HOST": {"from": "tfstate:'"$3"'#host"}, "PASSWORD": {"from": "tfstate:'"$3"'#password"}, "FIRST": {"from":
		"tfstate:'"$3"'#large/0"}' '{"type": "envdir", "path": "'"$T/env/$1"'"}'
}
# say HOST NAME...: intent of these stacks.
say() {
	local host=$1 name
	shift
	for name; do
		stack "$name" '"state": '"${states[$name]}"', "vars": {"host": "'"$host"'", "lines": '"${lines[$name]}"'}'
	done
}

if have python3; then
	cat >"$T/backend.py" <<'END'
# Terraform's HTTP backend: one state, its lock, behind a password.
import base64, hashlib, http.server
state, lock, word = b"", b"", "Basic " + base64.b64encode(b"u:canary-value").decode()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
    def handle_all(self):
        global state, lock
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        tag = '"%s"' % hashlib.md5(state).hexdigest()
        if self.headers.get("Authorization") != word:
            self.answer(401)
        elif self.command == "LOCK" and lock:
            self.answer(423, lock)
        elif self.command in ("LOCK", "UNLOCK"):
            lock = body if self.command == "LOCK" else b""
            self.answer(200)
        elif self.command == "POST":
            state = body
            self.answer(200)
        elif self.path == "/lock":
            self.answer(200, lock)
        elif not state:
            self.answer(404)
        elif self.headers.get("If-None-Match") == tag:
            self.answer(304, ETag=tag)
        else:
            self.answer(200, state, ETag=tag)
    do_GET = do_POST = do_LOCK = do_UNLOCK = handle_all
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
END
	start backend python3 "$T/backend.py"
	wait_for 5 test -s "$T/backend.log"
	web_port=$(head -n 1 "$T/backend.log") basic="Basic $(printf 'u:%s' "$TF_HTTP_PASSWORD" | base64)"
	web=http://127.0.0.1:$web_port/net
	export TF_HTTP_ADDRESS=$web
	keep web '{"backend": "http", "address": "'"$web"'", "lock_address": "'"$web"'", "unlock_address": "'"$web"'"}' "$web" 0
else
	skip "Terraform's state by HTTP" "python3 is not on PATH"
fi
if have consul && start_consul kept; then
	address=127.0.0.1:$CONSUL_PORT
	keep parts '{"backend": "consul", "address": "'"$address"'", "path": "tf/parts", "gzip": true}' "consul://$address/tf/parts" 10
else
	skip "Terraform's state in Consul" "consul is not on PATH"
fi
if have moto_server; then
	s3_port=$(free_port)
	start moto moto_server -H 127.0.0.1 -p "$s3_port"
	wait_for 30 http GET "$s3_port" /moto-api/ ''
	export AWS_ACCESS_KEY_ID=AKIATEST AWS_SECRET_ACCESS_KEY=canary-value AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://127.0.0.1:$s3_port
	http PUT "$s3_port" /states '' >/dev/null
	keep s3 '{"backend": "s3", "bucket": "states", "key": "net/a.tfstate", "use_lockfile": true, "use_path_style": true,
		"skip_credentials_validation": true, "skip_requesting_account_id": true}' s3://states/net/a.tfstate 0
else
	skip "Terraform's state in S3" "moto_server is not here: put it on PATH, or its directory into S3_SERVER_PATH"
fi

# ---- there and back ----
values() {
	local name
	for name in "${names[@]}"; do
		(cd "$T/env/$name" 2>/dev/null && echo "$name $(cat HOST) $(cat PASSWORD) $(cut -c1-8 FIRST)")
	done
}
say db-1.example "${names[@]}"
apply
is "$status" 0 "every stack is applied"
[ "$status" = 0 ] || diag "$errors"
once
is "$status" 0 "every injection is written"
[ "$status" = 0 ] || diag "$errors"
[ -z "${web:-}" ] || { TF_HTTP_ADDRESS=https://127.0.0.1:$web_port/net once; like "$(state web)" 'Refused .*\(401\)' "a password for https is not sent in clear"; }
is "$(values)" "$(printf '%s db-1.example canary-value 31bca020\n' "${names[@]}")" "with the outputs that Terraform left"
if [ -n "${address:-}" ]; then
	like "$(http GET "$CONSUL_PORT" '/v1/kv/tf/parts?raw')" '"chunks":.*tfstate\..*/1"' "Consul has it in parts, although compressed"
fi

# ---- Terraform's own locks there ----
# hold NAME: a Terraform of somebody else works on it.
hold() {
	cp -r "$T/applier/stacks/prod/$1"/src/* "$T/hold-$1"
	start "hold-$1" env -C "$T/hold-$1" "TF_HTTP_PASSWORD=$TF_HTTP_PASSWORD" terraform apply -auto-approve -no-color -var-file=pp.tfvars.json -var slow=1
	holders+=("$pid")
}
# id_of NAME: of the lock, as its server has it.
id_of() {
	case $1 in
	web) http GET "$web_port" /lock '' "Authorization: $basic" ;;
	parts) http GET "$CONSUL_PORT" '/v1/kv/tf/parts/.lockinfo?raw' ;;
	s3) http GET "$s3_port" /states/net/a.tfstate.tflock '' "Authorization: AWS4-HMAC-SHA256 Credential=x/20261121/us-east-1/s3/aws4_request, \
SignedHeaders=host, Signature=x" ;;
	esac | grep -oE '"ID": *"[^"]*"' | cut -d'"' -f4
}
held() { grep -q 'Provisioning with' "$T/hold-$1.log"; }
holders=()
for name in "${names[@]}"; do
	hold "$name"
	say db-2.example "$name"
done
for name in "${names[@]}"; do
	check "$name: another Terraform is at work" wait_for 20 held "$name"
done
apply
for name in "${names[@]}"; do
	is "$(said reason "$name")" Busy "$name: its lock is held: waiting"
	case $name in
	web) words="held by somebody whom this backend does not name; whether .* cannot be known from here.* force-unlock $(id_of web)$" ;;
	*) words="held by .*@$(uname -n) for OperationTypeApply, since .*; a Terraform .process .* runs on this host.* force-unlock $(id_of "$name")$" ;;
	esac
	like "$(said message "$name")" "$words" "$name: as far as it is known by whom, and how it would be broken"
done
# Only once: a second signal would cut them short.
for pid in "${holders[@]}"; do kill -INT "$pid"; done
for pid in "${holders[@]}"; do wait_for 10 gone "$pid"; stop "$pid"; done
before=$(values)
once
is "$status $(values)" "0 $before" "what they wrote as they were interrupted is read"
is "$(grep -rlE 'canary-value' "$T/applier" "$T/store" "$T/state" "$T"/all.log 2>/dev/null)" "" \
	"no secret is in any file of the agents, in any document or log"
done_testing
