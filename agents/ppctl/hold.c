/*
 * hold, unhold: "leave it as it is", said on a node (its marker), on an application of a node, or on
 * clusters of an application (their config).
 */
#include "ppctl.h"

struct holding {
	struct ppctl *ctl;
	const char *app, *node, *cluster; /* NULL: not named */
	json_t *hold;                     /* the object to write; NULL: take away */
	json_t *results;                  /* [{"key", "changed", "hold"}] */
	json_t *before;                   /* the hold that was found; owned */
};

/* ---- the object ---- */

/* People say no milliseconds. */
static void format_seconds(int64_t unix_ms, char ret[32])
{
	intent_time_format(unix_ms, ret);
	snprintf(ret + strcspn(ret, ".Z"), 2, "Z");
}

/* "2h" from now, or a time, as RFC 3339. */
static int until_when(const char *text, char ret[32], struct intent_error *err)
{
	struct intent_error ignored;
	int64_t ms, now = intent_time_now();

	if (!intent_duration_parse(text, &ms, &ignored))
		ms += now;
	else if (intent_time_parse(text, &ms, &ignored))
		return intent_fail(err, INTENT_EUSAGE,
				   "--until \"%.64s\" is neither a duration (\"90m\", \"2h\", "
				   "\"1d\") nor a time (\"2026-11-21T18:00:00Z\")",
				   text);
	if (ms <= now)
		return intent_fail(err, INTENT_EUSAGE, "--until %.64s: that time has passed", text);
	format_seconds(ms, ret);
	return 0;
}

/* Words of the command line from `first` on, or --why. Owned; "" when there are none. */
static char *reason(struct ppctl *ctl, size_t first)
{
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
	const char *word;

	intent_text_puts(&words, ppctl_option(ctl, "why") ? ppctl_option(ctl, "why") : "");
	for (size_t i = first; (word = ppctl_argument(ctl, i)); i++)
		intent_text_printf(&words, "%s%s", words.length ? " " : "", word);
	return words.length ? intent_text_steal(&words) : strdup("");
}

static int make_hold(struct ppctl *ctl, size_t first_word, json_t **ret_new,
		     struct intent_error *err)
{
	const char *until = ppctl_option(ctl, "until");
	intent_free_auto char *why = reason(ctl, first_word);
	intent_free_auto char *who = ppctl_person();
	char since[32], end[32];

	if (until && until_when(until, end, err))
		return err->code;
	format_seconds(intent_time_now(), since);
	*ret_new = json_pack("{ss* ss* ss ss*}", "why", why && *why ? why : NULL, "who", who,
			     "since", since, "until", until ? end : NULL);
	return *ret_new ? 0 : intent_fail(err, INTENT_EUSAGE, "the reason is not valid UTF-8");
}

/* The same reason until the same time: whoever said it first has said it. */
static bool says_the_same(const json_t *old, const json_t *hold)
{
	const char *why = json_is_string(old) ? json_string_value(old) :
						intent_json_string(old, "why", "");
	return old && !json_is_false(old) && !strcmp(why, intent_json_string(hold, "why", "")) &&
		!strcmp(intent_json_string(old, "until", ""),
			intent_json_string(hold, "until", ""));
}

static int change_hold(json_t *document, void *data, struct intent_error *err)
{
	struct holding *holding = data;
	json_t *old = json_object_get(document, "hold");

	(void)err;
	if (old && !json_is_false(old) && !holding->before)
		holding->before = json_incref(old);
	if (!holding->hold)
		json_object_del(document, "hold");
	else if (!says_the_same(old, holding->hold))
		json_object_set(document, "hold", holding->hold);
	return 0;
}

/* ---- what is said ---- */

static void say_one(const struct holding *holding, const char *key, bool changed,
		    const json_t *now)
{
	intent_free_auto char *words =
		ppctl_hold_words(key, holding->hold ? now : holding->before);

	if (holding->hold)
		ppctl_say("held: %s%s", words ? words : key, changed ? "" : " (as before)");
	else if (changed)
		ppctl_say("held no more: %s", words ? words : key);
	else
		ppctl_say("not held: %s (as before)", key);
}

static int change_one(struct holding *holding, const char *key, const char *otherwise,
		      struct intent_error *err)
{
	const struct ppctl_change change = {key, otherwise, change_hold, holding};
	intent_json_auto json_t *after = NULL;
	bool changed = false;
	int code = ppctl_change(holding->ctl, &change, &changed, &after, err);

	if (!code) {
		const json_t *now = json_object_get(after, "hold");
		json_array_append_new(holding->results,
				      json_pack("{ss sb sO*}", "key", key, "changed", changed,
						"hold", now));
		say_one(holding, key, changed, now);
	}
	json_decref(holding->before);
	holding->before = NULL;
	return code;
}

/* ---- where it stands ---- */

static int absent_node(const char *node, const char *app, struct intent_error *err)
{
	if (app)
		return intent_fail(err, INTENT_EABSENT,
				   "%s runs no %s; \"ppctl ls nodes/%s\" lists what it runs, and a "
				   "reason of one word is given as --why %s",
				   node, app, node, app);
	return intent_fail(err, INTENT_EABSENT,
			   "there is no node %s; \"ppctl ls nodes\" lists them", node);
}

static int hold_node(struct holding *holding, struct intent_error *err)
{
	intent_free_auto char *marker = intent_format("nodes/%s/", holding->node);
	intent_free_auto char *key =
		intent_format("%s%s", marker, holding->app ? holding->app : "");
	struct intent_snapshot *found = NULL;

	if (ppctl_list(holding->ctl, marker, &found, err))
		return err->code;
	size_t count = found->count;
	bool there = holding->app ? intent_snapshot_find(found, key) != NULL : count > 0;
	intent_snapshot_unref(found);
	if (!there)
		return absent_node(holding->node, holding->app, err);
	return change_one(holding, key, holding->app ? NULL : "{}", err);
}

static int absent_cluster(const struct holding *holding, struct intent_error *err)
{
	if (holding->cluster)
		return intent_fail(err, INTENT_EABSENT,
				   "there is no clusters/%s/%s/config; \"ppctl ls clusters/%s\" "
				   "lists what there is",
				   holding->app, holding->cluster, holding->app);
	return intent_fail(err, INTENT_EABSENT,
			   "no cluster has an application %s; \"ppctl ls clusters\" lists them; a "
			   "whole node is held with --node",
			   holding->app);
}

static int hold_clusters(struct holding *holding, struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format("clusters/%s/%s", holding->app,
						      holding->cluster ? holding->cluster : "");
	struct intent_snapshot *found = NULL;
	size_t count = 0;
	int code = ppctl_list(holding->ctl, prefix, &found, err);

	for (size_t i = 0; !code && i < found->count; i++) {
		if (!intent_ends_with(found->entries[i].key, "/config"))
			continue;
		count++;
		code = change_one(holding, found->entries[i].key, NULL, err);
	}
	intent_snapshot_unref(found);
	return code || count ? code : absent_cluster(holding, err);
}

/* What else still holds the application, so that nobody wonders why nothing moves. */
static void say_others(struct holding *holding)
{
	struct intent_snapshot *snapshot = NULL;
	struct intent_error ignored;

	if (holding->hold || !holding->app || ppctl_look(holding->ctl, &snapshot, &ignored))
		return;
	intent_json_auto json_t *document =
		ppctl_fleet(snapshot, holding->app, holding->node, holding->cluster);
	intent_json_auto json_t *said = json_object();
	size_t i, k;
	json_t *row, *hold;

	json_array_foreach(json_object_get(document, "applications"), i, row)
		json_array_foreach(json_object_get(row, "holds"), k, hold)
			json_object_set(said, intent_json_string(hold, "words", ""), hold);
	const char *words;
	json_object_foreach(said, words, hold)
		ppctl_say("still held: %s", words);
	intent_snapshot_unref(snapshot);
}

static int check(const struct holding *holding, struct intent_error *err)
{
	if (holding->node && holding->cluster)
		return intent_fail(err, INTENT_EUSAGE,
				   "--node and --cluster: a hold stands on one of them; say it "
				   "twice for both");
	if (!holding->node && !holding->app)
		return intent_fail(err, INTENT_EUSAGE,
				   "%s what? An application (ppctl %s APP), a node (--node NODE), "
				   "or an application on a node (APP --node NODE)",
				   holding->ctl->command->name, holding->ctl->command->name);
	return 0;
}

static int run(struct ppctl *ctl, bool take_away, struct intent_error *err)
{
	const char *first = ppctl_argument(ctl, 0);
	/* A sentence is no name: then it is the reason to hold the whole node. */
	bool named = first && intent_name_is_valid(first);
	intent_json_auto json_t *hold = NULL;
	intent_json_auto json_t *results = json_array();
	struct holding holding = {
		.ctl = ctl,
		.app = named ? first : NULL,
		/* PP_NODE in the environment says who we are, not what is meant. */
		.node = json_object_get(json_object_get(ctl->options, "given"), "node") ?
			ctl->node :
			NULL,
		.cluster = ppctl_option(ctl, "cluster"),
		.results = results,
	};

	if (check(&holding, err) || (!take_away && make_hold(ctl, named ? 1 : 0, &hold, err)))
		return err->code;
	holding.hold = hold;
	int code = holding.node ? hold_node(&holding, err) : hold_clusters(&holding, err);
	if (code)
		return code;
	say_others(&holding);
	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(results, false);
	return 0;
}

int ppctl_hold(struct ppctl *ctl, struct intent_error *err)
{
	return run(ctl, false, err);
}

int ppctl_unhold(struct ppctl *ctl, struct intent_error *err)
{
	return run(ctl, true, err);
}
