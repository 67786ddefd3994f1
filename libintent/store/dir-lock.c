/* Into the store: its lock, its own directory, its counter. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <intent/file.h>

#include "dir.h"

/*
 * Not a blocking flock(): anybody who may read the store may hold its lock for ever, and nobody
 * shall wait longer than he says.
 */
static int flock_until(int fd, int how, int64_t deadline)
{
	struct timespec pause = {.tv_nsec = 100000};

	while (flock(fd, how | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return -errno;
		if (intent_time_monotonic() >= deadline)
			return -EWOULDBLOCK;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 1000000)
			pause.tv_nsec *= 2;
	}
	return 0;
}

/*
 * Through a gate, .intent itself, that is held while one waits for the lock: else readers who
 * follow each other closely would keep a writer out, and one busy writer all others.
 */
static int lock(int root, int how, int64_t patience_ms)
{
	int64_t deadline = intent_time_monotonic() + patience_ms;
	intent_close_auto int gate = openat(root, INTENT__DIR_META, O_RDONLY | O_DIRECTORY |
					    O_NOFOLLOW | O_CLOEXEC);
	int rc = gate < 0 ? 0 : flock_until(gate, how, deadline);

	return rc < 0 ? rc : flock_until(root, how, deadline);
}

static int open_root(const char *path, int *ret_root, struct intent_error *err)
{
	*ret_root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_root >= 0)
		return 0;
	if (errno == ENOENT)
		return intent_fail(err, INTENT_EUNAVAILABLE, "dir:%s: there is no store here; "
				   "`ppctl init` makes one, --store or PP_STORE names another",
				   path);
	if (errno == ENOTDIR)
		return intent_fail(err, INTENT_EUNAVAILABLE, "dir:%s: not a directory; name "
				   "another one by --store or PP_STORE", path);
	return intent__dir_errno(err, "dir:%s", path);
}

static int complete(const char *path, int root, int how, int64_t patience_ms,
		    struct intent_error *err)
{
	int64_t deadline = intent_time_monotonic() + patience_ms;

	if (how == LOCK_SH && flock_until(root, LOCK_EX, deadline) < 0)
		return intent_fail(err, INTENT_EBUSY, "dir:%s: locked by another process", path);
	/* Somebody else may have done it between the two locks. */
	if (intent__dir_journal_waits(root) != 0 && intent__dir_replay(root, err) < 0) {
		char why[sizeof(err->msg)];

		memcpy(why, err->msg, sizeof(why));
		return intent_fail(err, INTENT_EUNAVAILABLE, "dir:%.150s: a transaction was cut "
				   "short; any process that may write there completes it "
				   "(here: %.200s)", path, why);
	}
	if (how == LOCK_SH && flock_until(root, LOCK_SH, deadline) < 0)
		return intent_fail(err, INTENT_EBUSY, "dir:%s: locked by another process", path);
	return 0;
}

/* Is the directory that we locked still the one of this path? */
static bool is_current(const char *path, int root)
{
	struct stat there, here;

	return stat(path, &there) == 0 && fstat(root, &here) == 0 &&
	       there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}

int intent__dir_enter(const char *path, int how, int64_t patience_ms, int *ret_root,
		      struct intent_error *err)
{
	for (int i = 0; i < 8; i++) {
		intent_close_auto int root = -1;
		int rc;

		if (open_root(path, &root, err) < 0)
			return err->code;
		rc = lock(root, how, patience_ms);
		if (rc == -EWOULDBLOCK)
			return intent_fail(err, INTENT_EBUSY,
					   "dir:%s: locked by another process for %lld ms", path,
					   (long long)patience_ms);
		if (rc < 0) {
			errno = -rc;
			return intent__dir_errno(err, "dir:%s: lock", path);
		}
		if (!is_current(path, root))
			continue;
		/* Another reader may slip in while the lock changes hands: look again. */
		rc = intent__dir_journal_waits(root);
		if (rc > 0 && complete(path, root, how, patience_ms, err) < 0)
			return err->code;
		if (rc > 0 && how == LOCK_SH)
			rc = intent__dir_journal_waits(root);
		else if (rc > 0)
			rc = 0;
		if (rc < 0) {
			errno = -rc;
			return intent__dir_errno(err, "dir:%s: journal", path);
		}
		if (rc)
			continue;
		*ret_root = root;
		root = -1;
		return 0;
	}
	return intent_fail(err, INTENT_EUNAVAILABLE,
			   "dir:%s: the directory is replaced again and again", path);
}

/* Who may write the store may write its own directory: an operator's 2775 goes for both. */
static int follow_mode(int fd, const struct stat *root, mode_t mask, mode_t least)
{
	mode_t mode = (root->st_mode & mask) | least;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	if ((st.st_mode & 07777) == mode || (geteuid() && geteuid() != st.st_uid))
		return 0;
	return fchmod(fd, mode);
}

int intent__dir_meta(int root, int *ret_meta, struct intent_error *err)
{
	intent_close_auto int meta = -1;
	struct stat st;

	if (fstat(root, &st) < 0)
		return intent__dir_errno(err, "the store's directory");
	if (mkdirat(root, INTENT__DIR_META, 0755) < 0 && errno != EEXIST)
		return intent__dir_errno(err, "make " INTENT__DIR_META " in the store");
	meta = openat(root, INTENT__DIR_META, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (meta < 0)
		return intent__dir_errno(err, INTENT__DIR_META " of the store");
	if (follow_mode(meta, &st, 07777, 0) < 0)
		return intent__dir_errno(err, "mode of " INTENT__DIR_META);
	if (faccessat(meta, ".", W_OK, AT_EACCESS) < 0)
		return intent__dir_errno(err, "the store may not be written by user %u",
					 geteuid());
	*ret_meta = meta;
	meta = -1;
	return 0;
}

static int read_counter(int fd, uint64_t *ret_last)
{
	char text[32];
	ssize_t count = pread(fd, text, sizeof(text) - 1, 0);

	if (count < 0)
		return -errno;
	text[count] = 0;
	/* Garbage counts as nothing: the clock takes over. */
	if (sscanf(text, "%20" SCNu64, ret_last) != 1 || *ret_last > INT64_MAX / 2)
		*ret_last = 0;
	return 0;
}

uint64_t intent__dir_last_revision(int root)
{
	intent_close_auto int fd = openat(root, INTENT__DIR_META "/revision",
					  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t last = 0;

	if (fd < 0 || read_counter(fd, &last) < 0)
		return 0;
	return last;
}

/*
 * Written in place and not synced: after a power cut the clock, which is ahead of any counter,
 * gives the next revision. In place, so that it costs no second round of fsync().
 */
int intent__dir_next_revision(int root, int meta, uint64_t floor, uint64_t *ret_revision,
			      struct intent_error *err)
{
	intent_close_auto int fd = openat(meta, "revision", O_RDWR | O_CREAT | O_NOFOLLOW |
					  O_NONBLOCK | O_CLOEXEC, 0644);
	struct stat st, store;
	struct timespec now;
	uint64_t last = 0, next;
	char text[32];
	int count;

	if (fd < 0 || fstat(fd, &st) < 0 || fstat(root, &store) < 0)
		return intent__dir_errno(err, INTENT__DIR_META "/revision");
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return intent_fail(err, INTENT_EREFUSED, INTENT__DIR_META "/revision is not a "
				   "file of its own; remove it");
	if (follow_mode(fd, &store, 022, 0644) < 0 || read_counter(fd, &last) < 0)
		return intent__dir_errno(err, INTENT__DIR_META "/revision");
	clock_gettime(CLOCK_REALTIME, &now);
	next = now.tv_sec > 0 ? (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 : 1;
	if (next <= last)
		next = last + 1;
	if (next <= floor)
		next = floor + 1;
	count = snprintf(text, sizeof(text), "%020" PRIu64 "\n", next);
	if (pwrite(fd, text, (size_t)count, 0) != count)
		return intent__dir_errno(err, INTENT__DIR_META "/revision");
	*ret_revision = next;
	return 0;
}
