/* One exchange: set up, received, judged. */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "http-exchange.h"

/* ---- answers ---- */

void intent_http_response_release(struct intent_http_response *response)
{
	intent_text_release(&response->headers);
	intent_text_release(&response->body);
	response->status = 0;
}

bool intent_http_header(const struct intent_http_response *response, const char *name,
			char *out, size_t room)
{
	size_t length = strlen(name);
	const char *line = intent_text_str(&response->headers);

	for (const char *end; (end = strchr(line, '\n')); line = end + 1) {
		if (strncmp(line, name, length) || line[length] != ':')
			continue;
		const char *value = line + length + 1;

		while (*value == ' ')
			value++;
		if ((size_t)(end - value) >= room)
			return false;
		memcpy(out, value, (size_t)(end - value));
		out[end - value] = '\0';
		return true;
	}
	return false;
}

/* ---- receiving ---- */

/* Will libcurl go on to another URL instead of showing us this answer's body? */
static bool moves_on(const struct intent_http_exchange *exchange)
{
	int status = exchange->response.status;
	const char *lines = intent_text_str(&exchange->response.headers);

	return exchange->redirects > 0 && status >= 301 && status <= 308 && status != 304 &&
		(intent_starts_with(lines, "location:") || strstr(lines, "\nlocation:"));
}

static int tell_headers(struct intent_http_exchange *exchange)
{
	if (exchange->headers_told || exchange->cancelled)
		return 0;
	exchange->headers_told = true;
	if (exchange->on_headers)
		exchange->code = exchange->on_headers(&exchange->response, exchange->request_data);
	return exchange->code;
}

static void add_header(struct intent_text *headers, const char *line, size_t count)
{
	const char *colon = memchr(line, ':', count);

	if (!colon || headers->length + count >= INTENT_HTTP_HEADERS_MAX)
		return;
	for (const char *c = line; c < colon; c++)
		intent_text_add(headers, &(char){(char)tolower((unsigned char)*c)}, 1);
	const char *value = colon + 1;

	while (value < line + count && (*value == ' ' || *value == '\t'))
		value++;
	intent_text_puts(headers, ": ");
	intent_text_add(headers, value, (size_t)(line + count - value));
	intent_text_puts(headers, "\n");
}

static size_t on_header(char *line, size_t size, size_t count, void *data)
{
	struct intent_http_exchange *exchange = data;
	struct intent_http_response *response = &exchange->response;
	size_t whole = size * count, length = whole;

	if (exchange->cancelled)
		return 0;
	exchange->last_byte = intent_time_monotonic();
	while (length && strchr("\r\n \t", line[length - 1]))
		length--;
	if (length >= 5 && !memcmp(line, "HTTP/", 5)) { /* another answer: redirected, or 1xx before */
		long status = 0;

		curl_easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
		response->status = (int)status;
		intent_text_clear(&response->headers);
		exchange->headers_over = false;
	} else if (exchange->headers_over) {
		return whole; /* a trailer */
	} else if (length) {
		if (response->headers.length + length + 4 > INTENT_HTTP_HEADERS_MAX) {
			exchange->code = INTENT_ETOOBIG;
			return 0;
		}
		add_header(&response->headers, line, length);
	} else {
		exchange->headers_over = true;
		if (response->status >= 200 && !moves_on(exchange) && tell_headers(exchange))
			return 0;
	}
	return exchange->cancelled ? 0 : whole;
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *data)
{
	struct intent_http_exchange *exchange = data;
	struct intent_http_response *response = &exchange->response;

	count *= size;
	if (exchange->cancelled)
		return 0;
	exchange->last_byte = intent_time_monotonic();
	if (exchange->file && !response->status)
		response->status = exchange->offset ? 206 : 200;
	if (tell_headers(exchange))
		return 0;
	if (exchange->on_body && response->status / 100 == 2) {
		exchange->code = exchange->on_body(bytes, count, exchange->request_data);
		return exchange->code || exchange->cancelled ? 0 : count;
	}
	if (count > exchange->body_max - response->body.length) {
		exchange->code = INTENT_ETOOBIG;
		return 0;
	}
	intent_text_add(&response->body, bytes, count);
	return count;
}

int64_t intent__http_exchange_stall(struct intent_http_exchange *exchange)
{
	curl_off_t uploaded = 0;
	int64_t now = intent_time_monotonic();

	if (!exchange->stall_ms)
		return -1;
	curl_easy_getinfo(exchange->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	if (uploaded != exchange->uploaded) {
		exchange->uploaded = uploaded;
		exchange->last_byte = now;
	}
	int64_t left = exchange->last_byte + exchange->stall_ms - now;

	return left > 0 ? left : 0;
}

/* ---- setting up ---- */

/*
 * A peer whose packets vanish: 10 s + 3 x 5 s of silence when idle, and as long for what was
 * sent and never acknowledged, which keepalive alone leaves to retransmission (15 minutes).
 */
static int on_socket(void *data, curl_socket_t fd, curlsocktype purpose)
{
	static const struct { int level, name, value; } options[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 10},
		{IPPROTO_TCP, TCP_KEEPINTVL, 5},
		{IPPROTO_TCP, TCP_KEEPCNT, 3},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, 25000},
	};

	(void)data, (void)purpose;
	/* A unix socket refuses the last four, rightly. */
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
	return CURL_SOCKOPT_OK;
}

/*
 * libcurl sends a request again when a kept connection turns out to be dead. A write that the
 * server may have carried out must not be: its second run would be a conflict with itself.
 */
static int on_send(void *data, char *peer, char *own, int peer_port, int own_port)
{
	struct intent_http_exchange *exchange = data;
	long redirects = 0;

	(void)peer, (void)own, (void)peer_port, (void)own_port;
	curl_easy_getinfo(exchange->easy, CURLINFO_REDIRECT_COUNT, &redirects);
	if (exchange->attempts++ > (unsigned)redirects && !exchange->repeatable)
		return CURL_PREREQFUNC_ABORT;
	return CURL_PREREQFUNC_OK;
}

static void add_line(struct curl_slist **list, const char *line)
{
	*list = curl_slist_append(*list, line);
}

static void set_method(struct intent_http_exchange *exchange, const struct intent_http_request *request)
{
	CURL *easy = exchange->easy;
	const char *method = request->method ? request->method : request->body ? "POST" : "GET";
	bool typed = false;

	exchange->repeatable = !request->once && (!strcmp(method, "GET") || !strcmp(method, "HEAD"));
	for (size_t i = 0; request->headers && request->headers[i]; i++) {
		add_line(&exchange->headers, request->headers[i]);
		typed = typed || !strncasecmp(request->headers[i], "content-type:", 13);
	}
	if (!strcmp(method, "HEAD")) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	} else if (request->body || !strcmp(method, "POST") || !strcmp(method, "PUT")) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
		add_line(&exchange->headers, "Expect:");
		if (!typed) /* else libcurl calls it a form */
			add_line(&exchange->headers, "Content-Type:");
	} else if (strcmp(method, "GET")) {
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	}
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, exchange->headers);
}

/* Ask for `server_name` (so that it is what TLS verifies), but connect to the URL's host. */
static CURLUcode set_server_name(struct intent_http_exchange *exchange, CURLU *url, const char *server_name)
{
	char *host = NULL, *port = NULL;
	CURLUcode code = curl_url_get(url, CURLUPART_HOST, &host, 0);

	if (!code)
		code = curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
	if (!code) {
		intent_free_auto char *line = intent_format("::%s:%s", host, port);

		add_line(&exchange->connect_to, line);
		code = curl_url_set(url, CURLUPART_HOST, server_name, 0);
		curl_easy_setopt(exchange->easy, CURLOPT_CONNECT_TO, exchange->connect_to);
	}
	curl_free(host);
	curl_free(port);
	return code;
}

static int set_url(struct intent_http_exchange *exchange, const struct intent_http_request *request,
		   struct intent_error *err)
{
	const struct intent_http_settings *settings = &exchange->http->settings;
	CURL *easy = exchange->easy;
	CURLU *url = curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *whole = NULL;
	CURLUcode code = curl_url_set(url, CURLUPART_URL, request->url, 0);

	if (!code)
		code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
	if (!code)
		code = curl_url_get(url, CURLUPART_PATH, &path, 0);
	if (!code) {
		(void)curl_url_get(url, CURLUPART_HOST, &host, 0);
		(void)curl_url_get(url, CURLUPART_PORT, &port, 0);
		exchange->subject = intent_format("%s %s://%s%s%s%s",
			request->method ? request->method : request->body ? "POST" : "GET", scheme,
			host ? host : "", port ? ":" : "", port ? port : "", path);
		exchange->file = !strcmp(scheme, "file");
		if (settings->server_name && !strcmp(scheme, "https"))
			code = set_server_name(exchange, url, settings->server_name);
	}
	if (!code)
		code = curl_url_get(url, CURLUPART_URL, &whole, 0);
	if (!code) {
		curl_easy_setopt(easy, CURLOPT_URL, whole);
		curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR,
				 !strcmp(scheme, "https") ? "https" : "http,https");
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(path);
	curl_free(whole);
	curl_url_cleanup(url);
	if (code)
		return intent_fail(err, INTENT_EUSAGE, "URL of %zu characters: %s: write http://HOST[:PORT]/PATH",
				   strlen(request->url), curl_url_strerror(code));
	return 0;
}

static void set_options(struct intent_http_exchange *exchange, const struct intent_http_request *request)
{
	const struct intent_http_settings *settings = &exchange->http->settings;
	CURL *easy = exchange->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, exchange);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->error);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, request->allow_file ? "http,https,file" : "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->redirects > 0 ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)request->redirects);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, exchange->http->no_proxy);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "platypus/" INTENT_VERSION);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
			 (long)(request->connect_timeout_ms ? request->connect_timeout_ms : 5000));
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->fresh ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, exchange);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, settings->insecure ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, settings->insecure ? 0L : 2L);
	if (settings->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, settings->ca_file);
	if (settings->ca_directory)
		curl_easy_setopt(easy, CURLOPT_CAPATH, settings->ca_directory);
	if (settings->ca_file || settings->ca_directory) /* a replaced file counts from now on */
		curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	if (settings->cert_file)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, settings->cert_file);
	if (settings->key_file)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, settings->key_file);
	if (settings->unix_socket)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, settings->unix_socket);
}

int intent__http_exchange_new(struct intent_http *http, const struct intent_http_request *request,
			      struct intent_http_exchange **ret_owned, struct intent_error *err)
{
	CURL *easy = curl_easy_init();
	struct intent_http_exchange *exchange;

	if (!easy)
		return intent_fail(err, INTENT_EUNAVAILABLE, "HTTP request: libcurl does not initialise");
	exchange = calloc(1, sizeof *exchange);
	exchange->easy = easy;
	exchange->http = http;
	exchange->redirects = request->redirects;
	exchange->offset = request->offset;
	exchange->body_max = request->body_max ? request->body_max : INTENT_HTTP_BODY_MAX;
	exchange->response.body.limit = exchange->body_max + 1;
	exchange->stall_ms = request->stall_ms;
	exchange->last_byte = intent_time_monotonic();
	exchange->on_body = request->on_body;
	exchange->on_headers = request->on_headers;
	exchange->request_data = request->data;
	set_options(exchange, request);
	int code = set_url(exchange, request, err);

	if (!code)
		set_method(exchange, request);
	if (!code && request->offset) {
		char range[24];

		snprintf(range, sizeof range, "%llu-", (unsigned long long)request->offset);
		curl_easy_setopt(exchange->easy, CURLOPT_RANGE, range);
	}
	if (code)
		intent__http_exchange_free(exchange);
	else
		*ret_owned = exchange;
	return code;
}

void intent__http_exchange_free(struct intent_http_exchange *exchange)
{
	if (!exchange)
		return;
	curl_easy_cleanup(exchange->easy);
	curl_slist_free_all(exchange->headers);
	curl_slist_free_all(exchange->connect_to);
	intent_http_response_release(&exchange->response);
	free(exchange->subject);
	free(exchange);
}

/* ---- judging ---- */

/* libcurl says of every file it cannot open the same; only one that is not there is a 404. */
static bool file_is_absent(struct intent_http_exchange *exchange)
{
	char *url = NULL, *path = NULL;
	struct stat status;
	CURLU *parts = curl_url();
	bool absent = parts && !curl_easy_getinfo(exchange->easy, CURLINFO_EFFECTIVE_URL, &url) &&
		!curl_url_set(parts, CURLUPART_URL, url, 0) &&
		!curl_url_get(parts, CURLUPART_PATH, &path, CURLU_URLDECODE) &&
		stat(path, &status) && (errno == ENOENT || errno == ENOTDIR);

	curl_free(path);
	curl_url_cleanup(parts);
	return absent;
}

static CURLcode file_status(struct intent_http_exchange *exchange, CURLcode result)
{
	int *status = &exchange->response.status;

	if (!result && !*status)
		*status = exchange->offset ? 206 : 200;
	else if (result == CURLE_FILE_COULDNT_READ_FILE && file_is_absent(exchange))
		*status = 404;
	else if (result == CURLE_BAD_DOWNLOAD_RESUME)
		*status = 416;
	else
		return result;
	return CURLE_OK;
}

int intent__http_exchange_result(struct intent_http_exchange *exchange, CURLcode result,
				 bool *ret_sent, struct intent_error *err)
{
	struct intent_http_response *response = &exchange->response;
	intent_text_auto struct intent_text tls = INTENT_TEXT_INIT;
	bool unread = false;

	*ret_sent = exchange->attempts > 0;
	if (exchange->file)
		result = file_status(exchange, result);
	if (!result && response->status && !tell_headers(exchange))
		return 0;
	const char *words = exchange->error[0] ? exchange->error : curl_easy_strerror(result);

	switch (exchange->code) {
	case 0:
		break;
	case INTENT_ETIMEOUT:
		return intent_fail(err, INTENT_ETIMEOUT, "%s: nothing came for %lld ms", exchange->subject,
				   (long long)exchange->stall_ms);
	case INTENT_ETOOBIG:
		return intent_fail(err, INTENT_ETOOBIG,
				   "%s: the answer is larger than %zu bytes (or its headers than %u)",
				   exchange->subject, exchange->body_max, INTENT_HTTP_HEADERS_MAX);
	default:
		return intent_fail(err, exchange->code, "%s: its reader gave up", exchange->subject);
	}
	if (!result)
		return intent_fail(err, INTENT_EUNAVAILABLE, "%s: the answer has no status", exchange->subject);
	if (result == CURLE_OPERATION_TIMEDOUT)
		return intent_fail(err, INTENT_ETIMEOUT, "%s: %s", exchange->subject, words);
	if (result == CURLE_ABORTED_BY_CALLBACK)
		words = "the connection was cut before an answer came";
	/* libcurl's first trouble is not always the one that matters. */
	if (intent_starts_with(words, "getpeername()"))
		words = strstr(exchange->subject, " https://") ?
			"the connection was cut at once: does the server take our certificate?" :
			"the connection was cut at once";
	if (intent__http_tls_words(&exchange->http->settings, result, words, &unread, &tls))
		words = intent_text_str(&tls);
	*ret_sent = *ret_sent && !unread;
	return intent_fail(err, INTENT_EUNAVAILABLE, "%s: %s%s", exchange->subject, words,
			   result == CURLE_COULDNT_CONNECT ? "; is it running, and is this its address?" : "");
}
