/* What an agent remembers: the ledger of removals, known slices, the last good snapshot, all across restarts. */
#include <errno.h>
#include <check.h>
#include <intent/file.h>
#include "../../libintent/run/run.h"

static char base[256], state[300];
static struct intent__memory *memory;
static struct intent_error err;

static void reopen(void)
{
	intent__memory_free(memory);
	ck_assert_msg(!intent__memory_open(state, false, &memory, &err), "%s", err.msg);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(base, sizeof(base), "%s/platypus-memory.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(base));
	snprintf(state, sizeof(state), "%s/a/b", base);
	memory = NULL;
	reopen();
}

static void teardown(void)
{
	intent__memory_free(memory);
	ck_assert_int_eq(intent_tree_remove(base, &err), 0);
}

static void write_state(const char *name, const char *text)
{
	intent_free_auto char *path = intent_format("%s/%s", state, name);

	ck_assert_int_eq(intent_file_write(path, text, strlen(text), 0600, &err), 0);
}

/* One removal of `slice`. */
static int permit(const char *slice, const char *subject, int64_t owned, int64_t max)
{
	intent_json_auto json_t *subjects = json_pack("[s]", subject);

	return intent__memory_permit(memory, slice, subjects, owned, max, &err);
}

static int permit_many(const char *slice, int from, int count, int64_t owned, int64_t max)
{
	intent_json_auto json_t *subjects = json_array();

	for (int i = 0; i < count; i++)
		json_array_append_new(subjects, json_sprintf("subject-%d", from + i));
	return intent__memory_permit(memory, slice, subjects, owned, max, &err);
}

static const struct { int64_t owned, max; int may; } limits[] = {
	{0, -1, 3}, {3, -1, 3}, {4, -1, 3}, {6, -1, 3}, {7, -1, 3}, {8, -1, 4}, {9, -1, 4}, {10, -1, 5}, {200, -1, 100},
	{10, 0, 0}, {10, 1, 1}, {10, 7, 7}, {0, 7, 7},
};

START_TEST(test_limit)
{
	int may = limits[_i].may;

	ck_assert_int_eq(permit_many("a", 0, may + 1, limits[_i].owned, limits[_i].max), INTENT_EDESTROY);
	ck_assert_ptr_nonnull(strstr(err.msg, "--max-destroy"));
	/* What was refused does not count. */
	if (may)
		ck_assert_msg(!permit_many("a", 0, may, limits[_i].owned, limits[_i].max), "%s", err.msg);
	ck_assert_int_eq(permit("b", "one", limits[_i].owned, limits[_i].max), INTENT_EDESTROY);
	reopen();
	ck_assert_int_eq(permit("b", "one", limits[_i].owned, limits[_i].max), INTENT_EDESTROY);
	ck_assert_int_eq(permit("b", "one", limits[_i].owned, may + 1), 0);
}
END_TEST

START_TEST(test_one_by_one)
{
	/* As they go there is less and less of which half may go: what there was at first counts. */
	for (int i = 0; i < 5; i++) {
		char slice[8];

		snprintf(slice, sizeof(slice), "s%d", i);
		ck_assert_msg(!permit(slice, "x", 10 - i, -1), "%d: %s", i, err.msg);
		if (i == 2)
			reopen();
	}
	ck_assert_int_eq(permit("s5", "x", 5, -1), INTENT_EDESTROY);
	/* Asked again, by a round that failed half way: not counted twice. */
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(permit("s4", "x", 6, -1), 0);
	/* The same subject of another slice is another thing. */
	ck_assert_int_eq(permit("s6", "x", 5, -1), INTENT_EDESTROY);
	/* More turns out to be there, as the slices are looked at after a start. */
	ck_assert_int_eq(permit("s6", "x", 12, -1), 0);
}
END_TEST

START_TEST(test_window)
{
	intent_free_auto char *text = NULL;
	int64_t now = intent_time_now();

	text = intent_format("{\"owned\": 4, \"removed\": {\"a\\t1\": %lld, \"a\\t2\": %lld, \"a\\t3\": %lld}}",
			     (long long)now - 11 * 60000, (long long)now - 9 * 60000, (long long)now + 3600000);
	write_state("removals.json", text);
	reopen();
	ck_assert_int_eq(permit("a", "4", 4, -1), 0); /* 1 is old; 3, of a clock set back, still counts */
	ck_assert_int_eq(permit("a", "5", 4, -1), INTENT_EDESTROY);
}
END_TEST

START_TEST(test_uncounted)
{
	intent_free_auto char *path = intent_format("%s/removals.json", state);

	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_lt(permit("a", "1", 10, -1), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "nothing is removed"));
}
END_TEST

START_TEST(test_slices)
{
	const char *const names[] = {"slug", "web", "slug"};
	struct stat before, after;
	intent_free_auto char *path = intent_format("%s/slices.json", state);

	ck_assert_uint_eq(json_object_size(intent__memory_slices(memory)), 0);
	ck_assert_int_eq(intent__memory_know(memory, names, 3, &err), 0);
	ck_assert_uint_eq(json_object_size(intent__memory_slices(memory)), 2);
	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert_int_eq(intent__memory_know(memory, names, 2, &err), 0);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq((long)before.st_ino, (long)after.st_ino);
	reopen();
	ck_assert_uint_eq(json_object_size(intent__memory_slices(memory)), 2);
	ck_assert_int_eq(intent__memory_forget(memory, "slug", &err), 0);
	ck_assert_int_eq(intent__memory_forget(memory, "never", &err), 0);
	reopen();
	ck_assert_uint_eq(json_object_size(intent__memory_slices(memory)), 1);
	ck_assert_ptr_nonnull(json_object_get(intent__memory_slices(memory), "web"));
	ck_assert_int_eq(intent__memory_owned(memory, "web"), 0);
	intent__memory_set_owned(memory, "web", 3);
	intent__memory_set_owned(memory, "never", 3);
	ck_assert_int_eq(intent__memory_know(memory, names + 1, 1, &err), 0);
	ck_assert_int_eq(intent__memory_flush(memory, &err), 0);
	ck_assert_int_eq(stat(path, &before), 0);
	intent__memory_set_owned(memory, "web", 3);
	ck_assert_int_eq(intent__memory_flush(memory, &err), 0);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq((long)before.st_ino, (long)after.st_ino);
	reopen();
	ck_assert_int_eq(intent__memory_owned(memory, "web"), 3);
	ck_assert_int_eq(intent__memory_owned(memory, "never"), 0);
	ck_assert_uint_eq(json_object_size(intent__memory_slices(memory)), 1);
}
END_TEST

static struct intent_snapshot *snapshot_of(const char *value, uint64_t revision)
{
	struct intent_snapshot *snapshot = intent_snapshot_new();

	snapshot->revision = revision;
	intent_snapshot_add(snapshot, "nodes/n/slug", value, strlen(value), 7, NULL, true);
	intent_snapshot_add(snapshot, "reality/health/slug/c/n", "{}", 2, 8, "a-session", false);
	intent_snapshot_add(snapshot, "reality/status/toy/n/slug", "{}", 2, revision, NULL, false);
	return snapshot;
}

START_TEST(test_snapshot)
{
	struct intent_snapshot *first = snapshot_of("{\"cluster\": \"c\"}\xff", 9), *second = snapshot_of("{\"cluster\": \"c\"}\xff", 12);
	struct intent_snapshot *back = NULL;
	intent_free_auto char *path = intent_format("%s/snapshot.json", state);
	struct stat before, after;

	ck_assert_int_eq(intent__memory_load(memory, "dir:/x ", &back, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent__memory_save(memory, first, "dir:/x ", &err), 0);
	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert_int_eq(before.st_mode & 07777, 0600);
	reopen();
	ck_assert_int_eq(intent__memory_save(memory, second, "dir:/x ", &err), 0); /* only our own status differs */
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq((long)before.st_ino, (long)after.st_ino);
	ck_assert_int_eq(intent__memory_load(memory, "dir:/x prefix", &back, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent__memory_load(memory, "dir:/y ", &back, &err), INTENT_EABSENT);
	ck_assert_msg(!intent__memory_load(memory, "dir:/x ", &back, &err), "%s", err.msg);
	ck_assert_uint_eq(back->count, 1);
	ck_assert_str_eq(back->entries[0].key, "nodes/n/slug");
	ck_assert_uint_eq(back->entries[0].length, 17);
	ck_assert(back->entries[0].untrusted);
	intent_snapshot_unref(back);
	intent_snapshot_unref(first);
	intent_snapshot_unref(second);
}
END_TEST

static const char *const damaged[] = {
	"", "{", "null", "[]", "5", "{\"removed\": []}", "{\"removed\": {\"a\": \"x\"}, \"owned\": []}", "[1, null, {\"a\": 1}]", "{\"a\": \"b\"}",
	"{\"store\": \"dir:/x \"}", "{\"store\": \"dir:/x \", \"snapshot\": {\"revision\": 1, \"entries\": [{}]}}",
	"{\"store\": \"dir:/x \", \"snapshot\": {\"revision\": 1, \"entries\": [{\"key\": \"a\", \"value\": \"!\", \"revision\": 1}]}}",
};

/* What is remembered helps; damaged, it must not hurt. */
START_TEST(test_damaged)
{
	const char *const names[] = {"slug"};
	struct intent_snapshot *back = NULL, *snapshot = snapshot_of("{}", 5);

	write_state("slices.json", damaged[_i]);
	write_state("removals.json", damaged[_i]);
	write_state("snapshot.json", damaged[_i]);
	reopen();
	ck_assert_uint_eq(json_object_size(intent__memory_slices(memory)), 0);
	ck_assert_int_lt(intent__memory_load(memory, "dir:/x ", &back, &err), 0);
	ck_assert_ptr_null(back);
	ck_assert_int_eq(permit_many("a", 0, 3, 0, -1), 0);
	ck_assert_int_eq(intent__memory_know(memory, names, 1, &err), 0);
	ck_assert_int_eq(intent__memory_save(memory, snapshot, "dir:/x ", &err), 0);
	reopen();
	ck_assert_uint_eq(json_object_size(intent__memory_slices(memory)), 1);
	ck_assert_int_eq(permit("a", "another", 0, -1), INTENT_EDESTROY);
	ck_assert_int_eq(intent__memory_load(memory, "dir:/x ", &back, &err), 0);
	intent_snapshot_unref(back);
	intent_snapshot_unref(snapshot);
}
END_TEST

START_TEST(test_read_only)
{
	const char *const names[] = {"slug"};
	struct intent_snapshot *snapshot = snapshot_of("{}", 5);
	struct stat st;

	intent__memory_free(memory);
	memory = NULL;
	ck_assert_int_eq(intent_tree_remove(state, &err), 0);
	ck_assert_int_eq(intent__memory_open(state, true, &memory, &err), 0);
	ck_assert_int_eq(intent__memory_know(memory, names, 1, &err), 0);
	ck_assert_int_eq(intent__memory_save(memory, snapshot, "dir:/x ", &err), 0);
	ck_assert_int_eq(intent__memory_forget(memory, "slug", &err), 0);
	ck_assert_int_eq(stat(state, &st), -1);
	intent_snapshot_unref(snapshot);
}
END_TEST

START_TEST(test_in_the_way)
{
	struct intent__memory *other = NULL;
	intent_free_auto char *path = intent_format("%s/file", base), *below = intent_format("%s/file/x", base);

	ck_assert_int_eq(intent_file_write(path, "x", 1, 0644, &err), 0);
	ck_assert_int_eq(intent__memory_open(below, false, &other, &err), INTENT_ENOTOURS);
	ck_assert_ptr_nonnull(strstr(err.msg, "--state-dir"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory");
	TCase *tc = tcase_create("memory");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_limit, 0, (int)(sizeof(limits) / sizeof(limits[0])));
	tcase_add_test(tc, test_one_by_one);
	tcase_add_test(tc, test_window);
	tcase_add_test(tc, test_uncounted);
	tcase_add_test(tc, test_slices);
	tcase_add_test(tc, test_snapshot);
	tcase_add_loop_test(tc, test_damaged, 0, (int)(sizeof(damaged) / sizeof(damaged[0])));
	tcase_add_test(tc, test_read_only);
	tcase_add_test(tc, test_in_the_way);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
