/*
 * What to build of an application, in the order in which it is wanted. Pure.
 *
 * An artifact is known by its input: two revisions with one content are built once.
 */
#include "builder.h"

struct look {
	const json_t *intent, *observed;
	struct intent_plan *out;
	json_t *made; /* input: built by an action of this plan */
};

/* The effect on one target. New. */
static json_t *effect_on(const char *target)
{
	return json_pack("{s{s{sb sb sn}}}", "targets", target, "artifact", 1, "published", 1, "failed");
}

static void add(struct look *look, const char *verb, const json_t *wanted, const json_t *seen, const char *why)
{
	const char *target = intent_json_string(wanted, "target", "");
	const char *revision = intent_json_string(seen, "revision", "");
	json_t *args = json_pack("{ss ss}", "revision", revision, "input", intent_json_string(seen, "input", ""));

	intent_plan_add(look->out, verb, target, args, effect_on(target), "%s %s at %.12s: %s",
			strcmp(verb, "publish") ? "Building" : "Publishing", target, revision, why);
}

/* What keeps a target from being built now; true: a verdict was given. */
static bool is_held_up(struct look *look, const char *target, const json_t *seen)
{
	const json_t *trouble = json_object_get(seen, "trouble");
	const char *failed = intent_json_string(seen, "failed", NULL);
	const char *holder = intent_json_string(seen, "holder", NULL);
	const char *revision = intent_json_string(seen, "revision", "");
	long long rest = intent_json_integer(seen, "rest_ms", 0);

	if (!json_is_object(seen))
		intent_plan_verdict(look->out, INTENT_EWAITING, "%s has not been looked at", target);
	else if (trouble)
		intent_plan_verdict(look->out, (int)intent_json_integer(trouble, "code", INTENT_EUNAVAILABLE), "%s: %s",
				    target, intent_json_string(trouble, "message", ""));
	else if (intent_json_boolean(seen, "artifact", false))
		return false;
	else if (rest > 0)
		intent_plan_verdict(look->out, INTENT_EWAITING, "%s at %.12s changed a moment ago: it is built when it "
				    "has rested", target, revision);
	else if (failed)
		intent_plan_verdict(look->out, INTENT_ECHILD, "%s at %.12s: %s", target, revision, failed);
	else if (holder)
		intent_plan_verdict(look->out, INTENT_EBUSY, "%s at %.12s is being built by %s", target, revision,
				    holder);
	else
		return false;
	return true;
}

static void plan_target(struct look *look, const json_t *wanted)
{
	const char *target = intent_json_string(wanted, "target", "");
	const json_t *seen = json_object_get(json_object_get(look->observed, "targets"), target);
	const char *input = intent_json_string(seen, "input", "");
	bool aside = intent_json_integer(look->intent, "concurrency", 1) > 1;

	if (is_held_up(look, target, seen))
		return;
	if (intent_json_boolean(seen, "artifact", false)) {
		if (!intent_json_boolean(seen, "published", false))
			add(look, "publish", wanted, seen, "it is there already");
	} else if (json_object_get(look->made, input)) {
		add(look, "publish", wanted, seen, "what is built above has the same content");
	} else {
		json_object_set_new(look->made, input, json_true());
		add(look, aside ? "build-aside" : "build", wanted, seen, "it is not there yet");
	}
}

int builder_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan, struct intent_error *err)
{
	struct look look = {.intent = intent, .observed = observed, .out = plan, .made = json_object()};
	size_t i;
	json_t *wanted;

	(void)err;
	if (intent_json_boolean(intent, "absent", false)) {
		if (intent_json_boolean(observed, "remains", false))
			intent_plan_add(plan, "forget", intent_json_string(intent, "app", ""), NULL,
					json_pack("{sn}", "remains"),
					"Forgetting what was kept to build it: it is gone from intent");
	} else {
		json_array_foreach(json_object_get(intent, "wanted"), i, wanted)
			plan_target(&look, wanted);
		builder__plan_prune(intent, observed, plan);
	}
	json_decref(look.made);
	return 0;
}
