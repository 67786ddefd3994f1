/*
 * Durable files, directories and links.
 *
 * Every change follows one rule: make it under a temporary name in the same
 * directory, fsync, rename, fsync the directory. Temporary names begin with
 * INTENT_TEMP_PREFIX and hold the maker's pid and boot id, so that leftovers of
 * a killed maker can be told from work in progress and swept.
 */
#ifndef INTENT_FILE_H
#define INTENT_FILE_H

#include <sys/stat.h>
#include <intent/json.h>

#define INTENT_TEMP_PREFIX ".tmp-"

#define intent_close_auto __attribute__((cleanup(intent__close)))
void intent__close(int *fd);

/* The first eight digits of this boot's id: pids and CLOCK_BOOTTIME mean nothing in another one. Static. */
const char *intent_boot_id(void);

/* A fresh temporary name ".tmp-<boot>-<pid>-<number>-<tail>"; tail may be "". */
void intent_temp_name(char out[256], const char *tail);

/*
 * Replace (or create) dirfd/name by these bytes, whole or not at all, durably.
 * The temporary gets mode and, unless -1, owner before its fsync. `name` may
 * contain no '/'. A failed fsync throws the temporary away.
 */
int intent_file_write_at(int dirfd, const char *name, const void *bytes, size_t count,
			 mode_t mode, uid_t uid, gid_t gid, struct intent_error *err);
/* The same by path; missing parents are an error. Mode 0644, own uid. */
int intent_file_write(const char *path, const void *bytes, size_t count, mode_t mode,
		      struct intent_error *err);
/* The same, unless the file already has these bytes. */
int intent_file_write_changed(const char *path, const void *bytes, size_t count, mode_t mode,
			      struct intent_error *err);
/* Canonical JSON and a newline, when that changes it. */
int intent_file_write_json(const char *path, const json_t *json, mode_t mode,
			   struct intent_error *err);

/*
 * Whole regular file of at most max bytes, NUL-terminated. `dirfd` may be AT_FDCWD.
 * Absent: INTENT_EABSENT. Longer: INTENT_ETOOBIG. Owned.
 */
int intent_file_read(int dirfd, const char *path, size_t max, char **ret_owned,
		     size_t *ret_count, struct intent_error *err);
/* The same of standard input, to its end: a file, a pipe, what a person types. */
int intent_input_read(size_t max, char **ret_owned, size_t *ret_count, struct intent_error *err);
int intent_file_read_json(const char *path, size_t max, json_t **ret_new, struct intent_error *err);

/*
 * What stands at this path (AT_SYMLINK_NOFOLLOW: or the link itself). INTENT_EABSENT: nothing, also where links
 * lead nowhere; any other code says that it cannot be told.
 */
int intent_file_stat(const char *path, int flags, struct stat *ret, struct intent_error *err);
/* Is it there? The flags are those of intent_file_stat(). */
int intent_file_exists(const char *path, int flags, bool *ret, struct intent_error *err);
/* All names in it but "." and "..", in no order; what is not UTF-8 is left out. INTENT_EABSENT. New. */
int intent_directory_list(const char *path, json_t **ret_new, struct intent_error *err);

/*
 * mkdir -p: every missing directory gets `mode`; parents of new ones are
 * fsynced. An existing directory is left as it is; anything else in the way
 * is INTENT_ENOTOURS.
 */
int intent_directory_make(const char *path, mode_t mode, struct intent_error *err);

/* fsync a directory by path. */
int intent_directory_sync(const char *path, struct intent_error *err);

/*
 * Make the symbolic link `path` point at `target`: atomically, durably, and not
 * at all when it already does. Something there that is not a link: INTENT_ENOTOURS.
 * *ret_changed (may be NULL) says whether anything was done.
 */
int intent_link_set(const char *target, const char *path, bool *ret_changed,
		    struct intent_error *err);
/* The target, owned; INTENT_EABSENT when there is nothing, INTENT_ENOTOURS when not a link. */
int intent_link_read(const char *path, char **ret_owned, struct intent_error *err);
/* Remove a file or link, fsync its directory; absent is fine. */
int intent_file_remove(const char *path, struct intent_error *err);

/*
 * Remove a tree below dirfd without following any link and without leaving
 * its file system. Absent is fine. Directories without permission are opened up.
 */
int intent_tree_remove_at(int dirfd, const char *name, struct intent_error *err);
int intent_tree_remove(const char *path, struct intent_error *err);
/*
 * As above, but first renamed aside (to a temporary name in the same directory,
 * durably), so that the name is gone at once and a kill leaves only what
 * intent_temp_sweep() removes.
 */
int intent_tree_retire(const char *path, struct intent_error *err);

/*
 * Remove INTENT_TEMP_PREFIX leftovers in a directory whose maker is gone (other boot,
 * or no such process). An absent directory is fine. *ret_removed may be NULL.
 */
int intent_temp_sweep(const char *directory, int *ret_removed, struct intent_error *err);
/* Is this the name of such a leftover? (for observing; sweeping is an action) */
bool intent_temp_is_stale(const char *name);

/*
 * flock on path (a file, created 0600 when `create`, or a directory). `how` is
 * LOCK_SH or LOCK_EX, with LOCK_NB if wanted. Returns the descriptor (close
 * releases), INTENT_EBUSY with LOCK_NB, INTENT_EABSENT.
 */
int intent_file_lock(const char *path, int how, bool create, int *ret_fd, struct intent_error *err);

/* write(2) all of it; 0 or -errno. */
int intent_write_all(int fd, const void *bytes, size_t count);

#endif
