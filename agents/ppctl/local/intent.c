/* The documents of a model, written, activated and taken back. */
#include <dirent.h>
#include <intent/file.h>
#include "local.h"

/* ---- writing ---- */

struct merging {
	const json_t *written;
};

static int merge(json_t *document, void *data, struct intent_error *err)
{
	const struct merging *merging = data;
	json_t *merged = local_config_merge(merging->written, document);

	(void)err;
	json_object_clear(document);
	json_object_update(document, merged);
	json_decref(merged);
	return 0;
}

static int write_document(struct ppctl *ctl, const char *key, const json_t *document, struct intent_error *err)
{
	struct merging merging = {.written = document};
	struct ppctl_change change = {
		.key = key, .otherwise = "{}", .change = merge, .data = &merging};
	intent_free_auto char *bytes = intent_json_canonical(document);
	intent_json_auto json_t *result = NULL;
	bool written;

	if (intent_document_check(key, bytes, strlen(bytes), false, NULL, NULL, err))
		return intent_wrap(err, "%s", key);
	if (intent_starts_with(key, "clusters/") && intent_ends_with(key, "/config"))
		return ppctl_change(ctl, &change, &written, &result, err);
	return ppctl_write(ctl, key, bytes, NULL, &written, err);
}

int local_intent_write(struct ppctl *ctl, const struct local_place *place, const json_t *model,
		       struct intent_error *err)
{
	const json_t *documents = json_object_get(model, "documents");
	intent_free_auto char *marker = intent_format("nodes/%s/", place->node);
	const char *key;
	json_t *document;
	bool written;
	int code = ppctl_write(ctl, marker, "{}", NULL, &written, err);

	/* What an application is before where it runs: nothing begins on half of it. */
	for (int nodes = 0; !code && nodes < 2; nodes++)
		json_object_foreach((json_t *)(uintptr_t)documents, key, document)
			if (!code && intent_starts_with(key, "nodes/") == nodes)
				code = write_document(ctl, key, document, err);
	return code;
}

/* ---- activating ---- */

static int activate(json_t *document, void *data, struct intent_error *err)
{
	const json_t *wants = data;

	(void)err;
	local_config_activate(document, intent_json_string(wants, "version", ""), json_object_get(wants, "artifact"));
	return 0;
}

int local_intent_activate(struct ppctl *ctl, const char *service, const json_t *wants, struct intent_error *err)
{
	intent_free_auto char *key = intent_format("clusters/%s/" LOCAL_WORLD "/config", service);
	union { const json_t *given; void *wanted; } data = {.given = wants};
	struct ppctl_change change = {.key = key, .change = activate, .data = data.wanted};
	intent_json_auto json_t *result = NULL;
	bool changed;

	return ppctl_change(ctl, &change, &changed, &result, err);
}

/* ---- taking back ---- */

static int take_back_injection(struct ppctl *ctl, const char *service, struct intent_error *err)
{
	intent_free_auto char *key = intent_format("injections/" LOCAL_WORLD "/%s", service);
	struct intent_snapshot *found = NULL;
	struct intent_store *store;
	bool written;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
	if (code)
		return code == INTENT_EABSENT ? 0 : code;
	intent_json_auto json_t *document = ppctl_document(found->entries);
	intent_snapshot_unref(found);
	if (!json_is_object(document))
		return 0;
	json_object_set_new(document, "ensure", json_string("absent"));
	intent_free_auto char *bytes = intent_json_canonical(document);
	return ppctl_write(ctl, key, bytes, NULL, &written, err);
}

int local_intent_retire(struct ppctl *ctl, const struct local_place *place, const char *service,
			struct intent_error *err)
{
	intent_free_auto char *key = intent_format("nodes/%s/%s", place->node, service);
	struct intent_store *store;

	if (ppctl_store(ctl, &store, err) || intent_store_delete(store, key, err))
		return err->code;
	return take_back_injection(ctl, service, err);
}

/* What other applications of the workspace have written too. New: {key: ...}. */
static json_t *keys_of_others(const struct local_place *place, const char *app)
{
	intent_free_auto char *directory = local_path(place, "apps");
	intent_free_auto char *own = intent_format("%s.json", app);
	json_t *keys = json_object();
	DIR *list = opendir(directory);

	for (struct dirent *entry; list && (entry = readdir(list));) {
		intent_json_auto json_t *model = NULL;
		struct intent_error ignored;
		if (!intent_ends_with(entry->d_name, ".json") || entry->d_name[0] == '.' ||
		    !strcmp(entry->d_name, own))
			continue;
		entry->d_name[strlen(entry->d_name) - strlen(".json")] = 0;
		if (!local_model_read(place, entry->d_name, &model, &ignored))
			json_object_update(keys, json_object_get(model, "documents"));
	}
	if (list)
		closedir(list);
	return keys;
}

int local_intent_replace(struct ppctl *ctl, const struct local_place *place, const json_t *before, const json_t *now,
			 struct intent_error *err)
{
	const json_t *documents = json_object_get(now, "documents");
	json_t *service, *gone = json_pack("{sO s{}}", "app", json_object_get(before, "app"), "documents"), *document;
	const char *key;
	size_t index;
	int code = 0;

	json_array_foreach(json_object_get(before, "services"), index, service) {
		const char *name = intent_json_string(service, "name", "");
		if (!code && !local_model_service(now, name))
			code = local_intent_retire(ctl, place, name, err);
	}
	json_object_foreach(json_object_get(before, "documents"), key, document)
		if (!json_object_get(documents, key))
			json_object_set_new(json_object_get(gone, "documents"), key, json_null());
	if (!code)
		code = local_intent_remove(ctl, place, gone, err);
	json_decref(gone);
	return code;
}

int local_intent_remove(struct ppctl *ctl, const struct local_place *place, const json_t *model,
			struct intent_error *err)
{
	intent_json_auto json_t *others = keys_of_others(place, intent_json_string(model, "app", ""));
	struct intent_store *store;
	const char *key;
	json_t *document;
	int code = ppctl_store(ctl, &store, err);

	json_object_foreach(json_object_get(model, "documents"), key, document)
		if (!code && !json_object_get(others, key))
			code = intent_store_delete(store, key, err);
	return code;
}
