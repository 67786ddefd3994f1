/*
 * What to do about an injection: all of its values or nothing, each sink for itself. Pure.
 *
 * A sink is compared by content, so that what somebody else changed is put right; what is gone from the values leaves
 * the sink, and a sink that is gone from the injection is removed while it is ours. One that is only another agent's to
 * do stays, and the document's own absence removes nothing.
 */
#include "injector.h"

#define NAMED_MAX 8 /* keys that a sentence names */

struct look {
	const json_t *intent, *observed;
	const json_t *sinks, *values, *recorded; /* of observed */
	const char *world, *name;
	struct intent_plan *out;
};

/* Sorted names of an object, so that plans do not depend on how documents were written. Owned list, borrowed names. */
static const char **sorted(const json_t *object)
{
	const char **names = calloc(json_object_size(object) + 1, sizeof(*names)), *name;
	json_t *ignored;
	size_t count = 0, at;

	json_object_foreach((json_t *)(uintptr_t)object, name, ignored) {
		for (at = count++; at && strcmp(names[at - 1], name) > 0; at--)
			names[at] = names[at - 1];
		names[at] = name;
	}
	return names;
}

static const char *state_of(const struct look *look, const char *id)
{
	return intent_json_string(json_object_get(look->sinks, id), "state", "");
}

static void trouble(struct look *look, const char *id, const json_t *error)
{
	intent_plan_verdict(look->out, (int)intent_json_integer(error, "code", INTENT_EMALFORMED), "%s: %s", id,
			    intent_json_string(error, "message", "cannot be looked at"));
}

/* ---- values ---- */

static bool is_optional(const struct look *look, const char *key)
{
	const json_t *values = json_object_get(json_object_get(look->intent, "injection"), "values");

	return intent_json_boolean(json_object_get(values, key), "optional", false);
}

/* Every one of them, as far as a sentence goes. */
static void say_missing(struct look *look, const char **keys)
{
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
	int count = 0;

	for (const char **key = keys; *key; key++) {
		const char *why = intent_json_string(json_object_get(look->values, *key), "missing", NULL);

		if (!why || is_optional(look, *key))
			continue;
		if (count++ < NAMED_MAX)
			intent_text_printf(&words, "%s%s: %s", words.length ? "; " : "", *key, why);
	}
	if (count > NAMED_MAX)
		intent_text_printf(&words, "; and %d more", count - NAMED_MAX);
	if (count)
		intent_plan_verdict(look->out, INTENT_EOUTPUT, "nothing is written: %s", intent_text_str(&words));
}

/* False when nothing may be written; why is said. */
static bool are_complete(struct look *look, const char **keys)
{
	for (const char **key = keys; *key; key++) {
		const json_t *fault = json_object_get(json_object_get(look->values, *key), "fault");

		if (fault)
			intent_plan_verdict(look->out, (int)intent_json_integer(fault, "code", INTENT_ESOURCE),
					    "%s: %s; what was written before stays", *key,
					    intent_json_string(fault, "message", "cannot be read"));
	}
	say_missing(look, keys);
	return !look->out->verdict.code;
}

/* ---- what was written and is meant no more ---- */

static void forget(struct look *look, const char *id, const char *why)
{
	intent_plan_add(look->out, "forget", id, NULL, json_pack("{s{sn}}", "recorded", id), "Forgetting %s: %s", id, why);
}

static void give_up(struct look *look, const char *id, const char *why)
{
	const json_t *sink = json_object_get(look->sinks, id), *error = json_object_get(sink, "error");
	const char *state = state_of(look, id);

	if (error)
		trouble(look, id, error);
	else if (!strcmp(state, "ours"))
		intent_plan_add(look->out, "remove", id, NULL, json_pack("{s{s{ss}} s{sn}}", "sinks", id, "state",
				"absent", "recorded", id), "Removing %s: %s", id, why);
	else if (json_object_get(look->recorded, id))
		forget(look, id, !strcmp(state, "absent") ? "it is gone" : "it is not ours any more");
}

static void give_up_all(struct look *look, bool all, const char *why)
{
	const json_t *meant = json_object_get(look->intent, "sinks");
	const json_t *elsewhere = json_object_get(look->intent, "elsewhere");
	const char **ids = sorted(look->sinks);

	for (const char **id = ids; *id; id++)
		if (all || (!json_object_get(meant, *id) && !json_object_get(elsewhere, *id)))
			give_up(look, *id, why);
	free(ids);
}

/* ---- writing ---- */

/* "HOST, PORT change, OLD goes" */
static char *differences(const json_t *is, const json_t *wanted)
{
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
	const char **keys = sorted(wanted), **had = sorted(is);
	int named = 0;

	for (const char **key = keys; *key; key++)
		if (!json_equal(json_object_get(is, *key), json_object_get(wanted, *key)) && named++ < NAMED_MAX)
			intent_text_printf(&words, "%s%s %s", words.length ? ", " : "", *key,
					   json_object_get(is, *key) ? "changed" : "is new");
	for (const char **key = had; *key; key++)
		if (!json_object_get(wanted, *key) && named++ < NAMED_MAX)
			intent_text_printf(&words, "%s%s goes", words.length ? ", " : "", *key);
	if (named > NAMED_MAX)
		intent_text_printf(&words, " and %d more", named - NAMED_MAX);
	free(keys);
	free(had);
	return intent_text_steal(&words);
}

/* The observed sink as it will be, as a merge patch: what it holds beside what is wanted goes. */
static json_t *written(const struct look *look, const char *id, const json_t *wanted)
{
	json_t *keys = json_copy((json_t *)(uintptr_t)wanted), *ignored;
	const json_t *is = json_object_get(json_object_get(look->sinks, id), "keys");
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)is, key, ignored)
		if (!json_object_get(wanted, key))
			json_object_set_new(keys, key, json_null());
	return json_pack("{s{s{ss sn sn so}} s{sO}}", "sinks", id, "state", "ours", "by", "differs", "keys", keys,
			 "recorded", id, json_object_get(json_object_get(look->intent, "sinks"), id));
}

static void write_sink(struct look *look, const char *id, const json_t *wanted)
{
	const json_t *sink = json_object_get(look->sinks, id), *is = json_object_get(sink, "keys");
	const char *state = state_of(look, id), *differs = intent_json_string(sink, "differs", NULL);
	intent_free_auto char *changes = differences(is, wanted);
	const char *why = !strcmp(state, "absent") ? "it is not there" :
		!strcmp(state, "foreign") ? "it is taken over" : *changes ? changes : differs;

	if (why)
		intent_plan_add(look->out, "write", id, json_pack("{sO}", "keys", wanted), written(look, id, wanted),
				"Writing %s: %s", id, why);
}

static void plan_sink(struct look *look, const char *id, const json_t *document)
{
	const json_t *sink = json_object_get(look->sinks, id), *error = json_object_get(sink, "error");
	intent_json_auto json_t *wanted = NULL;
	struct intent_error err;
	const char *state = state_of(look, id);

	if (injector__sink_wants(document, look->values, &wanted, &err) < 0) {
		intent_plan_verdict(look->out, err.code, "%s: %s", id, err.msg);
		return;
	}
	if (error) {
		trouble(look, id, error);
		return;
	}
	if (!strcmp(state, "foreign") && !intent_json_boolean(document, "adopt", false)) {
		intent_plan_verdict(look->out, INTENT_ENOTOURS, "%s is there and not ours (%s): it is left as it is; remove "
				    "it, name another, or say \"adopt\": true in injections/%s/%s", id,
				    intent_json_string(sink, "by", "it has no mark of ours"), look->world, look->name);
		return;
	}
	/* A name without an address is none. */
	if (!json_object_size(wanted) && !strcmp(intent_json_string(document, "type", ""), "externalname"))
		return give_up(look, id, "its value is not there");
	write_sink(look, id, wanted);
	if (!strcmp(state, "ours") && !json_object_get(look->recorded, id))
		intent_plan_add(look->out, "remember", id, NULL, json_pack("{s{sO}}", "recorded", id, document),
				"Remembering %s: it has our mark", id);
}

static void plan_present(struct look *look)
{
	const json_t *meant = json_object_get(look->intent, "sinks");
	const char **keys = sorted(look->values), **ids = sorted(meant);

	give_up_all(look, false, "the injection names it no more");
	if (are_complete(look, keys))
		for (const char **id = ids; *id; id++)
			plan_sink(look, *id, json_object_get(meant, *id));
	free(keys);
	free(ids);
}

/* The key is gone: nothing is removed, and what is left is not forgotten. */
static void plan_absent(struct look *look)
{
	const char **ids = sorted(look->recorded);
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
	int count = 0;

	for (const char **id = ids; *id; id++) {
		if (!strcmp(state_of(look, *id), "absent") || !strcmp(state_of(look, *id), "foreign"))
			forget(look, *id, "it is gone, or not ours any more");
		else if (count++ < NAMED_MAX)
			intent_text_printf(&words, "%s%s", words.length ? ", " : "", *id);
	}
	if (count > NAMED_MAX)
		intent_text_printf(&words, " and %d more", count - NAMED_MAX);
	if (count)
		intent_plan_verdict(look->out, INTENT_EORPHANED, "injections/%s/%s is gone, but what it wrote is not (%s): "
				    "write it again, with \"ensure\": \"absent\" if that is to go", look->world,
				    look->name, intent_text_str(&words));
	free(ids);
}

int configmap_injector_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			    struct intent_error *err)
{
	struct look look = {
		.intent = intent, .observed = observed, .out = plan, .sinks = json_object_get(observed, "sinks"),
		.values = json_object_get(observed, "values"), .recorded = json_object_get(observed, "recorded"),
		.world = intent_json_string(intent, "world", ""), .name = intent_json_string(intent, "name", ""),
	};

	(void)err;
	if (intent_json_boolean(intent, "absent", false))
		plan_absent(&look);
	else if (!strcmp(intent_json_string(json_object_get(intent, "injection"), "ensure", ""), "absent"))
		give_up_all(&look, true, "the injection says \"ensure\": \"absent\"");
	else
		plan_present(&look);
	return 0;
}
