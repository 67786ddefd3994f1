/* The Docker Engine API over its socket. */
#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine.h"

#define API_MAJOR 1
#define API_MINOR 44              /* the newest that is known here; the oldest that a Docker of 2026 takes */
#define CALL_MS 30000             /* of one exchange */
#define LOGS_MAX (1u << 20)

static const char *const sockets[] = { "/var/run/docker.sock", "/run/podman/podman.sock" };

/* ---- where it is ---- */

/* The usual places; of a person without root, Podman's own last. */
static void find_socket(char out[256])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char own[200];

	for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
		if (!access(sockets[i], F_OK)) {
			snprintf(out, 256, "unix://%s", sockets[i]);
			return;
		}
	snprintf(own, sizeof own, "%s/podman/podman.sock", runtime ? runtime : "");
	snprintf(out, 256, "unix://%s", runtime && !access(own, F_OK) ? own : sockets[0]);
}

static int open_tcp(const char *address, struct engine *engine, struct intent_error *err)
{
	const char *verify = getenv("DOCKER_TLS_VERIFY"), *path = getenv("DOCKER_CERT_PATH");
	bool tls = verify && *verify;
	intent_free_auto char *ca = intent_format("%s/ca.pem", path ? path : "");
	intent_free_auto char *cert = intent_format("%s/cert.pem", path ? path : "");
	intent_free_auto char *key = intent_format("%s/key.pem", path ? path : "");
	struct intent_http_settings settings = {
		.ca_file = tls && path ? ca : NULL, .cert_file = tls && path ? cert : NULL,
		.key_file = tls && path ? key : NULL, .max_connections = 1,
	};

	snprintf(engine->base, sizeof engine->base, "%s://%.250s", tls ? "https" : "http", address);
	return intent_http_new(&settings, &engine->http, err);
}

static int connect_to(const char *host, struct engine *engine, struct intent_error *err)
{
	struct sockaddr_un room;

	if (host && *host)
		snprintf(engine->where, sizeof engine->where, "%s", host);
	else
		find_socket(engine->where);
	if (intent_starts_with(engine->where, "tcp://"))
		return open_tcp(engine->where + strlen("tcp://"), engine, err);
	const char *path = engine->where + strlen("unix://");
	if (!intent_starts_with(engine->where, "unix://") || *path != '/' || strlen(path) >= sizeof room.sun_path)
		return intent_fail(err, INTENT_EUSAGE,
				   "the engine's address %s is not understood; DOCKER_HOST must be "
				   "unix:///PATH or tcp://HOST:PORT", engine->where);
	struct intent_http_settings settings = { .unix_socket = path, .max_connections = 1 };

	snprintf(engine->base, sizeof engine->base, "http://localhost");
	return intent_http_new(&settings, &engine->http, err);
}

/* ---- one exchange ---- */

/* What the engine says is wrong, else the first line of it. */
static void words_of(const struct intent_http_response *response, char out[400])
{
	intent_json_auto json_t *json = NULL;
	struct intent_error ignored;

	intent_json_parse(intent_text_str(&response->body), response->body.length, 0, &json, &ignored);
	snprintf(out, 400, "%.*s", 390, intent_json_string(json, "message", intent_text_str(&response->body)));
	out[strcspn(out, "\r\n")] = '\0';
	intent_utf8_clean(out);
}

static int code_of(int status)
{
	return status == 404 ? INTENT_EABSENT : status == 409 ? INTENT_ECONFLICT :
		status >= 500 ? INTENT_EUNAVAILABLE : INTENT_EREFUSED;
}

static int perform(struct engine *engine, struct intent_http_request *request, struct intent_http_response *response,
		   struct intent_error *err)
{
	bool sent = false, changes = request->method && strcmp(request->method, "GET") != 0;
	char words[400];

	if (intent_http_perform(engine->http, request, response, &sent, err)) {
		if (sent && changes && (err->code == INTENT_EUNAVAILABLE || err->code == INTENT_ETIMEOUT))
			err->code = INTENT_EUNKNOWN;
		return intent_wrap(err, "the engine at %s", engine->where);
	}
	if (response->status < 400)
		return 0;
	words_of(response, words);
	return intent_fail(err, code_of(response->status), "the engine says: %s",
			   *words ? words : "nothing but an error status");
}

static int call(struct engine *engine, const char *method, const char *path, const json_t *body, int64_t patience_ms,
		struct intent_http_response *response, struct intent_error *err)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	intent_free_auto char *url = intent_format("%s%s", engine->base, path);
	intent_free_auto char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct intent_http_request request = {
		.method = method, .url = url, .headers = headers, .body = text,
			.body_length = text ? strlen(text) : 0,
		.timeout_ms = CALL_MS + patience_ms, .once = strcmp(method, "GET") != 0,
	};

	if (!url || (body && !text))
		return intent_fail(err, -ENOMEM, "out of memory");
	int code = perform(engine, &request, response, err);
	/* The environment of a container is in it. */
	if (text)
		explicit_bzero(text, strlen(text));
	return code;
}

void engine__escape(struct intent_text *path, const char *word)
{
	intent_url_escape(path, word, "");
}

void engine__filter(struct intent_text *path, const char *name, const json_t *values)
{
	intent_json_auto json_t *filters = json_pack("{sO}", name, values);
	intent_free_auto char *text = json_dumps(filters, JSON_COMPACT);

	intent_text_puts(path, "filters=");
	engine__escape(path, text ? text : "");
}

int engine__get(struct engine *engine, const char *path, json_t **ret_new, struct intent_error *err)
{
	struct intent_http_response response = { 0 };
	int code = call(engine, "GET", path, NULL, 0, &response, err);

	if (!code)
		code = intent_json_parse(intent_text_str(&response.body), response.body.length, 0, ret_new, err);
	intent_http_response_release(&response);
	return code;
}

int engine__change(struct engine *engine, const char *method, const char *path, const json_t *body,
		   int64_t patience_ms, json_t **ret_new, struct intent_error *err)
{
	struct intent_http_response response = { 0 };
	struct intent_error ignored;
	int code = call(engine, method, path, body, patience_ms, &response, err);

	if (!code && ret_new &&
	    intent_json_parse(intent_text_str(&response.body), response.body.length, 0, ret_new, &ignored))
		*ret_new = json_object();
	intent_http_response_release(&response);
	return code;
}

/* ---- opening ---- */

/* The newer of the two sides speaks as the older does. */
static void choose_version(struct engine *engine, const struct intent_http_response *response)
{
	char theirs[32] = "";
	int major = 0, minor = 0;
	size_t length = strlen(engine->base);

	if (!intent_http_header(response, "api-version", theirs, sizeof theirs) ||
	    sscanf(theirs, "%3d.%5d", &major, &minor) != 2)
		return;
	if (major > API_MAJOR || (major == API_MAJOR && minor > API_MINOR)) {
		major = API_MAJOR;
		minor = API_MINOR;
	}
	snprintf(engine->base + length, sizeof engine->base - length, "/v%d.%d", major, minor);
}

int engine__open(const char *host, int64_t patience_ms, struct engine *ret, struct intent_error *err)
{
	struct intent_http_response response = { 0 };
	struct engine engine = { 0 };

	if (connect_to(host, &engine, err))
		return err->code;
	intent_free_auto char *url = intent_format("%s/_ping", engine.base);
	struct intent_http_request request = { .url = url, .timeout_ms = patience_ms };
	int code = url ? perform(&engine, &request, &response, err) : -ENOMEM;

	if (!code)
		choose_version(&engine, &response);
	else if (!response.status)
		code = intent_fail(err, INTENT_EENGINE,
				   "no container engine answers at %.200s (%.150s): start Docker or Podman, "
				   "set DOCKER_HOST, or let this user reach its socket", engine.where, err->msg);
	intent_http_response_release(&response);
	if (code)
		engine__close(&engine);
	else
		*ret = engine;
	return code;
}

void engine__close(struct engine *engine)
{
	intent_http_free(engine->http);
	engine->http = NULL;
}

/* ---- files and logs ---- */

/* One regular file in the oldest tar that there is. */
static void add_tar(struct intent_text *tar, const char *name, const char *bytes)
{
	char block[512] = "";
	size_t count = strlen(bytes);
	unsigned sum = 0;

	snprintf(block, 100, "%s", name);
	memcpy(block + 100, "0000444", 8);
	memcpy(block + 108, "0000000", 8);
	memcpy(block + 116, "0000000", 8);
	snprintf(block + 124, 12, "%011o", (unsigned)count);
	memcpy(block + 136, "00000000000", 12);
	memset(block + 148, ' ', 8);
	block[156] = '0';
	memcpy(block + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof block; i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	intent_text_add(tar, block, sizeof block);
	intent_text_add(tar, bytes, count);
	memset(block, 0, sizeof block);
	intent_text_add(tar, block, (512 - count % 512) % 512);
	intent_text_add(tar, block, 512);
	intent_text_add(tar, block, 512);
}

int engine__put_file(struct engine *engine, const char *container, const char *path, const char *bytes,
		     struct intent_error *err)
{
	static const char *const headers[] = { "Content-Type: application/x-tar", NULL };
	intent_free_auto char *url = intent_format("%s/containers/%s/archive?path=%%2F", engine->base, container);
	intent_text_auto struct intent_text tar = INTENT_TEXT_INIT;
	struct intent_http_response response = { 0 };

	add_tar(&tar, path + 1, bytes);
	if (!url || tar.failed)
		return intent_fail(err, -ENOMEM, "out of memory");
	struct intent_http_request request = {
		.method = "PUT", .url = url, .headers = headers, .body = tar.data, .body_length = tar.length,
		.timeout_ms = CALL_MS, .once = true,
	};
	int code = perform(engine, &request, &response, err);

	intent_http_response_release(&response);
	return code ? intent_wrap(err, "%s in the container", path) : 0;
}

/* Without a terminal each piece has a head of eight bytes: its stream, and how long it is. */
static void add_frames(struct intent_text *out, const char *bytes, size_t count)
{
	while (count > 8 && (unsigned char)*bytes <= 2 && !bytes[1] && !bytes[2] && !bytes[3]) {
		const unsigned char *b = (const unsigned char *)bytes;
		size_t length = (size_t)b[4] << 24 | (size_t)b[5] << 16 | (size_t)b[6] << 8 | b[7];

		if (length > count - 8)
			length = count - 8;
		intent_text_add(out, bytes + 8, length);
		bytes += 8 + length;
		count -= 8 + length;
	}
	intent_text_add(out, bytes, count);
}

int engine__logs(struct engine *engine, const char *container, int lines, struct intent_text *out,
		 struct intent_error *err)
{
	intent_free_auto char *url = intent_format("%s/containers/%s/logs?stdout=1&stderr=1&tail=%d", engine->base,
						   container, lines);
	struct intent_http_response response = { 0 };
	struct intent_http_request request = { .url = url, .timeout_ms = CALL_MS, .body_max = LOGS_MAX };

	if (!url)
		return intent_fail(err, -ENOMEM, "out of memory");
	int code = perform(engine, &request, &response, err);

	if (!code)
		add_frames(out, intent_text_str(&response.body), response.body.length);
	intent_http_response_release(&response);
	return code;
}
