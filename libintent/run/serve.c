/*
 * /metrics (Prometheus text), /healthz and /status over a unix socket or TCP:
 * GET only, one request a connection, bounded, idle clients cut off.
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <intent/file.h>
#include "run.h"

#define CLIENTS_MAX 16
#define REQUEST_MAX 4096
#define IDLE_MS 10000

union stream {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_pipe_t pipe;
	uv_tcp_t tcp;
};

struct intent__server {
	union stream listener;
	const struct intent__context *context;
	const struct intent__status *status;
	const struct intent__counters *counters;
	struct client *clients;
	int count;
	bool stopped;
	char *path; /* of the unix socket; owned */
};

struct client {
	struct client *next;
	struct intent__server *server;
	union stream stream;
	uv_timer_t idle;
	uv_write_t write;
	struct intent_text request, reply;
	int handles;
};

/* ---- what is served ---- */

static void put_label_value(struct intent_text *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			intent_text_puts(out, "\\");
		intent_text_add(out, *value == '\n' ? " " : value, 1);
	}
}

/* A series of its own, so that the state's does not end with each new time. */
static void put_since(const struct intent__server *server, struct intent_text *out)
{
	const char *slice;
	json_t *document;

	intent_text_puts(out, "# HELP platypus_slice_since_seconds Unix time since when each slice is in its state, for its reason.\n"
			 "# TYPE platypus_slice_since_seconds gauge\n");
	json_object_foreach((json_t *)(uintptr_t)intent__status_all(server->status), slice, document) {
		struct intent_error ignored;
		int64_t since;

		if (intent_time_parse(intent_json_string(document, "since", ""), &since, &ignored) < 0)
			continue;
		intent_text_printf(out, "platypus_slice_since_seconds{agent=\"%s\",slice=\"", server->context->agent->name);
		put_label_value(out, slice);
		intent_text_printf(out, "\"} %" PRId64 ".%03d\n", since / 1000, (int)(since % 1000));
	}
}

static void put_slices(const struct intent__server *server, struct intent_text *out)
{
	unsigned by_state[5] = {0};
	const char *slice;
	json_t *document;

	intent_text_puts(out, "# HELP platypus_slice_state 1 for the state each slice is in.\n"
			 "# TYPE platypus_slice_state gauge\n");
	json_object_foreach((json_t *)(uintptr_t)intent__status_all(server->status), slice, document) {
		const char *state = intent_json_string(document, "state", "");

		for (int i = 0; i < 5; i++)
			by_state[i] += !strcmp(state, intent_state_name((enum intent_state)i));
		intent_text_printf(out, "platypus_slice_state{agent=\"%s\",slice=\"", server->context->agent->name);
		put_label_value(out, slice);
		intent_text_printf(out, "\",state=\"%s\",reason=\"%s\"} 1\n", state,
				   intent_json_string(document, "reason", ""));
	}
	put_since(server, out);
	intent_text_puts(out, "# HELP platypus_slices Slices by state.\n# TYPE platypus_slices gauge\n");
	for (int i = 0; i < 5; i++)
		intent_text_printf(out, "platypus_slices{agent=\"%s\",state=\"%s\"} %u\n", server->context->agent->name,
				   intent_state_name((enum intent_state)i), by_state[i]);
}

static void put_metrics(const struct intent__server *server, struct intent_text *out)
{
	const struct intent__counters *c = server->counters;
	const char *agent = server->context->agent->name;

	put_slices(server, out);
	intent_text_puts(out, "# HELP platypus_rounds_total Rounds by the state they ended in.\n"
			 "# TYPE platypus_rounds_total counter\n");
	for (int i = 0; i < 5; i++)
		intent_text_printf(out, "platypus_rounds_total{agent=\"%s\",state=\"%s\"} %" PRIu64 "\n", agent,
				   intent_state_name((enum intent_state)i), c->rounds[i]);
	intent_text_printf(out, "# HELP platypus_actions_total Actions done.\n"
			   "# TYPE platypus_actions_total counter\nplatypus_actions_total{agent=\"%s\"} %" PRIu64 "\n",
			   agent, c->actions);
	intent_text_printf(out, "# HELP platypus_snapshots_total Changes of intent seen.\n"
			   "# TYPE platypus_snapshots_total counter\nplatypus_snapshots_total{agent=\"%s\"} %" PRIu64 "\n",
			   agent, c->snapshots);
	intent_text_printf(out, "# HELP platypus_store_up Can the intent store be read?\n"
			   "# TYPE platypus_store_up gauge\nplatypus_store_up{agent=\"%s\"} %d\n", agent, c->store_up);
	intent_text_printf(out, "# HELP platypus_start_time_seconds Unix time the agent started.\n"
			   "# TYPE platypus_start_time_seconds gauge\nplatypus_start_time_seconds{agent=\"%s\"} %.3f\n",
			   agent, (double)c->started_ms / 1000);
	intent_text_printf(out, "# HELP platypus_build_info Which agent this is, of which node and version.\n"
			   "# TYPE platypus_build_info gauge\n"
			   "platypus_build_info{agent=\"%s\",node=\"%s\",version=\"%s\"} 1\n",
			   agent, server->context->node, INTENT_VERSION);
}

static void put_health(const struct intent__server *server, struct intent_text *out)
{
	intent_text_printf(out, "ok\nstore %s\n", server->counters->store_up ? "up" : "down: the last good intent is kept");
}

static void put_status(const struct intent__server *server, struct intent_text *out)
{
	intent_free_auto char *text = intent_json_pretty(intent__status_all(server->status));

	intent_text_puts(out, text ? text : "{}");
	intent_text_puts(out, "\n");
}

static const struct {
	const char *path, *type;
	void (*put)(const struct intent__server *server, struct intent_text *out);
} pages[] = {
	{"/metrics", "text/plain; version=0.0.4", put_metrics},
	{"/healthz", "text/plain", put_health},
	{"/status", "application/json", put_status},
};

static void make_reply(struct client *client)
{
	intent_text_auto struct intent_text body = INTENT_TEXT_INIT;
	const char *status = "404 Not Found", *type = "text/plain";
	char path[64] = "";

	if (sscanf(intent_text_str(&client->request), "GET %63[^ ?] HTTP/1.%*[01]", path) != 1)
		status = "400 Bad Request";
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (!strcmp(path, pages[i].path)) {
			status = "200 OK";
			type = pages[i].type;
			pages[i].put(client->server, &body);
		}
	if (!body.length)
		intent_text_puts(&body, "here are /metrics, /healthz and /status\n");
	intent_text_printf(&client->reply, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			   status, type, body.length);
	intent_text_add(&client->reply, intent_text_str(&body), body.length);
}

/* ---- connections ---- */

static void free_server(struct intent__server *server)
{
	if (!server->stopped || server->count)
		return;
	free(server->path);
	free(server);
}

static void on_client_closed(uv_handle_t *handle)
{
	struct client *client = handle->data, **at = &client->server->clients;

	if (--client->handles)
		return;
	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	client->server->count--;
	free_server(client->server);
	intent_text_release(&client->request);
	intent_text_release(&client->reply);
	free(client);
}

static void close_client(struct client *client)
{
	if (uv_is_closing(&client->stream.handle))
		return;
	uv_close(&client->stream.handle, on_client_closed);
	uv_close((uv_handle_t *)&client->idle, on_client_closed);
}

static void on_idle(uv_timer_t *timer)
{
	close_client(timer->data);
}

static void on_written(uv_write_t *write, int status)
{
	(void)status;
	close_client(write->data);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	static char chunk[REQUEST_MAX];

	(void)handle;
	(void)suggested;
	*buf = uv_buf_init(chunk, sizeof(chunk));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
	struct client *client = stream->data;
	uv_buf_t out;

	if (got < 0 || client->request.length + (size_t)got > REQUEST_MAX) {
		close_client(client);
		return;
	}
	intent_text_add(&client->request, buf->base, (size_t)got);
	if (!strstr(intent_text_str(&client->request), "\r\n\r\n") &&
	    !strstr(intent_text_str(&client->request), "\n\n"))
		return;
	uv_read_stop(stream);
	make_reply(client);
	out = uv_buf_init(client->reply.data, (unsigned)client->reply.length);
	client->write.data = client;
	if (uv_write(&client->write, stream, &out, 1, on_written) < 0)
		close_client(client);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct intent__server *server = listener->data;
	struct client *client = status < 0 ? NULL : calloc(1, sizeof(*client));

	if (!client)
		return;
	client->server = server;
	if (server->path)
		uv_pipe_init(listener->loop, &client->stream.pipe, 0);
	else
		uv_tcp_init(listener->loop, &client->stream.tcp);
	uv_timer_init(listener->loop, &client->idle);
	client->stream.handle.data = client->idle.data = client;
	client->handles = 2;
	client->next = server->clients;
	server->clients = client;
	server->count++;
	if (uv_accept(listener, &client->stream.stream) < 0 || server->count > CLIENTS_MAX ||
	    uv_read_start(&client->stream.stream, on_alloc, on_read) < 0) {
		close_client(client);
		return;
	}
	uv_timer_start(&client->idle, on_idle, IDLE_MS, 0);
}

/* ---- listening ---- */

/* Does somebody answer there? */
static bool is_alive(const struct sockaddr_un *address)
{
	intent_close_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) || errno == EAGAIN);
}

/* A dead predecessor's socket may be replaced; anything else there is not ours. */
static int clear_place(const char *path, struct intent_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat st;

	if (strlen(path) >= sizeof(address.sun_path))
		return intent_fail(err, INTENT_EUSAGE, "--listen=unix:%s: a socket's path has at most %zu bytes", path,
				   sizeof(address.sun_path) - 1);
	if (lstat(path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return intent_fail(err, INTENT_ENOTOURS, "cannot listen on %s: it is not a socket; remove it, or give another --listen", path);
	memcpy(address.sun_path, path, strlen(path));
	if (is_alive(&address))
		return intent_fail(err, INTENT_EBUSY, "cannot listen on %s: another process does; "
				   "end that one, or give another --listen (none: do without)", path);
	unlink(path);
	return 0;
}

static int listen_unix(struct intent__server *server, uv_loop_t *loop, const char *path, struct intent_error *err)
{
	intent_free_auto char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	int code;

	if (slash && slash > parent) {
		*slash = '\0';
		if (intent_directory_make(parent, 0755, err) < 0)
			return err->code;
	}
	if (clear_place(path, err) < 0)
		return err->code;
	uv_pipe_init(loop, &server->listener.pipe, 0);
	server->path = strdup(path);
	code = uv_pipe_bind(&server->listener.pipe, path);
	if (!code)
		code = uv_pipe_chmod(&server->listener.pipe, UV_READABLE | UV_WRITABLE);
	return code < 0 ? intent_fail(err, code, "cannot listen on %s: %s (--listen=none does without)",
			path, uv_strerror(code)) : 0;
}

static int listen_tcp(struct intent__server *server, uv_loop_t *loop, const char *address, struct intent_error *err)
{
	const char *colon = strrchr(address, ':');
	intent_free_auto char *host = colon ? strndup(address, (size_t)(colon - address)) : NULL;
	struct sockaddr_storage where;
	int64_t port;
	int code;

	if (!colon || intent_integer_parse(colon + 1, 0, 65535, &port, err) < 0)
		return intent_fail(err, INTENT_EUSAGE, "--listen=%s: write HOST:PORT, unix:PATH or none", address);
	uv_tcp_init(loop, &server->listener.tcp);
	if (uv_ip4_addr(*host ? host : "127.0.0.1", (int)port, (struct sockaddr_in *)&where) < 0) {
		if (host[0] == '[' && intent_ends_with(host, "]")) {
			memmove(host, host + 1, strlen(host));
			host[strlen(host) - 1] = '\0';
		}
		if (uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)&where) < 0)
			return intent_fail(err, INTENT_EUSAGE, "--listen=%s: %s is not an IP address", address, host);
	}
	code = uv_tcp_bind(&server->listener.tcp, (struct sockaddr *)&where, 0);
	return code < 0 ? intent_fail(err, code, "cannot listen on %s: %s", address, uv_strerror(code)) : 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct intent__server *server = handle->data;

	server->stopped = true;
	free_server(server);
}

int intent__server_start(uv_loop_t *loop, const char *address, const struct intent__context *context,
			 const struct intent__status *status, const struct intent__counters *counters,
			 struct intent__server **ret_owned, struct intent_error *err)
{
	struct intent__server *server;
	int code;

	if (!strcmp(address, "none"))
		return 0;
	server = calloc(1, sizeof(*server));
	*server = (struct intent__server){.context = context, .status = status, .counters = counters};
	if (intent_starts_with(address, "unix:"))
		code = listen_unix(server, loop, address + strlen("unix:"), err);
	else
		code = listen_tcp(server, loop, address, err);
	server->listener.handle.data = server;
	if (!code) {
		code = uv_listen(&server->listener.stream, 16, on_connection);
		if (code < 0)
			intent_fail(err, code, "cannot listen on %s: %s", address, uv_strerror(code));
	}
	if (code < 0) {
		if (server->listener.handle.loop)
			uv_close(&server->listener.handle, on_listener_closed);
		else
			free(server);
		return err->code;
	}
	*ret_owned = server;
	return 0;
}

void intent__server_stop(struct intent__server *server)
{
	if (!server)
		return;
	for (struct client *client = server->clients; client; client = client->next)
		close_client(client);
	uv_close(&server->listener.handle, on_listener_closed);
}
