/* The rounds of all slices: started when due, heard, ended when silent; and when they are all over. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include "slice.h"

#define ROUND_DEADLINE_MS (10 * 60 * 1000)
#define FINISH_MS 3000       /* for the last words to the store */
#define FINISH_ONCE_MS 30000 /* ... of --once, which has no others, and whose end nobody has asked for */

/* ---- a round ---- */

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
	intent__rounds_schedule(runner);
}

static void on_gone(void *data)
{
	struct intent__runner *runner = data;

	intent_log(INTENT_ERROR, NULL, "The helper process is gone; nothing can be run, so this agent ends");
	runner->helper_gone = true;
	intent__rounds_stop(runner, 111);
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
	slice->began_ms = intent_time_now();
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

int intent__rounds_attach(struct intent__runner *runner, struct intent_error *err)
{
	const struct intent__helper_events events = {on_message, on_exit_of_round, on_gone, runner};

	return intent__helper_attach(runner->helper, &runner->loop, &events, err);
}

/* ---- the end ---- */

/* Exit status of --once: the worst of all slices. */
static int once_status(const struct intent__runner *runner)
{
	bool blocked = false, unfinished = runner->store_failed, work = false;

	for (const struct intent__slice *slice = runner->slices; slice; slice = slice->next) {
		blocked |= slice->state == INTENT_BLOCKED;
		unfinished |= slice->state != INTENT_CONVERGED;
		work |= slice->work;
	}
	if (runner->context->dry_run && work)
		return 2;
	return blocked ? 100 : unfinished ? 111 : 0;
}

static void on_status_done(void *data)
{
	struct intent__runner *runner = data;

	runner->ended = true;
	uv_stop(&runner->loop);
}

static void on_finish_over(uv_timer_t *timer)
{
	on_status_done(timer->data);
}

static void maybe_end(struct intent__runner *runner)
{
	if (!runner->stopping || runner->finishing || (runner->running && !runner->helper_gone))
		return;
	runner->finishing = true;
	if (!runner->status || runner->context->dry_run) {
		on_status_done(runner);
		return;
	}
	/* A store that does not answer holds up nobody's end: leases run out by themselves. */
	uv_timer_start(&runner->timer, on_finish_over,
		       runner->context->once && !runner->interrupted ? FINISH_ONCE_MS : FINISH_MS, 0);
	intent__status_finish(runner->status, on_status_done, runner);
}

void intent__rounds_stop(struct intent__runner *runner, int exit_status)
{
	if (!runner->stopping)
		runner->exit_status = exit_status;
	runner->stopping = true;
	maybe_end(runner);
}

/* What an earlier --once said of slices that are no more: it may have ended before it took that back. */
static void drop_strangers(struct intent__runner *runner)
{
	const char *name;
	json_t *document;
	void *next;

	json_object_foreach_safe((json_t *)(uintptr_t)intent__status_all(runner->status), next, name, document)
		if (!intent__slice_find(runner, NULL, name))
			intent__status_set(runner->status, name, NULL);
}

static void pass_done(struct intent__runner *runner)
{
	if (!runner->context->once)
		return;
	if (!runner->context->dry_run)
		drop_strangers(runner);
	intent__rounds_stop(runner, once_status(runner));
}

/* ---- all of them ---- */

/* Lost, they only make the agent more careful. */
void intent__rounds_keep_counts(struct intent__runner *runner)
{
	struct intent_error err;

	if (runner->memory && intent__memory_flush(runner->memory, &err) < 0)
		intent_log(INTENT_WARN, NULL, "What there is could not be kept: %s", err.msg);
}

/* Start what is due, then sleep until the next is. */
void intent__rounds_schedule(struct intent__runner *runner)
{
	int64_t now = intent_time_monotonic(), next = INT64_MAX;
	bool idle = true;

	if (runner->stopping) {
		maybe_end(runner);
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
		intent__rounds_keep_counts(runner);
	if (idle && runner->have_snapshot)
		pass_done(runner);
	if (runner->stopping)
		return;
	if (next == INT64_MAX)
		uv_timer_stop(&runner->timer);
	else
		uv_timer_start(&runner->timer, runner->schedule, (uint64_t)(next - now), 0);
}
