/* The public half of a watch: prefixes made whole, snapshots stripped, delivery. */
#include "engine.h"

struct intent_watch {
	struct intent_store *store;        /* borrowed */
	struct intent_watch_events events;
	void *engine;                      /* the engine's half */
	int calls;                         /* of ours that are on the stack */
	bool stopped;
};

static void settle(struct intent_watch *watch)
{
	if (watch->stopped && !watch->calls)
		free(watch);
}

static void on_snapshot(struct intent_snapshot *snapshot, void *data)
{
	struct intent_watch *watch = data;
	struct intent_snapshot *stripped;

	stripped = intent__snapshot_strip(snapshot, strlen(watch->store->prefix));
	intent_snapshot_unref(snapshot);
	watch->calls++;
	if (watch->events.on_snapshot)
		watch->events.on_snapshot(watch, stripped, watch->events.data);
	intent_snapshot_unref(stripped);
	watch->calls--;
	settle(watch);
}

static void on_trouble(const struct intent_error *err, void *data)
{
	struct intent_watch *watch = data;

	watch->calls++;
	if (watch->events.on_trouble)
		watch->events.on_trouble(watch, err, watch->events.data);
	watch->calls--;
	settle(watch);
}

static void free_prefixes(char **prefixes)
{
	for (size_t i = 0; prefixes[i]; i++)
		free(prefixes[i]);
	free(prefixes);
}

static char **whole_prefixes(const struct intent_store *store, const char *const *prefixes,
			     struct intent_error *err)
{
	size_t count = 0;
	char **whole;

	while (prefixes[count])
		count++;
	whole = calloc(count + 1, sizeof(*whole));
	for (size_t i = 0; i < count; i++) {
		char buffer[INTENT_KEY_MAX + 1];

		if (intent__prefix_whole(store, prefixes[i], buffer, err) < 0) {
			free_prefixes(whole);
			return NULL;
		}
		whole[i] = strdup(buffer);
	}
	return whole;
}

int intent_watch_start(struct intent_store *store, const char *const *prefixes,
		       const struct intent_watch_events *events, struct intent_watch **ret_owned,
		       struct intent_error *err)
{
	struct intent__watch_sink sink = {.on_snapshot = on_snapshot, .on_trouble = on_trouble};
	struct intent_watch *watch;
	char **whole;

	if (!store->loop)
		return intent_fail(err, INTENT_EUSAGE, "%s: not attached to a loop", store->name);
	whole = whole_prefixes(store, prefixes, err);
	if (!whole)
		return err->code;
	watch = calloc(1, sizeof(*watch));
	watch->store = store;
	watch->events = *events;
	sink.data = watch;
	watch->engine = store->engine->watch_start(store, (const char *const *)whole, &sink);
	free_prefixes(whole);
	*ret_owned = watch;
	return 0;
}

int intent_watch_set(struct intent_watch *watch, const char *const *prefixes,
		     struct intent_error *err)
{
	char **whole = whole_prefixes(watch->store, prefixes, err);

	if (!whole)
		return err->code;
	watch->store->engine->watch_set(watch->engine, (const char *const *)whole);
	free_prefixes(whole);
	return 0;
}

void intent_watch_refresh(struct intent_watch *watch)
{
	watch->store->engine->watch_refresh(watch->engine);
}

struct intent_watch *intent_watch_stop(struct intent_watch *watch)
{
	if (!watch || watch->stopped)
		return NULL;
	watch->stopped = true;
	watch->store->engine->watch_stop(watch->engine);
	settle(watch);
	return NULL;
}
