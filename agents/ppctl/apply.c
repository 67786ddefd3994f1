/* A compiled definition against the store: the difference, and how it is written. diff, apply and deploy: release.c. */
#include "system/parts.h"

/* Consul takes 512 KiB of JSON a transaction, with values in base64. */
#define CHUNK_BYTES (300u << 10)
#define MOMENT_TRIES 8

/* ---- reading ---- */

static const char *const read_prefixes[] = {"apps/", "clusters/", "injections/", "nodes/", "resources/", "stacks/",
					    "systems/", "worlds/"};

int system_read(struct ppctl *ctl, struct intent_snapshot **ret_owned, struct intent_error *err)
{
	struct intent_snapshot *all = intent_snapshot_new(), *part;
	int code = 0;

	for (size_t p = 0; !code && p < sizeof(read_prefixes) / sizeof(*read_prefixes); p++) {
		code = ppctl_list(ctl, read_prefixes[p], &part, err);
		for (size_t i = 0; !code && i < part->count; i++) {
			const struct intent_entry *e = &part->entries[i];
			intent_snapshot_add(all, e->key, e->value, e->length, e->revision, e->session, e->untrusted);
		}
		/* Consul counts for each prefix by itself: of the store is the newest of them. */
		if (!code && part->revision > all->revision)
			all->revision = part->revision;
		if (!code)
			intent_snapshot_unref(part);
	}
	if (code) {
		intent_snapshot_unref(all);
		return code;
	}
	intent_snapshot_sort(all);
	*ret_owned = all;
	return 0;
}

static bool same_revisions(const struct intent_snapshot *a, const struct intent_snapshot *b)
{
	for (size_t i = 0; i < a->count && i < b->count; i++)
		if (a->entries[i].revision != b->entries[i].revision || strcmp(a->entries[i].key, b->entries[i].key))
			return false;
	return a->count == b->count;
}

/*
 * All of it as it stood at one moment, so that whatever is written later is newer than its revision: the prefixes are
 * read one after the other, until they are the same twice.
 */
static int read_moment(struct ppctl *ctl, struct intent_snapshot **ret_owned, struct intent_error *err)
{
	struct intent_snapshot *before = NULL, *now = NULL;
	int code = system_read(ctl, &before, err);

	for (int tries = 0; !code && tries < MOMENT_TRIES; tries++) {
		if ((code = system_read(ctl, &now, err)))
			break;
		if (same_revisions(before, now)) {
			intent_snapshot_unref(now);
			*ret_owned = before;
			return 0;
		}
		intent_snapshot_unref(before);
		before = now;
	}
	intent_snapshot_unref(before);
	return code ? code : intent_fail(err, INTENT_ECONFLICT,
					 "others write all the time, so that there is no moment to show; try again");
}

/* ---- two people at once ---- */

struct writing {
	struct intent_store *store;
	const json_t *diff;
	const char *record_key;
	uint64_t record_revision;
	struct intent_op ops[INTENT_TXN_MAX];
	char *values[INTENT_TXN_MAX]; /* owned */
	size_t count, bytes;
	size_t at, done; /* of the diff's changes: so many were taken up; so many stand in the store */
	bool records;    /* the record is among the operations */
};

/* Says who changed what, by the revisions that we saw. */
static int conflict(struct ppctl *ctl, const struct writing *writing, struct intent_error *err)
{
	struct intent_snapshot *now = NULL;
	struct intent_error ignored;
	size_t index, found = 0;
	const json_t *changes = json_object_get(writing->diff, "changes");
	json_t *row;

	if (system_read(ctl, &now, &ignored))
		return intent_fail(err, INTENT_ECONFLICT, "somebody else wrote at the same time; see \"ppctl diff\"");
	json_array_foreach((json_t *)(uintptr_t)changes, index, row) {
		const char *key = intent_json_string(row, "key", "");
		const struct intent_entry *entry = intent_snapshot_find(now, key);
		/* What we wrote has changed, too. */
		if (index < writing->done ||
		    (int64_t)(entry ? entry->revision : 0) == intent_json_integer(row, "revision", 0))
			continue;
		ppctl_say("%s was %s meanwhile", key, !entry ? "removed" : intent_json_integer(row, "revision", 0) ?
			  "changed" : "written");
		found++;
	}
	const struct intent_entry *entry = intent_snapshot_find(now, writing->record_key);
	if ((entry ? entry->revision : 0) != writing->record_revision) {
		ppctl_say("%s: somebody else applied this definition meanwhile", writing->record_key);
		found++;
	}
	intent_snapshot_unref(now);
	return intent_fail(err, INTENT_ECONFLICT, "somebody else wrote at the same time (%zu document%s): look again with "
			   "\"ppctl diff\", then apply", found, found == 1 ? "" : "s");
}

static int refuse_newer(const struct system_applying *applying, const json_t *diff, const struct intent_snapshot *now,
			struct intent_error *err)
{
	size_t index, found = 0;
	json_t *row;

	json_array_foreach(json_object_get(diff, "changes"), index, row) {
		const struct intent_entry *entry = intent_snapshot_find(now, intent_json_string(row, "key", ""));
		if (!entry || entry->revision <= applying->seen)
			continue;
		ppctl_say("%s was changed since you looked", entry->key);
		found++;
	}
	if ((uint64_t)intent_json_integer(diff, "revision", 0) > applying->seen) {
		ppctl_say("%s: somebody else applied this definition since you looked", intent_json_string(diff, "key", ""));
		found++;
	}
	return found ? intent_fail(err, INTENT_ECONFLICT, "not what you saw any more: look again with \"ppctl diff\"") : 0;
}

/* ---- the difference ---- */

static int look(struct ppctl *ctl, struct system_applying *applying, bool moment, json_t **ret_new,
		struct intent_error *err)
{
	struct intent_snapshot *now = NULL;
	int code = moment ? read_moment(ctl, &now, err) : system_read(ctl, &now, err);

	if (code)
		return code;
	code = system_compare(applying, now, ret_new, err);
	if (!code)
		json_object_set_new(*ret_new, "seen", json_integer((json_int_t)now->revision));
	if (!code && applying->seen)
		code = refuse_newer(applying, *ret_new, now, err);
	intent_snapshot_unref(now);
	return code;
}

int system_diff(struct ppctl *ctl, struct system_applying *applying, json_t **ret_new, struct intent_error *err)
{
	json_t *diff = NULL;
	int code = look(ctl, applying, true, &diff, err);

	if (code)
		json_decref(diff);
	else
		*ret_new = diff;
	return code;
}

/* ---- writing ---- */

static void forget(struct writing *writing)
{
	for (size_t i = 0; i < writing->count; i++)
		free(writing->values[i]);
	writing->count = writing->bytes = 0;
}

static void add_op(struct writing *writing, enum intent_op_kind kind, const char *key, const json_t *document,
		   uint64_t revision)
{
	char *bytes = document ? intent_json_canonical(document) : NULL;

	writing->values[writing->count] = bytes;
	writing->bytes += strlen(key) + 64 + (bytes ? strlen(bytes) : 0);
	writing->ops[writing->count++] = (struct intent_op){
		.kind = kind, .key = key, .value = bytes, .length = bytes ? strlen(bytes) : 0, .revision = revision};
}

/* What has gathered, as a transaction. Each compares the record: who applies the same definition meanwhile is told. */
static int flush(struct writing *writing, struct intent_error *err)
{
	uint64_t revision = 0;

	add_op(writing, INTENT_OP_CHECK, writing->record_key, NULL, writing->record_revision);
	int code = intent_store_txn(writing->store, writing->ops, writing->count, &revision, err);
	if (!code && writing->records)
		writing->record_revision = revision;
	if (!code)
		writing->done = writing->at;
	writing->records = false;
	forget(writing);
	return code;
}

static void add_record(struct writing *writing, const json_t *record)
{
	add_op(writing, INTENT_OP_PUT, writing->record_key, record, 0);
	writing->records = true;
}

/*
 * Names all that will be written beside all that was, and of what is changed both digests: whatever happens in between,
 * nothing is forgotten, and nothing that we wrote is taken for somebody else's.
 */
static json_t *record_meanwhile(const json_t *diff)
{
	json_t *record = json_deep_copy(json_object_get(diff, "record")), *value;
	json_t *keys = json_object_get(record, "keys");
	const char *key;

	json_object_foreach(json_object_get(json_object_get(diff, "was"), "keys"), key, value) {
		const char *was = json_string_value(value), *is = json_string_value(json_object_get(keys, key));
		if (was && is && !strstr(was, is))
			json_object_set_new(keys, key, json_sprintf("%.16s %.33s", is, was));
		else
			json_object_set(keys, key, value);
	}
	return record;
}

static size_t size_of(const json_t *document)
{
	intent_free_auto char *bytes = intent_json_canonical(document);

	return bytes ? strlen(bytes) : 0;
}

static size_t size_of_row(const json_t *row)
{
	return strlen(intent_json_string(row, "key", "")) + 128 + size_of(json_object_get(row, "after"));
}

/* How many changes from this one on belong together: an application's configuration, which agents read as one. */
static size_t together(const json_t *changes, size_t index)
{
	const char *key = intent_json_string(json_array_get(changes, index), "key", "");
	size_t length = intent_starts_with(key, "clusters/") ? (size_t)(strrchr(key, '/') + 1 - key) : 0, count = 1;

	while (length && !strncmp(intent_json_string(json_array_get(changes, index + count), "key", ""), key, length))
		count++;
	return count;
}

static bool fits(const struct writing *writing, const json_t *changes, size_t count, size_t bytes)
{
	for (size_t i = 0; i < count; i++)
		bytes += size_of_row(json_array_get(changes, writing->at + i));
	/* Two operations each; the record is compared, and may be written. */
	return writing->count + 2 * count + 2 <= INTENT_TXN_MAX && writing->bytes + bytes <= CHUNK_BYTES;
}

static void add_change(struct writing *writing, const json_t *row)
{
	const char *key = intent_json_string(row, "key", "");
	const json_t *after = json_object_get(row, "after");

	add_op(writing, INTENT_OP_CHECK, key, NULL, (uint64_t)intent_json_integer(row, "revision", 0));
	add_op(writing, after ? INTENT_OP_PUT : INTENT_OP_DELETE, key, after, 0);
	writing->at++;
}

/*
 * One transaction if it fits, else the fewest, in the diff's order: with the first a record of all, by which whoever
 * applies next mends what was cut off; with the last the record as it is to be.
 */
static int write_diff(struct writing *writing, struct intent_error *err)
{
	const json_t *changes = json_object_get(writing->diff, "changes"), *record = json_object_get(writing->diff, "record");
	size_t count = json_array_size(changes), last = size_of(record);
	intent_json_auto json_t *meanwhile = record_meanwhile(writing->diff);
	int code = 0;

	/* Consul gives no new revision to what is written again as it is: then it must not be written. */
	if (!fits(writing, changes, count, last) && !json_equal(meanwhile, json_object_get(writing->diff, "was")))
		add_record(writing, meanwhile);
	while (!code && writing->at < count) {
		size_t more = together(changes, writing->at);

		if (writing->count && !fits(writing, changes, more, 0))
			code = flush(writing, err);
		for (size_t i = 0; !code && i < more; i++)
			add_change(writing, json_array_get(changes, writing->at));
	}
	if (!code && (writing->records || (writing->count && !fits(writing, changes, 0, last))))
		code = flush(writing, err);
	if (code)
		return code;
	add_record(writing, record);
	return flush(writing, err);
}

static int say_how_far(const struct writing *writing, struct intent_error *err)
{
	struct intent_error why = *err;
	size_t count = json_array_size(json_object_get(writing->diff, "changes"));

	if (!writing->done && why.code != INTENT_EUNKNOWN)
		return intent_fail(err, why.code, "nothing was written: %.400s", why.msg);
	return intent_fail(err, why.code, "%s%zu of %zu changes are written; apply again, it goes on from there: %.350s",
			   why.code == INTENT_EUNKNOWN ? "at least " : "", writing->done, count, why.msg);
}

int system_apply(struct ppctl *ctl, struct system_applying *applying, json_t **ret_new_diff, struct intent_error *err)
{
	intent_json_auto json_t *diff = NULL;
	struct writing writing = {0};
	int code = look(ctl, applying, false, &diff, err);

	if (!code && applying->refused)
		code = intent_fail(err, INTENT_EREFUSED, "nothing was written: not everything is this definition's to write");
	if (code) {
		/* What stands in the way is in "kept". */
		if (applying->refused)
			*ret_new_diff = json_incref(diff);
		return code;
	}
	writing.diff = diff;
	writing.record_key = intent_json_string(diff, "key", "");
	writing.record_revision = (uint64_t)intent_json_integer(diff, "revision", 0);
	bool same = !json_array_size(json_object_get(diff, "changes")) &&
		json_equal(json_object_get(diff, "record"), json_object_get(diff, "was"));
	if (!same)
		code = ppctl_store(ctl, &writing.store, err);
	if (!code && !same)
		code = write_diff(&writing, err);
	forget(&writing);
	if (code == INTENT_ECONFLICT)
		code = conflict(ctl, &writing, err);
	if (code)
		return say_how_far(&writing, err);
	*ret_new_diff = json_incref(diff);
	return 0;
}
