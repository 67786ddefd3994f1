/*
 * AWS as far as deploying needs it: credentials without static keys, request signing (Signature Version 4), one
 * object of S3 or of a server that speaks like it.
 *
 * Environment, as AWS' own tools read it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
 * AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE,
 * AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN,
 * AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_SERVICE_ENDPOINT, AWS_REGION,
 * AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL.
 */
#ifndef INTENT_AWS_H
#define INTENT_AWS_H

#include <intent/http.h>

/* ---- credentials ---- */

struct intent_aws_credentials {
	char *key_id, *secret;    /* owned; wiped when released */
	char *token;              /* of a session; NULL: long-lived keys */
	int64_t expires_ms;       /* wall clock; 0: never */
	const char *source;       /* static: where they came from, for messages */
};
void intent_aws_credentials_release(struct intent_aws_credentials *credentials);

/*
 * The first of: the environment's keys; a web identity (IRSA); the shared credentials file; a container's endpoint
 * (EKS Pod Identity, ECS); the instance's metadata (IMDSv2). A source that is configured and fails is an error: the
 * next one may be somebody else's role. INTENT_EABSENT names all five when there is none.
 */
int intent_aws_credentials_find(struct intent_http *http, const char *region,
				struct intent_aws_credentials *ret, struct intent_error *err);
/* AWS_REGION, AWS_DEFAULT_REGION, `given` (may be NULL), the instance's own. INTENT_EABSENT. */
int intent_aws_region(struct intent_http *http, const char *given, char ret[64], struct intent_error *err);

/* ---- signing: pure ---- */

struct intent_aws_request {
	const char *method;
	const char *path, *query;           /* both percent-encoded, parameters sorted; "" for no query */
	const char *const *headers;         /* NULL-terminated "Name: value"; all are signed, Host among them */
	const char *payload;                /* SHA-256 of the body as 64 hex digits, or "UNSIGNED-PAYLOAD" */
	const char *region, *service;       /* "eu-west-1", "s3" */
	const char *time;                   /* as the X-Amz-Date header has it: "20150830T123600Z" */
};
#define INTENT_AWS_HEADERS_MAX 32

/* Appends "Authorization: AWS4-HMAC-SHA256 ...". INTENT_ETOOBIG: more headers than that. */
int intent_aws_sign(const struct intent_aws_request *request, const struct intent_aws_credentials *credentials,
		    struct intent_text *ret, struct intent_error *err);

/* ---- one object ---- */

struct intent_s3_object {
	const char *bucket, *key;
	const char *region;
	const char *endpoint;     /* "http://127.0.0.1:9000": path style; NULL: AWS_ENDPOINT_URL_S3, else AWS */
};

/*
 * 0: ret->body is the object, and header "etag" its tag; or ret->status is 304 when `etag` (may be NULL) is still
 * its tag. INTENT_EABSENT: no such key (and bucket); INTENT_EREFUSED: 403, which also a missing key is for whom may not
 * list the bucket: the sentence says both; a bucket of another region is asked for there, once.
 */
int intent_s3_get(struct intent_http *http, const struct intent_s3_object *object,
		  const struct intent_aws_credentials *credentials, const char *etag,
		  struct intent_http_response *ret, struct intent_error *err);

struct intent_s3_content {
	const void *body;
	size_t length;
	const char *type;            /* NULL: "application/json" */
	const char *encryption;      /* "AES256", "aws:kms"; NULL: as the bucket does */
	const char *metadata;        /* "X-Amz-Meta-Name: value"; NULL: none */
	const char *etag;            /* only while this is its tag; "": only while there is none; NULL: whatever is there */
};
/* INTENT_ECONFLICT: it is not as `etag` says any more. */
int intent_s3_put(struct intent_http *http, const struct intent_s3_object *object,
		  const struct intent_aws_credentials *credentials, const struct intent_s3_content *content,
		  struct intent_error *err);
int intent_s3_delete(struct intent_http *http, const struct intent_s3_object *object,
		     const struct intent_aws_credentials *credentials, struct intent_error *err);

#endif
