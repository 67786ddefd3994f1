/* What to open and what to close: pure, from intent and what was observed (port-firewall.h) alone. */
#include "port-firewall.h"

/* Not one of ours to worry about: a bad gate that may be meant for others, and opened nothing here. */
static bool is_elsewhere(const struct firewall_look *look, const char *name, const json_t *trouble)
{
	return intent_json_boolean(trouble, "elsewhere", false) &&
	       !json_object_get(firewall__known_before(look), name);
}

/* What stands in the way; what waits counts for less than what is wrong. */
static void judge_troubles(struct firewall_look *look, bool forgotten)
{
	const json_t *troubles = json_object_get(look->intent, "troubles"), *worst = NULL;
	intent_free_auto const char **list = firewall__sorted_names(troubles);
	const char *name = "";
	int others = -1;
	char more[48] = "";

	for (const char **each = list; *each; each++) {
		const json_t *trouble = json_object_get(troubles, *each);
		int code = (int)intent_json_integer(trouble, "code", INTENT_EMALFORMED);

		if (is_elsewhere(look, *each, trouble))
			continue;
		others++;
		if (worst && (intent_error_state(code) == INTENT_WAITING ||
			      intent_error_state((int)intent_json_integer(worst, "code", 0)) !=
				      INTENT_WAITING))
			continue;
		worst = trouble;
		name = *each;
	}
	if (!worst)
		return;
	if (others)
		snprintf(more, sizeof(more), " (and %d more like it)", others);
	intent_plan_verdict(
		look->plan, (int)intent_json_integer(worst, "code", INTENT_EMALFORMED),
		"%s%s: %.300s; %s", name, more, intent_json_string(worst, "message", ""),
		forgotten
			? "what it had open is no longer known (is the state directory new?), so nothing is "
			  "changed until this is mended, or the table removed by hand"
		: json_array_size(json_object_get(look->known, name))
			? "what it had open stays open, all others are as meant"
			: "nothing is open for it, all others are as meant");
}

/* The table stands, and what it should hold is neither in intent nor remembered. */
static bool is_forgotten(const struct firewall_look *look)
{
	const char *name;
	json_t *trouble;

	if (firewall__known_before(look) || !json_object_get(look->observed, "table"))
		return false;
	json_object_foreach(json_object_get(look->intent, "troubles"), name, trouble)
		if (!is_elsewhere(look, name, trouble))
			return true;
	return false;
}

static int plan_meant(struct firewall_look *look, struct intent_error *err)
{
	int code = 0;

	if (is_forgotten(look)) {
		judge_troubles(look, true);
		return 0;
	}
	firewall__take_known(look);
	if (json_object_get(look->options, "cmd"))
		firewall__plan_files(look);
	else
		code = firewall__plan_table(look, err);
	judge_troubles(look, false);
	return code;
}

static void plan_retired(struct firewall_look *look)
{
	if (!json_object_get(look->options, "cmd")) {
		firewall__plan_table_removal(look);
		return;
	}
	look->known = firewall__known_before(look) ? json_copy(firewall__known_before(look)) : json_object();
	firewall__plan_files(look);
}

int port_firewall_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		       struct intent_error *err)
{
	const json_t *options = json_object_get(intent, "options"),
		     *table = json_object_get(observed, "table");
	struct firewall_look look = {
		.intent = intent,
		.observed = observed,
		.options = options,
		.plan = plan,
		.node = intent_json_string(intent, "node", ""),
	};
	int code = 0;

	if (intent_json_boolean(intent, "retired", false))
		plan_retired(&look);
	else if (!intent_json_boolean(intent, "vanished", false))
		code = plan_meant(&look, err);
	else if (table || json_object_size(json_object_get(observed, "known")))
		intent_plan_verdict(
			plan, INTENT_EVANISHED,
			"no key is left under nodes/%s/, so nothing is closed; write the keys "
			"again, or retire the node: ppctl put nodes/%s/ '{\"ensure\": \"absent\"}'",
			look.node, look.node);
	else
		intent_plan_verdict(plan, INTENT_ENOCONFIG,
				    "no key under nodes/%s/ yet: ppctl node add", look.node);
	json_decref(look.known);
	return code;
}
