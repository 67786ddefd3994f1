/*
 * Shutdown slots: every decision, pure.
 *
 * Why at most (nodes - min_nodes) services are down because an agent stopped them: a healthy service is
 * stopped only under a slot that passed the test, and the test finds at least min_nodes other nodes
 * without such a slot in the very document that it is then written into. Nothing else is assumed: facts may be old,
 * agents may die or sleep at any point.
 */
#include <intent/digest.h>
#include <intent/slots.h>

#define NAMED_MAX 4 /* nodes of a kind that a refusal names */

bool intent_fact_is_good(const json_t *fact)
{
	return !strcmp(intent_json_string(fact, "state", ""), "healthy") && !intent_json_boolean(fact, "once", false);
}

/* ---- looking ---- */

static json_t *slots_of(const json_t *document)
{
	return json_object_get(document, "slots");
}

const json_t *intent_slots_find(const json_t *document, const char *node)
{
	return json_object_get(slots_of(document), node);
}

static bool is_marked(const json_t *slot)
{
	return json_object_get(slot, "failed") != NULL;
}

static bool is_waived(const json_t *slot)
{
	return intent_json_boolean(slot, "waived", false);
}

static bool is_for(const json_t *slot, const char *target)
{
	return !strcmp(intent_json_string(slot, "target", ""), target);
}

const json_t *intent_slots_marked(const json_t *document, const char *target, const char **ret_node)
{
	const char *node;
	json_t *slot;

	json_object_foreach(slots_of(document), node, slot) {
		if (!is_marked(slot) || !is_for(slot, target))
			continue;
		if (ret_node)
			*ret_node = node;
		return slot;
	}
	return NULL;
}

void intent_slots_target(const json_t *config, const json_t *deploy, char ret[17])
{
	static const char *const aside[] = {"hold", "on_failure"};
	intent_json_auto json_t *what = json_object(), *shallow = json_copy((json_t *)(uintptr_t)deploy);
	json_t *versions = json_object_get(config, "versions"), *state;
	const char *version;
	char digest[65];

	for (size_t i = 0; i < sizeof aside / sizeof *aside; i++)
		json_object_del(shallow, aside[i]);
	json_object_foreach(versions, version, state) {
		if (strcmp(json_string_value(state) ? json_string_value(state) : "", "active"))
			continue;
		json_object_set_new(what, "version", json_string(version));
		json_object_set(what, "artifact", json_object_get(json_object_get(config, "artifacts"), version));
	}
	json_object_set(what, "user_config", json_object_get(config, "user_config"));
	json_object_set(what, "deploy", shallow);
	intent_json_digest(what, digest);
	snprintf(ret, 17, "%.16s", digest);
}

/* ---- the documents ---- */

/* Never trust a shape that a person may have written: what is no slot might be one. */
static int check(const json_t *document, struct intent_error *err)
{
	const json_t *slots = slots_of(document);
	const char *node;
	json_t *slot;

	if (document && !json_is_object(document))
		return intent_fail(err, INTENT_EMALFORMED, "the shutdown slots: must be an object");
	if (slots && !json_is_object(slots))
		return intent_fail(err, INTENT_EMALFORMED, "the shutdown slots: /slots must be an object");
	json_object_foreach((json_t *)(uintptr_t)slots, node, slot)
		if (!json_is_object(slot))
			return intent_fail(err, INTENT_EMALFORMED,
					   "the shutdown slots: /slots/%.128s must be an object", node);
	return 0;
}

/* A copy to be changed, with "slots" in it. */
static json_t *copy_of(const json_t *document)
{
	json_t *copy = document ? json_deep_copy(document) : json_object();

	if (!slots_of(copy))
		json_object_set_new(copy, "slots", json_object());
	return copy;
}

/* The claim's slot for its target, in a copy of the document: *ret_slot is borrowed from it. */
static int make_slot(const json_t *document, const struct intent_slots_claim *claim, bool waived, const char *now,
		     json_t **ret_new, json_t **ret_slot, struct intent_error *err)
{
	const json_t *old = intent_slots_find(document, claim->node);
	bool same = old && is_for(old, claim->target);
	int64_t attempt = same ? intent_json_integer(old, "attempt", 0) : 0;
	json_t *copy = copy_of(document);
	json_t *slot = json_pack("{ss ss ss ss sI}", "holder", claim->holder, "since",
				 intent_json_string(old, "since", now), "version", claim->version, "target",
				 claim->target, "fence",
				 (json_int_t)intent_json_integer(old, "fence", 0) + 1);

	if (waived)
		json_object_set_new(slot, "waived", json_true());
	if (attempt)
		json_object_set_new(slot, "attempt", json_integer(attempt));
	if (json_object_set_new(slots_of(copy), claim->node, slot)) {
		json_decref(copy);
		return intent_fail(err, INTENT_EMALFORMED, "the shutdown slot of %.64s: its names are not UTF-8", claim->node);
	}
	*ret_new = copy;
	*ret_slot = slot;
	return 0;
}

/* ---- refusals ---- */

/* A few nodes of a kind by name, then how many more there are. */
struct list {
	struct intent_text text;
	size_t count;
};

static void name_one(struct list *list, const char *node, const char *words)
{
	if (list->count++ < NAMED_MAX)
		intent_text_printf(&list->text, "%s%.40s (%s)", list->count > 1 ? ", " : "", node, words);
}

static void say(struct intent_text *out, const char *what, struct list *list)
{
	if (list->count)
		intent_text_printf(out, "; %s: %s", what, intent_text_str(&list->text));
	if (list->count > NAMED_MAX)
		intent_text_printf(out, " and %zu more", list->count - NAMED_MAX);
	intent_text_release(&list->text);
}

static void name_slot(struct list *list, const char *node, const json_t *slot)
{
	char words[80];

	snprintf(words, sizeof words, "%.16s%s since %.24s", intent_json_string(slot, "version", "?"),
		 is_marked(slot) ? ", failed," : "", intent_json_string(slot, "since", "?"));
	intent_utf8_clean(words);
	name_one(list, node, words);
}

static void name_fact(struct list *list, const char *node, const json_t *fact)
{
	char words[80];

	if (intent_fact_is_good(fact))
		return;
	snprintf(words, sizeof words, "%.12s%s", intent_json_string(fact, "state", "not readable"),
		 intent_json_boolean(fact, "once", false) ? ", but nobody keeps that up to date" : "");
	intent_utf8_clean(words);
	name_one(list, node, words);
}

static int refuse_few(const json_t *document, const json_t *facts, const struct intent_slots_claim *claim,
		      int64_t healthy, struct intent_error *err)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	struct list slots = {0}, bad = {0}, missing = {0};
	int64_t others = 0;
	const char *node;
	json_t *json;

	json_object_foreach(slots_of(document), node, json) {
		if (!strcmp(node, claim->node))
			continue;
		name_slot(&slots, node, json);
		if (!json_object_get(facts, node)) {
			name_one(&missing, node, "holds a slot");
			others++;
		}
	}
	json_object_foreach((json_t *)(uintptr_t)facts, node, json) {
		if (!strcmp(node, claim->node))
			continue;
		others++;
		name_fact(&bad, node, json);
	}
	intent_text_printf(&out, "%.32s waits for a shutdown slot: other nodes healthy without one: %lld, min_nodes: %lld",
			   claim->version, (long long)healthy, (long long)claim->min_nodes);
	say(&out, "slots", &slots);
	say(&out, "not healthy", &bad);
	say(&out, "no health known", &missing);
	if (others < claim->min_nodes)
		intent_text_printf(&out, "; other nodes known at all: %lld (does pp-health-reporter run on the rest?)",
				   (long long)others);
	return intent_fail(err, INTENT_EWAITING, "%s", intent_text_str(&out));
}

static int refuse_marked(const char *node, const json_t *slot, const char *target, struct intent_error *err)
{
	return intent_fail(err, INTENT_EUNHEALTHY,
			   "%.64s failed on %.64s at %.32s (%.160s) and is not tried again anywhere (target %.16s): change "
			   "intent, or say \"ppctl rollout retry\"",
			   intent_json_string(slot, "version", "this version"), node,
			   intent_json_string(slot, "failed_at", "an unknown time"),
			   intent_json_string(slot, "failed", "no reason is given"), target);
}

/* ---- decisions ---- */

/* Others that are healthy and that nobody may stop without passing the test. */
static int64_t count_healthy(const json_t *document, const json_t *facts, const char *node)
{
	const char *other;
	int64_t count = 0;
	json_t *fact;

	json_object_foreach((json_t *)(uintptr_t)facts, other, fact) {
		const json_t *slot = intent_slots_find(document, other);

		if (strcmp(other, node) && intent_fact_is_good(fact) && (!slot || is_waived(slot)))
			count++;
	}
	return count;
}

int intent_slots_take(const json_t *document, const json_t *facts, const struct intent_slots_claim *claim,
		      const char *now, json_t **ret_new, struct intent_error *err)
{
	const json_t *own = intent_slots_find(document, claim->node), *marked;
	const char *by = NULL;
	bool waived = false;
	json_t *slot;

	if (check(document, err))
		return err->code;
	marked = intent_slots_marked(document, claim->target, &by);
	if (marked)
		return refuse_marked(by, marked, claim->target, err);
	if (claim->min_nodes <= 0 && !own) {
		*ret_new = NULL;
		return 0;
	}
	if (!own || is_waived(own)) {
		int64_t healthy = count_healthy(document, facts, claim->node);

		waived = healthy < claim->min_nodes;
		if (waived && !claim->is_down && !(own && claim->is_unhealthy))
			return refuse_few(document, facts, claim, healthy, err);
	}
	return make_slot(document, claim, waived, now, ret_new, &slot, err);
}

int intent_slots_verify(const json_t *document, const struct intent_slots_claim *claim, struct intent_error *err)
{
	const json_t *own = intent_slots_find(document, claim->node), *marked;
	const char *by = NULL;

	if (check(document, err))
		return err->code;
	marked = intent_slots_marked(document, claim->target, &by);
	if (marked)
		return refuse_marked(by, marked, claim->target, err);
	if (claim->min_nodes > 0 && (!own || !is_for(own, claim->target)))
		return intent_fail(err, INTENT_ECONFLICT,
				   "the shutdown slot of %.64s is gone: somebody said \"ppctl lock break\"; nothing was stopped",
				   claim->node);
	return 0;
}

int intent_slots_drop(const json_t *document, const char *node, json_t **ret_new, struct intent_error *err)
{
	json_t *copy;

	if (check(document, err))
		return err->code;
	if (!intent_slots_find(document, node)) {
		*ret_new = NULL;
		return 0;
	}
	copy = copy_of(document);
	json_object_del(slots_of(copy), node);
	if (!json_object_size(slots_of(copy)))
		json_object_clear(copy);
	*ret_new = copy;
	return 0;
}

int intent_slots_mark(const json_t *document, const struct intent_slots_claim *claim, const char *failed,
		      const char *instead, const char *now, json_t **ret_new, struct intent_error *err)
{
	const json_t *own = intent_slots_find(document, claim->node);
	json_t *copy, *slot;

	if (check(document, err))
		return err->code;
	if (own && is_marked(own) && is_for(own, claim->target) &&
	    !strcmp(intent_json_string(own, "instead", ""), instead ? instead : "")) {
		*ret_new = NULL;
		return 0;
	}
	if (make_slot(document, claim, !own || is_waived(own), now, &copy, &slot, err))
		return err->code;
	if (json_object_set_new(slot, "failed", json_string(failed)) ||
	    json_object_set_new(slot, "failed_at", json_string(now)) ||
	    (instead && json_object_set_new(slot, "instead", json_string(instead)))) {
		json_decref(copy);
		return intent_fail(err, INTENT_EMALFORMED, "the shutdown slot of %.64s: why it failed is not UTF-8", claim->node);
	}
	*ret_new = copy;
	return 0;
}

int intent_slots_retry(const json_t *document, json_t **ret_new, struct intent_error *err)
{
	bool changed = false;
	const char *node;
	json_t *copy, *slot;

	if (check(document, err))
		return err->code;
	copy = copy_of(document);
	json_object_foreach(slots_of(copy), node, slot) {
		if (!is_marked(slot))
			continue;
		changed = true;
		json_object_del(slot, "failed");
		json_object_del(slot, "failed_at");
		json_object_del(slot, "instead");
		json_object_set_new(slot, "attempt", json_integer(intent_json_integer(slot, "attempt", 0) + 1));
	}
	if (!changed) {
		json_decref(copy);
		copy = NULL;
	}
	*ret_new = copy;
	return 0;
}
