/* watch, and the loop under it and under status --watch. */
#include <errno.h>
#include "ppctl.h"

struct loop {
	uv_loop_t loop;
	uv_signal_t signals[2];
	uv_timer_t timer;
	struct intent_watch *watch;
	const struct ppctl_watching *watching;
	bool down; /* trouble was said and not yet taken back */
};

static void on_snapshot(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data)
{
	struct loop *loop = data;
	(void)watch;
	if (!loop->watching->each(snapshot, loop->watching->data))
		uv_stop(&loop->loop);
}

static void on_trouble(struct intent_watch *watch, const struct intent_error *err, void *data)
{
	struct loop *loop = data;
	(void)watch;
	if (loop->watching->trouble)
		loop->watching->trouble(err, loop->watching->data);
	else if (err->code)
		ppctl_say("ppctl: %s; trying on", err->msg);
	else if (loop->down)
		ppctl_say("ppctl: the store answers again");
	loop->down = err->code != 0;
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	uv_stop(handle->loop);
}

static void on_tick(uv_timer_t *handle)
{
	struct loop *loop = handle->data;
	if (!loop->watching->tick(loop->watching->data))
		uv_stop(&loop->loop);
}

static void close_handle(uv_handle_t *handle, void *data)
{
	(void)data;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void start_handles(struct loop *loop)
{
	static const int numbers[] = {SIGINT, SIGTERM};
	for (int i = 0; i < 2; i++) {
		uv_signal_init(&loop->loop, &loop->signals[i]);
		uv_signal_start(&loop->signals[i], on_signal, numbers[i]);
	}
	uv_timer_init(&loop->loop, &loop->timer);
	loop->timer.data = loop;
	if (loop->watching->tick)
		uv_timer_start(&loop->timer, on_tick, 1000, 1000);
}

int ppctl_follow(struct ppctl *ctl, const struct ppctl_watching *watching,
		 struct intent_error *err)
{
	struct loop loop = {.watching = watching};
	struct intent_watch_events events = {on_snapshot, on_trouble, &loop};
	struct intent_store *store;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = uv_loop_init(&loop.loop);
	if (code)
		return intent_fail(err, code, "cannot watch: %s", uv_strerror(code));
	code = intent_store_attach(store, &loop.loop, err);
	if (!code)
		code = intent_watch_start(store, watching->prefixes, &events, &loop.watch, err);
	if (!code) {
		start_handles(&loop);
		uv_run(&loop.loop, UV_RUN_DEFAULT);
		intent_watch_stop(loop.watch);
	}
	/* The engine's own handles close with the store; the loop lives until they have. */
	ctl->store = intent_store_close(ctl->store);
	uv_walk(&loop.loop, close_handle, NULL);
	while (uv_loop_close(&loop.loop) == UV_EBUSY)
		uv_run(&loop.loop, UV_RUN_ONCE);
	return code;
}

/* ---- watch ---- */

struct watcher {
	struct intent_snapshot *last; /* NULL: nothing seen yet */
	const char *prefix;
	bool json;
};

static void show_json(const char *event, const struct intent_entry *entry, const char *time)
{
	intent_json_auto json_t *line =
		json_pack("{ss ss ss sI so*}", "time", time, "event", event, "key", entry->key,
			  "revision", (json_int_t)entry->revision, "document",
			  strcmp(event, "delete") ? ppctl_document(entry) : NULL);
	ppctl_print_json(line, true);
}

static void show_change(const struct watcher *watcher, const char *event,
			const struct intent_entry *entry)
{
	char time[32];
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	size_t columns = (size_t)ppctl_columns();
	bool gone = !strcmp(event, "delete"), made = !strcmp(event, "create");

	intent_time_format(intent_time_now(), time);
	if (watcher->json) {
		show_json(event, entry, time);
		return;
	}
	ppctl_add(&out, time, PPCTL_DIM, 0, 0);
	intent_text_puts(&out, " ");
	ppctl_add(&out,
		  gone         ? "-" :
			  made ? "+" :
				 "~",
		  gone         ? PPCTL_RED :
			  made ? PPCTL_GREEN :
				 PPCTL_YELLOW,
		  0, 0);
	intent_text_puts(&out, " ");
	ppctl_add(&out, entry->key, PPCTL_BOLD, 0, 0);
	size_t used = strlen(time) + 4 + strlen(entry->key);
	if (!gone) {
		intent_text_puts(&out, " ");
		ppctl_add(&out, entry->value, PPCTL_PLAIN,
			  columns > used + 8 ? columns - used - 1 : columns, 0);
	}
	ppctl_print(intent_text_str(&out));
}

static void compare(const struct watcher *watcher, const struct intent_snapshot *now)
{
	const struct intent_snapshot *last = watcher->last;
	for (size_t i = 0, k = 0; i < last->count || k < now->count;) {
		const struct intent_entry *a = i < last->count ? &last->entries[i] : NULL;
		const struct intent_entry *b = k < now->count ? &now->entries[k] : NULL;
		int order = !a ? 1 : !b ? -1 : strcmp(a->key, b->key);
		if (order < 0)
			show_change(watcher, "delete", a);
		else if (order > 0)
			show_change(watcher, "create", b);
		else if (a->length != b->length || memcmp(a->value, b->value, a->length))
			show_change(watcher, "update", b);
		i += order <= 0;
		k += order >= 0;
	}
}

static bool on_change(struct intent_snapshot *snapshot, void *data)
{
	struct watcher *watcher = data;
	if (watcher->last)
		compare(watcher, snapshot);
	else if (!watcher->json)
		ppctl_say("watching %s: %zu documents",
			  *watcher->prefix ? watcher->prefix : "everything", snapshot->count);
	intent_snapshot_unref(watcher->last);
	watcher->last = intent_snapshot_ref(snapshot);
	/* Whoever reads has gone: so may we. */
	return !fflush(stdout) && !ferror(stdout);
}

int ppctl_watch(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);
	intent_free_auto char *prefix = ppctl_prefix(word ? word : "");
	const char *const prefixes[] = {prefix, NULL};
	struct watcher watcher = {.prefix = prefix, .json = ppctl_flag(ctl, "json")};
	struct ppctl_watching watching = {
		.prefixes = prefixes, .each = on_change, .data = &watcher};

	int code = ppctl_follow(ctl, &watching, err);
	intent_snapshot_unref(watcher.last);
	return code;
}
