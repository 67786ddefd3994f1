/* Where a key's file is: the directories on the way to it, made and removed. */
#include <errno.h>
#include <fcntl.h>
#include <intent/file.h>

#include "dir.h"

int intent__dir_open_parent(int root, char *path, int *ret_fd, const char **ret_last)
{
	intent_close_auto int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *slash;

	if (fd < 0)
		return -errno;
	while ((slash = strchr(path, '/'))) {
		int next;

		*slash = 0;
		next = openat(fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
		close(fd);
		fd = next;
		path = slash + 1;
	}
	*ret_last = path;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int intent__dir_locate(int root, const char *key, char path[INTENT__DIR_PATH_MAX],
		       int *ret_directory, const char **ret_name)
{
	struct stat st;
	int fd, self, rc;

	intent__dir_path(key, path);
	rc = intent__dir_open_parent(root, path, &fd, ret_name);
	if (rc < 0)
		return rc;
	*ret_directory = fd;
	if (fstatat(fd, *ret_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		rc = -errno;
	if (rc < 0 || !S_ISDIR(st.st_mode)) {
		if (rc < 0)
			close(fd);
		return rc;
	}
	self = openat(fd, *ret_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = self < 0 ? -errno : 0;
	close(fd);
	if (rc == 0 && fstatat(self, INTENT__DIR_SELF, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		rc = -errno;
		close(self);
	}
	*ret_directory = self;
	*ret_name = INTENT__DIR_SELF;
	return rc;
}

void intent__dir_prune(int root, const char *key)
{
	char whole[INTENT__DIR_PATH_MAX], path[INTENT__DIR_PATH_MAX], *slash;
	const char *last;

	intent__dir_path(key, whole);
	/* First the directory of the key's own name, where "%self" was. */
	for (;;) {
		int fd, gone;

		memcpy(path, whole, strlen(whole) + 1);
		if (intent__dir_open_parent(root, path, &fd, &last) == 0) {
			gone = unlinkat(fd, last, AT_REMOVEDIR) == 0 || errno == ENOENT ||
			       errno == ENOTDIR;
			close(fd);
			if (!gone)
				return;
		}
		slash = strrchr(whole, '/');
		if (!slash)
			return;
		*slash = 0;
	}
}

int intent__dir_unlink(int root, const char *key, bool durably)
{
	char path[INTENT__DIR_PATH_MAX];
	const char *name;
	int fd, rc = intent__dir_locate(root, key, path, &fd, &name);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	if (unlinkat(fd, name, 0) < 0 && errno != ENOENT)
		rc = -errno;
	else if (durably && fsync(fd) < 0)
		rc = -errno;
	close(fd);
	if (rc == 0)
		intent__dir_prune(root, key);
	return rc;
}

/* A directory like its parent, durably. What is in its way goes: it is staged already. */
static int make_directory(int parent, const char *name, bool force)
{
	intent_close_auto int fd = -1;
	struct stat st, own;
	int rc = mkdirat(parent, name, 0755);

	if (rc < 0 && errno == EEXIST && force && unlinkat(parent, name, 0) == 0)
		rc = mkdirat(parent, name, 0755);
	if (rc < 0)
		return -errno;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(parent, &st) < 0 || fstat(fd, &own) < 0)
		return -errno;
	/* Only if needed: it would wake everybody who watches the parent. */
	if (((st.st_mode ^ own.st_mode) & 07777) && fchmod(fd, st.st_mode & 07777) < 0)
		return -errno;
	return fsync(parent) < 0 ? -errno : 0;
}

int intent__dir_make_parent(int root, char *path, bool force, int *ret_fd, const char **ret_last)
{
	intent_close_auto int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *slash;

	if (fd < 0)
		return -errno;
	while ((slash = strchr(path, '/'))) {
		int next, flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

		*slash = 0;
		next = openat(fd, path, flags);
		if (next < 0 && (errno == ENOENT || (force && (errno == ENOTDIR || errno == ELOOP)))) {
			int rc = make_directory(fd, path, force);

			if (rc < 0)
				return rc;
			next = openat(fd, path, flags);
		}
		if (next < 0)
			return -errno;
		close(fd);
		fd = next;
		path = slash + 1;
	}
	*ret_last = path;
	*ret_fd = fd;
	fd = -1;
	return 0;
}
