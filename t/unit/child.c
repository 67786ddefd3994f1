#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/wait.h>

#include <intent/child.h>

static struct intent_child_result result;
static struct intent_error error;

static int run(struct intent_child_options *options, const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };

	intent_child_result_release(&result);
	result = (struct intent_child_result){ 0 };
	error = (struct intent_error){ 0 };
	options->argv = argv;
	return intent_child_run(options, &result, &error);
}

START_TEST(output_and_status)
{
	struct intent_child_options options = { 0 };

	ck_assert_int_eq(run(&options, "echo out; echo err >&2; exit 3"), 0);
	ck_assert_str_eq(intent_text_str(&result.out), "out\n");
	ck_assert_str_eq(intent_text_str(&result.err), "err\n");
	ck_assert(WIFEXITED(result.status) && WEXITSTATUS(result.status) == 3);
	ck_assert(!result.timed_out);
}
END_TEST

START_TEST(no_such_program)
{
	const char *argv[] = { "/nowhere/at/all", NULL };
	struct intent_child_options options = { .argv = argv };

	ck_assert_int_eq(intent_child_run(&options, &result, &error), INTENT_EABSENT);
	ck_assert_ptr_nonnull(strstr(error.msg, "/nowhere/at/all"));
	argv[0] = "/etc/passwd";
	ck_assert_int_eq(intent_child_run(&options, &result, &error), -EACCES);
}
END_TEST

START_TEST(environment_and_directory)
{
	const char *env[] = { "A=1", NULL };
	struct intent_child_options options = { .env = env, .directory = "/usr" };

	setenv("SECRET_OF_OURS", "x", 1);
	ck_assert_int_eq(run(&options, "/usr/bin/env | /usr/bin/sort | /bin/grep -v ^_; pwd"), 0);
	ck_assert_str_eq(intent_text_str(&result.out), "A=1\nPWD=/usr\n/usr\n");
	options.env = NULL;
	ck_assert_int_eq(run(&options, "env"), 0);
	ck_assert_ptr_null(strstr(intent_text_str(&result.out), "SECRET"));
	ck_assert_ptr_nonnull(strstr(intent_text_str(&result.out), "PATH="));
}
END_TEST

START_TEST(no_descriptors_leak)
{
	struct intent_child_options options = { 0 };
	int fd = open("/dev/null", O_RDONLY), far = fcntl(fd, F_DUPFD, 200);

	ck_assert_int_ge(far, 200);
	/* 3 or more is the directory that ls reads. */
	ck_assert_int_eq(run(&options, "ls /proc/self/fd | wc -l"), 0);
	ck_assert_str_eq(intent_text_str(&result.out), "4\n");
	close(fd);
	close(far);
}
END_TEST

START_TEST(standard_input)
{
	struct intent_child_options options = { 0 };
	int ends[2];

	ck_assert_int_eq(run(&options, "cat; readlink /proc/self/fd/0"), 0);
	ck_assert_str_eq(intent_text_str(&result.out), "/dev/null\n");
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq((int)write(ends[1], "hello", 5), 5);
	close(ends[1]);
	options.stdin_fd = ends[0];
	ck_assert_int_eq(run(&options, "cat"), 0);
	ck_assert_str_eq(intent_text_str(&result.out), "hello");
	close(ends[0]);
}
END_TEST

START_TEST(output_is_bounded_and_read_on)
{
	struct intent_child_options options = { .output_max = 1000 };

	ck_assert_int_eq(run(&options, "yes | head -c 3000000; echo end >&2"), 0);
	ck_assert_uint_eq(result.out.length, 1000);
	ck_assert_str_eq(intent_text_str(&result.err), "end\n");
}
END_TEST

static char seen[256];

static void remember(const char *line, void *data)
{
	size_t length = strlen(seen);

	snprintf(seen + length, sizeof seen - length, "%s[%s]", (const char *)data, line);
}

START_TEST(line_by_line)
{
	char mark[] = "+";
	struct intent_child_options options = { .on_line = remember, .data = mark };

	*seen = '\0';
	ck_assert_int_eq(run(&options, "printf 'a\\nb'; sleep 0.05; printf 'c\\n\\nrest'"), 0);
	ck_assert_str_eq(seen, "+[a]+[bc]+[]+[rest]");
}
END_TEST

/* Less than what sleeps sleeps, and enough for any machine. */
#define AT_ONCE 60000

/* On the first line. */
static pid_t pid_of(const struct intent_text *text)
{
	int64_t pid = 0;
	char word[32];

	snprintf(word, sizeof word, "%.*s", (int)strcspn(intent_text_str(text), "\n"),
		 intent_text_str(text));
	ck_assert_int_eq(intent_integer_parse(word, 2, INT32_MAX, &pid, &error), 0);
	return (pid_t)pid;
}

static bool is_gone(const struct intent_text *text)
{
	pid_t pid = pid_of(text);

	/* An orphan waits a moment for init to reap it. */
	for (int tries = 0; tries < 3000; tries++) {
		char path[64], stat[128] = "";

		snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
		FILE *file = fopen(path, "re");
		if (!file)
			return true;
		if (!fgets(stat, sizeof stat, file))
			*stat = '\0';
		fclose(file);
		if (strstr(stat, ") Z"))
			return true;
		usleep(10000);
	}
	return false;
}

START_TEST(deadline_ends_the_whole_group)
{
	/* Enough for a slow machine to have set the trap. */
	struct intent_child_options options = { .deadline_ms = 5000, .grace_ms = 100 };
	int64_t before = intent_time_monotonic();

	ck_assert_int_eq(run(&options, "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 1; done"),
			 INTENT_ETIMEOUT);
	ck_assert(result.timed_out);
	ck_assert(WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGKILL);
	ck_assert_int_lt(intent_time_monotonic() - before, AT_ONCE);
	ck_assert(is_gone(&result.out));
	ck_assert_ptr_nonnull(strstr(error.msg, "5.0s"));
}
END_TEST

static void note(const char *line, void *data)
{
	*(int *)data += *line != '\0';
}

static bool is_enough(void *data)
{
	return *(int *)data >= 2;
}

START_TEST(cancelled)
{
	int lines = 0;
	struct intent_child_options options = { .cancelled = is_enough, .on_line = note, .data = &lines, .grace_ms = 100 };

	ck_assert_int_eq(run(&options, "trap '' TERM; sleep 1000 & echo $!; echo up; sleep 1001; sleep 1002"), INTENT_ESTALE);
	ck_assert(result.cancelled && !result.timed_out);
	ck_assert_int_eq(WTERMSIG(result.status), SIGKILL);
	ck_assert(is_gone(&result.out));

	/* Waited for, however long it takes; and what ends by itself was not cancelled. */
	lines = 0;
	options.grace_ms = -1;
	options.stop_signal = SIGINT;
	ck_assert_int_eq(run(&options, "trap 'sleep 0.3; echo end; exit 3' INT; echo up; echo up; "
				 "while :; do sleep 0.01; done"), INTENT_ESTALE);
	ck_assert_str_eq(intent_text_str(&result.out), "up\nup\nend\n");
	ck_assert_int_eq(WEXITSTATUS(result.status), 3);
	lines = 0;
	ck_assert_int_eq(run(&options, "exit 0"), 0);
	ck_assert(!result.cancelled);
}
END_TEST

START_TEST(stop_signal_of_choice)
{
	struct intent_child_options options = { .deadline_ms = 5000, .grace_ms = -1,
						.stop_signal = SIGINT };

	ck_assert_int_eq(run(&options, "trap 'sleep 0.3; echo bye; exit 0' INT; while :; do sleep 0.01; done"),
			 INTENT_ETIMEOUT);
	ck_assert_int_eq(result.status, 0);
	ck_assert_str_eq(intent_text_str(&result.out), "bye\n");
}
END_TEST

START_TEST(what_remains_is_killed)
{
	struct intent_child_options options = { 0 };
	int64_t before = intent_time_monotonic();

	ck_assert_int_eq(run(&options, "sleep 1000 & echo $!"), 0);
	ck_assert_int_eq(result.status, 0);
	ck_assert_int_lt(intent_time_monotonic() - before, AT_ONCE);
	ck_assert(is_gone(&result.out));
	/* One that left the group keeps the pipe open: not waited for. */
	ck_assert_int_eq(run(&options, "setsid sleep 1000 & echo $!"), 0);
	ck_assert_int_lt(intent_time_monotonic() - before, AT_ONCE);
	kill(pid_of(&result.out), SIGKILL);
}
END_TEST

START_TEST(dies_with_its_parent)
{
	struct intent_text text = INTENT_TEXT_INIT;
	char bytes[64];
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	pid_t parent = fork();
	if (!parent) {
		char script[64];
		struct intent_child_options options = { 0 };

		snprintf(script, sizeof script, "echo $$ >/proc/%d/fd/%d; exec sleep 1000",
			 (int)getpid(), ends[1]);
		run(&options, script);
		_exit(0);
	}
	ssize_t got = read(ends[0], bytes, sizeof bytes);
	ck_assert_int_gt(got, 0);
	intent_text_add(&text, bytes, (size_t)got);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	ck_assert(is_gone(&text));
	intent_text_release(&text);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(default_signals)
{
	struct intent_child_options options = { 0 };
	unsigned long long blocked = 1, ignored = 1;
	sigset_t block;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigprocmask(SIG_BLOCK, &block, NULL);
	ck_assert_int_eq(run(&options, "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t\\n'"), 0);
	ck_assert_int_eq(sscanf(intent_text_str(&result.out), "SigBlk:%llxSigIgn:%llx", &blocked, &ignored), 2);
	ck_assert_uint_eq(blocked, 0);
	/* 32 and 33 are libc's own: posix_spawn() of make leaves them ignored, and nobody can change that. */
	ck_assert_uint_eq(ignored & ~(3ULL << 31), 0);
}
END_TEST

START_TEST(another_user)
{
	struct passwd *nobody = getpwnam("nobody");

	if (getuid() || !nobody)
		return;
	struct intent_child_options options = { .uid = nobody->pw_uid, .gid = nobody->pw_gid };
	char expected[64];

	ck_assert_int_eq(run(&options, "id -u; id -G"), 0);
	snprintf(expected, sizeof expected, "%u\n%u\n", nobody->pw_uid, nobody->pw_gid);
	ck_assert_str_eq(intent_text_str(&result.out), expected);
}
END_TEST

START_TEST(check_says_the_last_line)
{
	const char *argv[] = { "sh", "-c", "echo one >&2; echo two >&2; exit 4", NULL };
	struct intent_child_options options = { .argv = argv };

	ck_assert_int_eq(intent_child_check(&options, &error), INTENT_ECHILD);
	ck_assert_str_eq(error.msg, "sh: exit status 4: two");
	argv[2] = "true";
	ck_assert_int_eq(intent_child_check(&options, &error), 0);
	argv[2] = "kill -9 $$";
	ck_assert_int_eq(intent_child_check(&options, &error), INTENT_ECHILD);
	ck_assert_str_eq(error.msg, "sh: killed by signal 9 (Killed)");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("child");
	TCase *all = tcase_create("all");

	tcase_set_timeout(all, 60);
	tcase_add_test(all, output_and_status);
	tcase_add_test(all, no_such_program);
	tcase_add_test(all, environment_and_directory);
	tcase_add_test(all, no_descriptors_leak);
	tcase_add_test(all, standard_input);
	tcase_add_test(all, output_is_bounded_and_read_on);
	tcase_add_test(all, line_by_line);
	tcase_add_test(all, deadline_ends_the_whole_group);
	tcase_add_test(all, cancelled);
	tcase_add_test(all, stop_signal_of_choice);
	tcase_add_test(all, what_remains_is_killed);
	tcase_add_test(all, dies_with_its_parent);
	tcase_add_test(all, default_signals);
	tcase_add_test(all, another_user);
	tcase_add_test(all, check_says_the_last_line);
	suite_add_tcase(suite, all);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
