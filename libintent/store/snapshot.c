/*
 * Snapshots: sorted entries, counted references. The bytes of an entry (value, key,
 * session) live in one counted block, so that merged, stripped and later snapshots share them, and what was read
 * from them.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

struct blob {
	size_t references;
	struct intent__reading reading;
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

static void let_go(struct blob *blob)
{
	if (--blob->references)
		return;
	json_decref(blob->reading.document);
	free(blob);
}

struct intent__reading *intent__entry_reading(const struct intent_entry *entry)
{
	return &blob_of(entry)->reading;
}

struct intent_snapshot *intent_snapshot_new(void)
{
	struct box *box = calloc(1, sizeof(*box));

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
	while (snapshot->count > count)
		let_go(blob_of(&snapshot->entries[--snapshot->count]));
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
		box->room = box->room ? box->room * 2 : 8;
		snapshot->entries = reallocarray(snapshot->entries, box->room, sizeof(*snapshot->entries));
	}
	return &snapshot->entries[snapshot->count++];
}

void intent_snapshot_add(struct intent_snapshot *snapshot, const char *key, const void *value,
			 size_t length, uint64_t revision, const char *session, bool untrusted)
{
	size_t key_size = strlen(key) + 1, session_size = session ? strlen(session) + 1 : 0;
	struct blob *blob = malloc(sizeof(*blob) + length + 1 + key_size + session_size);

	blob->references = 1;
	blob->reading = (struct intent__reading){0};
	if (length)
		memcpy(blob->bytes, value, length);
	blob->bytes[length] = 0;
	memcpy(blob->bytes + length + 1, key, key_size);
	if (session)
		memcpy(blob->bytes + length + 1 + key_size, session, session_size);
	*grow(snapshot) = (struct intent_entry){
		.key = blob->bytes + length + 1,
		.value = blob->bytes,
		.length = length,
		.revision = revision,
		.session = session ? blob->bytes + length + 1 + key_size : NULL,
		.untrusted = untrusted,
	};
}

void intent__snapshot_share(struct intent_snapshot *snapshot, const struct intent_entry *from)
{
	*grow(snapshot) = *from;
	blob_of(from)->references++;
}

static bool same_entry(const struct intent_entry *a, const struct intent_entry *b)
{
	return a->revision == b->revision && a->length == b->length && a->untrusted == b->untrusted &&
		!memcmp(a->value, b->value, a->length) && !a->session == !b->session &&
		(!a->session || !strcmp(a->session, b->session));
}

void intent__snapshot_adopt(struct intent_snapshot *snapshot, const struct intent_snapshot *old)
{
	for (size_t i = 0, k = 0; i < snapshot->count && k < old->count;) {
		struct intent_entry *entry = &snapshot->entries[i];
		const struct intent_entry *before = &old->entries[k];
		int order = strcmp(entry->key, before->key);

		if (!order && blob_of(entry) != blob_of(before) && same_entry(entry, before)) {
			let_go(blob_of(entry));
			*entry = *before;
			blob_of(entry)->references++;
		}
		i += order <= 0;
		k += order >= 0;
	}
}

struct intent_snapshot *intent__snapshot_strip(struct intent_snapshot *snapshot, size_t count)
{
	struct intent_snapshot *stripped;

	if (!count)
		return intent_snapshot_ref(snapshot);
	stripped = intent_snapshot_new();
	stripped->revision = snapshot->revision;
	for (size_t i = 0; i < snapshot->count; i++) {
		/* The key that equals the prefix itself has no name without it. */
		if (strlen(snapshot->entries[i].key) <= count)
			continue;
		intent__snapshot_share(stripped, &snapshot->entries[i]);
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

/* Keys and sessions are printable ASCII (intent__key_check(); sessions are the engines' own words). */
static void write_string(struct intent_text *out, const char *string)
{
	intent_text_puts(out, "\"");
	for (size_t plain; *string; string += plain + 1) {
		plain = strcspn(string, "\"\\");
		intent_text_add(out, string, plain);
		if (!string[plain])
			break;
		intent_text_puts(out, "\\");
		intent_text_add(out, string + plain, 1);
	}
	intent_text_puts(out, "\"");
}

static void write_entry(struct intent_text *out, const struct intent_entry *entry)
{
	intent_text_puts(out, "{\"key\":");
	write_string(out, entry->key);
	intent_text_printf(out, ",\"revision\":%" PRIu64, entry->revision);
	if (entry->session) {
		intent_text_puts(out, ",\"session\":");
		write_string(out, entry->session);
	}
	if (entry->untrusted)
		intent_text_puts(out, ",\"untrusted\":true");
	intent_text_puts(out, ",\"value\":\"");
	intent_base64_encode(out, entry->value, entry->length);
	intent_text_puts(out, "\"}");
}

void intent_snapshot_write(const struct intent_snapshot *snapshot, bool (*keeps)(const struct intent_entry *entry),
			   struct intent_text *out)
{
	bool first = true;

	intent_text_puts(out, "{\"entries\":[");
	for (size_t i = 0; i < snapshot->count; i++) {
		if (keeps && !keeps(&snapshot->entries[i]))
			continue;
		intent_text_puts(out, first ? "\n" : ",\n");
		write_entry(out, &snapshot->entries[i]);
		first = false;
	}
	intent_text_printf(out, "],\"revision\":%" PRIu64 "}", keeps ? 0 : snapshot->revision);
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
	intent_snapshot_add(snapshot, key, intent_text_str(&value), value.length, (uint64_t)revision,
			    intent_json_string(json, "session", NULL), intent_json_boolean(json, "untrusted", false));
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
