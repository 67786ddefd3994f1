/* Intent comes in: the slices anew from a snapshot. */
#include <signal.h>
#include "slice.h"

static void refuse(struct intent__runner *runner, struct intent__slice *slice, const json_t *error)
{
	int code = (int)intent_json_integer(error, "code", INTENT_EMALFORMED);
	const char *message = intent_json_string(error, "message", "");

	json_decref(slice->intent);
	slice->intent = NULL;
	slice->ran = true;
	slice->attempts = 0;
	slice->due_ms = INT64_MAX;
	if (slice->trouble.code == code && !strcmp(slice->trouble.msg, message))
		return;
	intent_fail(&slice->trouble, code, "%s", message);
	slice->state = intent_error_state(code);
	intent_log(slice->state == INTENT_WAITING ? INTENT_INFO : INTENT_ERROR, slice->name, "%s: %s",
		   intent_state_name(slice->state), message);
	intent__slice_publish(runner, slice, intent_error_reason(code), slice->trouble.msg, NULL);
}

static void take_intent(struct intent__runner *runner, struct intent__slice *slice, json_t *intent)
{
	if (slice->intent && json_equal(slice->intent, intent))
		return;
	json_decref(slice->intent);
	slice->intent = json_incref(intent);
	memset(&slice->trouble, 0, sizeof(slice->trouble));
	slice->attempts = 0;
	slice->announce = true;
	slice->ran = false;
	slice->due_ms = 0;
	/* The newest intent is taken when the round is over; work of it that nobody wants any more may end sooner. */
	if (slice->round)
		intent__helper_signal(runner->helper, slice->round, SIGUSR1, false);
}

/* Beside intent: a change of it is a reason to look, and no more. */
static void take_wake(const struct intent__runner *runner, struct intent__slice *slice, json_t *wake)
{
	if (slice->wake == wake || (slice->wake && wake && json_equal(slice->wake, wake)))
		return;
	json_decref(slice->wake);
	slice->wake = json_incref(wake);
	intent__slice_look_now(runner, slice);
}

/* Remembered before their first round, so that a slice that vanishes while we are down is still undone. */
static void remember(struct intent__runner *runner)
{
	const char **names;
	size_t count = 0;
	struct intent_error err;

	for (struct intent__slice *slice = runner->slices; slice; slice = slice->next)
		count++;
	names = calloc(count + 1, sizeof(*names));
	count = 0;
	for (struct intent__slice *slice = runner->slices; names && slice; slice = slice->next)
		if (slice->intent)
			names[count++] = slice->name;
	if (names && intent__memory_know(runner->memory, names, count, &err) < 0)
		intent_log(INTENT_WARN, NULL, "The slices could not be remembered: %s", err.msg);
	free(names);
}

static json_t *known_slices(const struct intent__runner *runner)
{
	json_t *known = json_array(), *owned;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)intent__memory_slices(runner->memory), name, owned)
		json_array_append_new(known, json_string(name));
	if (runner->discovered)
		json_array_extend(known, runner->discovered);
	for (const struct intent__slice *slice = runner->slices; slice; slice = slice->next)
		if (slice->ran)
			json_array_append_new(known, json_string(slice->name));
	return known;
}

/* Slices that no longer appear at all were only ever in trouble: nothing was made for them. */
static void drop_unnamed(struct intent__runner *runner, const json_t *slices)
{
	struct intent__slice *slice, *next;

	for (slice = runner->slices; slice; slice = next) {
		next = slice->next;
		if (!json_object_get(slices, slice->name) && !slice->round)
			intent__slice_drop(runner, slice);
	}
}

void intent__runner_reslice(struct intent__runner *runner)
{
	intent_json_auto json_t *known = known_slices(runner);
	intent_json_auto json_t *slices = NULL;
	struct intent__slice *last = NULL;
	const char *name;
	json_t *row;

	if (!runner->snapshot)
		return;
	slices = runner->context->agent->slicer->slices(runner->snapshot, runner->context->options, known);
	json_object_foreach(slices, name, row) {
		struct intent__slice *slice = intent__slice_find(runner, last, name);

		if (!slice)
			slice = intent__slice_add(runner, name);
		last = slice;
		take_wake(runner, slice, json_object_get(row, "wake"));
		if (json_object_get(row, "intent"))
			take_intent(runner, slice, json_object_get(row, "intent"));
		else
			refuse(runner, slice, json_object_get(row, "error"));
	}
	drop_unnamed(runner, slices);
	remember(runner);
}

void intent__runner_resync(struct intent__runner *runner)
{
	intent__runner_discover(runner);
	if (runner->watch)
		intent_watch_refresh(runner->watch);
	for (struct intent__slice *slice = runner->slices; slice; slice = slice->next) {
		slice->demanded = true;
		if (slice->round)
			slice->woken = true;
		else if (slice->intent)
			slice->due_ms = 0;
	}
}

void intent__runner_discover(struct intent__runner *runner)
{
	const struct intent_agent *agent = runner->context->agent;
	struct intent_error err;
	json_t *names = NULL;

	if (!agent->discover)
		return;
	if (agent->discover(runner->context->options, &names, &err) < 0) {
		intent_log(INTENT_WARN, NULL, "What is left from before could not be looked for: %s", err.msg);
		return;
	}
	if (runner->discovered && json_equal(runner->discovered, names)) {
		json_decref(names);
		return;
	}
	json_decref(runner->discovered);
	runner->discovered = names;
	intent__runner_reslice(runner);
}
