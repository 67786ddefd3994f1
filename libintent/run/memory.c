/*
 * What an agent remembers across restarts, in its state directory:
 *	snapshot.json   the last good content of the store
 *	slices.json     {slice it has had: how many things of ours there are in it}
 *	removals.json   {"owned": what there was before, "removed": {"slice\tsubject": Unix ms}}
 *	                in the last ten minutes
 */
#include <inttypes.h>
#include <intent/file.h>
#include "run.h"

#define REMOVALS_WINDOW_MS (10 * 60 * 1000)
#define REMOVALS_ALWAYS 3 /* as many are never too many */
#define SNAPSHOT_MAX (256u << 20)
#define RECORD_MAX (64u << 20)

struct intent__memory {
	char *directory;
	bool read_only, owes;  /* owes: counts changed since slices.json was written */
	json_t *slices;       /* {name: count} */
	json_t *removed;      /* {"slice\tsubject": Unix ms} */
	int64_t owned;        /* when the first of them went */
	struct intent_snapshot *saved;
};

/*
 * Damaged or absent, it is as if nothing were remembered (*ret_new NULL). What cannot be read now may be read the
 * next time: to go on without it would be to forget it, and removals would be counted from none.
 */
static int load(const struct intent__memory *memory, const char *name, size_t max, json_t **ret_new,
		struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", memory->directory, name);

	*ret_new = NULL;
	if (intent_file_read_json(path, max, ret_new, err) == -EIO)
		return err->code;
	return 0;
}

static int save_text(const struct intent__memory *memory, const char *name, const struct intent_text *text,
		     struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", memory->directory, name);

	if (memory->read_only)
		return 0;
	return intent_file_write_changed(path, intent_text_str(text), text->length, 0600, err);
}

static int save(const struct intent__memory *memory, const char *name, const json_t *json, struct intent_error *err)
{
	intent_free_auto char *canonical = intent_json_canonical(json);
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

	intent_text_printf(&text, "%s\n", canonical);
	return save_text(memory, name, &text, err);
}

/* Damaged rows are dropped, not passed on. */
static int load_records(struct intent__memory *memory, struct intent_error *err)
{
	intent_json_auto json_t *slices = NULL, *removals = NULL;
	const char *name;
	json_t *item;

	if (load(memory, "slices.json", RECORD_MAX, &slices, err) < 0 ||
	    load(memory, "removals.json", RECORD_MAX, &removals, err) < 0)
		return err->code;
	memory->slices = json_object();
	memory->removed = json_object();
	memory->owned = intent_json_integer(removals, "owned", 0);
	json_object_foreach(slices, name, item)
		if (json_is_integer(item))
			json_object_set(memory->slices, name, item);
	json_object_foreach(json_object_get(removals, "removed"), name, item)
		if (json_is_integer(item))
			json_object_set(memory->removed, name, item);
	return 0;
}

int intent__memory_open(const char *state_dir, bool read_only, struct intent__memory **ret_owned,
			struct intent_error *err)
{
	struct intent__memory *memory;

	if (!read_only &&
	    (intent_directory_make(state_dir, 0700, err) < 0 || intent_temp_sweep(state_dir, NULL, err) < 0))
		return intent_wrap(err, "state directory (--state-dir)");
	memory = calloc(1, sizeof(*memory));
	memory->directory = strdup(state_dir);
	memory->read_only = read_only;
	if (load_records(memory, err) < 0) {
		intent__memory_free(memory);
		return intent_wrap(err, "state directory (--state-dir)");
	}
	*ret_owned = memory;
	return 0;
}

struct intent__memory *intent__memory_free(struct intent__memory *memory)
{
	if (!memory)
		return NULL;
	json_decref(memory->slices);
	json_decref(memory->removed);
	intent_snapshot_unref(memory->saved);
	free(memory->directory);
	free(memory);
	return NULL;
}

const json_t *intent__memory_slices(const struct intent__memory *memory)
{
	return memory->slices;
}

int intent__memory_know(struct intent__memory *memory, const char *const *names, size_t count, struct intent_error *err)
{
	bool changed = false;

	for (size_t i = 0; i < count; i++)
		if (!json_object_get(memory->slices, names[i])) {
			json_object_set_new(memory->slices, names[i], json_integer(0));
			changed = true;
		}
	return changed ? save(memory, "slices.json", memory->slices, err) : 0;
}

int intent__memory_forget(struct intent__memory *memory, const char *name, struct intent_error *err)
{
	return json_object_del(memory->slices, name) < 0 ? 0 : save(memory, "slices.json", memory->slices, err);
}

int intent__memory_owned(const struct intent__memory *memory, const char *name)
{
	return (int)intent_json_integer(memory->slices, name, 0);
}

void intent__memory_set_owned(struct intent__memory *memory, const char *name, int count)
{
	json_t *known = json_object_get(memory->slices, name);

	if (!known || json_integer_value(known) == count)
		return;
	json_integer_set(known, count);
	memory->owes = true;
}

int intent__memory_flush(struct intent__memory *memory, struct intent_error *err)
{
	if (!memory->owes)
		return 0;
	memory->owes = false;
	return save(memory, "slices.json", memory->slices, err);
}

/*
 * Of what is kept for a time without the store, only what stands there whoever lives: no facts that
 * hang on a lease, no status, and no revision, which our own status document would change.
 */
static bool lasts(const struct intent_entry *entry)
{
	return !entry->session && !intent_starts_with(entry->key, "reality/status/");
}

int intent__memory_save(struct intent__memory *memory, const struct intent_snapshot *snapshot, const char *store,
			struct intent_error *err)
{
	intent_text_auto struct intent_text text = {.limit = SNAPSHOT_MAX};
	intent_json_auto json_t *name = json_string(store);
	intent_free_auto char *quoted = name ? json_dumps(name, JSON_ENCODE_ANY) : NULL;

	if (memory->saved && intent_snapshot_same(memory->saved, snapshot))
		return 0;
	/* Not by way of JSON values: of a thousand documents that takes longer than all else there is to do. */
	intent_text_printf(&text, "{\"store\":%s,\"snapshot\":", quoted ? quoted : "");
	intent_snapshot_write(snapshot, lasts, &text);
	intent_text_puts(&text, "}\n");
	if (!quoted)
		return intent_fail(err, INTENT_EUSAGE, "the store's address is not UTF-8");
	if (text.failed)
		return intent_fail(err, INTENT_ETOOBIG, "intent of more than %u MiB", SNAPSHOT_MAX >> 20);
	if (save_text(memory, "snapshot.json", &text, err) < 0)
		return err->code;
	intent_snapshot_unref(memory->saved);
	memory->saved = intent_snapshot_ref((struct intent_snapshot *)(uintptr_t)snapshot);
	return 0;
}

int intent__memory_load(struct intent__memory *memory, const char *store,
			struct intent_snapshot **ret_owned, struct intent_error *err)
{
	intent_json_auto json_t *json = NULL;

	if (load(memory, "snapshot.json", SNAPSHOT_MAX, &json, err) < 0)
		return err->code;
	if (!json || strcmp(intent_json_string(json, "store", ""), store))
		return intent_fail(err, INTENT_EABSENT, "no snapshot of %s is kept", store);
	return intent_snapshot_from_json(json_object_get(json, "snapshot"), ret_owned, err);
}

static void forget_old_removals(struct intent__memory *memory, int64_t now)
{
	const char *name;
	json_t *at;
	void *next;

	json_object_foreach_safe(memory->removed, next, name, at) {
		int64_t age = now - json_integer_value(at);

		if (age > REMOVALS_WINDOW_MS)
			json_object_del(memory->removed, name);
		else if (age < 0) /* the wall clock was set back: counted from now, rather than never */
			json_integer_set(at, now);
	}
}

int intent__memory_permit(struct intent__memory *memory, const char *slice, const json_t *subjects,
			  int64_t owned, int64_t max_destroy, struct intent_error *err)
{
	intent_json_auto json_t *after = NULL, *record = NULL;
	int64_t now = intent_time_now(), limit = max_destroy;
	size_t i;
	json_t *subject;

	forget_old_removals(memory, now);
	/* Half of what there was before the first went, lest each removal lower the limit of the next. */
	if (!json_object_size(memory->removed) || owned > memory->owned)
		memory->owned = owned;
	if (limit < 0)
		limit = memory->owned / 2 > REMOVALS_ALWAYS ? memory->owned / 2 : REMOVALS_ALWAYS;
	after = json_copy(memory->removed);
	json_array_foreach((json_t *)(uintptr_t)subjects, i, subject) {
		intent_free_auto char *name = intent_format("%s\t%s", slice, json_string_value(subject));

		if (!json_object_get(after, name))
			json_object_set_new(after, name, json_integer(now));
	}
	if ((int64_t)json_object_size(after) > limit)
		return intent_fail(err, INTENT_EDESTROY,
				   "would be removal %zu within ten minutes, and more than %" PRId64 " are not done unasked; "
				   "if they are meant, restart the agent with a higher --max-destroy, or wait",
				   json_object_size(after), limit);
	record = json_pack("{sI sO}", "owned", (json_int_t)memory->owned, "removed", after);
	if (save(memory, "removals.json", record, err) < 0)
		return intent_wrap(err, "nothing is removed, because it cannot be counted");
	json_decref(memory->removed);
	memory->removed = json_incref(after);
	return 0;
}
