/* What a plan would do, without any value: counts, addresses, and an identity that is a digest of all of it. */
#include <intent/digest.h>
#include "applier.h"

#define ID_DIGITS 24

struct summing {
	json_t *summary, *addresses, *drift, *changes; /* owned */
	const json_t *drifted;                         /* Terraform's resource_drift */
};

static bool is_one(const json_t *actions, const char *first, const char *second)
{
	const char *one = json_string_value(json_array_get(actions, 0));
	const char *two = json_string_value(json_array_get(actions, 1));

	return one && !strcmp(one, first) && (second ? two && !strcmp(two, second) : !two);
}

/* NULL: nothing is changed. What only moves in the state, or is taken into it, counts as a change. */
static const char *kind_of(const json_t *item)
{
	const json_t *change = json_object_get(item, "change"), *actions = json_object_get(change, "actions");
	bool moves = json_object_get(item, "previous_address") || json_object_get(change, "importing");

	if (is_one(actions, "no-op", NULL))
		return moves ? "change" : NULL;
	if (is_one(actions, "read", NULL))
		return NULL;
	if (is_one(actions, "create", NULL))
		return "add";
	if (is_one(actions, "update", NULL))
		return "change";
	if (is_one(actions, "forget", NULL))
		return "forget";
	if (is_one(actions, "delete", "create") || is_one(actions, "create", "delete"))
		return "replace";
	/* "delete", and whatever a later Terraform may add: it is the worst that can be meant. */
	return "destroy";
}

static bool has_drifted(const struct summing *sum, const char *address)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)sum->drifted, i, item)
		if (!strcmp(intent_json_string(item, "address", ""), address))
			return true;
	return false;
}

static void count_one(struct summing *sum, const char *kind)
{
	json_object_set_new(sum->summary, kind, json_integer(intent_json_integer(sum->summary, kind, 0) + 1));
	json_object_set_new(sum->summary, "changes",
			    json_integer(intent_json_integer(sum->summary, "changes", 0) + 1));
}

static void add_resource(struct summing *sum, json_t *item)
{
	const char *kind = kind_of(item), *address = intent_json_string(item, "address", "?");
	json_t *list;

	if (!kind)
		return;
	count_one(sum, kind);
	list = json_object_get(sum->addresses, kind);
	if (!list)
		json_object_set_new(sum->addresses, kind, list = json_array());
	json_array_append_new(list, json_string(address));
	if (has_drifted(sum, address))
		json_array_append_new(sum->drift, json_string(address));
	json_array_append(sum->changes, item);
}

static json_t *changed_outputs(struct summing *sum, const json_t *plan)
{
	json_t *outputs = json_object(), *change;
	const char *name;

	json_object_foreach(json_object_get(plan, "output_changes"), name, change)
		if (!is_one(json_object_get(change, "actions"), "no-op", NULL)) {
			count_one(sum, "outputs");
			json_object_set(outputs, name, change);
		}
	return outputs;
}

static int count_managed(const json_t *module)
{
	int managed = 0;
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(module, "resources"), i, item)
		managed += !strcmp(intent_json_string(item, "mode", ""), "managed");
	json_array_foreach(json_object_get(module, "child_modules"), i, item)
		managed += count_managed(item);
	return managed;
}

json_t *applier__summary(const json_t *plan, const char *stack, const char *commit)
{
	struct summing sum = {
		.summary = json_pack("{si si si si si si si}", "changes", 0, "add", 0, "change", 0, "destroy", 0,
				     "replace", 0, "forget", 0, "outputs", 0),
		.addresses = json_object(), .drift = json_array(), .changes = json_array(),
		.drifted = json_object_get(plan, "resource_drift"),
	};
	intent_json_auto json_t *outputs = NULL, *effect = NULL;
	char digest[65];
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(plan, "resource_changes"), i, item)
		add_resource(&sum, item);
	outputs = changed_outputs(&sum, plan);
	effect = json_pack("{ss ss sO sO}", "stack", stack, "commit", commit, "resources", sum.changes, "outputs", outputs);
	json_decref(sum.changes);
	intent_json_digest(effect, digest);
	json_object_set_new(sum.summary, "id", json_stringn(digest, ID_DIGITS));
	json_object_set_new(sum.summary, "addresses", sum.addresses);
	json_object_set_new(sum.summary, "drift", sum.drift);
	json_object_set_new(sum.summary, "managed", json_integer(count_managed(
		intent_json_at(plan, "/prior_state/values/root_module"))));
	return sum.summary;
}
