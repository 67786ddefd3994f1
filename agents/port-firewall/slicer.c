/* One slice for the whole node: the union of what its applications and gates open. Pure. */
#include <intent/documents.h>
#include "port-firewall.h"

/* No application can have this name: the node's applications are asked what became of it. */
#define PROBE "/"

static json_t *prefixes(const struct intent_snapshot *snapshot, const json_t *options)
{
	json_t *list = intent_node_applications.prefixes(snapshot, options);

	/* All of them: a gate may name a node that runs nothing of its world. */
	json_array_append_new(list, json_string("gates/"));
	return list;
}

static void add_trouble(json_t *intent, const char *name, const json_t *error, bool elsewhere)
{
	json_t *trouble = json_deep_copy(error);

	if (elsewhere)
		json_object_set_new(trouble, "elsewhere", json_true());
	json_object_set_new(json_object_get(intent, "troubles"), name, trouble);
}

/* None at all is said too: an application that opens nothing any more is not one that is gone. */
static void add_ports(json_t *intent, const char *name, json_t *ports)
{
	json_object_set_new(json_object_get(intent, "ports"), name,
			    ports ? json_incref(ports) : json_array());
}

static void add_applications(json_t *intent, const json_t *slices)
{
	const char *app;
	json_t *slice;

	json_object_foreach((json_t *)(uintptr_t)slices, app, slice) {
		const json_t *error = json_object_get(slice, "error");

		if (!strcmp(app, PROBE))
			continue;
		if (error)
			add_trouble(intent, app, error, false);
		else
			add_ports(intent, app, intent_json_at(slice, "/intent/deploy/ports"));
	}
}

/* ---- gates ---- */

/*
 * Does the node run anything in this world? Also when that application's other documents are no
 * good.
 */
static bool runs_in(const struct intent_snapshot *snapshot, const char *node, const char *world)
{
	char prefix[INTENT_KEY_MAX + 1];
	size_t skip = (size_t)snprintf(prefix, sizeof(prefix), "nodes/%s/", node), count;
	const struct intent_entry *entry = intent_snapshot_range(snapshot, prefix, &count);

	for (size_t i = 0; i < count; i++, entry++) {
		intent_json_auto json_t *place = NULL;
		struct intent_error ignored;

		if (entry->key[skip] &&
		    !intent_document_read(entry, false, &place, &ignored) &&
		    !strcmp(intent_json_string(place, "cluster", ""), world))
			return true;
	}
	return false;
}

static bool names(const json_t *nodes, const char *node)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)nodes, i, item)
		if (json_is_string(item) && !strcmp(json_string_value(item), node))
			return true;
	return false;
}

static int read_gate(const struct intent_entry *entry, json_t **ret_new, struct intent_error *err)
{
	if (entry->untrusted)
		return intent_fail(
			err, INTENT_EREFUSED,
			"%s opens ports, but its file, or a directory above it, can be written by others than root; "
			"make the store root's: chown -R root, chmod -R o-w",
			entry->key);
	return intent_document_read(entry, false, ret_new, err);
}

static void add_gate(json_t *intent, const struct intent_snapshot *snapshot,
		     const struct intent_entry *entry)
{
	const char *node = intent_json_string(intent, "node", ""),
		   *rest = strchr(entry->key, '/') + 1;
	intent_free_auto char *world = strndup(rest, strcspn(rest, "/"));
	intent_json_auto json_t *gate = NULL, *error = NULL;
	struct intent_error err;
	bool here = runs_in(snapshot, node, world);

	if (read_gate(entry, &gate, &err)) {
		error = json_pack("{si ss}", "code", err.code, "message", err.msg);
		add_trouble(intent, entry->key, error, !here);
		return;
	}
	const json_t *nodes = json_object_get(gate, "nodes");
	if (nodes ? names(nodes, node) : here)
		add_ports(intent, entry->key, json_object_get(gate, "ports"));
}

/* ---- the slice ---- */

static json_t *slices_of(const struct intent_snapshot *snapshot, const json_t *options,
			 const json_t *known)
{
	intent_json_auto json_t *probe = json_pack("[s]", PROBE);
	intent_json_auto json_t *slices = intent_node_applications.slices(snapshot, options, probe);
	const json_t *fate = json_object_get(slices, PROBE);
	json_t *intent = json_pack("{sO sO*}", "node", json_object_get(options, "node"), "options",
				   json_object_get(options, "own"));
	size_t count;
	const struct intent_entry *entry;

	(void)known;
	if (json_object_get(fate, "error")) {
		json_object_set_new(intent, "vanished", json_true());
	} else if (json_is_true(intent_json_at(fate, "/intent/retired"))) {
		json_object_set_new(intent, "absent", json_true());
		json_object_set_new(intent, "retired", json_true());
	} else {
		json_object_set_new(intent, "ports", json_object());
		json_object_set_new(intent, "troubles", json_object());
		add_applications(intent, slices);
		entry = intent_snapshot_range(snapshot, "gates/", &count);
		for (size_t i = 0; i < count; i++)
			add_gate(intent, snapshot, &entry[i]);
	}
	return json_pack("{s{so}}", FIREWALL_SLICE, "intent", intent);
}

const struct intent_slicer firewall__slicer = {prefixes, slices_of};
