/* A directory of variables while others change it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <check.h>
#include <intent/envdir.h>
#include <intent/file.h>

#define NAMES 8
#define READINGS 300

static char base[256], dir[300];
static struct intent_error err;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(base, sizeof(base), "%s/platypus-envdir.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(base));
	snprintf(dir, sizeof(dir), "%s/env", base);
	memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
	ck_assert_msg(!intent_tree_remove(base, &err), "%s", err.msg);
}

/* A directory of NAMES variables of one value. */
static void make(const char *path, int value)
{
	char name[400], text[16];

	ck_assert_int_eq(mkdir(path, 0755), 0);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "%s/V%d", path, i);
		snprintf(text, sizeof(text), "%d\n", value);
		ck_assert_msg(!intent_file_write(name, text, strlen(text), 0644, &err), "%s", err.msg);
	}
}

/* The directory is replaced by another over and over, as pp-configmap-injector does it. */
static void replace_for_ever(void)
{
	char new[300];

	snprintf(new, sizeof(new), "%s/new", base);
	for (int value = 1;; value++) {
		make(new, value);
		if (renameat2(AT_FDCWD, new, AT_FDCWD, dir, RENAME_EXCHANGE) || intent_tree_remove(new, &err))
			_exit(1);
	}
}

START_TEST(a_replaced_one_is_read_as_one_set)
{
	make(dir, 0);
	pid_t child = fork();

	if (!child)
		replace_for_ever();
	for (int i = 0; i < READINGS; i++) {
		intent_json_auto json_t *variables = NULL;
		const char *first, *name;
		json_t *value;

		ck_assert_msg(!intent_envdir_read(dir, 0, &variables, &err), "%s", err.msg);
		ck_assert_int_eq((int)json_object_size(variables), NAMES);
		first = json_string_value(json_object_get(variables, "V0"));
		json_object_foreach(variables, name, value)
			ck_assert_str_eq(json_string_value(value), first);
	}
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

/* As "rm -r" takes one away, by somebody whom others hold up. */
START_TEST(half_of_one_is_no_set)
{
	intent_json_auto json_t *variables = NULL;
	char name[400];

	make(dir, 1);
	pid_t child = fork();

	if (!child) {
		for (int i = 0; i < NAMES; i++) {
			snprintf(name, sizeof(name), "%s/V%d", dir, i);
			unlink(name);
			usleep(10000);
		}
		_exit(rmdir(dir));
	}
	for (snprintf(name, sizeof(name), "%s/V0", dir); !access(name, F_OK);)
		usleep(1000);
	ck_assert_int_eq(intent_envdir_read(dir, 2000, &variables, &err), INTENT_EENVIRONMENT);
	ck_assert_ptr_null(variables);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

/* A clock that went back, or a file from an archive. */
START_TEST(what_changed_in_the_future_is_read)
{
	const struct timespec later[2] = {{.tv_sec = 4000000000}, {.tv_sec = 4000000000}};
	intent_json_auto json_t *variables = NULL;

	make(dir, 1);
	ck_assert_int_eq(utimensat(AT_FDCWD, dir, later, 0), 0);
	ck_assert_msg(!intent_envdir_read(dir, 60000, &variables, &err), "%s", err.msg);
	ck_assert_int_eq((int)json_object_size(variables), NAMES);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("envdir");
	TCase *tests = tcase_create("envdir");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, a_replaced_one_is_read_as_one_set);
	tcase_add_test(tests, half_of_one_is_no_set);
	tcase_add_test(tests, what_changed_in_the_future_is_read);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
