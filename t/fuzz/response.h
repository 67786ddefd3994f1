/*
 * An exchange as test-data/recordings has them, or any bytes, as a response: what follows "# response"
 * (or everything): a status line, headers, an empty line, the body.
 */
#ifndef FUZZ_RESPONSE_H
#define FUZZ_RESPONSE_H

#include <ctype.h>
#include <intent/http.h>

static inline void fuzz_header(struct intent_text *headers, const char *line, size_t length)
{
	const char *colon = memchr(line, ':', length);

	/* As http-exchange.c: names in lower case, no line without a colon. */
	if (!colon || memchr(line, '\0', length))
		return;
	for (const char *at = line; at < colon; at++)
		intent_text_add(headers, &(char){(char)tolower((unsigned char)*at)}, 1);
	intent_text_add(headers, colon, (size_t)(line + length - colon));
	intent_text_puts(headers, "\n");
}

static inline struct intent_http_response fuzz_response(const uint8_t *bytes, size_t count)
{
	struct intent_http_response response = {.status = 200};
	static const char mark[] = "# response\n";
	const char *at = (const char *)bytes, *end = at + count, *line;
	const char *found = memmem(at, count, mark, sizeof mark - 1);

	if (found)
		at = found + sizeof mark - 1;
	for (; at < end; at = line + 1) {
		line = memchr(at, '\n', (size_t)(end - at));
		if (!line || line == at)
			break;
		if (line - at >= 12 && !memcmp(at, "HTTP/1.1 ", 9) && isdigit((unsigned char)at[9]) &&
		    isdigit((unsigned char)at[10]) && isdigit((unsigned char)at[11]))
			response.status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + at[11] - '0';
		else
			fuzz_header(&response.headers, at, (size_t)(line - at));
	}
	if (at < end && *at == '\n')
		at++;
	intent_text_add(&response.body, at, (size_t)(end - at));
	return response;
}

/* A function's word: 0, or a code with its sentence. */
static inline bool fuzz_good(int code, const struct intent_error *err)
{
	if (code && (code > 0 || err->code != code || !err->msg[0] || strchr(err->msg, '\n')))
		abort();
	return !code;
}

#endif
