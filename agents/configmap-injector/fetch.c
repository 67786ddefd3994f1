/* A Terraform state, fetched from where its backend keeps it. */
#include <errno.h>
#include <fcntl.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "injector.h"

#define TIMEOUT_MS 60000
#define STALL_MS 15000
/* The kernel's clock of files ticks so often: what changed since may have the same times. */
#define TICK_NS 20000000

bool injector__query(const char *url, const char *name, char *out, size_t room)
{
	const char *p = strchr(url, '?');
	size_t length = strlen(name);

	while (p) {
		p++;
		if (!strncmp(p, name, length) && p[length] == '=') {
			snprintf(out, room, "%.*s", (int)strcspn(p + length + 1, "&"), p + length + 1);
			return true;
		}
		p = strchr(p, '&');
	}
	return false;
}

/* Does it name a scheme under which nobody listens in? */
static bool is_sealed(const char *url)
{
	const char *end = strstr(url, "://");

	return end && end - url >= 5 && !strncmp(end - 5, "https", 5);
}

bool injector__is_at(const char *url, const char *other)
{
	const char *host = strstr(url, "://"), *other_host = other ? strstr(other, "://") : NULL;

	host = host ? host + 3 : url;
	other_host = other_host ? other_host + 3 : other;
	size_t length = strcspn(host, "/?");

	return other && length && strcspn(other_host, "/,") == length && !strncasecmp(host, other_host, length) &&
		(is_sealed(url) || !is_sealed(other));
}

/* ---- a local file ---- */

static int fetch_file(struct injector *injector, const char *path, const char *validator, struct injector_answer *ret,
		      struct intent_error *err)
{
	intent_free_auto char *bytes = NULL;
	struct timespec now;
	struct stat seen;
	size_t count;

	if (injector__check_below(injector, "source-dirs", path, err) < 0)
		return err->code;
	intent_round_watch(injector->round, path);
	if (stat(path, &seen) < 0)
		return errno == ENOENT || errno == ENOTDIR ? intent_fail(err, INTENT_EABSENT, "is not there") :
			intent_fail_errno(err, "cannot read");
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(ret->validator, sizeof(ret->validator), "%llu %lld %lld.%09ld %lld.%09ld",
		 (unsigned long long)seen.st_ino, (long long)seen.st_size,
		 (long long)seen.st_mtim.tv_sec, seen.st_mtim.tv_nsec,
		 (long long)seen.st_ctim.tv_sec, seen.st_ctim.tv_nsec);
	ret->is_settling = (now.tv_sec - seen.st_ctim.tv_sec) * 1000000000LL + now.tv_nsec - seen.st_ctim.tv_nsec <
		TICK_NS;
	ret->is_unchanged = validator && !strcmp(validator, ret->validator);
	if (ret->is_unchanged)
		return 0;
	if (intent_file_read(AT_FDCWD, path, INJECTOR_STATE_MAX, &bytes, &count, err) < 0)
		return err->code;
	intent_text_add(&ret->body, bytes, count);
	explicit_bzero(bytes, count);
	return 0;
}

/* ---- S3 ---- */

static int fetch_s3(struct injector *injector, const char *url, const char *validator, struct injector_answer *ret,
		    struct intent_error *err)
{
	char region[64] = "", endpoint[1024] = "", workspace[256] = "default", given[64] = "";
	const char *rest = url + strlen("s3://");
	size_t bucket_length = strcspn(rest, "/?"), key_length;
	intent_free_auto char *bucket = strndup(rest, bucket_length), *key = NULL;
	const struct intent_aws_credentials *credentials;
	struct intent_http_response response = {0};
	struct intent_http *http = injector__http(injector);
	int code;

	rest += bucket_length + (rest[bucket_length] == '/');
	key_length = strcspn(rest, "?");
	injector__query(url, "endpoint", endpoint, sizeof(endpoint));
	injector__query(url, "workspace", workspace, sizeof(workspace));
	key = !strcmp(workspace, "default") ? strndup(rest, key_length) :
		intent_format("env:/%s/%.*s", workspace, (int)key_length, rest);
	if (!bucket_length || !key_length)
		return intent_fail(err, INTENT_EMALFORMED, "must be s3://BUCKET/KEY");
	injector__query(url, "region", given, sizeof(given));
	if (!*given && *endpoint) /* a server of one's own has no regions */
		snprintf(given, sizeof(given), "us-east-1");
	if (intent_aws_region(http, *given ? given : NULL, region, err) < 0 ||
	    injector__credentials(injector, region, &credentials, err) < 0)
		return err->code;
	const struct intent_s3_object object = {
		.bucket = bucket, .key = key, .region = region, .endpoint = *endpoint ? endpoint : NULL,
	};
	code = intent_s3_get(http, &object, credentials, validator, &response, err);
	if (!code) {
		ret->is_unchanged = response.status == 304;
		intent_text_add(&ret->body, intent_text_str(&response.body), response.body.length);
		intent_http_header(&response, "etag", ret->validator, sizeof(ret->validator));
	}
	intent_http_response_release(&response);
	return code;
}

/* ---- HTTP ---- */

/* As Terraform's own backend has them; only to the server they are meant for. */
static void add_authorization(const char *url, struct intent_text *header)
{
	const char *user = getenv("TF_HTTP_USERNAME"), *password = getenv("TF_HTTP_PASSWORD");
	intent_free_auto char *pair = intent_format("%s:%s", user ? user : "", password ? password : "");

	if (!user || !pair || !injector__is_at(url, getenv("TF_HTTP_ADDRESS")))
		return;
	intent_text_puts(header, "Authorization: Basic ");
	intent_base64_encode(header, pair, strlen(pair));
}

static int check_status(const struct intent_http_response *response, struct intent_error *err)
{
	switch (response->status) {
	case 200: case 304:
		return 0;
	case 204: case 404:
		return intent_fail(err, INTENT_EABSENT, "is not there");
	case 401: case 403:
		return intent_fail(err, INTENT_EREFUSED, "the server refuses (%d): TF_HTTP_USERNAME and TF_HTTP_PASSWORD are "
				   "sent to the server of TF_HTTP_ADDRESS", response->status);
	default:
		return intent_fail(err, INTENT_ESOURCE, "the server answers %d", response->status);
	}
}

static int fetch_http(struct injector *injector, const char *url, const char *validator, struct injector_answer *ret,
		      struct intent_error *err)
{
	intent_text_auto struct intent_text authorization = INTENT_TEXT_INIT;
	intent_free_auto char *condition = validator ? intent_format("If-None-Match: %s", validator) : NULL;
	const char *headers[3] = {NULL, NULL, NULL};
	struct intent_http_response response = {0};
	size_t count = 0;
	int code;

	add_authorization(url, &authorization);
	if (authorization.length)
		headers[count++] = intent_text_str(&authorization);
	if (condition && *validator)
		headers[count++] = condition;
	const struct intent_http_request request = {
		.url = url, .headers = headers, .timeout_ms = TIMEOUT_MS, .stall_ms = STALL_MS,
		.body_max = INJECTOR_STATE_MAX,
	};
	code = intent_http_perform(injector__http(injector), &request, &response, NULL, err);
	if (!code)
		code = check_status(&response, err);
	if (!code) {
		ret->is_unchanged = response.status == 304;
		intent_text_add(&ret->body, intent_text_str(&response.body), response.body.length);
		intent_http_header(&response, "etag", ret->validator, sizeof(ret->validator));
	}
	intent_http_response_release(&response);
	return code;
}

/* ---- Kubernetes ---- */

static int fetch_kubernetes(struct injector *injector, const char *url, const char *validator,
			    struct injector_answer *ret,
			    struct intent_error *err)
{
	const char *rest = url + strlen("kubernetes://");
	size_t length = strcspn(rest, "/?");
	intent_free_auto char *namespace = strndup(rest, length), *name = NULL;
	intent_json_auto json_t *secret = NULL;
	struct intent_kube *kube = NULL;
	char workspace[256] = "default";
	const char *data;
	int64_t again = -1;

	rest += length + (rest[length] == '/');
	injector__query(url, "workspace", workspace, sizeof(workspace));
	name = intent_format("tfstate-%s-%.*s", workspace, (int)strcspn(rest, "?"), rest);
	if (!namespace || !name || !length || !strcspn(rest, "?"))
		return intent_fail(err, INTENT_EMALFORMED, "must be kubernetes://NAMESPACE/SECRET_SUFFIX");
	if (injector__kube(injector, &kube, err) < 0)
		return err->code;
	if (intent_kube_get(kube, "Secret", namespace, name, &secret, &again, err) < 0) {
		if (again >= 0)
			intent_round_again(injector->round, again);
		return err->code;
	}
	data = intent_json_string(json_object_get(secret, "data"), "tfstate", NULL);
	if (!data)
		return intent_fail(err, INTENT_EABSENT, "is not there");
	snprintf(ret->validator, sizeof(ret->validator), "%s",
		 intent_json_string(json_object_get(secret, "metadata"), "resourceVersion", ""));
	ret->is_unchanged = validator && *validator && !strcmp(validator, ret->validator);
	return intent_base64_decode(&ret->body, data, strlen(data), err);
}

/* ---- all ---- */

static const struct backend {
	const char *scheme;
	int (*fetch)(struct injector *injector, const char *url, const char *validator, struct injector_answer *ret,
		     struct intent_error *err);
} backends[] = {
	{"/", fetch_file}, {"s3://", fetch_s3},
	{"consul://", injector__fetch_consul}, {"consul+https://", injector__fetch_consul},
	{"http://", fetch_http}, {"https://", fetch_http}, {"kubernetes://", fetch_kubernetes},
};

static int check_md5(const struct injector_answer *answer, struct intent_error *err)
{
	unsigned char md5[INTENT_DIGEST_MAX];
	char hex[2 * INTENT_DIGEST_MAX + 1] = "";
	struct intent_digest *digest = *answer->md5 ? intent_digest_new(INTENT_MD5) : NULL;

	/* Where policy knows no MD5, there is nothing to compare with. */
	if (!digest)
		return 0;
	intent_digest_add(digest, intent_text_str(&answer->body), answer->body.length);
	intent_hex(hex, md5, intent_digest_finish(digest, md5));
	intent_digest_free(digest);
	return strcmp(hex, answer->md5) ? intent_fail(err, INTENT_ESOURCE, "its parts do not belong together: it may be being "
						      "written") : 0;
}

int injector__fetch(struct injector *injector, const char *url, const char *validator, struct injector_answer *ret,
		    struct intent_error *err)
{
	const char *authority = strstr(url, "://");

	if (authority && memchr(authority, '@', strcspn(authority + 3, "/") + 3))
		return intent_fail(err, INTENT_EREFUSED, "credentials have no place in a document: TF_HTTP_USERNAME, "
				   "TF_HTTP_PASSWORD");
	for (size_t i = 0; i < sizeof(backends) / sizeof(*backends); i++) {
		if (!intent_starts_with(url, backends[i].scheme))
			continue;
		if (backends[i].fetch(injector, url, validator, ret, err) < 0)
			return err->code;
		if (ret->is_unchanged)
			return 0;
		if (ret->body.failed)
			return intent_fail(err, INTENT_ETOOBIG, "is longer than %u bytes", INJECTOR_STATE_MAX);
		return injector__gunzip(&ret->body, err) < 0 ? err->code : check_md5(ret, err);
	}
	return intent_fail(err, INTENT_EMALFORMED, "must be an absolute path, s3://, consul://, consul+https://, http://, "
			   "https:// or kubernetes://");
}

void injector__answer_release(struct injector_answer *answer)
{
	if (answer->body.data)
		explicit_bzero(answer->body.data, answer->body.length);
	intent_text_release(&answer->body);
}
