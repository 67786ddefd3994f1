/*
 * One round of one slice, in its own process: observe, plan, apply, and again
 * until the plan is empty. Straight-line code; the runner hears lines of JSON.
 */
#include <errno.h>
#include <sys/file.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "round.h"

#define PASSES_MAX 8               /* observe-plan-apply in one round */

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
		int code;

		intent_plan_init(&plan);
		memset(&outcome->err, 0, sizeof(outcome->err));
		code = observe_and_plan(round, &plan, &outcome->err);
		if (code == 0)
			outcome->err = plan.verdict;
		json_decref(outcome->plan);
		outcome->plan = plan.actions;
		/* What was planned before planning failed is no plan. */
		if (code < 0 && outcome->plan)
			json_array_clear(outcome->plan);
		if (!json_array_size(outcome->plan) || round->context->dry_run)
			return;
		if (before && json_equal(before, plan.actions)) {
			intent_fail(&outcome->err, INTENT_ECHILD, "done, but still needed: %s",
				    intent_json_string(json_array_get(plan.actions, 0), "reason", ""));
			return;
		}
		json_decref(before);
		before = json_incref(plan.actions);
		if (intent__round_apply(round, plan.actions, &outcome->err) < 0)
			return;
	}
	intent_fail(&outcome->err, INTENT_ESTALE, "still changing after %d passes", PASSES_MAX);
}

static void tell_result(struct intent_round *round, const struct outcome *outcome)
{
	intent_json_auto json_t *message = NULL;

	message = json_pack("{s{si ss sO sO sO* si sI sI si}}", "result",
			    "code", outcome->err.code, "message", outcome->err.code ? outcome->err.msg : "",
			    "watch", round->watch, "detail", round->detail, "plan", outcome->plan,
			    "owned", round->owned, "again", (json_int_t)round->again_ms,
			    "patience", (json_int_t)round->patience_ms,
			    "actions", round->actions);
	intent__round_tell(round, message);
}

/* The identity of the intent at work, for the status document. */
static void tell_digest(struct intent_round *round)
{
	intent_json_auto json_t *message = NULL;
	char digest[65];

	intent_json_digest(round->intent, digest);
	message = json_pack("{ss}", "digest", digest);
	intent__round_tell(round, message);
}

/* Asked again and again, not waited for in the kernel: a stop must get through. */
static int lock_patiently(struct intent_round *round, const char *path, struct intent_error *err)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	bool said = false;
	int fd;

	/* --dry-run makes no lock file; where there is none, nobody is at work. */
	while (intent_file_lock(path, LOCK_EX | LOCK_NB, !round->context->dry_run, &fd, err) < 0) {
		if (err->code == INTENT_EABSENT && round->context->dry_run)
			return 0;
		if (err->code != INTENT_EBUSY)
			return err->code;
		if (intent_round_should_stop(round) || intent_round_is_outdated(round))
			return intent_fail(err, INTENT_ESTALE, "stopped while another round of this slice still ran");
		if (!said)
			intent_round_log(round, INTENT_INFO, "Waiting for another round of %s to end", round->slice);
		said = true;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A successor waits here for a round that outlived its runner. */
static int lock_slice(struct intent_round *round, struct intent_error *err)
{
	intent_text_auto struct intent_text path = INTENT_TEXT_INIT, name = INTENT_TEXT_INIT;

	intent_url_escape(&name, round->slice, "@:+");
	if (name.length > 200) { /* too long for a file */
		char digest[65];

		intent_sha256_hex(round->slice, strlen(round->slice), digest);
		intent_text_clear(&name);
		intent_text_puts(&name, digest);
	}
	intent_text_printf(&path, "%s/locks", round->context->state_dir);
	if (!round->context->dry_run && intent_directory_make(intent_text_str(&path), 0700, err) < 0)
		return err->code;
	intent_text_printf(&path, "/%s", intent_text_str(&name));
	return lock_patiently(round, intent_text_str(&path), err);
}

int intent__round_main(const json_t *request, int channel, void *data)
{
	struct intent_round round = {
		.context = data, .channel = channel,
		.slice = intent_json_string(request, "slice", ""),
		.intent = json_object_get(request, "intent"),
		.demanded = intent_json_boolean(request, "demanded", false),
		.detail = json_object(), .watch = json_array(), .again_ms = -1,
	};
	struct outcome outcome = {.plan = NULL};

	if (intent_json_string(request, "session", NULL))
		round.session = strdup(intent_json_string(request, "session", ""));
	intent__round_catch_signals();
	if (intent_json_boolean(request, "announce", false))
		intent_log(INTENT_INFO, round.slice, "Checking spec for %s", round.slice);
	tell_digest(&round);
	if (lock_slice(&round, &outcome.err) == 0)
		run_passes(&round, &outcome);
	tell_result(&round, &outcome);
	/* The process ends here; what it holds goes with it, but sessions' files must not linger. */
	intent_store_close(round.store);
	json_decref(outcome.plan);
	json_decref(round.detail);
	json_decref(round.watch);
	json_decref(round.progress);
	free(round.session);
	return 0;
}
