/* Trees: removing them without being led astray, and sweeping leftovers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <intent/file.h>
#include "world.h"

#define DEPTH_MAX 256

/* Where a tree lives: neither another file system nor a bind mount of the same one is entered. */
struct mounted {
	dev_t device;
	uint64_t mount; /* 0: the kernel does not tell */
};

static int empty_directory(int fd, const char *name, const struct mounted *where, int depth,
			   struct intent_error *err);

static int mount_id(int fd, uint64_t *ret)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
		return errno == EIO ? -1 : (*ret = 0, 0);
	*ret = st.stx_mask & STATX_MNT_ID ? st.stx_mnt_id : 0;
	return 0;
}

static int open_directory(int dirfd, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dirfd, name, flags);

	if (fd < 0 && errno == EACCES && !fchmodat(dirfd, name, 0700, AT_SYMLINK_NOFOLLOW))
		fd = openat(dirfd, name, flags);
	return fd;
}

/* `where`: of the tree; NULL at its top. */
static int remove_entry(int dirfd, const char *name, const struct mounted *where, int depth, struct intent_error *err)
{
	intent_close_auto int fd = -1;
	struct mounted here;
	struct stat st;

	if (!unlinkat(dirfd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return intent_fail_errno(err, "%s: cannot remove", name);
	if (depth > DEPTH_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "%s: nested deeper than %d; remove it by hand",
				name, DEPTH_MAX);
	fd = open_directory(dirfd, name);
	if (fd < 0 || fstat(fd, &st) < 0 || mount_id(fd, &here.mount) < 0)
		return intent_fail_errno(err, "%s: cannot remove", name);
	here.device = st.st_dev;
	if (where && (here.device != where->device || here.mount != where->mount))
		return intent_fail(err, INTENT_EREFUSED, "%s: something is mounted there; unmount it first", name);
	if ((st.st_mode & 0700) != 0700)
		fchmod(fd, 0700);
	if (empty_directory(fd, name, &here, depth + 1, err) < 0)
		return err->code;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return intent_fail_errno(err, "%s: cannot remove", name);
	return 0;
}

static int empty_directory(int fd, const char *name, const struct mounted *where, int depth,
			   struct intent_error *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3), code = 0;
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!directory) {
		intent_fail_errno(err, "%s: cannot list directory", name);
		if (copy >= 0)
			close(copy);
		return err->code;
	}
	while (!code && (errno = 0, entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    remove_entry(fd, entry->d_name, where, depth, err) < 0)
			code = intent_fail(err, err->code, "%s/%s", name, err->msg);
	if (!code && errno)
		code = intent_fail_errno(err, "%s: cannot list directory", name);
	closedir(directory);
	return code;
}

int intent_tree_remove_at(int dirfd, const char *name, struct intent_error *err)
{
	return remove_entry(dirfd, name, NULL, 0, err);
}

int intent_tree_remove(const char *path, struct intent_error *err)
{
	const char *name;
	intent_close_auto int dirfd = intent__open_parent(path, &name, err);

	if (dirfd == INTENT_EABSENT)
		return 0;
	if (dirfd < 0)
		return dirfd;
	if (intent_tree_remove_at(dirfd, name, err) < 0)
		return intent_fail(err, err->code, "%.*s%s", (int)(name - path), path, err->msg);
	return fsync(dirfd) < 0 ? intent_fail_errno(err, "%s: cannot sync its directory", path) : 0;
}

int intent_tree_retire(const char *path, struct intent_error *err)
{
	const char *name;
	char temp[256];
	intent_close_auto int dirfd = intent__open_parent(path, &name, err);

	if (dirfd == INTENT_EABSENT)
		return 0;
	if (dirfd < 0)
		return dirfd;
	intent_temp_name(temp, "");
	if (renameat(dirfd, name, dirfd, temp) < 0) {
		if (errno == ENOENT)
			return 0;
		return intent_fail_errno(err, "%s: cannot rename aside", path);
	}
	if (fsync(dirfd) < 0)
		return intent_fail_errno(err, "%s: cannot sync its directory", path);
	if (intent_tree_remove_at(dirfd, temp, err) < 0)
		return intent_wrap(err, "%s", path);
	return 0;
}

int intent_temp_sweep(const char *path, int *ret_removed, struct intent_error *err)
{
	DIR *directory = opendir(path);
	struct intent_error one;
	struct dirent *entry;
	int removed = 0, failed = 0;

	if (!directory && errno != ENOENT)
		return intent_fail_errno(err, "%s: cannot list directory", path);
	while (directory && (errno = 0, entry = readdir(directory))) {
		if (!intent_temp_is_stale(entry->d_name))
			continue;
		/* One that cannot be removed must not keep the others. */
		if (!intent_tree_remove_at(dirfd(directory), entry->d_name, &one))
			removed++;
		else if (!failed++)
			intent_fail(err, one.code, "%s/%s", path, one.msg);
	}
	if (directory && !entry && errno && !failed++)
		intent_fail_errno(err, "%s: cannot list directory", path);
	if (directory)
		closedir(directory);
	if (failed)
		return err->code;
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}
