/*
 * An archive's entries through a pipe: from who parses it, and may be taken over by it, to who writes them.
 *
 * A header of fixed form, then a name, a link's target, or bytes of a file. The far side takes it for what it is,
 * foreign: lengths are bounded here, and what names, targets and sizes may be is archive-tree.c's to say, to
 * whomever they come from.
 */
#include <errno.h>
#include <intent/file.h>
#include "unpack.h"

enum { ORDER_ENTRY = 1, ORDER_BYTES, ORDER_END };
enum { TEXT_MAX = 32 << 10, BYTES_MAX = 256 << 10 };

struct order {
	uint32_t what;
	uint32_t kind, executable; /* of an entry */
	uint32_t count;            /* of bytes that follow; of an entry: of its name and link, each with its NUL */
	int64_t number;            /* an entry's size, or where bytes go */
};

/* ---- from ---- */

struct sender {
	int fd;
	size_t used;
	unsigned char room[64 << 10];
};

static int flush(struct sender *sender, struct intent_error *err)
{
	int code = intent_write_all(sender->fd, sender->room, sender->used);

	sender->used = 0;
	errno = -code;
	return code ? intent_fail_errno(err, "cannot hand the content on") : 0;
}

static int put(struct sender *sender, const void *bytes, size_t count, struct intent_error *err)
{
	const unsigned char *from = bytes;

	while (count > 0) {
		size_t part = sizeof(sender->room) - sender->used;

		if (part > count)
			part = count;
		memcpy(sender->room + sender->used, from, part);
		sender->used += part;
		from += part;
		count -= part;
		if (sender->used == sizeof(sender->room) && flush(sender, err))
			return err->code;
	}
	return 0;
}

static int send_entry(void *data, const struct intent__archive_entry *entry, struct intent_error *err)
{
	size_t name = strlen(entry->name) + 1, link = strlen(entry->link) + 1;
	struct order order = {.what = ORDER_ENTRY, .kind = entry->kind, .executable = entry->executable,
			      .count = (uint32_t)(name + link), .number = entry->size};
	char shown[128];

	/* Both are refused long before. */
	if (name > TEXT_MAX / 2 || link > TEXT_MAX / 2)
		return intent_fail(err, INTENT_EREFUSED, "entry '%s' has a name or target of more than 4096 bytes",
				   intent__archive_show(entry->name, shown));
	if (put(data, &order, sizeof(order), err) || put(data, entry->name, name, err))
		return err->code;
	return put(data, entry->link, link, err);
}

static int send_bytes(void *data, const void *bytes, size_t count, int64_t offset, struct intent_error *err)
{
	const unsigned char *from = bytes;

	while (count > 0) {
		struct order order = {.what = ORDER_BYTES, .number = offset,
				      .count = count < BYTES_MAX ? (uint32_t)count : BYTES_MAX};

		if (put(data, &order, sizeof(order), err) || put(data, from, order.count, err))
			return err->code;
		from += order.count;
		count -= order.count;
		offset += order.count;
	}
	return 0;
}

static int send_end(void *data, struct intent_error *err)
{
	struct order order = {.what = ORDER_END};

	return put(data, &order, sizeof(order), err) ? err->code : flush(data, err);
}

int intent_archive_read(int in_fd, int orders_fd, const struct intent_archive_limits *limits, struct intent_error *err)
{
	struct sender *sender = calloc(1, sizeof(*sender));
	struct intent__archive_sink sink = {send_entry, send_bytes, send_end, sender};
	uint64_t packed;
	int code;

	sender->fd = orders_fd;
	code = intent__archive_read(in_fd, limits, &sink, &packed, err);
	free(sender);
	return code;
}

/* ---- to ---- */

struct receiver {
	int fd;
	size_t at, count;          /* of what has come and nobody took yet */
	unsigned char room[256 << 10];
};

/* At least one byte, or the end before the end. */
static int fill(struct receiver *receiver, struct intent_error *err)
{
	ssize_t got = 0;

	if (receiver->at < receiver->count)
		return 0;
	do {
		got = read(receiver->fd, receiver->room, sizeof(receiver->room));
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return intent_fail_errno(err, "cannot read what was unpacked");
	if (got == 0)
		return intent_fail(err, INTENT_ECHILD, "who unpacked ended before the archive did");
	receiver->at = 0;
	receiver->count = (size_t)got;
	return 0;
}

static int get(struct receiver *receiver, void *bytes, size_t count, struct intent_error *err)
{
	unsigned char *to = bytes;

	while (count > 0) {
		size_t part;

		if (fill(receiver, err))
			return err->code;
		part = receiver->count - receiver->at;
		if (part > count)
			part = count;
		memcpy(to, receiver->room + receiver->at, part);
		receiver->at += part;
		to += part;
		count -= part;
	}
	return 0;
}

static int senseless(struct intent_error *err)
{
	return intent_fail(err, INTENT_EREFUSED, "who unpacked talks nonsense: not installed");
}

static int take_entry(struct receiver *receiver, const struct order *order, const struct intent__archive_sink *sink,
		      struct intent_error *err)
{
	char text[TEXT_MAX];
	struct intent__archive_entry entry = {
		.kind = (enum intent__archive_kind)order->kind, .size = order->number,
		.executable = order->executable != 0, .name = text,
	};

	if (order->kind > INTENT__ARCHIVE_OTHER || order->count < 2 || order->count > sizeof(text))
		return senseless(err);
	if (get(receiver, text, order->count, err))
		return err->code;
	/* Two strings, no more and no less. */
	entry.link = (char *)memchr(text, '\0', order->count) + 1;
	if (text[order->count - 1] != '\0' || entry.link == text + order->count ||
	    entry.link + strlen(entry.link) + 1 != text + order->count)
		return senseless(err);
	return sink->entry(sink->data, &entry, err);
}

static int take_bytes(struct receiver *receiver, const struct order *order, const struct intent__archive_sink *sink,
		      struct intent_error *err)
{
	int64_t offset = order->number;

	if (order->count > BYTES_MAX || offset < 0 || offset > INT64_MAX - BYTES_MAX)
		return senseless(err);
	for (size_t left = order->count, part; left > 0; left -= part, offset += (int64_t)part) {
		if (fill(receiver, err))
			return err->code;
		part = receiver->count - receiver->at;
		if (part > left)
			part = left;
		if (sink->bytes(sink->data, receiver->room + receiver->at, part, offset, err))
			return err->code;
		receiver->at += part;
	}
	return 0;
}

static int take_all(struct receiver *receiver, const struct intent__archive_sink *sink, struct intent_error *err)
{
	struct order order;
	int code;

	while (!(code = get(receiver, &order, sizeof(order), err))) {
		if (order.what == ORDER_END)
			return sink->end(sink->data, err);
		code = order.what == ORDER_ENTRY ? take_entry(receiver, &order, sink, err) :
			order.what == ORDER_BYTES ? take_bytes(receiver, &order, sink, err) : senseless(err);
		if (code)
			break;
	}
	return code;
}

int intent_archive_write(int orders_fd, int root_fd, const struct intent_archive_limits *limits,
			 struct intent_archive_totals *ret, struct intent_error *err)
{
	struct receiver *receiver = calloc(1, sizeof(*receiver));
	struct intent__archive_sink sink;
	struct intent_archive_totals totals = {0};
	int code;

	receiver->fd = orders_fd;
	intent__archive_tree_open(root_fd, limits, &sink);
	code = take_all(receiver, &sink, err);
	intent__archive_tree_close(&sink, &totals);
	free(receiver);
	if (!code && ret)
		*ret = totals;
	return code;
}
