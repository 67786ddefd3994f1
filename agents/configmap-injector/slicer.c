/* Injections as slices, "<world>/<name>". Pure. */
#include <intent/documents.h>
#include "injector.h"

#define PREFIX "injections/"
#define DEPTH_MAX 32 /* of injections that refer to injections */

/* Is `word` in a list as options have it, "a,b c"? An empty list is everything. */
static bool is_listed(const char *list, const char *word, size_t length)
{
	if (!*list)
		return true;
	while (*list) {
		size_t one = strcspn(list, ", ");

		if (one == length && !strncmp(list, word, length))
			return true;
		list += one;
		list += strspn(list, ", ");
	}
	return false;
}

static bool is_meant(const char *name, const json_t *options)
{
	return is_listed(intent_json_string(options, "world", ""), name, strcspn(name, "/"));
}

/* ---- what refers to what ---- */

/* The name in "injection:WORLD/NAME#KEY", owned; NULL: it is another kind of reference. */
static char *referred(const json_t *value)
{
	const char *from = intent_json_string(value, "from", "");

	if (!intent_starts_with(from, "injection:"))
		return NULL;
	from += strlen("injection:");
	return strndup(from, strcspn(from, "#"));
}

/* A document's values, new; NULL: there is none, or it is no good (which is said where it is used). */
static json_t *values_of(const struct intent_snapshot *snapshot, const char *name)
{
	intent_free_auto char *key = intent_format(PREFIX "%s", name);
	const struct intent_entry *entry = intent_snapshot_find(snapshot, key);
	intent_json_auto json_t *document = NULL;
	struct intent_error ignored;

	if (!entry ||
	    intent_document_read(entry, true, &document, &ignored) < 0)
		return NULL;
	return json_incref(json_object_get(document, "values"));
}

/* Everything that these values hang on, each once, whoever goes round in circles. */
static void add_others(const struct intent_snapshot *snapshot, const json_t *values, json_t *others, int depth)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)values, key, value) {
		intent_free_auto char *name = referred(value);
		json_t *theirs;

		if (!name || depth >= DEPTH_MAX || json_object_get(others, name))
			continue;
		theirs = values_of(snapshot, name);
		json_object_set_new(others, name, theirs ? theirs : json_null());
		if (theirs)
			add_others(snapshot, theirs, others, depth + 1);
	}
}

/* ---- prefixes ---- */

static void add_prefix(json_t *list, const char *world, size_t length)
{
	intent_json_auto json_t *prefix = json_sprintf(PREFIX "%.*s/", (int)length, world);
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item)
		if (json_equal(item, prefix))
			return;
	json_array_append(list, prefix);
}

/* The worlds of --world, and those that their injections refer to. */
static json_t *prefixes(const struct intent_snapshot *snapshot, const json_t *options)
{
	const char *worlds = intent_json_string(options, "world", ""), *name;
	intent_json_auto json_t *others = json_object();
	json_t *list = json_array(), *ignored;
	const struct intent_entry *entry;
	size_t count, i;

	if (!*worlds) {
		json_array_append_new(list, json_string(PREFIX));
		return list;
	}
	while (*worlds) {
		size_t length = strcspn(worlds, ", ");

		if (length)
			add_prefix(list, worlds, length);
		worlds += length;
		worlds += strspn(worlds, ", ");
	}
	entry = snapshot ? intent_snapshot_range(snapshot, PREFIX, &count) : NULL;
	for (i = 0; entry && i < count; i++) {
		intent_json_auto json_t *values = is_meant(entry[i].key + strlen(PREFIX), options) ?
			values_of(snapshot, entry[i].key + strlen(PREFIX)) : NULL;

		add_others(snapshot, values, others, 0);
	}
	json_object_foreach(others, name, ignored)
		add_prefix(list, name, strcspn(name, "/"));
	return list;
}

/* ---- slices ---- */

/* {"world", "name", "node", "options"}: new. */
static json_t *basic(const char *name, const json_t *options)
{
	size_t world = strcspn(name, "/");

	return json_pack("{ss# ss ss sO*}", "world", name, (int)world, "name", name[world] ? name + world + 1 : "",
			 "node", intent_json_string(options, "node", ""), "options", json_object_get(options, "own"));
}

/* Does this agent do sinks of that type? */
static bool is_done_here(const json_t *sink, const json_t *options)
{
	const char *type = intent_json_string(sink, "type", "");

	return is_listed(intent_json_string(json_object_get(options, "own"), "sinks", ""), type, strlen(type));
}

static bool is_on_node(const json_t *sink, const json_t *options)
{
	const char *node = intent_json_string(options, "node", "");
	const json_t *nodes = json_object_get(sink, "nodes");
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)nodes, i, item)
		if (!strcmp(json_string_value(item), node))
			return true;
	return !nodes;
}

static bool is_known(const json_t *known, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)known, i, item)
		if (!strcmp(json_string_value(item), name))
			return true;
	return false;
}

static json_t *failure(const struct intent_error *err)
{
	return json_pack("{s{si ss}}", "error", "code", err->code, "message", err->msg);
}

/* The sink as it is on this node: %n in its path is the node's name. New. */
static json_t *placed(const json_t *sink, const json_t *options)
{
	intent_json_auto json_t *named = json_pack("{sO*}", "envdir", json_object_get(sink, "path"));
	intent_free_auto char *path = intent_deploy_envdir(named, intent_json_string(options, "node", ""));
	json_t *copy = json_copy((json_t *)(uintptr_t)sink);

	if (path)
		json_object_set_new(copy, "path", json_string(path));
	return copy;
}

/*
 * {ID: sink} of those on this node that are ours to do, and {ID: true} of those that another agent is to do. Both new;
 * INTENT_ECLASH: two of ours are one object.
 */
static int sort_sinks(const json_t *document, const json_t *options, json_t **ret_new, json_t **ret_new_elsewhere,
		      struct intent_error *err)
{
	intent_json_auto json_t *sinks = json_object(), *elsewhere = json_object();
	json_t *sink;
	size_t i;

	json_array_foreach(json_object_get(document, "sinks"), i, sink) {
		intent_json_auto json_t *here = placed(sink, options);
		char id[INJECTOR_ID_MAX];

		if (!is_on_node(sink, options))
			continue;
		injector__sink_id(here, id);
		if (!is_done_here(sink, options))
			json_object_set_new(elsewhere, id, json_true());
		else if (json_object_get(sinks, id))
			return intent_fail(err, INTENT_ECLASH, "two of its sinks are %s: make them one", id);
		else
			json_object_set(sinks, id, here);
	}
	*ret_new = json_incref(sinks);
	*ret_new_elsewhere = json_incref(elsewhere);
	return 0;
}

/* New; NULL: nothing of it is this agent's business. */
static json_t *injection_slice(const struct intent_snapshot *snapshot, const struct intent_entry *entry,
			       const json_t *options, bool known)
{
	const char *name = entry->key + strlen(PREFIX);
	intent_json_auto json_t *document = NULL, *sinks = NULL, *elsewhere = NULL;
	json_t *intent, *injection, *others;
	struct intent_error err;

	if (intent_document_read(entry, true, &document, &err) < 0 ||
	    sort_sinks(document, options, &sinks, &elsewhere, &err) < 0)
		return failure(&err);
	if (!json_object_size(sinks) && !known)
		return NULL;
	others = json_object();
	add_others(snapshot, json_object_get(document, "values"), others, 0);
	injection = json_copy(document);
	json_object_del(injection, "sinks");
	intent = basic(name, options);
	json_object_set_new(intent, "injection", injection);
	json_object_set(intent, "sinks", sinks);
	if (json_object_size(elsewhere))
		json_object_set(intent, "elsewhere", elsewhere);
	json_object_set_new(intent, "others", others);
	return json_pack("{so}", "intent", intent);
}

/* ---- two in one place: they would undo each other's work for ever ---- */

static void refuse(json_t *slices, const json_t *claim, const char *name, const char *id)
{
	const char *owner = intent_json_string(claim, "owner", ""), *theirs = intent_json_string(claim, "id", "");
	json_t *words = !strcmp(owner, name) ? json_sprintf("its sinks %s and %s are in one place: take one out", theirs, id) :
		!strcmp(theirs, id) ? json_sprintf("both injections/%s and injections/%s write %s: take it out of one", owner,
						   name, id) :
		json_sprintf("injections/%s writes %s, and injections/%s writes %s, which is the same place: take it out of one",
			     owner, theirs, name, id);
	json_t *error = json_pack("{s{si so}}", "error", "code", INTENT_ECLASH, "message", words);

	json_object_set(slices, owner, error);
	json_object_set_new(slices, name, error);
}

/* Who has a directory of variables that this file or directory is in: borrowed. NULL: nobody. */
static const json_t *claim_above(const json_t *claims, const char *path)
{
	intent_free_auto char *above = *path == '/' ? strdup(path) : NULL;
	const json_t *claim = NULL;
	char *slash;

	while (!claim && above && (slash = strrchr(above, '/')) && slash != above) {
		*slash = '\0';
		claim = json_object_get(claims, above);
		if (claim && !intent_starts_with(intent_json_string(claim, "id", ""), "envdir "))
			claim = NULL;
	}
	return claim;
}

/* Each sink that is to be there takes its place; then, with `above`, each is held against what it may be in. */
static void claim_all(json_t *slices, json_t *claims, const json_t *wanted, bool above)
{
	const char *name, *id;
	json_t *slice, *sink;

	json_object_foreach((json_t *)(uintptr_t)wanted, name, slice) {
		if (!strcmp(intent_json_string(intent_json_at(slice, "/intent/injection"), "ensure", ""), "absent"))
			continue;
		json_object_foreach(intent_json_at(slice, "/intent/sinks"), id, sink) {
			const char *place = intent_json_string(sink, "path", id);
			const json_t *claim = above ? claim_above(claims, place) : json_object_get(claims, place);

			if (claim)
				refuse(slices, claim, name, id);
			else if (!above)
				json_object_set_new(claims, place, json_pack("{ss ss}", "owner", name, "id", id));
		}
	}
}

static void refuse_clashes(json_t *slices)
{
	/* One that is refused already is still looked at as it was when this began. */
	intent_json_auto json_t *wanted = json_copy(slices), *claims = json_object();

	claim_all(slices, claims, wanted, false);
	claim_all(slices, claims, wanted, true);
}

static json_t *slices(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known)
{
	json_t *slices = json_object(), *item, *slice;
	size_t count, i;
	const struct intent_entry *entry = intent_snapshot_range(snapshot, PREFIX, &count);

	for (i = 0; i < count; i++, entry++) {
		const char *name = entry->key + strlen(PREFIX);

		slice = is_meant(name, options) ?
			injection_slice(snapshot, entry, options, is_known(known, name)) : NULL;
		if (slice)
			json_object_set_new(slices, name, slice);
	}
	json_array_foreach((json_t *)(uintptr_t)known, i, item) {
		const char *name = json_string_value(item);

		if (json_object_get(slices, name) || !is_meant(name, options))
			continue;
		slice = basic(name, options);
		json_object_set_new(slice, "absent", json_true());
		json_object_set_new(slices, name, json_pack("{so}", "intent", slice));
	}
	refuse_clashes(slices);
	return slices;
}

const struct intent_slicer injector__slicer = {prefixes, slices};
