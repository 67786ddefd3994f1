/*
 * Durable files, links, locks, trees, leftovers: in a directory of its own below TMPDIR, which is the
 * current one. What needs a mount makes it in a name space of its own, where that is allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <check.h>
#include <intent/file.h>

static char base[256];
static struct intent_error err;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(base, sizeof(base), "%s/platypus-file.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(base));
	ck_assert_int_eq(chdir(base), 0);
	memset(&err, 0, sizeof(err));
}

static void teardown(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_msg(!intent_tree_remove(base, &err), "%s", err.msg);
}

static void put(const char *path, const char *text)
{
	ck_assert_msg(!intent_file_write(path, text, strlen(text), 0644, &err), "%s", err.msg);
}

static void expect(const char *path, const char *text)
{
	intent_free_auto char *bytes = NULL;
	size_t count;

	ck_assert_msg(!intent_file_read(AT_FDCWD, path, 1000, &bytes, &count, &err), "%s", err.msg);
	ck_assert_str_eq(bytes, text);
	ck_assert_uint_eq(count, strlen(text));
}

static bool there(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

/* No temporary is left anywhere near. */
static void expect_clean(const char *directory)
{
	int removed;
	char name[256];

	intent_temp_name(name, "");
	ck_assert_int_eq(intent_temp_sweep(directory, &removed, &err), 0);
	ck_assert_int_eq(removed, 0);
}

START_TEST(test_write)
{
	struct stat st;
	int dirfd;

	umask(077);
	put("a", "one");
	expect("a", "one");
	ck_assert_int_eq(stat("a", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0644);
	put("a", "two, longer");
	expect("a", "two, longer");
	put("a", "");
	expect("a", "");
	ck_assert_int_eq(intent_file_write("no/such/a", "x", 1, 0644, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_file_write("a/b", "x", 1, 0644, &err), -ENOTDIR);
	ck_assert_int_eq(intent_file_write("a/", "x", 1, 0644, &err), -EINVAL);
	/* A directory in the way stays, and so does what is in it. */
	ck_assert_int_eq(mkdir("d", 0755), 0);
	put("d/x", "x");
	ck_assert_int_lt(intent_file_write("d", "x", 1, 0644, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "d: cannot write"));
	expect("d/x", "x");
	/* A link in the way is replaced; what it points at is not written through. */
	ck_assert_int_eq(symlink("a", "link"), 0);
	put("link", "new");
	expect("a", "");
	expect("link", "new");
	dirfd = open("d", O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(intent_file_write_at(dirfd, "y", "y", 1, 0600, getuid(), getgid(), &err), 0);
	close(dirfd);
	expect("d/y", "y");
}
END_TEST

/* An earlier process with our pid left its temporaries: they are not in the way. */
START_TEST(test_write_in_way)
{
	char name[256], boot[9];
	int pid, removed;
	unsigned number;

	intent_temp_name(name, "tail");
	ck_assert_int_eq(sscanf(name, ".tmp-%8[0-9a-z]-%d-%u-tail", boot, &pid, &number), 3);
	ck_assert_int_eq(pid, getpid());
	ck_assert(!intent_temp_is_stale(name));
	for (unsigned i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), ".tmp-%s-%d-%u", boot, pid, i);
		put(name, "old");
	}
	for (int i = 0; i < 50; i++) {
		put("a", "new");
		ck_assert_msg(!intent_link_set("a", "l", NULL, &err), "%s", err.msg);
		unlink("l");
	}
	ck_assert_int_eq(intent_temp_sweep(".", &removed, &err), 0);
	ck_assert_int_eq(removed, 50);
	/* The very next name is taken: an error, and what is there is not touched. */
	intent_temp_name(name, "");
	ck_assert_int_eq(sscanf(name, ".tmp-%8[0-9a-z]-%d-%u", boot, &pid, &number), 3);
	snprintf(name, sizeof(name), ".tmp-%s-%d-%u", boot, pid, number + 1);
	ck_assert_int_eq(mkdir(name, 0700), 0);
	ck_assert_int_eq(intent_file_write("b", "x", 1, 0644, &err), -EEXIST);
	ck_assert(there(name));
	put("b", "x");
}
END_TEST

START_TEST(test_json_file)
{
	intent_json_auto json_t *json = json_pack("{si si}", "b", 1, "a", 2), *back = NULL, *bad = NULL;
	struct stat before, after;

	ck_assert_int_eq(intent_file_write_json("j", json, 0600, &err), 0);
	expect("j", "{\"a\":2,\"b\":1}\n");
	ck_assert_int_eq(stat("j", &before), 0);
	ck_assert_int_eq(intent_file_write_json("j", json, 0600, &err), 0);
	ck_assert_int_eq(stat("j", &after), 0);
	ck_assert_int_eq((long)before.st_ino, (long)after.st_ino);
	ck_assert_int_eq(intent_file_read_json("j", 100, &back, &err), 0);
	ck_assert(json_equal(json, back));
	ck_assert_int_eq(intent_file_read_json("j", 5, &bad, &err), INTENT_ETOOBIG);
	put("j", "{\"a\":");
	ck_assert_int_eq(intent_file_read_json("j", 100, &bad, &err), INTENT_EMALFORMED);
	ck_assert_ptr_nonnull(strstr(err.msg, "j: not JSON"));
	ck_assert_int_eq(intent_file_write_json("j", json, 0600, &err), 0);
	expect("j", "{\"a\":2,\"b\":1}\n");
}
END_TEST

START_TEST(test_read)
{
	static char big[100001];
	char *bytes = NULL;
	size_t count = 7;

	ck_assert_int_eq(intent_file_read(AT_FDCWD, "none", 10, &bytes, &count, &err), INTENT_EABSENT);
	put("a", "0123456789");
	ck_assert_int_eq(intent_file_read(AT_FDCWD, "a/b", 10, &bytes, &count, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_file_read(AT_FDCWD, "a", 9, &bytes, &count, &err), INTENT_ETOOBIG);
	ck_assert_int_eq(intent_file_read(AT_FDCWD, ".", 10, &bytes, &count, &err), INTENT_ENOTOURS);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0); /* must not hang */
	ck_assert_int_eq(intent_file_read(AT_FDCWD, "fifo", 10, &bytes, &count, &err), INTENT_ENOTOURS);
	ck_assert_int_eq(count, 7);
	ck_assert_int_eq(intent_file_read(AT_FDCWD, "a", 10, &bytes, &count, &err), 0);
	ck_assert_uint_eq(count, 10);
	free(bytes);
	memset(big, 'x', sizeof(big) - 1);
	put("big", big);
	ck_assert_int_eq(intent_file_read(AT_FDCWD, "big", sizeof(big) - 1, &bytes, &count, &err), 0);
	ck_assert_str_eq(bytes, big);
	free(bytes);
}
END_TEST

/* What is not there is told from what cannot be told. */
START_TEST(test_look)
{
	json_t *names = NULL;
	char long_name[300];
	bool there = true;
	struct stat st;

	memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	ck_assert_int_eq(intent_file_stat("a", 0, &st, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_directory_list("a", &names, &err), INTENT_EABSENT);
	put("a", "one");
	ck_assert_int_eq(symlink("nowhere", "l"), 0);
	ck_assert_int_eq(symlink("o", "o"), 0);
	ck_assert_int_eq(intent_file_stat("a", 0, &st, &err), 0);
	ck_assert_int_eq(st.st_size, 3);
	ck_assert_int_eq(intent_file_stat("a/b", 0, &st, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_file_stat("o", 0, &st, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_file_exists("l", 0, &there, &err), 0);
	ck_assert(!there);
	ck_assert_int_eq(intent_file_exists("l", AT_SYMLINK_NOFOLLOW, &there, &err), 0);
	ck_assert(there);
	ck_assert_int_eq(intent_file_exists(long_name, 0, &there, &err), -ENAMETOOLONG);
	ck_assert(there);
	ck_assert_int_eq(intent_directory_list(".", &names, &err), 0);
	ck_assert_uint_eq(json_array_size(names), 3);
	json_decref(names);
	ck_assert_int_eq(intent_directory_list("a", &names, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_directory_list(long_name, &names, &err), -ENAMETOOLONG);
	ck_assert(intent_error_is_errno(-EIO) && intent_error_is_errno(-ENAMETOOLONG));
	ck_assert(!intent_error_is_errno(0) && !intent_error_is_errno(INTENT_EABSENT));
}
END_TEST

START_TEST(test_directory)
{
	struct stat st;

	umask(077);
	ck_assert_int_eq(intent_directory_make("a/b//c/", 0755, &err), 0);
	ck_assert_int_eq(stat("a/b/c", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0755);
	ck_assert_int_eq(stat("a", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0755);
	ck_assert_int_eq(intent_directory_make("a/b/c", 0700, &err), 0);
	ck_assert_int_eq(stat("a/b/c", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0755);
	ck_assert_int_eq(intent_directory_make("/", 0755, &err), 0);
	ck_assert_int_eq(intent_directory_make(".", 0755, &err), 0);
	put("file", "x");
	ck_assert_int_eq(intent_directory_make("file", 0755, &err), INTENT_ENOTOURS);
	ck_assert_int_eq(intent_directory_make("file/a/b", 0755, &err), INTENT_ENOTOURS);
	ck_assert_ptr_nonnull(strstr(err.msg, "file"));
	ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
	ck_assert_int_lt(intent_directory_make("dangling", 0755, &err), 0);
	ck_assert_int_lt(intent_directory_make("dangling/x", 0755, &err), 0);
	ck_assert_int_eq(symlink("a", "good"), 0);
	ck_assert_int_eq(intent_directory_make("good/new", 0755, &err), 0);
	ck_assert(there("a/new"));
}
END_TEST

START_TEST(test_link)
{
	intent_free_auto char *target = NULL;
	struct stat before, after;
	bool changed = false;

	ck_assert_int_eq(intent_link_read("l", &target, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_link_set("one", "l", &changed, &err), 0);
	ck_assert(changed);
	ck_assert_int_eq(lstat("l", &before), 0);
	ck_assert_int_eq(intent_link_set("one", "l", &changed, &err), 0);
	ck_assert(!changed);
	ck_assert_int_eq(lstat("l", &after), 0);
	ck_assert_int_eq((long)before.st_ino, (long)after.st_ino);
	ck_assert_int_eq(intent_link_set("two", "l", NULL, &err), 0);
	ck_assert_int_eq(intent_link_read("l", &target, &err), 0);
	ck_assert_str_eq(target, "two");
	put("file", "x");
	ck_assert_int_eq(intent_link_set("one", "file", &changed, &err), INTENT_ENOTOURS);
	expect("file", "x");
	ck_assert_int_eq(mkdir("dir", 0755), 0);
	ck_assert_int_eq(intent_link_set("one", "dir", &changed, &err), INTENT_ENOTOURS);
	/* A link to a directory is replaced, not entered. */
	ck_assert_int_eq(intent_link_set("dir", "l", NULL, &err), 0);
	ck_assert_int_eq(intent_link_set("three", "l", NULL, &err), 0);
	ck_assert(!there("dir/l"));
	ck_assert_int_eq(intent_link_set("x", "no/such/l", NULL, &err), INTENT_EABSENT);
	expect_clean(".");
}
END_TEST

START_TEST(test_remove)
{
	put("a", "x");
	ck_assert_int_eq(intent_file_remove("a", &err), 0);
	ck_assert(!there("a"));
	ck_assert_int_eq(intent_file_remove("a", &err), 0);
	ck_assert_int_eq(intent_file_remove("no/such/a", &err), 0);
	ck_assert_int_eq(mkdir("d", 0755), 0);
	ck_assert_int_lt(intent_file_remove("d", &err), 0);
	put("d/x", "x");
	ck_assert_int_eq(symlink("d/x", "l"), 0);
	ck_assert_int_eq(intent_file_remove("l", &err), 0);
	expect("d/x", "x");
}
END_TEST

/* ---- trees ---- */

static void plant(void)
{
	ck_assert_int_eq(intent_directory_make("outside/kept", 0755, &err), 0);
	put("outside/kept/file", "kept");
	ck_assert_int_eq(intent_directory_make("tree/a/b", 0755, &err), 0);
	put("tree/file", "x");
	put("tree/a/b/file", "x");
	ck_assert_int_eq(symlink("../outside", "tree/out"), 0);
	ck_assert_int_eq(symlink("../../outside/kept/file", "tree/a/out"), 0);
	ck_assert_int_eq(symlink("..", "tree/a/up"), 0);
	ck_assert_int_eq(mkfifo("tree/fifo", 0600), 0);
	ck_assert_int_eq(chmod("tree/a/b", 0), 0);
	ck_assert_int_eq(chmod("tree/a", 0500), 0);
}

START_TEST(test_tree)
{
	plant();
	ck_assert_msg(!intent_tree_remove("tree", &err), "%s", err.msg);
	ck_assert(!there("tree"));
	expect("outside/kept/file", "kept");
	ck_assert_int_eq(intent_tree_remove("tree", &err), 0);
	ck_assert_int_eq(intent_tree_remove("no/such/tree", &err), 0);
	/* A link is removed, not what it leads to; a file is a tree, too. */
	ck_assert_int_eq(symlink("outside", "tree"), 0);
	ck_assert_int_eq(intent_tree_remove("tree", &err), 0);
	put("tree", "x");
	ck_assert_int_eq(intent_tree_retire("tree", &err), 0);
	ck_assert_int_eq(intent_tree_retire("tree", &err), 0);
	ck_assert_int_eq(intent_tree_retire("no/such/tree", &err), 0);
	plant();
	ck_assert_msg(!intent_tree_retire("tree", &err), "%s", err.msg);
	ck_assert(!there("tree"));
	expect("outside/kept/file", "kept");
	expect_clean(".");
}
END_TEST

START_TEST(test_deep_tree)
{
	int here = open(".", O_RDONLY), depth;

	for (depth = 0; depth < 400; depth++)
		if (mkdir("deep", 0755) < 0 || chdir("deep") < 0)
			ck_abort();
	ck_assert_int_eq(fchdir(here), 0);
	ck_assert_int_eq(intent_tree_remove("deep", &err), INTENT_ETOOBIG);
	/* Cut in two it can go. */
	for (depth = 0; depth < 200; depth++)
		ck_assert_int_eq(chdir("deep"), 0);
	ck_assert_msg(!intent_tree_remove("deep", &err), "%s", err.msg);
	ck_assert_int_eq(fchdir(here), 0);
	ck_assert_msg(!intent_tree_remove("deep", &err), "%s", err.msg);
	close(here);
}
END_TEST

/* 0, or why not. */
static const char *mount_here(const char *what, const char *where, const char *type, unsigned long flags, const char *data)
{
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return strerror(errno);
	return mount(what, where, type, flags, data) < 0 ? strerror(errno) : NULL;
}

START_TEST(test_mounted)
{
	static const char *const kinds[] = {"bind", "tmpfs"};
	const char *why;

	ck_assert_int_eq(intent_directory_make("tree/a/m", 0755, &err), 0);
	ck_assert_int_eq(intent_directory_make("outside", 0755, &err), 0);
	put("outside/file", "kept");
	why = _i ? mount_here("none", "tree/a/m", "tmpfs", 0, NULL) : mount_here("outside", "tree/a/m", NULL, MS_BIND, NULL);
	if (why) {
		fprintf(stderr, "# skipped: no %s mount: %s\n", kinds[_i], why);
		return;
	}
	put("tree/a/m/other", "x");
	ck_assert_int_eq(intent_tree_remove("tree", &err), INTENT_EREFUSED);
	ck_assert_ptr_nonnull(strstr(err.msg, "tree/a/m: something is mounted there"));
	expect("tree/a/m/other", "x");
	ck_assert_int_eq(umount("tree/a/m"), 0);
	ck_assert_int_eq(intent_tree_remove("tree", &err), 0);
	expect("outside/file", "kept");
}
END_TEST

START_TEST(test_no_space)
{
	static char big[300000];
	const char *why;

	ck_assert_int_eq(mkdir("small", 0755), 0);
	why = mount_here("none", "small", "tmpfs", 0, "size=128k");
	if (why) {
		fprintf(stderr, "# skipped: no tmpfs: %s\n", why);
		return;
	}
	put("small/a", "old");
	memset(big, 'x', sizeof(big) - 1);
	ck_assert_int_eq(intent_file_write("small/a", big, sizeof(big) - 1, 0644, &err), -ENOSPC);
	ck_assert_str_eq(intent_error_reason(err.code), "NoSpace");
	ck_assert_ptr_nonnull(strstr(err.msg, "small/a: cannot write: No space left"));
	expect("small/a", "old");
	expect_clean("small");
	big[50000] = '\0';
	put("small/a", big); /* the space is free again */
	umount("small");
}
END_TEST

/* ---- leftovers and locks ---- */

START_TEST(test_sweep)
{
	char name[256], ours[256], boot[9];
	int pid, removed = -1;
	pid_t gone = fork();

	if (!gone)
		_exit(0);
	ck_assert_int_eq(waitpid(gone, NULL, 0), gone);
	ck_assert_int_eq(intent_temp_sweep("no/such", &removed, &err), 0);
	ck_assert_int_eq(removed, 0);
	intent_temp_name(ours, "x");
	put(ours, "work in progress");
	ck_assert_int_eq(sscanf(ours, ".tmp-%8[0-9a-z]-%d-", boot, &pid), 2);
	snprintf(name, sizeof(name), ".tmp-%s-%d-0", boot, (int)gone);
	ck_assert_int_eq(intent_directory_make(name, 0755, &err), 0);
	snprintf(name, sizeof(name), ".tmp-%s-%d-0/in it", boot, (int)gone);
	put(name, "x");
	snprintf(name, sizeof(name), ".tmp-00000000-%d-1-tail", (int)getpid());
	put(name, "another boot");
	snprintf(name, sizeof(name), ".tmp-%s-%d-0", boot, 1);
	put(name, "a living process of somebody else");
	put(".tmp-", "not ours");
	put(".tmp-of-mine", "not ours");
	put("data", "x");
	ck_assert_int_eq(intent_temp_sweep(".", &removed, &err), 0);
	ck_assert_int_eq(removed, 2);
	expect(ours, "work in progress");
	expect(name, "a living process of somebody else");
	expect(".tmp-", "not ours");
	expect(".tmp-of-mine", "not ours");
	expect("data", "x");
}
END_TEST

START_TEST(test_lock)
{
	int fd = -1, other = -1;

	ck_assert_int_eq(intent_file_lock("l", LOCK_EX, false, &fd, &err), INTENT_EABSENT);
	ck_assert_int_eq(intent_file_lock("l", LOCK_EX, true, &fd, &err), 0);
	ck_assert_int_eq(intent_file_lock("l", LOCK_SH | LOCK_NB, true, &other, &err), INTENT_EBUSY);
	ck_assert_ptr_nonnull(strstr(err.msg, "l: is locked"));
	ck_assert_int_eq(other, -1);
	close(fd);
	ck_assert_int_eq(intent_file_lock("l", LOCK_SH | LOCK_NB, false, &fd, &err), 0);
	ck_assert_int_eq(intent_file_lock("l", LOCK_SH | LOCK_NB, false, &other, &err), 0);
	close(other);
	close(fd);
	ck_assert_int_eq(mkdir("d", 0755), 0);
	ck_assert_int_eq(intent_file_lock("d", LOCK_EX | LOCK_NB, false, &fd, &err), 0);
	close(fd);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0); /* must not hang */
	if (!intent_file_lock("fifo", LOCK_EX | LOCK_NB, false, &fd, &err))
		close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("file");
	TCase *tc = tcase_create("file");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_write);
	tcase_add_test(tc, test_write_in_way);
	tcase_add_test(tc, test_json_file);
	tcase_add_test(tc, test_read);
	tcase_add_test(tc, test_look);
	tcase_add_test(tc, test_directory);
	tcase_add_test(tc, test_link);
	tcase_add_test(tc, test_remove);
	tcase_add_test(tc, test_tree);
	tcase_add_test(tc, test_deep_tree);
	tcase_add_loop_test(tc, test_mounted, 0, 2);
	tcase_add_test(tc, test_no_space);
	tcase_add_test(tc, test_sweep);
	tcase_add_test(tc, test_lock);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
