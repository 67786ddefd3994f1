/*
 * One round of one slice, in its own process: observe, plan, apply, and again
 * until the plan is empty. Straight-line code; the runner hears lines of JSON.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "run.h"

#define PASSES_MAX 8               /* observe-plan-apply in one round */
#define PROGRESS_INTERVAL_MS 1000

struct intent_round {
	const struct intent__context *context;
	const char *slice;
	const json_t *intent;
	int channel;
	struct intent_store *store;
	json_t *detail, *watch;
	json_t *progress;          /* not sent yet */
	int64_t progress_sent, again_ms;
	int owned;
	int actions;               /* done in this round */
	bool confirmed, permitted;
};

static volatile sig_atomic_t stop_requested;

static void on_stop(int signal_number)
{
	(void)signal_number;
	stop_requested = 1;
}

static void tell(struct intent_round *round, const json_t *message)
{
	intent_text_auto struct intent_text line = INTENT_TEXT_INIT;
	intent_free_auto char *text = json_dumps(message, JSON_COMPACT);
	const char *p;
	size_t left;

	if (!text)
		return;
	intent_text_puts(&line, text);
	intent_text_puts(&line, "\n");
	/* The runner may be gone: the round goes on to its end all the same. */
	for (p = intent_text_str(&line), left = line.length; left;) {
		ssize_t sent = send(round->channel, p, left, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return;
		p += sent;
		left -= (size_t)sent;
	}
}

/* ---- what observe and apply may call ---- */

const char *intent_round_slice(const struct intent_round *round)
{
	return round->slice;
}

const json_t *intent_round_intent(const struct intent_round *round)
{
	return round->intent;
}

const json_t *intent_round_options(const struct intent_round *round)
{
	return json_object_get(round->intent, "options");
}

const char *intent_round_state_dir(const struct intent_round *round)
{
	return round->context->state_dir;
}

bool intent_round_is_interactive(const struct intent_round *round)
{
	return round->context->interactive;
}

void intent_round_watch(struct intent_round *round, const char *path)
{
	size_t i;
	json_t *item;

	json_array_foreach(round->watch, i, item)
		if (!strcmp(json_string_value(item), path))
			return;
	json_array_append_new(round->watch, json_string(path));
}

void intent_round_again(struct intent_round *round, int64_t ms)
{
	if (round->again_ms < 0 || ms < round->again_ms)
		round->again_ms = ms;
}

void intent_round_progress(struct intent_round *round, json_t *detail)
{
	int64_t now = intent_time_monotonic();

	json_decref(round->progress);
	round->progress = detail;
	if (now - round->progress_sent < PROGRESS_INTERVAL_MS)
		return;
	round->progress_sent = now;
	intent_json_auto json_t *message = json_pack("{so}", "progress", detail);
	round->progress = NULL;
	tell(round, message);
}

void intent_round_detail(struct intent_round *round, const char *name, json_t *value)
{
	json_object_set_new(round->detail, name, value);
}

void intent_round_owned(struct intent_round *round, int count)
{
	round->owned = count;
}

void intent_round_log(struct intent_round *round, enum intent_log_level level, const char *format, ...)
{
	char words[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(words, sizeof(words), format, ap);
	va_end(ap);
	intent_log(level, round->slice, "%s", words);
}

int intent_round_store(struct intent_round *round, struct intent_store **ret_borrowed, struct intent_error *err)
{
	const char *prefix = intent_json_string(round->context->options, "prefix", NULL);

	if (!round->store &&
	    intent_store_open(round->context->store_url, prefix, &round->store, err) < 0)
		return err->code;
	*ret_borrowed = round->store;
	return 0;
}

bool intent_round_should_stop(const struct intent_round *round)
{
	(void)round;
	return stop_requested;
}

/* ---- before anything is removed ---- */

/* Does a prefix concern this slice: asked for without knowing anything, or named after it? */
static bool prefix_is_ours(const struct intent_round *round, const char *prefix, const json_t *basic)
{
	intent_free_auto char *part = intent_format("/%s/", round->slice);
	size_t i;
	json_t *item;

	if (part && strstr(prefix, part))
		return true;
	json_array_foreach((json_t *)(uintptr_t)basic, i, item)
		if (!strcmp(json_string_value(item), prefix))
			return true;
	return false;
}

static int add_prefix(struct intent_store *store, const char *prefix, struct intent_snapshot *all,
		      struct intent_error *err)
{
	struct intent_snapshot *part;

	if (intent_store_list(store, prefix, INTENT_STRONGEST, &part, err) < 0)
		return err->code;
	for (size_t i = 0; i < part->count; i++) {
		const struct intent_entry *e = &part->entries[i];

		intent_snapshot_add(all, e->key, e->value, e->length, e->revision, e->session, e->untrusted);
	}
	intent_snapshot_unref(part);
	intent_snapshot_sort(all);
	return 0;
}

/* What concerns this slice, read again with the store's strongest read. */
static int read_again(struct intent_round *round, const json_t *options, struct intent_snapshot *all,
		      struct intent_error *err)
{
	const struct intent_slicer *slicer = round->context->agent->slicer;
	intent_json_auto json_t *done = json_array(), *basic = slicer->prefixes(all, options);
	struct intent_store *store;

	if (intent_round_store(round, &store, err) < 0)
		return err->code;
	for (bool more = true; more;) {
		intent_json_auto json_t *wanted = slicer->prefixes(all, options);
		size_t i;
		json_t *item;

		more = false;
		json_array_foreach(wanted, i, item) {
			const char *prefix = json_string_value(item);
			bool read = false;
			size_t k;
			json_t *before;

			json_array_foreach(done, k, before)
				read |= !strcmp(json_string_value(before), prefix);
			if (read || !prefix_is_ours(round, prefix, basic))
				continue;
			if (add_prefix(store, prefix, all, err) < 0)
				return err->code;
			json_array_append(done, item);
			more = true;
		}
	}
	return 0;
}

/* Is intent still what this round was started for? Nothing is removed on an old or cached reading. */
static int confirm_intent(struct intent_round *round, struct intent_error *err)
{
	intent_json_auto json_t *options = json_deep_copy(round->context->options);
	intent_json_auto json_t *known = json_pack("[s]", round->slice), *slices = NULL;
	struct intent_snapshot *all = intent_snapshot_new();
	int code;

	if (round->confirmed)
		return 0;
	json_object_set(options, "own", json_object_get(round->intent, "options"));
	code = read_again(round, options, all, err);
	if (!code)
		slices = round->context->agent->slicer->slices(all, options, known);
	intent_snapshot_unref(all);
	if (code < 0)
		return intent_wrap(err, "nothing is removed, because intent could not be read again");
	if (!json_equal(json_object_get(json_object_get(slices, round->slice), "intent"), round->intent))
		return intent_fail(err, INTENT_ESTALE, "intent changed meanwhile; starting again with the new one");
	round->confirmed = true;
	return 0;
}

/* The runner counts removals over all slices. */
static int ask_permission(struct intent_round *round, const json_t *subjects, struct intent_error *err)
{
	intent_json_auto json_t *question = json_pack("{sO si}", "destroy", subjects, "owned", round->owned);
	char answer[sizeof(err->msg)];
	size_t length = 0;
	ssize_t got;

	if (round->permitted || json_is_true(json_object_get(round->intent, "retired")))
		return 0;
	tell(round, question);
	while (length + 1 < sizeof(answer)) {
		got = recv(round->channel, answer + length, 1, 0);
		if (got < 0 && errno == EINTR && !stop_requested)
			continue;
		if (got <= 0)
			return intent_fail(err, INTENT_EUNAVAILABLE, "nothing is removed: the runner did not answer");
		if (answer[length++] == '\n')
			break;
	}
	answer[length - 1] = '\0';
	if (*answer)
		return intent_fail(err, INTENT_EDESTROY, "%s", answer);
	round->permitted = true;
	return 0;
}

/* ---- applying ---- */

static const struct intent_verb *find_verb(const struct intent_agent *agent, const char *name)
{
	for (const struct intent_verb *verb = agent->verbs; verb->name; verb++)
		if (!strcmp(verb->name, name))
			return verb;
	return NULL;
}

static int prepare_removals(struct intent_round *round, const json_t *actions, struct intent_error *err)
{
	intent_json_auto json_t *subjects = json_array();
	size_t i;
	json_t *action;

	json_array_foreach((json_t *)(uintptr_t)actions, i, action) {
		const struct intent_verb *verb = find_verb(round->context->agent, intent_json_string(action, "verb", ""));

		if (verb && verb->flags & INTENT_VERB_DESTROYS)
			json_array_append(subjects, json_object_get(action, "subject"));
	}
	if (!json_array_size(subjects))
		return 0;
	if (confirm_intent(round, err) < 0)
		return err->code;
	return ask_permission(round, subjects, err);
}

static int apply_one(struct intent_round *round, const json_t *action, const struct intent_verb *verb,
		     struct intent_error *err)
{
	intent_log(INTENT_INFO, round->slice, "%s", intent_json_string(action, "reason", ""));
	if (verb->flags & INTENT_VERB_STOP_INT) {
		intent_json_auto json_t *message = json_pack("{ss}", "stop", "int");

		tell(round, message);
	}
	if (verb->apply(round, action, err) < 0)
		return err->code;
	round->actions++;
	return 0;
}

/* Removals wait for permission; everything else goes ahead without it. */
static int apply_all(struct intent_round *round, const json_t *actions, struct intent_error *err)
{
	struct intent_error refused = {0}, failed = {0}, one;
	size_t i;
	json_t *action;

	prepare_removals(round, actions, &refused);
	json_array_foreach((json_t *)(uintptr_t)actions, i, action) {
		const char *name = intent_json_string(action, "verb", "");
		const struct intent_verb *verb = find_verb(round->context->agent, name);

		if (!verb)
			return intent_fail(err, INTENT_EMALFORMED, "the plan has an unknown verb '%s'", name);
		if (stop_requested)
			return intent_fail(err, INTENT_ESTALE, "stopped before: %s", intent_json_string(action, "reason", ""));
		if (verb->flags & INTENT_VERB_DESTROYS && refused.code) {
			failed = failed.code ? failed : refused;
			continue;
		}
		if (apply_one(round, action, verb, &one) == 0)
			continue;
		intent_log(INTENT_ERROR, round->slice, "%s", one.msg);
		if (!failed.code)
			failed = one;
		if (!(verb->flags & INTENT_VERB_INDEPENDENT))
			break;
	}
	if (failed.code)
		*err = failed;
	return failed.code;
}

/* ---- the round ---- */

struct outcome {
	struct intent_error err;   /* code 0: converged */
	json_t *plan;              /* what is left to do; --dry-run shows it */
};

static int observe_and_plan(struct intent_round *round, struct intent_plan *plan, struct intent_error *err)
{
	const struct intent_agent *agent = round->context->agent;
	intent_json_auto json_t *observed = NULL;

	round->owned = 0;
	if (agent->observe(round, round->intent, &observed, err) < 0)
		return err->code;
	return agent->plan(round->intent, observed, plan, err);
}

static void run_passes(struct intent_round *round, struct outcome *outcome)
{
	intent_json_auto json_t *before = NULL;

	for (int pass = 0; pass < PASSES_MAX; pass++) {
		struct intent_plan plan;

		intent_plan_init(&plan);
		memset(&outcome->err, 0, sizeof(outcome->err));
		if (observe_and_plan(round, &plan, &outcome->err) == 0)
			outcome->err = plan.verdict;
		json_decref(outcome->plan);
		outcome->plan = plan.actions;
		if (!json_array_size(plan.actions) || round->context->dry_run)
			return;
		if (before && json_equal(before, plan.actions)) {
			intent_fail(&outcome->err, INTENT_ECHILD, "done, but still needed: %s",
				    intent_json_string(json_array_get(plan.actions, 0), "reason", ""));
			return;
		}
		json_decref(before);
		before = json_incref(plan.actions);
		if (apply_all(round, plan.actions, &outcome->err) < 0)
			return;
	}
	intent_fail(&outcome->err, INTENT_ESTALE, "still changing after %d passes", PASSES_MAX);
}

static void tell_result(struct intent_round *round, struct outcome *outcome)
{
	intent_json_auto json_t *message = NULL;

	message = json_pack("{s{si ss sO sO sO si sI si}}", "result",
			    "code", outcome->err.code, "message", outcome->err.code ? outcome->err.msg : "",
			    "watch", round->watch, "detail", round->detail,
			    "plan", outcome->plan ? outcome->plan : round->watch,
			    "owned", round->owned, "again", (json_int_t)round->again_ms,
			    "actions", round->actions);
	tell(round, message);
}

/* The identity of the intent at work, for the status document. */
static void tell_digest(struct intent_round *round)
{
	intent_json_auto json_t *message = NULL;
	char digest[65];

	intent_json_digest(round->intent, digest);
	message = json_pack("{ss}", "digest", digest);
	tell(round, message);
}

/* A successor waits here for a round that outlived its runner. */
static int lock_slice(struct intent_round *round, struct intent_error *err)
{
	intent_text_auto struct intent_text path = INTENT_TEXT_INIT;
	int fd;

	intent_text_printf(&path, "%s/locks", round->context->state_dir);
	if (intent_directory_make(intent_text_str(&path), 0700, err) < 0)
		return err->code;
	intent_text_puts(&path, "/");
	intent_url_escape(&path, round->slice, "");
	return intent_file_lock(intent_text_str(&path), LOCK_EX, true, &fd, err);
}

int intent__round_main(const json_t *request, int channel, void *data)
{
	struct intent_round round = {
		.context = data, .channel = channel,
		.slice = intent_json_string(request, "slice", ""),
		.intent = json_object_get(request, "intent"),
		.detail = json_object(), .watch = json_array(), .again_ms = -1,
	};
	struct outcome outcome = {.plan = NULL};
	struct sigaction action = {.sa_handler = on_stop};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (intent_json_boolean(request, "announce", false))
		intent_log(INTENT_INFO, round.slice, "Checking spec for %s", round.slice);
	tell_digest(&round);
	if (lock_slice(&round, &outcome.err) == 0)
		run_passes(&round, &outcome);
	tell_result(&round, &outcome);
	/* The process ends here; what it holds goes with it, but sessions' files must not linger. */
	intent_store_close(round.store);
	return 0;
}
