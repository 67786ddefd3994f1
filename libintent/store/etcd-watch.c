/*
 * A watch on etcd: look (one small linearizable read tells the newest revision), list every
 * part that is not known at that revision, then one stream for all parts from there on.
 * Whatever ends the stream (a dead server, a clean end, an error within, compaction)
 * leads back to the look, and all parts are read again: events have been lost around
 * compaction even on live streams (etcd#19179).
 *
 * While the stream is open there is no timer.
 *
 * A server takes its time over each watch of a stream (a thousand of them take seconds), and every
 * list is a request. So beyond RANGES_MAX prefixes the parts are what several have in
 * common, and what nobody asked for is left out at delivery.
 */
#include "etcd.h"

#define RANGES_MAX 64
#define LINE_MAX_BYTES (16u << 20) /* longer: read again in pages */
#define GATHER_MS 2               /* a burst is one snapshot */
#define OPENING_MS 5000            /* for the first look, and the stream; a busy server needs a second */

struct slot {
	char *prefix;      /* owned */
	uint64_t next;     /* the revision to go on from; 0: list it first */
};

struct watch {
	struct intent__etcd *etcd;
	struct intent__watch_sink sink;
	struct intent__trouble trouble;
	struct intent__parts *parts;
	char **asked;                        /* what parts cover more than; NULL: they are just that */
	size_t asked_count;
	struct intent_snapshot *delivered;   /* where parts cover more */
	struct slot *slots;
	size_t count, acknowledged;
	uint64_t base;                       /* what the look said */
	struct intent__task *task;           /* look or list under way */
	struct intent_http_exchange *stream;
	struct intent__call call;            /* the stream's request */
	struct intent__lines lines;
	struct intent_error failure;         /* why a line ended the stream */
	uv_timer_t pause, gather;
	int handles;                         /* not yet closed */
	int64_t last_attempt;
	unsigned silences;                   /* attempts in a row that took all their time */
	bool stopped;
};

static void begin(struct watch *watch);

/* ---- delivering ---- */

/* Sorted, and none within another: only the last one not after the key can be its. */
static bool is_asked(const struct watch *watch, const char *key)
{
	size_t low = 0, high = watch->asked_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(watch->asked[middle], key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low && intent_starts_with(key, watch->asked[low - 1]);
}

static size_t drop_nested(char **sorted, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!kept || !intent_starts_with(sorted[i], sorted[kept - 1]))
			sorted[kept++] = sorted[i];
	return kept;
}

/* Only what was asked for, and only when that changed. `all` is stolen. */
static struct intent_snapshot *leave_out(struct watch *watch, struct intent_snapshot *all)
{
	struct intent_snapshot *asked = intent_snapshot_new();

	for (size_t i = 0; i < all->count; i++) {
		const struct intent_entry *e = &all->entries[i];

		if (is_asked(watch, e->key))
			intent_snapshot_add(asked, e->key, e->value, e->length, e->revision, e->session, e->untrusted);
	}
	asked->revision = all->revision;
	intent_snapshot_unref(all);
	if (watch->delivered && intent_snapshot_same(watch->delivered, asked))
		return intent_snapshot_unref(asked);
	intent_snapshot_unref(watch->delivered);
	watch->delivered = intent_snapshot_ref(asked);
	return asked;
}

static void on_gathered(uv_timer_t *timer)
{
	struct watch *watch = timer->data;

	if (watch->acknowledged == watch->count && (watch->stream || !watch->count))
		intent__trouble_over(&watch->trouble);
	if (watch->stopped)
		return;
	struct intent_snapshot *snapshot = intent__parts_take(watch->parts);

	if (snapshot && watch->asked)
		snapshot = leave_out(watch, snapshot);
	if (snapshot)
		watch->sink.on_snapshot(snapshot, watch->sink.data);
}

static void deliver(struct watch *watch, uint64_t after_ms)
{
	if (!uv_is_active((uv_handle_t *)&watch->gather))
		uv_timer_start(&watch->gather, on_gathered, after_ms, 0);
}

/* ---- ending and beginning again ---- */

/*
 * A member whose leader has just died takes a read and answers 7 s later, long after the
 * next leader is there. So the look is small and impatient, and patient only where
 * that does not help, and at first: nobody has seen anything that could be out of date, and --once has no second look.
 */
static int64_t patience(const struct watch *watch)
{
	if (!watch->base)
		return OPENING_MS;
	unsigned doublings = watch->silences < 5 ? 0 : watch->silences - 4;

	return (int64_t)1000 << (doublings < 3 ? doublings : 3);
}

static void abandon(struct watch *watch)
{
	intent__task_cancel(watch->task);
	watch->task = NULL;
	if (watch->stream)
		intent_http_cancel(watch->stream);
	watch->stream = NULL;
	intent__lines_release(&watch->lines);
	uv_timer_stop(&watch->pause);
}

static void on_pause_over(uv_timer_t *timer)
{
	begin(timer->data);
}

static void fail(struct watch *watch, const struct intent_error *err)
{
	struct intent_error copy = *err;

	abandon(watch);
	for (size_t i = 0; i < watch->count; i++)
		watch->slots[i].next = 0;
	if (!copy.code)
		(void)intent_fail(&copy, INTENT_EUNAVAILABLE, "%s", "the watch ended");
	if (intent_time_monotonic() - watch->last_attempt >= patience(watch))
		watch->silences++;
	uv_timer_start(&watch->pause, on_pause_over, intent__remote_pause(&watch->last_attempt), 0);
	intent__trouble_report(&watch->trouble, &copy);
}

/* ---- the stream ---- */

static int refuse(struct watch *watch, int code, const char *words, const char *more)
{
	return intent_fail(&watch->failure, code, "etcd's watch: %s%s%.200s", words, *more ? ": " : "", more);
}

static int take_events(struct watch *watch, const struct intent__etcd_message *message)
{
	struct intent_snapshot *fresh;
	size_t index = (size_t)message->watch;

	if (index >= watch->count)
		return refuse(watch, INTENT_EMALFORMED, "events of a watch that was not asked for", "");
	const struct intent_snapshot *old = intent__parts_get(watch->parts, index);

	if (!old)
		return refuse(watch, INTENT_EMALFORMED, "events before the list", "");
	if (intent__etcd_apply(old, message->events, &fresh, &watch->failure))
		return watch->failure.code;
	if (fresh->revision >= watch->slots[index].next)
		watch->slots[index].next = fresh->revision + 1;
	intent__parts_put(watch->parts, index, fresh);
	deliver(watch, GATHER_MS);
	return 0;
}

static int on_line(const char *line, size_t length, void *data)
{
	struct watch *watch = data;
	intent_json_auto json_t *root = NULL;
	struct intent__etcd_message message;
	enum intent__etcd_fate fate;

	if (intent__etcd_read_message(line, length, &root, &message, &fate, &watch->failure))
		return watch->failure.code;
	if (message.header.cluster[0] &&
	    !intent__etcd_trust(watch->etcd, &message.header, watch->base, &watch->failure))
		return watch->failure.code;
	if (message.canceled && message.compacted)
		return refuse(watch, INTENT_EUNAVAILABLE, "its revision was compacted", "");
	if (message.canceled)
		return refuse(watch, strstr(message.reason, "permission denied") ? INTENT_EREFUSED :
			      INTENT_EUNAVAILABLE, "canceled", message.reason);
	if (message.created && ++watch->acknowledged == watch->count) {
		uv_timer_stop(&watch->pause);
		watch->silences = 0;
		deliver(watch, 0); /* and say that trouble is over */
	}
	return json_array_size(message.events) ? take_events(watch, &message) : 0;
}

static int on_stream_body(const void *bytes, size_t count, void *data)
{
	struct watch *watch = data;

	watch->lines.limit = LINE_MAX_BYTES;
	int code = intent__lines_feed(&watch->lines, bytes, count, on_line, watch);

	if (code == INTENT_ETOOBIG && !watch->failure.code)
		return refuse(watch, INTENT_EUNAVAILABLE, "too many changes at once: reading again", "");
	return code;
}

static void on_stream_done(struct intent_http_exchange *exchange, struct intent_http_response *response,
			   bool sent, const struct intent_error *err, void *data)
{
	struct watch *watch = data;
	struct intent_error failure = watch->failure.code ? watch->failure : *err;
	intent_json_auto json_t *root = NULL;

	(void)exchange, (void)sent;
	watch->stream = NULL;
	if (!failure.code && response->status != 200) {
		enum intent__etcd_fate fate = intent__etcd_reply(response, false, &root, &failure);

		if (fate == INTENT__ETCD_PROBE)
			watch->etcd->apis[watch->etcd->remote.at] = NULL;
	}
	if (!failure.code)
		(void)intent_fail(&failure, INTENT_EUNAVAILABLE, "etcd's watch: the server ended it");
	/* Refused things are refused everywhere; all else may be this one member's trouble. */
	if (failure.code != INTENT_EREFUSED)
		intent__remote_next(&watch->etcd->remote);
	fail(watch, &failure);
}

static void on_opening_late(uv_timer_t *timer)
{
	struct watch *watch = timer->data;
	struct intent_error err;

	(void)intent_fail(&err, INTENT_EUNAVAILABLE, "etcd's watch: the server does not open it");
	intent__remote_next(&watch->etcd->remote);
	fail(watch, &err);
}

static void open_stream(struct watch *watch)
{
	struct intent__remote *remote = &watch->etcd->remote;
	const char *api = watch->etcd->apis[remote->at];
	const struct intent__stream stream = {
		.on_body = on_stream_body, .on_done = on_stream_done, .data = watch,
	};
	struct intent_error err;

	intent__call_release(&watch->call);
	watch->call.method = "POST";
	watch->call.has_body = true;
	intent_text_printf(&watch->call.path, "/%s/watch", api ? api : "v3");
	for (size_t i = 0; i < watch->count; i++)
		intent__etcd_create_watch(&watch->call.body, watch->slots[i].prefix, watch->slots[i].next);
	watch->acknowledged = 0;
	watch->failure = (struct intent_error){0};
	if (intent__remote_stream(remote, &watch->call, &stream, &watch->stream, &err)) {
		fail(watch, &err);
		return;
	}
	uv_timer_start(&watch->pause, on_opening_late, OPENING_MS, 0);
}

/* ---- looking and listing ---- */

static void list_next(struct watch *watch);

static void on_listed(struct intent__etcd_task *task, const struct intent_error *err)
{
	struct watch *watch = task->data;

	watch->task = NULL;
	if (err->code) {
		struct intent_error copy = *err;

		(void)intent_wrap(&copy, "list %s", task->key);
		fail(watch, &copy);
		return;
	}
	for (size_t i = 0; i < watch->count; i++) {
		if (strcmp(watch->slots[i].prefix, task->key))
			continue;
		intent__parts_put(watch->parts, i, task->snapshot);
		task->snapshot = NULL;
		watch->slots[i].next = watch->base + 1;
		break;
	}
	list_next(watch);
}

static void run(struct watch *watch, struct intent__etcd_task *task,
		void (*finished)(struct intent__etcd_task *, const struct intent_error *))
{
	struct intent_error err;

	task->finished = finished;
	task->data = watch;
	task->task.once = true;
	if (intent__task_start(&task->task, &err)) {
		intent__task_cancel(&task->task);
		fail(watch, &err);
		return;
	}
	watch->task = &task->task;
}

static void list_next(struct watch *watch)
{
	size_t i = 0;

	while (i < watch->count && watch->slots[i].next)
		i++;
	if (i == watch->count) {
		deliver(watch, 0);
		open_stream(watch);
		return;
	}
	struct intent__etcd_task *task = intent__etcd_list_task(watch->etcd, watch->slots[i].prefix, false);

	/* The look has seen it on this member: reading it again needs no quorum. */
	task->range.revision = watch->base;
	task->range.serializable = true;
	task->fixed = true;
	run(watch, task, on_listed);
}

static void on_looked(struct intent__etcd_task *task, const struct intent_error *err)
{
	struct watch *watch = task->data;

	watch->task = NULL;
	if (err->code) {
		fail(watch, err);
		return;
	}
	watch->base = task->revision;
	list_next(watch);
}

static void begin(struct watch *watch)
{
	if (!watch->count) {
		deliver(watch, 0);
		return;
	}
	watch->last_attempt = intent_time_monotonic();
	struct intent__etcd_task *task = intent__etcd_look_task(watch->etcd, watch->slots[0].prefix);

	task->timeout_ms = patience(watch);
	run(watch, task, on_looked);
}

/* ---- the engine's half of a watch ---- */

static void free_slots(struct slot *slots, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(slots[i].prefix);
	free(slots);
}

/* Slots follow the parts' order; what was known of a prefix stays known. */
static void make_slots(struct watch *watch)
{
	size_t count = intent__parts_count(watch->parts);
	struct slot *slots = calloc(count + 1, sizeof *slots);

	for (size_t i = 0; i < count; i++) {
		slots[i].prefix = strdup(intent__parts_prefix(watch->parts, i));
		for (size_t j = 0; j < watch->count; j++)
			if (!strcmp(watch->slots[j].prefix, slots[i].prefix))
				slots[i].next = watch->slots[j].next;
	}
	free_slots(watch->slots, watch->count);
	watch->slots = slots;
	watch->count = count;
}

/* The parts for these prefixes: themselves, or where there are too many what they have in common. */
static void make_parts(struct watch *watch, const char *const *prefixes)
{
	size_t count = 0;
	char **ranges = NULL, **asked = NULL;

	while (prefixes[count])
		count++;
	if (count > RANGES_MAX) {
		ranges = intent__prefixes_merge(prefixes, count, RANGES_MAX);
		asked = intent__prefixes_merge(prefixes, count, count); /* a copy */
	}
	intent__parts_set(watch->parts, ranges ? (const char *const *)ranges : prefixes);
	free(ranges);
	free(watch->asked);
	watch->asked = asked;
	watch->asked_count = asked ? drop_nested(asked, count) : 0;
	/* The ranges may be the ones from before; what is asked of them is not. */
	if (asked)
		intent__parts_renew(watch->parts);
	watch->delivered = intent_snapshot_unref(watch->delivered);
	make_slots(watch);
}

void intent__etcd_watch_set(void *data, const char *const *prefixes)
{
	struct watch *watch = data;

	make_parts(watch, prefixes);
	/* In trouble, the pause goes on; the next attempt is for the new set. */
	bool pausing = !watch->task && !watch->stream && uv_is_active((uv_handle_t *)&watch->pause);

	if (pausing)
		return;
	abandon(watch);
	begin(watch);
}

void intent__etcd_watch_refresh(void *data)
{
	struct watch *watch = data;
	bool pausing = !watch->task && !watch->stream && uv_is_active((uv_handle_t *)&watch->pause);

	if (pausing)
		return;
	abandon(watch);
	for (size_t i = 0; i < watch->count; i++)
		watch->slots[i].next = 0;
	begin(watch);
}

static void on_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	if (--watch->handles)
		return;
	intent__call_release(&watch->call);
	free_slots(watch->slots, watch->count);
	intent__parts_free(watch->parts);
	intent_snapshot_unref(watch->delivered);
	free(watch->asked);
	free(watch);
}

void intent__etcd_watch_stop(void *data)
{
	struct watch *watch = data;

	if (watch->stopped)
		return;
	watch->stopped = true;
	abandon(watch);
	uv_close((uv_handle_t *)&watch->pause, on_closed);
	uv_close((uv_handle_t *)&watch->gather, on_closed);
}

void *intent__etcd_watch_start(struct intent_store *store, const char *const *prefixes,
			       const struct intent__watch_sink *sink)
{
	struct watch *watch = calloc(1, sizeof *watch);

	watch->parts = intent__parts_new();
	watch->etcd = store->state;
	watch->sink = *sink;
	watch->trouble.sink = &watch->sink;
	uv_timer_init(watch->etcd->remote.loop, &watch->pause);
	uv_timer_init(watch->etcd->remote.loop, &watch->gather);
	watch->pause.data = watch->gather.data = watch;
	watch->handles = 2;
	make_parts(watch, prefixes);
	begin(watch);
	return watch;
}
