/*
 * archives DIRECTORY: writes one archive a row of the tables below, "good-*" to be unpacked and
 * "bad-*" to be refused. Made by hand, byte by byte, because no tar program writes most of them.
 */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <zlib.h>
#include <intent/file.h>

enum { ROOM = 80 << 20 };

static unsigned char *tar;      /* ROOM bytes */
static size_t size;

/* ---- pieces ---- */

struct item {
	char type;              /* '0' file, '5' directory, ...; 'P': a pax header made of `text` */
	const char *name, *link, *text;
	unsigned flags;
	const char *prefix;     /* of ustar */
};

enum { /* of an item */
	SUM = 1,       /* wrong checksum */
	SIZE_8G = 2,   /* the size says 8 GiB less one */
	SIZE_4T = 4,   /* 4 TiB, in base 256 */
	SIZE_NEGATIVE = 8,
	SHORT = 16,    /* the data ends in the middle */
	GNU = 32,      /* GNU magic */
	OLD = 64,      /* no magic */
	PLAIN_MODE = 128,
	MODE_0 = 256,
};

enum { /* of a row */
	NO_END = 1, ONE_BLOCK = 2, JUNK_AFTER = 4, TWICE = 8, ONLY_END = 16, CUT_HEADER = 32,
};

struct row {
	const char *name;
	struct item items[5];
	unsigned flags;
};

static void put(const void *bytes, size_t count)
{
	memcpy(tar + size, bytes, count);
	size += count;
}

static void zeros(size_t count)
{
	memset(tar + size, 0, count);
	size += count;
}

static void field(unsigned char *header, size_t at, size_t room, const char *text)
{
	size_t length = strlen(text);

	memcpy(header + at, text, length < room ? length : room);
}

static void number(unsigned char *header, size_t at, size_t room, unsigned long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%0*llo", (int)room - 1, value);
	field(header, at, room, text);
}

static void set_size(unsigned char *header, unsigned flags, size_t length)
{
	if (flags & SIZE_8G)
		field(header, 124, 12, "77777777777");
	else if (flags & SIZE_4T)
		header[124] = 0x80, header[130] = 4; /* 4 << 40 */
	else if (flags & SIZE_NEGATIVE)
		memset(header + 124, 0xff, 12);
	else
		number(header, 124, 12, length);
}

static void entry(const struct item *item, char type, const char *text, size_t length)
{
	unsigned char header[512] = {0};
	unsigned sum = item->flags & SUM ? 1 : 0;

	field(header, 0, 100, item->name ? item->name : "");
	number(header, 100, 8, item->flags & MODE_0 ? 0 : item->flags & PLAIN_MODE ? 0644 : 06777);
	number(header, 108, 8, 1234);
	number(header, 116, 8, 1234);
	set_size(header, item->flags, length);
	number(header, 136, 12, 0);
	header[156] = (unsigned char)type;
	field(header, 157, 100, item->link ? item->link : "");
	if (item->flags & GNU)
		memcpy(header + 257, "ustar  ", 8);
	else if (!(item->flags & OLD))
		memcpy(header + 257, "ustar\00000", 8);
	number(header, 329, 8, 1);
	number(header, 337, 8, 3);
	field(header, 345, 155, item->prefix ? item->prefix : "");
	memset(header + 148, ' ', 8);
	for (size_t i = 0; i < 512; i++)
		sum += header[i];
	number(header, 148, 7, sum);
	put(header, 512);
	put(text, length);
	if (!(item->flags & SHORT))
		zeros((512 - length % 512) % 512);
}

/* "key=value\nkey=value\n" as pax records, each with its length before it. */
static void pax(const struct item *item)
{
	char body[8192] = "";
	size_t used = 0;

	for (const char *at = item->text; *at;) {
		size_t count = strcspn(at, "\n"), length = count + 3;

		while (length != count + 2 + (size_t)snprintf(NULL, 0, "%zu", length))
			length++;
		used += (size_t)snprintf(body + used, sizeof(body) - used, "%zu %.*s\n", length, (int)count, at);
		at += count + (at[count] == '\n');
	}
	entry(&(struct item){.name = "pax", .flags = PLAIN_MODE}, 'x', body, used);
}

static void build(const struct row *row)
{
	size = 0;
	for (size_t i = 0; i < 5 && row->items[i].type; i++) {
		const struct item *item = &row->items[i];

		if (item->type == 'P')
			pax(item);
		else
			entry(item, item->type, item->text ? item->text : "", item->text ? strlen(item->text) : 0);
	}
	if (row->flags & TWICE) {
		zeros(1024);
		entry(&(struct item){.name = "second"}, '0', "x", 1);
	}
	if (row->flags & CUT_HEADER)
		size -= 100;
	if (!(row->flags & (NO_END | CUT_HEADER)))
		zeros(row->flags & ONE_BLOCK ? 512 : 1024);
	if (row->flags & JUNK_AFTER)
		put("junk", 4);
}

static void save(const char *directory, const char *name, const void *bytes, size_t count)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || intent_write_all(fd, bytes, count) < 0) {
		perror(path);
		exit(1);
	}
	close(fd);
}

/* ---- tar: what is in it ---- */

#define FILE_(name) {'0', name, 0, "content\n", 0, 0}
#define DIR_(name) {'5', name, 0, 0, 0, 0}
#define SYM_(name, to) {'2', name, to, 0, 0, 0}
#define HARD_(name, to) {'1', name, to, 0, 0, 0}
#define PAX_(text) {'P', 0, 0, text, 0, 0}
#define NAME_50 "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcd"
#define NAME_250 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50
#define DEEP_8 "d/d/d/d/d/d/d/d/"
#define DEEP_64 DEEP_8 DEEP_8 DEEP_8 DEEP_8 DEEP_8 DEEP_8 DEEP_8 DEEP_8

static const struct row rows[] = {
	/* sound ones: a policy that refuses everything is none */
	{"good-plain", {FILE_("a"), DIR_("d"), FILE_("d/b"), SYM_("l", "d/b"), HARD_("h", "a")}, 0},
	{"good-dot-slash", {DIR_("./"), FILE_("./a"), SYM_("./d/l", "../a")}, 0},
	{"good-no-directory-entries", {FILE_("a/b/c"), FILE_("a/d")}, 0},
	{"good-setuid-is-cut", {FILE_("suid"), DIR_("sgid-and-sticky")}, 0},
	{"good-mode-0-directory", {{'5', "locked", 0, 0, MODE_0, 0}, {'0', "locked/a", 0, "x", MODE_0, 0}}, 0},
	{"good-gnu", {{'0', "a", 0, "x", GNU, 0}}, 0},
	{"good-gnu-long-name", {{'L', "././@LongLink", 0, NAME_250 "/a", GNU, 0}, {'0', "cut", 0, "x", GNU, 0}}, 0},
	{"good-v7", {{'0', "a", 0, "x", OLD, 0}}, 0},
	{"good-v7-directory", {{'0', "a/", 0, 0, OLD, 0}, {'0', "a/b", 0, "x", OLD, 0}}, 0},
	{"good-prefix", {{'0', "a", 0, "x", 0, "some/where"}}, 0},
	{"good-pax-path", {PAX_("path=pax/path\n"), FILE_("other")}, 0},
	{"good-pax-utf8", {PAX_("path=gr\xc3\xbc\xc3\x9f" "e\nlinkpath=\xe2\x82\xac\n"), SYM_("x", "y")}, 0},
	{"good-pax-decomposed", {PAX_("path=u\xcc\x88\n"), FILE_("x")}, 0},
	{"good-xattr-is-ignored", {PAX_("SCHILY.xattr.security.capability=xxxx\nSCHILY.acl.access=user::rwx\n"
					"LIBARCHIVE.xattr.user.x=eA==\nSCHILY.fflags=immutable\n"), FILE_("a")}, 0},
	{"good-foreign-owner-is-ignored", {PAX_("uid=0\ngid=0\nuname=root\nmtime=99999999999\n"), FILE_("a")}, 0},
	{"good-directory-twice", {DIR_("a"), FILE_("a/b"), DIR_("a")}, 0},
	{"good-backslash", {FILE_("..\\..\\a")}, 0},
	{"good-dots", {FILE_("..."), FILE_("a..b"), FILE_(".hidden")}, 0},
	{"good-empty-file", {{'0', "a", 0, "", 0, 0}}, 0},
	{"good-dangling-link", {SYM_("a", "not/there")}, 0},
	{"good-link-to-itself", {SYM_("a", "a")}, 0},
	{"good-contiguous-file", {{'7', "a", 0, "x", 0, 0}}, 0},
	{"good-sparse", {PAX_("GNU.sparse.name=holes\nGNU.sparse.size=1000000\nGNU.sparse.map=4096,4,999000,4\n"),
			 FILE_("a")}, 0},
	{"good-255-bytes", {PAX_("path=" NAME_250 "12345\n"), FILE_("x")}, 0},
	{"good-64-deep", {PAX_("path="
			       DEEP_8 DEEP_8 DEEP_8 DEEP_8 DEEP_8 DEEP_8 DEEP_8 "d/d/d/d/d/d/d/f\n"), FILE_("x")}, 0},

	/* names */
	{"bad-dotdot", {FILE_("../evil")}, 0},
	{"bad-dotdot-middle", {FILE_("a/../../evil")}, 0},
	{"bad-dotdot-inside", {FILE_("a/../b")}, 0},
	{"bad-dotdot-end", {DIR_("a/..")}, 0},
	{"bad-dotdot-alone", {DIR_("..")}, 0},
	{"bad-absolute", {FILE_("/tmp/platypus-evil")}, 0},
	{"bad-absolute-double", {FILE_("//tmp/platypus-evil")}, 0},
	{"bad-prefix-dotdot", {{'0', "evil", 0, "x", 0, ".."}}, 0},
	{"bad-prefix-absolute", {{'0', "platypus-evil", 0, "x", 0, "/tmp"}}, 0},
	{"bad-pax-path-dotdot", {PAX_("path=../evil\n"), FILE_("fine")}, 0},
	{"bad-pax-path-absolute", {PAX_("path=/tmp/platypus-evil\n"), FILE_("fine")}, 0},
	{"bad-gnu-long-dotdot", {{'L', "././@LongLink", 0, "../evil", GNU, 0}, {'0', "fine", 0, "x", GNU, 0}}, 0},
	{"bad-newline", {FILE_("a\nb")}, 0},
	{"bad-escape", {FILE_("a\x1b]0;title\x07")}, 0},
	{"bad-delete", {FILE_("a\x7f")}, 0},
	{"bad-utf8", {FILE_("a\xff")}, 0},
	{"bad-utf8-overlong", {FILE_("\xc0\xae\xc0\xae/evil")}, 0},
	{"bad-utf8-surrogate", {FILE_("\xed\xa0\x80")}, 0},
	{"bad-pax-newline", {PAX_("comment=x\n"), FILE_("a\rb")}, 0},
	{"bad-no-name", {FILE_("")}, 0},
	{"bad-file-named-dot", {FILE_(".")}, 0},
	{"bad-256-bytes", {PAX_("path=" NAME_250 "123456\n"), FILE_("x")}, 0},
	{"bad-65-deep", {PAX_("path=" DEEP_64 "f\n"), FILE_("x")}, 0},

	/* kinds */
	{"bad-character-device", {{'3', "null", 0, 0, 0, 0}}, 0},
	{"bad-block-device", {{'4', "disk", 0, 0, 0, 0}}, 0},
	{"bad-fifo", {{'6', "fifo", 0, 0, 0, 0}}, 0},
	{"bad-device-after-file", {FILE_("a"), {'3', "null", 0, 0, 0, 0}}, 0},

	/* the same name twice */
	{"bad-twice", {FILE_("a"), FILE_("a")}, 0},
	{"bad-twice-spelt-otherwise", {FILE_("a/b"), FILE_("./a//b")}, 0},
	{"bad-file-then-directory", {FILE_("a"), DIR_("a")}, 0},
	{"bad-directory-then-file", {DIR_("a"), FILE_("a")}, 0},
	{"bad-directory-then-link", {DIR_("a"), SYM_("a", "b")}, 0},
	{"bad-file-then-below-it", {FILE_("a"), FILE_("a/b")}, 0},
	{"bad-case", {FILE_("Makefile"), FILE_("makefile")}, 0},
	{"bad-case-of-parent", {FILE_("a/b"), FILE_("A/b")}, 0},
	{"bad-case-of-link", {SYM_("a", "b"), FILE_("A/x")}, 0},

	/* symbolic links */
	{"bad-link-absolute", {SYM_("a", "/etc/passwd")}, 0},
	{"bad-link-out", {SYM_("a", "../evil")}, 0},
	{"bad-link-out-deep", {SYM_("a/b/c", "../../../evil")}, 0},
	{"bad-link-dot-out", {SYM_("a", "./../evil")}, 0},
	{"bad-link-detour", {DIR_("d"), SYM_("a", "d/../../evil")}, 0},
	{"bad-link-detour-by-link", {SYM_("up", "d/e"), SYM_("a", "up/../../../evil")}, 0},
	{"bad-link-empty", {SYM_("a", "")}, 0},
	{"bad-link-newline", {SYM_("a", "b\nc")}, 0},
	{"bad-link-pax-out", {PAX_("linkpath=../../evil\n"), SYM_("a", "fine")}, 0},
	{"bad-link-gnu-long-out", {{'K', "././@LongLink", 0, "/etc/passwd", GNU, 0}, {'2', "a", "fine", 0, GNU, 0}}, 0},
	{"bad-write-through-link", {SYM_("a", "d"), FILE_("a/evil")}, 0},
	{"bad-write-through-link-to-dot", {SYM_("a", "."), FILE_("a/evil")}, 0},
	{"bad-write-through-link-out", {SYM_("a", "/tmp"), FILE_("a/platypus-evil")}, 0},
	{"bad-overwrite-link", {SYM_("a", "b"), FILE_("a")}, 0},
	{"bad-link-with-content", {{'2', "a", "b", "content", 0, 0}, FILE_("c")}, 0},

	/* hard links */
	{"bad-hard-absolute", {HARD_("a", "/etc/passwd")}, 0},
	{"bad-hard-dotdot", {HARD_("a", "../../../../../etc/passwd")}, 0},
	{"bad-hard-to-nothing", {HARD_("a", "b")}, 0},
	{"bad-hard-to-later", {HARD_("a", "b"), FILE_("b")}, 0},
	{"bad-hard-to-itself", {HARD_("a", "a")}, 0},
	{"bad-hard-to-link", {SYM_("l", "a"), HARD_("h", "l")}, 0},
	{"bad-hard-to-directory", {DIR_("d"), HARD_("h", "d")}, 0},
	{"bad-hard-through-link", {FILE_("d/f"), SYM_("l", "d"), HARD_("h", "l/f")}, 0},
	{"bad-hard-over-file", {FILE_("a"), FILE_("b"), HARD_("b", "a")}, 0},
	{"bad-hard-pax-out", {PAX_("linkpath=/etc/passwd\n"), HARD_("a", "b")}, 0},
	{"bad-hard-with-content", {FILE_("a"), PAX_("size=8\n"), {'1', "h", "a", "content\n", 0, 0}}, 0},
	{"bad-hard-empty", {HARD_("a", "")}, 0},

	/* sizes */
	{"bad-size-8g", {{'0', "a", 0, "x", SIZE_8G, 0}}, 0},
	{"bad-size-4t", {{'0', "a", 0, "x", SIZE_4T, 0}}, 0},
	{"bad-size-negative", {{'0', "a", 0, "x", SIZE_NEGATIVE, 0}}, 0},
	{"bad-size-pax-huge", {PAX_("size=9223372036854775807\n"), FILE_("a")}, 0},
	{"bad-size-pax-beyond", {PAX_("size=100000\n"), FILE_("a")}, 0},
	{"bad-sparse-4t", {PAX_("GNU.sparse.name=a\n"
				"GNU.sparse.size=4398046511104\nGNU.sparse.map=0,8\n"), FILE_("a")}, 0},
	{"bad-sparse-overlap", {PAX_("GNU.sparse.name=a\n"
				     "GNU.sparse.size=8\nGNU.sparse.map=4,4,0,4\n"), FILE_("a")}, 0},
	{"bad-sparse-beyond", {PAX_("GNU.sparse.name=a\n"
				    "GNU.sparse.size=4\nGNU.sparse.map=1000,8\n"), FILE_("a")}, 0},
	{"bad-sparse-dotdot", {PAX_("GNU.sparse.name=../evil\n"
				    "GNU.sparse.size=8\nGNU.sparse.map=0,8\n"), FILE_("a")}, 0},

	/* damage */
	{"bad-checksum", {{'0', "a", 0, "x", SUM, 0}}, 0},
	{"bad-second-checksum", {FILE_("a"), {'0', "b", 0, "x", SUM, 0}}, 0},
	{"bad-cut-at-block", {FILE_("a")}, NO_END},
	{"bad-one-zero-block", {FILE_("a")}, ONE_BLOCK},
	{"bad-cut-in-header", {FILE_("a"), DIR_("b")}, CUT_HEADER},
	{"bad-cut-in-data", {{'0', "a", 0, "content", SHORT, 0}}, NO_END},
	{"bad-junk-after-end", {FILE_("a")}, JUNK_AFTER},
	{"bad-second-archive-after-end", {FILE_("a")}, TWICE},
	{"bad-only-zeros", {{0, 0, 0, 0, 0, 0}}, ONLY_END},
	{"bad-only-top", {DIR_("./")}, 0},
	{"bad-pax-length", {{'x', "pax", 0, "999 path=a\n", PLAIN_MODE, 0}, FILE_("b")}, 0},
	{"bad-pax-no-number", {{'x', "pax", 0, "xx path=a\n", PLAIN_MODE, 0}, FILE_("b")}, 0},
	{"bad-pax-no-equals", {{'x', "pax", 0, "9 path a\n", PLAIN_MODE, 0}, FILE_("b")}, 0},
	{"bad-pax-alone", {PAX_("path=a\n")}, 0},
	{"bad-long-name-alone", {{'L', "././@LongLink", 0, "a", GNU, 0}}, 0},
	{"bad-record-inside", {FILE_(".platypus.json")}, 0},
};

/* ---- packed: what is around it ---- */

static size_t gzip(const void *bytes, size_t count, unsigned char *out, size_t room)
{
	z_stream z = {0};

	if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		exit(1);
	z.next_in = (unsigned char *)(uintptr_t)bytes;
	z.avail_in = (unsigned)count;
	z.next_out = out;
	z.avail_out = (unsigned)room;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		exit(1);
	deflateEnd(&z);
	return room - z.avail_out;
}

static size_t filter(int code, const void *bytes, size_t count, unsigned char *out, size_t room)
{
	struct archive *archive = archive_write_new();
	struct archive_entry *raw = archive_entry_new();
	size_t used = 0;

	archive_entry_set_filetype(raw, AE_IFREG);
	archive_entry_set_pathname(raw, "x");
	if (archive_write_set_format_raw(archive) != ARCHIVE_OK ||
	    archive_write_add_filter(archive, code) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(archive, 0) != ARCHIVE_OK ||
	    archive_write_open_memory(archive, out, room, &used) != ARCHIVE_OK ||
	    archive_write_header(archive, raw) != ARCHIVE_OK ||
	    archive_write_data(archive, bytes, count) != (la_ssize_t)count ||
	    archive_write_close(archive) != ARCHIVE_OK) {
		fprintf(stderr, "filter %d: %s\n", code, archive_error_string(archive));
		exit(1);
	}
	archive_write_free(archive);
	archive_entry_free(raw);
	return used;
}

/* XXH64 of https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md, seed 0. */
#define P1 0x9e3779b185ebca87ull
#define P2 0xc2b2ae3d27d4eb4full
#define P3 0x165667b19e3779f9ull
#define P4 0x85ebca77c2b2ae63ull
#define P5 0x27d4eb2f165667c5ull

static uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static uint64_t xxh_round(uint64_t sum, uint64_t lane) { return rotate(sum + lane * P2, 31) * P1; }

static uint64_t little(const unsigned char *bytes, int count)
{
	uint64_t value = 0;

	while (count-- > 0)
		value = value << 8 | bytes[count];
	return value;
}

static uint64_t xxh64(const unsigned char *at, size_t count)
{
	uint64_t sums[4] = {P1 + P2, P2, 0, -P1}, hash = P5;
	const unsigned char *end = at + count;

	if (count >= 32) {
		for (; end - at >= 32; at += 32)
			for (int i = 0; i < 4; i++)
				sums[i] = xxh_round(sums[i], little(at + 8 * i, 8));
		hash = rotate(sums[0], 1) + rotate(sums[1], 7) + rotate(sums[2], 12) + rotate(sums[3], 18);
		for (int i = 0; i < 4; i++)
			hash = (hash ^ xxh_round(0, sums[i])) * P1 + P4;
	}
	hash += count;
	for (; end - at >= 8; at += 8)
		hash = rotate(hash ^ xxh_round(0, little(at, 8)), 27) * P1 + P4;
	if (end - at >= 4) {
		hash = rotate(hash ^ little(at, 4) * P1, 23) * P2 + P3;
		at += 4;
	}
	for (; at < end; at++)
		hash = rotate(hash ^ *at * P5, 11) * P1;
	hash = (hash ^ hash >> 33) * P2;
	hash = (hash ^ hash >> 29) * P3;
	return hash ^ hash >> 32;
}

/* One frame of raw blocks with a checksum, which libarchive's writer leaves out (RFC 8878). */
static size_t zstd(const unsigned char *bytes, size_t count, unsigned char *out)
{
	static const unsigned char start[] = {0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58};
	uint64_t sum = xxh64(bytes, count);
	size_t used = sizeof(start);

	memcpy(out, start, used);
	for (size_t at = 0, part; at < count; at += part) {
		unsigned head;

		part = count - at < 65536 ? count - at : 65536;
		head = (unsigned)part << 3 | (at + part == count);
		for (int i = 0; i < 3; i++)
			out[used++] = (unsigned char)(head >> 8 * i);
		memcpy(out + used, bytes + at, part);
		used += part;
	}
	for (int i = 0; i < 4; i++)
		out[used++] = (unsigned char)(sum >> 8 * i);
	return used;
}

static size_t pack(const char *kind, const void *bytes, size_t count, unsigned char *out, size_t room)
{
	if (strcmp(kind, "zst") == 0 && count < room / 2)
		return zstd(bytes, count, out);
	return strcmp(kind, "gz") == 0 ? gzip(bytes, count, out, room) :
		filter(strcmp(kind, "xz") == 0 ? ARCHIVE_FILTER_XZ : ARCHIVE_FILTER_ZSTD, bytes, count, out, room);
}

/* Small ones are judged while libarchive looks for the format, large ones while it reads. */
static void write_packed(const char *directory, const char *kind, const char *text, const char *tail)
{
	static unsigned char out[1 << 20], again[1 << 20];
	const struct row whole = {"", {{'0', "a", 0, text, 0, 0}, FILE_("b")}, 0};
	const struct row cut = {"", {{'0', "a", 0, text, 0, 0}, FILE_("b")}, NO_END};
	const struct row evil = {"", {{'0', "a", 0, text, 0, 0}, FILE_("../evil")}, 0};
	char name[64];
	size_t count;

#define SAVE(what, bytes, length) \
	(snprintf(name, sizeof(name), what "%s", kind, tail), save(directory, name, bytes, length))
	build(&evil);
	SAVE("bad-dotdot-%s", out, pack(kind, tar, size, out, sizeof(out)));
	build(&cut);
	SAVE("bad-cut-tar-in-%s", out, pack(kind, tar, size, out, sizeof(out)));
	build(&whole);
	count = pack(kind, tar, size, out, sizeof(out));
	SAVE("good-%s", out, count);
	SAVE("bad-cut-%s", out, count - 5);
	SAVE("bad-cut-short-%s", out, 12);
	SAVE("bad-double-%s", again, pack(kind, out, count, again, sizeof(again)));
	memcpy(again, out, count);
	memcpy(again + count, "junk junk junk", 14);
	SAVE("bad-junk-after-%s", again, count + 14);
	memset(again + count, 0, 3);
	SAVE("bad-zeros-after-%s", again, count + 3);
	again[count - 3] ^= 0x20; /* gzip: its length; zstd: its checksum; xz: its flags */
	SAVE("bad-trailer-of-%s", again, count);
	memcpy(again, out, count);
	again[count / 2] ^= 0x20;
	SAVE("bad-middle-of-%s", again, count);
	/* A second, empty tar behind the first: another member, frame or stream. */
	memcpy(again, out, count);
	memcpy(again + count, out, count);
	SAVE("bad-twice-in-%s", again, 2 * count);
}

static void write_bombs(const char *directory)
{
	static const struct row header = {"", {{'0', "zeros", 0, "", PLAIN_MODE, 0}}, NO_END};
	unsigned char *out = malloc(1 << 20);
	size_t count = 70 << 20;

	build(&header);
	number(tar, 124, 12, count);
	memset(tar + 148, ' ', 8);
	{
		unsigned sum = 0;

		for (size_t i = 0; i < 512; i++)
			sum += tar[i];
		number(tar, 148, 7, sum);
	}
	zeros(count + 1024);
	save(directory, "bad-bomb-gz", out, pack("gz", tar, size, out, 1 << 20));
	save(directory, "bad-bomb-xz", out, pack("xz", tar, size, out, 1 << 20));
	save(directory, "bad-bomb-zst", out, pack("zst", tar, size, out, 1 << 20));
	/* Nothing but headers: no file would ever be counted. */
	size = 0;
	for (size_t i = 0; i < 60000; i++)
		entry(&(struct item){.name = "x", .flags = PLAIN_MODE}, 'g', "12 comment=\n", 12);
	save(directory, "bad-bomb-of-headers", out, pack("gz", tar, size, out, 1 << 20));
	free(out);
}

/* What is none of ours, by its first bytes; the rest is noise. */
static void write_foreign(const char *directory)
{
	static const struct { const char *name; unsigned char magic[8]; size_t count; } kinds[] = {
		{"bad-zip", {'P', 'K', 3, 4, 20}, 5}, {"bad-bzip2", {'B', 'Z', 'h', '9', '1', 'A', 'Y'}, 7},
		{"bad-7z", {'7', 'z', 0xbc, 0xaf, 0x27, 0x1c}, 6}, {"bad-rar", {'R', 'a', 'r', '!', 0x1a, 7, 0}, 7},
		{"bad-cpio", {'0', '7', '0', '7', '0', '1'}, 6}, {"bad-lz4", {4, 0x22, 0x4d, 0x18}, 4},
		{"bad-compress", {0x1f, 0x9d, 0x90}, 3}, {"bad-text", {'<', 'h', 't', 'm', 'l', '>'}, 6},
		{"bad-gzip-alone", {0x1f, 0x8b, 8}, 3}, {"bad-two-bytes", {0x1f, 0x8b}, 2},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		size = 0;
		put(kinds[i].magic, kinds[i].count);
		for (size_t k = 0; i < 8 && k < 2000; k++)
			tar[size++] = (unsigned char)(k * 7 + i);
		save(directory, kinds[i].name, tar, size);
	}
	save(directory, "bad-empty", "", 0);
}

int main(int argc, char **argv)
{
	static const char *const kinds[] = {"gz", "xz", "zst"};
	static char noise[300 << 10];
	unsigned seed = 1;

	tar = malloc(ROOM);
	if (argc != 2 || !tar) {
		fprintf(stderr, "usage: archives DIRECTORY\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		build(&rows[i]);
		if (rows[i].flags & ONLY_END)
			size = 0, zeros(10240);
		save(argv[1], rows[i].name, tar, size);
	}
	for (size_t i = 0; i + 1 < sizeof(noise); i++)
		noise[i] = (char)(' ' + (seed = seed * 1103515245 + 12345) / 65536 % 90);
	for (size_t i = 0; i < 3; i++) {
		write_packed(argv[1], kinds[i], "content", "");
		write_packed(argv[1], kinds[i], noise, "-large");
	}
	write_bombs(argv[1]);
	write_foreign(argv[1]);
	free(tar);
	return 0;
}
