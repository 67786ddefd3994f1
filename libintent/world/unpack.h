/* What the files of the archive reader share. Not installed. */
#ifndef INTENT_UNPACK_H
#define INTENT_UNPACK_H

#include <intent/archive.h>

/* ---- archive-policy.c: which entries may be written, and under which name. Pure. ---- */

enum intent__archive_kind {
	INTENT__ARCHIVE_FILE,
	INTENT__ARCHIVE_DIRECTORY,
	INTENT__ARCHIVE_SYMLINK,
	INTENT__ARCHIVE_HARDLINK,
	INTENT__ARCHIVE_OTHER, /* devices, FIFOs, sockets */
};

#define INTENT__ARCHIVE_PATH_MAX 4096

/* With the defaults filled in. */
struct intent_archive_limits intent__archive_limits(const struct intent_archive_limits *given);

/* Every name admitted so far, parents that no entry announced included. */
struct intent__archive_names {
	void *tree;          /* of tsearch(3); owned */
	uint64_t count;      /* names in it */
	uint64_t text;       /* bytes in them */
	uint64_t count_max;
	char parent[INTENT__ARCHIVE_PATH_MAX + 1]; /* the directory admitted last */
};

void intent__archive_names_clear(struct intent__archive_names *names);

/*
 * May an entry of this kind, name and link target (NULL unless a link) be written?
 * `path` gets the name without ".", "//" and a slash at its end: "" for the top itself.
 * `target` (links only) gets a hard link's path in the same form, or a symbolic link's
 * target as it is. INTENT_EREFUSED or INTENT_ETOOBIG name the entry.
 */
int intent__archive_admit(struct intent__archive_names *names, enum intent__archive_kind kind,
			  const char *name, const char *link,
			  char path[INTENT__ARCHIVE_PATH_MAX + 1],
			  char target[INTENT__ARCHIVE_PATH_MAX + 1], struct intent_error *err);

/* A name for messages: what is no clean UTF-8 becomes '?', what is long is cut. */
const char *intent__archive_show(const char *name, char out[128]);

/* ---- archive.c -> archive-tree.c, or -> archive-orders.c -> archive-tree.c ---- */

struct intent__archive_entry {
	enum intent__archive_kind kind;
	const char *name, *link;   /* as they came; link is "" where there is none */
	int64_t size;              /* -1: not said */
	bool executable;
};

/* Where entries go, in their order. The bytes after an entry are those of its file. */
struct intent__archive_sink {
	int (*entry)(void *data, const struct intent__archive_entry *entry, struct intent_error *err);
	int (*bytes)(void *data, const void *bytes, size_t count, int64_t offset, struct intent_error *err);
	int (*end)(void *data, struct intent_error *err); /* the archive is whole */
	void *data;
};

int intent__archive_read(int in_fd, const struct intent_archive_limits *limits,
			 const struct intent__archive_sink *sink, uint64_t *ret_packed, struct intent_error *err);
/* Writes below root_fd, borrowed, what policy admits. The umask is ours until it is closed. */
void intent__archive_tree_open(int root_fd, const struct intent_archive_limits *limits,
			       struct intent__archive_sink *ret);
/* *ret: bytes and entries of what was written. */
void intent__archive_tree_close(struct intent__archive_sink *sink, struct intent_archive_totals *ret);

/* ---- archive-stream.c: the packed file as a stream of tar bytes. ---- */

struct intent__archive_stream;

/* `limits` with its defaults filled in; in_fd is borrowed until close. */
int intent__archive_stream_open(int in_fd, const struct intent_archive_limits *limits,
				struct intent__archive_stream **ret_owned, struct intent_error *err);
/*
 * The next bytes, borrowed until the next call. *ret_count 0: the end, and everything that
 * the compressor says about its data (checksum, length, nothing after it) holds.
 */
int intent__archive_stream_read(struct intent__archive_stream *stream, const void **ret_bytes,
				size_t *ret_count, struct intent_error *err);
uint64_t intent__archive_stream_packed(const struct intent__archive_stream *stream);
struct intent__archive_stream *intent__archive_stream_close(struct intent__archive_stream *stream);

#endif
