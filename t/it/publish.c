/*
 * The preparer's writer against an unpacker that was taken over: orders as intent_archive_read() would never give them
 * are refused, whole, nothing gets a name, and nothing outside changes. What is sound is published.
 *
 *	publish DIRECTORY          TAP; DIRECTORY is empty, and may be filled
 */
#include <ftw.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <intent/sandbox.h>
/* Not public, and their parts are static. */
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "../../libintent/world/archive-orders.c"
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "../../agents/preparer/publish.c"

static const char *top;
static int installs_fd;
static unsigned count;
static unsigned seed = 1;

/* ---- what an unpacker may say ---- */

static unsigned char said[1 << 20];
static size_t length;

static void say(const void *bytes, size_t more)
{
	memcpy(said + length, bytes, more);
	length += more;
}

static void order(uint32_t what, uint32_t kind, uint32_t more, int64_t number)
{
	say(&(struct order){.what = what, .kind = kind, .count = more, .number = number}, sizeof(struct order));
}

static void entry(enum intent__archive_kind kind, const char *name, const char *link, int64_t size)
{
	order(ORDER_ENTRY, kind, (uint32_t)(strlen(name) + strlen(link) + 2), size);
	say(name, strlen(name) + 1);
	say(link, strlen(link) + 1);
}

static void bytes(int64_t offset, const char *text)
{
	order(ORDER_BYTES, 0, (uint32_t)strlen(text), offset);
	say(text, strlen(text));
}

static void end(void) { order(ORDER_END, 0, 0, 0); }

#define FILE_(name, size) entry(INTENT__ARCHIVE_FILE, name, "", size)
#define LINK_(name, target) entry(INTENT__ARCHIVE_SYMLINK, name, target, 0)
#define HARD_(name, target) entry(INTENT__ARCHIVE_HARDLINK, name, target, 0)

static void plain(void) { FILE_("a/b", 3); bytes(0, "abc"); end(); }
static void two_names(void) { FILE_("one", 0); HARD_("two", "one"); end(); }
static void good_link(void) { FILE_("d/f", 0); LINK_("d/link", "../d/f"); end(); }
static void hole(void) { FILE_("f", 1 << 20); bytes(1000, "x"); end(); }
static void in_pieces(void) { FILE_("f", 4); bytes(0, "ab"); bytes(2, ""); bytes(2, "cd"); end(); }
static void nothing(void) { end(); }
static void silence(void) { }
static void no_end(void) { FILE_("f", 0); }
static void half_an_order(void) { say("\1\0", 2); }
static void half_a_name(void) { order(ORDER_ENTRY, 0, 100, 0); say("abc", 3); }
static void unknown_order(void) { order(77, 0, 0, 0); }
static void unknown_kind(void) { order(ORDER_ENTRY, 4711, 2, 0); say("\0", 2); }
static void device(void) { entry(INTENT__ARCHIVE_OTHER, "bad", "", 0); end(); }
static void dotdot(void) { FILE_("../victim", 1); bytes(0, "x"); end(); }
static void dotdot_inside(void) { FILE_("a/../../../victim", 1); end(); }
static void absolute(void) { FILE_("/tmp/platypus-evil", 1); end(); }
static void no_name(void) { FILE_("", 1); end(); }
static void one_string(void) { order(ORDER_ENTRY, 0, 3, 0); say("abc", 3); end(); }
static void three_strings(void) { order(ORDER_ENTRY, 0, 6, 0); say("a\0b\0c", 6); end(); }
static void link_at_the_edge(void) { order(ORDER_ENTRY, 0, 2, 0); say("a", 2); end(); }
static void endless_name(void) { order(ORDER_ENTRY, 0, UINT32_MAX, 0); say("a", 2); end(); }
static void endless_bytes(void) { FILE_("f", INT64_MAX); order(ORDER_BYTES, 0, UINT32_MAX, 0); end(); }
static void link_out(void) { LINK_("bad", "../../victim"); end(); }
static void link_absolute(void) { LINK_("bad", "/etc"); end(); }
static void through_link(void) { entry(INTENT__ARCHIVE_DIRECTORY, "d", "", 0); LINK_("l", "d"); FILE_("l/x", 0); end(); }
static void over_link(void) { LINK_("l", "d"); FILE_("l", 1); bytes(0, "x"); end(); }
static void twice(void) { FILE_("f", 0); FILE_("f", 0); end(); }
static void other_case(void) { FILE_("f", 0); FILE_("F", 0); end(); }
static void hard_link_out(void) { HARD_("bad", "../../victim"); end(); }
static void hard_link_to_link(void) { LINK_("l", "f"); HARD_("bad", "l"); end(); }
static void no_size(void) { FILE_("f", -1); end(); }
static void too_large(void) { FILE_("f", 100 << 20); end(); }
static void too_large_together(void) { FILE_("e", 6 << 20); FILE_("f", 6 << 20); end(); }
static void beyond_its_size(void) { FILE_("f", 2); bytes(1, "xy"); end(); }
static void before_its_end(void) { FILE_("f", 9); bytes(4, "xy"); bytes(0, "xy"); end(); }
static void at_minus_one(void) { FILE_("f", 9); bytes(-1, "xy"); end(); }
static void at_the_edge(void) { FILE_("f", 9); bytes(INT64_MAX, "xy"); end(); }
static void bytes_first(void) { bytes(0, "xy"); end(); }
static void bytes_of_a_link(void) { FILE_("f", 9); LINK_("l", "f"); bytes(0, "xy"); end(); }
static void record(void) { FILE_(PREPARER_RECORD, 0); end(); }
static void record_link(void) { LINK_(PREPARER_RECORD, "victim"); end(); }

static void too_deep(void)
{
	char name[256] = "";

	for (int i = 0; i < 80; i++)
		strncat(name, i ? "/d" : "d", sizeof(name) - strlen(name) - 1);
	FILE_(name, 0);
	end();
}

static void too_many(void)
{
	char name[16];

	for (int i = 0; i < 1001; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		FILE_(name, 0);
	}
	end();
}

static const struct {
	const char *name;
	void (*say)(void);
	const char *words; /* of the refusal; NULL: it is published */
} rows[] = {
	{"a plain tree", plain, NULL},
	{"two names inside", two_names, NULL},
	{"a symbolic link", good_link, NULL},
	{"a hole", hole, NULL},
	{"a content in pieces", in_pieces, NULL},
	{"nothing at all", nothing, "holds no entry"},
	{"silence", silence, "ended before"},
	{"no end", no_end, "ended before"},
	{"half an order", half_an_order, "ended before"},
	{"half a name", half_a_name, "ended before"},
	{"an unknown order", unknown_order, "nonsense"},
	{"an unknown kind", unknown_kind, "nonsense"},
	{"one string", one_string, "nonsense"},
	{"three strings", three_strings, "nonsense"},
	{"no link's string", link_at_the_edge, "nonsense"},
	{"an endless name", endless_name, "nonsense"},
	{"endless bytes", endless_bytes, "exceed 10.0 MiB together"},
	{"a device", device, "is a device"},
	{"..", dotdot, "'..' in its name"},
	{".. further down", dotdot_inside, "'..' in its name"},
	{"an absolute name", absolute, "absolute name"},
	{"no name", no_name, "has no name"},
	{"a link that leads out", link_out, "leads out"},
	{"a link to an absolute path", link_absolute, "absolute path"},
	{"a file through a link", through_link, "through a symbolic link"},
	{"a file over a link", over_link, "comes twice"},
	{"a name twice", twice, "comes twice"},
	{"a name in other case", other_case, "differ only in case"},
	{"a hard link from outside", hard_link_out, "'..' in its name"},
	{"a hard link to a link", hard_link_to_link, "is no regular file"},
	{"a file without a size", no_size, "has no size"},
	{"a file too large", too_large, "exceed 10.0 MiB together"},
	{"files too large together", too_large_together, "exceed 10.0 MiB together"},
	{"bytes beyond a file's size", beyond_its_size, "data outside its file"},
	{"bytes that go back", before_its_end, "data outside its file"},
	{"bytes before the file", at_minus_one, "nonsense"},
	{"bytes at the edge of all numbers", at_the_edge, "nonsense"},
	{"bytes before any file", bytes_first, "data outside its file"},
	{"bytes of a link", bytes_of_a_link, "data outside its file"},
	{"too many entries", too_many, "more than 1000 entries"},
	{"a tree too deep", too_deep, "64 directories deep"},
	{"a record", record, "a name that is kept for the record"},
	{"a link for a record", record_link, "a name that is kept for the record"},
};

/* ---- trying ---- */

static void result(bool good, const char *name, const char *what, const struct intent_error *err)
{
	printf("%sok %u - %s: %s\n", good ? "" : "not ", ++count, name, what);
	if (!good)
		printf("# code %d: %s\n", err->code, err->code ? err->msg : "(none)");
	fflush(stdout);
}

static bool is_published(void)
{
	return faccessat(installs_fd, "app_1", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static const char *within;

/* Ours, writable by nobody else, and no link leads out. */
static int look(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	mode_t mode = st->st_mode & 07777;
	char target[4096];
	ssize_t got = type == FTW_SL ? readlink(path, target, sizeof(target) - 1) : 0;
	int up = 0, depth = 0;

	for (const char *at = path + strlen(within) + 1; ftw->level > 0 && *at; at++)
		depth += *at == '/';
	if (got > 0) {
		target[got] = '\0';
		for (const char *at = target; (at = strstr(at, "..")); at += 2)
			up += (at == target || at[-1] == '/') && (at[2] == '/' || at[2] == '\0');
	}
	bool good = st->st_uid == geteuid() && st->st_gid == getegid() && got >= 0 && target[0] != '/' && up <= depth &&
		(type == FTW_SL || mode == 0755 || (type == FTW_D && mode == 0700) ||
		 (S_ISREG(st->st_mode) && mode == 0644)) &&
		(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode));
	if (!good)
		printf("# %s: of %u, mode %06o\n", path, (unsigned)st->st_uid, (unsigned)st->st_mode);
	return !good;
}

static bool is_sound(const char *name)
{
	intent_free_auto char *path = intent_format("%s/installs/%s", top, name);

	within = path;
	return nftw(path, look, 8, FTW_PHYS) == 0;
}

static bool victim_is_safe(void)
{
	intent_free_auto char *path = intent_format("%s/victim", top);
	struct stat st;

	return stat(path, &st) == 0 && st.st_size == 1 && st.st_nlink == 1 && (st.st_mode & 07777) == 0600;
}

struct job { int in, root; };

static int write_all(struct intent_sandbox_say *answer, void *data, struct intent_error *err)
{
	const struct job *job = data;
	struct intent_archive_limits limits = {.bytes = 10 << 20, .entries = 1000};

	(void)answer;
	return intent_archive_write(job->in, job->root, &limits, NULL, err);
}

/* In a memory file: the writer may have gone before all is said. */
static int said_file(void)
{
	int fd = memfd_create("said", MFD_CLOEXEC);

	if (fd >= 0 && (intent_write_all(fd, said, length) < 0 || lseek(fd, 0, SEEK_SET) < 0))
		abort();
	return fd;
}

static int try(int staging_fd, bool sandboxed, struct intent_error *err)
{
	struct job job = {said_file(), staging_fd};
	const int keep[] = {job.in, job.root};
	struct intent_sandbox sandbox = {
		.name = "writer", .kind = INTENT_SANDBOX_FILES, .keep = keep, .keep_count = 2,
		.run = write_all, .data = &job,
	};
	struct intent_sandbox_child child = INTENT_SANDBOX_CHILD_INIT;
	intent_json_auto json_t *words = json_pack("{s:s}", "app", "app");
	int code;

	*err = (struct intent_error){0};
	if (!sandboxed)
		code = write_all(NULL, &job, err);
	else if (!(code = intent_sandbox_start(&sandbox, &child, err)))
		code = intent_sandbox_finish(&child, NULL, err);
	close(job.in);
	return code ? code : preparer_publish(installs_fd, ".tmp-x", staging_fd, "app_1", words, err);
}

static int make_staging(void)
{
	if (mkdirat(installs_fd, ".tmp-x", 0700) < 0)
		return -1;
	return openat(installs_fd, ".tmp-x", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void clean_up(int staging_fd)
{
	struct intent_error ignored;

	close(staging_fd);
	(void)intent_tree_remove_at(installs_fd, ".tmp-x", &ignored);
	(void)intent_tree_remove_at(installs_fd, "app_1", &ignored);
}

static void try_row(size_t row)
{
	const char *name = rows[row].name, *words = rows[row].words;
	int fd = make_staging(), code;
	struct intent_error err;

	length = 0;
	rows[row].say();
	code = try(fd, true, &err);
	if (!words) {
		result(!code && is_published() && is_sound("app_1"), name, "published", &err);
	} else {
		result(code && strstr(err.msg, words), name, "refused", &err);
		result(!is_published() && is_sound(".tmp-x"), name, "nothing is published", &err);
	}
	clean_up(fd);
}

/* ---- whatever it says ---- */

static unsigned chance(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return seed / 65536 % below;
}

/* Sound orders of all kinds, a few bytes of which are others. */
static void garble(void)
{
	length = 0;
	entry(INTENT__ARCHIVE_DIRECTORY, "d", "", 0);
	FILE_("d/f", 40);
	bytes(0, "0123456789012345678901234567890123456789");
	LINK_("d/l", "../e");
	HARD_("h", "d/f");
	FILE_("e", 4);
	bytes(0, "x");
	end();
	for (unsigned i = 1 + chance(3); i > 0; i--) {
		unsigned char with = chance(2) ? (unsigned char)"./\0\1\2\3\4\xff"[chance(8)] : (unsigned char)chance(256);

		said[chance((unsigned)length)] = with;
	}
}

static void try_garbled(unsigned turns)
{
	struct intent_error err = {0};
	unsigned published = 0;
	bool good = true;

	for (unsigned i = 0; good && i < turns; i++) {
		int fd = make_staging(), code;

		garble();
		code = try(fd, false, &err);
		published += !code;
		good = fd >= 0 && victim_is_safe() && is_published() == !code && is_sound(code ? ".tmp-x" : "app_1");
		clean_up(fd);
	}
	printf("# %u of %u were published\n", published, turns);
	result(good, "garbled orders", "no victim, and what is written is sound", &err);
	result(published > 0 && published < turns, "garbled orders", "some are sound, some are not", &err);
}

/* ---- a writer that was taken over all the same ---- */

static int misbehave(struct intent_sandbox_say *answer, void *data, struct intent_error *err)
{
	int root = *(const int *)data;
	int link = openat(root, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	int ours = openat(root, "f", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	int outside = openat(AT_FDCWD, "/etc/passwd", O_WRONLY | O_NOFOLLOW | O_CLOEXEC);

	(void)err;
	answer->numbers[0] = ours >= 0;
	answer->numbers[1] = link < 0;
	answer->numbers[2] = outside < 0 || geteuid() != 0;
	answer->numbers[3] = syscall(SYS_fchown, root, 1, 1) < 0;
	return 0;
}

static void try_taken_over(void)
{
	int fd = make_staging();
	struct intent_sandbox sandbox = {
		.name = "writer", .kind = INTENT_SANDBOX_FILES, .keep = &fd, .keep_count = 1, .run = misbehave, .data = &fd,
	};
	struct intent_sandbox_child child = INTENT_SANDBOX_CHILD_INIT;
	struct intent_error err = {0};
	uint64_t numbers[4] = {0};
	int code = intent_sandbox_start(&sandbox, &child, &err);

	if (!code)
		code = intent_sandbox_finish(&child, numbers, &err);
	result(!code && numbers[0], "a writer taken over", "writes its tree", &err);
	result(numbers[1] && numbers[3], "a writer taken over", "opens nothing through links, gives nothing away", &err);
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 2)
		result(numbers[2], "a writer taken over", "and nothing else", &err);
	clean_up(fd);
}

int main(int argc, char **argv)
{
	intent_free_auto char *installs = argc == 2 ? intent_format("%s/installs", argv[1]) : NULL;
	int dirfd, fd;

	if (!installs) {
		fprintf(stderr, "usage: publish DIRECTORY\n");
		return 100;
	}
	top = argv[1];
	dirfd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dirfd, "victim", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || mkdir(installs, 0755) < 0 ||
	    (installs_fd = open(installs, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return 111;
	for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++)
		try_row(row);
	try_garbled(1000);
	try_taken_over();
	struct intent_error none = {0};
	result(victim_is_safe(), "all of them", "nothing outside changed", &none);
	return 0;
}
