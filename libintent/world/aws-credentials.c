/*
 * Where AWS credentials come from: five sources, in the order of AWS' own tools. The first that is
 * configured decides: should it fail, the next one might be a role that was never meant.
 */
#include <ctype.h>
#include <fcntl.h>
#include <intent/file.h>
#include "aws.h"

#define METADATA "http://169.254.169.254"
#define CONTAINERS "http://169.254.170.2"
#define TIMEOUT_MS 5000
#define METADATA_CONNECT_MS 1000 /* elsewhere nobody answers there */
#define NOT_CONFIGURED 1 /* of a source: go on with the next (INTENT_EABSENT may be a file that should be there) */
#define ANSWER_MAX (64u << 10)
#define FILE_MAX (1u << 20)

void intent_aws_credentials_release(struct intent_aws_credentials *credentials)
{
	char *const secrets[] = {credentials->secret, credentials->token, credentials->key_id};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
		if (secrets[i])
			explicit_bzero(secrets[i], strlen(secrets[i]));
		free(secrets[i]);
	}
	*credentials = (struct intent_aws_credentials){0};
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static struct intent_aws_credentials credentials_of(const char *key_id, const char *secret, const char *token)
{
	return (struct intent_aws_credentials){
		.key_id = strdup(key_id), .secret = strdup(secret), .token = token && *token ? strdup(token) : NULL,
	};
}

/* A token in a file: read each time, since it is renewed there. Owned. */
static char *read_token(const char *path, struct intent_error *err)
{
	char *text = NULL;
	size_t count;

	if (intent_file_read(AT_FDCWD, path, FILE_MAX, &text, &count, err))
		return NULL;
	while (count && isspace((unsigned char)text[count - 1]))
		text[--count] = '\0';
	return text;
}

/* An answer of status 200, or a failure that names the source. Its body may be secret: never quoted. */
static int ask(struct intent_http *http, const char *source, const struct intent_http_request *request,
	       struct intent_http_response *ret, struct intent_error *err)
{
	if (intent_http_perform(http, request, ret, NULL, err))
		return intent_wrap(err, "AWS credentials from %s", source);
	if (ret->status == 200)
		return 0;
	int status = ret->status;
	intent_http_response_release(ret);
	return intent_fail(err, status >= 500 || status == 429 ? INTENT_EUNAVAILABLE : INTENT_EREFUSED,
			   "AWS credentials from %s: it answered %d", source, status);
}

/* {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} */
static int take_json(const struct intent_http_response *answer, const char *source,
		     struct intent_aws_credentials *ret, struct intent_error *err)
{
	intent_json_auto json_t *json = NULL;
	const char *key_id, *secret;
	struct intent_error ignored;
	int64_t expires = 0;

	intent_json_parse(intent_text_str(&answer->body), answer->body.length, ANSWER_MAX, &json, &ignored);
	key_id = intent_json_string(json, "AccessKeyId", NULL);
	secret = intent_json_string(json, "SecretAccessKey", NULL);
	if (!key_id || !secret)
		return intent_fail(err, INTENT_EMALFORMED, "AWS credentials from %s: the answer holds none", source);
	intent_time_parse(intent_json_string(json, "Expiration", ""), &expires, &ignored);
	*ret = credentials_of(key_id, secret, intent_json_string(json, "Token", NULL));
	ret->expires_ms = expires;
	return 0;
}

/* ---- the sources ---- */

/* Each: 0, a failure, or NOT_CONFIGURED. */

static int from_environment(struct intent_http *http, const char *region, struct intent_aws_credentials *ret,
			    struct intent_error *err)
{
	const char *key_id = variable("AWS_ACCESS_KEY_ID"), *secret = variable("AWS_SECRET_ACCESS_KEY");

	(void)http;
	(void)region;
	if (!key_id && !secret)
		return NOT_CONFIGURED;
	if (!key_id || !secret)
		return intent_fail(err, INTENT_EUSAGE,
				   "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together; only one is set");
	*ret = credentials_of(key_id, secret, variable("AWS_SESSION_TOKEN"));
	return 0;
}

bool intent__aws_xml_value(const char *xml, const char *name, char *out, size_t room)
{
	char open[64];
	const char *start;
	size_t length;

	snprintf(open, sizeof(open), "<%s>", name);
	start = strstr(xml, open);
	length = start ? strcspn(start + strlen(open), "<") : 0;
	if (length >= room)
		length = 0;
	if (length)
		memcpy(out, start + strlen(open), length);
	out[length] = '\0';
	return length > 0;
}

static int take_sts(const struct intent_http_response *answer, struct intent_aws_credentials *ret,
		    struct intent_error *err)
{
	const char *xml = intent_text_str(&answer->body);
	char key_id[256], secret[512], token[8192], until[64];
	struct intent_error ignored;

	if (!intent__aws_xml_value(xml, "AccessKeyId", key_id, sizeof(key_id)) ||
	    !intent__aws_xml_value(xml, "SecretAccessKey", secret, sizeof(secret)) ||
	    !intent__aws_xml_value(xml, "SessionToken", token, sizeof(token)))
		return intent_fail(err, INTENT_EMALFORMED, "AWS credentials from STS: the answer holds none");
	*ret = credentials_of(key_id, secret, token);
	explicit_bzero(secret, sizeof(secret));
	explicit_bzero(token, sizeof(token));
	if (intent__aws_xml_value(xml, "Expiration", until, sizeof(until)))
		intent_time_parse(until, &ret->expires_ms, &ignored);
	return 0;
}

/* AssumeRoleWithWebIdentity: unsigned, the token is the proof. */
static int from_web_identity(struct intent_http *http, const char *region, struct intent_aws_credentials *ret,
			     struct intent_error *err)
{
	const char *file = variable("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = variable("AWS_ROLE_ARN");
	const char *session = variable("AWS_ROLE_SESSION_NAME"), *endpoint = variable("AWS_ENDPOINT_URL_STS");
	static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
	intent_text_auto struct intent_text form = INTENT_TEXT_INIT;
	intent_free_auto char *token = NULL, *url = NULL;
	struct intent_http_response answer = {0};

	if (!file)
		return NOT_CONFIGURED;
	if (!role)
		return intent_fail(err, INTENT_EUSAGE, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not");
	if (!(token = read_token(file, err)))
		return intent_wrap(err, "AWS_WEB_IDENTITY_TOKEN_FILE");
	intent_text_puts(&form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
	intent_url_escape(&form, role, "");
	intent_text_puts(&form, "&RoleSessionName=");
	intent_url_escape(&form, session ? session : "platypus", "");
	intent_text_puts(&form, "&WebIdentityToken=");
	intent_url_escape(&form, token, "");
	if (!endpoint)
		endpoint = variable("AWS_ENDPOINT_URL");
	url = endpoint ? strdup(endpoint) : intent_format("https://sts.%s.amazonaws.com/", region);
	struct intent_http_request request = {
		.method = "POST", .url = url, .headers = headers, .body = intent_text_str(&form),
		.body_length = form.length, .timeout_ms = TIMEOUT_MS, .body_max = ANSWER_MAX,
	};
	if (ask(http, "STS (AWS_WEB_IDENTITY_TOKEN_FILE)", &request, &answer, err))
		return err->code;
	int code = take_sts(&answer, ret, err);
	intent_http_response_release(&answer);
	return code;
}

/* "name = value" of a line; the value is cut out in place. */
static const char *setting(char *line, const char *name)
{
	char *value = strchr(line, '=');
	size_t length = strlen(name);

	if (!value || strncmp(line, name, length) || line[length + strspn(line + length, " \t")] != '=')
		return NULL;
	value += 1 + strspn(value + 1, " \t");
	value[strcspn(value, " \t\r")] = '\0';
	return value;
}

static int take_profile(char *text, const char *path, const char *profile, struct intent_aws_credentials *ret,
			struct intent_error *err)
{
	static const char *const names[] = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"};
	const char *values[3] = {NULL};
	intent_free_auto char *heading = intent_format("[%s]", profile);
	bool inside = false, found = false;

	for (char *line = text, *end; heading && line; line = end) {
		end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		line += strspn(line, " \t");
		if (*line == '[') {
			inside = intent_starts_with(line, heading);
			found = found || inside;
			continue;
		}
		for (size_t i = 0; inside && i < 3; i++) {
			const char *value = setting(line, names[i]);

			values[i] = value ? value : values[i];
		}
	}
	if (!found && !strcmp(profile, "default"))
		return NOT_CONFIGURED;
	if (!values[0] || !values[1])
		return intent_fail(err, INTENT_EREFUSED,
				   "%s: profile %s %s; roles and processes of a profile are not followed", path, profile,
				   found ? "has no aws_access_key_id and aws_secret_access_key" : "is not there");
	*ret = credentials_of(values[0], values[1], values[2]);
	return 0;
}

static int from_file(struct intent_http *http, const char *region, struct intent_aws_credentials *ret,
		     struct intent_error *err)
{
	const char *given = variable("AWS_SHARED_CREDENTIALS_FILE"), *home = variable("HOME");
	const char *profile = variable("AWS_PROFILE");
	intent_free_auto char *path =
		given ? strdup(given) : intent_format("%s/.aws/credentials", home ? home : "/root");
	char *text = NULL;
	size_t count;

	(void)http;
	(void)region;
	if (intent_file_read(AT_FDCWD, path, FILE_MAX, &text, &count, err)) {
		if (err->code == INTENT_EABSENT && !given && !profile)
			return NOT_CONFIGURED;
		return intent_wrap(err, "AWS credentials");
	}
	int code = take_profile(text, path, profile ? profile : "default", ret, err);
	explicit_bzero(text, count);
	free(text);
	return code;
}

/* EKS Pod Identity gives a whole URL, ECS a path on its own address. */
static int from_container(struct intent_http *http, const char *region, struct intent_aws_credentials *ret,
			  struct intent_error *err)
{
	static const char source[] = "the container's endpoint (AWS_CONTAINER_CREDENTIALS_*_URI)";
	const char *full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *relative = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *given = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	intent_free_auto char *url = NULL, *token = NULL, *header = NULL;
	const char *headers[2] = {NULL};
	struct intent_http_response answer = {0};

	(void)region;
	if (!full && !relative)
		return NOT_CONFIGURED;
	if (file && !(token = read_token(file, err)))
		return intent_wrap(err, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	if (token || given)
		headers[0] = header = intent_format("Authorization: %s", token ? token : given);
	url = relative ? intent_format("%s%s", CONTAINERS, relative) : strdup(full);
	struct intent_http_request request = {.url = url, .headers = headers, .timeout_ms = TIMEOUT_MS,
					      .body_max = ANSWER_MAX};
	if (ask(http, source, &request, &answer, err))
		return err->code;
	int code = take_json(&answer, source, ret, err);
	intent_http_response_release(&answer);
	return code;
}

/* One text of the instance's metadata, with a token of a session (version 2). Owned. */
static char *metadata(struct intent_http *http, const char *path, struct intent_error *err)
{
	static const char *const lifetime[] = {"X-aws-ec2-metadata-token-ttl-seconds: 300", NULL};
	static const char source[] = "the instance's metadata (IMDSv2)";
	const char *given = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	int base_length = given ? (int)strlen(given) - intent_ends_with(given, "/") : 0;
	intent_free_auto char *base = given ? strndup(given, (size_t)base_length) : strdup(METADATA);
	intent_free_auto char *token_url = intent_format("%s/latest/api/token", base);
	intent_free_auto char *url = intent_format("%s%s", base, path), *header = NULL;
	struct intent_http_response answer = {0};
	struct intent_http_request request = {
		.method = "PUT", .url = token_url, .headers = lifetime, .connect_timeout_ms = METADATA_CONNECT_MS,
		.timeout_ms = METADATA_CONNECT_MS, .body_max = ANSWER_MAX,
	};

	if (ask(http, source, &request, &answer, err)) {
		/* The answer to the PUT may travel one hop only: it never reaches a container. */
		if (err->code == INTENT_ETIMEOUT)
			intent_fail(err, INTENT_EUNAVAILABLE,
				    "AWS credentials from %s: nothing answers; from a container set "
				    "HttpPutResponseHopLimit to 2 or use a web identity", source);
		return NULL;
	}
	header = intent_format("X-aws-ec2-metadata-token: %s", intent_text_str(&answer.body));
	intent_http_response_release(&answer);
	const char *headers[2] = {header};
	request = (struct intent_http_request){.url = url, .headers = headers, .timeout_ms = TIMEOUT_MS,
					       .connect_timeout_ms = METADATA_CONNECT_MS, .body_max = ANSWER_MAX};
	if (ask(http, source, &request, &answer, err))
		return NULL;
	char *text = intent_text_steal(&answer.body);
	intent_http_response_release(&answer);
	return text;
}

static int from_instance(struct intent_http *http, const char *region, struct intent_aws_credentials *ret,
			 struct intent_error *err)
{
	static const char roles[] = "/latest/meta-data/iam/security-credentials/";
	const char *disabled = variable("AWS_EC2_METADATA_DISABLED");
	intent_free_auto char *role = NULL, *path = NULL;
	struct intent_http_response answer = {0};

	(void)region;
	if (disabled && !strcasecmp(disabled, "true"))
		return NOT_CONFIGURED;
	if (!(role = metadata(http, roles, err)))
		return err->code == INTENT_EUNAVAILABLE && !variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") ?
			NOT_CONFIGURED : err->code;
	role[strcspn(role, "\r\n")] = '\0';
	path = intent_format("%s%s", roles, role);
	char *text = metadata(http, path, err);
	if (!text)
		return err->code;
	answer.body.data = text;
	answer.body.length = strlen(text);
	int code = take_json(&answer, "the instance's metadata (IMDSv2)", ret, err);
	explicit_bzero(text, strlen(text));
	free(text);
	return code;
}

static const struct {
	const char *name;
	int (*find)(struct intent_http *http, const char *region, struct intent_aws_credentials *ret,
		    struct intent_error *err);
} sources[] = {
	{"AWS_ACCESS_KEY_ID", from_environment},
	{"a web identity", from_web_identity},
	{"the shared credentials file", from_file},
	{"the container's endpoint", from_container},
	{"the instance's metadata", from_instance},
};

int intent_aws_credentials_find(struct intent_http *http, const char *region,
				struct intent_aws_credentials *ret, struct intent_error *err)
{
	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		int code = sources[i].find(http, region, ret, err);

		if (code == NOT_CONFIGURED)
			continue;
		if (!code)
			ret->source = sources[i].name;
		return code;
	}
	return intent_fail(err, INTENT_EABSENT,
			   "there are no AWS credentials: neither AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE nor "
			   "AWS_CONTAINER_CREDENTIALS_*_URI is set, ~/.aws/credentials has no default profile, and no "
			   "instance metadata answers");
}

int intent_aws_region(struct intent_http *http, const char *given, char ret[64], struct intent_error *err)
{
	static const char *const names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
	const char *region = NULL, *disabled = variable("AWS_EC2_METADATA_DISABLED");
	intent_free_auto char *own = NULL;

	for (size_t i = 0; i < 2 && !region; i++)
		region = variable(names[i]);
	region = region ? region : given;
	if (!region && !(disabled && !strcasecmp(disabled, "true")))
		region = own = metadata(http, "/latest/meta-data/placement/region", err);
	if (!region)
		return intent_fail(err, INTENT_EABSENT, "no AWS region is known; set AWS_REGION");
	snprintf(ret, 64, "%.63s", region);
	for (const char *p = ret; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-')
			return intent_fail(err, INTENT_EMALFORMED, "'%.63s' is no AWS region", ret);
	return 0;
}
