/*
 * The packed file as a stream of tar bytes, every checksum and trailer verified.
 *
 * gzip goes through zlib, because libarchive's own filter ignores the trailer and what
 * follows it. zstd and xz go through libarchive's filters, each alone: no guessing, and
 * never the external program that libarchive falls back to.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <zlib.h>
#include "unpack.h"

enum { IN_SIZE = 256 << 10, OUT_SIZE = 256 << 10 };
/* Beyond this much, the ratio counts; below, a file of zeros is just a file of zeros. */
#define RATIO_FREE (16u << 20)

struct intent__archive_stream {
	int fd;
	struct intent_archive_limits limits;
	uint64_t packed, unpacked;
	unsigned char *in;          /* IN_SIZE; owned */
	size_t in_count;            /* bytes in it that nobody took yet */
	size_t in_at;
	bool in_ended;
	int (*next)(struct intent__archive_stream *, const void **, size_t *, struct intent_error *);
	const char *name;           /* "gzip", for messages */
	/* gzip */
	z_stream z;
	bool z_open, z_between;     /* between two members */
	unsigned char *out;
	/* zstd, xz */
	struct archive *filter;
	struct intent_error trouble; /* of our own read callback */
};

/* Fill the buffer when it is empty. */
static int refill(struct intent__archive_stream *stream, struct intent_error *err)
{
	ssize_t count;

	if (stream->in_count > 0 || stream->in_ended)
		return 0;
	do {
		count = read(stream->fd, stream->in, IN_SIZE);
	} while (count < 0 && errno == EINTR);
	if (count < 0)
		return intent_fail_errno(err, "cannot read the archive");
	stream->in_at = 0;
	stream->in_count = (size_t)count;
	stream->in_ended = count == 0;
	stream->packed += (uint64_t)count;
	return 0;
}

static int plain_next(struct intent__archive_stream *stream, const void **ret_bytes,
		      size_t *ret_count, struct intent_error *err)
{
	int code = refill(stream, err);

	if (code)
		return code;
	*ret_bytes = stream->in + stream->in_at;
	*ret_count = stream->in_count;
	stream->in_count = 0;
	return 0;
}

/* ---- gzip ---- */

static int gzip_open(struct intent__archive_stream *stream, struct intent_error *err)
{
	stream->out = malloc(OUT_SIZE);
	if (inflateInit2(&stream->z, 15 + 16) != Z_OK)
		return intent_fail(err, -ENOTSUP, "this zlib is not the one that gzip was built for");
	stream->z_open = true;
	return 0;
}

/* One call of inflate; *ret_done when the last member has ended and so has the file. */
static int gzip_step(struct intent__archive_stream *stream, bool *ret_done, struct intent_error *err)
{
	int code = refill(stream, err), z;

	*ret_done = false;
	if (code)
		return code;
	if (stream->in_count == 0) {
		*ret_done = stream->z_between;
		return stream->z_between ? 0 : intent_fail(err, INTENT_EMALFORMED,
			"the gzip file is cut short");
	}
	if (stream->z_between) {
		if (stream->in[stream->in_at] != 0x1f)
			return intent_fail(err, INTENT_EMALFORMED,
					   "bytes follow the end of the gzip file");
		inflateReset(&stream->z);
		stream->z_between = false;
	}
	stream->z.next_in = stream->in + stream->in_at;
	stream->z.avail_in = (unsigned)stream->in_count;
	z = inflate(&stream->z, Z_NO_FLUSH);
	stream->in_at += stream->in_count - stream->z.avail_in;
	stream->in_count = stream->z.avail_in;
	if (z == Z_STREAM_END)
		stream->z_between = true;
	else if (z != Z_OK && z != Z_BUF_ERROR)
		return intent_fail(err, INTENT_EMALFORMED, "the gzip file is damaged: %s",
				   stream->z.msg ? stream->z.msg : "no gzip data");
	return 0;
}

static int gzip_next(struct intent__archive_stream *stream, const void **ret_bytes,
		     size_t *ret_count, struct intent_error *err)
{
	bool done = false;
	int code = 0;

	stream->z.next_out = stream->out;
	stream->z.avail_out = OUT_SIZE;
	while (stream->z.avail_out > 0 && !done && code == 0)
		code = gzip_step(stream, &done, err);
	*ret_bytes = stream->out;
	*ret_count = OUT_SIZE - stream->z.avail_out;
	return code;
}

/* ---- zstd and xz ---- */

static la_ssize_t filter_read(struct archive *filter, void *data, const void **ret_bytes)
{
	struct intent__archive_stream *stream = data;
	size_t count;

	if (plain_next(stream, ret_bytes, &count, &stream->trouble)) {
		archive_set_error(filter, EIO, "%s", stream->trouble.msg);
		return -1;
	}
	return (la_ssize_t)count;
}

static int filter_fail(struct intent__archive_stream *stream, struct intent_error *err)
{
	const char *words = archive_error_string(stream->filter);

	if (stream->trouble.code) {
		*err = stream->trouble;
		return err->code;
	}
	if (archive_errno(stream->filter) == ENOMEM)
		return intent_fail(err, INTENT_ETOOBIG,
				   "the %s file needs too much memory to unpack", stream->name);
	/* A filter that fails at once leaves libarchive with no format to recognise. */
	return intent_fail(err, INTENT_EMALFORMED, "the %s file is damaged or cut short%s%s", stream->name,
			   words && !strstr(words, "Unrecognized") ? ": " : "",
			   words && !strstr(words, "Unrecognized") ? words : "");
}

static int filter_open(struct intent__archive_stream *stream, int code, struct intent_error *err)
{
	struct archive_entry *entry;

	stream->filter = archive_read_new();
	/* A warning: the filter would be an external program. */
	if (archive_read_append_filter(stream->filter, code) != ARCHIVE_OK)
		return intent_fail(err, INTENT_EREFUSED, "libarchive was built without %s; "
				   "pack the artifact with gzip", stream->name);
	if (archive_read_support_format_raw(stream->filter) != ARCHIVE_OK ||
	    archive_read_open(stream->filter, stream, NULL, filter_read, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(stream->filter, &entry) != ARCHIVE_OK)
		return filter_fail(stream, err);
	return 0;
}

static int filter_next(struct intent__archive_stream *stream, const void **ret_bytes,
		       size_t *ret_count, struct intent_error *err)
{
	la_int64_t offset;
	int got;

	do {
		got = archive_read_data_block(stream->filter, ret_bytes, ret_count, &offset);
	} while (got == ARCHIVE_OK && *ret_count == 0);
	if (got == ARCHIVE_OK)
		return 0;
	*ret_count = 0;
	if (got != ARCHIVE_EOF)
		return filter_fail(stream, err);
	/* Did the filter take every byte? */
	if ((uint64_t)archive_filter_bytes(stream->filter, -1) != stream->packed || !stream->in_ended)
		return intent_fail(err, INTENT_EMALFORMED, "bytes follow the end of the %s file",
				   stream->name);
	return 0;
}

/* ---- all of them ---- */

static int detect(struct intent__archive_stream *stream, struct intent_error *err)
{
	static const struct {
		const char *name;
		size_t count;
		unsigned char magic[6];
		int filter;
	} kinds[] = {
		{"gzip", 2, {0x1f, 0x8b}, ARCHIVE_FILTER_GZIP},
		{"zstd", 4, {0x28, 0xb5, 0x2f, 0xfd}, ARCHIVE_FILTER_ZSTD},
		{"xz", 6, {0xfd, '7', 'z', 'X', 'Z', 0}, ARCHIVE_FILTER_XZ},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (stream->in_count < kinds[i].count ||
		    memcmp(stream->in, kinds[i].magic, kinds[i].count) != 0)
			continue;
		stream->name = kinds[i].name;
		stream->next = kinds[i].filter == ARCHIVE_FILTER_GZIP ? gzip_next : filter_next;
		return kinds[i].filter == ARCHIVE_FILTER_GZIP ?
			gzip_open(stream, err) : filter_open(stream, kinds[i].filter, err);
	}
	stream->next = plain_next;
	return 0;
}

/* A pipe may give fewer bytes than a magic number has. */
static int fill_first(struct intent__archive_stream *stream, struct intent_error *err)
{
	while (stream->in_count < 6 && !stream->in_ended) {
		size_t had = stream->in_count;
		ssize_t count = read(stream->fd, stream->in + had, IN_SIZE - had);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return intent_fail_errno(err, "cannot read the archive");
		stream->in_count += (size_t)count;
		stream->packed += (uint64_t)count;
		stream->in_ended = count == 0;
	}
	return 0;
}

int intent__archive_stream_open(int in_fd, const struct intent_archive_limits *limits,
				struct intent__archive_stream **ret_owned, struct intent_error *err)
{
	struct intent__archive_stream *stream = calloc(1, sizeof(*stream));
	int code;

	stream->in = malloc(IN_SIZE);
	stream->fd = in_fd;
	stream->limits = *limits;
	code = fill_first(stream, err);
	if (code == 0 && stream->in_count == 0)
		code = intent_fail(err, INTENT_EMALFORMED, "the archive is empty (0 bytes)");
	if (code == 0)
		code = detect(stream, err);
	if (code) {
		intent__archive_stream_close(stream);
		return code;
	}
	*ret_owned = stream;
	return 0;
}

/*
 * The stream as a whole is bounded too: headers, extended attributes and padding make no
 * file and would otherwise be free.
 */
static int check_bounds(const struct intent__archive_stream *stream, struct intent_error *err)
{
	const struct intent_archive_limits *limits = &stream->limits;
	char size[24];

	if (stream->unpacked > RATIO_FREE && stream->unpacked / limits->ratio > stream->packed) {
		intent_size_format(stream->unpacked, size);
		return intent_fail(err, INTENT_ETOOBIG, "unpacks to more than %llu times its size "
				   "(%s so far): refused as a bomb",
				   (unsigned long long)limits->ratio, size);
	}
	if (stream->unpacked > limits->bytes + limits->entries * 4096 + RATIO_FREE) {
		intent_size_format(limits->bytes, size);
		return intent_fail(err, INTENT_ETOOBIG, "unpacks to more than %s; if that is right, "
				   "raise the limit", size);
	}
	return 0;
}

int intent__archive_stream_read(struct intent__archive_stream *stream, const void **ret_bytes,
				size_t *ret_count, struct intent_error *err)
{
	int code = stream->next(stream, ret_bytes, ret_count, err);

	if (code)
		return code;
	stream->unpacked += *ret_count;
	return check_bounds(stream, err);
}

uint64_t intent__archive_stream_packed(const struct intent__archive_stream *stream)
{
	return stream->packed;
}

struct intent__archive_stream *intent__archive_stream_close(struct intent__archive_stream *stream)
{
	if (!stream)
		return NULL;
	if (stream->z_open)
		inflateEnd(&stream->z);
	if (stream->filter)
		archive_read_free(stream->filter);
	free(stream->out);
	free(stream->in);
	free(stream);
	return NULL;
}
