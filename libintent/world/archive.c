/* What a tar archive holds, entry by entry, for who writes it (archive-tree.c) or hands it on (archive-orders.c). */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <sys/stat.h>
#include "unpack.h"

struct reader {
	const struct intent__archive_sink *sink;
	struct intent_archive_limits limits;
	struct intent__archive_stream *stream;
	uint64_t tar_bytes;        /* handed to the tar reader, or drained */
	uint64_t tar_data_end;     /* where the last byte other than zero ended */
	struct intent_error trouble; /* of the read callback */
	struct archive *tar;
};

/* ---- the tar reader's food ---- */

static int feed(struct reader *reader, const void **ret_bytes, size_t *ret_count,
		struct intent_error *err)
{
	int code = intent__archive_stream_read(reader->stream, ret_bytes, ret_count, err);
	const unsigned char *bytes = *ret_bytes;

	if (code)
		return code;
	for (size_t i = *ret_count; i > 0; i--) {
		if (bytes[i - 1]) {
			reader->tar_data_end = reader->tar_bytes + i;
			break;
		}
	}
	reader->tar_bytes += *ret_count;
	return 0;
}

static la_ssize_t tar_read(struct archive *tar, void *data, const void **ret_bytes)
{
	struct reader *reader = data;
	size_t count = 0;

	if (feed(reader, ret_bytes, &count, &reader->trouble)) {
		archive_set_error(tar, EIO, "%s", reader->trouble.msg);
		return -1;
	}
	return (la_ssize_t)count;
}

static int tar_fail(const struct reader *reader, struct intent_error *err)
{
	const char *words = archive_error_string(reader->tar);

	if (reader->trouble.code) {
		*err = reader->trouble;
		return err->code;
	}
	if (archive_errno(reader->tar) == ENOMEM)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (words && strstr(words, "Unrecognized archive format"))
		return intent_fail(err, INTENT_EMALFORMED, "neither a tar archive nor one packed with gzip, "
				   "zstd or xz, or damaged at its first byte");
	return intent_fail(err, INTENT_EMALFORMED, "no sound tar archive: %s",
			   words ? words : "no reason given");
}

/* ---- the archive as a whole ---- */

static enum intent__archive_kind kind_of(struct archive_entry *entry)
{
	if (archive_entry_hardlink(entry))
		return INTENT__ARCHIVE_HARDLINK;
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG: return INTENT__ARCHIVE_FILE;
	case AE_IFDIR: return INTENT__ARCHIVE_DIRECTORY;
	case AE_IFLNK: return INTENT__ARCHIVE_SYMLINK;
	default: return INTENT__ARCHIVE_OTHER;
	}
}

/* Blocks come with their offset: what lies between them is a hole and stays one. */
static int hand_content(struct reader *reader, struct intent_error *err)
{
	for (;;) {
		const void *bytes;
		la_int64_t offset;
		size_t count;
		int code, got = archive_read_data_block(reader->tar, &bytes, &count, &offset);

		if (got == ARCHIVE_EOF)
			return 0;
		if (got != ARCHIVE_OK)
			return tar_fail(reader, err);
		if ((code = reader->sink->bytes(reader->sink->data, bytes, count, offset, err)))
			return code;
	}
}

static int hand_entry(struct reader *reader, struct archive_entry *entry, struct intent_error *err)
{
	enum intent__archive_kind kind = kind_of(entry);
	const char *name = archive_entry_pathname(entry);
	struct intent__archive_entry given = {
		.kind = kind, .name = name ? name : "",
		.link = kind == INTENT__ARCHIVE_HARDLINK ? archive_entry_hardlink(entry) :
			kind == INTENT__ARCHIVE_SYMLINK ? archive_entry_symlink(entry) : NULL,
		.size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : -1,
		.executable = archive_entry_mode(entry) & S_IXUSR,
	};
	int code;

	if (!given.link)
		given.link = "";
	code = reader->sink->entry(reader->sink->data, &given, err);
	return code || kind != INTENT__ARCHIVE_FILE ? code : hand_content(reader, err);
}

/*
 * A warning is refused, because what another tar makes of such an entry may differ from what
 * was checked here; but for the one that says that a name is not in our (the "C")
 * character set: the name is then given as it stands.
 */
static bool is_harmless(struct archive *tar)
{
	const char *words = archive_error_string(tar);

	return words && strstr(words, "can't be converted from");
}

/*
 * libarchive takes a tar that was cut between two blocks for a whole one. So: from where it
 * found the end there must be two blocks of zeros, and nothing but zeros after them.
 */
static int check_end(struct reader *reader, struct intent_error *err)
{
	uint64_t end = (uint64_t)archive_read_header_position(reader->tar);
	const void *bytes;
	size_t count;
	int code;

	do {
		if ((code = feed(reader, &bytes, &count, err)))
			return code;
	} while (count > 0);
	if (reader->tar_bytes < end + 1024)
		return intent_fail(err, INTENT_EMALFORMED, "the tar archive is cut short: "
				   "its end mark (two zero blocks) is missing");
	if (reader->tar_data_end > end)
		return intent_fail(err, INTENT_EMALFORMED, "bytes follow the end of the tar archive");
	return reader->sink->end(reader->sink->data, err);
}

static int read_entries(struct reader *reader, struct intent_error *err)
{
	for (;;) {
		struct archive_entry *entry;
		int code, got = archive_read_next_header(reader->tar, &entry);

		if (got == ARCHIVE_EOF)
			return check_end(reader, err);
		if (got != ARCHIVE_OK && !(got == ARCHIVE_WARN && is_harmless(reader->tar)))
			return tar_fail(reader, err);
		if ((code = hand_entry(reader, entry, err)))
			return code;
	}
}

static int open_tar(struct reader *reader, struct intent_error *err)
{
	reader->tar = archive_read_new();
	if (archive_read_support_format_tar(reader->tar) != ARCHIVE_OK ||
	    archive_read_open(reader->tar, reader, NULL, tar_read, NULL) != ARCHIVE_OK)
		return tar_fail(reader, err);
	return 0;
}

int intent__archive_read(int in_fd, const struct intent_archive_limits *limits,
			 const struct intent__archive_sink *sink, uint64_t *ret_packed, struct intent_error *err)
{
	struct reader reader = {.sink = sink, .limits = intent__archive_limits(limits)};
	/* Names pass as they are; see is_harmless(). */
	locale_t plain = newlocale(LC_CTYPE_MASK, "C", (locale_t)0), before = uselocale(plain);
	int code = intent__archive_stream_open(in_fd, &reader.limits, &reader.stream, err);

	if (!code)
		code = open_tar(&reader, err);
	if (!code)
		code = read_entries(&reader, err);
	if (!code)
		*ret_packed = intent__archive_stream_packed(reader.stream);
	if (reader.tar)
		archive_read_free(reader.tar);
	intent__archive_stream_close(reader.stream);
	uselocale(before);
	freelocale(plain);
	return code;
}

int intent_archive_unpack(int in_fd, int root_fd, const struct intent_archive_limits *limits,
			  struct intent_archive_totals *ret, struct intent_error *err)
{
	struct intent__archive_sink sink;
	struct intent_archive_totals totals = {0};
	int code;

	intent__archive_tree_open(root_fd, limits, &sink);
	code = intent__archive_read(in_fd, limits, &sink, &totals.packed, err);
	intent__archive_tree_close(&sink, &totals);
	if (!code && ret)
		*ret = totals;
	return code;
}
