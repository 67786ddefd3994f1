/*
 * What a definition says against what stands in the store: the changes, and what is left alone and why.
 *
 * systems/<world>/<system> remembers what the definition wrote: {"keys": {key: digest of what was compiled},
 * "instances": [names], "orphans": {key: digest}}. Only what stands there is ever removed. While more than one
 * transaction is written, a digest is several, with blanks between: of what it will be, and of what it was.
 */
#include <errno.h>
#include <intent/digest.h>
#include "parts.h"

static json_t *document_of(const struct intent_entry *entry)
{
	struct intent_error ignored;
	json_t *json = NULL;

	if (!entry || intent_json_parse(entry->value, entry->length, INTENT_VALUE_MAX, &json, &ignored))
		return NULL;
	return json;
}

static json_t *digest_of(const json_t *document)
{
	char digest[65];

	intent_json_digest(document, digest);
	return json_stringn(digest, 16);
}

/* ---- members that others write ---- */

static const char *const of_config[] = {"versions", "artifacts", "previous", "hold", NULL};
static const char *const of_instance[] = {"previous", "hold", NULL};
static const char *const of_hold[] = {"hold", NULL};
static const char *const of_stack[] = {"apply", "protect", "drift", NULL};
static const char *const of_app[] = {"pipeline", "quiet_period", "concurrency", NULL};
static const char *const of_none[] = {NULL};

static const char *const *others_members(const char *key, const json_t *compiled)
{
	if (intent_starts_with(key, "clusters/") && intent_ends_with(key, "/config"))
		return json_object_size(json_object_get(compiled, "versions")) ? of_instance : of_config;
	if (intent_starts_with(key, "clusters/") || intent_starts_with(key, "nodes/"))
		return of_hold;
	if (intent_starts_with(key, "stacks/"))
		return of_stack;
	return intent_starts_with(key, "apps/") ? of_app : of_none;
}

static bool is_rule_of(const json_t *rule, const char *world)
{
	return !strcmp(intent_json_string(rule, "world", ""), world);
}

/* One application is built for several worlds: each world's apply writes its own rules. */
static void merge_app(json_t *after, const json_t *standing, const char *world)
{
	json_t *rules = json_array(), *rule, *recipes;
	size_t index;

	json_array_foreach(json_object_get(standing, "rules"), index, rule)
		if (!is_rule_of(rule, world))
			json_array_append(rules, rule);
	json_array_extend(rules, json_object_get(after, "rules"));
	recipes = json_object_get(standing, "recipes") ? json_deep_copy(json_object_get(standing, "recipes")) :
							 json_object();
	json_object_update(recipes, json_object_get(after, "recipes"));
	if (json_array_size(rules))
		json_object_set(after, "rules", rules);
	if (json_object_size(recipes))
		json_object_set(after, "recipes", recipes);
	json_decref(rules);
	json_decref(recipes);
}

json_t *system_merged(const char *key, const json_t *compiled, const json_t *standing, const char *world)
{
	json_t *after = json_deep_copy(compiled);
	const char *const *member = others_members(key, compiled);

	for (; standing && *member; member++)
		if (json_object_get(standing, *member))
			json_object_set_new(after, *member, json_deep_copy(json_object_get(standing, *member)));
	if (standing && intent_starts_with(key, "apps/"))
		merge_app(after, standing, world);
	return after;
}

/* Is what stands there still what we wrote, but for what others may write? */
static bool is_as_written(const char *key, const json_t *standing, const char *digest, const char *world)
{
	for (int instance = 0; instance < 2; instance++) {
		intent_json_auto json_t *ours = json_deep_copy(standing);
		const char *const *member = instance && intent_ends_with(key, "/config") ? of_instance :
			others_members(key, NULL);
		size_t index;
		json_t *rule, *rules = json_object_get(ours, "rules");

		for (; *member; member++)
			json_object_del(ours, *member);
		if (!instance && intent_starts_with(key, "clusters/") && intent_ends_with(key, "/config"))
			json_object_set_new(ours, "versions", json_object());
		for (index = json_array_size(rules); intent_starts_with(key, "apps/") && index--;) {
			rule = json_array_get(rules, index);
			if (!is_rule_of(rule, world))
				json_array_remove(rules, index);
		}
		intent_json_auto json_t *now = digest_of(ours);
		if (strstr(digest, json_string_value(now)))
			return true;
	}
	return false;
}

/* ---- the difference ---- */

struct differ {
	struct system_applying *applying;
	const struct intent_snapshot *now;
	const char *world;
	json_t *record; /* as it stands; owned */
	json_t *written; /* as it will: owned */
	json_t *others; /* {key: "world/system"} of other definitions; and with our name, of other worlds: "" */
	json_t *changes, *kept;
};

static void keep(struct differ *differ, const char *key, const char *why)
{
	json_array_append_new(differ->kept, json_pack("{ss ss}", "key", key, "why", why));
}

static void change(struct differ *differ, const char *op, const char *key, const json_t *before, const json_t *after,
		   const char *note)
{
	const struct intent_entry *entry = intent_snapshot_find(differ->now, key);

	json_array_append_new(differ->changes,
			      json_pack("{ss ss sI sO* sO* ss*}", "op", op, "key", key, "revision",
					(json_int_t)(entry ? entry->revision : 0), "before",
					(json_t *)(uintptr_t)before, "after", (json_t *)(uintptr_t)after,
					"note", note));
}

static void read_others(struct differ *differ, const char *own)
{
	size_t count = 0;
	const struct intent_entry *entry = intent_snapshot_range(differ->now, "systems/", &count);

	for (size_t i = 0; i < count; i++) {
		const char *whose = entry[i].key + strlen("systems/"), *name = strchr(whose, '/'), *key;
		intent_json_auto json_t *record = document_of(&entry[i]);
		json_t *value;

		if (!name || !strcmp(entry[i].key, own))
			continue;
		bool same = !strcmp(name + 1, differ->applying->system);
		json_object_foreach(json_object_get(record, "keys"), key, value)
			if (!same || !json_object_get(differ->others, key))
				json_object_set_new(differ->others, key, json_string(same ? "" : whose));
	}
}

static const char *digest_in(const json_t *record, const char *member, const char *key)
{
	return json_string_value(json_object_get(json_object_get(record, member), key));
}

static void remember(struct differ *differ, const char *member, const char *key, json_t *stolen_digest)
{
	json_object_set_new(json_object_get(differ->written, member), key, stolen_digest);
}

static void compare(struct differ *differ, const char *key, const json_t *compiled)
{
	const struct intent_entry *entry = intent_snapshot_find(differ->now, key);
	intent_json_auto json_t *before = document_of(entry);
	intent_json_auto json_t *after = system_merged(key, compiled, before, differ->world);
	const char *digest = digest_in(differ->record, "keys", key), *other;
	bool same = before && json_equal(before, after);

	digest = digest ? digest : digest_in(differ->record, "orphans", key);
	if (intent_starts_with(key, "stacks/") && !differ->applying->provision && !same) {
		keep(differ, key, before ? "the stack is to be changed: --provision does it" :
					   "the stack is not there yet: --provision makes it");
		if (digest)
			remember(differ, "keys", key, json_string(digest));
		return;
	}
	other = json_string_value(json_object_get(differ->others, key));
	if (!same && before && !digest && !other && !differ->applying->adopt) {
		keep(differ, key, "it stands there and this definition did not write it; --adopt takes it over");
		differ->applying->refused = true;
		return;
	}
	if (!same && other && *other && !digest && !differ->applying->adopt) {
		intent_free_auto char *why = intent_format("the definition %s wrote it; rename one, or take it over with "
							   "--adopt", other);
		keep(differ, key, why ? why : "");
		differ->applying->refused = true;
		return;
	}
	remember(differ, "keys", key, digest_of(compiled));
	bool by_hand = !same && before && digest && !is_as_written(key, before, digest, differ->world);
	if (!same)
		change(differ, before || entry ? "~" : "+", key, before, after, by_hand ? "changed by hand since" : NULL);
}

static bool is_instance_key(const struct differ *differ, const char *key)
{
	const json_t *names = json_object_get(differ->record, "instances");
	size_t index;
	json_t *name;

	if (intent_starts_with(key, "stacks/"))
		return true;
	json_array_foreach((json_t *)(uintptr_t)names, index, name) {
		intent_free_auto char *cluster = intent_format("clusters/%s/", json_string_value(name));
		intent_free_auto char *node = intent_format("/%s", json_string_value(name));
		if (cluster && node && (intent_starts_with(key, cluster) ||
					(intent_starts_with(key, "nodes/") && intent_ends_with(key, node))))
			return true;
	}
	return false;
}

/* An application that is still built for other worlds only loses this world's rules. */
static bool withdraw_rules(struct differ *differ, const char *key, const json_t *standing)
{
	json_t *rules, *rule;
	size_t index;

	if (!intent_starts_with(key, "apps/"))
		return false;
	intent_json_auto json_t *after = json_deep_copy(standing);
	rules = json_object_get(after, "rules");
	for (index = json_array_size(rules); index--;) {
		rule = json_array_get(rules, index);
		if (is_rule_of(rule, differ->world))
			json_array_remove(rules, index);
	}
	if (!json_array_size(rules) && !json_object_get(differ->others, key))
		return false;
	if (!json_equal(after, standing))
		change(differ, "~", key, standing, after, NULL);
	return true;
}

/* Nothing is taken away for want of a document: what an injection put into directories and Secrets needs this one. */
static void take_back(struct differ *differ, const char *key, const json_t *before)
{
	intent_json_auto json_t *after = json_deep_copy(before);

	json_object_set_new(after, "ensure", json_string("absent"));
	remember(differ, "orphans", key, digest_of(after));
	if (!json_equal(before, after))
		change(differ, "~", key, before, after, "no longer said: its sinks are taken away");
}

static bool is_ours(const struct differ *differ, const char *key, const json_t *before, const char *digest)
{
	/* An apply that was cut off may have retired it already. */
	const char *retired = digest_in(differ->record, "orphans", key);

	return before && (is_as_written(key, before, digest, differ->world) ||
			  (retired && is_as_written(key, before, retired, differ->world)));
}

/* What was written once and is said no more. */
static void retire(struct differ *differ, const char *key, const char *digest)
{
	const struct intent_entry *entry = intent_snapshot_find(differ->now, key);
	intent_json_auto json_t *before = document_of(entry);

	if (!entry)
		return;
	if (!differ->applying->whole) {
		remember(differ, "keys", key, json_string(digest));
	} else if (is_instance_key(differ, key)) {
		remember(differ, "orphans", key, json_string(digest));
		keep(differ, key, "no longer required, left as it is: \"ppctl orphans\" says how it goes");
	} else if (intent_starts_with(key, "worlds/") || intent_starts_with(key, "resources/")) {
		/* Others live by it. */
		keep(differ, key, "no longer beside sysdef.yaml, left in the store: \"ppctl rm\" removes it");
	} else if (json_object_get(differ->others, key) && !intent_starts_with(key, "apps/")) {
		return;
	} else if (before && withdraw_rules(differ, key, before)) {
		return;
	} else if (!is_ours(differ, key, before, digest)) {
		keep(differ, key, "no longer said, but changed by hand since: \"ppctl rm\" removes it");
	} else if (intent_starts_with(key, "injections/")) {
		take_back(differ, key, before);
	} else {
		change(differ, "-", key, before, NULL, NULL);
	}
}

static void add_markers(struct differ *differ)
{
	intent_json_auto json_t *markers = json_object();
	size_t index;
	json_t *row, *value;
	const char *marker;

	json_array_foreach(differ->changes, index, row) {
		const char *key = intent_json_string(row, "key", "");
		size_t node = intent_starts_with(key, "nodes/") ? strcspn(key + 6, "/") : 0;
		if (node && !strcmp(intent_json_string(row, "op", ""), "+"))
			json_object_setn_new(markers, key, 6 + node + 1, json_object());
	}
	json_object_foreach(markers, marker, value)
		if (!intent_snapshot_find(differ->now, marker))
			change(differ, "+", marker, NULL, value, NULL);
}

/* The version that is to run, as ppctl activate does it. */
static void activate(json_t *config, const char *version, const json_t *artifact)
{
	json_t *versions = json_object_get(config, "versions");
	const char *active = intent_config_active(config);

	if (active && strcmp(active, version)) {
		json_object_set_new(config, "previous", json_string(active));
		json_object_set_new(versions, active, json_string("prep"));
	}
	json_object_set_new(versions, version, json_string("active"));
	if (json_object_size(artifact)) {
		json_t *artifacts = json_object_get(config, "artifacts");
		if (!artifacts)
			json_object_set_new(config, "artifacts", artifacts = json_object());
		json_object_set(artifacts, version, (json_t *)(uintptr_t)artifact);
	}
}

static void activate_all(struct differ *differ)
{
	const char *name;
	json_t *wanted;

	json_object_foreach(differ->applying->versions, name, wanted) {
		intent_free_auto char *key = intent_format("clusters/%s/%s/config", name, differ->world);
		intent_json_auto json_t *before = document_of(intent_snapshot_find(differ->now, key));
		json_t *row = NULL, *one, *after;
		size_t index;

		json_array_foreach(differ->changes, index, one)
			if (!strcmp(intent_json_string(one, "key", ""), key))
				row = one;
		after = row ? json_deep_copy(json_object_get(row, "after")) : json_deep_copy(before);
		if (!after)
			continue;
		activate(after, intent_json_string(wanted, "version", ""), json_object_get(wanted, "artifact"));
		if (row)
			json_object_set(row, "after", after);
		else if (!json_equal(before, after))
			change(differ, "~", key, before, after, NULL);
		json_decref(after);
	}
}

/* What is read before what reads it; what runs last. Removals go the other way, behind everything else. */
static int rank(const json_t *row)
{
	static const char *const order[] = {"resources/", "worlds/", "stacks/", "injections/", "apps/", "clusters/", "nodes/"};
	const char *key = intent_json_string(row, "key", "");
	int count = (int)(sizeof(order) / sizeof(*order)), at = 0;

	while (at < count && !intent_starts_with(key, order[at]))
		at++;
	return strcmp(intent_json_string(row, "op", ""), "-") ? at : 2 * count - at;
}

static int by_rank(const void *a, const void *b)
{
	const json_t *one = *(json_t *const *)a, *other = *(json_t *const *)b;
	int order = rank(one) - rank(other);

	return order ? order : strcmp(intent_json_string(one, "key", ""), intent_json_string(other, "key", ""));
}

static void write_record(struct differ *differ)
{
	const json_t *instances = json_object_get(differ->applying->compiled, "instances");
	json_t *names = json_array(), *row, *old;
	size_t index, j;
	const char *key, *digest;
	json_t *value;

	json_object_set_new(differ->written, "instances", names);
	json_array_foreach((json_t *)(uintptr_t)instances, index, row)
		json_array_append(names, json_object_get(row, "name"));
	/* What an orphan is must stay known, too; and what a part of the definition left alone. */
	json_array_foreach(json_object_get(differ->record, "instances"), index, old) {
		bool there = false;
		json_array_foreach(names, j, row)
			there = there || json_equal(row, old);
		intent_free_auto char *part = intent_format("/%s", json_string_value(old));
		bool used = !differ->applying->whole;
		json_object_foreach(json_object_get(differ->written, "orphans"), key, value)
			used = used || (part && strstr(key, part));
		if (!there && used)
			json_array_append(names, old);
	}
	json_object_foreach(json_object_get(differ->record, "orphans"), key, value) {
		digest = json_string_value(value);
		if (!digest_in(differ->written, "keys", key) && intent_snapshot_find(differ->now, key) && digest)
			remember(differ, "orphans", key, json_string(digest));
	}
}

int system_compare(struct system_applying *applying, const struct intent_snapshot *now, json_t **ret_new,
		   struct intent_error *err)
{
	intent_free_auto char *own = intent_format("systems/%s/%s", applying->world->name, applying->system);
	const struct intent_entry *entry = intent_snapshot_find(now, own);
	struct differ differ = {
		.applying = applying, .now = now, .world = applying->world->name, .record = document_of(entry),
		.written = json_pack("{s{} s{}}", "keys", "orphans"), .others = json_object(), .changes = json_array(),
		.kept = json_array(),
	};
	const char *key;
	json_t *value;
	int code = 0;

	applying->refused = false;
	if (entry && !differ.record)
		code = intent_fail(err, INTENT_EMALFORMED, "%s is no JSON; \"ppctl edit %s\" corrects it", own, own);
	if (!code) {
		read_others(&differ, own);
		json_object_foreach(json_object_get(applying->compiled, "documents"), key, value)
			compare(&differ, key, value);
		json_object_foreach(json_object_get(differ.record, "keys"), key, value)
			if (!digest_in(differ.written, "keys", key) &&
			    !json_object_get(json_object_get(applying->compiled, "documents"), key))
				retire(&differ, key, json_string_value(value));
		write_record(&differ);
		activate_all(&differ);
		add_markers(&differ);
		system_sort(differ.changes, by_rank);
		*ret_new = json_pack("{sO sO ss sO sO* sI}", "changes", differ.changes, "kept", differ.kept, "key", own,
				     "record", differ.written, "was", differ.record, "revision",
				     (json_int_t)(entry ? entry->revision : 0));
	}
	json_decref(differ.record);
	json_decref(differ.written);
	json_decref(differ.others);
	json_decref(differ.changes);
	json_decref(differ.kept);
	return code;
}

/* ---- shown ---- */

/* By its name; what only says where it comes from is none. */
static bool is_secret(const char *path)
{
	static const char *const words[] = {"password", "passwd", "secret", "token", "credential", "private_key"};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words) && !intent_ends_with(path, "/from"); i++)
		if (strcasestr(path, words[i]))
			return true;
	return false;
}

static void add_value(struct intent_text *out, const char *path, const json_t *value)
{
	intent_free_auto char *bytes = value ? intent_json_canonical(value) : strdup("(none)");

	if (value && is_secret(path))
		intent_text_puts(out, "(hidden)");
	else
		intent_text_printf(out, "%.200s%s", bytes ? bytes : "", bytes && strlen(bytes) > 200 ? "..." : "");
}

/* To be gone through member by member; what has no members is told as it is. */
static bool has_members(const json_t *value)
{
	return json_is_object(value) && json_object_size(value);
}

void system_describe(struct intent_text *out, const char *path, const json_t *before, const json_t *after)
{
	const char *name;
	json_t *value;

	if (before && after && json_equal(before, after))
		return;
	if ((!before || json_is_object(before)) && (!after || json_is_object(after)) &&
	    (has_members(before) || has_members(after))) {
		intent_json_auto json_t *both = before ? json_copy((json_t *)(uintptr_t)before) : json_object();
		json_object_update(both, (json_t *)(uintptr_t)after);
		/* In the canonical order, so that the same change always reads the same. */
		const char *names[1024];
		size_t count = 0;
		json_object_foreach(both, name, value)
			if (count < sizeof(names) / sizeof(*names))
				names[count++] = name;
		qsort(names, count, sizeof(*names), system_by_name);
		for (size_t i = 0; i < count; i++) {
			intent_free_auto char *inner = system_pointer(path, names[i]);
			system_describe(out, inner ? inner : "", json_object_get(before, names[i]),
					json_object_get(after, names[i]));
		}
		return;
	}
	intent_text_printf(out, "    %s: ", path);
	add_value(out, path, before);
	intent_text_puts(out, " -> ");
	add_value(out, path, after);
	intent_text_puts(out, "\n");
}
