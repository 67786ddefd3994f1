/* Stacks as slices, <world>/<name>: pure. */
#include <intent/documents.h>
#include "applier.h"

/* Calls for "prefix<world>/" of each world of --world, or for the prefix itself. */
static void add_prefixes(json_t *list, const char *prefix, const char *worlds)
{
	if (!*worlds)
		json_array_append_new(list, json_string(prefix));
	while (*worlds) {
		size_t length = strcspn(worlds, ", ");

		if (length)
			json_array_append_new(list, json_sprintf("%s%.*s/", prefix, (int)length, worlds));
		worlds += length;
		worlds += strspn(worlds, ", ");
	}
}

static json_t *prefixes(const struct intent_snapshot *snapshot, const json_t *options)
{
	json_t *list = json_array();

	(void)snapshot;
	add_prefixes(list, "stacks/", intent_json_string(options, "world", ""));
	add_prefixes(list, "approvals/stack/", intent_json_string(options, "world", ""));
	return list;
}

/* Is this one ours to look at? Others may be another applier's. */
static bool is_meant(const char *name, const json_t *options)
{
	intent_json_auto json_t *list = json_array();
	intent_free_auto char *key = intent_format("stacks/%s", name);
	size_t i;
	json_t *prefix;

	add_prefixes(list, "stacks/", intent_json_string(options, "world", ""));
	json_array_foreach(list, i, prefix)
		if (intent_starts_with(key, json_string_value(prefix)))
			return true;
	return false;
}

/* {"world", "name", "node", "options"}: new. */
static json_t *basic(const char *name, const json_t *options)
{
	size_t world = strcspn(name, "/");

	return json_pack("{ss# ss ss sO*}", "world", name, (int)world, "name", name[world] ? name + world + 1 : "",
			 "node", intent_json_string(options, "node", ""), "options", json_object_get(options, "own"));
}

static void add_approval(const struct intent_snapshot *snapshot, const char *name, json_t *intent)
{
	intent_free_auto char *key = intent_format("approvals/stack/%s", name);
	const struct intent_entry *entry = intent_snapshot_find(snapshot, key);
	struct intent_error err;
	json_t *approval = NULL;

	if (!entry)
		return;
	/* What cannot be understood is no consent, and hurts nothing else; it is said. */
	if (intent_document_read(entry, true, &approval, &err) < 0)
		json_object_set_new(intent, "approval_fault", json_string(err.msg));
	else if (entry->untrusted)
		json_object_set_new(intent, "approval_fault", json_sprintf("%s can be written by others than root", key));
	else
		json_object_set(intent, "approval", approval);
	json_decref(approval);
}

static json_t *stack_slice(const struct intent_snapshot *snapshot, const struct intent_entry *entry, const char *name,
			   const json_t *options)
{
	json_t *intent, *stack = NULL;
	struct intent_error err;

	if (entry->untrusted)
		intent_fail(&err, INTENT_EREFUSED, "%s can make Terraform run anything, but its file, or a directory above "
			    "it, can be written by others than root; make the store root's: chown -R root, chmod -R o-w",
			    entry->key);
	else if (intent_document_read(entry, true, &stack, &err) == 0) {
		intent = basic(name, options);
		json_object_set_new(intent, "stack", stack);
		add_approval(snapshot, name, intent);
		return json_pack("{so}", "intent", intent);
	}
	return json_pack("{s{si ss}}", "error", "code", err.code, "message", err.msg);
}

/* Each would take what the other made for drift, and remove it. */
static void refuse_clashes(json_t *slices)
{
	intent_json_auto json_t *owners = json_object();
	const char *name;
	json_t *slice;
	void *next;

	json_object_foreach_safe(slices, next, name, slice) {
		const json_t *state = intent_json_at(slice, "/intent/stack/state");
		intent_free_auto char *key = state ? intent_json_canonical(state) : NULL;
		const char *owner = key ? intent_json_string(owners, key, NULL) : NULL;
		json_t *error;

		if (key && !owner)
			json_object_set_new(owners, key, json_string(name));
		if (!owner)
			continue;
		error = json_pack("{s{si so}}", "error", "code", INTENT_ECLASH, "message", json_sprintf(
			"it is the state of both stacks/%s and stacks/%s: give each its own", owner, name));
		json_object_set(slices, owner, error);
		json_object_set_new(slices, name, error);
	}
}

static json_t *slices(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known)
{
	json_t *slices = json_object(), *item;
	size_t count, i;
	const struct intent_entry *entry = intent_snapshot_range(snapshot, "stacks/", &count);

	for (i = 0; i < count; i++, entry++) {
		const char *name = entry->key + strlen("stacks/");

		if (is_meant(name, options))
			json_object_set_new(slices, name, stack_slice(snapshot, entry, name, options));
	}
	json_array_foreach((json_t *)(uintptr_t)known, i, item) {
		const char *name = json_string_value(item);
		json_t *intent;

		if (json_object_get(slices, name) || !is_meant(name, options))
			continue;
		intent = basic(name, options);
		json_object_set_new(intent, "absent", json_true());
		json_object_set_new(slices, name, json_pack("{so}", "intent", intent));
	}
	refuse_clashes(slices);
	return slices;
}

const struct intent_slicer applier__slicer = {prefixes, slices};
