/* One slice for each application that says how it is built: what is wanted of it. Pure. */
#include <fnmatch.h>
#include <intent/documents.h>
#include "builder.h"

#define REFS "reality/refs/"

static bool is_pattern(const char *ref)
{
	return strpbrk(ref, "*?[") != NULL;
}

static bool is_directory(const json_t *app)
{
	return intent_starts_with(intent_json_string(app, "repo", ""), "dir:");
}

/* Is this one ours to build? Others may be another builder's. */
static bool is_meant(const char *name, const json_t *options)
{
	const char *apps = intent_json_string(options, "apps", "");

	if (!*apps)
		return true;
	for (size_t length; *apps; apps += length, apps += strspn(apps, ", ")) {
		length = strcspn(apps, ", ");
		if (length == strlen(name) && !strncmp(apps, name, length))
			return true;
	}
	return false;
}

/* Always all facts: a ref that somebody else sees change is looked at at once, whatever finds it. */
static json_t *prefixes(const struct intent_snapshot *snapshot, const json_t *options)
{
	(void)snapshot;
	(void)options;
	return json_pack("[s s]", "apps/", REFS);
}

/* ---- what is wanted ---- */

struct wishes {
	const json_t *app;
	json_t *wanted, *seen; /* borrowed: the list; owned: the targets in it */
	bool too_many;
};

/* ref: NULL for a directory; commit: NULL where the builder itself finds it. */
static void want(struct wishes *wishes, const char *recipe, const char *ref, const char *commit)
{
	intent_free_auto char *target = intent_format("%s%s%s", recipe, ref ? "@" : "", ref ? ref : "");
	json_t *build = json_object_get(json_object_get(wishes->app, "recipes"), recipe);

	if (json_object_get(wishes->seen, target))
		return;
	wishes->too_many |= json_array_size(wishes->wanted) >= BUILDER_WANTED_MAX;
	if (wishes->too_many)
		return;
	json_object_set_new(wishes->seen, target, json_true());
	json_array_append_new(wishes->wanted,
			      json_pack("{ss ss sO ss* ss*}", "target", target, "recipe", recipe, "build",
							build, "ref", ref, "commit", commit));
}

/* "release-*" means "release-1", and "heads/release-1" and "tags/release-1" too. */
static bool fits(const char *pattern, const char *ref)
{
	bool qualified = intent_starts_with(ref, "heads/") || intent_starts_with(ref, "tags/");
	const char *name = qualified ? strchr(ref, '/') + 1 : ref;

	return !fnmatch(pattern, ref, 0) || !fnmatch(pattern, name, 0);
}

static void want_pattern(struct wishes *wishes, const json_t *refs, const char *recipe, const char *pattern)
{
	const char *ref;
	json_t *commit;

	json_object_foreach((json_t *)(uintptr_t)refs, ref, commit)
		if (fits(pattern, ref) && json_is_string(commit))
			want(wishes, recipe, ref, json_string_value(commit));
}

/* What facts say of an application: {ref: commit}. New. */
static json_t *refs_of(const struct intent_snapshot *snapshot, const char *name)
{
	intent_free_auto char *prefix = intent_format(REFS "%s/", name);
	json_t *refs = json_object();
	size_t count = 0;
	const struct intent_entry *entry = intent_snapshot_range(snapshot, prefix, &count);

	for (size_t i = 0; i < count; i++, entry++) {
		intent_json_auto json_t *fact = NULL;
		struct intent_error ignored;
		const char *commit;

		if (intent_json_parse(entry->value, entry->length, 0, &fact, &ignored) < 0)
			continue;
		commit = intent_json_string(fact, "commit", "");
		if ((strlen(commit) == 40 || strlen(commit) == 64) &&
		    strspn(commit, "0123456789abcdef") == strlen(commit))
			json_object_set_new(refs, entry->key + strlen(prefix), json_string(commit));
	}
	return refs;
}

static int list_wanted(const json_t *app, const json_t *refs, json_t *wanted, struct intent_error *err)
{
	intent_json_auto json_t *seen = json_object();
	struct wishes wishes = {.app = app, .wanted = wanted, .seen = seen};
	size_t i;
	json_t *rule;

	json_array_foreach(json_object_get(app, "rules"), i, rule) {
		const char *ref = intent_json_string(rule, "ref", "");
		const char *recipe = intent_json_string(rule, "recipe", NULL);

		if (!recipe)
			continue;
		if (!json_object_get(json_object_get(app, "recipes"), recipe))
			return intent_fail(err, INTENT_EMALFORMED,
					   "/rules/%zu/recipe: there is no recipe \"%s\" in /recipes", i,
					   recipe);
		if (is_directory(app))
			want(&wishes, recipe, NULL, NULL);
		else if (is_pattern(ref))
			want_pattern(&wishes, refs, recipe, ref);
		else
			want(&wishes, recipe, ref, NULL);
	}
	if (wishes.too_many)
		return intent_fail(err, INTENT_ETOOBIG, "its rules want more than %d builds: narrow their patterns",
				   BUILDER_WANTED_MAX);
	return 0;
}

/* ---- slices ---- */

static json_t *basic(const char *name, const json_t *options)
{
	return json_pack("{ss ss sO*}", "app", name, "node", intent_json_string(options, "node", ""), "options",
			 json_object_get(options, "own"));
}

static int read_app(const struct intent_entry *entry, const json_t *refs, json_t *intent, struct intent_error *err)
{
	intent_json_auto json_t *app = NULL;
	json_t *wanted = json_array();

	json_object_set_new(intent, "wanted", wanted);
	if (intent_document_read(entry, false, &app, err) < 0)
		return err->code;
	if (json_object_size(json_object_get(app, "recipes")) && json_array_size(json_object_get(app, "rules")) &&
	    !json_object_get(app, "repo"))
		return intent_fail(err, INTENT_EMALFORMED, "%s: /repo: is missing: it says what to build", entry->key);
	if (list_wanted(app, refs, wanted, err) < 0)
		return intent_wrap(err, "%s", entry->key);
	json_object_set(intent, "repo", json_object_get(app, "repo"));
	json_object_set_new(intent, "path", json_string(intent_json_string(app, "path", "")));
	json_object_set_new(intent, "concurrency", json_integer(intent_json_integer(app, "concurrency", 1)));
	if (json_object_get(app, "quiet_period"))
		json_object_set_new(intent, "quiet_ms", json_integer(intent_json_duration(app, "quiet_period", 0)));
	return 0;
}

/* New; NULL: nothing of it is to be built. */
static json_t *app_slice(const struct intent_snapshot *snapshot, const struct intent_entry *entry, const char *name,
			 const json_t *options)
{
	intent_json_auto json_t *refs = refs_of(snapshot, name), *intent = basic(name, options);
	struct intent_error err;

	if (read_app(entry, refs, intent, &err) < 0)
		return json_pack("{s{si ss}}", "error", "code", err.code, "message", err.msg);
	if (!json_array_size(json_object_get(intent, "wanted")))
		return NULL;
	return json_pack("{sO sO}", "intent", intent, "wake", refs);
}

static json_t *slices(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known)
{
	const json_t *own = json_object_get(options, "own");
	json_t *slices = json_object(), *item;
	size_t count, i;
	const struct intent_entry *entry = intent_snapshot_range(snapshot, "apps/", &count);

	for (i = 0; i < count; i++, entry++) {
		const char *name = entry->key + strlen("apps/");
		json_t *slice = is_meant(name, own) ? app_slice(snapshot, entry, name, options) : NULL;

		if (slice)
			json_object_set_new(slices, name, slice);
	}
	json_array_foreach((json_t *)(uintptr_t)known, i, item) {
		const char *name = json_string_value(item);
		json_t *intent;

		if (json_object_get(slices, name))
			continue;
		intent = basic(name, options);
		json_object_set_new(intent, "absent", json_true());
		json_object_set_new(slices, name, json_pack("{so}", "intent", intent));
	}
	return slices;
}

const struct intent_slicer builder__slicer = {prefixes, slices};
