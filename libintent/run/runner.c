/*
 * The runner: one loop that turns snapshots into slices, slices into rounds, and
 * what rounds say into status. It never blocks and changes nothing itself.
 */
#include <signal.h>
#include <intent/file.h>
#include "slice.h"

#define STOP_GRACE_MS 20000

/* 100: somebody has to change something first. */
static int exit_status_of(int code)
{
	return intent_error_state(code) == INTENT_BLOCKED ? 100 : 111;
}

/* ---- intent ---- */

/* NULL-terminated, borrowed strings; free() the list. */
static const char **prefix_list(const struct intent__runner *runner)
{
	size_t count = json_array_size(runner->prefixes);
	const char **list = calloc(count + 1, sizeof(*list));

	for (size_t i = 0; i < count; i++)
		list[i] = json_string_value(json_array_get(runner->prefixes, i));
	return list;
}

static bool same_strings(const json_t *a, const json_t *b)
{
	return a && b && json_equal(a, b);
}

/* True when the set of watched prefixes had to change: another snapshot will follow. */
static bool adjust_prefixes(struct intent__runner *runner, const struct intent_snapshot *snapshot)
{
	json_t *wanted = runner->context->agent->slicer->prefixes(snapshot, runner->context->options);
	struct intent_error err;

	if (runner->context->once)
		json_array_append_new(wanted, json_sprintf("reality/status/%s/%s/", runner->context->agent->name,
							   runner->context->node));
	if (same_strings(wanted, runner->prefixes)) {
		json_decref(wanted);
		return false;
	}
	json_decref(runner->prefixes);
	runner->prefixes = wanted;
	if (!runner->watch)
		return false;
	const char **list = prefix_list(runner);
	if (intent_watch_set(runner->watch, list, &err) < 0)
		intent_log(INTENT_ERROR, NULL, "%s", err.msg);
	free(list);
	return true;
}

/*
 * Not when the first rounds are over: one may download for an hour, or the store may come up later,
 * and a supervisor would take us for hung.
 */
static void be_ready(struct intent__runner *runner)
{
	if (runner->ready)
		return;
	runner->ready = true;
	intent__notify("READY=1");
}

static void on_snapshot(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data)
{
	struct intent__runner *runner = data;
	struct intent_error err;

	(void)watch;
	runner->counters.snapshots++;
	if (runner->stopping || adjust_prefixes(runner, snapshot))
		return;
	if (runner->context->once && !runner->have_snapshot)
		intent__status_seen(runner->status, snapshot);
	intent_snapshot_unref(runner->snapshot);
	runner->snapshot = intent_snapshot_ref(snapshot);
	runner->have_snapshot = true;
	intent__runner_reslice(runner);
	intent__rounds_schedule(runner);
	/* While the rounds are under way. */
	if (intent__memory_save(runner->memory, snapshot, runner->store_identity, &err) < 0)
		intent_log(INTENT_WARN, NULL, "The last good intent could not be kept: %s", err.msg);
	be_ready(runner);
}

/* A reboot with the store down: converge to what was last known. */
static void use_kept_snapshot(struct intent__runner *runner)
{
	struct intent_snapshot *kept;
	struct intent_error err;

	if (runner->have_snapshot || intent__memory_load(runner->memory, runner->store_identity, &kept, &err) < 0)
		return;
	intent_log(INTENT_WARN, NULL, "Converging to the last good intent, kept in %s", runner->context->state_dir);
	runner->snapshot = kept;
	runner->have_snapshot = true;
	intent__runner_reslice(runner);
}

static void on_trouble(struct intent_watch *watch, const struct intent_error *trouble, void *data)
{
	struct intent__runner *runner = data;

	(void)watch;
	runner->counters.store_up = !trouble->code;
	runner->store_failed = trouble->code != 0;
	if (runner->stopping)
		return;
	if (!trouble->code) {
		intent_log(INTENT_INFO, NULL, "The intent store can be read again");
		intent__status_retry(runner->status);
		return;
	}
	intent_log(INTENT_WARN, NULL, "The intent store cannot be read: %s", trouble->msg);
	use_kept_snapshot(runner);
	if (runner->context->once && !runner->have_snapshot)
		intent__rounds_stop(runner, exit_status_of(trouble->code));
	else
		intent__rounds_schedule(runner);
	be_ready(runner);
}

static int start_watch(struct intent__runner *runner, struct intent_error *err)
{
	const struct intent_watch_events events = {on_snapshot, on_trouble, runner};
	const char **list = prefix_list(runner);
	int code = intent_watch_start(runner->store, list, &events, &runner->watch, err);

	free(list);
	return code;
}

static void fail(struct intent__runner *runner, const struct intent_error *err)
{
	intent_log(INTENT_ERROR, NULL, "%s", err->msg);
	intent__rounds_stop(runner, exit_status_of(err->code));
}

/* ---- signals ---- */

static void end_rounds(struct intent__runner *runner, bool now)
{
	for (struct intent__slice *slice = runner->slices; slice; slice = slice->next)
		if (slice->round && now)
			intent__helper_signal(runner->helper, slice->round, slice->stop_signal, true);
		else if (slice->round)
			intent__helper_signal(runner->helper, slice->round, SIGTERM, false);
}

static void on_grace_over(uv_timer_t *timer)
{
	end_rounds(timer->data, true);
}

static void on_stop_signal(uv_signal_t *handle, int signal_number)
{
	struct intent__runner *runner = handle->data;

	if (runner->finishing)
		runner->ended = true;
	if (runner->stopping) {
		end_rounds(runner, true);
		return;
	}
	intent_log(INTENT_INFO, NULL, "%s: ending%s", signal_number == SIGINT ? "Interrupted" : "Asked to stop",
		   runner->running ? " when the rounds under way have; a second signal ends them now" : "");
	intent__notify("STOPPING=1");
	end_rounds(runner, false);
	runner->interrupted = true;
	uv_timer_start(&runner->timer, on_grace_over, STOP_GRACE_MS, 0);
	/* What --once was asked for is not done. */
	intent__rounds_stop(runner, runner->context->once ? 111 : 0);
}

static void on_timer(uv_timer_t *timer)
{
	intent__rounds_schedule(timer->data);
}

static void on_resync(uv_timer_t *timer)
{
	struct intent__runner *runner = timer->data;

	intent__rounds_keep_counts(runner);
	intent__runner_discover(runner);
	if (runner->watch)
		intent_watch_refresh(runner->watch);
}

static void start_resync(struct intent__runner *runner)
{
	uint64_t ms = (uint64_t)runner->settings->interval_ms;

	if (!runner->context->once)
		uv_timer_start(&runner->resync, on_resync, ms, ms);
}

static void on_session(const char *session, void *data)
{
	struct intent__runner *runner = data;

	intent__runner_session(runner, session);
	intent__rounds_schedule(runner);
}

/* Another handle on the store: certificates and tokens are read again. */
static void reopen(struct intent__runner *runner)
{
	const char *prefix = intent_json_string(runner->context->options, "prefix", NULL);
	struct intent_store *store = NULL;
	struct intent_error err;

	if (intent_store_open(runner->context->store_url, prefix, &store, &err) < 0 ||
	    intent_store_attach(store, &runner->loop, &err) < 0) {
		intent_log(INTENT_ERROR, NULL, "The store's certificates and tokens were not read again, the old ones stay: %s", err.msg);
		intent_store_close(store);
		return;
	}
	if (runner->watch)
		runner->watch = intent_watch_stop(runner->watch);
	intent__status_move(runner->status, store);
	intent_store_close(runner->store);
	runner->store = store;
	intent__runner_reslice(runner);
	if (start_watch(runner, &err) < 0)
		fail(runner, &err);
	uv_timer_start(&runner->timer, on_timer, 0, 0);
}

static void on_hangup(uv_signal_t *handle, int signal_number)
{
	struct intent__runner *runner = handle->data;
	struct intent_error err;

	(void)signal_number;
	if (runner->stopping)
		return;
	if (runner->settings->reload(runner->context, runner->settings, &err) < 0) {
		intent_log(INTENT_ERROR, NULL, "Configuration not read again, the old one stays: %s", err.msg);
		return;
	}
	intent_log(INTENT_INFO, NULL, "Configuration read again");
	start_resync(runner);
	reopen(runner);
}

static void on_user_signal(uv_signal_t *handle, int signal_number)
{
	(void)signal_number;
	intent__runner_resync(handle->data);
	intent__rounds_schedule(handle->data);
}

static void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	intent__notify("WATCHDOG=1");
}

/* ---- beginning and end ---- */

static const struct {
	int number;
	uv_signal_cb callback;
} signals[RUNNER_SIGNALS] = {
	{SIGTERM, on_stop_signal}, {SIGINT, on_stop_signal}, {SIGHUP, on_hangup}, {SIGUSR1, on_user_signal},
};

static int set_up(struct intent__runner *runner, struct intent_error *err)
{
	struct intent__context *context = runner->context;
	int64_t beat = intent__notify_interval();
	sigset_t none;

	sigemptyset(&none);
	runner->schedule = on_timer;
	runner->counters.started_ms = intent_time_now();
	runner->counters.store_up = true;
	uv_loop_init(&runner->loop);
	uv_timer_init(&runner->loop, &runner->timer);
	uv_timer_init(&runner->loop, &runner->resync);
	uv_timer_init(&runner->loop, &runner->watchdog);
	runner->timer.data = runner->resync.data = runner->watchdog.data = runner;
	for (int i = 0; i < RUNNER_SIGNALS; i++) {
		uv_signal_init(&runner->loop, &runner->signals[i]);
		runner->signals[i].data = runner;
		uv_signal_start(&runner->signals[i], signals[i].callback, signals[i].number);
		uv_unref((uv_handle_t *)&runner->signals[i]);
	}
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	runner->store_identity = intent_format("%s %s", context->store_url, intent_json_string(context->options, "prefix", ""));
	if (intent__memory_open(context->state_dir, context->dry_run, &runner->memory, err) < 0 ||
	    intent__rounds_attach(runner, err) < 0 ||
	    intent_store_open(context->store_url, intent_json_string(context->options, "prefix", NULL),
			&runner->store, err) < 0 ||
	    intent_store_attach(runner->store, &runner->loop, err) < 0)
		return err->code;
	runner->status = intent__status_new(context, runner->store, &runner->loop);
	if (intent__server_start(&runner->loop, runner->settings->listen, context, runner->status,
				 &runner->counters, &runner->server, err) < 0)
		return err->code;
	intent__status_on_session(runner->status, on_session, runner);
	intent__confine_runner(context, runner->settings);
	if (beat)
		uv_timer_start(&runner->watchdog, on_watchdog, 0, (uint64_t)beat);
	start_resync(runner);
	return 0;
}

static void start(struct intent__runner *runner, struct intent_error *err)
{
	struct intent_snapshot *nothing = intent_snapshot_new();

	intent_log(INTENT_INFO, NULL, "Polling intent store");
	intent__runner_discover(runner);
	adjust_prefixes(runner, nothing);
	intent_snapshot_unref(nothing);
	if (start_watch(runner, err) < 0)
		fail(runner, err);
}

static void close_leftover(uv_handle_t *handle, void *data)
{
	(void)data;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void tear_down(struct intent__runner *runner)
{
	intent__rounds_keep_counts(runner);
	if (runner->watch)
		intent_watch_stop(runner->watch);
	intent__runner_drop_slices(runner);
	intent__server_stop(runner->server);
	runner->store = intent_store_close(runner->store);
	intent__status_free(runner->status);
	intent__helper_close(runner->helper);
	uv_run(&runner->loop, UV_RUN_NOWAIT);
	uv_walk(&runner->loop, close_leftover, NULL);
	uv_run(&runner->loop, UV_RUN_DEFAULT);
	uv_loop_close(&runner->loop);
	intent__memory_free(runner->memory);
	intent_snapshot_unref(runner->snapshot);
	json_decref(runner->prefixes);
	json_decref(runner->discovered);
	free(runner->store_identity);
}

int intent__runner_main(struct intent__context *context, struct intent__settings *settings,
			struct intent__helper *helper)
{
	struct intent__runner runner = {.context = context, .settings = settings, .helper = helper};
	struct intent_error err;

	if (set_up(&runner, &err) < 0)
		fail(&runner, &err);
	else
		start(&runner, &err);
	while (!runner.ended)
		uv_run(&runner.loop, UV_RUN_ONCE);
	tear_down(&runner);
	return runner.exit_status;
}
