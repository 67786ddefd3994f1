/*
 * The directory store's own parts. Not installed.
 *
 *	PATH/nodes/web1/slug     the value of the key nodes/web1/slug, after one header line
 *	PATH/.intent/revision    the last revision given out
 *	PATH/.intent/journal     a transaction that is decided but not finished
 *	PATH/.intent/stage-*     a file being written; garbage whenever nobody holds the lock
 *	PATH/.intent/sessions/   one file a session, flock()ed by its owner; its lines are keys
 *
 * The lock is flock() on PATH itself: shared to read, exclusive to write. It needs no file that
 * could be missing, and a reader needs no permission to write. Who waits for it holds the
 * flock() of .intent meanwhile, so that nobody is overtaken for ever.
 *
 * Names: see dir-name.c. A key whose own name is taken by a directory ("a", when "a/b" exists) is
 * the file "a/%self".
 *
 * A file starts with "#intent <revision> <session or -> <checksum of the value>\n". Without this
 * line, or when the checksum does not fit, it was written by hand: the value is all (after
 * the line), and its revision is its ctime. Revisions are microseconds since 1970, or the last
 * one plus one where the clock is behind: so they keep growing when a store is emptied,
 * and a file edited by hand has a newer one than what was read before.
 */
#ifndef INTENT_DIR_H
#define INTENT_DIR_H

#include <limits.h>
#include "engine.h"

#define INTENT__DIR_META ".intent"
#define INTENT__DIR_SELF "%self"
/* A path below the store: each byte of a key as "%XX", and room for "/%self". */
#define INTENT__DIR_PATH_MAX (INTENT_KEY_MAX * 4 + 64)
#define INTENT__DIR_HEADER_MAX 192
#define INTENT__DIR_FILE_MAX (INTENT_VALUE_MAX + INTENT__DIR_HEADER_MAX)

/* ---- dir-name.c ---- */

/* The relative path of a key (whole: without "/%self"). A prefix "a/b/" gives "a/b/%". */
void intent__dir_path(const char *key, char out[INTENT__DIR_PATH_MAX]);
/*
 * A directory entry's name -> its part of the key, appended at out (room bytes). Returns its
 * length, or -1 when no key has such a name. *ret_continues: the next level continues the same
 * component.
 */
int intent__dir_decode(const char *name, char *out, size_t room, bool *ret_continues);

/* ---- dir-file.c ---- */

struct intent__dir_document {
	uint64_t revision;
	char session[64];         /* "" for none */
	const char *value;        /* borrowed from the bytes */
	size_t length;
};
/* ctime_us: revision of what was written by hand. */
void intent__dir_parse(const char *bytes, size_t count, uint64_t ctime_us,
		       struct intent__dir_document *ret);
/* The file of a value; appends. */
void intent__dir_compose(struct intent_text *out, uint64_t revision, const char *session,
			 const void *value, size_t length);
uint64_t intent__dir_ctime(const struct stat *st);
/* Whole content up to INTENT__DIR_FILE_MAX + 1 bytes; -errno or the count. */
ssize_t intent__dir_slurp(int fd, char *buffer, size_t room);
/* errno as an error of the store: full, read-only, not permitted, or temporary trouble. */
int intent__dir_errno(struct intent_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- dir-read.c ---- */

/* What a watch wants to know of a reading; on_x may be NULL. */
enum intent__dir_role {
	INTENT__DIR_CHAIN,        /* on the way to what was asked for */
	INTENT__DIR_LAST,         /* the next component is missing */
	INTENT__DIR_CONTENT,
};
struct intent__dir_observer {
	void (*on_directory)(int fd, enum intent__dir_role role, void *data);
	void (*on_session)(int meta, const char *session, void *data);
	void *data;
};

/*
 * Under a lock. An exact key or all that start with it. `skip`: the length of the store's own
 * prefix, which does not count when trust is judged.
 */
int intent__dir_collect(int root, const char *key, bool exact, size_t skip,
			const struct intent__dir_observer *observer,
			struct intent_snapshot **ret_owned, struct intent_error *err);
/* Is the session's file held by its owner? 1, 0, or -errno: it cannot be told. */
int intent__dir_session_lives(int root, const char *session);

/* ---- dir-lock.c ---- */

/* How long a call waits for the lock. */
#define INTENT__DIR_PATIENCE_MS 10000
/* On a loop: at a time, before the loop goes round and it is tried again. */
#define INTENT__DIR_LOOP_PATIENCE_MS 20

/*
 * Open the store at path and lock it (LOCK_SH, LOCK_EX); a transaction that was cut short is
 * completed first. Closing *ret_root unlocks. INTENT_EBUSY when patience_ms ran out.
 */
int intent__dir_enter(const char *path, int how, int64_t patience_ms, int *ret_root,
		      struct intent_error *err);
/* The store's own directory; made, with the store's mode, when missing. Under LOCK_EX. */
int intent__dir_meta(int root, int *ret_meta, struct intent_error *err);
/* The last revision given out, 0 when none was. */
uint64_t intent__dir_last_revision(int root);
/* A new one above all others and above floor; taken by this call. Under LOCK_EX. */
int intent__dir_next_revision(int root, int meta, uint64_t floor, uint64_t *ret_revision,
			      struct intent_error *err);

/* ---- dir-place.c; 0 or -errno; no link is followed ---- */

/*
 * Open all components of path (which is cut up) but the last one; *ret_last is borrowed from
 * path. make_parent: what is missing is made, durably and like its parent; `force`: also
 * where something that is no directory is in the way.
 */
int intent__dir_open_parent(int root, char *path, int *ret_fd, const char **ret_last);
int intent__dir_make_parent(int root, char *path, bool force, int *ret_fd, const char **ret_last);
/* Remove the directories on the way to a key that hold nothing any more. */
void intent__dir_prune(int root, const char *key);
/*
 * The file of a key: *ret_directory (to be closed) and its name there, borrowed from path
 * (filled from key). -errno: absent is -ENOENT.
 */
int intent__dir_locate(int root, const char *key, char path[INTENT__DIR_PATH_MAX],
		       int *ret_directory, const char **ret_name);
/* Remove a key's file and the directories that are empty without it; -errno. */
int intent__dir_unlink(int root, const char *key, bool durably);

/* ---- dir-commit.c ---- */

/* One file to be, already staged with its header ("stage-..." in meta), or gone. */
struct intent__dir_change {
	char key[INTENT_KEY_MAX + 1];
	char stage[32];           /* "" : gone */
};
/* At most one more for each put: what has to give way to a directory. */
#define INTENT__DIR_CHANGES_MAX (2 * INTENT_TXN_MAX)
struct intent__dir_changes {
	struct intent__dir_change list[INTENT__DIR_CHANGES_MAX];
	size_t count;
};
/* Add one: bytes are staged durably; NULL: gone. */
int intent__dir_stage(int meta, struct intent__dir_changes *changes, const char *key,
		      const struct intent_text *bytes, struct intent_error *err);
/* Make them so, all or nothing. INTENT_EUNKNOWN: decided, but perhaps not finished or durable. */
int intent__dir_commit(int root, int meta, struct intent__dir_changes *changes,
		       struct intent_error *err);
/* Remove what is staged; when nothing was committed, or for good measure. */
void intent__dir_stage_sweep(int meta);
/* A journal was left (1, 0, -errno: it cannot be told) / complete it, under LOCK_EX. */
int intent__dir_journal_waits(int root);
int intent__dir_replay(int root, struct intent_error *err);
/* ---- dir-write.c ---- */

/* Under LOCK_EX. Leftovers and dead sessions are swept first. */
int intent__dir_transact(int root, const struct intent_op *ops, size_t count,
			 uint64_t *ret_revision, struct intent_error *err);
/* Delete what is bound to a session, and its file. Under LOCK_EX. */
void intent__dir_session_sweep(int root, int meta, const char *session);

/* ---- dir-arm.c ---- */

/*
 * An arm is one inotify watch; its refs say which of a watch's prefixes it serves and with what
 * mask, so that a change makes only those be read again.
 */
#define INTENT__DIR_EVERY SIZE_MAX /* a part: all of them */
struct intent__dir_ref {
	size_t part;
	uint32_t mask;
};
struct intent__dir_arm {
	int wd;
	uint32_t mask;                 /* as the kernel has it */
	struct intent__dir_ref *refs;  /* owned */
	size_t count;
};
struct intent__dir_arms {
	int inotify;                   /* -1: none to be had */
	struct intent__dir_arm *list;  /* owned; sorted by wd */
	size_t count, room;
};
void intent__dir_arms_release(struct intent__dir_arms *arms);
/* Borrowed until the next change; NULL when there is none. */
struct intent__dir_arm *intent__dir_arms_find(const struct intent__dir_arms *arms, int wd);
/* false: the path could not be armed. */
bool intent__dir_arms_add(struct intent__dir_arms *arms, const char *path, size_t part,
			  uint32_t mask);
/* Drop the refs of a part; sweep then disarms what serves nobody any more. */
void intent__dir_arms_drop(struct intent__dir_arms *arms, size_t part);
void intent__dir_arms_sweep(struct intent__dir_arms *arms);
/* to[old part]: its new number, or EVERY for none. */
void intent__dir_arms_renumber(struct intent__dir_arms *arms, const size_t *to);
/* Remove one that the kernel has dropped. */
void intent__dir_arms_forget(struct intent__dir_arms *arms, struct intent__dir_arm *arm);

/* ---- dir-watch.c ---- */

void *intent__dir_watch_start(struct intent_store *store, const char *const *prefixes,
			      const struct intent__watch_sink *sink);
void intent__dir_watch_set(void *watch, const char *const *prefixes);
void intent__dir_watch_refresh(void *watch);
void intent__dir_watch_stop(void *watch);
/* The store's path (of its state). */
const char *intent__dir_store_path(const struct intent_store *store);

#endif
