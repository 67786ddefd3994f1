/*
 * One HTTP exchange, shared by the blocking caller (http.c) and the loop
 * (http-loop.c): set up, received, and judged in one place. Not installed.
 */
#ifndef INTENT_HTTP_EXCHANGE_H
#define INTENT_HTTP_EXCHANGE_H

#include <curl/curl.h>
#include <intent/http.h>

#define INTENT_HTTP_HEADERS_MAX (64u << 10)

struct intent__http_loop;

struct intent_http {
	struct intent_http_settings settings; /* strings owned */
	char *no_proxy;                       /* owned */
	bool global;                          /* curl_global_init() was done for it */
	CURLM *multi;                         /* blocking; made at first use */
	struct intent__http_loop *loop;       /* NULL until attached */
};

struct intent_http_exchange {
	struct intent_http *http;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	char error[CURL_ERROR_SIZE];
	char *subject;             /* "GET http://host/path": no user, no query */
	bool file;                 /* file:// has no status of its own */
	bool repeatable;           /* GET or HEAD: libcurl may send it again by itself */
	unsigned attempts;         /* how often it was about to be sent */
	int redirects;
	uint64_t offset;
	size_t body_max;
	int64_t stall_ms, last_byte, uploaded;
	int (*on_body)(const void *bytes, size_t count, void *data);
	int (*on_headers)(const struct intent_http_response *response, void *data);
	void *request_data;
	struct intent_http_response response;
	bool headers_over, headers_told;
	int code;                  /* why a callback ended the exchange */
	/* on a loop */
	void (*on_done)(struct intent_http_exchange *, struct intent_http_response *response,
			bool sent, const struct intent_error *err, void *data);
	void *data;
	struct intent_http_exchange *previous, *next;
	uv_timer_t *stall_timer;
	bool added, cancelled;
};

/* A CURLM with this client's limits; the first one initialises libcurl. */
int intent__http_multi(struct intent_http *http, CURLM **ret, struct intent_error *err);
int intent__http_exchange_new(struct intent_http *http, const struct intent_http_request *request,
			      struct intent_http_exchange **ret_owned, struct intent_error *err);
/* Not in a multi handle any more. Takes NULL. */
void intent__http_exchange_free(struct intent_http_exchange *exchange);
/* What became of it: 0 with a status in exchange->response, or the error. */
int intent__http_exchange_result(struct intent_http_exchange *exchange, CURLcode result,
				 bool *ret_sent, struct intent_error *err);
/*
 * TLS trouble in words that name the way out, added to `out`; false: it is none. *ret_unread: the
 * server closed without having read a request.
 */
bool intent__http_tls_words(const struct intent_http_settings *settings, CURLcode result, const char *words,
			    bool *ret_unread, struct intent_text *out);
/* Milliseconds until it has stalled (0: it has); -1: it never does. */
int64_t intent__http_exchange_stall(struct intent_http_exchange *exchange);
/* http-loop.c: ends all exchanges and frees (later, when called from a callback). */
void intent__http_loop_free(struct intent__http_loop *loop);
/* The rest of intent_http_free(). */
void intent__http_destroy(struct intent_http *http);

#endif
