/*
 * Fetching one file by URL (http, https, file) as a stream, and going on after a cut: as often
 * as the connection breaks, so long as each attempt makes progress.
 */
#ifndef INTENT_FETCH_H
#define INTENT_FETCH_H

#include <intent/http.h>

struct intent_fetch {
	const char *url;
	int64_t stall_ms;           /* an attempt ends after so long without a byte; 0: never */
	/* Once, before the first byte; total is 0 when the server does not say. May be NULL. */
	int (*on_begin)(uint64_t total, void *data, struct intent_error *err);
	/* Every byte once, in order. Anything but 0 ends the fetch with that code. */
	int (*on_bytes)(const void *bytes, size_t count, void *data, struct intent_error *err);
	void *data;
	const char *ca_file;        /* PEM, in place of the system's; NULL: the system's */
	const char *ca_option;      /* what people name it with, for messages; may be NULL */
};

/*
 * INTENT_EABSENT only when it really is not there (404, ENOENT); any other trouble is
 * temporary. An attempt is resumed with Range and If-Range, by ETag or Last-Modified; a
 * server that gives neither cannot be resumed, one that ignores Range but whose
 * ETag stayed the same is read again from the start.
 */
int intent_fetch_run(const struct intent_fetch *fetch, struct intent_error *err);

/* Fit to be shown: without user, password, query and fragment; a file: URL as its path. */
void intent_fetch_show(const char *url, char out[512]);

/* The path that a file: URL names, decoded; owned. NULL for other URLs and bad encodings. */
char *intent_fetch_path(const char *url) intent_owned(free);

#endif
