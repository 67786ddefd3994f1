/* Keys and documents as the subcommands share them. */
#include "ppctl.h"

char *ppctl_prefix(const char *word)
{
	return intent_format("%s%s", word, *word && !intent_ends_with(word, "/") ? "/" : "");
}

const char *ppctl_slice_name(const char *word, const char *kind)
{
	const char *name = intent_starts_with(word, kind) ? word + strlen(kind) : word;
	const char *slash = strchr(name, '/');

	return slash && slash != name && slash[1] && !strchr(slash + 1, '/') ? name : NULL;
}

int ppctl_published(struct ppctl *ctl, const char *agent, const char *only, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format("reality/status/%s/", agent);
	struct intent_snapshot *found = NULL;
	json_t *rows;

	if (ppctl_list(ctl, prefix, &found, err))
		return err->code;
	rows = json_array();
	for (size_t i = 0; i < found->count; i++) {
		const char *node = found->entries[i].key + strlen(prefix), *slash = strchr(node, '/');
		bool meant = slash && (!only || !strcmp(slash + 1, only));
		json_t *document = meant ? ppctl_document(&found->entries[i]) : NULL;

		if (json_is_object(document)) {
			json_object_set_new(document, "node", json_stringn(node, (size_t)(slash - node)));
			json_object_set_new(document, "name", json_string(slash + 1));
			json_array_append(rows, document);
		}
		json_decref(document);
	}
	intent_snapshot_unref(found);
	*ret_new = rows;
	return 0;
}

char *ppctl_marker(const char *key)
{
	if (!intent_starts_with(key, "nodes/") || intent_ends_with(key, "/"))
		return NULL;
	size_t node = strcspn(key + 6, "/");
	return key[6 + node] ? intent_format("nodes/%.*s/", (int)node, key + 6) : NULL;
}

int ppctl_list(struct ppctl *ctl, const char *word, struct intent_snapshot **ret_owned,
	       struct intent_error *err)
{
	struct intent_store *store;
	struct intent_snapshot *one = NULL, *all = NULL;
	intent_free_auto char *prefix = ppctl_prefix(word);
	int code = ppctl_store(ctl, &store, err);

	/* "nodes/web1/slug" is a key and may be a prefix as well. */
	if (!code && *word && !intent_ends_with(word, "/"))
		code = intent_store_get(store, word, INTENT_DEFAULT, &one, err);
	if (code == INTENT_EABSENT)
		code = 0;
	if (!code)
		code = intent_store_list(store, prefix, INTENT_DEFAULT, &all, err);
	if (!code && one && all->count) {
		for (size_t i = 0; i < all->count; i++) {
			const struct intent_entry *e = &all->entries[i];
			intent_snapshot_add(one, e->key, e->value, e->length, e->revision, e->session, e->untrusted);
		}
		intent_snapshot_sort(one);
	}
	if (!code)
		*ret_owned = intent_snapshot_ref(one ? one : all);
	intent_snapshot_unref(one);
	intent_snapshot_unref(all);
	return code;
}

int ppctl_add_clusters(struct ppctl *ctl, const char *app, json_t *set, struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format("clusters/%s/", app);
	struct intent_snapshot *documents = NULL;

	if (ppctl_list(ctl, prefix, &documents, err))
		return err->code;
	for (size_t i = 0; i < documents->count; i++) {
		const char *name = documents->entries[i].key + strlen(prefix);
		json_object_setn_new(set, name, strcspn(name, "/"), json_true());
	}
	intent_snapshot_unref(documents);
	return 0;
}

json_t *ppctl_document(const struct intent_entry *entry)
{
	struct intent_error ignored;
	json_t *json = NULL;
	if (intent_json_parse(entry->value, entry->length, INTENT_VALUE_MAX, &json, &ignored))
		return NULL;
	return json;
}

int ppctl_faults(const char *key, const struct intent_text *faults, const char *way_out)
{
	int count = 0;
	for (const char *p = intent_text_str(faults); (p = strchr(p, '\n')); p++)
		count++;
	ppctl_say("ppctl: %s: not written, %d fault%s:", key, count, count == 1 ? "" : "s");
	for (const char *p = intent_text_str(faults); *p;) {
		size_t length = strcspn(p, "\n");
		ppctl_say("  %.*s", (int)length, p);
		p += length + (p[length] == '\n');
	}
	if (way_out)
		ppctl_say("%s", way_out);
	return PPCTL_REFUSED;
}

/* The canonical form, so that the same content is the same bytes; what is no JSON stays. */
static char *canonical(const char *value)
{
	struct intent_error ignored;
	intent_json_auto json_t *json = NULL;
	if (intent_json_parse(value, strlen(value), INTENT_VALUE_MAX, &json, &ignored))
		return strdup(value);
	return intent_json_canonical(json);
}

static int write_once(struct intent_store *store, const char *key, const char *bytes,
		      const uint64_t *revision, const char *marker, struct intent_error *err)
{
	struct intent_op ops[4];
	size_t count = 0;

	if (revision)
		ops[count++] = (struct intent_op){
			.kind = INTENT_OP_CHECK, .key = key, .revision = *revision};
	if (marker) {
		ops[count++] = (struct intent_op){.kind = INTENT_OP_CHECK, .key = marker};
		ops[count++] = (struct intent_op){
			.kind = INTENT_OP_PUT, .key = marker, .value = "{}", .length = 2};
	}
	ops[count++] = (struct intent_op){
		.kind = INTENT_OP_PUT, .key = key, .value = bytes, .length = strlen(bytes)};
	return intent_store_txn(store, ops, count, NULL, err);
}

/* Is there a marker to write along? Only what is really absent is made. */
static int marker_missing(struct intent_store *store, const char *key, char **ret_owned,
			  struct intent_error *err)
{
	struct intent_snapshot *found = NULL;
	char *marker = ppctl_marker(key);
	int code = marker ? intent_store_get(store, marker, INTENT_DEFAULT, &found, err) : 0;

	intent_snapshot_unref(found);
	*ret_owned = code == INTENT_EABSENT ? marker : NULL;
	if (code != INTENT_EABSENT)
		free(marker);
	return code == INTENT_EABSENT ? 0 : code;
}

int ppctl_write(struct ppctl *ctl, const char *key, const char *value, const uint64_t *revision,
		bool *ret_written, struct intent_error *err)
{
	struct intent_store *store;
	struct intent_snapshot *old = NULL;
	intent_free_auto char *bytes = canonical(value);
	intent_free_auto char *marker = NULL;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &old, err);
	if (code && code != INTENT_EABSENT)
		return code;
	bool same = !code && !strcmp(old->entries[0].value, bytes);
	if (revision && *revision != (code ? 0 : old->entries[0].revision))
		same = false;
	intent_snapshot_unref(old);
	*ret_written = !same;
	if (same)
		return 0;
	code = marker_missing(store, key, &marker, err);
	if (!code)
		code = write_once(store, key, bytes, revision, marker, err);
	/* Somebody else marked the node in between. */
	if (code == INTENT_ECONFLICT && marker)
		code = write_once(store, key, bytes, revision, NULL, err);
	return code;
}
