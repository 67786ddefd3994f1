/*
 * HTTP client over libcurl, for blocking callers and for a libuv loop.
 *
 * Redirects are off unless asked for, bodies are bounded, TLS 1.2 and above
 * with peer and host verified, TCP keepalive 10 s + 3 x 5 s so that a peer whose
 * packets vanish is noticed within 25 s without any timer of ours.
 */
#ifndef INTENT_HTTP_H
#define INTENT_HTTP_H

#include <uv.h>
#include <intent/text.h>

struct intent_http; /* a client: connections, TLS settings */

/* All strings are copied. A zero struct is a plain client. */
struct intent_http_settings {
	const char *ca_file, *ca_directory;
	const char *cert_file, *key_file;   /* client certificate, PEM */
	const char *server_name;            /* to verify instead of the URL's host */
	const char *unix_socket;            /* connect here instead */
	/* What people name these files with ("ETCDCTL_CACERT"), for messages; may be NULL. */
	const char *ca_option, *cert_option;
	bool insecure;                      /* peer not verified: only where the engine's own variable says so */
	int max_connections;                /* 0: 8 */
};

struct intent_http_response;

struct intent_http_request {
	const char *method;                 /* NULL: GET, or POST with a body */
	const char *url;                    /* http:// https:// (file:// when allow_file) */
	const char *const *headers;         /* NULL-terminated "Name: value"; may be NULL */
	const void *body; size_t body_length; /* borrowed until the response */
	int64_t connect_timeout_ms;         /* 0: 5000 */
	int64_t timeout_ms;                 /* whole exchange; 0: none */
	int64_t stall_ms;                   /* no byte for so long; 0: none */
	size_t body_max;                    /* of the response; 0: INTENT_HTTP_BODY_MAX */
	int redirects;                      /* how many to follow, same or https scheme only */
	bool allow_file;                    /* an absent file is status 404, else 200 or 206 */
	bool fresh;                         /* on a new connection */
	bool once;                          /* not even a GET is sent again when a kept connection proves dead */
	uint64_t offset;                    /* ask for the bytes from here on (Range) */
	/*
	 * When set, gets the body of 2xx answers as it comes instead of
	 * response.body; anything but 0 ends the exchange with that code.
	 */
	int (*on_body)(const void *bytes, size_t count, void *data);
	/* When set, called once headers of the final answer are in and before
	 * on_body; anything but 0 ends the exchange with that code. */
	int (*on_headers)(const struct intent_http_response *response, void *data);
	void *data;
};
#define INTENT_HTTP_BODY_MAX (64u << 20)

struct intent_http_response {
	int status;                  /* HTTP status; 0 when none came */
	struct intent_text headers;  /* "name: value\n" lines of the final answer, names in lower case */
	struct intent_text body;
};
void intent_http_response_release(struct intent_http_response *response);
/* First value of a header (lower-case name), copied to out; false when absent or too long. */
bool intent_http_header(const struct intent_http_response *response, const char *name,
			char *out, size_t room);

/*
 * Can TLS files of these names be used: are there certificates, and is the key without a passphrase that of
 * the client's? INTENT_EUNAVAILABLE, since a renewal may be under way. They are read again for
 * each connection.
 */
int intent_http_settings_check(const struct intent_http_settings *settings, struct intent_error *err);

struct intent_http *intent_http_new(const struct intent_http_settings *settings);
struct intent_http *intent_http_free(struct intent_http *http); /* ends what is under way, without callbacks */

/*
 * Blocking. 0 whenever an HTTP status came, also 404 or 500. Failures of
 * transport are INTENT_EUNAVAILABLE (temporary), of time INTENT_ETIMEOUT, a body
 * too long INTENT_ETOOBIG, a bad certificate INTENT_EUNAVAILABLE saying so (the server's, or
 * ours to the server: then nothing was sent). When the
 * request may have reached the server although no answer came, *ret_sent (may be NULL)
 * is true: a write's outcome is then unknown.
 */
int intent_http_perform(struct intent_http *http, const struct intent_http_request *request,
			struct intent_http_response *ret, bool *ret_sent, struct intent_error *err);

/*
 * ---- on a loop: no wakeup while nothing happens, and no thread but
 * libcurl's short-lived one that resolves a host name ----
 */

/* Once, before the first start; the loop is borrowed until intent_http_free(). */
void intent_http_attach(struct intent_http *http, uv_loop_t *loop);

struct intent_http_exchange; /* one under way */

/*
 * on_done is called exactly once, from the loop, never from within start or
 * cancel; `response` and `err` are borrowed for the call; err->code is 0 when a status came.
 * The request is copied, but for its body.
 */
int intent_http_start(struct intent_http *http, const struct intent_http_request *request,
		      void (*on_done)(struct intent_http_exchange *, struct intent_http_response *response,
				      bool sent, const struct intent_error *err, void *data),
		      void *data, struct intent_http_exchange **ret_borrowed, struct intent_error *err);
/* No callback will come. */
void intent_http_cancel(struct intent_http_exchange *exchange);

#endif
