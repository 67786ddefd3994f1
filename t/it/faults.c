/*
 * The remote engines against a scripted server that misbehaves.
 *
 * Each row runs in a child of its own, with its own server on a free port of the loopback: a small
 * model of etcd's gateway or of Consul that holds one key, "a/k". A fault is a text in the request
 * to wait for, and what to do instead of the right answer. Prints TAP.
 *
 *	faults [NAME...]     only rows whose name contains a NAME
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <intent/store.h>

/* ---- the script ---- */

enum how {
	NOTHING,
	ANSWER,        /* these bytes, and keep the connection */
	ANSWER_CLOSE,
	CLOSE,         /* no answer */
	RESET,
	HOLD,          /* never an answer */
	DRIP,          /* these bytes, one every 200 ms */
	HUGE_HEADER,
	STREAM,        /* etcd's watch: these lines after "created" */
	STREAM_DEAF,   /* and no events after them */
	STREAM_CLOSE,  /* and a clean end */
	STREAM_CUT,    /* and a cut connection */
	LONG_LINE,     /* a watch's line of 20 MiB */
	REFUSE,        /* no listener */
};

struct fault {
	const char *match; /* NULL: every request */
	enum how how;
	const char *text;
	int times;         /* 0: until healed */
};

/* "@@" becomes the body's length. */
#define SIZED(status, length, body) "HTTP/1.1 " status "\r\nContent-Length: " length "\r\n\r\n" body
#define PLAIN(status, body) SIZED(status, "@@", body)
#define CONSUL(status, index, known, contact, length, body) \
	"HTTP/1.1 " status "\r\nX-Consul-Index: " index "\r\nX-Consul-KnownLeader: " known \
	"\r\nX-Consul-LastContact: " contact "\r\nContent-Length: " length "\r\n\r\n" body

/* ---- the server ---- */

enum engine { ETCD, CONSUL };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum engine engine;
	int port, listener;
	long revision;
	char value[32];          /* "": the key is absent */
	const char *cluster, *version, *api;
	struct fault fault;
	int used, requests, writes, logins;
	int connections[256];
	size_t count;
	bool wake_idly, split;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .revision = 100,
	.value = "v1", .cluster = "77", .version = "3.4.23", .api = "/v3/"};

static void __attribute__((format(printf, 2, 3))) say(int fd, const char *format, ...)
{
	char text[8192];
	va_list list;

	va_start(list, format);
	int length = vsnprintf(text, sizeof text, format, list);

	va_end(list);
	(void)!send(fd, text, (size_t)length, MSG_NOSIGNAL);
}

/* A scripted answer, its length put in. */
static void say_script(int fd, const char *text)
{
	const char *mark = strstr(text, "@@"), *body = mark ? strstr(mark, "\r\n\r\n") : NULL;

	if (body)
		say(fd, "%.*s%zu%s", (int)(mark - text), text, strlen(body + 4), mark + 2);
	else
		(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void answer(int fd, const char *status, const char *headers, const char *body)
{
	say(fd, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), body);
}

/* Under the lock: one buffer serves all. */
static const char *base64(const char *text)
{
	static struct intent_text out;

	intent_text_clear(&out);
	intent_base64_encode(&out, text, strlen(text));
	return intent_text_str(&out);
}

static void chunk(int fd, const char *text)
{
	size_t step = server.split ? 7 : strlen(text);

	for (size_t at = 0; at < strlen(text); at += step) {
		size_t left = strlen(text) - at, now = left < step ? left : step;

		say(fd, "%zx\r\n%.*s\r\n", now, (int)now, text + at);
		if (server.split)
			usleep(1000);
	}
}

static void put_kv(char *out, size_t room)
{
	char key[16];

	(void)snprintf(key, sizeof key, "%s", base64("a/k"));
	(void)snprintf(out, room, "{\"key\":\"%s\",\"mod_revision\":\"%ld\",\"value\":\"%s\"}", key,
		       server.revision, base64(server.value));
}

/* Waits for another revision; false when the connection has gone meanwhile. */
static bool await_change(int fd, long known)
{
	char byte;

	while (server.revision == known) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 20000000;
		if (until.tv_nsec >= 1000000000)
			until.tv_sec++, until.tv_nsec -= 1000000000;
		pthread_cond_timedwait(&server.changed, &server.lock, &until);
		ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

		if (!got || (got < 0 && errno != EAGAIN))
			return false;
	}
	return true;
}

static void etcd_watch(int fd, const char *request, const struct fault *fault)
{
	static const char from[] = "\"start_revision\":\"";
	const char *start = strstr(request, from);
	/* What was written since the list is told, too. */
	long known = start ? strtol(start + sizeof from - 1, NULL, 10) - 1 : server.revision;
	char kv[256], line[1024];
	unsigned watches = 0;

	say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (const char *at = request; (at = strstr(at, "create_request")); at++, watches++) {
		(void)snprintf(line, sizeof line, "{\"result\":{\"header\":{\"cluster_id\":\"%s\","
			"\"revision\":\"%ld\"},"
			       "\"watch_id\":\"%u\",\"created\":true}}\n", server.cluster, server.revision, watches);
		chunk(fd, line);
	}
	if (fault && fault->text)
		chunk(fd, fault->text);
	if (fault && fault->how == LONG_LINE) {
		char *long_line = malloc(1 << 20);

		memset(long_line, 'x', 1 << 20);
		for (int i = 0; i < 20; i++) {
			say(fd, "100000\r\n");
			(void)!send(fd, long_line, 1 << 20, MSG_NOSIGNAL);
			say(fd, "\r\n");
		}
		free(long_line);
	}
	if (fault && fault->how == STREAM_CLOSE)
		say(fd, "0\r\n\r\n");
	while (fault && fault->how == STREAM_DEAF && await_change(fd, server.revision))
		;
	if (fault && fault->how != STREAM)
		return;
	while (await_change(fd, known)) {
		known = server.revision;
		put_kv(kv, sizeof kv);
		(void)snprintf(line, sizeof line, "{\"result\":{\"header\":{\"cluster_id\":\"%s\","
			"\"revision\":\"%ld\"},"
			       "\"events\":[{%s\"kv\":%s}]}}\n", server.cluster, known,
			       server.value[0] ? "" : "\"type\":\"DELETE\",", kv);
		chunk(fd, line);
	}
}

static void etcd_answer(int fd, const char *request)
{
	char kv[256] = "", header[128], body[1024];

	(void)snprintf(header, sizeof header, "\"header\":{\"cluster_id\":\"%s\",\"revision\":\"%ld\"}",
		       server.cluster, server.revision);
	if (strstr(request, "GET /version")) {
		(void)snprintf(body, sizeof body, "{\"etcdserver\":\"%s\"}", server.version);
	} else if (!strstr(request, server.api)) {
		answer(fd, "404 Not Found", "", "404 page not found\n");
		return;
	} else if (strstr(request, "kv/range")) {
		if (server.value[0])
			put_kv(kv, sizeof kv);
		(void)snprintf(body, sizeof body, "{%s,\"kvs\":[%s]}", header, kv);
	} else if (strstr(request, "kv/txn")) {
		server.writes++;
		server.revision++;
		(void)snprintf(body, sizeof body, "{\"header\":{\"cluster_id\":\"%s\",\"revision\":\"%ld\"},"
			       "\"succeeded\":true}", server.cluster, server.revision);
	} else if (strstr(request, "authenticate")) {
		server.logins++;
		(void)snprintf(body, sizeof body, "{%s,\"token\":\"t%d\"}", header, server.logins);
	} else if (strstr(request, "lease/grant")) {
		(void)snprintf(body, sizeof body, "{%s,\"ID\":\"42\",\"TTL\":\"10\"}", header);
	} else if (strstr(request, "lease/keepalive")) {
		(void)snprintf(body, sizeof body, "{\"result\":{%s,\"ID\":\"42\",\"TTL\":\"10\"}}\n", header);
	} else {
		(void)snprintf(body, sizeof body, "{%s}", header);
	}
	answer(fd, "200 OK", "", body);
}

static void consul_kv(int fd, const char *request)
{
	char headers[160], body[512];
	const char *index = strstr(request, "index=");
	long known = index ? strtol(index + 6, NULL, 10) : -1;

	if (server.wake_idly && known >= 0)
		server.revision++;
	else if (known >= server.revision && !await_change(fd, server.revision))
		return;
	(void)snprintf(headers, sizeof headers, "X-Consul-Index: %ld\r\nX-Consul-KnownLeader: true\r\n"
		       "X-Consul-LastContact: 0\r\n", server.revision);
	(void)snprintf(body, sizeof body, "[{\"LockIndex\":0,\"Key\":\"a/k\",\"Flags\":18446744073709551615,"
		       "\"Value\":\"%s\",\"CreateIndex\":9,\"ModifyIndex\":%ld}]", base64(server.value),
		       server.revision);
	answer(fd, server.value[0] ? "200 OK" : "404 Not Found", headers, server.value[0] ? body : "");
}

static void consul_answer(int fd, const char *request)
{
	char body[512];

	if (strstr(request, "GET /v1/kv/")) {
		consul_kv(fd, request);
	} else if (strstr(request, "/v1/txn")) {
		server.writes++;
		server.revision++;
		(void)snprintf(body, sizeof body, "{\"Results\":[{\"KV\":{\"Key\":\"a/k\",\"ModifyIndex\":%ld}}],"
			       "\"Errors\":null}", server.revision);
		answer(fd, "200 OK", "", body);
	} else if (strstr(request, "session/create")) {
		answer(fd, "200 OK", "", "{\"ID\":\"11111111-2222-3333-4444-555555555555\"}");
	} else {
		answer(fd, "200 OK", "", "[]");
	}
}

static void reset(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
}

/* true: the connection is at its end. */
static bool misbehave(int fd, const char *request, const struct fault *fault)
{
	switch (fault->how) {
	case ANSWER:
	case ANSWER_CLOSE:
		say_script(fd, fault->text);
		return fault->how == ANSWER_CLOSE;
	case RESET:
		reset(fd);
		return true;
	case HOLD:
		pthread_mutex_unlock(&server.lock);
		while (recv(fd, &(char){0}, 1, 0) > 0)
			;
		pthread_mutex_lock(&server.lock);
		return true;
	case DRIP:
		for (const char *c = fault->text; *c; c++) {
			pthread_mutex_unlock(&server.lock);
			usleep(200000);
			pthread_mutex_lock(&server.lock);
			if (send(fd, c, 1, MSG_NOSIGNAL) < 0)
				break;
		}
		return true;
	case HUGE_HEADER:
		say(fd, "HTTP/1.1 200 OK\r\n");
		for (int i = 0; i < 200; i++)
			say(fd, "X-%d: %01000d\r\n", i, 0);
		say(fd, "\r\n");
		return true;
	case STREAM:
	case STREAM_DEAF:
	case STREAM_CLOSE:
	case STREAM_CUT:
	case LONG_LINE:
		etcd_watch(fd, request, fault);
		return true;
	default:
		return true;
	}
}

static bool whole(const char *request)
{
	const char *body = strstr(request, "\r\n\r\n"), *length = strcasestr(request, "content-length:");

	return body && (!length || strlen(body + 4) >= strtoul(length + 15, NULL, 10));
}

static bool receive(int fd, char *request, size_t room)
{
	size_t length = 0;

	request[0] = '\0';
	while (!whole(request)) {
		ssize_t got = recv(fd, request + length, room - length - 1, 0);

		if (got <= 0)
			return false;
		length += (size_t)got;
		request[length] = '\0';
	}
	return true;
}

static void *serve(void *data)
{
	int fd = (int)(intptr_t)data;
	static _Thread_local char request[65536];
	bool over = false;

	while (!over && receive(fd, request, sizeof request)) {
		pthread_mutex_lock(&server.lock);
		struct fault *fault = &server.fault;
		struct fault copy = *fault;

		server.requests++;
		if (fault->how != NOTHING && (!fault->match || strstr(request, fault->match)) &&
		    (!fault->times || server.used++ < fault->times))
			over = misbehave(fd, request, &copy);
		else if (server.engine == CONSUL)
			consul_answer(fd, request);
		else if (strstr(request, "/watch ") && strstr(request, server.api))
			etcd_watch(fd, request, NULL), over = true;
		else
			etcd_answer(fd, request);
		pthread_mutex_unlock(&server.lock);
	}
	pthread_mutex_lock(&server.lock);
	for (size_t i = 0; i < server.count; i++)
		if (server.connections[i] == fd)
			server.connections[i] = -1;
	close(fd);
	pthread_mutex_unlock(&server.lock);
	return NULL;
}

static void *accepting(void *data)
{
	int listener = (int)(intptr_t)data;

	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
		pthread_t thread;

		pthread_mutex_lock(&server.lock);
		server.connections[server.count++ % 256] = fd;
		pthread_mutex_unlock(&server.lock);
		pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
	return NULL;
}

static void start_listening(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)server.port)};
	socklen_t length = sizeof address;
	pthread_t thread;

	server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(server.listener, (struct sockaddr *)&address, length) || listen(server.listener, 64)) {
		perror("listen");
		_exit(99);
	}
	getsockname(server.listener, (struct sockaddr *)&address, &length);
	server.port = ntohs(address.sin_port);
	pthread_create(&thread, NULL, accepting, (void *)(intptr_t)server.listener);
	pthread_detach(thread);
}

static void stop_listening(void)
{
	shutdown(server.listener, SHUT_RDWR);
	close(server.listener);
}

static void cut_all(bool with_reset)
{
	for (size_t i = 0; i < server.count && i < 256; i++) {
		if (server.connections[i] < 0)
			continue;
		if (with_reset)
			reset(server.connections[i]);
		shutdown(server.connections[i], SHUT_RDWR);
	}
}

/* ---- what may be asked for in a blocking call ---- */

static int get(struct intent_store *store, struct intent_error *err)
{
	struct intent_snapshot *snapshot;
	int code = intent_store_get(store, "a/k", INTENT_DEFAULT, &snapshot, err);

	if (!code)
		intent_snapshot_unref(snapshot);
	return code;
}

static int list(struct intent_store *store, struct intent_error *err)
{
	struct intent_snapshot *snapshot;
	int code = intent_store_list(store, "a/", INTENT_STRONGEST, &snapshot, err);

	if (code)
		return code;
	if (!snapshot->count || strncmp(snapshot->entries[0].value, "v", 1))
		code = -1;
	intent_snapshot_unref(snapshot);
	return code;
}

static int put(struct intent_store *store, struct intent_error *err)
{
	return intent_store_put(store, "a/k", "w", 1, err);
}

static int cas(struct intent_store *store, struct intent_error *err)
{
	return intent_store_cas(store, "a/k", 100, "w", 1, NULL, err);
}

static int bound(struct intent_store *store, struct intent_error *err)
{
	struct intent_op op = {.kind = INTENT_OP_PUT, .key = "a/k", .value = "w", .length = 1,
		.session = server.engine == ETCD ? "42" : "11111111-2222-3333-4444-555555555555"};

	return intent_store_txn(store, &op, 1, NULL, err);
}

static int session_open(struct intent_store *store, struct intent_error *err)
{
	intent_free_auto char *id = NULL;

	return intent_session_open(store, 10000, &id, err);
}

static int session_renew(struct intent_store *store, struct intent_error *err)
{
	return intent_session_renew(store, server.engine == ETCD ? "42" : "11111111-2222-3333-4444-555555555555", err);
}

static int session_close(struct intent_store *store, struct intent_error *err)
{
	return intent_session_close(store, server.engine == ETCD ? "42" : "11111111-2222-3333-4444-555555555555", err);
}

#define REPLY_502 PLAIN("502 Bad Gateway", "no\n")
#define HTML PLAIN("200 OK", "<html></html>")

static const struct call_row {
	const char *name;
	enum engine engine;
	int (*call)(struct intent_store *, struct intent_error *);
	struct fault fault;
	int code;
	int writes;     /* how many writes the server carried out */
} call_rows[] = {
	{"etcd get: fine", ETCD, get, {0}, 0, 0},
	{"etcd put: fine", ETCD, put, {0}, 0, 1},
	{"etcd get: refused", ETCD, get, {.how = REFUSE}, INTENT_EUNAVAILABLE, 0},
	{"etcd put: refused is not unknown", ETCD, put, {.how = REFUSE}, INTENT_EUNAVAILABLE, 0},
	{"etcd get: reset", ETCD, get, {"kv/range", RESET, NULL, 0}, INTENT_EUNAVAILABLE, 0},
	{"etcd get: reset once", ETCD, get, {"kv/range", RESET, NULL, 1}, 0, 0},
	{"etcd put: reset after it was sent", ETCD, put, {"kv/txn", RESET, NULL, 0}, INTENT_EUNKNOWN, 0},
	{"etcd put: cut after it was sent, not sent twice", ETCD, put, {"kv/txn", CLOSE, NULL, 1}, INTENT_EUNKNOWN, 0},
	{"etcd cas: cut after it was sent", ETCD, cas, {"kv/txn", CLOSE, NULL, 0}, INTENT_EUNKNOWN, 0},
	{"etcd put: no leader is nothing done", ETCD, put, {"kv/txn", ANSWER, PLAIN("503 Service Unavailable",
		"{\"error\":\"etcdserver: no leader\",\"code\":14,\"message\":\"etcdserver: no leader\"}"), 0},
		INTENT_EUNAVAILABLE, 0},
	{"etcd put: request timed out is unknown", ETCD, put, {"kv/txn", ANSWER, PLAIN("503 Service Unavailable",
		"{\"error\":\"etcdserver: request timed out\",\"code\":14} "), 0}, INTENT_EUNKNOWN, 0},
	{"etcd put: 500 is unknown", ETCD, put, {"kv/txn", ANSWER, PLAIN("500 Oh", "no"), 0}, INTENT_EUNKNOWN, 0},
	{"etcd put: 200 without a document is unknown", ETCD, put, {"kv/txn", ANSWER, HTML, 0}, INTENT_EUNKNOWN, 0},
	{"etcd get: truncated", ETCD, get, {"kv/range", ANSWER_CLOSE, SIZED("200 OK", "500", "{\"header\":{"), 0},
		INTENT_EUNAVAILABLE, 0},
	{"etcd get: wrong length", ETCD, get, {"kv/range", ANSWER_CLOSE, SIZED("200 OK", "5", "{\"header\":{}}"), 0},
		INTENT_EUNAVAILABLE, 0},
	{"etcd put: truncated answer is unknown", ETCD, put, {"kv/txn", ANSWER_CLOSE, SIZED("200 OK", "500", "{"), 0},
		INTENT_EUNKNOWN, 0},
	{"etcd get: garbage", ETCD, get, {"kv/range", ANSWER_CLOSE, "SSH-2.0-x\r\n", 0}, INTENT_EUNAVAILABLE, 0},
	{"etcd get: huge header", ETCD, get, {"kv/range", HUGE_HEADER, NULL, 0}, INTENT_ETOOBIG, 0},
	{"etcd get: redirect", ETCD, get, {"kv/range", ANSWER,
		"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 0},
		INTENT_EUNAVAILABLE, 0},
	{"etcd get: 204", ETCD, get, {"kv/range", ANSWER, "HTTP/1.1 204 No Content\r\n\r\n", 0},
		INTENT_EUNAVAILABLE, 0},
	{"etcd get: 304", ETCD, get, {"kv/range", ANSWER, "HTTP/1.1 304 Not Modified\r\n\r\n", 0},
		INTENT_EUNAVAILABLE, 0},
	{"etcd get: 1xx before the answer", ETCD, list, {"kv/range", ANSWER,
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n"
		"Content-Length: @@\r\n\r\n{\"header\":{\"revision\":\"100\"},\"kvs\":[{\"key\":\"YS9r\","
			"\"mod_revision\":\"5\",\"value\":\"djE=\"}]}", 0}, 0, 0},
	{"etcd get: permission denied", ETCD, get, {"kv/range", ANSWER, PLAIN("403 Forbidden",
		"{\"error\":\"etcdserver: permission denied\",\"code\":7}"), 0}, INTENT_EREFUSED, 0},
	{"etcd put: too large", ETCD, put, {"kv/txn", ANSWER, PLAIN("400 Bad Request",
		"{\"error\":\"etcdserver: request is too large\",\"code\":3}"), 0}, INTENT_ETOOBIG, 0},
	{"etcd get: another program", ETCD, get, {"GET /version", ANSWER, HTML, 0}, INTENT_EUNAVAILABLE, 0},
	{"etcd bound put: lease gone", ETCD, bound, {"kv/txn", ANSWER, PLAIN("404 Not Found",
		"{\"error\":\"etcdserver: requested lease not found\",\"code\":5} "), 0}, INTENT_EABSENT, 0},
	{"etcd renew: gone, with status 200", ETCD, session_renew, {"keepalive", ANSWER, PLAIN("200 OK",
		"{\"result\":{\"ID\":\"42\"}}"), 0}, INTENT_EABSENT, 0},
	{"etcd renew: cut is unavailable", ETCD, session_renew, {"keepalive", CLOSE, NULL, 0}, INTENT_EUNAVAILABLE, 0},
	{"etcd open: cut is unavailable", ETCD, session_open, {"grant", CLOSE, NULL, 0}, INTENT_EUNAVAILABLE, 0},
	{"etcd close: gone is fine", ETCD, session_close, {"revoke", ANSWER, PLAIN("404 Not Found",
		"{\"error\":\"etcdserver: requested lease not found\",\"code\":5} "), 0}, 0, 0},

	{"consul get: fine, flags of 64 bits", CONSUL, get, {0}, 0, 0},
	{"consul put: fine", CONSUL, put, {0}, 0, 1},
	{"consul get: refused", CONSUL, get, {.how = REFUSE}, INTENT_EUNAVAILABLE, 0},
	{"consul put: refused is not unknown", CONSUL, put, {.how = REFUSE}, INTENT_EUNAVAILABLE, 0},
	{"consul get: reset", CONSUL, get, {"/v1/kv", RESET, NULL, 0}, INTENT_EUNAVAILABLE, 0},
	{"consul put: reset after it was sent", CONSUL, put, {"/v1/txn", RESET, NULL, 0}, INTENT_EUNKNOWN, 0},
	{"consul put: cut after it was sent, not sent twice", CONSUL, put, {"/v1/txn", CLOSE, NULL, 1},
		INTENT_EUNKNOWN, 0},
	{"consul put: no leader is nothing done", CONSUL, put, {"/v1/txn", ANSWER, PLAIN("500 Oh",
		"No cluster leader"), 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul put: another 500 is unknown", CONSUL, put, {"/v1/txn", ANSWER, PLAIN("500 Oh", "rpc error: EOF\n"), 0},
		INTENT_EUNKNOWN, 0},
	{"consul put: 502 of a proxy is unknown", CONSUL, put, {"/v1/txn", ANSWER, REPLY_502, 0}, INTENT_EUNKNOWN, 0},
	{"consul put: 200 without a document is unknown", CONSUL, put, {"/v1/txn", ANSWER, HTML, 0},
		INTENT_EUNKNOWN, 0},
	{"consul put: 429", CONSUL, put, {"/v1/txn", ANSWER, PLAIN("429 Too Many", ""), 0}, INTENT_EUNAVAILABLE, 0},
	{"consul cas: conflict", CONSUL, cas, {"/v1/txn", ANSWER, PLAIN("409 Conflict",
		"{\"Results\":null,\"Errors\":[{\"OpIndex\":0,"
			"\"What\":\"failed index check for key \\\"a/k\\\"\"}]}"), 0},
		INTENT_ECONFLICT, 0},
	{"consul bound put: session gone", CONSUL, bound, {"/v1/txn", ANSWER, PLAIN("409 Conflict",
		"{\"Results\":null,\"Errors\":[{\"OpIndex\":0,\"What\":\"invalid session \\\"1\\\"\"}]}"), 0},
			INTENT_EABSENT, 0},
	{"consul put: too large", CONSUL, put, {"/v1/txn", ANSWER, PLAIN("413 Too Large", "Big\n"), 0},
		INTENT_ETOOBIG, 0},
	{"consul put: forbidden", CONSUL, put, {"/v1/txn", ANSWER, PLAIN("403 Forbidden", "Permission denied\n"), 0},
		INTENT_EREFUSED, 0},
	{"consul get: really absent", CONSUL, get, {"/v1/kv", ANSWER, CONSUL("404 Not Found", "7", "true", "0",
		"0", ""), 0},
		INTENT_EABSENT, 0},
	{"consul get: a stale 404 is not absence", CONSUL, get, {"/v1/kv", ANSWER,
		CONSUL("404 Not Found", "1", "true", "6", "0", ""), 0}, INTENT_EUNAVAILABLE, 0},
	{"consul get: a leaderless 404 is not absence", CONSUL, get, {"/v1/kv", ANSWER,
		CONSUL("404 Not Found", "9", "false", "0", "0", ""), 0}, INTENT_EUNAVAILABLE, 0},
	{"consul get: a 404 of something else is not absence", CONSUL, get, {"/v1/kv", ANSWER,
		PLAIN("404 Not Found", "not found"), 0}, INTENT_EUNAVAILABLE, 0},
	{"consul get: truncated", CONSUL, get, {"/v1/kv", ANSWER_CLOSE, CONSUL("200 OK", "9", "true", "0",
		"900", "[{"), 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul get: wrong length", CONSUL, get, {"/v1/kv", ANSWER_CLOSE, CONSUL("200 OK", "9", "true", "0",
		"2", "[{}]"), 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul get: garbage", CONSUL, get, {"/v1/kv", ANSWER_CLOSE, "\x16\x03\x01 no\r\n\r\n", 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul get: huge header", CONSUL, get, {"/v1/kv", HUGE_HEADER, NULL, 0}, INTENT_ETOOBIG, 0},
	{"consul get: redirect", CONSUL, get, {"/v1/kv", ANSWER,
		"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul get: 204", CONSUL, get, {"/v1/kv", ANSWER, "HTTP/1.1 204 No Content\r\n\r\n", 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul get: 304", CONSUL, get, {"/v1/kv", ANSWER, "HTTP/1.1 304 Not Modified\r\n\r\n", 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul list: html", CONSUL, list, {"/v1/kv", ANSWER, HTML, 0}, INTENT_EUNAVAILABLE, 0},
	{"consul renew: gone", CONSUL, session_renew, {"/renew/", ANSWER, PLAIN("404 Not Found",
		"Session not found"), 0},
		INTENT_EABSENT, 0},
	{"consul renew: cut is unavailable", CONSUL, session_renew, {"/renew/", CLOSE, NULL, 0},
		INTENT_EUNAVAILABLE, 0},
	{"consul open: garbage", CONSUL, session_open, {"/create", ANSWER, HTML, 0}, INTENT_EUNAVAILABLE, 0},
	{"consul close: fine", CONSUL, session_close, {0}, 0, 0},
};

static int failures;

#define expect(condition, ...) do { \
	if (!(condition)) { failures++; printf("# "); printf(__VA_ARGS__); putchar('\n'); } } while (0)

static struct intent_store *open_store(const char *extra)
{
	struct intent_store *store = NULL;
	struct intent_error err = {0};
	char url[128];

	(void)snprintf(url, sizeof url, "%s127.0.0.1:%d%s", server.engine == ETCD ? "etcd://" : "consul://",
		       server.port, extra);
	if (intent_store_open(url, NULL, &store, &err)) {
		printf("# %s\n", err.msg);
		_exit(99);
	}
	return store;
}

static void run_call(const struct call_row *row)
{
	struct intent_error err = {0};

	server.engine = row->engine;
	start_listening();
	server.fault = row->fault;
	if (row->fault.how == REFUSE)
		stop_listening();
	struct intent_store *store = open_store("");
	int code = row->call(store, &err);

	expect(code == row->code, "code %d (%s), wanted %d: %s", code, intent_error_reason(code), row->code, err.msg);
	expect(code != INTENT_EUNKNOWN || server.used <= 1, "an unknown write was sent %d times", server.used);
	expect(server.writes == row->writes, "%d writes, wanted %d", server.writes, row->writes);
	intent_store_close(store);
}

/* ---- watches ---- */

enum heal { VALUE, LOWER, OTHER_CLUSTER, ABSENT };

static const struct watch_row {
	const char *name;
	enum engine engine;
	struct fault fault;
	bool from_start;       /* the fault is there before the watch */
	enum { LEAVE, CUT, CUT_RESET } connections; /* when the fault sets in */
	int fault_ms;
	enum heal heal;
	bool trouble;          /* is the watch's owner to be told? */
	int most;              /* requests while the fault lasts */
	bool idle_wakes, split;
	const char *user, *extra;
} watch_rows[] = {
	{.name = "etcd watch: fine", .engine = ETCD, .most = 0, .fault_ms = 500},
	{.name = "etcd watch: refused from the start", .engine = ETCD, .fault = {.how = REFUSE}, .from_start = true,
	 .fault_ms = 3000, .trouble = true},
	{.name = "etcd watch: server gone for a while", .engine = ETCD, .fault = {.how = REFUSE}, .connections = CUT,
	 .fault_ms = 3000, .trouble = true},
	{.name = "etcd watch: connections reset", .engine = ETCD, .connections = CUT_RESET, .fault_ms = 100,
	 .trouble = true, .most = 3},
	{.name = "etcd watch: reads are reset", .engine = ETCD, .fault = {"kv/range", RESET, NULL, 0},
		.connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "etcd watch: reads hang", .engine = ETCD, .fault = {"kv/range", HOLD, NULL, 0}, .connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "etcd watch: reads drip", .engine = ETCD, .fault = {"kv/range", DRIP,
		"HTTP/1.1 200 OK\r\nContent-Length: 9", 0},
	 .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "etcd watch: truncated reads", .engine = ETCD, .fault = {"kv/range", ANSWER_CLOSE,
	 SIZED("200 OK", "500", "{\"header\":{"), 0}, .connections = CUT, .fault_ms = 2500, .trouble = true, .most = 4},
	{.name = "etcd watch: reads of garbage", .engine = ETCD, .fault = {"kv/range", ANSWER_CLOSE, "\x01\x02\r\n", 0},
	 .connections = CUT, .fault_ms = 2500, .trouble = true, .most = 4},
	{.name = "etcd watch: html", .engine = ETCD, .fault = {"kv/range", ANSWER, HTML, 0}, .from_start = true,
	 .fault_ms = 2500, .trouble = true, .most = 5},
	{.name = "etcd watch: empty documents", .engine = ETCD, .fault = {"kv/range", ANSWER, PLAIN("200 OK", "{}"), 0},
	 .from_start = true, .fault_ms = 2500, .trouble = true, .most = 5},
	{.name = "etcd watch: redirected", .engine = ETCD, .fault = {NULL, ANSWER,
	 "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 0}, .from_start = true, .fault_ms = 2500,
	 .trouble = true, .most = 5},
	{.name = "etcd watch: no leader", .engine = ETCD, .fault = {"/v3/", ANSWER, PLAIN("503 Service Unavailable",
	 "{\"error\":\"etcdserver: no leader\",\"code\":14}"), 0}, .connections = CUT, .fault_ms = 3000,
		.trouble = true,
	 .most = 4},
	{.name = "etcd watch: the stream does not open once", .engine = ETCD, .fault = {"/v3/watch", HOLD, NULL, 1},
	 .connections = CUT, .fault_ms = 7000, .trouble = true, .most = 6},
	{.name = "etcd watch: the stream is refused", .engine = ETCD, .fault = {"/v3/watch", ANSWER_CLOSE,
		REPLY_502, 0},
	 .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 12},
	{.name = "etcd watch: stream cut at once", .engine = ETCD, .fault = {"/v3/watch", STREAM_CUT, "", 0},
	 .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 12},
	{.name = "etcd watch: clean ends", .engine = ETCD, .fault = {"/v3/watch", STREAM_CLOSE, "", 0},
	 .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 12},
	{.name = "etcd watch: compacted, stream left open", .engine = ETCD, .fault = {"/v3/watch", STREAM_DEAF,
	 "{\"result\":{\"header\":{\"revision\":\"100\"},\"canceled\":true,\"compact_revision\":\"8\"}}\n", 2},
		.connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 12},
	{.name = "etcd watch: canceled, stream left open", .engine = ETCD, .fault = {"/v3/watch", STREAM_DEAF,
	 "{\"result\":{\"canceled\":true,\"cancel_reason\":\"because\"}}\n", 1}, .connections = CUT, .fault_ms = 2000,
	 .trouble = true, .most = 8},
	{.name = "etcd watch: error in the stream", .engine = ETCD, .fault = {"/v3/watch", STREAM,
	 "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}\n", 0},
		.connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 12},
	{.name = "etcd watch: garbage in the stream", .engine = ETCD, .fault = {"/v3/watch", STREAM, "nonsense\n", 0},
	 .connections = CUT, .fault_ms = 2500, .trouble = true, .most = 12},
	{.name = "etcd watch: events of an unknown watch", .engine = ETCD, .fault = {"/v3/watch", STREAM,
	 "{\"result\":{\"watch_id\":\"9\",\"events\":[{\"kv\":{\"key\":\"YS9r\"}}]}}\n", 1},
		.connections = CUT, .fault_ms = 2000,
	 .trouble = true, .most = 8},
	{.name = "etcd watch: a line of 20 MiB", .engine = ETCD, .fault = {"/v3/watch", LONG_LINE, NULL, 1},
		.connections = CUT,
	 .fault_ms = 2000, .trouble = true, .most = 8},
	{.name = "etcd watch: lines split in many pieces", .engine = ETCD, .split = true, .connections = CUT,
	 .fault_ms = 1500, .trouble = true, .most = 5},
	{.name = "etcd watch: progress notes are no news", .engine = ETCD, .fault = {"/v3/watch", STREAM,
	 "{\"result\":{\"header\":{\"revision\":\"100\"}}}\n{\"result\":{\"header\":{\"revision\":\"100\"}}}\n", 0},
	 .connections = CUT, .fault_ms = 1500, .trouble = true, .most = 5},
	{.name = "etcd watch: restored to a lower revision", .engine = ETCD, .connections = CUT, .heal = LOWER,
	 .fault = {.how = REFUSE}, .fault_ms = 1500, .trouble = true},
	{.name = "etcd watch: another cluster in its place", .engine = ETCD, .connections = CUT, .heal = OTHER_CLUSTER,
	 .fault = {.how = REFUSE}, .fault_ms = 1500, .trouble = true},
	{.name = "etcd watch: the key is deleted meanwhile", .engine = ETCD, .connections = CUT, .heal = ABSENT,
	 .fault = {.how = REFUSE}, .fault_ms = 1500, .trouble = true},
	{.name = "etcd watch: token expired", .engine = ETCD, .user = "u:p", .fault = {"kv/range", ANSWER,
	 PLAIN("401 Unauthorized", "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}"), 1},
	 .connections = CUT, .fault_ms = 1500, .trouble = true, .most = 7},
	{.name = "etcd watch: auth store is old", .engine = ETCD, .user = "u:p", .fault = {"kv/range", ANSWER,
	 PLAIN("400 Bad Request", "{\"error\":\"etcdserver: revision of auth store is old\",\"code\":3}"), 1},
	 .connections = CUT, .fault_ms = 1500, .trouble = true, .most = 7},
	{.name = "etcd watch: forbidden", .engine = ETCD, .fault = {"kv/range", ANSWER,
	 PLAIN("403 Forbidden", "{\"error\":\"etcdserver: permission denied\",\"code\":7}"), 0}, .from_start = true,
	 .fault_ms = 2500, .trouble = true, .most = 5},
	{.name = "etcd watch: one endpoint of two refuses", .engine = ETCD, .extra = ",127.0.0.1:1", .connections = CUT,
	 .fault_ms = 1500, .trouble = true, .most = 6},

	{.name = "consul watch: fine", .engine = CONSUL, .fault_ms = 500, .most = 0},
	{.name = "consul watch: refused from the start", .engine = CONSUL, .fault = {.how = REFUSE}, .from_start = true,
	 .fault_ms = 3000, .trouble = true},
	{.name = "consul watch: server gone for a while", .engine = CONSUL, .fault = {.how = REFUSE},
		.connections = CUT,
	 .fault_ms = 3000, .trouble = true},
	{.name = "consul watch: connections reset", .engine = CONSUL, .connections = CUT_RESET, .fault_ms = 100,
	 .trouble = true, .most = 2},
	{.name = "consul watch: server back with a lower index", .engine = CONSUL, .connections = CUT, .heal = LOWER,
	 .fault = {.how = REFUSE}, .fault_ms = 1500, .trouble = true},
	{.name = "consul watch: the index falls under a waiting query", .engine = CONSUL, .heal = LOWER,
		.fault_ms = 500},
	{.name = "consul watch: the key is deleted meanwhile", .engine = CONSUL, .connections = CUT, .heal = ABSENT,
	 .fault = {.how = REFUSE}, .fault_ms = 1500, .trouble = true},
	{.name = "consul watch: reads are reset", .engine = CONSUL, .fault = {"/v1/kv", RESET, NULL, 0},
		.connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: truncated", .engine = CONSUL, .fault = {"/v1/kv", ANSWER_CLOSE,
	 CONSUL("200 OK", "9", "true", "0", "900", "[{"), 0}, .connections = CUT, .fault_ms = 3000,
		.trouble = true, .most = 4},
	{.name = "consul watch: garbage", .engine = CONSUL, .fault = {"/v1/kv", ANSWER_CLOSE, "\x01\x02\r\n",
		0}, .connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: html", .engine = CONSUL, .fault = {"/v1/kv", ANSWER, HTML, 0}, .connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: huge header", .engine = CONSUL, .fault = {"/v1/kv", HUGE_HEADER, NULL, 0},
		.connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: redirected", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
	 "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 0}, .connections = CUT, .fault_ms = 3000,
	 .trouble = true, .most = 4},
	{.name = "consul watch: 204", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
		"HTTP/1.1 204 No Content\r\n\r\n", 0},
	 .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: no cluster leader", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
	 PLAIN("500 Oh", "No cluster leader"), 0}, .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: 429", .engine = CONSUL, .fault = {"/v1/kv", ANSWER, PLAIN("429 Too Many", ""), 0},
	 .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: forbidden", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
	 PLAIN("403 Forbidden", "Permission denied\n"), 0}, .connections = CUT, .fault_ms = 3000,
		.trouble = true, .most = 4},
	{.name = "consul watch: a stale 404 empties nothing", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
	 CONSUL("404 Not Found", "1", "true", "6", "0", ""), 0}, .connections = CUT, .fault_ms = 3000,
		.trouble = true, .most = 4},
	{.name = "consul watch: a leaderless 404 empties nothing", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
	 CONSUL("404 Not Found", "200", "false", "10490", "0", ""), 0}, .connections = CUT, .fault_ms = 3000,
		.trouble = true, .most = 4},
	{.name = "consul watch: a proxy's 404 empties nothing", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
	 PLAIN("404 Not Found", "not found"), 0}, .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 4},
	{.name = "consul watch: a lower index is not believed at once", .engine = CONSUL, .fault = {"index=", ANSWER,
	 CONSUL("404 Not Found", "5", "true", "0", "0", ""), 1}, .connections = CUT, .fault_ms = 3000, .trouble = true,
	 .most = 6},
	{.name = "consul watch: index 0 makes no storm", .engine = CONSUL, .fault = {"/v1/kv", ANSWER,
		CONSUL("200 OK", "0",
	 "true", "0", "@@", "[{\"Key\":\"a/k\",\"Flags\":0,\"Value\":\"djE=\","
		"\"ModifyIndex\":100}]                "), 0},
	 .connections = CUT, .fault_ms = 3000, .trouble = true, .most = 6},
	{.name = "consul watch: idle wakes make no storm", .engine = CONSUL, .idle_wakes = true, .connections = CUT,
	 .fault_ms = 3000, .trouble = true, .most = 6},
};

struct seen {
	int snapshots, troubles, over;
	bool standing, empty, wrong;
	char value[32];
};

static void on_snapshot(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data)
{
	struct seen *seen = data;

	(void)watch;
	seen->snapshots++;
	seen->empty = !snapshot->count;
	(void)snprintf(seen->value, sizeof seen->value, "%s", snapshot->count ? snapshot->entries[0].value : "");
}

static void on_trouble(struct intent_watch *watch, const struct intent_error *err, void *data)
{
	struct seen *seen = data;

	(void)watch;
	seen->standing = err->code;
	if (err->code)
		seen->troubles++;
	else
		seen->over++;
	if (getenv("VERBOSE"))
		printf("# trouble %d %s\n", err->code, err->msg);
}

#define ROUND_MS 50 /* a round of the loop that took longer was not let run */

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

/* For so long, of which the time that others had the machine is no part; the loop ticks every 20 ms. */
static void run_for(uv_loop_t *loop, int64_t ms, const struct seen *seen, const char *value)
{
	int64_t before = intent_time_monotonic();

	while (ms > 0 && !(value && seen->snapshots && !strcmp(seen->value, value))) {
		uv_run(loop, UV_RUN_ONCE);
		int64_t now = intent_time_monotonic();

		ms -= now - before < ROUND_MS ? now - before : ROUND_MS;
		before = now;
	}
}

static void set_in(const struct watch_row *row)
{
	pthread_mutex_lock(&server.lock);
	server.fault = row->fault;
	server.used = server.requests = 0;
	server.wake_idly = row->idle_wakes;
	server.split = row->split;
	if (row->fault.how == REFUSE)
		stop_listening();
	if (row->connections != LEAVE)
		cut_all(row->connections == CUT_RESET);
	pthread_mutex_unlock(&server.lock);
}

static const char *heal(const struct watch_row *row, int *ret_requests)
{
	pthread_mutex_lock(&server.lock);
	*ret_requests = server.requests;
	server.fault = (struct fault){0};
	server.wake_idly = false;
	server.revision = row->heal == LOWER ? 5 : server.revision + 10;
	if (row->heal == OTHER_CLUSTER)
		server.cluster = "78";
	(void)snprintf(server.value, sizeof server.value, "%s", row->heal == ABSENT ? "" : "v2");
	if (row->fault.how == REFUSE)
		start_listening();
	pthread_cond_broadcast(&server.changed);
	pthread_mutex_unlock(&server.lock);
	return server.value;
}

static void run_watch(const struct watch_row *row)
{
	const char *const prefixes[] = {"a/", NULL};
	struct seen seen = {0};
	struct intent_watch_events events = {on_snapshot, on_trouble, &seen};
	struct intent_watch *watch;
	struct intent_error err = {0};
	uv_loop_t loop;
	uv_timer_t tick;
	int requests;

	if (row->user)
		setenv("ETCDCTL_USER", row->user, 1);
	server.engine = row->engine;
	start_listening();
	if (row->from_start)
		set_in(row);
	uv_loop_init(&loop);
	uv_timer_init(&loop, &tick);
	uv_timer_start(&tick, on_tick, 20, 20);
	struct intent_store *store = open_store(row->extra ? row->extra : "");

	if (intent_store_attach(store, &loop, &err) || intent_watch_start(store, prefixes, &events, &watch, &err)) {
		expect(false, "%s", err.msg);
		return;
	}
	if (!row->from_start) {
		run_for(&loop, 20000, &seen, "v1");
		expect(!strcmp(seen.value, "v1"), "no first snapshot");
		run_for(&loop, 200, &seen, NULL);
		set_in(row);
	}
	int before = seen.snapshots;
	int64_t since = intent_time_monotonic();

	run_for(&loop, row->fault_ms, &seen, NULL);
	expect(seen.snapshots == before, "%d snapshots while the fault lasted", seen.snapshots - before);
	expect(!!seen.troubles == row->trouble, "trouble was told %d times", seen.troubles);
	const char *value = heal(row, &requests);
	int64_t healed = intent_time_monotonic(), lasted = healed - since;
	int most = lasted > row->fault_ms ? (int)(row->most * lasted / row->fault_ms) : row->most;

	expect(requests <= most || row->fault.how == REFUSE, "%d requests in %lld ms, wanted at most %d",
	       requests, (long long)lasted, most);
	run_for(&loop, 2000, &seen, value);
	expect(seen.snapshots > before && !strcmp(seen.value, value), "not converged 2 s after healing: %d, \"%s\"",
	       seen.snapshots, seen.value);
	printf("# %s: %lld ms after healing, %d requests\n", row->name,
		(long long)(intent_time_monotonic() - healed), requests);
	run_for(&loop, 500, &seen, NULL);
	expect(!seen.standing, "trouble is not over");
	int settled = seen.snapshots;

	run_for(&loop, 500, &seen, NULL);
	expect(seen.snapshots == settled, "snapshots of what has not changed");
	intent_watch_stop(watch);
	intent_store_close(store);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	expect(!uv_loop_close(&loop), "handles are left on the loop");
}

/* ---- all rows, side by side ---- */

enum { CALLS = sizeof call_rows / sizeof call_rows[0], WATCHES = sizeof watch_rows / sizeof watch_rows[0],
	SIDE_BY_SIDE = 24 };

static const char *name_of(int index)
{
	return index < CALLS ? call_rows[index].name : watch_rows[index - CALLS].name;
}

static pid_t begin(int index, int out)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	dup2(out, 1);
	alarm(120);
	if (index < CALLS)
		run_call(&call_rows[index]);
	else
		run_watch(&watch_rows[index - CALLS]);
	fflush(stdout);
	exit(failures ? 1 : 0);
}

static bool chosen(int index, int argc, char **argv)
{
	bool any = argc < 2;

	for (int i = 1; i < argc; i++)
		any = any || strstr(name_of(index), argv[i]);
	return any;
}

static int report(int number, int index, int status, FILE *said)
{
	char line[600];
	bool good = WIFEXITED(status) && !WEXITSTATUS(status);

	printf("%sok %d - %s\n", good ? "" : "not ", number, name_of(index));
	rewind(said);
	while (fgets(line, sizeof line, said))
		if (!good || getenv("VERBOSE"))
			fputs(line, stdout);
	if (WIFSIGNALED(status))
		printf("# ended by signal %d\n", WTERMSIG(status));
	fclose(said);
	return !good;
}

int main(int argc, char **argv)
{
	struct { pid_t pid; int index; FILE *said; } running[SIDE_BY_SIDE] = {0};
	int next = 0, active = 0, number = 0, bad = 0;

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (next < CALLS + WATCHES || active) {
		while (next < CALLS + WATCHES && active < SIDE_BY_SIDE) {
			int slot = 0, index = next++;

			if (!chosen(index, argc, argv))
				continue;
			while (running[slot].pid)
				slot++;
			running[slot].index = index;
			running[slot].said = tmpfile();
			running[slot].pid = begin(index, fileno(running[slot].said));
			active++;
		}
		int status;
		pid_t pid = active ? wait(&status) : 0;

		for (int slot = 0; pid > 0 && slot < SIDE_BY_SIDE; slot++) {
			if (running[slot].pid != pid)
				continue;
			bad += report(++number, running[slot].index, status, running[slot].said);
			running[slot].pid = 0;
			active--;
		}
	}
	return bad != 0;
}
