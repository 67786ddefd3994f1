/*
 * How a directory store changes. Every file is staged (written and synced in .intent) before
 * anything is decided, so a full disk is met while nothing has happened. One change is then one
 * rename or one unlink. Several are decided by the rename of a journal that lists them; whoever
 * next takes the lock finishes what a killed writer left. Redoing is harmless: a staged file
 * that is not there any more was put in its place already.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/fsuid.h>
#include <intent/file.h>

#include "dir.h"

#define JOURNAL_MAX (INTENT__DIR_CHANGES_MAX * (INTENT_KEY_MAX + 64))
#define JOURNAL_HEAD "#journal 1\n"

/* ---- files ---- */

/* A durable file in meta under a name nobody else uses. */
static int write_stage(int meta, const char *name, const char *bytes, size_t count,
		       struct intent_error *err)
{
	intent_close_auto int fd = openat(meta, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					  O_CLOEXEC, 0644);
	int rc;

	if (fd < 0)
		return intent__dir_errno(err, "write to the store");
	/* Whatever the umask: people read the store. */
	rc = fchmod(fd, 0644) < 0 ? -errno : intent_write_all(fd, bytes, count);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (rc < 0) {
		unlinkat(meta, name, 0);
		errno = -rc;
		return intent__dir_errno(err, "write to the store");
	}
	return 0;
}

int intent__dir_stage(int meta, struct intent__dir_changes *changes, const char *key,
		      const struct intent_text *bytes, struct intent_error *err)
{
	struct intent__dir_change *change = &changes->list[changes->count];

	if (changes->count >= INTENT__DIR_CHANGES_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "too many changes in one transaction");
	snprintf(change->key, sizeof(change->key), "%s", key);
	change->stage[0] = 0;
	if (bytes) {
		snprintf(change->stage, sizeof(change->stage), "stage-%d-%zu", getpid(),
			 changes->count);
		if (write_stage(meta, change->stage, bytes->data, bytes->length, err) < 0)
			return err->code;
	}
	changes->count++;
	return 0;
}

void intent__dir_stage_sweep(int meta)
{
	int fd = openat(meta, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		if (intent_starts_with(entry->d_name, "stage-"))
			unlinkat(meta, entry->d_name, 0);
	}
	if (directory)
		closedir(directory);
	else if (fd >= 0)
		close(fd);
}

/* ---- what has to give way ---- */

/*
 * A put of "a/b/c" while "a" or "a/b" is a file: that file moves to "a/%self". A second
 * link is staged, which keeps its owner.
 */
static int stage_blocker(int root, int meta, struct intent__dir_changes *changes, const char *key,
			 struct intent_error *err)
{
	char path[INTENT__DIR_PATH_MAX];
	struct intent__dir_change *change = &changes->list[changes->count];
	const char *last;
	struct stat st;
	int fd, rc;

	intent__dir_path(key, path);
	rc = intent__dir_open_parent(root, path, &fd, &last);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		errno = -rc;
		return intent__dir_errno(err, "key %s may be in the way", key);
	}
	rc = fstatat(fd, last, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	if (rc == -ENOENT || (rc == 0 && S_ISDIR(st.st_mode))) {
		close(fd);
		return 0;
	}
	/* What is not staged would be removed with nothing in its place. */
	if (rc < 0) {
		close(fd);
		errno = -rc;
		return intent__dir_errno(err, "key %s may be in the way", key);
	}
	for (size_t i = 0; i < changes->count; i++) {
		if (strcmp(changes->list[i].key, key) == 0) {
			close(fd);
			return 1;
		}
	}
	snprintf(change->key, sizeof(change->key), "%s", key);
	snprintf(change->stage, sizeof(change->stage), "stage-%d-%zu", getpid(), changes->count);
	if (!S_ISREG(st.st_mode))
		rc = intent_fail(err, INTENT_EREFUSED, "key %s: something that is not a regular "
				 "file is in the way; remove it", key);
	else if (linkat(fd, last, meta, change->stage, 0) < 0)
		rc = intent__dir_errno(err, "key %s is in the way and cannot be moved", key);
	close(fd);
	if (rc < 0)
		return rc;
	changes->count++;
	return 1;
}

/* Every proper head of the key that is a key could be in the way. 1: something was. */
static int stage_blockers(int root, int meta, struct intent__dir_changes *changes,
			  const char *key, struct intent_error *err)
{
	int found = 0;

	for (const char *slash = strchr(key, '/'); slash; slash = strchr(slash + 1, '/')) {
		char head[INTENT_KEY_MAX + 1];
		int rc;

		if (slash == key)
			continue;
		memcpy(head, key, (size_t)(slash - key));
		head[slash - key] = 0;
		rc = stage_blocker(root, meta, changes, head, err);
		if (rc < 0)
			return rc;
		found |= rc;
	}
	return found;
}

/* ---- making it so ---- */

/* The directories to sync, each once. */
struct touched {
	int fds[INTENT__DIR_CHANGES_MAX];
	struct stat stats[INTENT__DIR_CHANGES_MAX];
	size_t count;
};

/* Takes fd over. */
static int touch(struct touched *touched, int fd)
{
	struct stat *st = &touched->stats[touched->count];

	if (fstat(fd, st) < 0) {
		close(fd);
		return -errno;
	}
	for (size_t i = 0; i < touched->count; i++) {
		if (touched->stats[i].st_ino == st->st_ino && touched->stats[i].st_dev == st->st_dev) {
			close(fd);
			return 0;
		}
	}
	touched->fds[touched->count++] = fd;
	return 0;
}

static int sync_touched(struct touched *touched)
{
	int rc = 0;

	for (size_t i = 0; i < touched->count; i++) {
		if (fsync(touched->fds[i]) < 0)
			rc = -errno;
		close(touched->fds[i]);
	}
	return rc;
}

/* Move a staged file into its place; one that is not there was moved already. */
static int place(int root, int meta, const struct intent__dir_change *change,
		 struct touched *touched)
{
	char path[INTENT__DIR_PATH_MAX];
	const char *last;
	struct stat st;
	int fd, rc;

	if (fstatat(meta, change->stage, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	intent__dir_path(change->key, path);
	rc = intent__dir_make_parent(root, path, true, &fd, &last);
	if (rc < 0)
		return rc;
	/* A directory of this name that is empty makes room, any other takes the file in. */
	rc = renameat(meta, change->stage, fd, last) < 0 ? -errno : 0;
	if (rc == -EISDIR && unlinkat(fd, last, AT_REMOVEDIR) == 0)
		rc = renameat(meta, change->stage, fd, last) < 0 ? -errno : 0;
	if (rc == -EISDIR) {
		int self = openat(fd, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		close(fd);
		fd = self;
		if (fd < 0)
			return -errno;
		rc = renameat(meta, change->stage, fd, INTENT__DIR_SELF) < 0 ? -errno : 0;
	}
	if (rc == 0)
		return touch(touched, fd);
	close(fd);
	return rc;
}

static int apply(int root, int meta, const struct intent__dir_changes *changes)
{
	struct touched *touched = calloc(1, sizeof(*touched));
	int rc = 0, synced;

	for (size_t i = 0; rc == 0 && i < changes->count; i++) {
		if (!changes->list[i].stage[0])
			rc = intent__dir_unlink(root, changes->list[i].key, true);
	}
	for (size_t i = 0; rc == 0 && i < changes->count; i++) {
		if (changes->list[i].stage[0])
			rc = place(root, meta, &changes->list[i], touched);
	}
	synced = sync_touched(touched);
	free(touched);
	return rc < 0 ? rc : synced;
}

/* ---- the journal ---- */

static int write_journal(int meta, const struct intent__dir_changes *changes,
			 struct intent_error *err)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	char stage[32];

	intent_text_puts(&text, JOURNAL_HEAD);
	for (size_t i = 0; i < changes->count; i++)
		intent_text_printf(&text, "%s %s\n",
				   changes->list[i].stage[0] ? changes->list[i].stage : "-",
				   changes->list[i].key);
	intent_text_puts(&text, "end\n");
	snprintf(stage, sizeof(stage), "stage-%d-journal", getpid());
	if (write_stage(meta, stage, text.data, text.length, err) < 0)
		return err->code;
	/* The staged files' names must be as durable as the journal that counts on them. */
	if (fsync(meta) < 0 || renameat(meta, stage, meta, "journal") < 0)
		return intent__dir_errno(err, "journal");
	if (fsync(meta) < 0)
		return intent_fail(err, INTENT_EUNKNOWN, "journal: %s; read before trying again",
				   strerror(errno));
	return 0;
}

static int finish_journal(int meta)
{
	if (unlinkat(meta, "journal", 0) < 0 && errno != ENOENT)
		return -errno;
	/* Before the next write: a journal that came back would undo it. */
	return fsync(meta) < 0 ? -errno : 0;
}

static int parse_journal(char *text, struct intent__dir_changes *changes)
{
	if (!intent_starts_with(text, JOURNAL_HEAD) || !intent_ends_with(text, "\nend\n"))
		return -1;
	text += strlen(JOURNAL_HEAD);
	while (strcmp(text, "end\n") != 0) {
		struct intent__dir_change *change = &changes->list[changes->count];
		struct intent_error ignored;
		char *end = strchr(text, '\n'), *space = strchr(text, ' ');

		if (!end || !space || space > end || changes->count >= INTENT__DIR_CHANGES_MAX)
			return -1;
		*end = *space = 0;
		if (intent__key_check(space + 1, &ignored) < 0 ||
		    (strcmp(text, "-") != 0 && !intent_starts_with(text, "stage-")) ||
		    strchr(text, '/') || strlen(text) >= sizeof(change->stage))
			return -1;
		snprintf(change->key, sizeof(change->key), "%s", space + 1);
		snprintf(change->stage, sizeof(change->stage), "%s", *text == '-' ? "" : text);
		changes->count++;
		text = end + 1;
	}
	return 0;
}

int intent__dir_journal_waits(int root)
{
	struct stat st;

	if (fstatat(root, INTENT__DIR_META "/journal", &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 1;
	return errno == EIO ? -errno : 0;
}

/*
 * A member of the store's group may have written this journal; root finishing it may do no
 * more than that member could.
 */
static int apply_as(int root, int meta, const struct stat *owner,
		    const struct intent__dir_changes *changes)
{
	bool lower = geteuid() == 0 && owner->st_uid != 0;
	int rc;

	if (lower) {
		setfsgid(owner->st_gid);
		setfsuid(owner->st_uid);
	}
	rc = apply(root, meta, changes);
	if (rc == 0)
		rc = finish_journal(meta);
	if (lower) {
		setfsuid(0);
		setfsgid(getegid());
	}
	return rc;
}

int intent__dir_replay(int root, struct intent_error *err)
{
	intent_close_auto int meta = -1, fd = -1;
	intent_free_auto char *text = malloc(JOURNAL_MAX + 1);
	intent_free_auto struct intent__dir_changes *changes = calloc(1, sizeof(*changes));
	struct stat st;
	ssize_t count;
	int rc;

	meta = openat(root, INTENT__DIR_META, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (meta >= 0)
		fd = openat(meta, "journal", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return intent__dir_errno(err, INTENT__DIR_META "/journal");
	count = intent__dir_slurp(fd, text, JOURNAL_MAX);
	if (count < 0) {
		errno = (int)-count;
		return intent__dir_errno(err, INTENT__DIR_META "/journal");
	}
	text[count] = 0;
	if (parse_journal(text, changes) < 0)
		return intent_fail(err, INTENT_EMALFORMED, INTENT__DIR_META "/journal is damaged; "
				   "remove it and compare the store with what should be there");
	rc = apply_as(root, meta, &st, changes);
	if (rc < 0) {
		errno = -rc;
		return intent__dir_errno(err, INTENT__DIR_META "/journal");
	}
	return 0;
}

/* ---- commit ---- */

static void undo_stage(int root, int meta, const struct intent__dir_changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		if (!changes->list[i].stage[0])
			continue;
		unlinkat(meta, changes->list[i].stage, 0);
		intent__dir_prune(root, changes->list[i].key);
	}
}

/* All that can fail for want of space or permission, before anything is decided. */
static int prepare(int root, int meta, struct intent__dir_changes *changes,
		   struct intent_error *err)
{
	size_t count = changes->count;

	for (size_t i = 0; i < count; i++) {
		char path[INTENT__DIR_PATH_MAX];
		const char *last;
		int fd, rc;

		if (!changes->list[i].stage[0])
			continue;
		rc = stage_blockers(root, meta, changes, changes->list[i].key, err);
		if (rc < 0)
			return rc;
		if (rc)
			continue;
		intent__dir_path(changes->list[i].key, path);
		rc = intent__dir_make_parent(root, path, false, &fd, &last);
		if (rc < 0) {
			errno = -rc;
			return intent__dir_errno(err, "the directory of %s", changes->list[i].key);
		}
		rc = faccessat(fd, ".", W_OK | X_OK, AT_EACCESS);
		close(fd);
		if (rc < 0)
			return intent__dir_errno(err, "the directory of %s", changes->list[i].key);
	}
	return 0;
}

static int deepest_first(const void *a, const void *b)
{
	const struct intent__dir_change *left = a, *right = b;

	return strcmp(right->key, left->key);
}

int intent__dir_commit(int root, int meta, struct intent__dir_changes *changes,
		       struct intent_error *err)
{
	int rc = prepare(root, meta, changes, err);

	/* "a/b" before "a", which then finds a directory of its name and goes into it. */
	qsort(changes->list, changes->count, sizeof(changes->list[0]), deepest_first);
	if (rc < 0 ||
	    (changes->count > 1 && write_journal(meta, changes, err) < 0 &&
	     err->code != INTENT_EUNKNOWN)) {
		undo_stage(root, meta, changes);
		return err->code;
	}
	rc = apply(root, meta, changes);
	if (rc == 0 && changes->count > 1)
		rc = finish_journal(meta);
	if (rc == 0)
		return 0;
	errno = -rc;
	if (changes->count == 1 && rc != -EIO) {
		intent__dir_errno(err, "%s", changes->list[0].key);
		undo_stage(root, meta, changes);
		return err->code;
	}
	return intent_fail(err, INTENT_EUNKNOWN, "%s: %s; it is decided but may not be finished: "
			   "read before trying again", changes->list[0].key, strerror(errno));
}
