/*
 * The runner: one loop that turns snapshots into slices, slices into rounds, and
 * what rounds say into status. It never blocks and changes nothing itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <intent/file.h>
#include "slice.h"

#define STOP_GRACE_MS 20000
#define ROUND_DEADLINE_MS (10 * 60 * 1000)

static void schedule(struct intent__runner *runner);

/* 100: somebody has to change something first. */
static int exit_status_of(int code)
{
	return intent_error_state(code) == INTENT_BLOCKED ? 100 : 111;
}

/* ---- rounds ---- */

static int64_t owned_in_all(const struct intent__runner *runner)
{
	int64_t owned = 0;

	for (const struct intent__slice *slice = runner->slices; slice; slice = slice->next)
		owned += slice->owned;
	return owned;
}

static void answer_removal(struct intent__runner *runner, struct intent__slice *slice, const json_t *message)
{
	struct intent_error err;
	char line[sizeof(err.msg) + 16] = "destroy \n";

	slice->owned = (int)intent_json_integer(message, "owned", slice->owned);
	if (intent__memory_permit(runner->memory, slice->name, json_object_get(message, "destroy"),
				  owned_in_all(runner), runner->settings->max_destroy, &err) < 0)
		snprintf(line, sizeof(line), "destroy %s\n", err.msg);
	intent__helper_answer(runner->helper, slice->round, line);
}

/* At a stop, an action under way is interrupted and waited for, or killed with all that works for it. */
static void set_stop(struct intent__runner *runner, struct intent__slice *slice, bool interrupted)
{
	slice->stop_signal = interrupted ? SIGINT : SIGKILL;
	intent__helper_spare(runner->helper, slice->round, interrupted);
}

static void on_message(unsigned id, json_t *message, void *data)
{
	struct intent__runner *runner = data;
	struct intent__slice *slice = intent__slice_by_round(runner, id);

	if (!slice)
		return;
	slice->heard_ms = intent_time_monotonic();
	if (json_object_get(message, "destroy"))
		answer_removal(runner, slice, message);
	else if (json_object_get(message, "session"))
		intent__slice_ask_session(runner, slice);
	else if (json_object_get(message, "stop"))
		set_stop(runner, slice, !strcmp(intent_json_string(message, "stop", ""), "int"));
	else if (json_object_get(message, "digest"))
		snprintf(slice->digest, sizeof(slice->digest), "%s", intent_json_string(message, "digest", ""));
	else if (json_object_get(message, "progress"))
		intent__slice_progress(runner, slice, json_object_get(message, "progress"));
	else if (json_object_get(message, "result")) {
		json_decref(slice->result);
		slice->result = json_incref(json_object_get(message, "result"));
	}
}

static void show_plan(const struct intent__slice *slice)
{
	size_t i;
	json_t *action;

	json_array_foreach(json_object_get(slice->result, "plan"), i, action)
		printf("%s: would %s %s: %s\n", slice->name, intent_json_string(action, "verb", "?"),
		       intent_json_string(action, "subject", ""), intent_json_string(action, "reason", ""));
	fflush(stdout);
}

static void on_exit_of_round(unsigned id, int status, void *data)
{
	struct intent__runner *runner = data;
	struct intent__slice *slice = intent__slice_by_round(runner, id);

	if (!slice)
		return;
	runner->running--;
	slice->round = 0;
	if (runner->context->dry_run && slice->result)
		show_plan(slice);
	intent__slice_finish(runner, slice, status);
	schedule(runner);
}

static void on_gone(void *data)
{
	struct intent__runner *runner = data;

	intent_log(INTENT_ERROR, NULL, "The helper process is gone; nothing can be run, so this agent ends");
	runner->helper_gone = true;
	intent__runner_stop(runner, 111);
}

static void start_round(struct intent__runner *runner, struct intent__slice *slice)
{
	intent_json_auto json_t *request = json_pack("{ss sO sb sb ss*}", "slice", slice->name, "intent", slice->intent,
						     "announce", slice->announce, "demanded", slice->demanded,
						     "session", intent__status_session(runner->status));
	struct intent_error err;

	if (++runner->last_round == 0)
		runner->last_round = 1;
	slice->due_ms = INT64_MAX;
	slice->heard_ms = intent_time_monotonic();
	slice->stop_signal = SIGKILL;
	slice->killed = slice->announce = slice->demanded = slice->again = slice->asks_session = slice->unbound = false;
	slice->round = runner->last_round;
	json_decref(slice->asked);
	slice->asked = json_incref(slice->intent);
	if (intent__helper_start(runner->helper, slice->round, request, &err) < 0) {
		intent_log(INTENT_ERROR, slice->name, "%s", err.msg);
		slice->round = 0;
		slice->due_ms = slice->heard_ms + 1000;
		return;
	}
	runner->running++;
}

/* When a round under way that says nothing more is ended. */
static int64_t deadline_of(const struct intent__runner *runner, const struct intent__slice *slice)
{
	int64_t given = runner->context->agent->deadline_ms;

	return slice->killed ? INT64_MAX : slice->heard_ms + (given ? given : ROUND_DEADLINE_MS);
}

/* With its whole family. */
static void end_silent_round(struct intent__runner *runner, struct intent__slice *slice, int64_t now)
{
	slice->killed = true;
	intent_log(INTENT_ERROR, slice->name, "no progress for %" PRId64 " s, ending the round",
		   (now - slice->heard_ms) / 1000);
	intent__helper_signal(runner->helper, slice->round, slice->stop_signal, true);
}

static void on_timer(uv_timer_t *timer)
{
	schedule(timer->data);
}

/* Lost, they only make the agent more careful. */
static void keep_counts(struct intent__runner *runner)
{
	struct intent_error err;

	if (runner->memory && intent__memory_flush(runner->memory, &err) < 0)
		intent_log(INTENT_WARN, NULL, "What there is could not be kept: %s", err.msg);
}

/* Start what is due, then sleep until the next is. */
static void schedule(struct intent__runner *runner)
{
	int64_t now = intent_time_monotonic(), next = INT64_MAX;
	bool idle = true;

	if (runner->stopping) {
		intent__runner_maybe_end(runner);
		return;
	}
	for (struct intent__slice *slice = runner->slices; slice; slice = slice->next) {
		int64_t at;

		if (slice->round && deadline_of(runner, slice) <= now)
			end_silent_round(runner, slice, now);
		if (!slice->round && slice->due_ms <= now && runner->running < runner->settings->concurrency)
			start_round(runner, slice);
		at = slice->round ? deadline_of(runner, slice) : slice->due_ms;
		idle &= !slice->round && at > now;
		/* What is due but has no room starts when a round ends. */
		if (at > now && at < next)
			next = at;
	}
	if (idle)
		keep_counts(runner);
	if (idle && runner->have_snapshot)
		intent__runner_pass_done(runner);
	if (runner->stopping)
		return;
	if (next == INT64_MAX)
		uv_timer_stop(&runner->timer);
	else
		uv_timer_start(&runner->timer, on_timer, (uint64_t)(next - now), 0);
}

/* ---- intent ---- */

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
	const char **list = intent__runner_prefix_list(runner);
	if (intent_watch_set(runner->watch, list, &err) < 0)
		intent_log(INTENT_ERROR, NULL, "%s", err.msg);
	free(list);
	return true;
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
	schedule(runner);
	/* While the rounds are under way. */
	if (intent__memory_save(runner->memory, snapshot, runner->store_identity, &err) < 0)
		intent_log(INTENT_WARN, NULL, "The last good intent could not be kept: %s", err.msg);
	intent__runner_ready(runner);
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
		intent__runner_stop(runner, exit_status_of(trouble->code));
	else
		schedule(runner);
	intent__runner_ready(runner);
}

/*
 * Not when the first rounds are over: one may download for an hour, or the store may come up later,
 * and a supervisor would take us for hung.
 */
void intent__runner_ready(struct intent__runner *runner)
{
	if (runner->ready)
		return;
	runner->ready = true;
	intent__notify("READY=1");
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
	uv_timer_start(&runner->timer, on_grace_over, STOP_GRACE_MS, 0);
	/* What --once was asked for is not done. */
	intent__runner_stop(runner, runner->context->once ? 111 : 0);
}

static void on_resync(uv_timer_t *timer)
{
	struct intent__runner *runner = timer->data;

	keep_counts(runner);
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
	schedule(runner);
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
	intent__runner_reopen(runner);
}

static void on_user_signal(uv_signal_t *handle, int signal_number)
{
	(void)signal_number;
	intent__runner_resync(handle->data);
	schedule(handle->data);
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

void intent__runner_wake(struct intent__runner *runner)
{
	uv_timer_start(&runner->timer, on_timer, 0, 0);
}

int intent__runner_watch(struct intent__runner *runner, struct intent_error *err)
{
	const struct intent_watch_events events = {on_snapshot, on_trouble, runner};
	const char **list = intent__runner_prefix_list(runner);
	int code = intent_watch_start(runner->store, list, &events, &runner->watch, err);

	free(list);
	return code;
}

static int set_up(struct intent__runner *runner, struct intent_error *err)
{
	const struct intent__helper_events helper_events = {on_message, on_exit_of_round, on_gone, runner};
	struct intent__context *context = runner->context;
	int64_t beat = intent__notify_interval();
	sigset_t none;

	sigemptyset(&none);
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
	if (!runner->store_identity)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (intent__memory_open(context->state_dir, context->dry_run, &runner->memory, err) < 0 ||
	    intent__helper_attach(runner->helper, &runner->loop, &helper_events, err) < 0 ||
	    intent_store_open(context->store_url, intent_json_string(context->options, "prefix", NULL),
			&runner->store, err) < 0 ||
	    intent_store_attach(runner->store, &runner->loop, err) < 0 ||
	    intent__status_new(context, runner->store, &runner->loop, &runner->status, err) < 0 ||
	    intent__server_start(&runner->loop, runner->settings->listen, context, runner->status,
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
	if (intent__runner_watch(runner, err) < 0)
		intent__runner_fail(runner, err);
}

void intent__runner_fail(struct intent__runner *runner, const struct intent_error *err)
{
	intent_log(INTENT_ERROR, NULL, "%s", err->msg);
	intent__runner_stop(runner, exit_status_of(err->code));
}

static void close_leftover(uv_handle_t *handle, void *data)
{
	(void)data;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void tear_down(struct intent__runner *runner)
{
	keep_counts(runner);
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
		intent__runner_fail(&runner, &err);
	else
		start(&runner, &err);
	while (!runner.ended)
		uv_run(&runner.loop, UV_RUN_ONCE);
	tear_down(&runner);
	return runner.exit_status;
}
