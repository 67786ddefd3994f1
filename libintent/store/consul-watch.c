/*
 * A watch on Consul: one blocking query for each prefix, or, where there are more than
 * connections, for what several have in common.
 *
 * A query's index is only worth something on the server's history that it came from: after any
 * failure, and when it falls, the next read is a consistent one without index. (Consumers that
 * keep it miss updates for minutes: the server waits until its own index passes the old one.)
 *
 * While one query fails all that have failed wait: one of them tries, at most once a second, and when it
 * succeeds the others follow at once.
 */
#include "consul.h"

#define GATHER_MS 2        /* a burst is one snapshot */
#define MISSING_MS 5000     /* a prefix without keys wakes on writes near it */
#define IDLE_WAKE_MS 1000   /* so does a query for several prefixes, and a server that does not wait */
#define BUSY_WAKE_MS 50

struct query {
	struct watch *watch;
	char *prefix;                /* borrowed from watch->prefixes */
	struct intent__task *task;
	uint64_t index;              /* 0: read now, consistently */
	int64_t armed, due;          /* when the last read began; when the next may */
	bool down, blocking;
};

struct watch {
	struct intent__consul *consul;
	struct intent__watch_sink sink;
	struct intent__trouble trouble;
	struct intent__parts *parts;
	char **prefixes;             /* of the queries; one block */
	struct query *queries;
	size_t count;
	uv_timer_t timer, gather;
	int handles;
	int64_t last_attempt, retry; /* when the one of the failed may try again */
	bool stopped;
};

static void schedule(struct watch *watch);

/* ---- delivering ---- */

static void on_gathered(uv_timer_t *timer)
{
	struct watch *watch = timer->data;
	bool down = false;

	for (size_t i = 0; i < watch->count; i++)
		down = down || watch->queries[i].down;
	if (!down)
		intent__trouble_over(&watch->trouble);
	if (watch->stopped)
		return;
	struct intent_snapshot *snapshot = intent__parts_take(watch->parts);

	if (snapshot)
		watch->sink.on_snapshot(snapshot, watch->sink.data);
}

static void deliver(struct watch *watch, uint64_t after_ms)
{
	if (!uv_is_active((uv_handle_t *)&watch->gather))
		uv_timer_start(&watch->gather, on_gathered, after_ms, 0);
}

/* What of a query's answer belongs to one part; true: it is not what was there. */
static bool put_part(struct watch *watch, size_t index, const struct intent_snapshot *whole)
{
	const struct intent_snapshot *old = intent__parts_get(watch->parts, index);
	struct intent_snapshot *part = intent_snapshot_new();
	size_t count;
	const struct intent_entry *entry = intent_snapshot_range(whole, intent__parts_prefix(watch->parts, index),
								 &count);

	part->revision = whole->revision;
	for (size_t i = 0; i < count; i++)
		intent__snapshot_share(part, &entry[i]);
	bool changed = !old || !intent_snapshot_same(old, part);

	intent__parts_put(watch->parts, index, part);
	return changed;
}

static bool put_parts(struct query *query, const struct intent_snapshot *whole)
{
	struct watch *watch = query->watch;
	bool changed = false;

	for (size_t i = 0; i < intent__parts_count(watch->parts); i++)
		if (intent_starts_with(intent__parts_prefix(watch->parts, i), query->prefix))
			changed |= put_part(watch, i, whole);
	return changed;
}

/* ---- a query ---- */

static void fail(struct query *query, const struct intent_error *err)
{
	struct watch *watch = query->watch;
	struct intent_error copy = *err;

	if (!copy.code)
		(void)intent_fail(&copy, INTENT_EUNAVAILABLE, "no answer");
	query->down = true;
	query->index = 0;
	/* Those that fail along with the first wait as long as it does. */
	if (watch->retry <= intent_time_monotonic())
		watch->retry = intent_time_monotonic() + (int64_t)intent__remote_pause(&watch->last_attempt);
	schedule(watch);
	/* Twelve queries that fail together are one trouble. */
	if (watch->trouble.last.code != copy.code)
		intent__trouble_report(&watch->trouble, &copy);
}

/* When to ask again: at once where something of ours changed, later where the wake was idle. */
static int64_t next_due(const struct query *query, bool changed, size_t entries)
{
	if (!query->blocking)
		return 0;
	return query->armed + (!entries ? MISSING_MS : changed ? BUSY_WAKE_MS : IDLE_WAKE_MS);
}

static void succeed(struct query *query, struct intent_snapshot *snapshot)
{
	struct watch *watch = query->watch;
	/* Asked with index 0, it would return at once for ever. */
	uint64_t index = snapshot->revision ? snapshot->revision : 1;

	if (query->down)
		watch->retry = 0; /* the others follow */
	query->down = false;
	if (query->blocking && index < query->index) {
		/* Another history. What it says is only believed when read consistently. */
		query->index = 0;
		query->due = query->armed + IDLE_WAKE_MS;
	} else {
		bool changed = put_parts(query, snapshot);

		query->due = next_due(query, changed, snapshot->count);
		query->index = index;
		if (changed || watch->trouble.last.code)
			deliver(watch, GATHER_MS);
	}
	schedule(watch);
}

static void on_read(struct intent__consul_task *task, const struct intent_error *err)
{
	struct query *query = task->data;

	query->task = NULL;
	if (err->code)
		fail(query, err);
	else
		succeed(query, task->snapshot);
}

static void ask(struct query *query)
{
	struct watch *watch = query->watch;
	struct intent__consul_task *task = intent__consul_read_task(watch->consul, query->prefix, false, !query->index);
	struct intent_error err = {0};

	query->armed = intent_time_monotonic();
	query->blocking = query->index;
	if (query->down)
		watch->last_attempt = query->armed;
	task->index = query->index;
	task->finished = on_read;
	task->data = query;
	task->task.once = true;
	if (!intent__task_start(&task->task, &err)) {
		query->task = &task->task;
		return;
	}
	intent__task_cancel(&task->task);
	query->down = true;
	watch->retry = query->armed + 1000;
}

static void on_time(uv_timer_t *timer)
{
	schedule(timer->data);
}

/* Start what is due and set the timer for what is not. Without any of the latter there is none. */
static void schedule(struct watch *watch)
{
	int64_t now = intent_time_monotonic(), next = INT64_MAX;
	bool trying = false;

	if (watch->stopped)
		return;
	for (size_t i = 0; i < watch->count; i++)
		trying = trying || (watch->queries[i].down && watch->queries[i].task);
	for (size_t i = 0; i < watch->count; i++) {
		struct query *query = &watch->queries[i];
		int64_t due = query->down ? watch->retry : query->due;

		/* retry is 0 while the others follow one that has succeeded. */
		if (query->task || (query->down && trying && watch->retry))
			continue;
		if (due <= now) {
			ask(query);
			trying = trying || query->down;
		}
		if (!query->task && due > now && due < next)
			next = due;
	}
	if (next == INT64_MAX)
		uv_timer_stop(&watch->timer);
	else
		uv_timer_start(&watch->timer, on_time, (uint64_t)(next - now), 0);
}

/* ---- the engine's half of a watch ---- */

static struct query *find(struct query *queries, size_t count, const char *prefix)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(queries[i].prefix, prefix))
			return &queries[i];
	return NULL;
}

static bool covers_unknown(const struct watch *watch, const char *prefix)
{
	for (size_t i = 0; i < intent__parts_count(watch->parts); i++)
		if (!intent__parts_get(watch->parts, i) &&
		    intent_starts_with(intent__parts_prefix(watch->parts, i), prefix))
			return true;
	return false;
}

static size_t budget(const struct watch *watch)
{
	size_t others = watch->consul->queries - watch->count;

	return others + 2 > INTENT__CONSUL_QUERIES ? 2 : INTENT__CONSUL_QUERIES - others;
}

static void free_queries(struct watch *watch)
{
	for (size_t i = 0; i < watch->count; i++)
		intent__task_cancel(watch->queries[i].task);
	free(watch->queries);
	free(watch->prefixes);
	watch->queries = NULL;
	watch->prefixes = NULL;
	watch->consul->queries -= watch->count;
	watch->count = 0;
}

/* The prefixes of the parts, each in a form that Consul's router lets through. */
static char **wanted(const struct watch *watch)
{
	size_t count = intent__parts_count(watch->parts);
	char (*safe)[INTENT_KEY_MAX + 1] = calloc(count + 1, sizeof *safe);
	const char **prefixes = calloc(count + 1, sizeof *prefixes);
	char **merged;

	for (size_t i = 0; i < count; i++) {
		intent__consul_safe(intent__parts_prefix(watch->parts, i), safe[i]);
		prefixes[i] = safe[i];
	}
	merged = intent__prefixes_merge(prefixes, count, budget(watch));
	free(safe);
	free(prefixes);
	return merged;
}

/* A query that stays keeps its index, and goes on waiting. */
static void take_over(struct query *query, struct query *old)
{
	query->index = old->index;
	query->armed = old->armed;
	query->due = old->due;
	query->down = old->down;
	query->blocking = old->blocking;
	query->task = old->task;
	old->task = NULL;
	if (query->task)
		((struct intent__consul_task *)query->task)->data = query;
}

static void make_queries(struct watch *watch)
{
	char **prefixes = wanted(watch);
	size_t count = 0;

	while (prefixes[count])
		count++;
	struct query *queries = calloc(count + 1, sizeof *queries);

	for (size_t i = 0; i < count; i++) {
		struct query *old = find(watch->queries, watch->count, prefixes[i]);

		queries[i].watch = watch;
		queries[i].prefix = prefixes[i];
		if (old && !covers_unknown(watch, prefixes[i]))
			take_over(&queries[i], old);
	}
	free_queries(watch);
	watch->prefixes = prefixes;
	watch->queries = queries;
	watch->count = count;
	watch->consul->queries += count;
}

void intent__consul_watch_set(void *data, const char *const *prefixes)
{
	struct watch *watch = data;

	intent__parts_set(watch->parts, prefixes);
	make_queries(watch);
	deliver(watch, GATHER_MS); /* there may be less now */
	schedule(watch);
}

void intent__consul_watch_refresh(void *data)
{
	struct watch *watch = data;

	for (size_t i = 0; i < watch->count; i++) {
		struct query *query = &watch->queries[i];

		if (query->down)
			continue;
		intent__task_cancel(query->task);
		query->task = NULL;
		query->index = 0;
		query->due = 0;
	}
	schedule(watch);
}

static void on_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	if (--watch->handles)
		return;
	intent__parts_free(watch->parts);
	free(watch->queries);
	free(watch->prefixes);
	free(watch);
}

void intent__consul_watch_stop(void *data)
{
	struct watch *watch = data;

	if (watch->stopped)
		return;
	watch->stopped = true;
	/* The queries stay until the handles are closed: one of them may be calling. */
	for (size_t i = 0; i < watch->count; i++) {
		intent__task_cancel(watch->queries[i].task);
		watch->queries[i].task = NULL;
	}
	watch->consul->queries -= watch->count;
	uv_close((uv_handle_t *)&watch->timer, on_closed);
	uv_close((uv_handle_t *)&watch->gather, on_closed);
}

void *intent__consul_watch_start(struct intent_store *store, const char *const *prefixes,
				 const struct intent__watch_sink *sink)
{
	struct watch *watch = calloc(1, sizeof *watch);

	watch->parts = intent__parts_new();
	watch->consul = store->state;
	watch->sink = *sink;
	watch->trouble.sink = &watch->sink;
	uv_timer_init(watch->consul->remote.loop, &watch->timer);
	uv_timer_init(watch->consul->remote.loop, &watch->gather);
	watch->timer.data = watch->gather.data = watch;
	watch->handles = 2;
	intent__parts_set(watch->parts, prefixes);
	make_queries(watch);
	if (!watch->count)
		deliver(watch, 0);
	schedule(watch);
	return watch;
}
