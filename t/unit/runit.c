#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <intent/file.h>
#include "../../libintent/world/runit.h"
#include "../../libintent/world/supervisor.h"

static struct intent_error error;
static char service[64];

static void make_service(void)
{
	char path[128];

	snprintf(service, sizeof service, "/tmp/platypus-runit.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(service));
	snprintf(path, sizeof path, "%s/supervise", service);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void remove_service(void)
{
	intent_tree_remove(service, &error);
}

static void put_status(const unsigned char *bytes, size_t count)
{
	char path[128];

	snprintf(path, sizeof path, "%s/supervise/status", service);
	ck_assert_int_eq(intent_file_write(path, bytes, count, 0644, &error), 0);
}

/* 2026-11-21, as runsv 2.1.2 writes it. */
#define TIME 0x40, 0, 0, 0, 0x6b, 0x01, 0x05, 0xb1, 0x03, 0x8b, 0xff, 0x44

static const struct {
	unsigned char bytes[INTENT__RUNIT_STATUS_SIZE];
	int code;
	pid_t pid;
	bool paused, want_up, got_term;
	enum intent__runit_state state;
} rows[] = {
	{ { TIME, 0x50, 0x27, 0, 0, 0, 'u', 0, 1 }, 0, 10064, false, true, false, INTENT__RUNIT_RUN },
	{ { TIME, 0, 0, 0, 0, 0, 'd', 0, 0 }, 0, 0, false, false, false, INTENT__RUNIT_DOWN },
	{ { TIME, 1, 0, 0, 0, 1, 'd', 1, 2 }, 0, 1, true, false, true, INTENT__RUNIT_FINISH },
	{ { TIME, 0xff, 0xff, 0xff, 0x7f, 0, 'u', 0, 1 }, 0, INT32_MAX, false, true, false, INTENT__RUNIT_RUN },
	{ { TIME, 0, 0, 0, 0x80, 0, 'u', 0, 1 }, INTENT_EMALFORMED, 0, false, false, false, 0 },
	{ { TIME, 1, 0, 0, 0, 0, 'x', 0, 1 }, INTENT_EMALFORMED, 0, false, false, false, 0 },
	{ { TIME, 1, 0, 0, 0, 0, 'u', 0, 3 }, INTENT_EMALFORMED, 0, false, false, false, 0 },
	{ { TIME, 1, 0, 0, 0, 2, 'u', 0, 1 }, INTENT_EMALFORMED, 0, false, false, false, 0 },
	{ { TIME, 1, 0, 0, 0, 0, 'u', 2, 1 }, INTENT_EMALFORMED, 0, false, false, false, 0 },
	/* A clock before 1970 is no reason to know nothing. */
	{ { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'u', 0, 1 }, 0, 1, false, true, false, INTENT__RUNIT_RUN },
};

START_TEST(parse)
{
	struct intent__runit_status status = { .pid = -7 };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int code = intent__runit_status_parse(rows[i].bytes, INTENT__RUNIT_STATUS_SIZE, &status, &error);

		ck_assert_msg(code == rows[i].code, "row %zu", i);
		if (code)
			continue;
		ck_assert_msg(status.pid == rows[i].pid && status.paused == rows[i].paused &&
			      status.want_up == rows[i].want_up && status.got_term == rows[i].got_term &&
			      status.state == rows[i].state, "row %zu", i);
	}
	ck_assert_int_eq(intent__runit_status_parse(rows[0].bytes, INTENT__RUNIT_STATUS_SIZE, &status, &error), 0);
	ck_assert_int_eq(status.since, 0x6b0105b1 - 10);
}
END_TEST

START_TEST(wrong_length)
{
	unsigned char bytes[64] = { 0 };
	struct intent__runit_status status = { .pid = -7 };

	for (size_t count = 0; count < sizeof bytes; count++) {
		memcpy(bytes, rows[0].bytes, INTENT__RUNIT_STATUS_SIZE);
		ck_assert_int_eq(intent__runit_status_parse(bytes, count, &status, &error),
				 count == INTENT__RUNIT_STATUS_SIZE ? 0 : INTENT_EMALFORMED);
	}
}
END_TEST

START_TEST(read_status)
{
	struct intent__runit_status status = { 0 };

	make_service();
	ck_assert_int_eq(intent__runit_status_read(service, &status, &error), INTENT_EABSENT);
	put_status(rows[0].bytes, 19);
	ck_assert_int_eq(intent__runit_status_read(service, &status, &error), INTENT_EMALFORMED);
	ck_assert_ptr_nonnull(strstr(error.msg, service));
	put_status(rows[0].bytes, 20);
	ck_assert_int_eq(intent__runit_status_read(service, &status, &error), 0);
	ck_assert_int_eq(status.pid, 10064);
	remove_service();
}
END_TEST

static bool has_logger(void)
{
	bool logs;

	ck_assert_int_eq(intent__runit_has_logger(service, &logs, &error), 0);
	return logs;
}

START_TEST(logger)
{
	char log[128], supervise[160], status[200], down[160];

	make_service();
	ck_assert(has_logger());
	snprintf(log, sizeof log, "%s/log", service);
	snprintf(supervise, sizeof supervise, "%s/supervise", log);
	snprintf(status, sizeof status, "%s/status", supervise);
	snprintf(down, sizeof down, "%s/down", log);
	ck_assert_int_eq(mkdir(log, 0700) | mkdir(supervise, 0700), 0);
	ck_assert_int_eq(intent_file_write(status, rows[0].bytes, INTENT__RUNIT_STATUS_SIZE, 0644, &error), 0);
	ck_assert(has_logger());
	ck_assert_int_eq(intent_file_write(status, rows[1].bytes, INTENT__RUNIT_STATUS_SIZE, 0644, &error), 0);
	ck_assert(!has_logger());
	/* Where it is to stay down, that says nothing. */
	ck_assert_int_eq(intent_file_write(down, "", 0, 0644, &error), 0);
	ck_assert(has_logger());
	remove_service();
}
END_TEST

static bool is_supervised(void)
{
	bool supervised;

	ck_assert_int_eq(intent__runit_is_supervised(service, &supervised, &error), 0);
	return supervised;
}

START_TEST(commands)
{
	char ok[128], control[128], said[8] = "";

	make_service();
	snprintf(ok, sizeof ok, "%s/supervise/ok", service);
	snprintf(control, sizeof control, "%s/supervise/control", service);
	ck_assert(!is_supervised());
	ck_assert_int_eq(intent__runit_control(service, "u", &error), INTENT_EUNSUPERVISED);
	ck_assert_int_eq(mkfifo(ok, 0600), 0);
	ck_assert_int_eq(mkfifo(control, 0600), 0);
	/* There, but nobody reads: a dead runsv. */
	ck_assert(!is_supervised());
	ck_assert_int_eq(intent__runit_control(service, "u", &error), INTENT_EUNSUPERVISED);
	ck_assert_ptr_nonnull(strstr(error.msg, service));
	int ok_fd = open(ok, O_RDONLY | O_NONBLOCK), control_fd = open(control, O_RDONLY | O_NONBLOCK);
	ck_assert(is_supervised());
	ck_assert_int_eq(intent__runit_control(service, "dx", &error), 0);
	ck_assert_int_eq((int)read(control_fd, said, sizeof said), 2);
	ck_assert_str_eq(said, "dx");
	close(ok_fd);
	close(control_fd);
	ck_assert(!is_supervised());
	remove_service();
}
END_TEST

START_TEST(uptime)
{
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	usleep(100000);
	int64_t up = intent__process_uptime(child);
	ck_assert_msg(up >= 60 && up < 60000, "%lld", (long long)up);
	kill(child, SIGKILL);
	/* A zombie is not up. */
	while (intent__process_uptime(child) >= 0)
		usleep(1000);
	waitpid(child, NULL, 0);
	ck_assert_int_eq(intent__process_uptime(child), -1);
	ck_assert_int_eq(intent__process_uptime(0), -1);
	ck_assert_int_eq(intent__process_uptime(-1), -1);
}
END_TEST

static bool after_ten(void *data)
{
	return ++*(int *)data > 10;
}

static bool never(void *data)
{
	(void)data;
	return false;
}

static bool always(void *data)
{
	(void)data;
	return true;
}

START_TEST(waiting)
{
	int asked = 0;
	int64_t now = intent_time_monotonic();

	ck_assert_int_eq(intent__wait(now + 10000, after_ten, NULL, &asked, &error), 0);
	ck_assert_int_eq(asked, 11);
	ck_assert_int_eq(intent__wait(now - 1, always, NULL, NULL, &error), 0);
	ck_assert_int_eq(intent__wait(intent_time_monotonic() + 50, never, NULL, NULL, &error), INTENT_ETIMEOUT);
	ck_assert_int_eq(intent__wait(now + 100000, never, always, NULL, &error), INTENT_ESTALE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runit");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_test(all, parse);
	tcase_add_test(all, wrong_length);
	tcase_add_test(all, read_status);
	tcase_add_test(all, logger);
	tcase_add_test(all, commands);
	tcase_add_test(all, uptime);
	tcase_add_test(all, waiting);
	suite_add_tcase(suite, all);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
