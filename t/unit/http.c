/* The HTTP client against a scripted server, blocking and on a loop. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>
#include <intent/file.h>
#include <intent/http.h>

/* ---- the server: what it answers is told by the path ---- */

enum manner { CLOSE, KEEP, HOLD, RESET, DRIP };

static const struct canned {
	const char *path, *answer;
	enum manner then;
} canned[] = {
	{"/ok", "HTTP/1.1 200 OK\r\nX-Thing:  one \r\nX-THING: two\r\nContent-Length: 5\r\n\r\nhello", KEEP},
	{"/absent", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", KEEP},
	{"/failing", "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno", KEEP},
	{"/empty", "HTTP/1.1 204 No Content\r\n\r\n", KEEP},
	{"/unchanged", "HTTP/1.1 304 Not Modified\r\n\r\n", KEEP},
	{"/moved", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 3\r\n\r\ngo!", KEEP},
	{"/circle", "HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\n\r\n", KEEP},
	{"/elsewhere", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", KEEP},
	{"/continue",
		"HTTP/1.1 100 Continue\r\nX-Thing: no\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", KEEP},
	{"/trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n", KEEP},
	{"/short", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", CLOSE},
	{"/garbage", "SSH-2.0-OpenSSH\r\n\r\n", CLOSE},
	{"/silence", "", HOLD},
	{"/stalls", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", HOLD},
	{"/drips", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n12345678", DRIP},
	{"/cut", "", RESET},
	{"/part", "HTTP/1.1 206 Partial\r\nContent-Length: 3\r\n\r\nllo", KEEP},
};

static int port, listener;
static atomic_int connections, now_open, most_open, requests;
static char last_request[4096];

static void answer(int fd, const struct canned *row)
{
	size_t length = strlen(row->answer);

	if (row->then == DRIP) {
		for (size_t i = 0; i < length; i++, usleep(30000))
			(void)!send(fd, row->answer + i, 1, MSG_NOSIGNAL);
	} else {
		(void)!send(fd, row->answer, length, MSG_NOSIGNAL);
	}
}

static void big_headers(int fd)
{
	static char line[1025];

	memset(line, 'x', sizeof line - 3);
	memcpy(line, "X-A: ", 5);
	memcpy(line + sizeof line - 3, "\r\n", 3);
	(void)!send(fd, "HTTP/1.1 200 OK\r\n", 17, MSG_NOSIGNAL);
	for (int i = 0; i < 80; i++)
		(void)!send(fd, line, strlen(line), MSG_NOSIGNAL);
	(void)!send(fd, "Content-Length: 0\r\n\r\n", 21, MSG_NOSIGNAL);
}

static const struct canned *find(const char *request)
{
	const char *path = strchr(request, ' ');

	for (size_t i = 0; path && i < sizeof canned / sizeof canned[0]; i++) {
		size_t length = strlen(canned[i].path);

		if (!strncmp(path + 1, canned[i].path, length) && strchr(" ?", path[1 + length]))
			return &canned[i];
	}
	return NULL;
}

static bool whole(const char *request)
{
	const char *body = strstr(request, "\r\n\r\n"), *length = strcasestr(request, "content-length:");

	return body && (!length || strlen(body + 4) >= strtoul(length + 15, NULL, 10));
}

static void *serve(void *data)
{
	int fd = (int)(intptr_t)data;
	char request[sizeof last_request];

	for (;;) {
		size_t length = 0;

		request[0] = '\0';
		while (!whole(request)) {
			ssize_t got = recv(fd, request + length, sizeof request - length - 1, 0);

			if (got <= 0)
				goto out;
			length += (size_t)got;
			request[length] = '\0';
		}
		memcpy(last_request, request, sizeof request);
		requests++;
		if (strstr(request, " /bigheaders ")) {
			big_headers(fd);
			continue;
		}
		const struct canned *row = find(request);

		if (!row)
			goto out;
		answer(fd, row);
		if (row->then == HOLD)
			pause();
		if (row->then == RESET)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
		if (row->then == CLOSE || row->then == RESET)
			goto out;
	}
out:
	now_open--;
	close(fd);
	return NULL;
}

static void *accepting(void *data)
{
	(void)data;
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_t thread;

		if (fd < 0)
			return NULL;
		connections++;
		if (++now_open > most_open)
			most_open = now_open;
		pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
}

static void start(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	pthread_t thread;

	listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert(!bind(listener, (struct sockaddr *)&address, length) && !listen(listener, 50));
	getsockname(listener, (struct sockaddr *)&address, &length);
	port = ntohs(address.sin_port);
	pthread_create(&thread, NULL, accepting, NULL);
	pthread_detach(thread);
}

static const char *url(const char *path)
{
	static char text[256];

	snprintf(text, sizeof text, "http://127.0.0.1:%d%s", port, path);
	return text;
}

/* ---- blocking ---- */

static struct intent_http *http;
static struct intent_http_response reply;
static struct intent_error error;
static bool sent;

static void open_client(void)
{
	start();
	http = intent_http_new(NULL);
	reply = (struct intent_http_response){0};
}

static void close_client(void)
{
	intent_http_response_release(&reply);
	http = intent_http_free(http);
}

static int perform(struct intent_http_request request, const char *path)
{
	intent_http_response_release(&reply);
	error = (struct intent_error){0};
	request.url = path[0] == '/' ? url(path) : path;
	return intent_http_perform(http, &request, &reply, &sent, &error);
}

static int get(const char *path)
{
	return perform((struct intent_http_request){0}, path);
}

static const struct { const char *path; int code, status; const char *body; } plain[] = {
	{"/ok", 0, 200, "hello"},
	{"/absent", 0, 404, "nope"},
	{"/failing", 0, 500, "no"},
	{"/empty", 0, 204, ""},
	{"/unchanged", 0, 304, ""},
	{"/moved", 0, 302, "go!"},
	{"/continue", 0, 200, "ok"},
	{"/trailer", 0, 200, "ok"},
	{"/short", INTENT_EUNAVAILABLE, 0, ""},
	{"/garbage", INTENT_EUNAVAILABLE, 0, ""},
	{"/cut", INTENT_EUNAVAILABLE, 0, ""},
	{"/bigheaders", INTENT_ETOOBIG, 0, ""},
	{"http://127.0.0.1:1/", INTENT_EUNAVAILABLE, 0, ""},
	{"http://host.invalid/", INTENT_EUNAVAILABLE, 0, ""},
	{"ftp://127.0.0.1/", INTENT_EUNAVAILABLE, 0, ""},
	{"file:///etc/passwd", INTENT_EUNAVAILABLE, 0, ""},
	{"http://[::1", INTENT_EUSAGE, 0, ""},
};

START_TEST(answers)
{
	open_client();
	int code = get(plain[_i].path);
	ck_assert_msg(code == plain[_i].code, "%s: %d %s", plain[_i].path, code, error.msg);
	ck_assert_int_eq(reply.status, plain[_i].status);
	ck_assert_str_eq(intent_text_str(&reply.body), plain[_i].body);
	ck_assert_int_eq(error.code, code);
	close_client();
}
END_TEST

START_TEST(header_lookup)
{
	char value[8];

	open_client();
	ck_assert_int_eq(get("/ok"), 0);
	ck_assert(intent_http_header(&reply, "x-thing", value, sizeof value));
	ck_assert_str_eq(value, "one");
	ck_assert(!intent_http_header(&reply, "x-thing", value, 3));
	ck_assert(!intent_http_header(&reply, "x-thin", value, sizeof value));
	ck_assert_int_eq(get("/continue"), 0);
	ck_assert(!intent_http_header(&reply, "x-thing", value, sizeof value));
	ck_assert_int_eq(get("/trailer"), 0);
	ck_assert(!intent_http_header(&reply, "x-late", value, sizeof value));
	close_client();
}
END_TEST

START_TEST(redirects)
{
	struct intent_http_request some = {.redirects = 3};

	open_client();
	ck_assert_int_eq(perform(some, "/moved"), 0);
	ck_assert_int_eq(reply.status, 200);
	ck_assert_str_eq(intent_text_str(&reply.body), "hello");
	ck_assert_int_eq(perform(some, "/circle"), INTENT_EUNAVAILABLE);
	some.allow_file = true;
	ck_assert_int_eq(perform(some, "/elsewhere"), INTENT_EUNAVAILABLE);
	close_client();
}
END_TEST

START_TEST(bounds_and_time)
{
	open_client();
	ck_assert_int_eq(perform((struct intent_http_request){.body_max = 5}, "/ok"), 0);
	ck_assert_int_eq(perform((struct intent_http_request){.body_max = 4}, "/ok"), INTENT_ETOOBIG);
	ck_assert_int_eq(perform((struct intent_http_request){.timeout_ms = 100}, "/silence"), INTENT_ETIMEOUT);
	ck_assert_int_eq(perform((struct intent_http_request){.stall_ms = 100}, "/stalls"), INTENT_ETIMEOUT);
	ck_assert_int_eq(perform((struct intent_http_request){.stall_ms = 10000}, "/drips"), 0);
	ck_assert_str_eq(intent_text_str(&reply.body), "12345678");
	close_client();
}
END_TEST

/* A write that may have been carried out is never sent twice, nor called undone. */
START_TEST(sent_or_not)
{
	struct intent_http_request put = {.method = "PUT", .body = "x", .body_length = 1};

	open_client();
	ck_assert_int_eq(perform(put, "http://127.0.0.1:1/"), INTENT_EUNAVAILABLE);
	ck_assert(!sent);
	ck_assert_int_eq(perform(put, "/ok"), 0);
	ck_assert_int_eq(connections, 1);
	ck_assert_int_eq(perform(put, "/cut"), INTENT_EUNAVAILABLE); /* on the kept connection */
	ck_assert(sent);
	ck_assert_int_eq(requests, 2);
	ck_assert_int_eq(perform((struct intent_http_request){.fresh = true}, "/ok"), 0);
	ck_assert_int_eq(perform((struct intent_http_request){.fresh = true}, "/ok"), 0);
	ck_assert_int_ge(connections, 3);
	close_client();
}
END_TEST

START_TEST(request_as_written)
{
	const char *headers[] = {"X-Consul-Token: t", NULL};

	open_client();
	ck_assert_int_eq(perform((struct intent_http_request){.method = "PUT", .headers = headers}, "/ok"), 0);
	ck_assert_ptr_nonnull(strstr(last_request, "PUT /ok HTTP/1.1\r\n"));
	ck_assert_ptr_nonnull(strstr(last_request, "X-Consul-Token: t\r\n"));
	ck_assert_ptr_nonnull(strstr(last_request, "Content-Length: 0\r\n"));
	ck_assert_ptr_null(strstr(last_request, "urlencoded"));
	ck_assert_ptr_null(strstr(last_request, "Expect"));
	ck_assert_int_eq(perform((struct intent_http_request){.offset = 2}, "/part"), 0);
	ck_assert_ptr_nonnull(strstr(last_request, "Range: bytes=2-\r\n"));
	ck_assert_int_eq(reply.status, 206);
	close_client();
}
END_TEST

START_TEST(no_secret_in_errors)
{
	open_client();
	ck_assert_int_ne(get("http://user:hunter2@127.0.0.1:1/x?token=hunter2"), 0);
	ck_assert_ptr_null(strstr(error.msg, "hunter2"));
	ck_assert_ptr_nonnull(strstr(error.msg, "GET http://127.0.0.1:1/x"));
	close_client();
}
END_TEST

START_TEST(files)
{
	char name[] = "/tmp/http-test-XXXXXX", path[64];
	int fd = mkstemp(name);
	struct intent_http_request file = {.allow_file = true};

	open_client();
	ck_assert_int_eq(write(fd, "hello", 5), 5);
	close(fd);
	snprintf(path, sizeof path, "file://%s", name);
	ck_assert_int_eq(perform(file, path), 0);
	ck_assert_int_eq(reply.status, 200);
	ck_assert_str_eq(intent_text_str(&reply.body), "hello");
	file.offset = 2;
	ck_assert_int_eq(perform(file, path), 0);
	ck_assert_int_eq(reply.status, 206);
	ck_assert_str_eq(intent_text_str(&reply.body), "llo");
	file.offset = 0;
	unlink(name);
	ck_assert_int_eq(perform(file, path), 0);
	ck_assert_int_eq(reply.status, 404);
	ck_assert_int_eq(perform(file, "file:///etc/passwd/x"), 0);
	ck_assert_int_eq(reply.status, 404);
	close_client();
}
END_TEST

static int told, bytes_seen;

static int headers_in(const struct intent_http_response *response, void *data)
{
	(void)data;
	told = response->status;
	return 0;
}

static int count_bytes(const void *bytes, size_t count, void *data)
{
	(void)bytes;
	ck_assert_int_ne(told, 0);
	bytes_seen += (int)count;
	return data ? INTENT_EDIGEST : 0;
}

START_TEST(streamed)
{
	struct intent_http_request stream = {.on_headers = headers_in, .on_body = count_bytes, .redirects = 1};

	open_client();
	ck_assert_int_eq(perform(stream, "/moved"), 0);
	ck_assert_int_eq(told, 200);
	ck_assert_int_eq(bytes_seen, 5);
	ck_assert_uint_eq(reply.body.length, 0);
	ck_assert_int_eq(perform(stream, "/absent"), 0);
	ck_assert_int_eq(told, 404);
	ck_assert_str_eq(intent_text_str(&reply.body), "nope");
	stream.data = &told;
	ck_assert_int_eq(perform(stream, "/ok"), INTENT_EDIGEST);
	close_client();
}
END_TEST

/* ---- on a loop ---- */

static uv_loop_t loop;
static int done, last_status, last_code;
static bool last_sent;

static void finished(struct intent_http_exchange *exchange, struct intent_http_response *response,
		     bool was_sent, const struct intent_error *err, void *data)
{
	(void)exchange;
	done++;
	last_status = response->status;
	last_code = err->code;
	last_sent = was_sent;
	if (data) { /* a start within a callback */
		ck_assert_int_eq(intent_http_start(http, &(struct intent_http_request){.url = url("/ok")},
						   finished, NULL, NULL, &error), 0);
	}
}

static struct intent_http_exchange *begin(struct intent_http_request request, const char *path, void *data)
{
	struct intent_http_exchange *exchange;

	request.url = path[0] == '/' ? url(path) : path;
	ck_assert_int_eq(intent_http_start(http, &request, finished, data, &exchange, &error), 0);
	return exchange;
}

static void open_loop(void)
{
	open_client();
	uv_loop_init(&loop);
	intent_http_attach(http, &loop);
	done = 0;
}

static void close_loop(void)
{
	close_client();
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void run_until(int count)
{
	for (int64_t end = intent_time_monotonic() + 60000; done < count;) {
		ck_assert(intent_time_monotonic() < end);
		uv_run(&loop, UV_RUN_ONCE);
	}
}

START_TEST(loop_answers)
{
	open_loop();
	begin((struct intent_http_request){0}, plain[_i].code == INTENT_EUSAGE ? "/ok" : plain[_i].path, NULL);
	ck_assert_int_eq(done, 0);
	run_until(1);
	ck_assert_int_eq(last_code, plain[_i].code == INTENT_EUSAGE ? 0 : plain[_i].code);
	close_loop();
}
END_TEST

START_TEST(loop_many_and_chained)
{
	open_loop();
	for (int i = 0; i < 30; i++)
		begin((struct intent_http_request){0}, "/ok", &loop);
	run_until(60);
	ck_assert_int_eq(last_status, 200);
	ck_assert_int_le(most_open, 8);
	close_loop();
}
END_TEST

START_TEST(loop_cancel)
{
	open_loop();
	struct intent_http_exchange *early = begin((struct intent_http_request){0}, "/ok", NULL);
	struct intent_http_exchange *held = begin((struct intent_http_request){0}, "/silence", NULL);

	intent_http_cancel(early);
	begin((struct intent_http_request){0}, "/drips", NULL);
	run_until(1);
	intent_http_cancel(held);
	begin((struct intent_http_request){.stall_ms = 100}, "/stalls", NULL);
	run_until(2);
	ck_assert_int_eq(last_code, INTENT_ETIMEOUT);
	begin((struct intent_http_request){.timeout_ms = 100}, "/silence", NULL);
	run_until(3);
	ck_assert_int_eq(last_code, INTENT_ETIMEOUT);
	ck_assert(last_sent);
	close_loop();
}
END_TEST

static struct intent_http_exchange *victim;

static int cancel_it(const void *bytes, size_t count, void *data)
{
	(void)bytes, (void)count, (void)data;
	intent_http_cancel(victim);
	begin((struct intent_http_request){0}, "/absent", NULL);
	return 0;
}

static int free_all(const void *bytes, size_t count, void *data)
{
	(void)bytes, (void)count, (void)data;
	http = intent_http_free(http);
	done++;
	return 0;
}

START_TEST(loop_changed_from_callbacks)
{
	open_loop();
	victim = begin((struct intent_http_request){.on_body = cancel_it}, "/ok", NULL);
	run_until(1);
	ck_assert_int_eq(last_status, 404);
	begin((struct intent_http_request){0}, "/silence", NULL);
	begin((struct intent_http_request){.on_body = free_all}, "/ok", NULL);
	run_until(2);
	close_loop();
}
END_TEST

static void stop_loop(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, NULL);
	done++;
}

static void on_round(uv_prepare_t *prepare)
{
	++*(int *)prepare->data;
}

START_TEST(loop_sleeps_while_idle)
{
	uv_prepare_t prepare;
	uv_timer_t timer, second;
	int rounds = 0;

	open_loop();
	begin((struct intent_http_request){0}, "/ok", NULL);
	run_until(1);
	begin((struct intent_http_request){.timeout_ms = 600000}, "/silence", NULL);
	while (requests < 2)
		uv_run(&loop, UV_RUN_NOWAIT);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, stop_loop, 300, 0);
	run_until(2); /* the long poll is out and waits */
	uv_timer_init(&loop, &second);
	uv_timer_start(&second, stop_loop, 3000, 0);
	uv_prepare_init(&loop, &prepare);
	prepare.data = &rounds;
	uv_prepare_start(&prepare, on_round);
	run_until(3);
	uv_close((uv_handle_t *)&prepare, NULL);
	/* once for our own timer */
	ck_assert_int_le(rounds, 2);
	close_loop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *blocking = tcase_create("blocking"), *looping = tcase_create("loop");
	int rows = sizeof plain / sizeof plain[0];

	/* A name server that does not answer is asked for long. */
	setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
	tcase_set_timeout(blocking, 30);
	tcase_set_timeout(looping, 30);
	tcase_add_loop_test(blocking, answers, 0, rows);
	tcase_add_test(blocking, header_lookup);
	tcase_add_test(blocking, redirects);
	tcase_add_test(blocking, bounds_and_time);
	tcase_add_test(blocking, sent_or_not);
	tcase_add_test(blocking, request_as_written);
	tcase_add_test(blocking, no_secret_in_errors);
	tcase_add_test(blocking, files);
	tcase_add_test(blocking, streamed);
	tcase_add_loop_test(looping, loop_answers, 0, rows);
	tcase_add_test(looping, loop_many_and_chained);
	tcase_add_test(looping, loop_cancel);
	tcase_add_test(looping, loop_changed_from_callbacks);
	tcase_add_test(looping, loop_sleeps_while_idle);
	suite_add_tcase(suite, blocking);
	suite_add_tcase(suite, looping);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
