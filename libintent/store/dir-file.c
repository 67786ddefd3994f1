/* A document's file: its header line and its errors. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "dir.h"

/* FNV-1a: enough to notice that somebody edited the value below an old header. */
static uint64_t checksum(const char *bytes, size_t count)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < count; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3u;
	return hash;
}

/* "#intent REVISION SESSION CHECKSUM\n"; its length, or 0 when there is none. */
static size_t parse_header(const char *bytes, size_t count, uint64_t *ret_revision,
			   char session[64], uint64_t *ret_checksum)
{
	size_t room = count < INTENT__DIR_HEADER_MAX ? count : INTENT__DIR_HEADER_MAX - 1;
	const char *end = memchr(bytes, '\n', room);
	char line[INTENT__DIR_HEADER_MAX];
	int used = 0;

	if (!end || count < 8 || memcmp(bytes, "#intent ", 8) != 0)
		return 0;
	memcpy(line, bytes, (size_t)(end - bytes));
	line[end - bytes] = 0;
	if (sscanf(line, "#intent %20" SCNu64 " %63[A-Za-z0-9-] %16" SCNx64 "%n", ret_revision,
		   session, ret_checksum, &used) != 3 || line[used])
		return 0;
	return (size_t)(end - bytes) + 1;
}

void intent__dir_parse(const char *bytes, size_t count, uint64_t ctime_us,
		       struct intent__dir_document *ret)
{
	uint64_t sum = 0;
	size_t header = parse_header(bytes, count, &ret->revision, ret->session, &sum);

	ret->value = bytes + header;
	ret->length = count - header;
	if (!header || strcmp(ret->session, "-") == 0)
		ret->session[0] = 0;
	if (!header || !ret->revision || ret->revision > INT64_MAX / 2 ||
	    sum != checksum(ret->value, ret->length))
		ret->revision = ctime_us;
}

void intent__dir_compose(struct intent_text *out, uint64_t revision, const char *session,
			 const void *value, size_t length)
{
	intent_text_printf(out, "#intent %" PRIu64 " %s %016" PRIx64 "\n", revision,
			   session ? session : "-", checksum(value, length));
	if (length)
		intent_text_add(out, value, length);
}

uint64_t intent__dir_ctime(const struct stat *st)
{
	int64_t us = (int64_t)st->st_ctim.tv_sec * 1000000 + st->st_ctim.tv_nsec / 1000;

	return us > 0 ? (uint64_t)us : 1;
}

ssize_t intent__dir_slurp(int fd, char *buffer, size_t room)
{
	size_t count = 0;

	while (count < room) {
		ssize_t got = read(fd, buffer + count, room - count);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		count += (size_t)got;
	}
	return (ssize_t)count;
}

int intent__dir_errno(struct intent_error *err, const char *format, ...)
{
	int saved = errno, code = INTENT_EUNAVAILABLE;
	const char *way_out = "";
	char subject[320];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(subject, sizeof(subject), format, arguments);
	va_end(arguments);
	switch (saved) {
	case EACCES:
	case EPERM:
		code = INTENT_EREFUSED;
		way_out = "; ask the directory's owner for access, or be its owner";
		break;
	case EROFS:
		code = INTENT_EREFUSED;
		way_out = "; mount it writable";
		break;
	case ENOSPC:
	case EDQUOT:
		code = -saved;
		way_out = "; nothing was written, free some space and try again";
		break;
	}
	return intent_fail(err, code, "%s: %s%s", subject, strerror(saved), way_out);
}
