/* A transaction on a directory store, under its exclusive lock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <intent/file.h>

#include "dir.h"

#define SESSION_FILE_MAX (4u << 20)

/* ---- sessions ---- */

static bool session_is_valid(const char *id)
{
	return *id && strlen(id) < 64 &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ==
	       strlen(id);
}

/* The lines of a session's file: owned; NULL when it cannot be read. */
static char *session_keys(int meta, const char *id)
{
	char path[80], *text;
	intent_close_auto int fd = -1;
	struct stat st;
	ssize_t count;

	snprintf(path, sizeof(path), "sessions/%s", id);
	fd = openat(meta, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > SESSION_FILE_MAX)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	count = intent__dir_slurp(fd, text, (size_t)st.st_size);
	if (count < 0) {
		free(text);
		return NULL;
	}
	text[count] = 0;
	return text;
}

static bool has_line(const char *text, const char *line)
{
	size_t length = strlen(line);

	while (text && *text) {
		size_t count = strcspn(text, "\n");

		if (count == length && memcmp(text, line, length) == 0)
			return true;
		text += count + (text[count] == '\n');
	}
	return false;
}

/* Note the key in its session's file, for who sweeps it; once, as closing it wakes watchers. */
static int note_key(int root, int meta, const char *id, const char *key, struct intent_error *err)
{
	intent_free_auto char *keys = NULL;
	char path[80], line[INTENT_KEY_MAX + 2];
	intent_close_auto int fd = -1;
	int rc;

	if (!session_is_valid(id) || intent__dir_session_lives(root, id) == 0)
		return intent_fail(err, INTENT_EABSENT,
				   "%s: session %.64s is gone; open another one", key, id);
	keys = session_keys(meta, id);
	if (has_line(keys, key))
		return 0;
	snprintf(path, sizeof(path), "sessions/%s", id);
	fd = openat(meta, path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return intent__dir_errno(err, "session %s", id);
	snprintf(line, sizeof(line), "%s\n", key);
	rc = intent_write_all(fd, line, strlen(line));
	if (rc < 0) {
		errno = -rc;
		return intent__dir_errno(err, "session %s", id);
	}
	return 0;
}

/* Is the key's document bound to this session? 1, 0, or -errno: it cannot be told. */
static int is_bound(int root, const char *key, const char *id)
{
	char path[INTENT__DIR_PATH_MAX], head[INTENT__DIR_HEADER_MAX];
	struct intent__dir_document document;
	intent_close_auto int fd = -1;
	const char *name;
	ssize_t count;
	int directory;

	int rc = intent__dir_locate(root, key, path, &directory, &name);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	rc = fd < 0 ? -errno : 0;
	close(directory);
	if (rc < 0)
		return rc == -EIO ? rc : 0;
	count = intent__dir_slurp(fd, head, sizeof(head));
	if (count < 0)
		return (int)count;
	intent__dir_parse(head, (size_t)count, 1, &document);
	return strcmp(document.session, id) == 0;
}

void intent__dir_session_sweep(int root, int meta, const char *session)
{
	intent_free_auto char *keys = session_keys(meta, session);
	char path[80], *line, *rest = keys;
	struct intent_error ignored;

	/* What its documents are is not known: they stay ignored, and the next writer tries again. */
	if (!keys && errno == EIO)
		return;
	while (rest && *rest) {
		line = strsep(&rest, "\n");
		int bound = intent__key_check(line, &ignored) < 0 ? 0 : is_bound(root, line, session);

		/* What is left stays listed: the next writer tries again. */
		if (bound < 0 || (bound && intent__dir_unlink(root, line, false) < 0))
			return;
	}
	snprintf(path, sizeof(path), "sessions/%s", session);
	unlinkat(meta, path, 0);
}

static void sweep_sessions(int root, int meta)
{
	int fd = openat(meta, "sessions", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		if (session_is_valid(entry->d_name) &&
		    intent__dir_session_lives(root, entry->d_name) == 0)
			intent__dir_session_sweep(root, meta, entry->d_name);
	}
	if (directory)
		closedir(directory);
	else if (fd >= 0)
		close(fd);
}

/* ---- transactions ---- */

/* The revision of a key, 0 when it is absent. */
static int revision_of(int root, const char *key, uint64_t *ret_revision, struct intent_error *err)
{
	struct intent_snapshot *snapshot;

	if (intent__dir_collect(root, key, true, 0, NULL, &snapshot, err) < 0)
		return err->code;
	*ret_revision = snapshot->count ? snapshot->entries[0].revision : 0;
	intent_snapshot_unref(snapshot);
	return 0;
}

static int compare(int root, const struct intent_op *op, struct intent_error *err)
{
	uint64_t revision = 0;

	if (revision_of(root, op->key, &revision, err) < 0)
		return err->code;
	if (revision == op->revision)
		return 0;
	if (!op->revision)
		return intent_fail(err, INTENT_ECONFLICT, "key %s: exists already", op->key);
	if (!revision)
		return intent_fail(err, INTENT_ECONFLICT, "key %s: is gone", op->key);
	return intent_fail(err, INTENT_ECONFLICT, "key %s: was changed by somebody else; read it "
			   "again", op->key);
}

/* All compares, then what exists: *ret_floor is above no revision of what is written. */
static int judge(int root, const struct intent_op *ops, size_t count, bool *needed,
		 uint64_t *ret_floor, struct intent_error *err)
{
	*ret_floor = 0;
	for (size_t i = 0; i < count; i++) {
		if (ops[i].kind == INTENT_OP_CHECK && compare(root, &ops[i], err) < 0)
			return err->code;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t revision = 0;

		needed[i] = false;
		if (ops[i].kind == INTENT_OP_CHECK)
			continue;
		if (revision_of(root, ops[i].key, &revision, err) < 0)
			return err->code;
		needed[i] = ops[i].kind == INTENT_OP_PUT || revision;
		if (revision > *ret_floor)
			*ret_floor = revision;
	}
	return 0;
}

static int stage_all(int root, int meta, const struct intent_op *ops, const bool *needed,
		     size_t count, uint64_t revision, struct intent__dir_changes *changes,
		     struct intent_error *err)
{
	for (size_t i = 0; i < count; i++) {
		intent_text_auto struct intent_text file = INTENT_TEXT_INIT;
		bool put = ops[i].kind == INTENT_OP_PUT;

		if (!needed[i])
			continue;
		if (put && ops[i].session && note_key(root, meta, ops[i].session, ops[i].key, err) < 0)
			return err->code;
		if (put)
			intent__dir_compose(&file, revision, ops[i].session, ops[i].value,
					    ops[i].length);
		if (intent__dir_stage(meta, changes, ops[i].key, put ? &file : NULL, err) < 0)
			return err->code;
	}
	return 0;
}

int intent__dir_transact(int root, const struct intent_op *ops, size_t count,
			 uint64_t *ret_revision, struct intent_error *err)
{
	intent_free_auto struct intent__dir_changes *changes = calloc(1, sizeof(*changes));
	intent_close_auto int meta = -1;
	bool needed[INTENT_TXN_MAX], any = false;
	uint64_t floor = 0, revision = 0;

	if (judge(root, ops, count, needed, &floor, err) < 0)
		return err->code;
	for (size_t i = 0; i < count; i++)
		any |= needed[i];
	if (!any) {
		*ret_revision = intent__dir_last_revision(root);
		return 0;
	}
	if (intent__dir_meta(root, &meta, err) < 0)
		return err->code;
	intent__dir_stage_sweep(meta);
	sweep_sessions(root, meta);
	if (intent__dir_next_revision(root, meta, floor, &revision, err) < 0)
		return err->code;
	if (stage_all(root, meta, ops, needed, count, revision, changes, err) < 0) {
		intent__dir_stage_sweep(meta);
		return err->code;
	}
	if (intent__dir_commit(root, meta, changes, err) < 0)
		return err->code;
	*ret_revision = revision;
	return 0;
}
