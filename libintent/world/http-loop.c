/*
 * Exchanges on a libuv loop: libcurl says which sockets and which deadline it waits for,
 * the loop waits for exactly these.
 *
 * libcurl refuses to be changed from within its own callbacks, but the callers' on_body may
 * start, cancel or free. Such wishes are noted (`inside`) and carried out afterwards.
 */
#include "http-exchange.h"

struct intent__http_loop {
	struct intent_http *http;
	uv_loop_t *uv;
	CURLM *multi;
	uv_timer_t *timer; /* libcurl's */
	uv_timer_t *wake;  /* ours: it tells libcurl's deadline only when that changes */
	struct intent_http_exchange *first;
	unsigned inside;   /* calls into libcurl or callbacks on the stack */
	bool dying;
};

struct watched_socket {
	uv_poll_t poll;
	struct intent__http_loop *loop;
	curl_socket_t fd;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void detach(struct intent__http_loop *loop, struct intent_http_exchange *exchange)
{
	if (exchange->added)
		curl_multi_remove_handle(loop->multi, exchange->easy);
	if (exchange->stall_timer)
		uv_close((uv_handle_t *)exchange->stall_timer, free_handle);
	if (exchange->previous)
		exchange->previous->next = exchange->next;
	else
		loop->first = exchange->next;
	if (exchange->next)
		exchange->next->previous = exchange->previous;
	exchange->previous = exchange->next = NULL;
	exchange->added = false;
	exchange->stall_timer = NULL;
}

static void destroy(struct intent__http_loop *loop)
{
	while (loop->first) {
		struct intent_http_exchange *exchange = loop->first;

		detach(loop, exchange);
		intent__http_exchange_free(exchange);
	}
	if (loop->multi)
		curl_multi_cleanup(loop->multi); /* takes back its sockets one by one */
	uv_close((uv_handle_t *)loop->timer, free_handle);
	uv_close((uv_handle_t *)loop->wake, free_handle);
	intent__http_destroy(loop->http);
	free(loop);
}

static void finish(struct intent__http_loop *loop, struct intent_http_exchange *exchange, CURLcode result)
{
	struct intent_error err = {0};
	bool sent = false;

	(void)intent__http_exchange_result(exchange, result, &sent, &err);
	detach(loop, exchange);
	if (!exchange->cancelled && !loop->dying)
		exchange->on_done(exchange, &exchange->response, sent, &err, exchange->data);
	intent__http_exchange_free(exchange);
}

static bool carry_out(struct intent__http_loop *loop)
{
	for (struct intent_http_exchange *each = loop->first; each; each = each->next) {
		if (each->cancelled) {
			detach(loop, each);
			intent__http_exchange_free(each);
			return true;
		}
		if (each->added)
			continue;
		each->added = !curl_multi_add_handle(loop->multi, each->easy);
		if (!each->added)
			finish(loop, each, CURLE_OUT_OF_MEMORY);
		return true;
	}
	return false;
}

static bool hand_over(struct intent__http_loop *loop)
{
	int left;
	CURLMsg *message = loop->multi ? curl_multi_info_read(loop->multi, &left) : NULL;
	struct intent_http_exchange *exchange = NULL;

	if (!message)
		return false;
	if (message->msg == CURLMSG_DONE) {
		CURLcode result = message->data.result;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &exchange);
		finish(loop, exchange, result);
	}
	return true;
}

/* What was wished for while libcurl was on the stack, and what it has finished. */
static void settle(struct intent__http_loop *loop)
{
	if (loop->inside)
		return;
	loop->inside++;
	/* One at a time: on_done may change the list, or end it all. */
	while (!loop->dying && (carry_out(loop) || hand_over(loop)))
		;
	loop->inside--;
	if (loop->dying)
		destroy(loop);
}

static void act(struct intent__http_loop *loop, curl_socket_t fd, int events)
{
	int running;

	loop->inside++;
	curl_multi_socket_action(loop->multi, fd, events, &running);
	loop->inside--;
	settle(loop);
}

static void on_wake(uv_timer_t *timer)
{
	settle(timer->data);
}

static void on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct watched_socket *watched = poll->data;
	int flags = status < 0 ? CURL_CSELECT_ERR :
		(events & UV_READABLE ? CURL_CSELECT_IN : 0) | (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);

	act(watched->loop, watched->fd, flags);
}

static int want_timer(CURLM *multi, long timeout_ms, void *data)
{
	struct intent__http_loop *loop = data;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(loop->timer);
	else
		uv_timer_start(loop->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	struct intent__http_loop *loop = data;
	struct watched_socket *watched = socket_data;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watched)
			uv_close((uv_handle_t *)&watched->poll, free_handle);
		curl_multi_assign(loop->multi, fd, NULL);
		return 0;
	}
	if (!watched) {
		watched = calloc(1, sizeof *watched);
		if (!watched || uv_poll_init_socket(loop->uv, &watched->poll, fd)) {
			free(watched);
			return -1;
		}
		watched->loop = loop;
		watched->fd = fd;
		watched->poll.data = watched;
		curl_multi_assign(loop->multi, fd, watched);
	}
	return uv_poll_start(&watched->poll, (what & CURL_POLL_IN ? UV_READABLE : 0) |
			     (what & CURL_POLL_OUT ? UV_WRITABLE : 0), on_ready) ? -1 : 0;
}

void intent_http_attach(struct intent_http *http, uv_loop_t *uv)
{
	struct intent__http_loop *loop = calloc(1, sizeof *loop);
	uv_timer_t *timer = calloc(1, sizeof *timer), *wake = calloc(1, sizeof *wake);

	uv_timer_init(uv, timer);
	uv_timer_init(uv, wake);
	timer->data = wake->data = loop;
	*loop = (struct intent__http_loop){.http = http, .uv = uv, .timer = timer, .wake = wake};
	http->loop = loop;
}

static int need_multi(struct intent__http_loop *loop, struct intent_error *err)
{
	int code = loop->multi ? 0 : intent__http_multi(loop->http, &loop->multi, err);

	if (code)
		return code;
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
	return 0;
}

static void on_stall(uv_timer_t *timer)
{
	struct intent_http_exchange *exchange = timer->data;
	struct intent__http_loop *loop = exchange->http->loop;
	int64_t left = intent__http_exchange_stall(exchange);

	if (left) {
		uv_timer_start(timer, on_stall, (uint64_t)left, 0);
		return;
	}
	exchange->code = INTENT_ETIMEOUT;
	loop->inside++;
	finish(loop, exchange, CURLE_OPERATION_TIMEDOUT);
	loop->inside--;
	settle(loop);
}

int intent_http_start(struct intent_http *http, const struct intent_http_request *request,
		      void (*on_done)(struct intent_http_exchange *, struct intent_http_response *response,
				      bool sent, const struct intent_error *err, void *data),
		      void *data, struct intent_http_exchange **ret_borrowed, struct intent_error *err)
{
	struct intent__http_loop *loop = http->loop;
	struct intent_http_exchange *exchange;

	if (!loop)
		return intent_fail(err, INTENT_EUSAGE, "HTTP client: attach it to a loop first");
	int code = need_multi(loop, err);

	if (code || (code = intent__http_exchange_new(http, request, &exchange, err)))
		return code;
	if (exchange->stall_ms) {
		exchange->stall_timer = calloc(1, sizeof *exchange->stall_timer);
		uv_timer_init(loop->uv, exchange->stall_timer);
		exchange->stall_timer->data = exchange;
		uv_timer_start(exchange->stall_timer, on_stall, (uint64_t)exchange->stall_ms, 0);
	}
	exchange->on_done = on_done;
	exchange->data = data;
	exchange->next = loop->first;
	if (loop->first)
		loop->first->previous = exchange;
	loop->first = exchange;
	if (ret_borrowed)
		*ret_borrowed = exchange;
	/* Not from here: libcurl may fail it at once, and on_done comes from the loop only. */
	uv_timer_start(loop->wake, on_wake, 0, 0);
	return 0;
}

void intent_http_cancel(struct intent_http_exchange *exchange)
{
	if (!exchange)
		return;
	exchange->cancelled = true;
	settle(exchange->http->loop);
}

void intent__http_loop_free(struct intent__http_loop *loop)
{
	if (loop->inside)
		loop->dying = true;
	else
		destroy(loop);
}
