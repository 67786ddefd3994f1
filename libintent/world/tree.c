/* Trees: removing them without being led astray, and sweeping leftovers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <intent/file.h>
#include "world.h"

#define DEPTH_MAX 256

static int empty_directory(int fd, dev_t device, int depth, struct intent_error *err);

static int remove_entry(int dirfd, const char *name, dev_t device, int depth, struct intent_error *err)
{
	intent_close_auto int fd = -1;
	struct stat st;

	if (!unlinkat(dirfd, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return intent_fail_errno(err, "%s: cannot remove", name);
	if (depth > DEPTH_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "%s: nested deeper than %d", name, DEPTH_MAX);
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && !fchmodat(dirfd, name, 0700, 0))
		fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return intent_fail_errno(err, "%s: cannot remove", name);
	if (fstat(fd, &st) < 0)
		return intent_fail_errno(err, "%s: cannot remove", name);
	if (device && st.st_dev != device)
		return intent_fail(err, INTENT_EREFUSED, "%s: is another file system mounted there; unmount it first", name);
	if ((st.st_mode & 0700) != 0700)
		fchmod(fd, 0700);
	if (empty_directory(fd, st.st_dev, depth + 1, err) < 0)
		return intent_wrap(err, "%s", name);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return intent_fail_errno(err, "%s: cannot remove", name);
	return 0;
}

static int empty_directory(int fd, dev_t device, int depth, struct intent_error *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3), code = 0;
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!directory) {
		intent_fail_errno(err, "cannot list directory");
		if (copy >= 0)
			close(copy);
		return err->code;
	}
	while (!code && (errno = 0, entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			code = remove_entry(fd, entry->d_name, device, depth, err);
	if (!code && errno)
		code = intent_fail_errno(err, "cannot list directory");
	closedir(directory);
	return code;
}

int intent_tree_remove_at(int dirfd, const char *name, struct intent_error *err)
{
	return remove_entry(dirfd, name, 0, 0, err);
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
		return intent_wrap(err, "%.*s", (int)(name - path), path);
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
	struct dirent *entry;
	int removed = 0, code = 0;

	if (!directory && errno != ENOENT)
		return intent_fail_errno(err, "%s: cannot list directory", path);
	while (directory && (entry = readdir(directory))) {
		if (!intent_temp_is_stale(entry->d_name))
			continue;
		code = intent_tree_remove_at(dirfd(directory), entry->d_name, err);
		if (code < 0)
			break;
		removed++;
	}
	if (directory)
		closedir(directory);
	if (code < 0)
		return intent_wrap(err, "%s", path);
	if (ret_removed)
		*ret_removed = removed;
	return 0;
}
