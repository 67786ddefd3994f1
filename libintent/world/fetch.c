#include <intent/fetch.h>

enum { REDIRECTS = 5, FRUITLESS_MAX = 4, PAUSE_MS = 100, PROGRESS_PAUSE_MS = 20 };

struct fetching {
	const struct intent_fetch *fetch;
	char shown[512];
	char validator[256];     /* strong ETag or Last-Modified of the first answer */
	bool by_etag;
	uint64_t total;          /* 0: not known */
	uint64_t got;            /* bytes handed on */
	uint64_t skip;           /* bytes of this answer that were handed on before */
	bool begun;
	int status;              /* of the answer under way */
	struct intent_error err; /* of the callbacks; code 0: none */
};

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

char *intent_fetch_path(const char *url)
{
	intent_text_auto struct intent_text path = INTENT_TEXT_INIT;

	if (intent_starts_with(url, "file://localhost/"))
		url += strlen("file://localhost");
	else if (intent_starts_with(url, "file:///"))
		url += strlen("file://");
	else
		return NULL;
	for (; *url && *url != '?' && *url != '#'; url++) {
		char c = *url;

		if (c == '%') {
			int high = hex_digit(url[1]), low = high < 0 ? -1 : hex_digit(url[2]);

			if (low < 0 || (high == 0 && low == 0))
				return NULL;
			c = (char)(high << 4 | low);
			url += 2;
		}
		intent_text_add(&path, &c, 1);
	}
	return intent_text_steal(&path);
}

void intent_fetch_show(const char *url, char out[512])
{
	intent_free_auto char *path = intent_fetch_path(url);
	const char *host = strstr(url, "://"), *at;
	size_t end;

	if (path || !host) {
		snprintf(out, 512, "%s", path ? path : url);
	} else {
		host += 3;
		end = strcspn(host, "/?#");
		at = memchr(host, '@', end);
		for (const char *next = at; next; next = memchr(next + 1, '@', end - (size_t)(next + 1 - host)))
			at = next;
		snprintf(out, 512, "%.*s%.*s", (int)(host - url), url, (int)strcspn(at ? at + 1 : host, "?#"),
			 at ? at + 1 : host);
	}
	if (!intent_utf8_is_clean(out, strlen(out)))
		for (char *c = out; *c; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
}

/* ---- one answer ---- */

static bool find_validator(const struct intent_http_response *response, char out[256], bool *ret_by_etag)
{
	*ret_by_etag = true;
	if (intent_http_header(response, "etag", out, 256) && out[0] == '"')
		return true;
	*ret_by_etag = false;
	if (intent_http_header(response, "last-modified", out, 256))
		return true;
	out[0] = '\0';
	return false;
}

static int on_first(struct fetching *f, const struct intent_http_response *response)
{
	char length[32];
	int64_t total = 0;
	struct intent_error ignored;

	(void)find_validator(response, f->validator, &f->by_etag);
	if (intent_http_header(response, "content-length", length, sizeof(length)) &&
	    intent_integer_parse(length, 0, INT64_MAX, &total, &ignored) == 0)
		f->total = (uint64_t)total;
	f->begun = true;
	return f->fetch->on_begin ? f->fetch->on_begin(f->total, f->fetch->data, &f->err) : 0;
}

static int changed(struct fetching *f)
{
	return intent_fail(&f->err, INTENT_EUNAVAILABLE, "%s: changed while it was fetched", f->shown);
}

static int on_later(struct fetching *f, const struct intent_http_response *response)
{
	char value[256];
	bool by_etag;
	unsigned long long start;

	if (response->status == 206) {
		f->skip = 0;
		if (intent_http_header(response, "content-range", value, sizeof(value)) &&
		    sscanf(value, "bytes %llu-", &start) == 1 && start == f->got)
			return 0;
		return intent_fail(&f->err, INTENT_EUNAVAILABLE, "%s: the server answered with another "
				   "range than was asked for", f->shown);
	}
	if (!find_validator(response, value, &by_etag) || by_etag != f->by_etag ||
	    strcmp(value, f->validator) != 0)
		return changed(f);
	f->skip = f->got;
	return 0;
}

static int on_headers(const struct intent_http_response *response, void *data)
{
	struct fetching *f = data;

	f->status = response->status;
	/* The page that goes with an error is not worth reading. */
	if (f->status != 200 && f->status != 206)
		return INTENT_EUNAVAILABLE;
	return f->begun && f->got > 0 ? on_later(f, response) : f->begun ? 0 : on_first(f, response);
}

static int on_body(const void *bytes, size_t count, void *data)
{
	struct fetching *f = data;
	const char *at = bytes;

	if (f->skip > 0) {
		size_t known = f->skip < count ? (size_t)f->skip : count;

		f->skip -= known;
		at += known;
		count -= known;
	}
	if (count == 0)
		return 0;
	f->got += count;
	return f->fetch->on_bytes(at, count, f->fetch->data, &f->err);
}

/* ---- all of them ---- */

static int attempt(struct intent_http *http, struct fetching *f, struct intent_error *err)
{
	intent_free_auto char *condition = intent_format("If-Range: %s", f->validator);
	const char *headers[] = {condition, NULL};
	struct intent_http_response response = {0};
	struct intent_http_request request = {
		.url = f->fetch->url,
		.headers = f->got > 0 && f->validator[0] ? headers : NULL,
		.stall_ms = f->fetch->stall_ms,
		.redirects = REDIRECTS,
		.allow_file = true,
		.offset = f->got,
		.on_body = on_body,
		.on_headers = on_headers,
		.data = f,
	};
	int code;

	f->status = 0;
	code = intent_http_perform(http, &request, &response, NULL, err);
	intent_http_response_release(&response);
	if (f->err.code) {
		*err = f->err;
		return err->code;
	}
	return code;
}

/* What an attempt came to: 0 done, else the error; *ret_again: worth another one. */
static int judge(const struct fetching *f, int code, bool *ret_again, struct intent_error *err)
{
	*ret_again = f->begun && f->validator[0] && !f->err.code;
	if (f->status == 404) {
		*ret_again = false;
		return intent_fail(err, INTENT_EABSENT, "%s: not there", f->shown);
	}
	if (f->status && f->status != 200 && f->status != 206)
		return intent_fail(err, INTENT_EUNAVAILABLE, "%s: the server answered with status %d",
				   f->shown, f->status);
	if (code)
		return code;
	if (f->total && f->got != f->total)
		return intent_fail(err, INTENT_EUNAVAILABLE, "%s: %llu bytes came instead of %llu", f->shown,
				   (unsigned long long)f->got, (unsigned long long)f->total);
	return 0;
}

int intent_fetch_run(const struct intent_fetch *fetch, struct intent_error *err)
{
	struct fetching f = {.fetch = fetch};
	struct intent_http_settings settings = {.ca_file = fetch->ca_file, .ca_option = fetch->ca_option};
	struct intent_http *http;
	int fruitless = 0, code = 0;

	intent_fetch_show(fetch->url, f.shown);
	if (intent_starts_with(fetch->url, "https:"))
		code = intent_http_settings_check(&settings, err);
	http = intent_http_new(&settings);
	while (!code) {
		uint64_t before = f.got;
		bool again = false;
		long pause;

		code = judge(&f, attempt(http, &f, err), &again, err);
		fruitless = f.got > before ? 0 : fruitless + 1;
		if (!code || !again || fruitless > FRUITLESS_MAX)
			break;
		pause = fruitless ? (long)PAUSE_MS << fruitless : PROGRESS_PAUSE_MS;
		nanosleep(&(struct timespec){pause / 1000, pause % 1000 * 1000000}, NULL);
		code = 0;
	}
	intent_http_free(http);
	return code;
}
