/* What ppctl injection show tells: keys, where from, a digest each; and the sinks. Never a value. */
#include "injector.h"

#define SHOWN_MAX 1000 /* of each: a status has to fit into the store */

/* Owned. */
static char *origin(const json_t *value)
{
	const char *from = intent_json_string(value, "from", "literal"), *mark = strchr(from, '#');
	intent_free_auto char *source = strndup(from, strcspn(from, "#")), *shown = NULL;

	if (!source || !intent_starts_with(from, "tfstate:"))
		return strdup(from);
	shown = injector__shown(source + strlen("tfstate:"));
	return shown ? intent_format("tfstate:%s%s", shown, mark ? mark : "") : NULL;
}

static json_t *values_for_people(const struct injector *injector, const json_t *values)
{
	const json_t *documents = json_object_get(json_object_get(injector->intent, "injection"), "values");
	json_t *shown = json_object(), *value;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)values, key, value) {
		intent_free_auto char *from = origin(json_object_get(documents, key));
		const char *trouble = intent_json_string(json_object_get(value, "fault"), "message",
							 intent_json_string(value, "missing", NULL));

		if (json_object_size(shown) == SHOWN_MAX)
			break;
		json_object_set_new(shown, key, json_pack("{ss* sO* ss* so*}", "from", from,
				    "digest", json_object_get(value, "digest"), "trouble", trouble, "sensitive",
				    intent_json_boolean(value, "sensitive", false) ? json_true() : NULL));
	}
	return shown;
}

static json_t *sinks_for_people(const json_t *sinks)
{
	json_t *shown = json_object(), *sink;
	const char *id;

	json_object_foreach((json_t *)(uintptr_t)sinks, id, sink) {
		const json_t *error = json_object_get(sink, "error");
		const char *state = intent_json_string(sink, "state", "");
		const char *words = !strcmp(state, "ours") ? "written" : error ? "in trouble" : state;

		if (json_object_size(shown) == SHOWN_MAX)
			break;
		json_object_set_new(shown, id, json_pack("{ss ss* sI}", "state", words, "why",
				    intent_json_string(error, "message", intent_json_string(sink, "by", NULL)), "keys",
				    (json_int_t)json_object_size(json_object_get(sink, "keys"))));
	}
	return shown;
}

void injector__tell(const struct injector *injector, const json_t *observed)
{
	const json_t *values = json_object_get(observed, "values");

	if (values)
		intent_round_detail(injector->round, "values", values_for_people(injector, values));
	intent_round_detail(injector->round, "sinks", sinks_for_people(json_object_get(observed, "sinks")));
}
