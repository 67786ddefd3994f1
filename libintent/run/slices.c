/*
 * The applications of a node as slices: from nodes/<node>/ and
 * clusters/<app>/<cluster>/ to one intent document each. Pure.
 */
#include <errno.h>
#include <intent/agent.h>
#include <intent/documents.h>

static void slice_error(json_t *slices, const char *name, const struct intent_error *err)
{
	json_object_set_new(slices, name, json_pack("{s{si ss}}", "error",
						    "code", err->code, "message", err->msg));
}

/* The first entry under nodes/<node>/, and how many there are. */
static const struct intent_entry *node_range(const struct intent_snapshot *snapshot, const char *node,
					     size_t *ret_count, size_t *ret_prefix)
{
	char prefix[INTENT_KEY_MAX + 1];

	*ret_prefix = (size_t)snprintf(prefix, sizeof(prefix), "nodes/%s/", node);
	return intent_snapshot_range(snapshot, prefix, ret_count);
}

static json_t *prefixes(const struct intent_snapshot *snapshot, const json_t *options)
{
	const char *node = intent_json_string(options, "node", "");
	json_t *list = json_pack("[o]", json_sprintf("nodes/%s/", node));
	size_t count, skip;
	const struct intent_entry *entry;

	entry = node_range(snapshot, node, &count, &skip);
	for (size_t i = 0; i < count; i++, entry++) {
		intent_json_auto json_t *document = NULL;
		struct intent_error ignored;
		const char *app = entry->key + skip;

		if (!*app || intent_document_read(entry, false, &document, &ignored) < 0)
			continue;
		json_array_append_new(list, json_sprintf("clusters/%s/%s/", app,
			intent_json_string(document, "cluster", "")));
	}
	return list;
}

/* One document of the cluster; absent ones are awaited, not wrong. */
static int cluster_document(const struct intent_snapshot *snapshot, const char *app, const char *cluster,
			    const char *name, json_t **ret_new, struct intent_error *err)
{
	char key[INTENT_KEY_MAX + 1];
	const struct intent_entry *entry;

	snprintf(key, sizeof(key), "clusters/%s/%s/%s", app, cluster, name);
	entry = intent_snapshot_find(snapshot, key);
	if (!entry)
		return intent_fail(err, INTENT_ENOCONFIG, "%s does not exist yet; write it with: ppctl put %s ...",
				   key, key);
	if (entry->untrusted)
		return intent_fail(err, INTENT_EREFUSED,
				   "%s can run things as root, but its file, or a directory above it, can be written by others than root; "
				   "make the store root's: chown -R root, chmod -R o-w", key);
	return intent_document_read(entry, false, ret_new, err);
}

/* The marker of the node as JSON, new, if it can be read at all. */
static json_t *marker_of(const struct intent_snapshot *snapshot, const char *node)
{
	char key[INTENT_KEY_MAX + 1];
	const struct intent_entry *entry;
	struct intent_error ignored;
	json_t *marker = NULL;

	snprintf(key, sizeof(key), "nodes/%s/", node);
	entry = intent_snapshot_find(snapshot, key);
	if (entry)
		intent_json_parse(entry->value, entry->length, 0, &marker, &ignored);
	return marker;
}

static void add_hold(json_t *holds, const char *key, const json_t *document)
{
	json_t *hold = json_object_get(document, "hold");

	if (hold && !json_is_false(hold))
		json_object_set(holds, key, hold);
}

/* What asks to leave the application as it is: {key: hold}, new; NULL when nothing does. */
static json_t *holds_of(const struct intent_entry *entry, const char *app, const json_t *place, const json_t *marker,
			const json_t *config, const json_t *deploy)
{
	const char *cluster = intent_json_string(place, "cluster", "");
	json_t *holds = json_object();
	char key[INTENT_KEY_MAX + 1];

	snprintf(key, sizeof(key), "%.*s", (int)(strlen(entry->key) - strlen(app)), entry->key);
	add_hold(holds, key, marker);
	add_hold(holds, entry->key, place);
	snprintf(key, sizeof(key), "clusters/%s/%s/config", app, cluster);
	add_hold(holds, key, config);
	snprintf(key, sizeof(key), "clusters/%s/%s/deploy_config", app, cluster);
	add_hold(holds, key, deploy);
	if (json_object_size(holds))
		return holds;
	json_decref(holds);
	return NULL;
}

static int application(const struct intent_snapshot *snapshot, const struct intent_entry *entry,
		       const char *app, const json_t *marker, const json_t *options, json_t **ret_new,
		       struct intent_error *err)
{
	intent_json_auto json_t *place = NULL, *config = NULL, *deploy = NULL;
	intent_free_auto char *basedir = NULL, *envdir = NULL;
	const char *node = intent_json_string(options, "node", ""), *cluster;

	if (intent_document_read(entry, false, &place, err) < 0)
		return err->code;
	cluster = intent_json_string(place, "cluster", "");
	if (cluster_document(snapshot, app, cluster, "config", &config, err) < 0 ||
	    cluster_document(snapshot, app, cluster, "deploy_config", &deploy, err) < 0)
		return err->code;
	/* Targets without a base directory (containers) have none here either. */
	if (json_object_get(deploy, "basedir"))
		basedir = intent_deploy_basedir(deploy, node);
	envdir = intent_deploy_envdir(deploy, node);
	*ret_new = json_pack("{ss ss ss ss* ss* sO sO so* sO*}", "app", app, "node", node, "cluster", cluster,
			     "basedir", basedir, "envdir", envdir, "config", config, "deploy", deploy,
			     "hold", holds_of(entry, app, place, marker, config, deploy),
			     "options", json_object_get(options, "own"));
	/* Without this a slice would be missing, and what is missing gets removed. */
	return *ret_new ? 0 : intent_fail(err, INTENT_EMALFORMED, "%.100s: a name that is not UTF-8", app);
}

/* Two applications in one directory would take turns destroying each other. */
static void refuse_clashes(json_t *slices)
{
	intent_json_auto json_t *owners = json_object();
	const char *name;
	json_t *slice;
	void *next;

	json_object_foreach_safe(slices, next, name, slice) {
		const char *basedir = json_string_value(intent_json_at(slice, "/intent/basedir"));
		const char *owner = basedir ? intent_json_string(owners, basedir, NULL) : NULL;
		struct intent_error err;

		if (!basedir)
			continue;
		if (!owner) {
			json_object_set_new(owners, basedir, json_string(name));
			continue;
		}
		intent_fail(&err, INTENT_ECLASH, "basedir %s is claimed by both %s and %s; give each its own in deploy_config",
			    basedir, owner, name);
		slice_error(slices, owner, &err);
		slice_error(slices, name, &err);
	}
}

/* Slices the agent knows of that no key names any more. */
static void add_absent(json_t *slices, const json_t *known, const json_t *options, bool node_is_meant, bool retired)
{
	const char *node = intent_json_string(options, "node", "");
	struct intent_error err;
	size_t i;
	json_t *name;

	intent_fail(&err, INTENT_EVANISHED, "no key is left under nodes/%s/, so nothing is removed; write the keys again, or retire the node: "
		    "ppctl put nodes/%s/ '{\"ensure\": \"absent\"}'", node, node);
	json_array_foreach((json_t *)(uintptr_t)known, i, name) {
		if (json_object_get(slices, json_string_value(name)))
			continue;
		if (!node_is_meant)
			slice_error(slices, json_string_value(name), &err);
		else
			json_object_set_new(slices, json_string_value(name), json_pack("{s{sO ss sb sb sO*}}",
				"intent", "app", name, "node", node, "absent", 1, "retired", retired,
				"options", json_object_get(options, "own")));
	}
}

enum target { EVERY, SERVICES, CONTAINERS };

/* What cannot be understood may be anybody's. */
static bool is_target(enum target target, const json_t *intent)
{
	const json_t *deploy = json_object_get(intent, "deploy");
	bool container = json_object_get(deploy, "docker");

	return target == EVERY || (target == CONTAINERS ? container :
				   !container && json_object_get(deploy, "basedir"));
}

static json_t *slices_of(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known,
			 enum target target)
{
	json_t *slices = json_object();
	const char *node = intent_json_string(options, "node", "");
	size_t count, skip;
	const struct intent_entry *entry = node_range(snapshot, node, &count, &skip);
	intent_json_auto json_t *marker = marker_of(snapshot, node);
	bool retired = !strcmp(intent_json_string(marker, "ensure", ""), "absent");

	for (size_t i = 0; i < count && !retired; i++) {
		const char *app = entry[i].key + skip;
		struct intent_error err;
		json_t *intent = NULL;

		if (!*app)
			continue;
		if (application(snapshot, &entry[i], app, marker, options, &intent, &err) < 0)
			slice_error(slices, app, &err);
		else if (is_target(target, intent))
			json_object_set_new(slices, app, json_pack("{so}", "intent", intent));
		else
			json_decref(intent);
	}
	refuse_clashes(slices);
	add_absent(slices, known, options, count > 0, retired);
	return slices;
}

static json_t *slices_of_all(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known)
{
	return slices_of(snapshot, options, known, EVERY);
}

static json_t *slices_of_services(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known)
{
	return slices_of(snapshot, options, known, SERVICES);
}

static json_t *slices_of_containers(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known)
{
	return slices_of(snapshot, options, known, CONTAINERS);
}

const struct intent_slicer intent_node_applications = {prefixes, slices_of_all};
const struct intent_slicer intent_node_services = {prefixes, slices_of_services};
const struct intent_slicer intent_node_containers = {prefixes, slices_of_containers};
