/* Before anything is removed: intent is read again, and the runner counts. */
#include "round.h"

/* Does a prefix concern this slice: asked for without knowing anything, or named after it, unless all do? */
static bool prefix_is_ours(const struct intent_round *round, const char *prefix, const json_t *basic)
{
	intent_free_auto char *part = intent_format("/%s/", round->slice);
	size_t i;
	json_t *item;

	if (round->context->agent->reads_all || (part && strstr(prefix, part)))
		return true;
	json_array_foreach((json_t *)(uintptr_t)basic, i, item)
		if (!strcmp(json_string_value(item), prefix))
			return true;
	return false;
}

static int add_prefix(struct intent_store *store, const char *prefix, struct intent_snapshot *all,
		      struct intent_error *err)
{
	struct intent_snapshot *part;

	if (intent_store_list(store, prefix, INTENT_STRONGEST, &part, err) < 0)
		return err->code;
	for (size_t i = 0; i < part->count; i++) {
		const struct intent_entry *e = &part->entries[i];

		intent_snapshot_add(all, e->key, e->value, e->length, e->revision, e->session, e->untrusted);
	}
	intent_snapshot_unref(part);
	intent_snapshot_sort(all);
	return 0;
}

/* What concerns this slice, read again with the store's strongest read. */
static int read_again(struct intent_round *round, const json_t *options, struct intent_snapshot *all,
		      struct intent_error *err)
{
	const struct intent_slicer *slicer = round->context->agent->slicer;
	intent_json_auto json_t *done = json_array(), *basic = slicer->prefixes(all, options);
	struct intent_store *store;

	if (intent_round_store(round, &store, err) < 0)
		return err->code;
	for (bool more = true; more;) {
		intent_json_auto json_t *wanted = slicer->prefixes(all, options);
		size_t i;
		json_t *item;

		more = false;
		json_array_foreach(wanted, i, item) {
			const char *prefix = json_string_value(item);
			bool read = false;
			size_t k;
			json_t *before;

			json_array_foreach(done, k, before)
				read |= !strcmp(json_string_value(before), prefix);
			if (read || !prefix_is_ours(round, prefix, basic))
				continue;
			if (add_prefix(store, prefix, all, err) < 0)
				return err->code;
			json_array_append(done, item);
			more = true;
		}
	}
	return 0;
}

/* What the slicer says of this slice now: {"intent"} or {"error"}, new. */
static int read_slice(struct intent_round *round, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *options = json_deep_copy(round->context->options);
	intent_json_auto json_t *known = json_pack("[s]", round->slice), *slices = NULL;
	struct intent_snapshot *all = intent_snapshot_new();
	int code;

	json_object_set(options, "own", json_object_get(round->intent, "options"));
	code = read_again(round, options, all, err);
	if (!code)
		slices = round->context->agent->slicer->slices(all, options, known);
	intent_snapshot_unref(all);
	if (!code)
		*ret_new = json_incref(json_object_get(slices, round->slice));
	return code;
}

int intent_round_reread(struct intent_round *round, json_t **ret_new_intent, struct intent_error *err)
{
	intent_json_auto json_t *slice = NULL;
	const json_t *error;

	if (read_slice(round, &slice, err) < 0)
		return err->code;
	error = json_object_get(slice, "error");
	if (!json_object_get(slice, "intent"))
		return intent_fail(err, (int)intent_json_integer(error, "code", INTENT_ESTALE), "%s",
				   intent_json_string(error, "message", "nothing is said of it any more"));
	*ret_new_intent = json_incref(json_object_get(slice, "intent"));
	return 0;
}

/* Is intent still what this round was started for? Nothing is removed on an old or cached reading. */
int intent__round_confirm(struct intent_round *round, struct intent_error *err)
{
	intent_json_auto json_t *slice = NULL;

	if (read_slice(round, &slice, err) < 0)
		return intent_wrap(err, "nothing is removed, because intent could not be read again");
	if (!json_equal(json_object_get(slice, "intent"), round->intent))
		return intent_fail(err, INTENT_ESTALE, "intent changed meanwhile; starting again with the new one");
	return 0;
}

/* The runner counts removals over all slices. */
int intent__round_ask(struct intent_round *round, const json_t *subjects, struct intent_error *err)
{
	intent_json_auto json_t *question = json_pack("{sO si}", "destroy", subjects, "owned", round->owned);
	char answer[sizeof(err->msg)];

	if (json_is_true(json_object_get(round->intent, "retired")))
		return 0;
	intent__round_tell(round, question);
	if (intent__round_answer(round, "destroy ", INT64_MAX, answer, sizeof(answer), err) < 0)
		return intent_wrap(err, "nothing is removed");
	return *answer ? intent_fail(err, INTENT_EDESTROY, "%s", answer) : 0;
}
