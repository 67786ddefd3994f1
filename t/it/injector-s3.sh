#!/bin/bash
# Objects of S3, as sink and as the place of a Terraform state, against a server that is not ours and verifies signatures
# with AWS' own library: moto, on PATH or in the directory that S3_SERVER_PATH names.
# shellcheck disable=SC2154 # lib.sh says what they are
set -u
. "$(dirname "$0")/../lib.sh"
PATH=$PATH${S3_SERVER_PATH:+:$S3_SERVER_PATH}
have moto_server || skip_all "moto_server is not here: put it on PATH, or its directory into S3_SERVER_PATH"
. "$ROOT/t/injecting.sh"

# ---- the server ----

s3_port=$(free_port)
start moto env INITIAL_NO_AUTH_ACTION_COUNT=0 moto_server -H 127.0.0.1 -p "$s3_port"
wait_for 30 http GET "$s3_port" /moto-api/ '' || { not_ok "the server starts" "$(tail -n 5 "$T/moto.log")"; done_testing; }

# open METHOD PATH BODY SERVICE [HEADERS]: a request of the server's owner, which needs no signature.
open_to() {
	http POST "$s3_port" /moto-api/reset-auth 1 >/dev/null
	http "$1" "$s3_port" "$2" "$3" "Authorization: AWS4-HMAC-SHA256 Credential=x/20261121/us-east-1/$4/aws4_request, \
SignedHeaders=host, Signature=x${5:+$'\r\n'$5}"
}
iam() { open_to POST / "Version=2010-05-08&$1" iam 'Content-Type: application/x-www-form-urlencoded'; }
field() { sed -nE "s|.*<$1>(.*)</$1>.*|\\1|p"; }
policy='%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%7D'
iam Action=CreateUser\&UserName=u >/dev/null
key=$(iam Action=CreateAccessKey\&UserName=u)
iam "Action=PutUserPolicy&UserName=u&PolicyName=p&PolicyDocument=$policy" >/dev/null
iam "Action=CreateRole&RoleName=r&AssumeRolePolicyDocument=%7B%7D" >/dev/null
iam "Action=PutRolePolicy&RoleName=r&PolicyName=p&PolicyDocument=$policy" >/dev/null
open_to PUT /bucket "" s3 >/dev/null
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://127.0.0.1:$s3_port
AWS_ACCESS_KEY_ID=$(field AccessKeyId <<<"$key") AWS_SECRET_ACCESS_KEY=$(field SecretAccessKey <<<"$key")
isnt "$AWS_ACCESS_KEY_ID" '' "the server gives a key" "$key"

object() { open_to GET "/bucket/$1" '' s3; }
replace() { open_to PUT "/bucket/$1" "$2" s3 "${3:-}" >/dev/null; }
writes() { grep -c '"PUT /bucket/' "$T/moto.log"; }

# ---- as a sink ----

sink='{"type": "s3", "bucket": "bucket", "key": "env/the db.json", "encryption": "AES256"}' path=env/the%20db.json
inject db '"HOST": {"value": "db.example.org"}, "PORT": {"value": 5432}' "$sink"
once
is "$status" 0 "an object is written, with a signature that the server finds right"
is "$(object "$path" | tr -d ' \n')" '{"HOST":"db.example.org","PORT":"5432"}' "as JSON"
before=$(writes)
once
is "$status $(writes)" "0 $before" "a second round writes nothing"
AWS_SECRET_ACCESS_KEY=wrong once
like "$(state)" '^blocked Refused .*SignatureDoesNotMatch' "with another key the server refuses it"

replace "$path" '{"HOST": "other"}' 'x-amz-meta-platypus-injection: prod/db'
once
is "$status $(object "$path" | tr -d ' \n')" '0 {"HOST":"db.example.org","PORT":"5432"}' "what somebody changed is put right"
replace "$path" 'theirs'
once
like "$(state)" '^blocked NotOurs .*no mark of ours' "what somebody put in its place is theirs"
is "$(object "$path")" theirs "and untouched"
inject db '"HOST": {"value": "db.example.org"}' "${sink/\}/, \"adopt\": true, \"format\": \"dotenv\"\}}"
once
is "$status $(object "$path")" '0 HOST=db.example.org' "unless it is adopted; as dotenv"
put injections/prod/db '{"values": {}, "sinks": [], "ensure": "absent"}'
once
refute "absent: the object is gone" object "$path"
inject db '"A": {"value": 1}' '{"type": "s3", "bucket": "nobucket", "key": "a"}'
once
like "$(state)" '^waiting Waiting .*NoSuchBucket' "a bucket that is not there yet is waited for"
drop db

# ---- as the place of a state ----

tfstate() {
	printf '{"version": 4, "terraform_version": "1.11.4", "serial": %d, "lineage": "l", "outputs": {"password":
		{"value": "%s", "type": "string", "sensitive": true}}, "resources": []}' "$1" "$2"
}
replace net/terraform.tfstate "$(tfstate 1 s3cret)"
inject net '"PASSWORD": {"from": "tfstate:s3://bucket/net/terraform.tfstate#password", "sensitive": true}' \
	"{\"type\": \"envdir\", \"path\": \"$T/env\"}"
once
is "$status $(cat "$T/env/PASSWORD" 2>&1)" "0 s3cret" "a state is read from there"
replace net/terraform.tfstate "$(tfstate 2 renewed)"
once
is "$status $(cat "$T/env/PASSWORD" 2>&1)" "0 renewed" "and again when it changed"

# Without static keys: a web identity, whose session token the server verifies, too.
echo a.web.token >"$T/web"
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
export AWS_WEB_IDENTITY_TOKEN_FILE=$T/web AWS_ROLE_ARN=arn:aws:iam::123456789012:role/r
replace net/terraform.tfstate "$(tfstate 3 roled)"
open_to POST /moto-api/none '' sts >/dev/null
once
is "$status $(cat "$T/env/PASSWORD" 2>&1)" "0 roled" "as a role, by a web identity"
[ "$status" = 0 ] || diag "$errors" "$(tail -n 3 "$T/moto.log")"
unlike "$(cat "$T/all.log")" 's3cret|renewed|roled' "no log holds a value"
done_testing
