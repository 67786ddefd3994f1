#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

#include <intent/file.h>
#include "../../libintent/world/unpack.h"

static struct intent_error error;

/* ---- policy: pure ---- */

enum { F = INTENT__ARCHIVE_FILE, D = INTENT__ARCHIVE_DIRECTORY, S = INTENT__ARCHIVE_SYMLINK,
       H = INTENT__ARCHIVE_HARDLINK, O = INTENT__ARCHIVE_OTHER };

struct entry {
	int kind;
	const char *name, *link;
};

/* What each set of entries comes to: NULL, or words of the refusal of the last one. */
static const struct policy_case {
	struct entry entries[4];
	const char *refusal;
	const char *path; /* what the last one's name becomes */
} policy_cases[] = {
	{{{F, "a", 0}}, NULL, "a"},
	{{{F, "./a//b/./c", 0}}, NULL, "a/b/c"},
	{{{D, "./", 0}}, NULL, ""},
	{{{D, ".", 0}}, NULL, ""},
	{{{D, "a/", 0}}, NULL, "a"},
	{{{F, "a..b/...", 0}}, NULL, "a..b/..."},
	{{{F, "gr\xc3\xbc\xc3\x9f" "e", 0}}, NULL, "gr\xc3\xbc\xc3\x9f" "e"},
	{{{D, "a", 0}, {D, "a/", 0}}, NULL, "a"},
	{{{F, "a/b", 0}, {D, "a", 0}}, NULL, "a"},
	{{{F, "", 0}}, "has no name", NULL},
	{{{F, "/etc/passwd", 0}}, "absolute", NULL},
	{{{F, "//a", 0}}, "absolute", NULL},
	{{{F, "../a", 0}}, "'..'", NULL},
	{{{F, "a/../b", 0}}, "'..'", NULL},
	{{{F, "a/..", 0}}, "'..'", NULL},
	{{{D, "..", 0}}, "'..'", NULL},
	{{{F, "a\nb", 0}}, "control", NULL},
	{{{F, "a\x1b[2J", 0}}, "control", NULL},
	{{{F, "a\x7f", 0}}, "control", NULL},
	{{{F, "\xff\xfe", 0}}, "UTF-8", NULL},
	{{{F, "\xc0\xae\xc0\xae/a", 0}}, "UTF-8", NULL},
	{{{F, "a/", 0}}, "like a directory", NULL},
	{{{F, ".", 0}}, "like a directory", NULL},
	{{{S, "./", "x"}}, "like a directory", NULL},
	{{{O, "dev", 0}}, "device", NULL},
	{{{F, "a", 0}, {F, "a", 0}}, "twice", NULL},
	{{{F, "a", 0}, {F, "./a", 0}}, "twice", NULL},
	{{{F, "a", 0}, {D, "a", 0}}, "twice", NULL},
	{{{D, "a", 0}, {F, "a", 0}}, "twice", NULL},
	{{{F, "a/b", 0}, {F, "a", 0}}, "twice", NULL},
	{{{D, "a", 0}, {S, "a", "b"}}, "twice", NULL},
	{{{F, "a", 0}, {F, "A", 0}}, "differ only in case", NULL},
	{{{F, "a/b", 0}, {F, "A/c", 0}}, "differ only in case", NULL},
	{{{F, "a", 0}, {F, "a/b", 0}}, "no directory", NULL},
	{{{S, "a", "b"}, {F, "a/b", 0}}, "through a symbolic link", NULL},
	{{{S, "a", "."}, {D, "a/b/c", 0}}, "through a symbolic link", NULL},
	/* symbolic links */
	{{{S, "a", "b"}}, NULL, "a"},
	{{{S, "a", "."}}, NULL, "a"},
	{{{S, "a/b", "../c"}}, NULL, "a/b"},
	{{{S, "a/b/c", "../../d/./e/"}}, NULL, "a/b/c"},
	{{{S, "a", "/etc/passwd"}}, "absolute path", NULL},
	{{{S, "a", ".."}}, "leads out", NULL},
	{{{S, "a/b", "../.."}}, "leads out", NULL},
	{{{S, "a/b", "./../../c"}}, "leads out", NULL},
	{{{S, "a/b", "c/../../../d"}}, "detour", NULL},
	{{{S, "a", "b/.."}}, "detour", NULL},
	{{{S, "a", ""}}, "no or too long", NULL},
	{{{S, "a", NULL}}, "no or too long", NULL},
	{{{S, "a", "b\nc"}}, "control", NULL},
	/* hard links */
	{{{F, "a", 0}, {H, "b", "./a"}}, NULL, "b"},
	{{{F, "a", 0}, {H, "b", "a"}, {H, "c", "b"}}, NULL, "c"},
	{{{H, "b", "a"}}, "hard link to something", NULL},
	{{{D, "a", 0}, {H, "b", "a"}}, "hard link to something", NULL},
	{{{S, "a", "c"}, {H, "b", "a"}}, "hard link to something", NULL},
	{{{F, "a", 0}, {H, "b", "A"}}, "hard link to something", NULL},
	{{{H, "a", "a"}}, "hard link to something", NULL},
	{{{F, "a", 0}, {H, "a", "a"}}, "twice", NULL},
	{{{H, "b", "/etc/passwd"}}, "absolute", NULL},
	{{{H, "b", "../a"}}, "'..'", NULL},
	{{{H, "b", ""}}, "no name", NULL},
	{{{H, "b", NULL}}, "no name", NULL},
};

START_TEST(policy_table)
{
	const struct policy_case *row = &policy_cases[_i];
	struct intent__archive_names names = {.count_max = 100};
	char path[INTENT__ARCHIVE_PATH_MAX + 1], target[INTENT__ARCHIVE_PATH_MAX + 1];
	int code = 0;

	for (int i = 0; i < 4 && row->entries[i].name; i++) {
		ck_assert_msg(code == 0, "entry %d: %s", i - 1, error.msg);
		code = intent__archive_admit(&names, (enum intent__archive_kind)row->entries[i].kind,
					     row->entries[i].name, row->entries[i].link, path, target,
					     &error);
	}
	if (row->refusal) {
		ck_assert_int_eq(code, INTENT_EREFUSED);
		ck_assert_msg(strstr(error.msg, row->refusal), "'%s' lacks '%s'", error.msg, row->refusal);
		ck_assert(intent_utf8_is_clean(error.msg, strlen(error.msg)));
	} else {
		ck_assert_msg(code == 0, "%s", error.msg);
		ck_assert_str_eq(path, row->path);
	}
	intent__archive_names_clear(&names);
}
END_TEST

static int admit(struct intent__archive_names *names, const char *name)
{
	char path[INTENT__ARCHIVE_PATH_MAX + 1], target[INTENT__ARCHIVE_PATH_MAX + 1];

	return intent__archive_admit(names, INTENT__ARCHIVE_FILE, name, NULL, path, target, &error);
}

START_TEST(policy_bounds)
{
	struct intent__archive_names names = {.count_max = 70};
	char name[INTENT__ARCHIVE_PATH_MAX + 2];

	memset(name, 'x', 255);
	name[255] = '\0';
	ck_assert_int_eq(admit(&names, name), 0);
	snprintf(name + 255, 2, "x");
	ck_assert_int_eq(admit(&names, name), INTENT_EREFUSED);
	memset(name, 'y', sizeof(name));
	for (size_t i = 200; i < sizeof(name); i += 200)
		name[i] = '/';
	name[4096] = '\0';
	ck_assert_int_eq(admit(&names, name), 0);
	name[4096] = 'y';
	name[4097] = '\0';
	ck_assert_int_eq(admit(&names, name), INTENT_EREFUSED);
	intent__archive_names_clear(&names);
	for (int depth = 0; depth < 65; depth++)
		snprintf(name + 2 * depth, 3, "d/");
	name[129] = '\0';
	ck_assert_int_eq(admit(&names, name), INTENT_EREFUSED);
	name[127] = '\0';
	ck_assert_int_eq(admit(&names, name), 0);
	/* Parents count as entries too. */
	ck_assert_uint_eq(names.count, 64);
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "%d", i);
		ck_assert_int_eq(admit(&names, name), 0);
	}
	ck_assert_int_eq(admit(&names, "more"), INTENT_ETOOBIG);
	intent__archive_names_clear(&names);
}
END_TEST

/* ---- archives ---- */

static unsigned char tar[1 << 16];
static size_t tar_size;
static char directory[64];
static int root;

static void add_entry(char type, const char *name, const char *link, const char *content)
{
	unsigned char *header = tar + tar_size;
	size_t size = content ? strlen(content) : 0;
	unsigned sum = 0;

	memset(header, 0, 512 + (size + 511) / 512 * 512);
	snprintf((char *)header, 100, "%s", name);
	snprintf((char *)header + 100, 8, "%07o", 06755u);
	snprintf((char *)header + 108, 8, "%07o", 12u);
	snprintf((char *)header + 116, 8, "%07o", 34u);
	snprintf((char *)header + 124, 12, "%011o", (unsigned)size);
	snprintf((char *)header + 136, 12, "%011o", 0u);
	header[156] = (unsigned char)type;
	snprintf((char *)header + 157, 100, "%s", link ? link : "");
	memcpy(header + 257, "ustar\00000", 8);
	memset(header + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += header[i];
	snprintf((char *)header + 148, 8, "%06o", sum);
	if (content)
		memcpy(header + 512, content, size);
	tar_size += 512 + (size + 511) / 512 * 512;
}

static void add_zeros(size_t count)
{
	memset(tar + tar_size, 0, count);
	tar_size += count;
}

static int memory_file(const void *bytes, size_t count)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(intent_write_all(fd, bytes, count), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static struct intent_archive_totals totals;
static struct intent_archive_limits limits;

static int unpack(const void *bytes, size_t count)
{
	int fd = memory_file(bytes, count), code;

	error = (struct intent_error){0};
	code = intent_archive_unpack(fd, root, &limits, &totals, &error);
	close(fd);
	return code;
}

static void setup(void)
{
	tar_size = 0;
	limits = (struct intent_archive_limits){0};
	snprintf(directory, sizeof(directory), "/tmp/platypus-archive.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_ge(root, 0);
}

static void teardown(void)
{
	close(root);
	ck_assert_int_eq(intent_tree_remove(directory, &error), 0);
}

static void again(void)
{
	teardown();
	setup();
}

START_TEST(whole_archive)
{
	struct stat st;
	char target[16] = "";
	mode_t mask = umask(077);

	add_entry('5', "./", NULL, NULL);
	add_entry('0', "./bin/launch", NULL, "#!/bin/sh\n");
	add_entry('1', "./bin/again", "bin/launch", NULL);
	add_entry('2', "./run", "bin/launch", NULL);
	add_zeros(1024);
	ck_assert_msg(unpack(tar, tar_size) == 0, "%s", error.msg);
	ck_assert_uint_eq(umask(mask), 077);
	ck_assert_uint_eq(totals.entries, 4);
	ck_assert_uint_eq(totals.bytes, 10);
	ck_assert_uint_eq(totals.packed, tar_size);
	ck_assert_int_eq(fstatat(root, "bin/launch", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0755);
	ck_assert_uint_eq(st.st_uid, geteuid());
	ck_assert_uint_eq(st.st_nlink, 2);
	ck_assert_int_eq(st.st_size, 10);
	ck_assert_int_eq(fstatat(root, "bin", &st, 0), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0755);
	ck_assert_int_eq(readlinkat(root, "run", target, sizeof(target)), 10);
}
END_TEST

/* libarchive calls each of these a sound archive. */
START_TEST(end_of_archive)
{
	add_entry('0', "a", NULL, "A");
	ck_assert_int_eq(unpack(tar, tar_size), INTENT_EMALFORMED);
	ck_assert_ptr_nonnull(strstr(error.msg, "cut short"));
	again();
	add_entry('0', "a", NULL, "A");
	add_zeros(512);
	ck_assert_int_eq(unpack(tar, tar_size), INTENT_EMALFORMED);
	again();
	add_entry('0', "a", NULL, "A");
	add_zeros(1024);
	add_entry('0', "b", NULL, "B");
	add_zeros(1024);
	ck_assert_int_eq(unpack(tar, tar_size), INTENT_EMALFORMED);
	ck_assert_ptr_nonnull(strstr(error.msg, "follow the end"));
	again();
	add_zeros(10240);
	ck_assert_int_eq(unpack(tar, tar_size), INTENT_EMALFORMED);
	ck_assert_ptr_nonnull(strstr(error.msg, "no entry"));
	ck_assert_int_eq(unpack(tar, 0), INTENT_EMALFORMED);
	again();
	/* The whole file is zeros, and so is the end: still cut. */
	add_entry('0', "a", NULL, "A");
	memset(tar + 512, 0, 512);
	ck_assert_int_eq(unpack(tar, tar_size), INTENT_EMALFORMED);
	again();
	add_entry('0', "a", NULL, "A");
	add_zeros(1025);
	ck_assert_msg(unpack(tar, tar_size) == 0, "%s", error.msg);
}
END_TEST

START_TEST(cut_anywhere)
{
	add_entry('0', "a", NULL, "A");
	add_entry('0', "b", NULL, "B");
	add_zeros(1024);
	for (size_t count = 0; count < tar_size; count += 7) {
		ck_assert_int_eq(unpack(tar, count), INTENT_EMALFORMED);
		unlinkat(root, "a", 0);
		unlinkat(root, "b", 0);
	}
}
END_TEST

static unsigned char packed[1 << 16];

static size_t gzip(const void *bytes, size_t count, unsigned char *out, size_t room)
{
	z_stream z = {0};

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)bytes;
	z.avail_in = (unsigned)count;
	z.next_out = out;
	z.avail_out = (unsigned)room;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

START_TEST(gzip_trailer)
{
	size_t count;

	add_entry('0', "a", NULL, "A");
	add_zeros(10240);
	count = gzip(tar, tar_size, packed, sizeof(packed));
	ck_assert_msg(unpack(packed, count) == 0, "%s", error.msg);
	for (size_t at = count - 8; at < count; at++) {
		unlinkat(root, "a", 0);
		packed[at] ^= 0x40;
		ck_assert_int_eq(unpack(packed, count), INTENT_EMALFORMED);
		packed[at] ^= 0x40;
	}
	for (size_t cut = 1; cut < count; cut++) {
		unlinkat(root, "a", 0);
		ck_assert_int_eq(unpack(packed, cut), INTENT_EMALFORMED);
	}
	for (int junk = 0; junk < 3; junk++) {
		unlinkat(root, "a", 0);
		packed[count] = (unsigned char)("\0\x1fx"[junk]);
		ck_assert_int_eq(unpack(packed, count + 1), INTENT_EMALFORMED);
	}
}
END_TEST

START_TEST(gzip_members)
{
	size_t first, second;

	add_entry('0', "a", NULL, "A");
	add_zeros(10240);
	first = gzip(tar, 700, packed, sizeof(packed));
	second = gzip(tar + 700, tar_size - 700, packed + first, sizeof(packed) - first);
	ck_assert_msg(unpack(packed, first + second) == 0, "%s", error.msg);
}
END_TEST

START_TEST(bounds)
{
	add_entry('0', "a", NULL, "12345");
	add_entry('0', "b", NULL, "12345");
	add_zeros(1024);
	limits.bytes = 10;
	limits.entries = 2;
	ck_assert_msg(unpack(tar, tar_size) == 0, "%s", error.msg);
	again();
	add_entry('0', "a", NULL, "12345");
	add_entry('0', "b", NULL, "12345");
	add_zeros(1024);
	limits.bytes = 9;
	ck_assert_int_eq(unpack(tar, tar_size), INTENT_ETOOBIG);
	unlinkat(root, "a", 0);
	limits.bytes = 0;
	limits.entries = 1;
	ck_assert_int_eq(unpack(tar, tar_size), INTENT_ETOOBIG);
}
END_TEST

START_TEST(bomb)
{
	size_t size = 64 << 20, count;
	unsigned char *big = calloc(1, size), *small = malloc(1 << 20);

	ck_assert(big && small);
	add_entry('0', "zeros", NULL, "");
	snprintf((char *)tar + 124, 12, "%011o", (unsigned)size - 2048);
	memset(tar + 148, ' ', 8);
	{
		unsigned sum = 0;

		for (int i = 0; i < 512; i++)
			sum += tar[i];
		snprintf((char *)tar + 148, 8, "%06o", sum);
	}
	memcpy(big, tar, 512);
	count = gzip(big, size, small, 1 << 20);
	ck_assert_int_eq(unpack(small, count), INTENT_ETOOBIG);
	ck_assert_ptr_nonnull(strstr(error.msg, "bomb"));
	unlinkat(root, "zeros", 0);
	limits.ratio = 100000;
	ck_assert_msg(unpack(small, count) == 0, "%s", error.msg);
	free(big);
	free(small);
}
END_TEST

/* Somebody else's link in the way is neither followed nor replaced. */
START_TEST(link_in_the_way)
{
	ck_assert_int_eq(symlinkat("/tmp", root, "d"), 0);
	add_entry('0', "d/platypus-must-not-be", NULL, "A");
	add_zeros(1024);
	ck_assert_int_eq(unpack(tar, tar_size), -ENOTDIR);
	ck_assert_int_ne(access("/tmp/platypus-must-not-be", F_OK), 0);
	again();
	ck_assert_int_eq(symlinkat("/", root, "d"), 0);
	add_entry('0', "d/tmp/platypus-must-not-be", NULL, "A");
	add_zeros(1024);
	ck_assert_int_eq(unpack(tar, tar_size), -ENOTDIR);
	ck_assert_int_ne(access("/tmp/platypus-must-not-be", F_OK), 0);
	again();
	ck_assert_int_eq(symlinkat("elsewhere", root, "a"), 0);
	add_entry('0', "a", NULL, "A");
	add_zeros(1024);
	ck_assert_int_eq(unpack(tar, tar_size), -EEXIST);
}
END_TEST

START_TEST(trouble)
{
	/* Neither readable nor an archive: the error is the system's. */
	ck_assert_int_eq(intent_archive_unpack(root, root, NULL, NULL, &error), -EISDIR);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("archive");
	TCase *policy = tcase_create("policy"), *files = tcase_create("files");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(policy, policy_table, 0, sizeof(policy_cases) / sizeof(*policy_cases));
	tcase_add_test(policy, policy_bounds);
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_set_timeout(files, 60);
	tcase_add_test(files, whole_archive);
	tcase_add_test(files, end_of_archive);
	tcase_add_test(files, cut_anywhere);
	tcase_add_test(files, gzip_trailer);
	tcase_add_test(files, gzip_members);
	tcase_add_test(files, bounds);
	tcase_add_test(files, bomb);
	tcase_add_test(files, link_in_the_way);
	tcase_add_test(files, trouble);
	suite_add_tcase(suite, policy);
	suite_add_tcase(suite, files);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
