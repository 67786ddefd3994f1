#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/random.h>
#include <intent/file.h>
#include "world.h"

void intent__close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

int intent_write_all(int fd, const void *bytes, size_t count)
{
	const char *p = bytes;

	while (count) {
		ssize_t written = write(fd, p, count);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		p += written;
		count -= (size_t)written;
	}
	return 0;
}

const char *intent_boot_id(void)
{
	static char id[9];
	int fd;

	if (id[0])
		return id;
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, id, 8) != 8)
		memcpy(id, "noboot00", 9);
	if (fd >= 0)
		close(fd);
	return id;
}

/*
 * Numbers begin anywhere: an earlier process with our very pid (in a container it is always 1) may
 * have left names behind.
 */
static atomic_uint temp_number;
static unsigned first_number;

static unsigned next_number(void)
{
	if (!first_number) {
		if (getrandom(&first_number, sizeof(first_number), GRND_NONBLOCK) < 0 || !first_number)
			first_number = (unsigned)intent_time_now() | 1;
		temp_number = first_number;
	}
	return atomic_fetch_add(&temp_number, 1);
}

void intent_temp_name(char out[256], const char *tail)
{
	snprintf(out, 256, INTENT_TEMP_PREFIX "%s-%d-%u%s%.180s", intent_boot_id(), (int)getpid(),
		 next_number(), *tail ? "-" : "", tail);
}

/* A zombie counts as gone: nobody may be there to reap it. */
static bool process_is_gone(int pid)
{
	char path[32], line[512] = "", *state;
	intent_close_auto int fd = -1;

	if (kill(pid, 0) < 0)
		return errno == ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) < 0)
		return false;
	state = strrchr(line, ')');
	return state && (!strncmp(state, ") Z", 3) || !strncmp(state, ") X", 3));
}

bool intent_temp_is_stale(const char *name)
{
	char boot[9];
	unsigned number;
	int pid;

	if (sscanf(name, INTENT_TEMP_PREFIX "%8[0-9a-z]-%d-%u", boot, &pid, &number) != 3 || pid <= 0)
		return false;
	if (strcmp(boot, intent_boot_id()))
		return true;
	if (pid == getpid()) /* ours, or of one who had our pid before */
		return number - first_number >= temp_number - first_number;
	return process_is_gone(pid);
}

int intent__open_parent(const char *path, const char **ret_name, struct intent_error *err)
{
	const char *slash = strrchr(path, '/');
	intent_free_auto char *parent = NULL;
	int fd;

	if (slash && !slash[1])
		return intent_fail(err, -EINVAL, "%s: names a directory", path);
	*ret_name = slash ? slash + 1 : path;
	parent = !slash ? strdup(".") : slash == path ? strdup("/") :
		 strndup(path, (size_t)(slash - path));
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return intent_fail(err, INTENT_EABSENT, "%s: its directory does not exist", path);
	if (fd < 0)
		return intent_fail_errno(err, "%s: cannot open its directory", path);
	return fd;
}

static int fill_temp(int dirfd, const char *temp, const void *bytes, size_t count,
		     mode_t mode, uid_t uid, gid_t gid)
{
	int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int code;

	if (fd < 0)
		return -errno;
	code = intent_write_all(fd, bytes, count);
	if (!code && (uid != (uid_t)-1 || gid != (gid_t)-1) && fchown(fd, uid, gid) < 0)
		code = -errno;
	if (!code && fchmod(fd, mode) < 0)
		code = -errno;
	if (!code && fsync(fd) < 0)
		code = -errno;
	if (close(fd) < 0 && !code)
		code = -errno;
	return code;
}

/* `shown` is what messages call it. */
static int replace(int dirfd, const char *name, const char *shown, const void *bytes, size_t count,
		   mode_t mode, uid_t uid, gid_t gid, struct intent_error *err)
{
	char temp[256];
	int code;

	intent_temp_name(temp, "");
	code = fill_temp(dirfd, temp, bytes, count, mode, uid, gid);
	if (!code && renameat(dirfd, temp, dirfd, name) < 0)
		code = -errno;
	if (code) {
		if (code != -EEXIST) /* then the temporary is another's */
			unlinkat(dirfd, temp, 0);
		errno = -code;
		return intent_fail_errno(err, "%s: cannot write", shown);
	}
	if (fsync(dirfd) < 0)
		return intent_fail_errno(err, "%s: cannot sync its directory", shown);
	return 0;
}

int intent_file_write_at(int dirfd, const char *name, const void *bytes, size_t count,
			 mode_t mode, uid_t uid, gid_t gid, struct intent_error *err)
{
	return replace(dirfd, name, name, bytes, count, mode, uid, gid, err);
}

int intent_file_write(const char *path, const void *bytes, size_t count, mode_t mode,
		      struct intent_error *err)
{
	const char *name;
	intent_close_auto int dirfd = intent__open_parent(path, &name, err);

	if (dirfd < 0)
		return dirfd;
	return replace(dirfd, name, path, bytes, count, mode, (uid_t)-1, (gid_t)-1, err);
}

int intent_file_write_changed(const char *path, const void *bytes, size_t count, mode_t mode,
			      struct intent_error *err)
{
	intent_free_auto char *there = NULL;
	struct intent_error ignored;
	size_t found;

	if (!intent_file_read(AT_FDCWD, path, count, &there, &found, &ignored) && found == count &&
	    !memcmp(there, bytes, count))
		return 0;
	return intent_file_write(path, bytes, count, mode, err);
}

int intent_file_write_json(const char *path, const json_t *json, mode_t mode, struct intent_error *err)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_free_auto char *canonical = intent_json_canonical(json);

	intent_text_printf(&text, "%s\n", canonical);
	return intent_file_write_changed(path, intent_text_str(&text), text.length, mode, err);
}

static int read_all(int fd, const char *path, size_t max, char **ret_owned, size_t *ret_count,
		    struct intent_error *err)
{
	intent_text_auto struct intent_text text = {.limit = max + 1};
	char chunk[16384];
	ssize_t got;

	while ((got = read(fd, chunk, sizeof(chunk))) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return intent_fail_errno(err, "%s: cannot read", path);
		intent_text_add(&text, chunk, (size_t)got);
		if (text.failed || text.length > max)
			return intent_fail(err, INTENT_ETOOBIG, "%s: is longer than %zu bytes", path, max);
	}
	*ret_count = text.length;
	*ret_owned = intent_text_steal(&text);
	return 0;
}

int intent_file_read(int dirfd, const char *path, size_t max, char **ret_owned,
		     size_t *ret_count, struct intent_error *err)
{
	/* Not blocking: a FIFO in the place of a file must not hold us up. */
	intent_close_auto int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return intent_fail(err, INTENT_EABSENT, "%s: does not exist", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return intent_fail_errno(err, "%s: cannot read", path);
	if (!S_ISREG(st.st_mode))
		return intent_fail(err, INTENT_ENOTOURS, "%s: is not a regular file", path);
	return read_all(fd, path, max, ret_owned, ret_count, err);
}

int intent_input_read(size_t max, char **ret_owned, size_t *ret_count, struct intent_error *err)
{
	return read_all(STDIN_FILENO, "standard input", max, ret_owned, ret_count, err);
}

int intent_file_read_json(const char *path, size_t max, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *bytes = NULL;
	size_t count;

	if (intent_file_read(AT_FDCWD, path, max, &bytes, &count, err) < 0)
		return err->code;
	if (intent_json_parse(bytes, count, max, ret_new, err) < 0)
		return intent_wrap(err, "%s", path);
	return 0;
}

int intent_file_stat(const char *path, int flags, struct stat *ret, struct intent_error *err)
{
	struct stat seen;

	if (fstatat(AT_FDCWD, path, &seen, flags)) {
		if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
			return intent_fail(err, INTENT_EABSENT, "%s: does not exist", path);
		return intent_fail_errno(err, "%s: cannot be looked at", path);
	}
	*ret = seen;
	return 0;
}

int intent_file_exists(const char *path, int flags, bool *ret, struct intent_error *err)
{
	struct stat seen;
	int code = intent_file_stat(path, flags, &seen, err);

	if (code && code != INTENT_EABSENT)
		return code;
	*ret = !code;
	return 0;
}

int intent_directory_list(const char *path, json_t **ret_new, struct intent_error *err)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	json_t *names;

	if (!directory && (errno == ENOENT || errno == ENOTDIR))
		return intent_fail(err, INTENT_EABSENT, "%s: does not exist", path);
	if (!directory)
		return intent_fail_errno(err, "%s: cannot list it", path);
	names = json_array();
	while ((errno = 0, entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			json_array_append_new(names, json_string(entry->d_name));
	int code = errno ? intent_fail_errno(err, "%s: cannot list it", path) : 0;
	closedir(directory);
	if (code)
		json_decref(names);
	else
		*ret_new = names;
	return code;
}

int intent_directory_sync(const char *path, struct intent_error *err)
{
	intent_close_auto int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return intent_fail_errno(err, "%s: cannot sync directory", path);
	return 0;
}

/* The mode whatever the umask: others than the maker must get into what is made for them. */
static int make_one(const char *path, mode_t mode)
{
	intent_close_auto int fd = -1;
	struct stat st;

	if (mkdir(path, mode) < 0)
		/* A link that leads nowhere is there, too, but is no directory. */
		return errno == EEXIST && !stat(path, &st) ? 0 : -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	return (st.st_mode & 07777) == mode ? 0 : fchmod(fd, mode);
}

int intent_directory_make(const char *path, mode_t mode, struct intent_error *err)
{
	intent_free_auto char *parent = NULL;
	size_t end = strlen(path);
	struct stat st;

	if (!stat(path, &st))
		return S_ISDIR(st.st_mode) ? 0 :
		       intent_fail(err, INTENT_ENOTOURS, "%s: is in the way, not a directory", path);
	if (errno != ENOENT && errno != ENOTDIR)
		return intent_fail_errno(err, "%s: cannot make directory", path);
	while (end && path[end - 1] == '/')
		end--;
	while (end && path[end - 1] != '/')
		end--;
	while (end > 1 && path[end - 1] == '/')
		end--;
	parent = end ? strndup(path, end) : strdup(".");
	if (intent_directory_make(parent, mode, err) < 0)
		return err->code;
	if (make_one(path, mode) < 0)
		return intent_fail_errno(err, "%s: cannot make directory", path);
	return intent_directory_sync(parent, err);
}

int intent_link_read(const char *path, char **ret_owned, struct intent_error *err)
{
	char target[4097];
	ssize_t length = readlink(path, target, sizeof(target) - 1);

	if (length < 0 && (errno == ENOENT || errno == ENOTDIR))
		return intent_fail(err, INTENT_EABSENT, "%s: does not exist", path);
	if (length < 0 && errno == EINVAL)
		return intent_fail(err, INTENT_ENOTOURS, "%s: is not a symbolic link", path);
	if (length < 0)
		return intent_fail_errno(err, "%s: cannot read link", path);
	*ret_owned = strndup(target, (size_t)length);
	return 0;
}

int intent_link_set(const char *target, const char *path, bool *ret_changed, struct intent_error *err)
{
	intent_free_auto char *there = NULL;
	const char *name;
	char temp[256];
	int code = intent_link_read(path, &there, err);
	intent_close_auto int dirfd = -1;

	if (code < 0 && code != INTENT_EABSENT)
		return code;
	if (ret_changed)
		*ret_changed = false;
	if (!code && !strcmp(there, target))
		return 0;
	dirfd = intent__open_parent(path, &name, err);
	if (dirfd < 0)
		return dirfd;
	intent_temp_name(temp, "");
	if (symlinkat(target, dirfd, temp) < 0)
		return intent_fail_errno(err, "%s: cannot make link", path);
	if (renameat(dirfd, temp, dirfd, name) < 0) {
		intent_fail_errno(err, "%s: cannot set link", path);
		unlinkat(dirfd, temp, 0);
		return err->code;
	}
	if (ret_changed)
		*ret_changed = true;
	return fsync(dirfd) < 0 ? intent_fail_errno(err, "%s: cannot sync its directory", path) : 0;
}

int intent_file_remove(const char *path, struct intent_error *err)
{
	const char *name;
	intent_close_auto int dirfd = intent__open_parent(path, &name, err);

	if (dirfd == INTENT_EABSENT)
		return 0;
	if (dirfd < 0)
		return dirfd;
	if (unlinkat(dirfd, name, 0) < 0) {
		if (errno == ENOENT)
			return 0;
		return intent_fail_errno(err, "%s: cannot remove", path);
	}
	if (fsync(dirfd) < 0)
		return intent_fail_errno(err, "%s: cannot sync its directory", path);
	return 0;
}

int intent_file_lock(const char *path, int how, bool create, int *ret_fd, struct intent_error *err)
{
	/* Not blocking: a FIFO in the place of a lock file must not hold us up. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	/* Created only when missing: a round with nothing to do makes no mutating call. */
	if (fd < 0 && errno == ENOENT && create)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_CREAT, 0600);
	if (fd < 0 && errno == ENOENT)
		return intent_fail(err, INTENT_EABSENT, "%s: does not exist", path);
	if (fd < 0)
		return intent_fail_errno(err, "%s: cannot open to lock", path);
	while (flock(fd, how) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EWOULDBLOCK)
			intent_fail(err, INTENT_EBUSY, "%s: is locked by another process", path);
		else
			intent_fail_errno(err, "%s: cannot lock", path);
		close(fd);
		return err->code;
	}
	*ret_fd = fd;
	return 0;
}
