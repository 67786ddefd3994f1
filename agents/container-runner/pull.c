/* Images from registries; the engine fetches them. */
#include "engine.h"

#define LINE_MAX_BYTES (64u << 10)
#define STALL_MS 120000           /* without a word */

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
		return intent_fail(&pulling->err, INTENT_EUNAVAILABLE, "%.300s", error);
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

/* name:tag and name@digest apart: without a tag the engine would fetch them all. */
static void add_reference(struct intent_text *url, const char *image)
{
	const char *slash = strrchr(image, '/'), *last = slash ? slash : image;
	const char *tag = strchr(image, '@') ? NULL : strchr(last, ':');
	intent_free_auto char *name = tag ? strndup(image, (size_t)(tag - image)) : strdup(image);

	intent_text_puts(url, "/images/create?fromImage=");
	engine__escape(url, name);
	if (!strchr(image, '@')) {
		intent_text_puts(url, "&tag=");
		engine__escape(url, tag ? tag + 1 : "latest");
	}
}

/* The last line may lack its end; half of one means that the rest is missing, too. */
static int hear_last(struct pulling *pulling, struct intent_error *err)
{
	intent_json_auto json_t *said = NULL;
	const char *line = intent_text_str(&pulling->line);

	if (!line[strspn(line, " \r\t")])
		return 0;
	if (intent_json_parse(line, pulling->line.length, 0, &said, err))
		return intent_fail(err, INTENT_EUNAVAILABLE, "the engine's answer ends in the middle of a line");
	return hear(pulling) ? intent_fail(err, INTENT_ESTALE, "given up") : 0;
}

/* Registries have words of their own, and engines pass them on. */
static bool has_one_of(const char *words, const char *const *known)
{
	for (; *known; known++)
		if (strcasestr(words, *known))
			return true;
	return false;
}

static int judge(const struct engine *engine, const struct pulling *pulling, const char *account, int code,
		 struct intent_error *err)
{
	static const char *const access[] = {
		"denied", "unauthorized", "authentication", "auth credentials", "forbidden", NULL,
	}, *const absent[] = { "manifest unknown", "name unknown", NULL };

	if (pulling->err.code)
		*err = pulling->err;
	else if (!code)
		return 0;
	else if (code == INTENT_EUNKNOWN)
		err->code = INTENT_EUNAVAILABLE; /* a second time does no harm */
	else if (code == INTENT_EABSENT)
		err->code = INTENT_EIMAGE;
	if (!engine->spoke && !pulling->err.code)
		return err->code;
	if (has_one_of(err->msg, absent))
		err->code = INTENT_EIMAGE;
	if (has_one_of(err->msg, access))
		return intent_fail(err, err->code, "%.250s; %s", err->msg, account);
	return err->code;
}

int engine__pull(struct engine *engine, const char *image, engine__progress progress, void *data,
		 struct intent_error *err)
{
	struct pulling pulling = { .progress = progress, .data = data };
	intent_text_auto struct intent_text url = INTENT_TEXT_INIT;
	struct intent_http_response response = { 0 };
	char words[400];
	intent_free_auto char *account = engine__account(image, words);
	const char *headers[] = { account, NULL };
	struct intent_http_request request = {
		.method = "POST", .headers = headers, .stall_ms = STALL_MS, .once = true,
		.on_body = on_body, .data = &pulling,
	};

	intent_text_puts(&url, engine->base);
	add_reference(&url, image);
	request.url = intent_text_str(&url);
	int code = engine__perform(engine, &request, &response, err);
	if (!code)
		code = hear_last(&pulling, err);
	code = judge(engine, &pulling, words, code, err);
	intent_text_release(&pulling.line);
	intent_http_response_release(&response);
	if (account)
		explicit_bzero(account, strlen(account));
	return code ? intent_wrap(err, "pulling %.200s", image) : 0;
}
