/* One object of S3: where it is, a signed request, what the answer means. */
#include <ctype.h>
#include <intent/digest.h>
#include "aws.h"

#define TIMEOUT_MS 60000
#define STALL_MS 20000

struct place {
	char *url, *host, *path;  /* owned */
};

static void release_place(struct place *place)
{
	free(place->url);
	free(place->host);
	free(place->path);
}
#define place_auto __attribute__((cleanup(release_place)))

/* May it be a label of a host name? A dot in it would leave the certificate's wildcard. */
static bool is_label(const char *bucket)
{
	for (const char *p = bucket; *p; p++)
		if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-')
			return false;
	return *bucket != '\0';
}

static const char *endpoint_of(const struct intent_s3_object *object)
{
	const char *own = getenv("AWS_ENDPOINT_URL_S3"), *all = getenv("AWS_ENDPOINT_URL");

	return object->endpoint ? object->endpoint : own && *own ? own : all && *all ? all : NULL;
}

static int find_place(const struct intent_s3_object *object, const char *region, struct place *ret,
		      struct intent_error *err)
{
	intent_text_auto struct intent_text key = INTENT_TEXT_INIT;
	const char *endpoint = endpoint_of(object);
	intent_free_auto char *base = NULL;
	bool by_host = !endpoint && is_label(object->bucket);

	intent_url_escape(&key, object->key, "/");
	if (endpoint)
		base = strndup(endpoint, strlen(endpoint) - intent_ends_with(endpoint, "/"));
	else if (by_host)
		base = intent_format("https://%s.s3.%s.amazonaws.com", object->bucket, region);
	else
		base = intent_format("https://s3.%s.amazonaws.com", region);
	if (!strstr(base, "://"))
		return intent_fail(err, INTENT_EUSAGE, "%s: an endpoint begins with http:// or https://", base);
	ret->path = by_host ? intent_format("/%s", intent_text_str(&key)) :
			      intent_format("/%s/%s", object->bucket, intent_text_str(&key));
	ret->host = strdup(strstr(base, "://") + 3);
	ret->url = intent_format("%s%s", base, ret->path);
	return 0;
}

struct call {
	const char *method;
	const struct intent_s3_object *object;
	const struct intent_aws_credentials *credentials;
	const void *body;
	size_t length;
	const char *headers[INTENT_AWS_HEADERS_MAX]; /* its own, signed too; ended by NULL */
};

/* "20260102T030405Z" */
static void stamp_now(char out[32])
{
	char time[32];
	size_t length = 0;

	intent_time_format(intent_time_now(), time);
	for (const char *p = time; *p && *p != '.'; p++)
		if (*p != '-' && *p != ':')
			out[length++] = *p;
	out[length++] = 'Z';
	out[length] = '\0';
}

/* Signs and sends it to the object's place in a region. */
static int send_call(struct intent_http *http, const struct call *call, const char *region,
		     struct intent_http_response *ret, struct intent_error *err)
{
	place_auto struct place place = {0};
	intent_text_auto struct intent_text authorization = INTENT_TEXT_INIT;
	intent_free_auto char *host = NULL, *token = NULL;
	const char *headers[INTENT_AWS_HEADERS_MAX + 2] = {NULL};
	char payload[65], date[32], stamp[48], digest[96];
	size_t count = 0;

	if (find_place(call->object, region, &place, err))
		return err->code;
	intent_sha256_hex(call->body ? call->body : "", call->length, payload);
	stamp_now(date);
	snprintf(stamp, sizeof(stamp), "X-Amz-Date: %s", date);
	snprintf(digest, sizeof(digest), "X-Amz-Content-Sha256: %s", payload);
	host = intent_format("Host: %s", place.host);
	token = call->credentials->token ? intent_format("X-Amz-Security-Token: %s", call->credentials->token) : NULL;
	headers[count++] = host;
	headers[count++] = stamp;
	headers[count++] = digest;
	if (token)
		headers[count++] = token;
	for (size_t i = 0; call->headers[i] && count < INTENT_AWS_HEADERS_MAX; i++)
		headers[count++] = call->headers[i];
	struct intent_aws_request signing = {
		.method = call->method, .path = place.path, .query = "", .headers = headers, .payload = payload,
		.region = region, .service = "s3", .time = date,
	};
	if (intent_aws_sign(&signing, call->credentials, &authorization, err))
		return err->code;
	headers[count] = intent_text_str(&authorization);
	struct intent_http_request request = {
		.method = call->method, .url = place.url, .headers = headers, .body = call->body,
		.body_length = call->length, .timeout_ms = TIMEOUT_MS, .stall_ms = STALL_MS,
	};
	return intent_http_perform(http, &request, ret, NULL, err);
}

static int explain(const struct call *call, const struct intent_http_response *answer, struct intent_error *err)
{
	const struct intent_s3_object *object = call->object;
	const char *xml = intent_text_str(&answer->body);
	char code[64], message[256];
	int status = answer->status;

	intent__aws_xml_value(xml, "Code", code, sizeof(code));
	intent__aws_xml_value(xml, "Message", message, sizeof(message));
	intent_utf8_clean(code);
	intent_utf8_clean(message);
	if (status == 404)
		return intent_fail(err, INTENT_EABSENT, "s3://%s/%s: %s", object->bucket, object->key,
				   *code ? code : "does not exist");
	if (status == 403 && strcmp(code, "RequestTimeTooSkewed"))
		return intent_fail(err, INTENT_EREFUSED,
				   "s3://%s/%s: 403 %s with credentials from %s: they may not do this, or there is no "
				   "such key and they may not list the bucket (s3:ListBucket tells the two apart)",
				   object->bucket, object->key, code, call->credentials->source);
	if (status == 409 || status == 412)
		return intent_fail(err, INTENT_ECONFLICT, "s3://%s/%s: somebody wrote it in between (%d %s)",
				   object->bucket, object->key, status, code);
	if (status == 400 || status == 401 || status == 411 || status == 301)
		return intent_fail(err, INTENT_EREFUSED, "s3://%s/%s: %d %s: %s", object->bucket, object->key,
				   status, code, message);
	return intent_fail(err, INTENT_EUNAVAILABLE, "s3://%s/%s: %d %s: %s", object->bucket, object->key, status, code,
			   message);
}

/* Once more where the bucket is, when it is elsewhere. */
static int perform(struct intent_http *http, const struct call *call, struct intent_http_response *ret,
		   struct intent_error *err)
{
	char region[64];

	if (send_call(http, call, call->object->region, ret, err))
		return intent_wrap(err, "s3://%s/%s", call->object->bucket, call->object->key);
	if ((ret->status == 301 || ret->status == 307 || ret->status == 400) &&
	    intent_http_header(ret, "x-amz-bucket-region", region, sizeof(region)) &&
	    strcmp(region, call->object->region)) {
		intent_http_response_release(ret);
		*ret = (struct intent_http_response){0};
		if (send_call(http, call, region, ret, err))
			return intent_wrap(err, "s3://%s/%s", call->object->bucket, call->object->key);
	}
	if (ret->status == 304 || (ret->status >= 200 && ret->status < 300))
		return 0;
	explain(call, ret, err);
	intent_http_response_release(ret);
	*ret = (struct intent_http_response){0};
	return err->code;
}

int intent_s3_get(struct intent_http *http, const struct intent_s3_object *object,
		  const struct intent_aws_credentials *credentials, const char *etag,
		  struct intent_http_response *ret, struct intent_error *err)
{
	intent_free_auto char *condition = etag ? intent_format("If-None-Match: %s", etag) : NULL;
	struct call call = {.method = "GET", .object = object, .credentials = credentials, .headers = {condition}};

	return perform(http, &call, ret, err);
}

int intent_s3_put(struct intent_http *http, const struct intent_s3_object *object,
		  const struct intent_aws_credentials *credentials, const struct intent_s3_content *content,
		  struct intent_error *err)
{
	const char *etag = content->etag;
	struct call call = {.method = "PUT", .object = object, .credentials = credentials, .body = content->body,
			    .length = content->length};
	intent_free_auto char *type = intent_format("Content-Type: %s", content->type ? content->type : "application/json");
	intent_free_auto char *sealed =
		content->encryption ? intent_format("X-Amz-Server-Side-Encryption: %s", content->encryption) : NULL;
	intent_free_auto char *condition =
		!etag ? NULL : *etag ? intent_format("If-Match: %s", etag) : strdup("If-None-Match: *");
	struct intent_http_response answer = {0};
	size_t count = 0;
	int code;

	call.headers[count++] = type;
	if (sealed)
		call.headers[count++] = sealed;
	if (condition)
		call.headers[count++] = condition;
	if (content->metadata)
		call.headers[count++] = content->metadata;
	code = perform(http, &call, &answer, err);
	intent_http_response_release(&answer);
	return code;
}

int intent_s3_delete(struct intent_http *http, const struct intent_s3_object *object,
		     const struct intent_aws_credentials *credentials, struct intent_error *err)
{
	struct call call = {.method = "DELETE", .object = object, .credentials = credentials};
	struct intent_http_response answer = {0};
	int code = perform(http, &call, &answer, err);

	intent_http_response_release(&answer);
	return code == INTENT_EABSENT ? 0 : code;
}
