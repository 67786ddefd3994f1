/*
 * Watching a directory store. inotify only says when to look; what is delivered is always read
 * under the store's lock. Directories are armed before they are read, from the store's own
 * parents down, so nothing that happens later goes unheard; whatever cannot be armed is
 * looked at once a second instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <intent/file.h>

#include "dir.h"

#define PARENT (IN_DELETE_SELF | IN_MOVE_SELF) /* no IN_ATTRIB: it would tell of all in /tmp */
#define SELF (IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB)
#define LAST (SELF | IN_CREATE | IN_MOVED_TO)
#define CONTENT (LAST | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE)
#define SESSION IN_CLOSE_WRITE

#define BURST_MS 2        /* from the first event to the reading */
#define UNFINISHED_MS 100 /* a file that was made by hand and is not closed yet */
#define RETRY_LOCK_MS 5
#define POLL_MS 1000      /* where inotify does not reach */

#define EVERY INTENT__DIR_EVERY

enum { DIRTY = 1, RECHECK = 2 };

struct watch {
	struct intent__watch_sink sink;
	char *path;                  /* owned: the store may be closed first */
	size_t skip;
	struct intent__parts *parts;
	unsigned char *flags;        /* one a part */
	struct intent__dir_arms arms;
	bool deaf;                   /* something could not be armed */
	bool parents;                /* the store's parents must be armed again */
	bool stopped;
	bool troubled;
	struct intent_error trouble; /* what was told last */
	int64_t busy_since;          /* somebody else has held the lock, 0: no */
	int rechecks;
	size_t reading;              /* the part that is being read */
	uv_poll_t poll;
	uv_timer_t timer;
	int handles;                 /* to be closed before the memory goes */
};

static void on_timer(uv_timer_t *timer);

static void schedule(struct watch *watch, uint64_t ms)
{
	if (watch->stopped || (uv_is_active((uv_handle_t *)&watch->timer) &&
			       uv_timer_get_due_in(&watch->timer) <= ms))
		return;
	uv_timer_start(&watch->timer, on_timer, ms, 0);
}

static void mark(struct watch *watch, size_t part, unsigned char flags)
{
	for (size_t i = 0; i < intent__parts_count(watch->parts); i++) {
		if (part == EVERY || part == i)
			watch->flags[i] |= flags;
	}
	watch->parents |= part == EVERY;
}

/* ---- arms ---- */

static void arm(struct watch *watch, const char *path, size_t part, uint32_t mask)
{
	if (!intent__dir_arms_add(&watch->arms, path, part, mask))
		watch->deaf = true;
}

static void on_directory(int fd, enum intent__dir_role role, void *data)
{
	static const uint32_t masks[] = {
		[INTENT__DIR_CHAIN] = SELF,
		[INTENT__DIR_LAST] = LAST,
		[INTENT__DIR_CONTENT] = CONTENT,
	};
	struct watch *watch = data;
	char path[64];

	/* By descriptor: the very directory that is read, whatever its path means by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	arm(watch, path, watch->reading, masks[role]);
}

static void on_session(int root, const char *session, void *data)
{
	struct watch *watch = data;
	char path[160];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/" INTENT__DIR_META "/sessions/%s", root,
		 session);
	/* A session without a file is over; its documents are not there. */
	if (access(path, F_OK) == 0)
		arm(watch, path, watch->reading, SESSION);
}

/* The store's path, upwards: any of these directories may be moved away. */
static void arm_parents(struct watch *watch)
{
	char path[PATH_MAX];
	size_t length = strlen(watch->path);
	uint32_t mask = SELF;

	intent__dir_arms_drop(&watch->arms, EVERY);
	if (watch->arms.inotify < 0 || length >= sizeof(path))
		return;
	memcpy(path, watch->path, length + 1);
	while (length) {
		/* Not readable for us: then its moving is met by the next resync. */
		if (access(path, R_OK) == 0)
			arm(watch, path, EVERY, mask);
		while (length && path[length] != '/')
			length--;
		path[length] = 0;
		mask = PARENT;
	}
	watch->parents = false;
}

/* ---- events ---- */

static void on_event(struct watch *watch, const struct inotify_event *event)
{
	struct intent__dir_arm *arm =
		event->wd < 0 ? NULL : intent__dir_arms_find(&watch->arms, event->wd);
	bool named = event->len && event->name[0];

	if (event->mask & IN_Q_OVERFLOW) {
		mark(watch, EVERY, DIRTY);
		schedule(watch, BURST_MS);
		return;
	}
	if (!arm || (named && event->name[0] == '.'))
		return;
	for (size_t i = 0; i < arm->count; i++) {
		const struct intent__dir_ref *ref = &arm->refs[i];

		if (!(event->mask & (ref->mask | IN_IGNORED | IN_UNMOUNT)))
			continue;
		/* For a directory on the way, what happens to others in it is no news. */
		if (named && (ref->mask == SELF || ref->mask == PARENT))
			continue;
		mark(watch, ref->part, DIRTY);
		if (ref->mask == SESSION) {
			/* The kernel tells of the close before it lets go of the lock. */
			mark(watch, ref->part, RECHECK);
			watch->rechecks = 3;
		}
		schedule(watch, (event->mask & (IN_CREATE | IN_ISDIR)) == IN_CREATE ?
			 UNFINISHED_MS : BURST_MS);
	}
	if (event->mask & IN_IGNORED)
		intent__dir_arms_forget(&watch->arms, arm);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;
	_Alignas(struct inotify_event) char buffer[16384];
	ssize_t count;

	(void)status;
	(void)events;
	while ((count = read(watch->arms.inotify, buffer, sizeof(buffer))) > 0) {
		const struct inotify_event *event;

		for (char *at = buffer; at < buffer + count; at += sizeof(*event) + event->len) {
			event = (const struct inotify_event *)(void *)at;
			on_event(watch, event);
		}
	}
}

/* ---- reading ---- */

static void tell_trouble(struct watch *watch, const struct intent_error *err)
{
	if (watch->troubled && watch->trouble.code == err->code &&
	    strcmp(watch->trouble.msg, err->msg) == 0)
		return;
	watch->troubled = true;
	watch->trouble = *err;
	watch->sink.on_trouble(&watch->trouble, watch->sink.data);
}

static bool any_dirty(const struct watch *watch)
{
	for (size_t i = 0; i < intent__parts_count(watch->parts); i++) {
		if (watch->flags[i] & DIRTY)
			return true;
	}
	return false;
}

static int read_part(struct watch *watch, int root, size_t part, struct intent_error *err)
{
	const struct intent__dir_observer observer = {
		.on_directory = on_directory, .on_session = on_session, .data = watch,
	};
	struct intent_snapshot *snapshot;

	watch->reading = part;
	intent__dir_arms_drop(&watch->arms, part);
	if (intent__dir_collect(root, intent__parts_prefix(watch->parts, part), false, watch->skip,
				&observer, &snapshot, err) < 0)
		return err->code;
	snapshot->revision = intent__dir_last_revision(root) > snapshot->revision ?
		intent__dir_last_revision(root) : snapshot->revision;
	intent__parts_put(watch->parts, part, snapshot);
	watch->flags[part] &= (unsigned char)~DIRTY;
	return 0;
}

/* All dirty parts; INTENT_EBUSY: the lock is somebody else's just now. */
static int read_dirty(struct watch *watch, struct intent_error *err)
{
	intent_close_auto int root = -1;
	struct intent_error last = {0};

	if (watch->parents)
		arm_parents(watch);
	if (intent__dir_enter(watch->path, LOCK_SH, INTENT__DIR_LOOP_PATIENCE_MS, &root,
			      err) < 0) {
		watch->parents |= err->code != INTENT_EBUSY;
		return err->code;
	}
	/* One directory that may not be read is no reason to be blind to the others. */
	for (size_t i = 0; i < intent__parts_count(watch->parts); i++) {
		if ((watch->flags[i] & DIRTY) && read_part(watch, root, i, err) < 0)
			last = *err;
	}
	intent__dir_arms_sweep(&watch->arms);
	if (last.code)
		*err = last;
	return last.code;
}

/* Whether the round is over: false when the lock could not be had yet. */
static bool look(struct watch *watch)
{
	struct intent_error err = {0};
	int rc = any_dirty(watch) ? read_dirty(watch, &err) : 0;

	if (rc == INTENT_EBUSY) {
		int64_t now = intent_time_monotonic();

		if (!watch->busy_since)
			watch->busy_since = now;
		if (now - watch->busy_since < INTENT__DIR_PATIENCE_MS) {
			schedule(watch, RETRY_LOCK_MS);
			return false;
		}
		intent_fail(&err, INTENT_EUNAVAILABLE, "dir:%s: locked by another process for "
			    "more than %d s", watch->path, INTENT__DIR_PATIENCE_MS / 1000);
	}
	watch->busy_since = 0;
	if (rc < 0) {
		schedule(watch, intent__reconnect_delay());
		tell_trouble(watch, &err);
	} else if (watch->troubled) {
		watch->troubled = false;
		err = (struct intent_error){0};
		watch->sink.on_trouble(&err, watch->sink.data);
	}
	return true;
}

static void on_timer(uv_timer_t *timer)
{
	struct watch *watch = timer->data;
	struct intent_snapshot *snapshot;

	watch->deaf = watch->arms.inotify < 0;
	if (!look(watch) || watch->stopped)
		return;
	if (watch->rechecks) {
		watch->rechecks--;
		for (size_t i = 0; i < intent__parts_count(watch->parts); i++) {
			if (watch->flags[i] & RECHECK)
				watch->flags[i] = DIRTY | (watch->rechecks ? RECHECK : 0);
		}
		schedule(watch, watch->rechecks == 2 ? 20 : 200);
	}
	if (watch->deaf) {
		mark(watch, EVERY, DIRTY);
		schedule(watch, POLL_MS);
	}
	snapshot = intent__parts_take(watch->parts);
	if (snapshot)
		watch->sink.on_snapshot(snapshot, watch->sink.data);
}

/* ---- the engine's interface ---- */

static void on_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	if (--watch->handles > 0)
		return;
	intent__dir_arms_release(&watch->arms);
	free(watch->flags);
	free(watch->path);
	intent__parts_free(watch->parts);
	free(watch);
}

static void listen_on(struct watch *watch, uv_loop_t *loop)
{
	watch->arms.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->arms.inotify < 0)
		return;
	if (uv_poll_init(loop, &watch->poll, watch->arms.inotify) < 0) {
		close(watch->arms.inotify);
		watch->arms.inotify = -1;
		return;
	}
	watch->handles++;
	watch->poll.data = watch;
	uv_poll_start(&watch->poll, UV_READABLE, on_readable);
}

void *intent__dir_watch_start(struct intent_store *store, const char *const *prefixes,
			      const struct intent__watch_sink *sink)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	uv_timer_init(store->loop, &watch->timer);
	watch->handles = 1;
	watch->timer.data = watch;
	watch->arms.inotify = -1;
	watch->sink = *sink;
	watch->skip = strlen(store->prefix);
	watch->path = strdup(intent__dir_store_path(store));
	watch->parts = intent__parts_new();
	intent__dir_watch_set(watch, prefixes);
	listen_on(watch, store->loop);
	mark(watch, EVERY, DIRTY);
	return watch;
}

static size_t index_of(const struct intent__parts *parts, const char *prefix)
{
	for (size_t i = 0; i < intent__parts_count(parts); i++) {
		if (strcmp(intent__parts_prefix(parts, i), prefix) == 0)
			return i;
	}
	return EVERY;
}

/* Flags and refs under the parts' new numbers. `names` are the old parts' prefixes. */
static void renumber(struct watch *watch, char *const *names, size_t count, unsigned char *flags,
		     size_t *to)
{
	size_t fresh = intent__parts_count(watch->parts);

	for (size_t i = 0; i < fresh; i++)
		flags[i] = intent__parts_get(watch->parts, i) ? 0 : DIRTY;
	for (size_t i = 0; i < count; i++) {
		to[i] = index_of(watch->parts, names[i]);
		if (to[i] != EVERY)
			flags[to[i]] |= watch->flags[i];
	}
	intent__dir_arms_renumber(&watch->arms, to);
}

static void free_names(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

void intent__dir_watch_set(void *data, const char *const *prefixes)
{
	struct watch *watch = data;
	size_t count = intent__parts_count(watch->parts), most = 0;
	char **names = calloc(count + 1, sizeof(*names));
	intent_free_auto size_t *to = calloc(count + 1, sizeof(*to));
	unsigned char *flags;

	while (prefixes[most])
		most++;
	flags = calloc(most + 1, 1);
	for (size_t i = 0; i < count; i++)
		names[i] = strdup(intent__parts_prefix(watch->parts, i));
	intent__parts_set(watch->parts, prefixes);
	renumber(watch, names, count, flags, to);
	free_names(names, count);
	free(watch->flags);
	watch->flags = flags;
	schedule(watch, 0);
}

void intent__dir_watch_refresh(void *data)
{
	struct watch *watch = data;

	mark(watch, EVERY, DIRTY);
	schedule(watch, 0);
}

void intent__dir_watch_stop(void *data)
{
	struct watch *watch = data;

	watch->stopped = true;
	uv_close((uv_handle_t *)&watch->timer, on_closed);
	if (watch->handles == 2)
		uv_close((uv_handle_t *)&watch->poll, on_closed);
}
