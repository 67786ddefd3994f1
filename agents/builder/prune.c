/*
 * What was built once and nobody needs any more: its artifact, then its fact. In this order: whoever is killed in
 * between finds the fact again, and an artifact that is gone is no obstacle.
 */
#include <intent/fetch.h>
#include <intent/file.h>
#include "builder.h"

#define BUILDS "reality/builds/"

static int list(struct builder *builder, const char *prefix, enum intent_consistency consistency,
		struct intent_snapshot **ret_owned, struct intent_error *err)
{
	struct intent_store *store;

	if (intent_round_store(builder->round, &store, err) < 0)
		return err->code;
	return intent_store_list(store, prefix, consistency, ret_owned, err);
}

static int list_facts(struct builder *builder, enum intent_consistency consistency, struct intent_snapshot **ret_owned,
		      struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format(BUILDS "%s/", builder->app);

	return list(builder, prefix, consistency, ret_owned, err);
}

/* New; NULL: it cannot be read, so it stays. */
static json_t *fact_of(const struct intent_entry *entry)
{
	struct intent_error ignored;
	json_t *fact = NULL;

	if (intent_json_parse(entry->value, entry->length, 0, &fact, &ignored) < 0)
		return NULL;
	if (strlen(intent_json_string(fact, "input", "")) == 64)
		return fact;
	json_decref(fact);
	return NULL;
}

/* ---- who names it ---- */

static bool mentions(const char *text, const json_t *fact)
{
	static const char *const members[] = {"image", "sha256", "url"};
	char brief[BUILDER_SHORT + 1];

	snprintf(brief, sizeof(brief), "%s", intent_json_string(fact, "input", ""));
	if (strstr(text, brief))
		return true;
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
		const char *name = intent_json_string(fact, members[i], "");

		if (*name && strstr(text, name))
			return true;
	}
	return false;
}

/* Anywhere in a document, whatever it means there and whether or not that is well formed: then it is needed. */
struct namers { struct intent_snapshot *documents[3]; };

static void release_namers(struct namers *namers)
{
	for (size_t i = 0; i < 3; i++)
		intent_snapshot_unref(namers->documents[i]);
}

static int list_namers(struct builder *builder, enum intent_consistency consistency, struct namers *ret,
		       struct intent_error *err)
{
	intent_free_auto char *health = intent_format("reality/health/%s/", builder->app);
	const char *const prefixes[] = {"clusters/", "approvals/", health};
	int code = 0;

	*ret = (struct namers){0};
	for (size_t i = 0; !code && i < 3; i++)
		code = list(builder, prefixes[i], consistency, &ret->documents[i], err);
	if (code)
		release_namers(ret);
	return code;
}

/* The key of one that does; borrowed. */
static const char *namer_of(const struct namers *namers, const json_t *fact)
{
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < namers->documents[i]->count; k++)
			if (mentions(namers->documents[i]->entries[k].value, fact))
				return namers->documents[i]->entries[k].key;
	return NULL;
}

/* ---- observing ---- */

static bool is_wanted(const json_t *targets, const json_t *wanted, const char *revision, const char *recipe)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)wanted, i, item) {
		const json_t *seen = json_object_get(targets, intent_json_string(item, "target", ""));
		const char *at = intent_json_string(seen, "revision", "");

		if (!strcmp(intent_json_string(item, "recipe", ""), recipe) && strlen(at) == strcspn(revision, "/") &&
		    !strncmp(revision, at, strlen(at)))
			return true;
	}
	return false;
}

/* Those that this node made: {"<revision>/<recipe>": {"input", "at", "wanted"?}}. New. */
static json_t *own_builds(struct builder *builder, const struct intent_snapshot *facts, const json_t *targets)
{
	json_t *builds = json_object();
	size_t skip = strlen(BUILDS) + strlen(builder->app) + 1;

	for (size_t i = 0; i < facts->count; i++) {
		const char *name = facts->entries[i].key + skip, *slash = strchr(name, '/');
		intent_json_auto json_t *fact = fact_of(&facts->entries[i]);

		if (!fact || !slash || strcmp(intent_json_string(fact, "node", ""), builder->node))
			continue;
		bool wanted = is_wanted(targets, json_object_get(builder->intent, "wanted"), name, slash + 1);
		json_object_set_new(builds, name, json_pack("{sO sO* so*}", "input", json_object_get(fact, "input"), "at",
							    json_object_get(fact, "at"), "wanted",
							    wanted ? json_true() : NULL));
	}
	return builds;
}

static void note_namers(const struct namers *namers, const struct intent_snapshot *facts, size_t skip, json_t *builds)
{
	for (size_t i = 0; i < facts->count; i++) {
		json_t *build = json_object_get(builds, facts->entries[i].key + skip);
		intent_json_auto json_t *fact = build ? fact_of(&facts->entries[i]) : NULL;
		const char *namer = fact ? namer_of(namers, fact) : NULL;

		if (namer)
			json_object_set_new(build, "named", json_string(namer));
	}
}

int builder__look_at_builds(struct builder *builder, const json_t *targets, json_t *observed, struct intent_error *err)
{
	struct intent_snapshot *facts = NULL;
	struct namers namers;
	const char *target;
	json_t *seen;

	/* Where it is not known what is wanted, nothing is too many. */
	json_object_foreach((json_t *)(uintptr_t)targets, target, seen)
		if (!json_object_get(seen, "input") || json_object_get(seen, "trouble"))
			return 0;
	if (list_facts(builder, INTENT_DEFAULT, &facts, err) < 0)
		return err->code;
	intent_json_auto json_t *builds = own_builds(builder, facts, targets);
	int code = 0;

	intent_round_owned(builder->round, (int)json_object_size(builds));
	if ((json_int_t)json_object_size(builds) > intent_json_integer(builder->options, "keep", 10)) {
		code = list_namers(builder, INTENT_DEFAULT, &namers, err);
		if (!code) {
			note_namers(&namers, facts, strlen(BUILDS) + strlen(builder->app) + 1, builds);
			release_namers(&namers);
			json_object_set(observed, "builds", builds);
		}
	}
	intent_snapshot_unref(facts);
	return code;
}

/* ---- removing ---- */

/* Only what bears its own name, in a directory of its application: anything else somebody else put there. */
static int remove_archive(struct builder *builder, const json_t *fact, struct intent_error *err)
{
	intent_free_auto char *path = intent_fetch_path(intent_json_string(fact, "url", ""));
	intent_free_auto char *end = intent_format("/%s/%s_%.*s.tar.gz", builder->app, builder->app, BUILDER_SHORT,
						   intent_json_string(fact, "input", ""));
	intent_free_auto char *sums = path ? intent_format("%s.sha256", path) : NULL;

	if (!path || !intent_ends_with(path, end))
		return 0;
	/* Without its digest it is none. */
	if (access(sums, F_OK) == 0 && intent_file_remove(sums, err) < 0)
		return err->code;
	return access(path, F_OK) == 0 ? intent_file_remove(path, err) : 0;
}

static int remove_artifact(struct builder *builder, const json_t *fact, struct intent_error *err)
{
	return json_object_get(fact, "image") ? builder__remove_image(builder, fact, err) :
						remove_archive(builder, fact, err);
}

/* Nobody builds it meanwhile, nor comes to name it: both are asked anew. */
static int remove_unnamed(struct builder *builder, const json_t *fact, struct intent_error *err)
{
	intent_free_auto char *key = intent_format("locks/build/%s", intent_json_string(fact, "input", ""));
	intent_json_auto json_t *holder = json_pack("{so ss}", "holder", json_sprintf("builder@%s", builder->node), "app",
						    builder->app);
	const char *keys[] = {key};
	struct intent_store *store;
	struct namers namers;

	if (intent_round_store(builder->round, &store, err) < 0 ||
	    intent_held_take(store, keys, 1, holder, &builder->held, err) < 0)
		return err->code;
	int code = list_namers(builder, INTENT_STRONGEST, &namers, err);
	if (!code) {
		const char *namer = namer_of(&namers, fact);

		code = namer ? intent_fail(err, INTENT_ESTALE, "%s names it by now", namer) :
			       remove_artifact(builder, fact, err);
		release_namers(&namers);
	}
	builder->held = intent_held_release(builder->held);
	return code;
}

/* Is there another fact of the same input? */
static bool is_shared(const struct intent_snapshot *facts, const struct intent_entry *own, const char *input)
{
	for (size_t i = 0; i < facts->count; i++) {
		intent_json_auto json_t *other = &facts->entries[i] == own ? NULL : fact_of(&facts->entries[i]);

		if (other && !strcmp(intent_json_string(other, "input", ""), input))
			return true;
	}
	return false;
}

static int prune(struct builder *builder, const json_t *action, const struct intent_snapshot *facts,
		 struct intent_error *err)
{
	const char *input = intent_json_string(json_object_get(action, "args"), "input", "");
	intent_free_auto char *key = intent_format(BUILDS "%s/%s", builder->app,
						   intent_json_string(action, "subject", ""));
	const struct intent_entry *entry = intent_snapshot_find(facts, key);
	intent_json_auto json_t *fact = entry ? fact_of(entry) : NULL;
	struct intent_store *store;

	if (!entry)
		return 0;
	if (!fact || strcmp(intent_json_string(fact, "input", ""), input) ||
	    strcmp(intent_json_string(fact, "node", ""), builder->node))
		return intent_fail(err, INTENT_ESTALE, "%s has been written anew", key);
	if ((!is_shared(facts, entry, input) && remove_unnamed(builder, fact, err) < 0) ||
	    intent_round_store(builder->round, &store, err) < 0)
		return err->code;
	const struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = key, .revision = entry->revision},
		{.kind = INTENT_OP_DELETE, .key = key},
	};
	return intent_store_txn(store, ops, 2, NULL, err);
}

int builder__prune(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct intent_snapshot *facts = NULL;
	struct builder builder;

	if (builder__open(&builder, round, err) < 0)
		return err->code;
	int code = list_facts(&builder, INTENT_STRONGEST, &facts, err);
	if (!code)
		code = prune(&builder, action, facts, err);
	intent_snapshot_unref(facts);
	builder__close(&builder);
	return code;
}
