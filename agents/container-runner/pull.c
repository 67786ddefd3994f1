/* Images from registries; the engine fetches them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <intent/file.h>
#include "engine.h"

#define LINE_MAX_BYTES (64u << 10)
#define STALL_MS 120000           /* without a word */
#define ACCOUNTS_MAX (1u << 20)
#define HUB "https://index.docker.io/v1/"

/* The stream of an answer: JSON documents, a line each. That it begins with 200 means nothing. */
struct pulling {
	engine__progress progress;
	void *data;
	struct intent_text line;
	struct intent_error err;
};

static int hear(struct pulling *pulling)
{
	intent_json_auto json_t *said = NULL;
	struct intent_error ignored;

	if (intent_json_parse(intent_text_str(&pulling->line), pulling->line.length, 0, &said, &ignored))
		return 0;
	const char *error = intent_json_string(said, "error", NULL);
	if (error)
		return intent_fail(&pulling->err, INTENT_EUNAVAILABLE, "%.400s", error);
	return pulling->progress(intent_json_string(said, "status", ""), pulling->data);
}

static int on_body(const void *bytes, size_t count, void *data)
{
	struct pulling *pulling = data;

	for (const char *p = bytes; count; p++, count--) {
		int code = 0;

		if (*p == '\n') {
			code = hear(pulling);
			intent_text_clear(&pulling->line);
		} else if (pulling->line.length < LINE_MAX_BYTES) {
			intent_text_add(&pulling->line, p, 1);
		}
		if (code)
			return code;
	}
	return 0;
}

/* ---- accounts ---- */

/* The registry of a name is what stands before its first slash, if that looks like a host. */
static void registry_of(const char *image, char out[256])
{
	size_t length = strcspn(image, "/");

	if (length < 255 && image[length] && (memchr(image, '.', length) || memchr(image, ':', length) ||
					      !strncmp(image, "localhost", length)))
		snprintf(out, 256, "%.*s", (int)length, image);
	else
		snprintf(out, 256, "%s", HUB);
}

/* The account for a registry, as `docker login` left it; helpers of credentials are not asked. */
static json_t *account_of(const char *registry)
{
	const char *directory = getenv("DOCKER_CONFIG"), *home = getenv("HOME");
	intent_free_auto char *path = directory ? intent_format("%s/config.json", directory) :
		intent_format("%s/.docker/config.json", home ? home : "");
	intent_json_auto json_t *config = NULL;
	intent_text_auto struct intent_text pair = INTENT_TEXT_INIT;
	struct intent_error ignored;
	json_t *account = NULL;

	if (!path || intent_file_read_json(path, ACCOUNTS_MAX, &config, &ignored))
		return NULL;
	const char *auth = intent_json_string(json_object_get(json_object_get(config, "auths"), registry),
					      "auth", "");
	if (!*auth || intent_base64_decode(&pair, auth, strlen(auth), &ignored))
		return NULL;
	const char *colon = strchr(intent_text_str(&pair), ':');
	if (colon)
		account = json_pack("{ss% ss ss}", "username", pair.data, (size_t)(colon - pair.data),
				    "password", colon + 1, "serveraddress", registry);
	explicit_bzero(pair.data, pair.length);
	return account;
}

/* X-Registry-Auth: base64 with - and _; owned, NULL: no account. */
static char *account_header(const char *image)
{
	char registry[256];

	registry_of(image, registry);
	intent_json_auto json_t *account = account_of(registry);
	intent_free_auto char *text = account ? json_dumps(account, JSON_COMPACT) : NULL;
	intent_text_auto struct intent_text header = INTENT_TEXT_INIT;

	if (!text)
		return NULL;
	intent_text_puts(&header, "X-Registry-Auth: ");
	intent_base64_encode(&header, text, strlen(text));
	for (char *p = header.data ? header.data + strlen("X-Registry-Auth:") : NULL; p && *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	explicit_bzero(text, strlen(text));
	return intent_text_steal(&header);
}

/* ---- all of it ---- */

/* name:tag and name@digest apart: without a tag the engine would fetch them all. */
static void add_reference(struct intent_text *url, const char *image)
{
	const char *slash = strrchr(image, '/'), *last = slash ? slash : image;
	const char *tag = strchr(image, '@') ? NULL : strchr(last, ':');
	intent_free_auto char *name = tag ? strndup(image, (size_t)(tag - image)) : strdup(image);

	intent_text_puts(url, "/images/create?fromImage=");
	engine__escape(url, name ? name : image);
	if (!strchr(image, '@')) {
		intent_text_puts(url, "&tag=");
		engine__escape(url, tag ? tag + 1 : "latest");
	}
}

int engine__pull(struct engine *engine, const char *image, engine__progress progress, void *data,
		 struct intent_error *err)
{
	struct pulling pulling = { .progress = progress, .data = data };
	intent_text_auto struct intent_text url = INTENT_TEXT_INIT;
	intent_free_auto char *account = account_header(image);
	const char *headers[] = { account, NULL };
	struct intent_http_response response = { 0 };
	struct intent_http_request request = {
		.method = "POST", .headers = headers, .stall_ms = STALL_MS, .once = true,
		.on_body = on_body, .data = &pulling,
	};

	intent_text_puts(&url, engine->base);
	add_reference(&url, image);
	request.url = intent_text_str(&url);
	int code = intent_http_perform(engine->http, &request, &response, NULL, err);
	/* The last line may lack its end. */
	if (!code && response.status < 300)
		code = hear(&pulling);
	if (pulling.err.code)
		*err = pulling.err;
	else if (!code && response.status >= 300)
		code = intent_fail(err, response.status == 404 ? INTENT_EIMAGE : INTENT_EUNAVAILABLE, "%.300s",
				   intent_text_str(&response.body));
	intent_text_release(&pulling.line);
	intent_http_response_release(&response);
	if (account)
		explicit_bzero(account, strlen(account));
	return code || pulling.err.code ? intent_wrap(err, "pulling %.200s", image) : 0;
}
