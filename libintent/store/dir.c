/* The directory engine: see dir.h for what lies where. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <intent/file.h>

#include "dir.h"

struct session {
	struct session *next;
	char id[40];
	int fd;                    /* locked: its being open is the session */
};

enum request_kind { REQUEST_TXN, REQUEST_OPEN, REQUEST_RENEW, REQUEST_CLOSE };

/* What was started on the loop and is done by the timer. */
struct request {
	struct request *next;
	enum request_kind kind;
	struct intent_op *ops;     /* owned, with all they point at in one block */
	size_t count;
	char session[64];
	int64_t since;             /* when it was asked for */
	intent_store_done on_done;
	void *data;
};

struct state {
	char *path;                /* absolute */
	size_t skip;               /* strlen(store->prefix) */
	struct session *sessions;
	struct intent_store *store; /* NULL once closed */
	struct request *requests, **tail;
	int64_t busy_since;        /* the lock, for the first of them; 0: it was to be had */
	uv_timer_t timer;          /* of the loop, when attached */
};

const char *intent__dir_store_path(const struct intent_store *store)
{
	return ((const struct state *)store->state)->path;
}

/* ---- open and close ---- */

/* Absolute, without "//" and a '/' at its end: the process may change its directory. */
static char *absolute(const char *path)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	char here[PATH_MAX];

	if (*path != '/') {
		if (!getcwd(here, sizeof(here)))
			return NULL;
		intent_text_puts(&out, here);
	}
	while (*path) {
		size_t count = strcspn(path, "/");

		if (count && !(count == 1 && *path == '.'))
			intent_text_printf(&out, "/%.*s", (int)count, path);
		path += count + (path[count] == '/');
	}
	if (!out.length)
		intent_text_puts(&out, "/");
	return intent_text_steal(&out);
}

static int dir_open(struct intent_store *store, const char *url, const char *rest,
		    struct intent_error *err)
{
	struct state *state;

	if (!*rest)
		return intent_fail(err, INTENT_EUSAGE, "%s: needs a path, as in dir:/var/lib/"
				   "platypus/store", url);
	state = calloc(1, sizeof(*state));
	state->path = absolute(rest);
	if (!state->path) {
		free(state);
		return intent_fail_errno(err, "%s: there is no current directory; give an absolute path", url);
	}
	store->name = intent_format("dir:%s", state->path);
	state->store = store;
	state->skip = strlen(store->prefix);
	state->tail = &state->requests;
	store->state = state;
	return 0;
}

static void free_state(struct state *state)
{
	while (state->requests) {
		struct request *request = state->requests;

		state->requests = request->next;
		free(request->ops);
		free(request);
	}
	free(state->path);
	free(state);
}

static void on_closed(uv_handle_t *handle)
{
	free_state(handle->data);
}

static void dir_close(struct intent_store *store)
{
	struct state *state = store->state;

	while (state->sessions) {
		struct session *session = state->sessions;

		state->sessions = session->next;
		close(session->fd);
		free(session);
	}
	state->store = NULL;
	store->state = NULL;
	if (store->loop)
		uv_close((uv_handle_t *)&state->timer, on_closed);
	else
		free_state(state);
}

int intent__dir_init(const char *path, struct intent_error *err)
{
	intent_free_auto char *whole = *path ? absolute(path) : NULL;

	if (!whole)
		return intent_fail(err, INTENT_EUSAGE, "dir:%s: needs a path, as in dir:/var/lib/"
				   "platypus/store", path);
	if (intent_directory_make(whole, 0755, err) < 0)
		return intent_wrap(err, "dir:%s", whole);
	return 0;
}

/* ---- reading and writing; patience: how long to wait for the lock ---- */

static int enter(const struct state *state, int how, int64_t patience_ms, int *ret_root,
		 struct intent_error *err)
{
	int rc = intent__dir_enter(state->path, how, patience_ms, ret_root, err);

	/* After all the patience, a lock that does not come is trouble of the store. */
	if (rc == INTENT_EBUSY && patience_ms == INTENT__DIR_PATIENCE_MS)
		rc = err->code = INTENT_EUNAVAILABLE;
	return rc;
}

static int dir_read(struct intent_store *store, const char *key, bool exact,
		    enum intent_consistency consistency, struct intent_snapshot **ret_owned,
		    struct intent_error *err)
{
	const struct state *state = store->state;
	intent_close_auto int root = -1;
	uint64_t last;

	(void)consistency;
	if (enter(state, LOCK_SH, INTENT__DIR_PATIENCE_MS, &root, err) < 0 ||
	    intent__dir_collect(root, key, exact, state->skip, NULL, ret_owned, err) < 0)
		return err->code;
	last = intent__dir_last_revision(root);
	if (last > (*ret_owned)->revision)
		(*ret_owned)->revision = last;
	return 0;
}

static int transact(const struct state *state, const struct intent_op *ops, size_t count,
		    int64_t patience_ms, uint64_t *ret_revision, struct intent_error *err)
{
	intent_close_auto int root = -1;

	if (enter(state, LOCK_EX, patience_ms, &root, err) < 0)
		return err->code;
	return intent__dir_transact(root, ops, count, ret_revision, err);
}

static int dir_txn(struct intent_store *store, const struct intent_op *ops, size_t count,
		   uint64_t *ret_revision, struct intent_error *err)
{
	return transact(store->state, ops, count, INTENT__DIR_PATIENCE_MS, ret_revision, err);
}

/* ---- sessions ---- */

static int new_id(char out[40], struct intent_error *err)
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return intent_fail_errno(err, "random numbers");
	intent_hex(out, bytes, sizeof(bytes));
	return 0;
}

/* Under the exclusive lock, so that nobody sees the file before it is locked. */
static int make_session(int root, struct session *session, struct intent_error *err)
{
	intent_close_auto int meta = -1, directory = -1;
	struct stat st;

	if (intent__dir_meta(root, &meta, err) < 0 || new_id(session->id, err) < 0)
		return err->code;
	if (fstat(meta, &st) < 0 ||
	    (mkdirat(meta, "sessions", 0755) < 0 && errno != EEXIST))
		return intent__dir_errno(err, "make " INTENT__DIR_META "/sessions");
	directory = openat(meta, "sessions", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (directory < 0)
		return intent__dir_errno(err, INTENT__DIR_META "/sessions");
	/* Not ours to set: then it was set by who made it. */
	if (fchmod(directory, st.st_mode & 07777) < 0 && errno != EPERM)
		return intent__dir_errno(err, INTENT__DIR_META "/sessions");
	session->fd = openat(directory, session->id, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW |
			     O_CLOEXEC, 0644);
	if (session->fd < 0)
		return intent__dir_errno(err, INTENT__DIR_META "/sessions/%s", session->id);
	if (fchmod(session->fd, 0644) < 0 || flock(session->fd, LOCK_EX | LOCK_NB) < 0) {
		intent__dir_errno(err, INTENT__DIR_META "/sessions/%s", session->id);
		close(session->fd);
		unlinkat(directory, session->id, 0);
		return err->code;
	}
	return 0;
}

static int open_session(struct state *state, int64_t patience_ms, const char **ret_id,
			struct intent_error *err)
{
	intent_close_auto int root = -1;
	struct session *session;

	if (enter(state, LOCK_EX, patience_ms, &root, err) < 0)
		return err->code;
	session = calloc(1, sizeof(*session));
	if (make_session(root, session, err) < 0) {
		free(session);
		return err->code;
	}
	session->next = state->sessions;
	state->sessions = session;
	*ret_id = session->id;
	return 0;
}

static int renew_session(const struct state *state, const char *id, int64_t patience_ms,
			 struct intent_error *err)
{
	intent_close_auto int root = -1;

	if (enter(state, LOCK_SH, patience_ms, &root, err) < 0)
		return err->code;
	if (strchr(id, '/') || strlen(id) >= 64 || intent__dir_session_lives(root, id) == 0)
		return intent_fail(err, INTENT_EABSENT,
				   "session %.64s is gone; open another one", id);
	return 0;
}

static struct session **find_session(struct state *state, const char *id)
{
	struct session **at = &state->sessions;

	while (*at && strcmp((*at)->id, id) != 0)
		at = &(*at)->next;
	return at;
}

/* Its documents go; when that cannot be done now, unlocked means ignored all the same. */
static int close_session(struct state *state, const char *id, int64_t patience_ms,
			 struct intent_error *err)
{
	intent_close_auto int root = -1, meta = -1;
	struct session **at = find_session(state, id), *session = *at;

	if (strchr(id, '/') || strlen(id) >= 64)
		return 0;
	if (enter(state, LOCK_EX, patience_ms, &root, err) < 0 ||
	    intent__dir_meta(root, &meta, err) < 0)
		return err->code;
	if (!session && intent__dir_session_lives(root, id) != 0)
		return intent_fail(err, INTENT_EREFUSED, "session %s belongs to another process; "
				   "end that process", id);
	if (session) {
		*at = session->next;
		close(session->fd);
		free(session);
	}
	intent__dir_session_sweep(root, meta, id);
	return 0;
}

static int dir_session_open(struct intent_store *store, int64_t ttl_ms, char **ret_id_owned,
			    struct intent_error *err)
{
	const char *id;

	(void)ttl_ms;
	if (open_session(store->state, INTENT__DIR_PATIENCE_MS, &id, err) < 0)
		return err->code;
	*ret_id_owned = strdup(id);
	return 0;
}

static int dir_session_renew(struct intent_store *store, const char *id, struct intent_error *err)
{
	return renew_session(store->state, id, INTENT__DIR_PATIENCE_MS, err);
}

static int dir_session_close(struct intent_store *store, const char *id, struct intent_error *err)
{
	return close_session(store->state, id, INTENT__DIR_PATIENCE_MS, err);
}

/* ---- on a loop ---- */

/* Done in the loop's own thread: a few synced files, and no thread is ever started. */
static int perform(struct state *state, const struct request *request, uint64_t *ret_revision,
		   const char **ret_session, struct intent_error *err)
{
	const int64_t patience = INTENT__DIR_LOOP_PATIENCE_MS;

	switch (request->kind) {
	case REQUEST_TXN:
		return transact(state, request->ops, request->count, patience, ret_revision, err);
	case REQUEST_OPEN:
		return open_session(state, patience, ret_session, err);
	case REQUEST_RENEW:
		*ret_session = request->session;
		return renew_session(state, request->session, patience, err);
	case REQUEST_CLOSE:
		*ret_session = request->session;
		return close_session(state, request->session, patience, err);
	}
	return -EINVAL;
}

/* The time in which others of ours were written, to a slow disk, was no waiting for the lock. */
static bool may_wait(struct state *state, const struct request *request)
{
	int64_t now = intent_time_monotonic();

	if (!state->busy_since)
		state->busy_since = now;
	return now < INTENT__DIR_PATIENCE_MS +
		(request->since > state->busy_since ? request->since : state->busy_since);
}

static void on_timer(uv_timer_t *timer)
{
	struct state *state = timer->data;

	while (state->store && state->requests) {
		struct request *request = state->requests;
		struct intent_error err = {0};
		const char *session = NULL;
		uint64_t revision = 0;
		int rc = perform(state, request, &revision, &session, &err);

		if (rc == INTENT_EBUSY && may_wait(state, request)) {
			uv_timer_start(timer, on_timer, 5, 0);
			return;
		}
		if (rc == INTENT_EBUSY)
			err.code = INTENT_EUNAVAILABLE;
		else
			state->busy_since = 0;
		if (rc == 0)
			err.code = 0;
		state->requests = request->next;
		if (!state->requests)
			state->tail = &state->requests;
		request->on_done(state->store, revision, session, &err, request->data);
		free(request->ops);
		free(request);
	}
}

static void dir_attach(struct intent_store *store, uv_loop_t *loop)
{
	struct state *state = store->state;

	uv_timer_init(loop, &state->timer);
	state->timer.data = state;
}

/* Takes ops over. */
static void enqueue(struct intent_store *store, enum request_kind kind, struct intent_op *ops,
		    size_t count, const char *session, intent_store_done on_done, void *data)
{
	struct state *state = store->state;
	struct request *request = calloc(1, sizeof(*request));

	request->kind = kind;
	request->ops = ops;
	request->count = count;
	snprintf(request->session, sizeof(request->session), "%s", session ? session : "");
	request->since = intent_time_monotonic();
	request->on_done = on_done;
	request->data = data;
	*state->tail = request;
	state->tail = &request->next;
	if (!uv_is_active((uv_handle_t *)&state->timer))
		uv_timer_start(&state->timer, on_timer, 0, 0);
}

static const char *copy_bytes(char **at, const void *bytes, size_t count)
{
	char *copy = *at;

	memcpy(copy, bytes, count);
	*at += count;
	return copy;
}

/* Operations and all they point at, in one block. */
static struct intent_op *copy_ops(const struct intent_op *ops, size_t count)
{
	size_t size = count * sizeof(*ops);
	struct intent_op *copy;
	char *at;

	for (size_t i = 0; i < count; i++)
		size += strlen(ops[i].key) + 1 + ops[i].length +
			(ops[i].session ? strlen(ops[i].session) + 1 : 0);
	copy = malloc(size);
	at = (char *)(copy + count);
	for (size_t i = 0; i < count; i++) {
		copy[i] = ops[i];
		copy[i].key = copy_bytes(&at, ops[i].key, strlen(ops[i].key) + 1);
		if (ops[i].session)
			copy[i].session = copy_bytes(&at, ops[i].session,
						     strlen(ops[i].session) + 1);
		if (ops[i].length)
			copy[i].value = copy_bytes(&at, ops[i].value, ops[i].length);
	}
	return copy;
}

static int dir_txn_start(struct intent_store *store, const struct intent_op *ops, size_t count,
			 intent_store_done on_done, void *data, struct intent_error *err)
{
	(void)err;
	enqueue(store, REQUEST_TXN, copy_ops(ops, count), count, NULL, on_done, data);
	return 0;
}

static int dir_session_open_start(struct intent_store *store, int64_t ttl_ms,
				  intent_store_done on_done, void *data, struct intent_error *err)
{
	(void)ttl_ms;
	(void)err;
	enqueue(store, REQUEST_OPEN, NULL, 0, NULL, on_done, data);
	return 0;
}

static int dir_session_renew_start(struct intent_store *store, const char *id,
				   intent_store_done on_done, void *data, struct intent_error *err)
{
	(void)err;
	enqueue(store, REQUEST_RENEW, NULL, 0, id, on_done, data);
	return 0;
}

static int dir_session_close_start(struct intent_store *store, const char *id,
				   intent_store_done on_done, void *data, struct intent_error *err)
{
	(void)err;
	enqueue(store, REQUEST_CLOSE, NULL, 0, id, on_done, data);
	return 0;
}

const struct intent__engine intent__engine_dir = {
	.scheme = "dir:",
	.open = dir_open,
	.close = dir_close,
	.read = dir_read,
	.txn = dir_txn,
	.session_open = dir_session_open,
	.session_renew = dir_session_renew,
	.session_close = dir_session_close,
	.session_beats = false,
	.attach = dir_attach,
	.txn_start = dir_txn_start,
	.session_open_start = dir_session_open_start,
	.session_renew_start = dir_session_renew_start,
	.session_close_start = dir_session_close_start,
	.watch_start = intent__dir_watch_start,
	.watch_set = intent__dir_watch_set,
	.watch_refresh = intent__dir_watch_refresh,
	.watch_stop = intent__dir_watch_stop,
};
