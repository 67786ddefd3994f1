/*
 * The table of nftables: opened as a whole, and closed under a verb of its own when an application is gone, since only
 * then is it absence that removes. Pure.
 */
#include "port-firewall.h"

#define WORDS_MAX 8 /* openings named in one reason */

/* ---- words ---- */

/* "80/tcp" */
static const char *port_words(const json_t *opening, char out[32])
{
	snprintf(out, 32, "%d/%.8s", (int)intent_json_integer(opening, "port", 0),
		 intent_json_string(opening, "protocol", "?"));
	return out;
}

/* {"80/tcp": opening}. New. */
static json_t *by_port(const json_t *openings)
{
	json_t *index = json_object(), *opening;
	char port[32];
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)openings, i, opening)
		json_object_set(index, port_words(opening, port), opening);
	return index;
}

/*
 * "opening 80/tcp, 81/tcp": those of `these` that `others` have not; or, `changed`, that they have
 * otherwise.
 */
static void put_difference(struct intent_text *text, const char *verb, const json_t *these,
			   const json_t *others, bool changed)
{
	intent_json_auto json_t *index = by_port(others);
	size_t i, count = 0;
	json_t *opening;
	char port[32];

	json_array_foreach((json_t *)(uintptr_t)these, i, opening) {
		const json_t *other = json_object_get(index, port_words(opening, port));

		if (other ? !changed || json_equal(opening, other) : changed)
			continue;
		if (count++ >= WORDS_MAX)
			continue;
		intent_text_puts(text, count > 1 ? ", " : text->length ? "; " : "");
		intent_text_printf(text, "%s%s%s", count > 1 ? "" : verb, count > 1 ? "" : " ",
				   port);
	}
	if (count > WORDS_MAX)
		intent_text_printf(text, " and %zu more", count - WORDS_MAX);
}

static void put_changes(struct intent_text *text, const json_t *before, const json_t *after)
{
	put_difference(text, "opening", after, before, false);
	put_difference(text, "closing", before, after, false);
	put_difference(text, "changing who may reach", after, before, true);
}

/* ---- rules ---- */

/* "22,443/tcp,53/udp" or "none", onto an array of ports. */
static int add_always(json_t *ports, const char *list, struct intent_error *err)
{
	while (*list && strcmp(list, "none") != 0) {
		size_t length = strcspn(list, ",");
		intent_free_auto char *item = strndup(list, length);
		char *slash = strchr(item, '/');
		const char *protocol = slash ? slash + 1 : "tcp";
		int64_t port;

		if (slash)
			*slash = '\0';
		if ((strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0) ||
		    intent_integer_parse(item, 1, 65535, &port, err))
			return intent_fail(
				err, INTENT_EUSAGE,
				"--always has '%.*s', but takes ports such as 22,443/tcp,53/udp",
				(int)(length < 60 ? length : 60), list);
		json_array_append_new(ports, json_pack("{sI ss}", "port", (json_int_t)port,
						       "protocol", protocol));
		list += length + (list[length] == ',');
	}
	return 0;
}

/* The rules that these make together. *ret_new NULL: no table is needed for that. */
static int rules_of(const struct firewall_look *look, const json_t *known, json_t **ret_new,
		    struct intent_error *err)
{
	const char *policy = intent_json_string(look->options, "policy", "accept"), *name;
	intent_json_auto json_t *ports = json_array();
	json_t *openings;

	json_object_foreach((json_t *)(uintptr_t)known, name, openings)
		json_array_extend(ports, openings);
	*ret_new = NULL;
	if (!json_array_size(ports) && !strcmp(policy, "accept"))
		return 0;
	if (add_always(ports, intent_json_string(look->options, "always", "22"), err))
		return err->code;
	*ret_new = json_pack("{ss so}", "policy", policy, "open", firewall__openings(ports));
	return 0;
}

static const char *string_of(const json_t *object, const char *name)
{
	return intent_json_string(object, name, "");
}

/* Is the table these rules and nothing else? */
static bool is_in_place(const struct firewall_look *look, const json_t *rules)
{
	const json_t *table = json_object_get(look->observed, "table"),
		     *record = json_object_get(look->observed, "record");

	if (!rules || !table)
		return !rules && !table;
	return json_equal(json_object_get(record, "rules"), rules) &&
	       !json_object_get(record, "outdated") &&
	       !strcmp(string_of(table, "listing"), string_of(record, "listing"));
}

static json_t *table_effect(const json_t *rules)
{
	return rules ? json_pack("{s{sn} s{sO sn sn}}", "table", "listing", "record", "rules",
				 rules, "listing", "outdated")
		     : json_pack("{sn sn}", "table", "record");
}

static void put_why(struct intent_text *why, const struct firewall_look *look, const json_t *rules)
{
	const json_t *table = json_object_get(look->observed, "table"),
		     *record = json_object_get(look->observed, "record");
	const json_t *before = json_object_get(record, "rules");

	if (!table) {
		intent_text_puts(why, "does not exist");
		put_difference(why, "opening", json_object_get(rules, "open"), NULL, false);
		return;
	}
	put_changes(why, json_object_get(before, "open"), json_object_get(rules, "open"));
	if (strcmp(string_of(before, "policy"), string_of(rules, "policy")) != 0)
		intent_text_printf(why, "%spolicy is %s", why->length ? "; " : "",
				   string_of(rules, "policy"));
	if (json_object_get(record, "outdated"))
		intent_text_printf(why, "%sit was made by another version of this program",
				   why->length ? "; " : "");
	if (strcmp(string_of(table, "listing"), string_of(record, "listing")) != 0)
		intent_text_printf(why, "%sit is not as it was left", why->length ? "; " : "");
}

/*
 * What the table holds is not remembered, so nobody can say what this closes: only with intent that
 * was read again, and remembered in the same step.
 */
static void plan_renew(struct firewall_look *look, const char *table, const json_t *rules,
		      const char *why)
{
	json_t *effect = table_effect(rules);

	json_object_set_new(effect, "known", json_copy(look->known));
	intent_plan_add(
		look->plan, "renew", table,
		json_pack("{so sO*}", "known", json_copy(look->known), "rules", rules), effect,
		"Table inet %s: %s", table, why);
}

static void plan_replace(struct firewall_look *look, const json_t *rules)
{
	const char *table = intent_json_string(look->options, "table", "platypus");
	intent_text_auto struct intent_text why = INTENT_TEXT_INIT;
	bool in_place = is_in_place(look, rules);

	if (rules)
		put_why(&why, look, rules);
	else
		intent_text_puts(&why,
				 "nothing is to be open, and the policy is accept: removing it");
	if (!in_place && !firewall__known_before(look) && json_object_get(look->observed, "table")) {
		plan_renew(look, table, rules, intent_text_str(&why));
		return;
	}
	firewall__plan_remember(look);
	if (!in_place)
		intent_plan_add(look->plan, rules ? "replace" : "remove", table, json_pack("{sO*}", "rules", rules),
				table_effect(rules), "Table inet %s: %s", table, intent_text_str(&why));
}

/* One after the other, each a whole ruleset: any of them may be the last that is permitted. */
static int plan_close(struct firewall_look *look, struct intent_error *err)
{
	intent_json_auto json_t *before = json_copy(look->known); /* holds the names */
	intent_free_auto const char **list = firewall__sorted_names(before);

	for (const char **each = list; *each; each++) {
		intent_text_auto struct intent_text ports = INTENT_TEXT_INIT;
		intent_json_auto json_t *rules = NULL;
		json_t *effect;

		if (!firewall__is_gone(look, *each))
			continue;
		put_difference(&ports, "it had open", json_object_get(look->known, *each), NULL,
			       false);
		json_object_del(look->known, *each);
		if (rules_of(look, look->known, &rules, err))
			return err->code;
		effect = table_effect(rules);
		json_object_set_new(effect, "known", json_pack("{sn}", *each));
		intent_plan_add(look->plan, "close", *each,
				json_pack("{so sO*}", "known", json_copy(look->known), "rules", rules), effect,
				"Closing what %s opened: intent for it is gone from this node; %s", *each,
				intent_text_str(&ports));
	}
	return 0;
}

int firewall__plan_table(struct firewall_look *look, struct intent_error *err)
{
	const char *foreign =
		intent_json_string(json_object_get(look->observed, "table"), "foreign", NULL);
	const char *table = intent_json_string(look->options, "table", "platypus");
	intent_json_auto json_t *rules = NULL;

	if (rules_of(look, look->known, &rules, err))
		return err->code;
	if (foreign) {
		if (rules)
			intent_plan_verdict(look->plan, INTENT_ENOTOURS,
					    "table inet %s %s: remove it (nft delete table "
					    "inet %s), or choose another name with --table",
					    table, foreign, table);
		return 0;
	}
	plan_replace(look, rules);
	return plan_close(look, err);
}

void firewall__plan_table_removal(struct firewall_look *look)
{
	const json_t *table = json_object_get(look->observed, "table");

	if (!table || json_object_get(table, "foreign"))
		return;
	intent_plan_add(look->plan, "remove",
			intent_json_string(look->options, "table", "platypus"), NULL,
			table_effect(NULL), "Removing the table: the node is retired");
}
