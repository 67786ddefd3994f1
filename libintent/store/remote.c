/* Carrying the requests of a remote engine; see remote.h. */
#include <stdarg.h>
#include <strings.h>
#include "remote.h"

/* ---- small things ---- */

void intent__call_release(struct intent__call *call)
{
	intent_text_release(&call->path);
	intent_text_release(&call->body);
	*call = (struct intent__call){0};
}

void intent__headers_add(struct intent__headers *headers, const char *format, ...)
{
	char *line = NULL;
	va_list list;

	if (headers->count + 1 >= sizeof headers->lines / sizeof headers->lines[0])
		return;
	va_start(list, format);
	if (vasprintf(&line, format, list) >= 0)
		headers->lines[headers->count++] = line;
	va_end(list);
}

static void headers_release(struct intent__headers *headers)
{
	for (size_t i = 0; i < headers->count; i++) {
		explicit_bzero(headers->lines[i], strlen(headers->lines[i]));
		free(headers->lines[i]);
	}
}

const char *intent__env(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

bool intent__env_true(const char *name)
{
	static const char *const words[] = {"1", "t", "true", "yes", "on"};
	const char *value = intent__env(name);

	for (size_t i = 0; value && i < sizeof words / sizeof words[0]; i++)
		if (!strcasecmp(value, words[i]))
			return true;
	return false;
}

struct intent_op *intent__ops_copy(const struct intent_op *ops, size_t count)
{
	size_t room = count * sizeof *ops;

	for (size_t i = 0; i < count; i++)
		room += strlen(ops[i].key) + 1 + ops[i].length +
			(ops[i].session ? strlen(ops[i].session) + 1 : 0);
	struct intent_op *copies = malloc(room);
	char *at = (char *)(copies + count);

	for (size_t i = 0; i < count; i++) {
		copies[i] = ops[i];
		copies[i].key = memcpy(at, ops[i].key, strlen(ops[i].key) + 1);
		at += strlen(at) + 1;
		if (ops[i].length)
			copies[i].value = memcpy(at, ops[i].value, ops[i].length);
		at += ops[i].length;
		if (!ops[i].session)
			continue;
		copies[i].session = memcpy(at, ops[i].session, strlen(ops[i].session) + 1);
		at += strlen(at) + 1;
	}
	return copies;
}

void intent__trouble_report(struct intent__trouble *trouble, const struct intent_error *err)
{
	if (trouble->last.code == err->code && !strcmp(trouble->last.msg, err->msg))
		return;
	trouble->last = *err;
	trouble->sink->on_trouble(err, trouble->sink->data);
}

void intent__trouble_over(struct intent__trouble *trouble)
{
	if (!trouble->last.code)
		return;
	trouble->last = (struct intent_error){0};
	trouble->sink->on_trouble(&trouble->last, trouble->sink->data);
}

/* ---- endpoints ---- */

static bool is_port(const char *string)
{
	int64_t port;
	struct intent_error ignored;

	return !intent_integer_parse(string, 1, 65535, &port, &ignored);
}

/* "host", "host:port", "[v6]", "[v6]:port"; nothing else of a URL. */
static int add_endpoint(struct intent__remote *remote, const char *text, size_t length, int port,
			struct intent_error *err)
{
	intent_free_auto char *one = strndup(text, length);

	if (strchr(one, '@'))
		return intent_fail(err, INTENT_EUSAGE, "the URL holds credentials, and URLs are logged: "
				   "use the engine's own variables (CONSUL_HTTP_TOKEN, ETCDCTL_USER)");
	const char *end = one[0] == '[' ? strchr(one, ']') : NULL;
	const char *colon = strchr(end ? end : one, ':');

	if (!*one || strcspn(one, "/?# \t") != length || colon == one || (one[0] == '[' && !end) ||
	    (colon && !is_port(colon + 1)) || (end && end[1] && end + 1 != colon))
		return intent_fail(err, INTENT_EUSAGE, "\"%.100s\" is not an address: write HOST:PORT "
				   "([ADDRESS]:PORT for IPv6)", one);
	if (remote->count == INTENT__REMOTE_ENDPOINTS)
		return intent_fail(err, INTENT_EUSAGE, "more than %d addresses", INTENT__REMOTE_ENDPOINTS);
	remote->endpoints[remote->count++] = colon ? strdup(one) : intent_format("%s:%d", one, port);
	return 0;
}

static int parse_endpoints(struct intent__remote *remote, const char *rest, int port,
			   struct intent_error *err)
{
	if (rest[0] == '/') {
		remote->endpoints[remote->count++] = strdup("localhost");
		return 0;
	}
	for (size_t length;; rest += length + 1) {
		length = strcspn(rest, ",");
		/* A slash at the very end is what people's fingers add to a URL. */
		bool last = !rest[length];
		size_t bare = last && length && rest[length - 1] == '/' ? length - 1 : length;

		if (add_endpoint(remote, rest, bare, port, err))
			return err->code;
		if (last)
			return 0;
	}
}

int intent__remote_open(struct intent__remote *remote, const char *rest, int port,
			const struct intent_http_settings *settings, struct intent_error *err)
{
	struct intent_http_settings own = *settings;

	own.max_connections = INTENT__REMOTE_CONNECTIONS;
	if (rest[0] == '/')
		own.unix_socket = rest;
	int code = parse_endpoints(remote, rest, port, err);

	if (!code && !strcmp(remote->scheme, "https"))
		code = intent_http_settings_check(&own, err);
	if (code) {
		intent__remote_close(remote);
		return code;
	}
	remote->http = intent_http_new(&own);
	/* Agents that start together do not all ask the first one. */
	if (remote->count > 1)
		remote->at = (size_t)getpid() % remote->count;
	if (!remote->connect_timeout_ms)
		remote->connect_timeout_ms = remote->count > 1 ? 2000 : 5000;
	return 0;
}

void intent__remote_attach(struct intent__remote *remote, uv_loop_t *loop)
{
	remote->loop = loop;
	intent_http_attach(remote->http, loop);
}

void intent__remote_close(struct intent__remote *remote)
{
	while (remote->tasks)
		intent__task_cancel(remote->tasks);
	remote->http = intent_http_free(remote->http);
	for (size_t i = 0; i < remote->count; i++)
		free(remote->endpoints[i]);
	remote->count = 0;
}

void intent__remote_next(struct intent__remote *remote)
{
	remote->at = (remote->at + 1) % remote->count;
}

uint64_t intent__remote_pause(int64_t *last_attempt)
{
	int64_t now = intent_time_monotonic();
	int64_t pause = *last_attempt ? *last_attempt + 1000 - now : 0;

	pause = (pause > 0 ? pause : 0) + (int64_t)(intent__reconnect_delay() % 500);
	*last_attempt = now + pause;
	return (uint64_t)pause;
}

/* ---- one request of a task ---- */

static int fill(struct intent__task *task, struct intent__headers *headers,
		struct intent_http_request *request, struct intent_error *err)
{
	struct intent__remote *remote = task->remote;

	intent__call_release(&task->call);
	int code = task->build(task, &task->call, err);

	if (code)
		return code;
	if (task->call.path.failed || task->call.body.failed)
		return intent_fail(err, INTENT_ETOOBIG, "the request is larger than 64 MiB");
	free(task->url);
	task->url = intent_format("%s://%s%s", remote->scheme, remote->endpoints[remote->at],
				  intent_text_str(&task->call.path));
	remote->headers(remote, headers);
	*request = (struct intent_http_request){
		.method = task->call.method,
		.url = task->url,
		.headers = (const char *const *)headers->lines,
		.body = task->call.has_body ? intent_text_str(&task->call.body) : NULL,
		.body_length = task->call.body.length,
		.connect_timeout_ms = remote->connect_timeout_ms,
		.timeout_ms = task->call.timeout_ms ? task->call.timeout_ms : INTENT__REMOTE_TIMEOUT,
		.body_max = INTENT__REPLY_MAX,
		/* A blocking query's index means nothing to the server behind a new connection. */
		.once = true,
		.fresh = task->call.fresh || task->fresh,
	};
	return 0;
}

/* What an exchange's end means for the task; true: there is another request to make. */
static bool goes_on(struct intent__task *task, struct intent_http_response *response, bool sent,
		    struct intent_error *err)
{
	enum intent__verdict verdict = INTENT__ELSEWHERE;
	struct intent__remote *remote = task->remote;

	if (!err->code) {
		verdict = task->parse(task, response, err);
		task->fresh = false;
		if (verdict == INTENT__DONE)
			err->code = 0;
	} else if (err->code == INTENT_ETOOBIG) {
		verdict = task->shrink && task->shrink(task) ? INTENT__MORE : INTENT__FAILED;
	} else if (sent && task->call.writes) {
		verdict = INTENT__FAILED;
		(void)intent_wrap(err, "whether it was written is not known");
		err->code = INTENT_EUNKNOWN;
	} else {
		err->code = INTENT_EUNAVAILABLE;
		task->fresh = true;
	}
	if (verdict == INTENT__ELSEWHERE) {
		intent__remote_next(remote);
		/* A lone endpoint is asked twice: a kept connection may just have been cut. */
		return ++task->moves < (remote->count > 1 || task->once ? remote->count : 2);
	}
	return verdict == INTENT__MORE;
}

int intent__task_perform(struct intent__task *task, struct intent_error *err)
{
	for (bool more = true; more;) {
		struct intent__headers headers = {0};
		struct intent_http_request request;
		struct intent_http_response response = {0};
		bool sent;

		err->code = 0;
		int code = fill(task, &headers, &request, err);

		if (!code) {
			(void)intent_http_perform(task->remote->http, &request, &response, &sent, err);
			more = goes_on(task, &response, sent, err);
		}
		headers_release(&headers);
		intent_http_response_release(&response);
		if (code)
			return code;
	}
	return err->code;
}

static int send_request(struct intent__task *task, struct intent_error *err);

static void unlink_task(struct intent__task *task)
{
	if (task->previous)
		task->previous->next = task->next;
	else if (task->remote->tasks == task)
		task->remote->tasks = task->next;
	if (task->next)
		task->next->previous = task->previous;
	task->previous = task->next = NULL;
}

static void free_task(struct intent__task *task)
{
	intent__call_release(&task->call);
	free(task->url);
	task->free(task);
}

static void on_answer(struct intent_http_exchange *exchange, struct intent_http_response *response,
		      bool sent, const struct intent_error *failure, void *data)
{
	struct intent__task *task = data;
	struct intent_error err = *failure;

	(void)exchange;
	task->exchange = NULL;
	if (goes_on(task, response, sent, &err)) {
		err.code = 0;
		if (!send_request(task, &err))
			return;
	}
	unlink_task(task);
	task->on_done(task, &err);
	free_task(task);
}

static int send_request(struct intent__task *task, struct intent_error *err)
{
	struct intent__headers headers = {0};
	struct intent_http_request request;
	int code = fill(task, &headers, &request, err);

	if (!code)
		code = intent_http_start(task->remote->http, &request, on_answer, task, &task->exchange, err);
	headers_release(&headers);
	return code;
}

int intent__task_start(struct intent__task *task, struct intent_error *err)
{
	struct intent__remote *remote = task->remote;
	int code = send_request(task, err);

	if (code)
		return code;
	task->next = remote->tasks;
	if (remote->tasks)
		remote->tasks->previous = task;
	remote->tasks = task;
	return 0;
}

void intent__task_cancel(struct intent__task *task)
{
	if (!task)
		return;
	if (task->exchange)
		intent_http_cancel(task->exchange);
	unlink_task(task);
	free_task(task);
}

int intent__remote_stream(struct intent__remote *remote, const struct intent__call *call,
			  const struct intent__stream *stream,
			  struct intent_http_exchange **ret_borrowed, struct intent_error *err)
{
	struct intent__headers headers = {0};
	intent_free_auto char *url = intent_format("%s://%s%s", remote->scheme,
		remote->endpoints[remote->at], intent_text_str(&call->path));

	if (call->body.failed)
		return intent_fail(err, INTENT_ETOOBIG, "the request is larger than 64 MiB");
	remote->headers(remote, &headers);
	struct intent_http_request request = {
		.method = call->method,
		.url = url,
		.headers = (const char *const *)headers.lines,
		.body = call->has_body ? intent_text_str(&call->body) : NULL,
		.body_length = call->body.length,
		.connect_timeout_ms = remote->connect_timeout_ms,
		.once = true,
		.body_max = 1u << 20, /* of an error's document only */
		.on_headers = stream->on_headers,
		.on_body = stream->on_body,
		.data = stream->data,
	};
	int code = intent_http_start(remote->http, &request, stream->on_done, stream->data,
				     ret_borrowed, err);

	headers_release(&headers);
	return code;
}
