/* pp-terraform-applier: each stack is as its Terraform module says, with a person's consent where needed. */
#include <sys/stat.h>
#include <intent/file.h>
#include "applier.h"

/* ---- observing ---- */

/* With --once somebody is waiting for a look at the world itself. */
static bool is_once(struct intent_round *round)
{
	struct intent_error ignored;
	const char *session;

	return intent_round_session(round, &session, &ignored) == 0 && !session;
}

/* The summary of a plan that is still good, borrowed from `cached`; NULL: it is time for another. */
static json_t *reuse(struct applier *applier, const json_t *cached)
{
	int64_t interval = intent_json_integer(applier->options, "drift-interval", 1800000);
	int64_t age = intent_time_now() - intent_json_integer(cached, "at", 0);

	if (!cached || strcmp(intent_json_string(cached, "inputs", ""), applier->inputs) || age < 0 ||
	    age >= interval || is_once(applier->round))
		return NULL;
	intent_round_again(applier->round, interval - age);
	return json_object_get(cached, "summary");
}

/* After an empty plan: what is intended is so. */
static int note_clean(const struct applier *applier, const json_t *summary, struct intent_error *err)
{
	intent_json_auto json_t *before = applier__read(applier, "applied");
	intent_json_auto json_t *now = json_pack("{ss sb sI sO* sO*}", "inputs", applier->inputs, "clean", 1,
			"managed", (json_int_t)intent_json_integer(summary, "managed", 0),
			"state", json_object_get(applier->stack, "state"), "spent", json_object_get(before, "spent"));

	return applier__write(applier, "applied", now, err);
}

/* So that the next attempt begins with init: what failed may be its fault. */
static void doubt_module(const struct applier *applier)
{
	intent_json_auto json_t *module = applier__read(applier, "module");
	struct intent_error ignored;

	if (!module)
		return;
	json_object_set_new(module, "done", json_false());
	applier__write(applier, "module", module, &ignored);
}

static int plan_afresh(struct applier *applier, json_t *observed, struct intent_error *err)
{
	intent_json_auto json_t *summary = NULL, *lock = NULL, *cached = NULL;
	intent_close_auto int plan_fd = -1;
	intent_free_auto char *text = intent_format("%s/plan.txt", applier->home);

	if (applier__module(applier, err) < 0)
		return err->code;
	if (applier__plan(applier, &plan_fd, &summary, &lock, err) < 0) {
		doubt_module(applier);
		return err->code;
	}
	if (lock)
		return json_object_set(observed, "state_lock", lock);
	if (intent_json_integer(summary, "changes", 0)) {
		if (applier__keep_text(applier, plan_fd, err) < 0)
			return err->code;
	} else if (note_clean(applier, summary, err) < 0 || !text || intent_file_remove(text, err) < 0) {
		return err->code;
	}
	cached = json_pack("{ss sI sO}", "inputs", applier->inputs, "at", (json_int_t)intent_time_now(),
			   "summary", summary);
	json_object_set(observed, "plan", summary);
	return applier__write(applier, "plan", cached, err);
}

static int look_at_plan(struct applier *applier, json_t *observed, struct intent_error *err)
{
	intent_json_auto json_t *cached = applier__read(applier, "plan"), *lock = NULL;
	json_t *summary = reuse(applier, cached);

	if (summary)
		json_object_set(observed, "plan", summary);
	if (!summary || intent_json_integer(summary, "changes", 0)) {
		if (applier__look_at_locks(applier, &lock, err) < 0)
			return err->code;
		if (lock)
			json_object_set(observed, "lock", lock);
	}
	/* Whoever holds the lock is changing what a plan would look at. */
	return summary || lock ? 0 : plan_afresh(applier, observed, err);
}

/* What was applied before, beside what is intended now. */
static void look_at_past(struct applier *applier, json_t *observed)
{
	intent_json_auto json_t *applied = applier__read(applier, "applied");
	intent_json_auto json_t *pending = applier__read(applier, "pending");
	intent_free_auto char *errored = applier__errored(applier);
	const json_t *was = json_object_get(applied, "state"), *is = json_object_get(applier->stack, "state");
	int64_t managed = intent_json_integer(applied, "managed", 0);
	bool is_same = !strcmp(intent_json_string(applied, "inputs", ""), applier->inputs);
	bool is_clean = intent_json_boolean(applied, "clean", false);

	if (is_same)
		json_object_set_new(observed, is_clean ? "settled" : "unsettled", json_true());
	if (managed)
		json_object_set_new(observed, "had", json_integer((json_int_t)managed));
	if (managed && was != is && !(was && is && json_equal(was, is)))
		json_object_set_new(observed, "moved", json_true());
	if (pending)
		json_object_set(observed, "pending", pending);
	if (errored)
		json_object_set_new(observed, "errored", json_string(errored));
	if (json_object_get(applied, "spent"))
		json_object_set(observed, "spent", json_object_get(applied, "spent"));
}

/* What is left of a stack whose key is gone. */
static void look_back(struct applier *applier, json_t *observed)
{
	intent_json_auto json_t *applied = applier__read(applier, "applied"), *plan = applier__read(applier, "plan");
	intent_json_auto json_t *pending = applier__read(applier, "pending");
	intent_free_auto char *errored = applier__errored(applier);
	int64_t managed = intent_json_integer(json_object_get(plan, "summary"), "managed",
					      intent_json_integer(applied, "managed", 0));
	struct stat st;

	if (stat(applier->home, &st) == 0)
		json_object_set_new(observed, "last", json_pack("{sI}", "managed", (json_int_t)managed));
	if (pending)
		json_object_set(observed, "pending", pending);
	if (errored)
		json_object_set_new(observed, "errored", json_string(errored));
	intent_round_owned(applier->round, managed > 0);
}

/* Counts and addresses for the status, never values. */
static json_t *for_people(const struct applier *applier, const json_t *summary)
{
	json_t *shown, *list;
	const char *kind;

	if (!intent_json_integer(summary, "changes", 0))
		return json_pack("{sO}", "managed", json_object_get(summary, "managed"));
	shown = json_deep_copy(summary);
	json_object_foreach(json_object_get(shown, "addresses"), kind, list)
		while (json_array_size(list) > APPLIER_ADDRESSES_MAX)
			json_array_remove(list, APPLIER_ADDRESSES_MAX);
	json_object_set_new(shown, "approve", json_sprintf("ppctl approve stack %s/%s %s", applier->world, applier->name,
							   intent_json_string(summary, "id", "")));
	return shown;
}

static void tell(struct applier *applier, const json_t *observed)
{
	const json_t *summary = json_object_get(observed, "plan");
	const json_t *fault = json_object_get(applier->intent, "approval_fault");

	intent_round_detail(applier->round, "commit", json_string(applier->commit));
	if (summary)
		intent_round_detail(applier->round, "plan", for_people(applier, summary));
	if (fault)
		intent_round_detail(applier->round, "approval_fault", json_incref((json_t *)(uintptr_t)fault));
	intent_round_owned(applier->round, intent_json_integer(summary, "managed", 0) > 0);
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		   struct intent_error *err)
{
	intent_json_auto json_t *observed = json_object();
	struct applier applier;
	int code = 0;

	if (applier__open(&applier, round, err) < 0)
		return err->code;
	if (intent_json_boolean(intent, "absent", false)) {
		look_back(&applier, observed);
	} else {
		code = applier__resolve(&applier, err);
		if (!code) {
			json_object_set_new(observed, "commit", json_string(applier.commit));
			/* Before the plan, which may show that all is well now. */
			look_at_past(&applier, observed);
			code = look_at_plan(&applier, observed, err);
		}
		if (!code)
			tell(&applier, observed);
	}
	applier__close(&applier);
	if (!code)
		*ret_new_observed = json_incref(observed);
	return code;
}

/* ---- the tables ---- */

static const struct intent_option options[] = {
	{.name = "terraform", .type = INTENT_OPTION_STRING, .metavar = "PROGRAM", .otherwise = "terraform",
	 .help = "terraform or tofu, 1.5 or newer; found on PATH"},
	{.name = "world", .type = INTENT_OPTION_STRING, .metavar = "WORLD,...",
	 .help = "only the stacks of these worlds (default: all)"},
	{.name = "drift-interval", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "30m", .max = 604800000,
	 .help = "plan again after so long though nothing changed in intent; --once always does"},
	{.name = "plan-timeout", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "30m",
	 .min = 1000, .max = 86400000, .help = "interrupt init or plan after so long; an apply has no limit"},
	{.name = "lock-timeout", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "10s", .max = 3600000,
	 .help = "how long Terraform itself waits for its lock on the state"},
	{.name = "pass-env", .type = INTENT_OPTION_STRING, .metavar = "PATTERNS",
	 .otherwise = "AWS_* GOOGLE_* ARM_* KUBE_* TF_VAR_* TF_HTTP_*",
	 .help = "which variables of its own environment Terraform gets, beside PATH, locale and proxies"},
	{.name = "plugin-cache", .type = INTENT_OPTION_PATH, .metavar = "DIR",
	 .help = "providers, shared by all stacks (default: in the state directory)"},
	{.name = "cli-config", .type = INTENT_OPTION_PATH, .metavar = "FILE", .env = "TF_CLI_CONFIG_FILE",
	 .help = "Terraform's own configuration file: mirrors, credentials helpers"},
	{.name = "github", .type = INTENT_OPTION_STRING, .metavar = "URL", .otherwise = "https://github.com/",
	 .help = "what gh:// stands for"},
	{.name = NULL},
};

static const struct intent_verb verbs[] = {
	{"apply", INTENT_VERB_STOP_INT, applier__apply},
	{"destroy", INTENT_VERB_STOP_INT | INTENT_VERB_DESTROYS, applier__apply},
	{"settle", 0, applier__settle},
	{"forget", INTENT_VERB_DESTROYS, applier__forget},
	{NULL, 0, NULL},
};

static const struct intent_agent agent = {
	.name = "terraform-applier",
	.summary = "Plans and applies the Terraform stacks that intent names, with approval where it is needed.",
	.options = options,
	.slicer = &applier__slicer,
	.observe = observe,
	.plan = terraform_applier_plan,
	.verbs = verbs,
};

int main(int argc, char **argv)
{
	/* State, plans and variables are nobody else's business. */
	umask(077);
	return intent_agent_main(&agent, argc, argv);
}
