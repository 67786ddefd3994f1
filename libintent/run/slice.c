/* What becomes of one slice: its status, when it is due, the end of its rounds. */
#include <errno.h>
#include <sys/random.h>
#include <intent/child.h>
#include "slice.h"

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 60000
/* Between rounds that only a path woke: what watches a busy directory must not spin. */
#define PATH_PAUSE_MS 200
#define PATH_PAUSE_FAILING_MS 1000

/* ---- the set of slices ---- */

struct intent__slice *intent__slice_find(struct intent__runner *runner, struct intent__slice *last, const char *name)
{
	struct intent__slice *begin = last && last->next ? last->next : runner->slices;

	for (struct intent__slice *slice = begin; slice; slice = slice->next)
		if (!strcmp(slice->name, name))
			return slice;
	for (struct intent__slice *slice = runner->slices; slice != begin; slice = slice->next)
		if (!strcmp(slice->name, name))
			return slice;
	return NULL;
}

struct intent__slice *intent__slice_by_round(struct intent__runner *runner, unsigned id)
{
	for (struct intent__slice *slice = runner->slices; slice; slice = slice->next)
		if (slice->round == id)
			return slice;
	return NULL;
}

struct intent__slice *intent__slice_add(struct intent__runner *runner, const char *name)
{
	struct intent__slice *slice = calloc(1, sizeof(*slice)), **end = &runner->slices;

	slice->name = strdup(name);
	slice->due_ms = INT64_MAX;
	slice->owned = intent__memory_owned(runner->memory, name);
	slice->state = INTENT_CONVERGING;
	slice->since_ms = intent_time_now();
	while (*end)
		end = &(*end)->next;
	*end = slice;
	return slice;
}

static void free_slice(struct intent__runner *runner, struct intent__slice *slice)
{
	intent__paths_set(runner, slice, NULL, NULL);
	json_decref(slice->intent);
	json_decref(slice->asked);
	json_decref(slice->wake);
	json_decref(slice->result);
	free(slice->name);
	free(slice);
}

void intent__slice_drop(struct intent__runner *runner, struct intent__slice *slice)
{
	for (struct intent__slice **at = &runner->slices; *at; at = &(*at)->next)
		if (*at == slice) {
			*at = slice->next;
			break;
		}
	intent__status_set(runner->status, slice->name, NULL);
	free_slice(runner, slice);
}

void intent__runner_drop_slices(struct intent__runner *runner)
{
	while (runner->slices) {
		struct intent__slice *slice = runner->slices;

		runner->slices = slice->next;
		free_slice(runner, slice);
	}
}

/* ---- status ---- */

static json_t *time_text(int64_t unix_ms)
{
	char text[32];

	intent_time_format(unix_ms, text);
	return json_string(text);
}

/* Counting attempts of what merely waits would be a write to the store at each. */
static bool is_settled(enum intent_state state)
{
	return state == INTENT_CONVERGED || state == INTENT_BLOCKED || state == INTENT_WAITING;
}

void intent__slice_publish(struct intent__runner *runner, struct intent__slice *slice, const char *reason,
		    const char *message, const json_t *detail)
{
	const json_t *before = intent__status_get(runner->status, slice->name);
	json_t *document;

	if (runner->context->dry_run)
		return;
	if (!before || strcmp(intent_json_string(before, "state", ""), intent_state_name(slice->state)) ||
	    strcmp(intent_json_string(before, "reason", ""), reason))
		slice->since_ms = intent_time_now();
	document = json_pack("{ss ss ss so ss*}", "state", intent_state_name(slice->state), "reason", reason,
			     "message", message, "since", time_text(slice->since_ms),
			     "intent_digest", slice->intent ? slice->digest : NULL);
	if (!is_settled(slice->state)) {
		json_object_set_new(document, "attempts", json_integer(slice->attempts));
		if (slice->due_ms != INT64_MAX)
			json_object_set_new(document, "next_attempt", time_text(intent_time_now() + slice->due_ms -
										 intent_time_monotonic()));
	}
	if (json_object_size(detail))
		json_object_set(document, "detail", (json_t *)(uintptr_t)detail);
	if (runner->context->once)
		json_object_set_new(document, "once", json_true());
	intent__status_set(runner->status, slice->name, document);
}

void intent__slice_progress(struct intent__runner *runner, struct intent__slice *slice, const json_t *progress)
{
	intent_json_auto json_t *detail = json_pack("{sO}", "progress", progress);
	enum intent_state before = slice->state;

	if (!slice->intent || runner->context->once)
		return;
	slice->state = INTENT_CONVERGING;
	intent__slice_publish(runner, slice, "Working", "", detail);
	slice->state = before; /* of the last round, until this one is over */
}

/* ---- when next ---- */

static int64_t random_below(int64_t bound)
{
	uint64_t bits = 0;

	if (getrandom(&bits, sizeof(bits), 0) < 0)
		bits = (uint64_t)intent_time_monotonic();
	return bound > 0 ? (int64_t)(bits % (uint64_t)bound) : 0;
}

/* Full jitter between half of it and all of it, so that a fleet does not retry in step. */
static int64_t backoff(int attempts)
{
	int64_t ms = BACKOFF_FIRST_MS;

	for (int i = 1; i < attempts && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	return ms / 2 + random_below(ms / 2);
}

/* Has other intent come since the round began? */
static bool is_outdated(const struct intent__slice *slice)
{
	return slice->intent && slice->asked != slice->intent;
}

/* A round that fails may itself have stirred what it watches: then only its backoff counts. */
static int64_t path_pause(const struct intent__slice *slice)
{
	return slice->state == INTENT_FAILING ? PATH_PAUSE_FAILING_MS : PATH_PAUSE_MS;
}

static void set_next(struct intent__runner *runner, struct intent__slice *slice, int code)
{
	int64_t resync = runner->settings->interval_ms + random_below(runner->settings->splay_ms);
	int64_t again = intent_json_integer(slice->result, "again", -1), wait = resync;
	int64_t patience = intent_json_integer(slice->result, "patience", 0);

	/* What waits or is refused for too many removals may be right again without a wake. */
	if (slice->state == INTENT_FAILING || slice->state == INTENT_WAITING || code == INTENT_EDESTROY)
		wait = backoff(slice->attempts);
	else if (slice->state == INTENT_CONVERGING)
		wait = code == INTENT_ESTALE && slice->attempts < 3 ? 100 : backoff(slice->attempts);
	if (again >= 0 && again < wait)
		wait = again;
	if (wait > resync)
		wait = resync;
	if (slice->woken && slice->state != INTENT_FAILING && wait > PATH_PAUSE_MS)
		wait = PATH_PAUSE_MS;
	slice->woken = false;
	slice->heard_ms = intent_time_monotonic();
	if (wait < patience)
		wait = patience;
	if (is_outdated(slice) || slice->again)
		slice->due_ms = 0;
	else
		slice->due_ms = runner->context->once ? INT64_MAX : slice->heard_ms + wait;
}

/* A path it watches changed. */
static void wake(struct intent__runner *runner, struct intent__slice *slice)
{
	int64_t due = slice->heard_ms + path_pause(slice);

	if (slice->round)
		slice->woken = true;
	else if (slice->intent && due < slice->due_ms) {
		slice->due_ms = due;
		uv_timer_start(&runner->timer, runner->schedule, 0, 0);
	}
}

/* ---- rounds end ---- */

/* What the round's own words, or its silence, come to. */
static void read_result(struct intent__slice *slice, int status, struct intent_error *err)
{
	char words[64];

	memset(err, 0, sizeof(*err));
	if (slice->result) {
		int code = (int)intent_json_integer(slice->result, "code", 0);

		if (code)
			intent_fail(err, code, "%s", intent_json_string(slice->result, "message", ""));
		return;
	}
	intent_child_status_words(status, words);
	if (slice->killed)
		intent_fail(err, INTENT_ETIMEOUT, "made no progress until its deadline and was ended");
	else if (WIFEXITED(status) && WEXITSTATUS(status) == INTENT_EXIT_NO_MEMORY)
		intent_fail(err, -ENOMEM, "the round was out of memory and ended");
	else
		intent_fail(err, INTENT_ECRASHED, "the round ended without a result: %s", words);
}

static void log_outcome(const struct intent__slice *slice, enum intent_state before, const struct intent_error *err)
{
	static const enum intent_log_level levels[] = {
		[INTENT_CONVERGED] = INTENT_INFO, [INTENT_CONVERGING] = INTENT_INFO, [INTENT_WAITING] = INTENT_INFO,
		[INTENT_BLOCKED] = INTENT_ERROR, [INTENT_FAILING] = INTENT_ERROR,
	};

	/* Said once, not at every retry. */
	if (err->code && (slice->attempts <= 1 || before != slice->state))
		intent_log(levels[slice->state], slice->name, "%s: %s", intent_state_name(slice->state), err->msg);
	else if (!err->code && before != INTENT_CONVERGED && before != INTENT_CONVERGING)
		intent_log(INTENT_INFO, slice->name, "converged");
}

void intent__slice_finish(struct intent__runner *runner, struct intent__slice *slice, int status)
{
	bool absent = json_is_true(json_object_get(slice->asked, "absent"));
	enum intent_state before = slice->state;
	struct intent_error err, ignored;

	read_result(slice, status, &err);
	slice->work = json_array_size(json_object_get(slice->result, "plan")) > 0;
	slice->ran = true;
	slice->owned = (int)intent_json_integer(slice->result, "owned", slice->owned);
	intent__memory_set_owned(runner->memory, slice->name, slice->owned);
	runner->counters.actions += (uint64_t)intent_json_integer(slice->result, "actions", 0);
	runner->counters.failures += err.code != 0;
	slice->state = err.code ? intent_error_state(err.code) : INTENT_CONVERGED;
	runner->counters.rounds[slice->state]++;
	slice->attempts = err.code ? slice->attempts + 1 : 0;
	log_outcome(slice, before, &err);
	intent__paths_set(runner, slice, json_object_get(slice->result, "watch"), wake);
	set_next(runner, slice, err.code);
	if (err.code == INTENT_ESTALE && runner->watch)
		intent_watch_refresh(runner->watch);
	if (absent && !err.code && !slice->work && slice->asked == slice->intent && !runner->context->dry_run) {
		intent__memory_forget(runner->memory, slice->name, &ignored);
		intent__slice_drop(runner, slice);
		return;
	}
	if (!slice->intent) { /* refused while the round ran: that stands now */
		err = slice->trouble;
		slice->state = intent_error_state(err.code);
		slice->due_ms = INT64_MAX;
	}
	intent__slice_publish(runner, slice, err.code ? intent_error_reason(err.code) : "", err.code ? err.msg : "",
		json_object_get(slice->result, "detail"));
	json_decref(slice->result);
	slice->result = NULL;
}

/* A round at once, or right after the one under way. */
void intent__slice_look_now(const struct intent__runner *runner, struct intent__slice *slice)
{
	if (runner->context->once)
		return;
	if (slice->round)
		slice->again = true;
	else if (slice->intent)
		slice->due_ms = 0;
}

/* ---- the session ---- */

static void answer_session(struct intent__runner *runner, struct intent__slice *slice, const char *session)
{
	intent_free_auto char *line = intent_format("session %s\n", session ? session : "");

	slice->asks_session = false;
	slice->unbound = !session;
	if (line)
		intent__helper_answer(runner->helper, slice->round, line);
}

void intent__slice_ask_session(struct intent__runner *runner, struct intent__slice *slice)
{
	const char *session = intent__status_session(runner->status);

	slice->asks_session = true;
	if (session)
		answer_session(runner, slice, session);
	else
		intent__status_want_session(runner->status);
}

/* What hung on the one before went with it: whoever publishes facts has to do it again. */
void intent__runner_session(struct intent__runner *runner, const char *session)
{
	bool another = session && runner->sessions++;

	for (struct intent__slice *slice = runner->slices; slice; slice = slice->next) {
		/* One that asked may have given up meanwhile. */
		bool unbound = slice->unbound || (slice->asks_session && !slice->round);

		if (slice->round && slice->asks_session)
			answer_session(runner, slice, session);
		if (another || (session && unbound))
			intent__slice_look_now(runner, slice);
	}
}
