/* The directory store: what no other engine has. The common contract: t/it/conformance.c. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <intent/file.h>

#include "../../libintent/store/dir.h"

static char top[64], path[96], url[112];
static struct intent_store *store;
static struct intent_error err;

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
		if (chdir(path) < 0 && chdir(top) < 0)
			_exit(1);
		execl("/bin/sh", "sh", "-ec", command, (char *)NULL);
		_exit(127);
	}
	ck_assert(waitpid(pid, &status, 0) == pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", command);
}

static void setup(void)
{
	umask(022);
	snprintf(top, sizeof(top), "/tmp/platypus-dir.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(chmod(top, 0755), 0);
	snprintf(path, sizeof(path), "%s/store", top);
	snprintf(url, sizeof(url), "dir:%s", path);
	ck_assert_int_eq(intent_store_init(url, &err), 0);
	ck_assert_int_eq(intent_store_open(url, NULL, &store, &err), 0);
}

static void teardown(void)
{
	store = intent_store_close(store);
	intent_tree_remove(top, &err);
}

static void put(const char *key, const char *value)
{
	ck_assert_msg(intent_store_put(store, key, value, strlen(value), &err) == 0, "%s", err.msg);
}

/* One of four, valid until the next but three. */
static struct intent_snapshot *list(const char *prefix)
{
	static struct intent_snapshot *kept[4];
	static int next;
	struct intent_snapshot **slot = &kept[next = (next + 1) % 4];

	*slot = intent_snapshot_unref(*slot);
	ck_assert_msg(intent_store_list(store, prefix, INTENT_DEFAULT, slot, &err) == 0, "%s",
		      err.msg);
	return *slot;
}

static const struct intent_entry *entry(const char *key)
{
	return intent_snapshot_find(list(""), key);
}

static const char *value(const char *key)
{
	const struct intent_entry *found = entry(key);

	return found ? found->value : "(absent)";
}

static mode_t mode_of(const char *name)
{
	char whole[300];
	struct stat st;

	snprintf(whole, sizeof(whole), "%s/%s", path, name);
	ck_assert_msg(lstat(whole, &st) == 0, "%s", whole);
	return st.st_mode & 07777;
}

static bool exists(const char *name)
{
	char whole[300];

	snprintf(whole, sizeof(whole), "%s/%s", path, name);
	return access(whole, F_OK) == 0;
}

/* ---- a clock that can be put forward ---- */

static time_t forward;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, ret);

	if (clock == CLOCK_BOOTTIME)
		ret->tv_sec += forward;
	return rc;
}

/* In a child, as nobody where we are root. */
static void as_nobody(void (*run)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(2);
		run();
		_exit(0);
	}
	ck_assert(waitpid(pid, &status, 0) == pid);
	ck_assert_int_eq(status, 0);
}

/* ---- names ---- */

START_TEST(names)
{
	static const struct {
		const char *key, *path;
	} rows[] = {
		{"nodes/web1/slug", "nodes/web1/slug"},
		{"nodes/web1/", "nodes/web1/%"},
		{"a//b", "a/%/b"},
		{"/a", "%/a"},
		{"1.0~rc1+b_2-3@x:y,z=", "1.0~rc1+b_2-3@x:y,z="},
		{".hidden/..", "%2Ehidden/%2E."},
		{"backup~", "backup%7E"},
		{"a b%c", "a%20b%25c"},
		{"a~/b", "a%7E/b"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char out[INTENT__DIR_PATH_MAX];

		intent__dir_path(rows[i].key, out);
		ck_assert_str_eq(out, rows[i].path);
	}
}
END_TEST

START_TEST(names_fit_a_file_system)
{
	char key[INTENT_KEY_MAX + 1], out[INTENT__DIR_PATH_MAX];

	for (int plain = 0; plain < 3; plain++) {
		memset(key, "x %"[plain], INTENT_KEY_MAX);
		key[INTENT_KEY_MAX] = 0;
		intent__dir_path(key, out);
		ck_assert_uint_lt(strlen(out) + 16, sizeof(out));
		for (char *at = out; *at; at += strcspn(at, "/"), at += *at == '/')
			ck_assert_uint_le(strcspn(at, "/"), 255);
	}
}
END_TEST

START_TEST(names_that_are_nobodys_key)
{
	put("a", "1");
	shell("echo x >.hidden; echo x >'a b'; echo x >a~; echo x >'#a#'; echo x >%%zz; "
	      "echo x >%%41; mkdir 'b c'; echo x >'b c/d'; echo x >%%self; echo x >%%");
	ck_assert_uint_eq(list("")->count, 1);
}
END_TEST

/* ---- a store that is not there ---- */

START_TEST(missing_store_is_not_an_empty_one)
{
	struct intent_snapshot *snapshot = NULL;

	shell("cd .. && rmdir store");
	ck_assert_int_eq(intent_store_list(store, "", INTENT_DEFAULT, &snapshot, &err),
			 INTENT_EUNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.msg, url));
	ck_assert_ptr_nonnull(strstr(err.msg, "ppctl init"));
	ck_assert_int_eq(intent_store_get(store, "a", INTENT_STRONGEST, &snapshot, &err),
			 INTENT_EUNAVAILABLE);
	ck_assert_int_eq(intent_store_put(store, "a", "1", 1, &err), INTENT_EUNAVAILABLE);
	ck_assert(!exists(""));
	shell("echo x >store");
	ck_assert_int_eq(intent_store_list(store, "", INTENT_DEFAULT, &snapshot, &err),
			 INTENT_EUNAVAILABLE);
	ck_assert_int_eq(intent_store_init(url, &err), INTENT_ENOTOURS);
	ck_assert_ptr_nonnull(strstr(err.msg, path));
}
END_TEST

START_TEST(init_keeps_what_is_there)
{
	put("a", "1");
	shell("chmod 2775 .");
	ck_assert_int_eq(intent_store_init(url, &err), 0);
	ck_assert_str_eq(value("a"), "1");
	ck_assert_uint_eq(mode_of("") & 07777, 02775);
	ck_assert_int_eq(intent_store_init("dir:", &err), INTENT_EUSAGE);
	ck_assert_int_eq(intent_store_init("etcd://x", &err), INTENT_EUSAGE);
}
END_TEST

START_TEST(emptied_by_hand_is_an_empty_store)
{
	uint64_t before, session_revision;
	char *id = NULL;

	put("a/b", "1");
	before = entry("a/b")->revision;
	ck_assert_int_eq(intent_session_open(store, 10000, &id, &err), 0);
	free(id);
	shell("rm -rf ./* .intent");
	ck_assert_uint_eq(list("")->count, 0);
	put("a/b", "1");
	session_revision = entry("a/b")->revision;
	ck_assert_uint_gt(session_revision, before);
}
END_TEST

START_TEST(relative_path_stays_where_it_was)
{
	struct intent_store *relative = NULL;
	char expected[128];

	ck_assert_int_eq(chdir(top), 0);
	ck_assert_int_eq(intent_store_open("dir:./store//", NULL, &relative, &err), 0);
	ck_assert_int_eq(chdir("/"), 0);
	snprintf(expected, sizeof(expected), "dir:%s", path);
	ck_assert_str_eq(intent_store_name(relative), expected);
	ck_assert_int_eq(intent_store_put(relative, "a", "1", 1, &err), 0);
	intent_store_close(relative);
	ck_assert_str_eq(value("a"), "1");
	ck_assert_int_eq(intent_store_open("dir:", NULL, &relative, &err), INTENT_EUSAGE);
}
END_TEST

/* ---- by hand ---- */

START_TEST(file_written_by_hand)
{
	uint64_t first, second;

	shell("mkdir -p nodes/web1 && printf '{\"cluster\": \"c\"}\\n' >nodes/web1/slug");
	ck_assert_str_eq(value("nodes/web1/slug"), "{\"cluster\": \"c\"}\n");
	first = entry("nodes/web1/slug")->revision;
	ck_assert_uint_gt(first, 0);
	ck_assert_uint_eq(entry("nodes/web1/slug")->revision, first);
	shell("sleep 0.02; echo '{}' >nodes/web1/slug");
	second = entry("nodes/web1/slug")->revision;
	ck_assert_uint_gt(second, first);
	ck_assert_int_eq(intent_store_cas(store, "nodes/web1/slug", first, "x", 1, NULL, &err),
			 INTENT_ECONFLICT);
	ck_assert_int_eq(intent_store_cas(store, "nodes/web1/slug", second, "x", 1, &first, &err),
			 0);
	ck_assert_uint_gt(first, second);
}
END_TEST

START_TEST(file_edited_below_its_header)
{
	uint64_t before;

	put("a", "one");
	before = entry("a")->revision;
	shell("sed -i s/one/two/ a");
	ck_assert_str_eq(value("a"), "two");
	ck_assert_uint_gt(entry("a")->revision, before);
	ck_assert_int_eq(intent_store_cas(store, "a", before, "x", 1, NULL, &err),
			 INTENT_ECONFLICT);
	put("a", "three");
	shell("grep -q '^#intent [0-9]* - [0-9a-f]\\{16\\}$' a");
}
END_TEST

START_TEST(file_with_a_broken_header)
{
	static const char *const heads[] = {
		"#intent", "#intent 1", "#intent x - 0", "#intent 1 - zz", "#intent 1 a/b 0",
		"#intent 99999999999999999999999 - 0000000000000000", "#intent 1 - 0 extra",
	};

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		shell("printf '%s\\nvalue' >a", heads[i]);
		ck_assert_uint_gt(entry("a")->revision, 1000000);
		ck_assert_ptr_nonnull(strstr(value("a"), "value"));
		ck_assert_ptr_null(entry("a")->session);
	}
}
END_TEST

START_TEST(what_cannot_be_a_document_is_not_absent)
{
	shell("ln -s /etc/passwd link; ln -s nowhere dangling; mkfifo fifo; "
	      "head -c 600000 /dev/zero >big; mkdir -p real; echo x >real/a; ln -s real linked");
	ck_assert_uint_eq(list("")->count, 6);
	ck_assert_str_eq(value("link"), "!not a regular file");
	ck_assert_str_eq(value("dangling"), "!not a regular file");
	ck_assert_str_eq(value("fifo"), "!not a regular file");
	ck_assert_str_eq(value("big"), "!the file is longer than 512 KiB");
	ck_assert_str_eq(value("linked"), "!not a regular file");
	ck_assert_uint_eq(list("linked/")->count, 0);
	/* And a put makes it one. */
	put("link", "1");
	put("fifo", "2");
	ck_assert_str_eq(value("link"), "1");
	shell("test -f fifo && test ! -L link && ! grep -q intent /etc/passwd");
}
END_TEST

static void read_secret(void)
{
	ck_assert_str_eq(value("secret"), "!the file may not be read");
	ck_assert_str_eq(value("open"), "1");
}

START_TEST(unreadable_file_is_not_absent)
{
	put("open", "1");
	put("secret", "2");
	shell("chmod 0 secret");
	as_nobody(read_secret);
}
END_TEST

static void read_closed(void)
{
	struct intent_snapshot *snapshot = NULL;

	ck_assert_int_eq(intent_store_list(store, "", INTENT_DEFAULT, &snapshot, &err),
			 INTENT_EREFUSED);
	ck_assert_ptr_nonnull(strstr(err.msg, "closed"));
	ck_assert_int_eq(intent_store_list(store, "open/", INTENT_DEFAULT, &snapshot, &err), 0);
	ck_assert_int_eq(intent_store_put(store, "open/b", "1", 1, &err), INTENT_EREFUSED);
	ck_assert_ptr_nonnull(strstr(err.msg, "open/b"));
}

START_TEST(unreadable_directory_is_not_empty)
{
	put("open/a", "1");
	put("closed/a", "2");
	shell("chmod 0 closed; chmod 555 . .intent");
	as_nobody(read_closed);
	shell("chmod 755 . closed .intent");
}
END_TEST

/* ---- modes and owners ---- */

START_TEST(modes_follow_the_store)
{
	umask(077);
	put("a/b/c", "1");
	ck_assert_uint_eq(mode_of("a/b"), 0755);
	ck_assert_uint_eq(mode_of("a/b/c"), 0644);
	shell("chmod 2775 .");
	put("x/y/z", "1");
	ck_assert_uint_eq(mode_of("x/y"), 02775);
	ck_assert_uint_eq(mode_of("x/y/z"), 0644);
	ck_assert_uint_eq(mode_of(".intent"), 02775);
	ck_assert_uint_eq(mode_of(".intent/revision"), 0664);
}
END_TEST

static bool untrusted(const char *key)
{
	const struct intent_entry *found = entry(key);

	ck_assert_msg(found, "%s", key);
	return found->untrusted;
}

START_TEST(trust)
{
	static const char *const powerful[] = {
		"clusters/a/b/deploy_config", "stacks/w/n", "jobs/w/n", "gates/w/n",
	};
	static const char *const plain[] = {
		"clusters/a/b/config", "nodes/n/a", "nodes/jobs/a", "apps/deploy_config",
	};

	if (geteuid())
		return;
	for (int i = 0; i < 4; i++) {
		put(powerful[i], "1");
		put(plain[i], "1");
		ck_assert(!untrusted(powerful[i]) && !untrusted(plain[i]));
		shell("chown 65534 %s %s", powerful[i], plain[i]);
		ck_assert(untrusted(powerful[i]) && !untrusted(plain[i]));
		put(powerful[i], "2");
		ck_assert_msg(!untrusted(powerful[i]), "root wrote it again");
		shell("chmod 666 %s", powerful[i]);
		ck_assert(untrusted(powerful[i]));
		shell("chmod 644 %s; chmod 777 $(dirname %s)", powerful[i], powerful[i]);
		ck_assert(untrusted(powerful[i]));
		shell("chmod 755 $(dirname %s)", powerful[i]);
		ck_assert(!untrusted(powerful[i]));
	}
	shell("chgrp 65534 .; chmod 2775 .");
	ck_assert_msg(!untrusted("stacks/w/n"), "a group may write the store");
	shell("chmod 777 .");
	ck_assert(untrusted("stacks/w/n"));
	shell("chmod 755 .; chown 65534 .");
	ck_assert(untrusted("stacks/w/n"));
	shell("chown 0:0 .; ln -s /etc/hostname stacks/w/link");
	ck_assert(untrusted("stacks/w/link"));
}
END_TEST

START_TEST(trust_below_a_prefix)
{
	struct intent_store *inner = NULL;
	struct intent_snapshot *snapshot = NULL;

	if (geteuid())
		return;
	ck_assert_int_eq(intent_store_open(url, "pre/fix", &inner, &err), 0);
	ck_assert_int_eq(intent_store_put(inner, "stacks/w/n", "1", 1, &err), 0);
	shell("chown 65534 pre/fix/stacks/w/n");
	ck_assert_int_eq(intent_store_get(inner, "stacks/w/n", INTENT_DEFAULT, &snapshot, &err), 0);
	ck_assert(snapshot->entries[0].untrusted);
	intent_snapshot_unref(snapshot);
	intent_store_close(inner);
}
END_TEST

START_TEST(making_way_keeps_the_owner)
{
	if (geteuid())
		return;
	put("stacks/w/n", "theirs");
	shell("chown 65534 stacks/w/n");
	put("stacks/w/n/below", "ours");
	ck_assert_str_eq(value("stacks/w/n"), "theirs");
	ck_assert(untrusted("stacks/w/n") && !untrusted("stacks/w/n/below"));
}
END_TEST

/* ---- sessions ---- */

START_TEST(dead_session_is_ignored_then_swept)
{
	struct intent_op op = {.kind = INTENT_OP_PUT, .key = "b/x", .value = "1", .length = 1};
	char *id = NULL;
	struct intent_store *other = NULL;

	ck_assert_int_eq(intent_store_open(url, NULL, &other, &err), 0);
	ck_assert_int_eq(intent_session_open(other, 10000, &id, &err), 0);
	op.session = id;
	ck_assert_int_eq(intent_store_txn(other, &op, 1, NULL, &err), 0);
	ck_assert_str_eq(value("b/x"), "1");
	ck_assert_int_eq(intent_session_close(store, id, &err), INTENT_EREFUSED);
	intent_store_close(other);
	ck_assert(exists("b/x"));
	ck_assert_str_eq(value("b/x"), "(absent)");
	put("a", "1");
	ck_assert(!exists("b/x") && !exists("b"));
	shell("test -z \"$(ls .intent/sessions)\"");
	free(id);
}
END_TEST

START_TEST(session_of_a_strange_name)
{
	static const char *const ids[] = {"../../etc/passwd", "x/y", ".", "no such", "-"};

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct intent_op op = {.kind = INTENT_OP_PUT, .key = "a", .value = "1",
				       .length = 1, .session = ids[i]};

		ck_assert_int_eq(intent_store_txn(store, &op, 1, NULL, &err), INTENT_EABSENT);
		ck_assert_int_eq(intent_session_renew(store, ids[i], &err), INTENT_EABSENT);
		ck_assert_int_eq(intent_session_close(store, ids[i], &err), 0);
	}
}
END_TEST

/* ---- journals ---- */

static void read_half(void)
{
	struct intent_snapshot *snapshot = NULL;

	ck_assert_int_eq(intent_store_list(store, "", INTENT_DEFAULT, &snapshot, &err),
			 INTENT_EUNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(err.msg, "cut short"));
}

START_TEST(journal_is_finished_by_who_may)
{
	put("a", "1");
	put("old", "1");
	shell("cd .intent; echo 2 >stage-1-0; echo 3 >stage-1-1; "
	      "printf '#journal 1\\nstage-1-0 a\\nstage-1-1 b/c\\n- old\\nend\\n' >journal");
	if (geteuid() == 0)
		as_nobody(read_half);
	ck_assert_str_eq(value("a"), "2\n");
	ck_assert_str_eq(value("b/c"), "3\n");
	ck_assert_str_eq(value("old"), "(absent)");
	shell("test -z \"$(ls .intent/stage-* .intent/journal 2>/dev/null)\"");
}
END_TEST

START_TEST(journal_of_a_member_gives_no_more_rights)
{
	struct intent_snapshot *snapshot = NULL;

	if (geteuid())
		return;
	put("stacks/w/n", "root's");
	shell("chmod 777 .intent; cd .intent; echo theirs >stage-1-0; "
	      "printf '#journal 1\\nstage-1-0 stacks/w/n\\nend\\n' >journal; "
	      "chown 65534 stage-1-0 journal");
	ck_assert_int_eq(intent_store_list(store, "", INTENT_DEFAULT, &snapshot, &err),
			 INTENT_EUNAVAILABLE);
	shell("grep -q root stacks/w/n; rm .intent/journal");
	ck_assert_str_eq(value("stacks/w/n"), "root's");
	shell("mkdir /tmp/$$.x && rmdir /tmp/$$.x");
	put("still", "root");
	shell("test \"$(stat -c %%u still)\" = 0");
}
END_TEST

START_TEST(journal_that_is_damaged)
{
	static const char *const texts[] = {
		"", "#journal 1\\n", "#journal 1\\nend", "garbage\\nend\\n",
		"#journal 1\\nstage-1\\nend\\n", "#journal 1\\n../../x a\\nend\\n",
		"#journal 1\\nstage-/../../x a\\nend\\n", "#journal 1\\nrevision a\\nend\\n",
	};

	put("a", "1");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct intent_snapshot *snapshot = NULL;

		shell("printf '%s' >.intent/journal", texts[i]);
		ck_assert_int_eq(intent_store_list(store, "", INTENT_DEFAULT, &snapshot, &err),
				 INTENT_EUNAVAILABLE);
		ck_assert_ptr_nonnull(strstr(err.msg, ".intent/journal is damaged; remove it"));
		ck_assert_int_eq(intent_store_put(store, "b", "1", 1, &err), INTENT_EUNAVAILABLE);
	}
	shell("rm .intent/journal");
	ck_assert_str_eq(value("a"), "1");
}
END_TEST

START_TEST(links_in_the_way_are_not_followed)
{
	if (geteuid())
		return;
	shell("mkdir ../outside; ln -s ../outside nodes");
	ck_assert_int_lt(intent_store_put(store, "nodes/web1/slug", "1", 1, &err), 0);
	shell("test -z \"$(ls ../outside)\"; rm nodes");
	put("a", "1");
	shell("rm -rf .intent; ln -s ../outside .intent");
	ck_assert_int_lt(intent_store_put(store, "a", "2", 1, &err), 0);
	shell("test -z \"$(ls ../outside)\"; rm .intent");
	shell("mkdir .intent; echo 77 >../precious; ln ../precious .intent/revision");
	ck_assert_int_eq(intent_store_put(store, "a", "2", 1, &err), INTENT_EREFUSED);
	shell("grep -q ^77$ ../precious");
}
END_TEST

/* ---- on a loop ---- */

static int written;

/* A slow disk: somebody reads meanwhile, and goes on for a moment. */
static void on_written(struct intent_store *from, uint64_t revision, const char *session,
		       const struct intent_error *error, void *data)
{
	int ends[2];
	char byte;

	(void)from, (void)revision, (void)session, (void)data;
	ck_assert_msg(!error->code, "%s", error->msg);
	if (++written > 1)
		return;
	ck_assert_int_eq(pipe(ends), 0);
	if (fork() == 0) {
		flock(open(path, O_RDONLY), LOCK_SH);
		(void)!write(ends[1], "", 1);
		usleep(300000);
		_exit(0);
	}
	ck_assert_int_eq(read(ends[0], &byte, 1), 1);
	forward += 3600;
}

START_TEST(queueing_is_no_waiting_for_the_lock)
{
	struct intent_op op = {.kind = INTENT_OP_PUT, .key = "a", .value = "1", .length = 1};
	uv_loop_t loop;

	uv_loop_init(&loop);
	ck_assert_int_eq(intent_store_attach(store, &loop, &err), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(intent_store_txn_start(store, &op, 1, on_written, NULL, &err), 0);
	while (written < 3)
		uv_run(&loop, UV_RUN_ONCE);
	wait(NULL);
	store = intent_store_close(store);
	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

START_TEST(counter_survives_nonsense)
{
	uint64_t before;

	put("a", "1");
	before = entry("a")->revision;
	shell("echo nonsense >.intent/revision");
	put("a", "2");
	ck_assert_uint_gt(entry("a")->revision, before);
	before = entry("a")->revision;
	/* A clock that was set back: the counter leads. */
	shell("printf '%%020d\\n' 4000000000000000 >.intent/revision");
	put("a", "3");
	ck_assert_uint_eq(entry("a")->revision, 4000000000000001);
	shell("rm .intent/revision");
	put("a", "4");
	ck_assert_uint_eq(entry("a")->revision, 4000000000000002);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("dir");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_set_timeout(all, 60);
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, names);
	tcase_add_test(all, names_fit_a_file_system);
	tcase_add_test(all, names_that_are_nobodys_key);
	tcase_add_test(all, missing_store_is_not_an_empty_one);
	tcase_add_test(all, init_keeps_what_is_there);
	tcase_add_test(all, emptied_by_hand_is_an_empty_store);
	tcase_add_test(all, relative_path_stays_where_it_was);
	tcase_add_test(all, file_written_by_hand);
	tcase_add_test(all, file_edited_below_its_header);
	tcase_add_test(all, file_with_a_broken_header);
	tcase_add_test(all, what_cannot_be_a_document_is_not_absent);
	tcase_add_test(all, unreadable_file_is_not_absent);
	tcase_add_test(all, unreadable_directory_is_not_empty);
	tcase_add_test(all, modes_follow_the_store);
	tcase_add_test(all, trust);
	tcase_add_test(all, trust_below_a_prefix);
	tcase_add_test(all, making_way_keeps_the_owner);
	tcase_add_test(all, dead_session_is_ignored_then_swept);
	tcase_add_test(all, session_of_a_strange_name);
	tcase_add_test(all, journal_is_finished_by_who_may);
	tcase_add_test(all, journal_of_a_member_gives_no_more_rights);
	tcase_add_test(all, journal_that_is_damaged);
	tcase_add_test(all, links_in_the_way_are_not_followed);
	tcase_add_test(all, queueing_is_no_waiting_for_the_lock);
	tcase_add_test(all, counter_survives_nonsense);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
