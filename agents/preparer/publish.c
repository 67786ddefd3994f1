/*
 * From what the unpacker left to an installation: everything below descriptors, nothing followed.
 *
 * The unpacker read foreign bytes, so what it left is not trusted either: it may hold only what
 * intent_archive_unpack() makes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <linux/fs.h>
#include <intent/file.h>
#include "preparer.h"

enum { DEPTH_MAX = 66 };

/* One name of a file that has several: all of them must be in the tree. */
struct linked { ino_t inode; nlink_t names; };

struct walk {
	uid_t from;          /* who unpacked */
	bool give;           /* to root */
	dev_t device;
	struct linked *linked; /* owned */
	size_t count, room;
};

static int refuse(struct intent_error *err, const char *name, const char *why)
{
	char shown[64];

	snprintf(shown, sizeof(shown), "%.60s", name);
	for (char *at = shown; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return intent_fail(err, INTENT_EREFUSED, "the unpacked '%s' %s: not installed", shown, why);
}

static int note_link(struct walk *walk, const struct stat *st, struct intent_error *err)
{
	struct linked *more;

	if (walk->count == walk->room) {
		walk->room = walk->room ? walk->room * 2 : 64;
		more = realloc(walk->linked, walk->room * sizeof(*more));
		if (!more)
			return intent_fail(err, -ENOMEM, "out of memory");
		walk->linked = more;
	}
	walk->linked[walk->count++] = (struct linked){st->st_ino, st->st_nlink};
	return 0;
}

static int compare_linked(const void *a, const void *b)
{
	const struct linked *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int check_links(struct walk *walk, struct intent_error *err)
{
	if (walk->count > 0)
		qsort(walk->linked, walk->count, sizeof(*walk->linked), compare_linked);
	for (size_t from = 0, to; from < walk->count; from = to) {
		for (to = from; to < walk->count && walk->linked[to].inode == walk->linked[from].inode;)
			to++;
		if (to - from != walk->linked[from].names)
			return intent_fail(err, INTENT_EREFUSED, "an unpacked file has names outside the "
					   "tree: not installed");
	}
	return 0;
}

static int check_entry(struct walk *walk, const char *name, const struct stat *st, struct intent_error *err)
{
	mode_t mode = st->st_mode & 07777;

	if (st->st_uid != walk->from || st->st_dev != walk->device)
		return refuse(err, name, "does not belong to the unpacker");
	if (S_ISLNK(st->st_mode))
		return st->st_nlink == 1 ? 0 : refuse(err, name, "is a link with several names");
	if (S_ISDIR(st->st_mode))
		return mode == 0755 ? 0 : refuse(err, name, "has a mode other than 0755");
	if (!S_ISREG(st->st_mode))
		return refuse(err, name, "is no file, directory or link");
	if (mode != 0755 && mode != 0644)
		return refuse(err, name, "has a mode other than 0755 or 0644");
	return 0;
}

/*
 * Who unpacked may hold a thing open and change it until it is root's: so it is looked at again
 * then. And before, lest we give root what was never the unpacker's.
 */
static int take_entry(struct walk *walk, int dirfd, const char *name, struct stat *ret,
		      struct intent_error *err)
{
	int code;

	if (fstatat(dirfd, name, ret, AT_SYMLINK_NOFOLLOW) < 0)
		return intent_fail_errno(err, "cannot look at '%.60s'", name);
	/* One of several names may have been given away already by another. */
	if (walk->give && S_ISREG(ret->st_mode) && ret->st_nlink > 1 && ret->st_uid == 0)
		ret->st_uid = walk->from;
	if ((code = check_entry(walk, name, ret, err)) || !walk->give)
		return code;
	if (fchownat(dirfd, name, 0, 0, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(dirfd, name, ret, AT_SYMLINK_NOFOLLOW) < 0)
		return intent_fail_errno(err, "cannot give '%.60s' to root", name);
	ret->st_uid = walk->from;
	return check_entry(walk, name, ret, err);
}

static int walk_directory(struct walk *walk, int fd, int depth, struct intent_error *err);

static int walk_entry(struct walk *walk, int dirfd, const char *name, int depth, struct intent_error *err)
{
	intent_close_auto int fd = -1;
	struct stat st;
	int code;

	if ((code = take_entry(walk, dirfd, name, &st, err)))
		return code;
	if (S_ISREG(st.st_mode) && st.st_nlink > 1)
		return note_link(walk, &st, err);
	if (!S_ISDIR(st.st_mode))
		return 0;
	/* It is root's before its content is listed: nobody can put anything into it any more. */
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return intent_fail_errno(err, "cannot open '%.60s'", name);
	return walk_directory(walk, fd, depth + 1, err);
}

static int walk_directory(struct walk *walk, int fd, int depth, struct intent_error *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3), code = 0;
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!directory) {
		(void)intent_fail_errno(err, "cannot list the unpacked tree");
		if (copy >= 0)
			close(copy);
		return err->code;
	}
	if (depth > DEPTH_MAX)
		code = intent_fail(err, INTENT_EREFUSED, "the unpacked tree is too deep");
	while (!code && (errno = 0, entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			code = walk_entry(walk, fd, entry->d_name, depth, err);
	if (!code && errno)
		code = intent_fail_errno(err, "cannot list the unpacked tree");
	closedir(directory);
	return code;
}

/* Shut the unpacker's user out, then look at everything and give it to root. */
static int take_over(int staging_fd, uid_t uid, struct intent_error *err)
{
	struct walk walk = {.from = uid, .give = geteuid() == 0};
	struct stat st;
	int code = 0;

	if (fchmod(staging_fd, 0700) < 0 || (walk.give && fchown(staging_fd, 0, 0) < 0) ||
	    fstat(staging_fd, &st) < 0)
		return intent_fail_errno(err, "cannot take the unpacked tree over");
	walk.device = st.st_dev;
	code = walk_directory(&walk, staging_fd, 0, err);
	if (!code)
		code = check_links(&walk, err);
	free(walk.linked);
	return code;
}

static int write_record(int staging_fd, const json_t *record, struct intent_error *err)
{
	intent_free_auto char *text = intent_json_canonical(record);
	intent_close_auto int fd = -1;
	int code;

	if (!text)
		return intent_fail(err, -ENOMEM, "out of memory");
	fd = openat(staging_fd, PREPARER_RECORD, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 && errno == EEXIST)
		return intent_fail(err, INTENT_EREFUSED, "the archive holds '" PREPARER_RECORD "', a name "
				   "that is kept for the record of the installation");
	if (fd < 0 || fchmod(fd, 0644) < 0)
		return intent_fail_errno(err, "cannot write the record");
	code = intent_write_all(fd, text, strlen(text));
	if (!code)
		code = intent_write_all(fd, "\n", 1);
	errno = -code;
	return code ? intent_fail_errno(err, "cannot write the record") : 0;
}

int preparer_publish(int installs_fd, const char *staging, int staging_fd, uid_t uid, const char *name,
		     const json_t *record, struct intent_error *err)
{
	int code;

	if ((code = take_over(staging_fd, uid, err)) || (code = write_record(staging_fd, record, err)))
		return code;
	if (fchmod(staging_fd, 0755) < 0)
		return intent_fail_errno(err, "cannot open the installation to all");
	/* One call in the place of an fsync for each file. */
	if (syncfs(staging_fd) < 0)
		return intent_fail_errno(err, "cannot write the installation to disk");
	if (syscall(SYS_renameat2, installs_fd, staging, installs_fd, name, RENAME_NOREPLACE) < 0)
		return errno == EEXIST ?
			intent_fail(err, INTENT_ENOTOURS, "%s appeared while it was being prepared: who "
				    "made it?", name) :
			intent_fail_errno(err, "cannot give the installation its name");
	return fsync(installs_fd) < 0 ? intent_fail_errno(err, "cannot sync the installs directory") : 0;
}
