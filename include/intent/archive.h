/*
 * Safe unpacking of a tar stream (plain, gzip, zstd or xz) below a directory.
 *
 * libarchive reads; we decide and write. Its own extraction lets through devices,
 * links that lead out, setuid bits, bombs, a gzip with a wrong checksum and a tar cut
 * at a block boundary (all measured), so none of it is used: only the tar
 * reader, and the zstd and xz filters. gzip goes through zlib, which checks its trailer.
 *
 * The policy for each entry: a regular file, a directory, a symbolic link whose target
 * stays inside, or a hard link to a regular file already written; the name valid
 * UTF-8 without control characters, at most 4096 bytes, 255 a component and 64
 * deep; no "..", not absolute, not seen before (also not in other case; but a directory
 * may come again); a link's target without ".." after a name; modes cut to 0755 or 0644 (by
 * the owner's execute bit); holes of sparse files stay holes; owners, times, ACLs,
 * attributes ignored. At the end: two zero blocks, nothing but zeros after them, the
 * compressor's trailer right, nothing after it.
 */
#ifndef INTENT_ARCHIVE_H
#define INTENT_ARCHIVE_H

#include <intent/text.h>

struct intent_archive_limits { /* 0: the default in brackets */
	uint64_t bytes;    /* sum of file sizes (4 GiB) */
	uint64_t entries;  /* (200 000) */
	uint64_t ratio;    /* unpacked : packed, beyond the first 16 MiB (200) */
};

struct intent_archive_totals { uint64_t packed, bytes, entries; };

/*
 * Unpack from in_fd (read until end of file) into the empty directory root_fd, to which nobody else may write.
 * Everything that breaks policy is INTENT_EREFUSED and names the entry; damage is
 * INTENT_EMALFORMED; bounds are INTENT_ETOOBIG; disk trouble is errno. Whatever was written
 * stays for the caller to throw away. Nothing is fsynced here: the publisher calls syncfs once.
 * The umask of the process is set while it runs, and put back.
 */
int intent_archive_unpack(int in_fd, int root_fd, const struct intent_archive_limits *limits,
			  struct intent_archive_totals *ret, struct intent_error *err);

/*
 * The same in two processes: the first parses and touches no file, the second writes and parses nothing but a pipe
 * between them, and holds what comes from there to the whole policy, limits of size and number included.
 * When both fail, the first trouble is the second's, unless that is INTENT_ECHILD: the pipe ended too early.
 */
int intent_archive_read(int in_fd, int orders_fd, const struct intent_archive_limits *limits, struct intent_error *err);
/* ret->packed is 0. */
int intent_archive_write(int orders_fd, int root_fd, const struct intent_archive_limits *limits,
			 struct intent_archive_totals *ret, struct intent_error *err);

/*
 * Pack what is in a directory as a tar stream with gzip into out_fd: the same content gives the same bytes.
 * Sorted by name; owner 0:0; one fixed time; modes cut to 0755 or 0644 (by the owner's execute bit). Files,
 * directories and symbolic links; anything else is INTENT_EREFUSED and named. `cancel` (may be NULL) is asked after
 * each block; true ends it (INTENT_ESTALE). *ret counts; ret_sha256 is of what was written.
 */
int intent_archive_pack(const char *directory, int out_fd, bool (*cancel)(void *data), void *data,
			struct intent_archive_totals *ret, char ret_sha256[65], struct intent_error *err);

#endif
