/*
 * Reading a directory store. What cannot be a document (a link, a fifo, too much, a file
 * that may not be read) is delivered as one that no schema accepts: it is one key's
 * trouble, and never looks like a key that is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <intent/file.h>

#include "dir.h"

/* Of one reading: more is not a store but a mistake. */
#define TOTAL_MAX ((size_t)1 << 30)
#define SESSIONS_MAX 4096

struct session {
	char id[64];
	int lives;
};

struct reader {
	int root;
	bool judge;                /* root judges who may have written a document */
	size_t skip;               /* of each key: the store's own prefix */
	const struct intent__dir_observer *observer;
	struct intent_snapshot *snapshot;
	char *buffer;              /* owned; INTENT__DIR_FILE_MAX + 1 */
	size_t total;
	struct session *sessions;  /* owned */
	size_t session_count;
	char key[INTENT_KEY_MAX + 2];
	char path[INTENT__DIR_PATH_MAX]; /* scratch */
	struct intent_error *err;
};

/* May its content run things as root? */
static bool is_powerful(const struct reader *reader, const char *key)
{
	key += strnlen(key, reader->skip);
	return (intent_starts_with(key, "clusters/") && intent_ends_with(key, "/deploy_config")) ||
	       intent_starts_with(key, "stacks/") || intent_starts_with(key, "jobs/") ||
	       intent_starts_with(key, "gates/") || intent_starts_with(key, "approvals/");
}

static bool is_loose_directory(const struct stat *st)
{
	return st->st_mode & S_IWOTH;
}

static bool is_loose_file(const struct stat *st)
{
	return st->st_uid != 0 || (st->st_mode & S_IWOTH) ||
	       ((st->st_mode & S_IWGRP) && st->st_gid != 0);
}

int intent__dir_session_lives(int root, const char *session)
{
	char path[sizeof(INTENT__DIR_META) + 80];
	intent_close_auto int fd = -1;

	snprintf(path, sizeof(path), INTENT__DIR_META "/sessions/%s", session);
	fd = openat(root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == EIO ? -errno : 0;
	return flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* One answer for the whole reading, so that a session's documents go together. */
static int session_lives(struct reader *reader, const char *id)
{
	struct session *session;

	for (size_t i = 0; i < reader->session_count; i++) {
		if (strcmp(reader->sessions[i].id, id) == 0)
			return reader->sessions[i].lives;
	}
	if (reader->session_count >= SESSIONS_MAX)
		return intent__dir_session_lives(reader->root, id);
	reader->sessions = reallocarray(reader->sessions, reader->session_count + 1, sizeof(*session));
	session = &reader->sessions[reader->session_count++];
	snprintf(session->id, sizeof(session->id), "%s", id);
	/* Told first: a watch must listen before the question is asked. */
	if (reader->observer && reader->observer->on_session)
		reader->observer->on_session(reader->root, id, reader->observer->data);
	session->lives = intent__dir_session_lives(reader->root, id);
	return session->lives;
}

static int add(struct reader *reader, const char *key, const struct intent__dir_document *document,
	       bool untrusted)
{
	reader->total += document->length;
	if (reader->total > TOTAL_MAX)
		return intent_fail(reader->err, INTENT_ETOOBIG,
				   "%s: the store holds more than 1 GiB there", key);
	intent_snapshot_add(reader->snapshot, key, document->value, document->length, document->revision,
			    document->session[0] ? document->session : NULL, untrusted);
	return 0;
}

/* "!" starts no JSON document. */
static int add_broken(struct reader *reader, const char *key, const struct stat *st,
		      const char *why)
{
	char value[128];
	struct intent__dir_document document = {
		.revision = st ? intent__dir_ctime(st) : 1,
		.value = value,
		.length = (size_t)snprintf(value, sizeof(value), "!%s", why),
	};

	return add(reader, key, &document, reader->judge && is_powerful(reader, key));
}

static int read_open_file(struct reader *reader, int fd, const struct stat *st, const char *key,
			  bool loose)
{
	struct intent__dir_document document;
	/* Not on to the end of the file: who lengthens it by hand will be heard of. */
	size_t room = st->st_size > INTENT__DIR_FILE_MAX ? INTENT__DIR_FILE_MAX + 1 :
							   (size_t)st->st_size;
	ssize_t count = intent__dir_slurp(fd, reader->buffer, room);
	int lives;

	if (count < 0) {
		errno = (int)-count;
		return intent__dir_errno(reader->err, "%s", key);
	}
	intent__dir_parse(reader->buffer, (size_t)count, intent__dir_ctime(st), &document);
	if (document.length > INTENT_VALUE_MAX)
		return add_broken(reader, key, st, "the file is longer than 512 KiB");
	lives = document.session[0] ? session_lives(reader, document.session) : 1;
	if (lives < 0) {
		errno = -lives;
		return intent__dir_errno(reader->err, "%s: session %s", key, document.session);
	}
	if (!lives)
		return 0;
	return add(reader, key, &document,
		   reader->judge && (loose || is_loose_file(st)) && is_powerful(reader, key));
}

/*
 * The file `name` in `directory` as `key`; *ret_directory: it is a directory (nothing added).
 * `type` is readdir()'s, or DT_UNKNOWN.
 */
static int read_file(struct reader *reader, int directory, const char *name, unsigned char type,
		     const char *key, bool loose, bool *ret_directory)
{
	struct stat st;
	intent_close_auto int fd = -1;

	/* Looked at first: opening a device could do anything. */
	if (type != DT_REG) {
		if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT || errno == ENOTDIR)
				return 0;
			return intent__dir_errno(reader->err, "%s", key);
		}
		*ret_directory = S_ISDIR(st.st_mode);
		if (*ret_directory)
			return 0;
		if (!S_ISREG(st.st_mode))
			return add_broken(reader, key, &st, "not a regular file");
	}
	fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 && (errno == EACCES || errno == ELOOP || errno == ENXIO))
		return add_broken(reader, key,
				  fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? NULL :
											   &st,
				  "the file may not be read");
	if (fd < 0 || fstat(fd, &st) < 0)
		return intent__dir_errno(reader->err, "%s", key);
	if (!S_ISREG(st.st_mode))
		return add_broken(reader, key, &st, "not a regular file");
	return read_open_file(reader, fd, &st, key, loose);
}

static int walk(struct reader *reader, int fd, size_t length, bool loose, bool top);

static void observe(const struct reader *reader, int fd, enum intent__dir_role role)
{
	if (reader->observer && reader->observer->on_directory)
		reader->observer->on_directory(fd, role, reader->observer->data);
}

static int enter(struct reader *reader, int parent, const char *name, size_t length, bool loose)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (fd < 0)
		return intent__dir_errno(reader->err, "%.*s", (int)length, reader->key);
	return walk(reader, fd, length, loose, false);
}

/* Is this the one spelling under which a get looks for reader->key? */
static bool is_canonical(struct reader *reader, const char *name)
{
	const char *slash;

	intent__dir_path(reader->key, reader->path);
	slash = strrchr(reader->path, '/');
	return strcmp(slash ? slash + 1 : reader->path, name) == 0;
}

/* One name of a directory whose keys start with the first `length` bytes of reader->key. */
static int visit(struct reader *reader, int directory, const struct dirent *entry, size_t length,
		 bool loose, bool top)
{
	bool continues = false, is_directory = false;
	int count, rc;

	if (entry->d_name[0] == '.')
		return 0;
	if (strcmp(entry->d_name, INTENT__DIR_SELF) == 0) {
		if (top || !length || reader->key[length - 1] != '/')
			return 0;
		reader->key[length - 1] = 0;
		rc = read_file(reader, directory, entry->d_name, entry->d_type, reader->key,
			       loose, &is_directory);
		reader->key[length - 1] = '/';
		return rc;
	}
	count = intent__dir_decode(entry->d_name, reader->key + length, INTENT_KEY_MAX - length,
				   &continues);
	if (count < 0)
		return 0;
	length += (size_t)count;
	reader->key[length] = 0;
	if (!continues && !is_canonical(reader, entry->d_name))
		return 0;
	if (!continues && entry->d_type != DT_DIR && length) {
		rc = read_file(reader, directory, entry->d_name, entry->d_type, reader->key,
			       loose, &is_directory);
		if (rc < 0 || !is_directory)
			return rc;
	}
	if (!continues)
		reader->key[length++] = '/';
	return length > INTENT_KEY_MAX ? 0 :
		enter(reader, directory, entry->d_name, length, loose);
}

/* All keys below a directory. Takes fd over. `top`: "%self" is not below it. */
static int walk(struct reader *reader, int fd, size_t length, bool loose, bool top)
{
	struct stat st;
	struct dirent *entry;
	DIR *directory;
	int rc = 0;

	observe(reader, fd, INTENT__DIR_CONTENT);
	directory = fstat(fd, &st) < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		rc = intent__dir_errno(reader->err, "%.*s", (int)length, reader->key);
		close(fd);
		return rc;
	}
	loose |= is_loose_directory(&st);
	for (;;) {
		errno = 0;
		entry = readdir(directory);
		if (!entry && errno)
			rc = intent__dir_errno(reader->err, "%.*s", (int)length, reader->key);
		if (!entry || rc < 0)
			break;
		rc = visit(reader, fd, entry, length, loose, top);
		if (rc < 0)
			break;
	}
	closedir(directory);
	return rc;
}

/*
 * Open all components of reader->path but the last. *ret_fd is -1 when one is missing.
 * Every level is observed before the next is looked for: what appears later is heard of.
 */
static int descend(struct reader *reader, const char **ret_last, int *ret_fd, bool *ret_loose)
{
	intent_close_auto int fd = openat(reader->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *at = reader->path, *slash;
	struct stat st;

	*ret_fd = -1;
	if (fd < 0 || fstat(fd, &st) < 0)
		return intent__dir_errno(reader->err, "the store's directory");
	*ret_loose = is_loose_directory(&st) || st.st_uid != 0;
	while ((slash = strchr(at, '/'))) {
		int next;

		*slash = 0;
		observe(reader, fd, INTENT__DIR_CHAIN);
		next = openat(fd, at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && reader->observer) {
			observe(reader, fd, INTENT__DIR_LAST);
			next = openat(fd, at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		}
		if (next < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
			return 0;
		if (next < 0)
			return intent__dir_errno(reader->err, "directory %s", at);
		close(fd);
		fd = next;
		at = slash + 1;
		if (fstat(fd, &st) < 0)
			return intent__dir_errno(reader->err, "directory %s", at);
		*ret_loose |= is_loose_directory(&st);
	}
	*ret_last = at;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static int collect_one(struct reader *reader, const char *key)
{
	intent_close_auto int fd = -1, self = -1;
	bool loose = false, is_directory = false;
	const char *last;
	struct stat st;

	intent__dir_path(key, reader->path);
	if (descend(reader, &last, &fd, &loose) < 0)
		return reader->err->code;
	if (fd < 0)
		return 0;
	if (read_file(reader, fd, last, DT_UNKNOWN, key, loose, &is_directory) < 0 || !is_directory)
		return reader->err->code;
	self = openat(fd, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (self < 0 || fstat(self, &st) < 0)
		return errno == ENOENT ? 0 : intent__dir_errno(reader->err, "%s", key);
	return read_file(reader, self, INTENT__DIR_SELF, DT_UNKNOWN, key,
			 loose || is_loose_directory(&st), &is_directory);
}

static int collect_all(struct reader *reader, const char *prefix)
{
	bool loose = false;
	const char *last;
	int fd = -1;

	/* The empty component after the last '/' is not a part of the directory's path. */
	intent__dir_path(prefix, reader->path);
	if (descend(reader, &last, &fd, &loose) < 0)
		return reader->err->code;
	if (fd < 0)
		return 0;
	memcpy(reader->key, prefix, strlen(prefix) + 1);
	return walk(reader, fd, strlen(prefix), loose, true);
}

int intent__dir_collect(int root, const char *key, bool exact, size_t skip,
			const struct intent__dir_observer *observer,
			struct intent_snapshot **ret_owned, struct intent_error *err)
{
	struct reader reader = {
		.root = root, .judge = geteuid() == 0, .skip = skip,
		.observer = observer, .err = err,
		.buffer = malloc(INTENT__DIR_FILE_MAX + 1), .snapshot = intent_snapshot_new(),
	};
	int rc;

	err->code = 0;
	rc = exact ? collect_one(&reader, key) : collect_all(&reader, key);
	free(reader.buffer);
	free(reader.sessions);
	if (rc < 0) {
		intent_snapshot_unref(reader.snapshot);
		return rc;
	}
	intent_snapshot_sort(reader.snapshot);
	for (size_t i = 0; i < reader.snapshot->count; i++) {
		if (reader.snapshot->entries[i].revision > reader.snapshot->revision)
			reader.snapshot->revision = reader.snapshot->entries[i].revision;
	}
	*ret_owned = reader.snapshot;
	return 0;
}
