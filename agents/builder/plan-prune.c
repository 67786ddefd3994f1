/*
 * Which builds may go. Pure.
 *
 * What is wanted now stays; of what intent or a running service names, the newest of each input; of the rest, the
 * last --keep of each recipe.
 */
#include "builder.h"

struct build { const char *name, *at; const json_t *seen; };

/* Newest first; names decide between equals, so that the plan is always the same. */
static int compare(const void *a, const void *b)
{
	const struct build *x = a, *y = b;
	int order = strcmp(y->at, x->at);

	return order ? order : strcmp(x->name, y->name);
}

/* Is it one of those that stay whatever their age? */
static bool is_needed(const struct build *build, json_t *inputs)
{
	const char *input = intent_json_string(build->seen, "input", "");
	bool first = !json_object_get(inputs, input);

	if (intent_json_boolean(build->seen, "wanted", false))
		return true;
	if (!json_object_get(build->seen, "named") || !first)
		return false;
	json_object_set_new(inputs, input, json_true());
	return true;
}

static void remove_it(const struct build *build, int64_t keep, struct intent_plan *plan)
{
	intent_plan_add(plan, "prune", build->name, json_pack("{sO}", "input", json_object_get(build->seen, "input")),
			json_pack("{s{sn}}", "builds", build->name),
			"Nothing names it, and it is not among the last %lld: %s", (long long)keep, build->name);
}

void builder__plan_prune(const json_t *intent, const json_t *observed, struct intent_plan *plan)
{
	int64_t keep = intent_json_integer(json_object_get(intent, "options"), "keep", 10);
	json_t *builds = json_object_get(observed, "builds"), *seen;
	intent_json_auto json_t *inputs = json_object(), *counts = json_object();
	struct build *all = calloc(json_object_size(builds) + 1, sizeof(*all));
	size_t count = 0;
	const char *name;

	json_object_foreach(builds, name, seen)
		all[count++] = (struct build){name, intent_json_string(seen, "at", ""), seen};
	if (count)
		qsort(all, count, sizeof(*all), compare);
	for (size_t i = 0; i < count; i++) {
		const char *recipe = strchr(all[i].name, '/') ? strchr(all[i].name, '/') + 1 : "";
		int64_t before = intent_json_integer(counts, recipe, 0);

		if (is_needed(&all[i], inputs))
			continue;
		json_object_set_new(counts, recipe, json_integer(before + 1));
		if (before >= keep)
			remove_it(&all[i], keep, plan);
	}
	free(all);
}
