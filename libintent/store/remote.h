/*
 * What the two remote engines share. Not installed.
 *
 * An engine is a pure core, which writes requests as text and reads answers (etcd-wire.c,
 * consul-wire.c: no I/O, no clock, no environment), and this shell, which carries them: a
 * list of endpoints, headers, and the performing, blocking or on a loop, of a *task*: one
 * operation of the contract, which may take several requests.
 */
#ifndef INTENT_REMOTE_H
#define INTENT_REMOTE_H

#include <intent/http.h>
#include "engine.h"

#define INTENT__REMOTE_TIMEOUT 30000  /* of an ordinary request: longer than 7 s without leader */
#define INTENT__REMOTE_ENDPOINTS 16
#define INTENT__REMOTE_CONNECTIONS 16
#define INTENT__REPLY_MAX (64u << 20)

/* A request as a translator writes it. */
struct intent__call {
	const char *method;      /* static */
	struct intent_text path; /* from '/' on, query included */
	struct intent_text body;
	bool has_body;
	bool writes;             /* without an answer, its outcome is unknown */
	bool fresh;              /* on a new connection */
	int64_t timeout_ms;      /* 0: INTENT__REMOTE_TIMEOUT */
};
void intent__call_release(struct intent__call *call);

struct intent__headers {
	char *lines[8];          /* owned; NULL-terminated */
	size_t count;
};
/* Without memory the line is lost, and the request is refused as one without it is. */
void intent__headers_add(struct intent__headers *headers, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

struct intent__task;

struct intent__remote {
	struct intent_http *http;
	const char *scheme;      /* "http" or "https" */
	char *endpoints[INTENT__REMOTE_ENDPOINTS]; /* owned: "host:port" */
	size_t count, at;
	int64_t connect_timeout_ms;
	/* Credentials and the like, of every request. */
	void (*headers)(struct intent__remote *remote, struct intent__headers *out);
	uv_loop_t *loop;         /* NULL until attached */
	struct intent__task *tasks; /* under way on the loop */
	void *engine;            /* whose it is */
};

/*
 * "h1:p1,h2:p2", with `port` where none is given; a leading '/' is a unix socket's path. Faults are
 * INTENT_EUSAGE. Settings are as the engine read them.
 */
int intent__remote_open(struct intent__remote *remote, const char *rest, int port,
			const struct intent_http_settings *settings, struct intent_error *err);
void intent__remote_attach(struct intent__remote *remote, uv_loop_t *loop);
/* Ends all tasks without calling back. */
void intent__remote_close(struct intent__remote *remote);
void intent__remote_next(struct intent__remote *remote);
/*
 * How long to wait before the next attempt, given when the last one began (updated): at
 * most one a second, and never many agents at the same instant.
 */
uint64_t intent__remote_pause(int64_t *last_attempt);

/* ---- tasks ---- */

enum intent__verdict {
	INTENT__DONE,      /* the operation is complete */
	INTENT__MORE,      /* build() has another request */
	INTENT__ELSEWHERE, /* *err says why: build it again for the next endpoint, if any is left */
	INTENT__FAILED,    /* *err says why */
};

struct intent__task {
	struct intent__remote *remote;
	int (*build)(struct intent__task *task, struct intent__call *call, struct intent_error *err);
	enum intent__verdict (*parse)(struct intent__task *task, const struct intent_http_response *response,
				      struct intent_error *err);
	/* The answer passed INTENT__REPLY_MAX: can less be asked for? May be NULL. */
	bool (*shrink)(struct intent__task *task);
	/* What an engine keeps in its own struct around this one; then that struct. */
	void (*free)(struct intent__task *task);
	/* On a loop, once; the task is freed after it. */
	void (*on_done)(struct intent__task *task, const struct intent_error *err);
	bool once;               /* every endpoint once only: the caller paces itself */
	/* the shell's */
	struct intent__call call;
	struct intent_http_exchange *exchange;
	struct intent__task *previous, *next;
	unsigned moves;
	bool fresh;              /* connect anew: the last connection was cut */
	char *url;
};

/* Blocking: until done or failed; the task stays the caller's. */
int intent__task_perform(struct intent__task *task, struct intent_error *err);
/* On the loop; the task is stolen, unless this fails. */
int intent__task_start(struct intent__task *task, struct intent_error *err);
/* Without calling back. Takes NULL. */
void intent__task_cancel(struct intent__task *task);

/* ---- a stream: one request whose answer comes bit by bit, without end ---- */

struct intent__stream {
	int (*on_headers)(const struct intent_http_response *response, void *data);
	int (*on_body)(const void *bytes, size_t count, void *data);
	void (*on_done)(struct intent_http_exchange *exchange, struct intent_http_response *response,
			bool sent, const struct intent_error *err, void *data);
	void *data;
};
/* `call` is borrowed until it ends. */
int intent__remote_stream(struct intent__remote *remote, const struct intent__call *call,
			  const struct intent__stream *stream,
			  struct intent_http_exchange **ret_borrowed, struct intent_error *err);

/* ---- a watch's word on trouble: once per cause, once when it is over ---- */

struct intent__trouble {
	const struct intent__watch_sink *sink;
	struct intent_error last; /* code 0: none */
};
void intent__trouble_report(struct intent__trouble *trouble, const struct intent_error *err);
void intent__trouble_over(struct intent__trouble *trouble);

/* ---- small things of both engines ---- */

/* An environment variable's value; NULL when unset or empty. */
const char *intent__env(const char *name);
bool intent__env_true(const char *name);
/* Deep copy of operations: one block, free(). */
struct intent_op *intent__ops_copy(const struct intent_op *ops, size_t count);

#endif
