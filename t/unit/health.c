#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <intent/file.h>
#include <intent/health.h>

static struct intent_error error;
static pid_t server;

/*
 * A server in a process of its own that takes what is asked and answers so; NULL: it never
 * answers, "": it closes. Returns its port.
 */
static int serve(const char *answer)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *any = (struct sockaddr *)&address;
	socklen_t length = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, any, length), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	ck_assert_int_eq(getsockname(fd, any, &length), 0);
	server = fork();
	if (!server) {
		alarm(60);
		for (;;) {
			char asked[4096];
			int peer = accept(fd, NULL, NULL);
			ssize_t got = recv(peer, asked, sizeof asked - 1, 0);

			if (!answer) {
				pause();
				_exit(0);
			}
			asked[got > 0 ? got : 0] = '\0';
			if (*answer == '?') {
				/* 200 only for exactly what follows. */
				char line[256] = "";
				bool right = !strncmp(asked, answer + 1, strlen(answer + 1));

				snprintf(line, sizeof line, "HTTP/1.1 %d x\r\n\r\n", right ? 200 : 400);
				intent_write_all(peer, line, strlen(line));
			} else {
				intent_write_all(peer, answer, strlen(answer));
			}
			close(peer);
		}
	}
	close(fd);
	return ntohs(address.sin_port);
}

static void end_server(void)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

/* Looks once at a process that has been up for an hour; `format` may hold one %d for port. */
static int look(const char *format, int port)
{
	struct intent_health_subject subject = { .up_ms = 3600000 };
	char text[512], *hole = strstr(format, "%d");
	intent_json_auto json_t *health = NULL;

	error = (struct intent_error){ 0 };
	if (hole)
		snprintf(text, sizeof text, "%.*s%d%s", (int)(hole - format), format, port, hole + 2);
	else
		snprintf(text, sizeof text, "%s", format);
	ck_assert_msg(!intent_json_parse(text, strlen(text), 0, &health, &error), "%s", error.msg);
	struct intent_json_field row = { .name = "", .type = INTENT_JSON_OBJECT,
					 .members = intent_health_fields };
	if (intent_json_check(health, &row, true, NULL, &error))
		return error.code;
	return intent_health_check(health, &subject, &error);
}

#define says(words) ck_assert_msg(strstr(error.msg, words), "%s", error.msg)

START_TEST(time_up)
{
	struct intent_health_subject subject = { .up_ms = -1 };
	intent_json_auto json_t *health = json_pack("{s:s}", "up", "200ms");

	ck_assert_int_eq(intent_health_check(NULL, &subject, &error), INTENT_EUNHEALTHY);
	says("down");
	subject.up_ms = 999;
	ck_assert_int_eq(intent_health_check(NULL, &subject, &error), INTENT_EUNHEALTHY);
	says("of 1.0s");
	subject.up_ms = 1000;
	ck_assert_int_eq(intent_health_check(NULL, &subject, &error), 0);
	subject.up_ms = 199;
	ck_assert_int_eq(intent_health_check(health, &subject, &error), INTENT_EUNHEALTHY);
	subject.up_ms = 200;
	ck_assert_int_eq(intent_health_check(health, &subject, &error), 0);
}
END_TEST

START_TEST(deadline)
{
	intent_json_auto json_t *words = json_pack("{s:s}", "deadline", "2m");
	intent_json_auto json_t *number = json_pack("{s:i}", "deadline", 7);

	ck_assert_int_eq(intent_health_deadline(NULL), 30000);
	ck_assert_int_eq(intent_health_deadline(words), 120000);
	ck_assert_int_eq(intent_health_deadline(number), 7000);
}
END_TEST

START_TEST(tcp)
{
	int port = serve("");

	ck_assert_int_eq(look("{\"tcp\": %d}", port), 0);
	end_server();
	ck_assert_int_eq(look("{\"tcp\": %d}", port), INTENT_EUNHEALTHY);
	says("tcp 127.0.0.1:");
	says("refused");
}
END_TEST

START_TEST(http_statuses)
{
	static const struct { const char *answer; int code; const char *says; } rows[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", 0, "" },
		{ "HTTP/1.0 204 No\r\n\r\n", 0, "" },
		{ "HTTP/1.1 299 X\r\n\r\n", 0, "" },
		{ "HTTP/1.1 199 X\r\n\r\n", INTENT_EUNHEALTHY, "status 199" },
		{ "HTTP/1.1 302 X\r\n\r\n", INTENT_EUNHEALTHY, "status 302" },
		{ "HTTP/1.1 503 X\r\n\r\n", INTENT_EUNHEALTHY, "status 503" },
		{ "SSH-2.0-OpenSSH\r\n", INTENT_EUNHEALTHY, "not HTTP" },
		{ "", INTENT_EUNHEALTHY, "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int port = serve(rows[i].answer);

		ck_assert_msg(look("{\"http\": {\"port\": %d}}", port) == rows[i].code, "row %zu: %s", i, error.msg);
		if (rows[i].code)
			says(rows[i].says);
		end_server();
	}
}
END_TEST

START_TEST(http_request)
{
	int port = serve("?GET /_status?x=1 HTTP/1.1\r\nHost: 127.0.0.1:");

	ck_assert_int_eq(look("{\"http\": {\"port\": %d, \"path\": \"/_status?x=1\"}}", port), 0);
	ck_assert_int_eq(look("{\"http\": \"http://127.0.0.1:%d/_status?x=1#part\"}", port), 0);
	ck_assert_int_eq(look("{\"http\": \"http://127.0.0.1:%d/other\"}", port), INTENT_EUNHEALTHY);
	says("status 400");
	end_server();
	port = serve("?GET / HTTP/1.1\r\nHost: localhost:");
	ck_assert_int_eq(look("{\"http\": \"http://localhost:%d\"}", port), 0);
	end_server();
	ck_assert_int_eq(look("{\"http\": \"http://[::1]:%d/\"}", port), INTENT_EUNHEALTHY);
}
END_TEST

START_TEST(silence_is_a_failed_check)
{
	int port = serve(NULL);
	int64_t before = intent_time_monotonic();

	ck_assert_int_eq(look("{\"timeout\": \"200ms\", \"http\": {\"port\": %d}}", port), INTENT_EUNHEALTHY);
	says("no answer in time");
	ck_assert_int_lt(intent_time_monotonic() - before, 50000);
	end_server();
}
END_TEST

START_TEST(bad_documents)
{
	static const char *const bad[] = {
		"{\"http\": \"ftp://x/\"}", "{\"http\": \"http://a b/\"}", "{\"http\": {\"path\": \"/\"}}",
		"{\"http\": {\"port\": 70000}}", "{\"http\": {\"port\": 1, \"path\": \"x\"}}",
		"{\"http\": {\"port\": 1, \"path\": \"/\\r\\nX: y\"}}", "{\"tcp\": 0}", "{\"tcp\": \"1\"}",
		"{\"up\": \"soon\"}", "{\"check\": 1}", "{\"htttp\": {}}", "{\"http\": \"http://u:p@h/\"}",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(look(bad[i], 0) == INTENT_EMALFORMED, "%s", bad[i]);
}
END_TEST

START_TEST(program)
{
	char install[] = "/tmp/platypus-health.XXXXXX", path[64], bin[64];
	const char *env[] = { "PATH=/usr/bin:/bin", "GREETING=hello", NULL };
	struct intent_health_subject subject = { .install = install, .up_ms = 5000, .env = env };
	intent_json_auto json_t *wanted = json_pack("{s:b}", "check", 1);
	intent_json_auto json_t *never = json_pack("{s:b}", "check", 0);
	intent_json_auto json_t *brief = json_pack("{s:s}", "timeout", "100ms");

	ck_assert_ptr_nonnull(mkdtemp(install));
	snprintf(bin, sizeof bin, "%s/bin", install);
	snprintf(path, sizeof path, "%s/bin/check", install);
	ck_assert_int_eq(intent_health_check(NULL, &subject, &error), 0);
	ck_assert_int_eq(intent_health_check(wanted, &subject, &error), INTENT_EUNHEALTHY);
	says("bin/check");
	ck_assert_int_eq(mkdir(bin, 0755), 0);
#define script(text) intent_file_write(path, text, strlen(text), 0755, &error)
	script("#!/bin/sh\ntest $GREETING = hello && test -d bin\n");
	ck_assert_int_eq(intent_health_check(NULL, &subject, &error), 0);
	script("#!/bin/sh\necho no database >&2; exit 2\n");
	ck_assert_int_eq(intent_health_check(NULL, &subject, &error), INTENT_EUNHEALTHY);
	says("exit status 2: no database");
	ck_assert_int_eq(intent_health_check(never, &subject, &error), 0);
	script("#!/bin/sh\nsleep 100\n");
	ck_assert_int_eq(intent_health_check(brief, &subject, &error), INTENT_EUNHEALTHY);
	says("100ms");
	ck_assert_int_eq(intent_tree_remove(install, &error), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_test(all, time_up);
	tcase_add_test(all, deadline);
	tcase_add_test(all, tcp);
	tcase_add_test(all, http_statuses);
	tcase_add_test(all, http_request);
	tcase_add_test(all, silence_is_a_failed_check);
	tcase_add_test(all, bad_documents);
	tcase_add_test(all, program);
	suite_add_tcase(suite, all);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
