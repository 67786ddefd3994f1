/* Watching a directory store: hands, moves, lost permission, lost events. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <intent/file.h>
#include <intent/store.h>

#define HEALED_MS 2000
#define ROUND_MS 50 /* a round of the loop that took longer was not let run */

static char top[64], path[96], url[112];
static struct intent_error err;
static uv_loop_t loop;
static struct intent_store *store, *writer;
static struct intent_watch *watch;
static struct intent_snapshot *last;
static int snapshots, troubles, recoveries;
static char trouble[512];

static void on_snapshot(struct intent_watch *from, struct intent_snapshot *snapshot, void *data)
{
	(void)from;
	(void)data;
	snapshots++;
	intent_snapshot_unref(last);
	last = intent_snapshot_ref(snapshot);
}

static void on_trouble(struct intent_watch *from, const struct intent_error *error, void *data)
{
	(void)from;
	(void)data;
	if (error->code) {
		troubles++;
		snprintf(trouble, sizeof(trouble), "%s", error->msg);
	} else {
		recoveries++;
	}
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

/* Until done() or for so long, of which the time that others had the machine is no part. */
static bool run_until(bool (*done)(void), int64_t ms)
{
	int64_t before = intent_time_monotonic();
	uv_timer_t timer;
	bool is_done;

	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_tick, 10, 10);
	while (!(is_done = done()) && ms > 0) {
		uv_run(&loop, UV_RUN_ONCE);
		int64_t now = intent_time_monotonic();

		ms -= now - before < ROUND_MS ? now - before : ROUND_MS;
		before = now;
	}
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	return is_done;
}

static bool never(void)
{
	return false;
}

static const char *wanted_key, *wanted_value;

static bool is_delivered(void)
{
	const struct intent_entry *entry = last ? intent_snapshot_find(last, wanted_key) : NULL;

	return strcmp(entry ? entry->value : "(absent)", wanted_value) == 0;
}

static void expect(const char *key, const char *value)
{
	wanted_key = key;
	wanted_value = value;
	ck_assert_msg(run_until(is_delivered, HEALED_MS), "%s is not %s; last trouble: %s", key,
		      value, trouble);
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
	char command[2000];
	va_list arguments;
	int status;
	pid_t pid;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	pid = fork();
	if (pid == 0) {
		if (chdir(top) < 0)
			_exit(1);
		execl("/bin/sh", "sh", "-ec", command, (char *)NULL);
		_exit(127);
	}
	ck_assert(waitpid(pid, &status, 0) == pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", command);
}

static void put(const char *key, const char *value)
{
	ck_assert_msg(intent_store_put(writer, key, value, strlen(value), &err) == 0, "%s",
		      err.msg);
}

static bool has_first(void)
{
	return snapshots > 0;
}

static void start_watch(const char *prefix)
{
	const char *const prefixes[] = {prefix, NULL};
	const struct intent_watch_events events = {on_snapshot, on_trouble, NULL};

	ck_assert_int_eq(intent_watch_start(store, prefixes, &events, &watch, &err), 0);
}

static void watched(const char *prefix)
{
	start_watch(prefix);
	ck_assert(run_until(has_first, HEALED_MS));
}

static void setup(void)
{
	umask(022);
	snprintf(top, sizeof(top), "/tmp/platypus-watch.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(chmod(top, 0755), 0);
	snprintf(path, sizeof(path), "%s/up/store", top);
	snprintf(url, sizeof(url), "dir:%s", path);
	ck_assert_int_eq(intent_store_init(url, &err), 0);
	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_int_eq(intent_store_open(url, NULL, &store, &err), 0);
	ck_assert_int_eq(intent_store_open(url, NULL, &writer, &err), 0);
	ck_assert_int_eq(intent_store_attach(store, &loop, &err), 0);
}

static void teardown(void)
{
	watch = intent_watch_stop(watch);
	intent_store_close(store);
	intent_store_close(writer);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
	last = intent_snapshot_unref(last);
	intent_tree_remove(top, &err);
}

/* ---- by hand ---- */

START_TEST(files_by_hand)
{
	watched("nodes/");
	shell("mkdir -p up/store/nodes/web1 && printf 1 >up/store/nodes/web1/slug");
	expect("nodes/web1/slug", "1");
	shell("printf 2 >up/store/nodes/web1/slug");
	expect("nodes/web1/slug", "2");
	shell("printf 3 >>up/store/nodes/web1/slug");
	expect("nodes/web1/slug", "23");
	shell("printf 4 >new && mv new up/store/nodes/web1/slug");
	expect("nodes/web1/slug", "4");
	shell("mv up/store/nodes/web1/slug up/store/nodes/web1/other");
	expect("nodes/web1/slug", "(absent)");
	expect("nodes/web1/other", "4");
	shell("rm up/store/nodes/web1/other");
	expect("nodes/web1/other", "(absent)");
	ck_assert_int_eq(troubles, 0);
}
END_TEST

START_TEST(directories_by_hand)
{
	watched("a/b/");
	shell("mkdir -p tree/b/c/d && printf 1 >tree/b/c/d/e && mv tree up/store/a");
	expect("a/b/c/d/e", "1");
	shell("mv up/store/a/b up/store/a/x");
	expect("a/b/c/d/e", "(absent)");
	shell("printf 2 >up/store/a/x/c/d/e && mv up/store/a/x up/store/a/b");
	expect("a/b/c/d/e", "2");
	shell("rm -r up/store/a");
	expect("a/b/c/d/e", "(absent)");
	shell("mkdir -p up/store/a/b && printf 3 >up/store/a/b/f");
	expect("a/b/f", "3");
	shell("mv up/store/a up/store/z");
	expect("a/b/f", "(absent)");
	shell("mv up/store/z up/store/a");
	expect("a/b/f", "3");
}
END_TEST

START_TEST(owner_by_hand)
{
	if (geteuid())
		return;
	put("stacks/w/n", "1");
	watched("stacks/");
	ck_assert(!last->entries[0].untrusted);
	shell("chown 65534 up/store/stacks/w/n");
	snapshots = 0;
	ck_assert(run_until(has_first, HEALED_MS));
	ck_assert(last->entries[0].untrusted);
}
END_TEST

/* ---- the store itself ---- */

static bool in_trouble(void)
{
	return troubles > recoveries;
}

static bool recovered(void)
{
	return troubles && troubles == recoveries;
}

START_TEST(store_moved_away_and_back)
{
	put("nodes/web1/slug", "1");
	watched("nodes/web1/");
	shell("mv up/store up/away");
	ck_assert(run_until(in_trouble, HEALED_MS));
	ck_assert_ptr_nonnull(strstr(trouble, "ppctl init"));
	shell("mv up/away up/store");
	ck_assert(run_until(recovered, HEALED_MS));
	ck_assert_msg(snapshots == 1, "what was known stays known");
	put("nodes/web1/slug", "2");
	expect("nodes/web1/slug", "2");
	shell("mv up away");
	ck_assert(run_until(in_trouble, HEALED_MS));
	shell("mv away up");
	ck_assert(run_until(recovered, HEALED_MS));
	put("nodes/web1/slug", "3");
	expect("nodes/web1/slug", "3");
}
END_TEST

START_TEST(store_replaced_by_another)
{
	put("nodes/web1/slug", "1");
	watched("nodes/web1/");
	shell("mkdir -p other/nodes/web1 && printf 2 >other/nodes/web1/slug && "
	      "mv up/store up/away && mv other up/store");
	expect("nodes/web1/slug", "2");
	put("nodes/web1/slug", "3");
	expect("nodes/web1/slug", "3");
}
END_TEST

START_TEST(store_that_comes_later)
{
	shell("rmdir up/store");
	start_watch("nodes/web1/");
	ck_assert(run_until(in_trouble, HEALED_MS));
	ck_assert_int_eq(snapshots, 0);
	run_until(never, 2500);
	ck_assert_msg(troubles == 1, "told once for one cause, not %d times", troubles);
	ck_assert_int_eq(intent_store_init(url, &err), 0);
	ck_assert(run_until(recovered, HEALED_MS));
	ck_assert(run_until(has_first, HEALED_MS) && last->count == 0);
	put("nodes/web1/slug", "1");
	expect("nodes/web1/slug", "1");
}
END_TEST

START_TEST(store_emptied_by_hand)
{
	put("nodes/web1/slug", "1");
	watched("nodes/web1/");
	shell("rm -rf up/store/* up/store/.intent");
	expect("nodes/web1/slug", "(absent)");
	ck_assert_int_eq(troubles, 0);
	put("nodes/web1/slug", "2");
	expect("nodes/web1/slug", "2");
}
END_TEST

START_TEST(permission_lost_and_regained)
{
	put("open/a", "1");
	put("closed/a", "1");
	if (geteuid() == 0) {
		shell("chown -R 65534 up/store");
		ck_assert_int_eq(setegid(65534) | seteuid(65534), 0);
	}
	watched("");
	ck_assert_int_eq(chmod(path, 0), 0);
	ck_assert(run_until(in_trouble, HEALED_MS));
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert(run_until(recovered, HEALED_MS));
	ck_assert_int_eq(snapshots, 1);
	put("open/a", "2");
	expect("open/a", "2");
	ck_assert_int_eq(seteuid(getuid()), 0);
}
END_TEST

START_TEST(one_closed_directory_blinds_nobody_else)
{
	const char *const prefixes[] = {"closed/", "open/", NULL};
	const struct intent_watch_events events = {on_snapshot, on_trouble, NULL};
	char closed[128];

	put("open/a", "1");
	put("closed/a", "1");
	snprintf(closed, sizeof(closed), "%s/closed", path);
	if (geteuid() == 0) {
		shell("chown -R 65534 up/store");
		ck_assert_int_eq(setegid(65534) | seteuid(65534), 0);
	}
	ck_assert_int_eq(intent_watch_start(store, prefixes, &events, &watch, &err), 0);
	ck_assert(run_until(has_first, HEALED_MS));
	ck_assert_int_eq(chmod(closed, 0), 0);
	ck_assert(run_until(in_trouble, HEALED_MS));
	ck_assert_ptr_nonnull(strstr(trouble, "closed"));
	put("open/a", "2");
	expect("open/a", "2");
	expect("closed/a", "1");
	ck_assert_int_eq(chmod(closed, 0755), 0);
	ck_assert(run_until(recovered, HEALED_MS));
	ck_assert_int_eq(seteuid(getuid()), 0);
}
END_TEST

/* ---- the lock and the journal ---- */

START_TEST(locked_by_somebody_for_a_while)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	put("a/b", "1");
	watched("a/");
	shell("printf 2 >up/store/a/b");
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	run_until(never, 500);
	ck_assert_int_eq(snapshots, 1);
	ck_assert_int_eq(flock(fd, LOCK_UN), 0);
	expect("a/b", "2");
	ck_assert_int_eq(troubles, 0);
	close(fd);
}
END_TEST

START_TEST(journal_that_was_left)
{
	put("a/b", "1");
	watched("a/");
	shell("cd up/store/.intent; printf 2 >stage-1-0; printf 3 >stage-1-1; "
	      "printf '#journal 1\\nstage-1-0 a/b\\nstage-1-1 a/c/d\\nend\\n' >journal; "
	      "touch ../a/b");
	expect("a/c/d", "3");
	expect("a/b", "2");
}
END_TEST

/* ---- events ---- */

START_TEST(lost_events)
{
	const char *const prefixes[] = {"noisy/", "quiet/", NULL};
	const struct intent_watch_events events = {on_snapshot, on_trouble, NULL};
	char name[128];

	put("noisy/b", "1");
	put("quiet/b", "1");
	ck_assert_int_eq(intent_watch_start(store, prefixes, &events, &watch, &err), 0);
	ck_assert(run_until(has_first, HEALED_MS));
	/* More than the kernel keeps (16384): the last ones are lost. */
	snprintf(name, sizeof(name), "%s/noisy/x", path);
	for (int i = 0; i < 6000; i++) {
		int fd = open(name, O_WRONLY | O_CREAT, 0644);

		ck_assert_int_ge(fd, 0);
		close(fd);
		unlink(name);
	}
	shell("mkdir up/store/quiet/later; printf 2 >up/store/quiet/b");
	expect("quiet/b", "2");
	put("quiet/later/on", "3");
	expect("quiet/later/on", "3");
}
END_TEST

START_TEST(refresh_finds_what_was_not_heard)
{
	put("a/b", "1");
	watched("a/");
	intent_watch_refresh(watch);
	run_until(never, 100);
	ck_assert_int_eq(snapshots, 1);
	shell("printf 2 >up/store/a/b");
	intent_watch_refresh(watch);
	expect("a/b", "2");
}
END_TEST

static void on_round(uv_prepare_t *prepare)
{
	++*(int *)prepare->data;
}

static void on_end(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

/* How often the loop went round in so long: its wakeups, and one. */
static int rounds_in(uint64_t ms)
{
	uv_prepare_t prepare;
	uv_timer_t timer;
	int rounds = 0;

	uv_timer_init(&loop, &timer);
	uv_prepare_init(&loop, &prepare);
	prepare.data = &rounds;
	uv_timer_start(&timer, on_end, ms, 0);
	uv_prepare_start(&prepare, on_round);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_close((uv_handle_t *)&prepare, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	return rounds;
}

START_TEST(no_wakeup_when_idle)
{
	put("nodes/web1/slug", "1");
	watched("nodes/web1/");
	run_until(never, 100);
	ck_assert_int_le(rounds_in(1500), 2);
}
END_TEST

START_TEST(no_wakeup_for_other_keys)
{
	pid_t pid;
	int status;

	/* What it waits for at first, a directory that is missing, is no reason later. */
	watched("nodes/web1/");
	put("nodes/web1/slug", "1");
	expect("nodes/web1/slug", "1");
	put("nodes/web2/slug", "1");
	run_until(never, 100);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 30; i++) {
			char value[16];

			snprintf(value, sizeof(value), "%d", i);
			if (intent_store_put(writer, "nodes/web2/slug", value, strlen(value),
					     &err) < 0 ||
			    intent_store_put(writer, "nodes/web3", value, strlen(value),
					     &err) < 0 ||
			    intent_store_put(writer, "reality/status/x", value, strlen(value),
					     &err) < 0 ||
			    intent_store_delete(writer, "reality/status/x", &err) < 0)
				_exit(1);
		}
		_exit(0);
	}
	ck_assert_int_le(rounds_in(3000), 2);
	ck_assert(waitpid(pid, &status, 0) == pid && status == 0);
	put("nodes/web1/slug", "2");
	expect("nodes/web1/slug", "2");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dir-watch");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, files_by_hand);
	tcase_add_test(all, directories_by_hand);
	tcase_add_test(all, owner_by_hand);
	tcase_add_test(all, store_moved_away_and_back);
	tcase_add_test(all, store_replaced_by_another);
	tcase_add_test(all, store_that_comes_later);
	tcase_add_test(all, store_emptied_by_hand);
	tcase_add_test(all, permission_lost_and_regained);
	tcase_add_test(all, one_closed_directory_blinds_nobody_else);
	tcase_add_test(all, locked_by_somebody_for_a_while);
	tcase_add_test(all, journal_that_was_left);
	tcase_add_test(all, lost_events);
	tcase_add_test(all, refresh_finds_what_was_not_heard);
	tcase_add_test(all, no_wakeup_when_idle);
	tcase_add_test(all, no_wakeup_for_other_keys);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
