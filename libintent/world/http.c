/* The client, and blocking exchanges. */
#include "http-exchange.h"

static void copy(const char **field)
{
	if (*field)
		*field = strdup(*field);
}

static void forget(const char *field)
{
	union { const char *borrowed; char *owned; } string = {field};

	free(string.owned);
}

void intent__http_destroy(struct intent_http *http)
{
	if (http->multi)
		curl_multi_cleanup(http->multi);
	if (http->global)
		curl_global_cleanup();
	forget(http->settings.ca_file);
	forget(http->settings.ca_directory);
	forget(http->settings.cert_file);
	forget(http->settings.key_file);
	forget(http->settings.ca_option);
	forget(http->settings.cert_option);
	forget(http->settings.server_name);
	forget(http->settings.unix_socket);
	free(http->no_proxy);
	free(http);
}

struct intent_http *intent_http_new(const struct intent_http_settings *settings)
{
	struct intent_http *http = calloc(1, sizeof *http);
	const char *no_proxy = getenv("no_proxy");

	if (!no_proxy)
		no_proxy = getenv("NO_PROXY");
	/* A proxy cannot reach our loopback; libcurl alone would ask it to. */
	http->no_proxy = intent_format("localhost,127.0.0.1,::1%s%s", no_proxy ? "," : "",
				       no_proxy ? no_proxy : "");
	struct intent_http_settings *own = &http->settings;

	if (settings)
		*own = *settings;
	copy(&own->ca_file);
	copy(&own->ca_directory);
	copy(&own->cert_file);
	copy(&own->key_file);
	copy(&own->ca_option);
	copy(&own->cert_option);
	copy(&own->server_name);
	copy(&own->unix_socket);
	if (own->max_connections <= 0)
		own->max_connections = 8;
	return http;
}

struct intent_http *intent_http_free(struct intent_http *http)
{
	if (!http)
		return NULL;
	if (http->loop)
		intent__http_loop_free(http->loop);
	else
		intent__http_destroy(http);
	return NULL;
}

int intent__http_multi(struct intent_http *http, CURLM **ret, struct intent_error *err)
{
	if (!http->global && curl_global_init(CURL_GLOBAL_DEFAULT))
		return intent_fail(err, INTENT_EUNAVAILABLE, "HTTP client: libcurl does not initialise");
	http->global = true;
	CURLM *multi = curl_multi_init();

	if (!multi)
		return intent_fail(err, INTENT_EUNAVAILABLE, "HTTP client: libcurl gives no handle");
	curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)http->settings.max_connections);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)http->settings.max_connections);
	*ret = multi;
	return 0;
}

/* ---- one blocking exchange ---- */

static int drive(CURLM *multi, struct intent_http_exchange *exchange, CURLcode *ret,
		 struct intent_error *err)
{
	for (;;) {
		int running, left;
		CURLMcode code = curl_multi_perform(multi, &running);
		CURLMsg *message = code ? NULL : curl_multi_info_read(multi, &left);

		if (message && message->msg == CURLMSG_DONE) {
			*ret = message->data.result;
			return 0;
		}
		int64_t stall = intent__http_exchange_stall(exchange);

		if (!stall) {
			exchange->code = INTENT_ETIMEOUT;
			*ret = CURLE_OPERATION_TIMEDOUT;
			return 0;
		}
		/* libcurl cuts this short by its own deadlines; an hour is "for ever". */
		if (!code)
			code = curl_multi_poll(multi, NULL, 0,
					       stall < 0 || stall > 3600000 ? 3600000 : (int)stall, NULL);
		if (code)
			return intent_fail(err, INTENT_EUNAVAILABLE, "%s: %s", exchange->subject,
					   curl_multi_strerror(code));
	}
}

int intent_http_perform(struct intent_http *http, const struct intent_http_request *request,
			struct intent_http_response *ret, bool *ret_sent, struct intent_error *err)
{
	struct intent_http_exchange *exchange;
	CURLcode result = CURLE_OK;
	bool sent = false;
	int code = http->multi ? 0 : intent__http_multi(http, &http->multi, err);

	if (ret_sent)
		*ret_sent = false;
	if (code || (code = intent__http_exchange_new(http, request, &exchange, err)))
		return code;
	CURLMcode added = curl_multi_add_handle(http->multi, exchange->easy);
	if (added) {
		intent_fail(err, INTENT_EUNAVAILABLE, "%s: %s", exchange->subject, curl_multi_strerror(added));
		intent__http_exchange_free(exchange);
		return err->code;
	}
	code = drive(http->multi, exchange, &result, err);
	if (!code)
		code = intent__http_exchange_result(exchange, result, &sent, err);
	curl_multi_remove_handle(http->multi, exchange->easy);
	if (ret_sent)
		*ret_sent = sent;
	if (!code) {
		*ret = exchange->response;
		exchange->response = (struct intent_http_response){0};
	}
	intent__http_exchange_free(exchange);
	return code;
}
