/*
 * Snapshots: sorted entries, counted references. The bytes of an entry (value, key,
 * session) live in one counted block, so that merged and stripped snapshots share them.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

struct blob {
	size_t references;
	char bytes[]; /* value NUL key NUL [session NUL] */
};

struct box {
	struct intent_snapshot snapshot; /* first: the two are cast into each other */
	size_t room;
};

static struct blob *blob_of(const struct intent_entry *entry)
{
	return (struct blob *)((uintptr_t)entry->value - offsetof(struct blob, bytes));
}

struct intent_snapshot *intent_snapshot_new(void)
{
	struct box *box = calloc(1, sizeof(*box));

	if (!box)
		return NULL;
	box->snapshot.references = 1;
	return &box->snapshot;
}

struct intent_snapshot *intent_snapshot_ref(struct intent_snapshot *snapshot)
{
	if (snapshot)
		snapshot->references++;
	return snapshot;
}

void intent__snapshot_truncate(struct intent_snapshot *snapshot, size_t count)
{
	while (snapshot->count > count) {
		struct blob *blob = blob_of(&snapshot->entries[--snapshot->count]);

		if (--blob->references == 0)
			free(blob);
	}
}

struct intent_snapshot *intent_snapshot_unref(struct intent_snapshot *snapshot)
{
	if (!snapshot || --snapshot->references > 0)
		return NULL;
	intent__snapshot_truncate(snapshot, 0);
	free(snapshot->entries);
	free(snapshot);
	return NULL;
}

static struct intent_entry *grow(struct intent_snapshot *snapshot)
{
	struct box *box = (struct box *)snapshot;

	if (snapshot->count == box->room) {
		size_t room = box->room ? box->room * 2 : 8;
		struct intent_entry *entries =
			reallocarray(snapshot->entries, room, sizeof(*entries));

		if (!entries)
			return NULL;
		snapshot->entries = entries;
		box->room = room;
	}
	return &snapshot->entries[snapshot->count++];
}

int intent_snapshot_add(struct intent_snapshot *snapshot, const char *key, const void *value,
			size_t length, uint64_t revision, const char *session, bool untrusted)
{
	size_t key_size = strlen(key) + 1, session_size = session ? strlen(session) + 1 : 0;
	struct blob *blob = malloc(sizeof(*blob) + length + 1 + key_size + session_size);
	struct intent_entry *entry = blob ? grow(snapshot) : NULL;

	if (!entry) {
		free(blob);
		return -ENOMEM;
	}
	blob->references = 1;
	if (length)
		memcpy(blob->bytes, value, length);
	blob->bytes[length] = 0;
	memcpy(blob->bytes + length + 1, key, key_size);
	if (session)
		memcpy(blob->bytes + length + 1 + key_size, session, session_size);
	*entry = (struct intent_entry){
		.key = blob->bytes + length + 1,
		.value = blob->bytes,
		.length = length,
		.revision = revision,
		.session = session ? blob->bytes + length + 1 + key_size : NULL,
		.untrusted = untrusted,
	};
	return 0;
}

int intent__snapshot_share(struct intent_snapshot *snapshot, const struct intent_entry *from)
{
	struct intent_entry *entry = grow(snapshot);

	if (!entry)
		return -ENOMEM;
	*entry = *from;
	blob_of(from)->references++;
	return 0;
}

struct intent_snapshot *intent__snapshot_strip(struct intent_snapshot *snapshot, size_t count)
{
	struct intent_snapshot *stripped;

	if (!count)
		return intent_snapshot_ref(snapshot);
	stripped = intent_snapshot_new();
	if (!stripped)
		return NULL;
	stripped->revision = snapshot->revision;
	for (size_t i = 0; i < snapshot->count; i++) {
		/* The key that equals the prefix itself has no name without it. */
		if (strlen(snapshot->entries[i].key) <= count)
			continue;
		if (intent__snapshot_share(stripped, &snapshot->entries[i]) < 0)
			return intent_snapshot_unref(stripped);
		stripped->entries[stripped->count - 1].key += count;
	}
	return stripped;
}

static int by_key(const void *a, const void *b)
{
	const struct intent_entry *left = a, *right = b;

	return strcmp(left->key, right->key);
}

void intent_snapshot_sort(struct intent_snapshot *snapshot)
{
	if (snapshot->count > 1)
		qsort(snapshot->entries, snapshot->count, sizeof(*snapshot->entries), by_key);
}

const struct intent_entry *intent_snapshot_find(const struct intent_snapshot *snapshot,
						const char *key)
{
	struct intent_entry wanted = {.key = key};

	if (!snapshot || !snapshot->count)
		return NULL;
	return bsearch(&wanted, snapshot->entries, snapshot->count, sizeof(wanted), by_key);
}

/* The first index whose key, cut to length, is not below (past: is above) the prefix. */
static size_t bound(const struct intent_snapshot *snapshot, const char *prefix, size_t length,
		    bool past)
{
	size_t low = 0, high = snapshot->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strncmp(snapshot->entries[middle].key, prefix, length);

		if (order < 0 || (past && order == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct intent_entry *intent_snapshot_range(const struct intent_snapshot *snapshot,
						 const char *prefix, size_t *ret_count)
{
	size_t length = strlen(prefix), first, end;

	*ret_count = 0;
	if (!snapshot)
		return NULL;
	first = bound(snapshot, prefix, length, false);
	end = bound(snapshot, prefix, length, true);
	*ret_count = end - first;
	return end > first ? &snapshot->entries[first] : NULL;
}

bool intent_snapshot_same(const struct intent_snapshot *a, const struct intent_snapshot *b)
{
	if (a == b)
		return true;
	if (!a || !b || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct intent_entry *x = &a->entries[i], *y = &b->entries[i];

		/* Trust is content: an agent must hear of a file that changed hands. */
		if (x->length != y->length || x->untrusted != y->untrusted ||
		    strcmp(x->key, y->key) != 0)
			return false;
		if (x->value != y->value && memcmp(x->value, y->value, x->length) != 0)
			return false;
	}
	return true;
}

static json_t *entry_to_json(const struct intent_entry *entry)
{
	intent_text_auto struct intent_text value = {.limit = 2 * INTENT_VALUE_MAX};
	json_t *json;

	intent_base64_encode(&value, entry->value, entry->length);
	if (value.failed)
		return NULL;
	json = json_pack("{s:s, s:s, s:I}", "key", entry->key, "value", intent_text_str(&value),
			 "revision", (json_int_t)entry->revision);
	if (json && entry->session)
		json_object_set_new(json, "session", json_string(entry->session));
	if (json && entry->untrusted)
		json_object_set_new(json, "untrusted", json_true());
	return json;
}

json_t *intent_snapshot_to_json(const struct intent_snapshot *snapshot)
{
	json_t *entries = json_array();

	for (size_t i = 0; entries && i < snapshot->count; i++) {
		json_t *entry = entry_to_json(&snapshot->entries[i]);

		if (!entry || json_array_append_new(entries, entry) < 0) {
			json_decref(entries);
			return NULL;
		}
	}
	return json_pack("{s:I, s:o}", "revision", (json_int_t)snapshot->revision,
			 "entries", entries);
}

static int entry_from_json(struct intent_snapshot *snapshot, const json_t *json,
			   struct intent_error *err)
{
	const char *key = intent_json_string(json, "key", NULL);
	const char *encoded = intent_json_string(json, "value", NULL);
	int64_t revision = intent_json_integer(json, "revision", 0);
	intent_text_auto struct intent_text value = {.limit = INTENT_VALUE_MAX + 1};

	if (!key || !encoded || revision <= 0)
		return intent_fail(err, INTENT_EMALFORMED,
				   "an entry needs key, value and a revision above 0");
	if (intent__key_check(key, err) < 0)
		return err->code;
	if (intent_base64_decode(&value, encoded, strlen(encoded), err) < 0)
		return intent_wrap(err, "value of %s", key);
	if (value.failed || value.length > INTENT_VALUE_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "value of %s: more than %u bytes", key,
				   INTENT_VALUE_MAX);
	if (intent_snapshot_add(snapshot, key, intent_text_str(&value), value.length,
				(uint64_t)revision, intent_json_string(json, "session", NULL),
				intent_json_boolean(json, "untrusted", false)) < 0)
		return intent_fail(err, -ENOMEM, "out of memory");
	return 0;
}

int intent_snapshot_from_json(const json_t *json, struct intent_snapshot **ret_owned,
			      struct intent_error *err)
{
	const json_t *entries = json_object_get(json, "entries");
	int64_t revision = intent_json_integer(json, "revision", -1);
	struct intent_snapshot *snapshot;

	if (!json_is_array(entries) || revision < 0)
		return intent_fail(err, INTENT_EMALFORMED,
				   "a snapshot needs a revision and an array of entries");
	snapshot = intent_snapshot_new();
	if (!snapshot)
		return intent_fail(err, -ENOMEM, "out of memory");
	snapshot->revision = (uint64_t)revision;
	for (size_t i = 0; i < json_array_size(entries); i++) {
		if (entry_from_json(snapshot, json_array_get(entries, i), err) < 0) {
			intent_snapshot_unref(snapshot);
			return intent_wrap(err, "entry %zu of the snapshot", i);
		}
	}
	intent_snapshot_sort(snapshot);
	for (size_t i = 1; i < snapshot->count; i++) {
		if (by_key(&snapshot->entries[i - 1], &snapshot->entries[i]) == 0) {
			intent_fail(err, INTENT_EMALFORMED, "the snapshot has key %s twice",
				    snapshot->entries[i].key);
			intent_snapshot_unref(snapshot);
			return err->code;
		}
	}
	*ret_owned = snapshot;
	return 0;
}
