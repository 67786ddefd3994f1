/* lock ls, lock break: who holds what. */
#include <intent/slots.h>
#include "ppctl.h"

/* "prod" may be said for "locks/prod". Owned. */
static char *whole_key(const char *word)
{
	return intent_format("%s%s", intent_starts_with(word, "locks/") ? "" : "locks/", word);
}

/* "locks/<app>/<cluster>/shutdown" apart; false for other keys. */
static bool split_shutdown(const char *key, char app[129], char cluster[129])
{
	const struct intent_document *row = intent_document_find(key);
	if (!row || strcmp(row->pattern, "locks/<app>/<cluster>/shutdown"))
		return false;
	return sscanf(key, "locks/%128[^/]/%128[^/]/", app, cluster) == 2;
}

/* ---- rows ---- */

/* A lock says {"holder", "since"}; whatever else stands there is shown as it is. */
static json_t *describe(const struct intent_entry *entry)
{
	intent_json_auto json_t *document = ppctl_document(entry);
	const char *holder = intent_json_string(document, "holder", NULL);
	const char *node = intent_json_string(document, "node", NULL);

	if (holder && !node && strchr(holder, '@'))
		node = strchr(holder, '@') + 1;
	return json_pack("{ss ss* ss* ss* ss* sI sO*}", "key", entry->key, "holder", holder,
			 "node", node, "since", intent_json_string(document, "since", NULL),
			 "session", entry->session, "revision", (json_int_t)entry->revision,
			 "document", document);
}

/* A row for each slot: what stands in it, and whose it is. */
static void add_slots(json_t *rows, const struct intent_entry *entry, const json_t *slots)
{
	const char *node;
	json_t *slot;

	json_object_foreach((json_t *)(uintptr_t)slots, node, slot) {
		json_t *row = json_is_object(slot) ? json_copy(slot) : json_object();
		json_object_set_new(row, "key", json_string(entry->key));
		json_object_set_new(row, "node", json_string(node));
		json_object_set_new(row, "revision", json_integer((json_int_t)entry->revision));
		json_array_append_new(rows, row);
	}
}

static void add_rows(json_t *rows, const struct intent_entry *entry)
{
	intent_json_auto json_t *document = ppctl_document(entry);
	const json_t *slots = json_object_get(document, "slots");
	char app[129], cluster[129];

	if (split_shutdown(entry->key, app, cluster) && json_object_size(slots))
		add_slots(rows, entry, slots);
	else
		json_array_append_new(rows, describe(entry));
}

/* What a person reads of it beyond whose it is. */
static void add_details(struct intent_text *out, const json_t *row)
{
	const char *version = intent_json_string(row, "version", NULL);
	const char *failed = intent_json_string(row, "failed", NULL);
	const char *instead = intent_json_string(row, "instead", NULL);

	if (version)
		intent_text_printf(out, "  %s", version);
	if (!failed)
		return;
	intent_free_auto char *words = intent_format("failed: %s%s%s", failed,
						     instead ? "; runs instead: " : "",
						     instead ? instead : "");
	intent_text_puts(out, "  ");
	ppctl_add(out, words ? words : "failed", PPCTL_RED, 0, 0);
}

static void show(const json_t *row, size_t fill)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	const char *holder = intent_json_string(row, "holder", NULL);
	const char *node = intent_json_string(row, "node", NULL);

	ppctl_add(&out, intent_json_string(row, "key", ""), PPCTL_BOLD, 0, fill);
	intent_text_puts(&out, "  ");
	if (holder || node) {
		ppctl_add(&out, holder ? holder : node, PPCTL_CYAN, 0, 24);
		intent_text_puts(&out, "  since ");
		ppctl_add(&out, intent_json_string(row, "since", "?"), PPCTL_PLAIN, 0, 0);
		add_details(&out, row);
	} else {
		intent_free_auto char *text =
			intent_json_canonical(json_object_get(row, "document"));
		ppctl_add(&out, text ? text : "(no JSON)", PPCTL_PLAIN, 0, 0);
	}
	ppctl_print(intent_text_str(&out));
}

int ppctl_lock_ls(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);
	intent_free_auto char *prefix = whole_key(word ? word : "");
	struct intent_snapshot *found = NULL;
	intent_json_auto json_t *rows = json_array();
	size_t fill = 0, index;
	json_t *row;

	if (ppctl_list(ctl, prefix, &found, err))
		return err->code;
	for (size_t i = 0; i < found->count; i++) {
		size_t width = strlen(found->entries[i].key);
		fill = width > fill ? width : fill;
		add_rows(rows, &found->entries[i]);
	}
	intent_snapshot_unref(found);
	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(rows, false);
	else
		json_array_foreach(rows, index, row)
			show(row, fill);
	if (!json_array_size(rows) && !ppctl_flag(ctl, "json"))
		ppctl_say("nobody holds a lock%s%s", word ? " below " : "", word ? prefix : "");
	return 0;
}

/* ---- breaking ---- */

static void show_broken(struct ppctl *ctl, const json_t *rows)
{
	size_t index;
	json_t *row;

	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(json_array_size(rows) == 1 ? json_array_get(rows, 0) : rows,
				 false);
	else
		json_array_foreach((json_t *)(uintptr_t)rows, index, row)
			show(row, 0);
}

static void say_broken(void)
{
	ppctl_say("broken; its holder finds out when it looks at the lock before its next change");
}

/* The whole key, as it was found. */
static int break_key(struct ppctl *ctl, const struct intent_entry *entry, struct intent_error *err)
{
	intent_json_auto json_t *rows = json_array();
	struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = entry->key, .revision = entry->revision},
		{.kind = INTENT_OP_DELETE, .key = entry->key},
	};

	add_rows(rows, entry);
	int code = intent_store_txn(ctl->store, ops, 2, NULL, err);
	if (code == INTENT_ECONFLICT)
		return intent_fail(err, code,
				   "%s changed hands at this very moment and was left alone; "
				   "look again with \"ppctl lock ls %s\"",
				   entry->key, entry->key);
	if (code)
		return code;
	show_broken(ctl, rows);
	say_broken();
	return 0;
}

static int no_slot(const char *key, const char *node, const json_t *slots,
		   struct intent_error *err)
{
	intent_text_auto struct intent_text names = INTENT_TEXT_INIT;
	const char *name;
	json_t *slot;

	json_object_foreach((json_t *)(uintptr_t)slots, name, slot)
		intent_text_printf(&names, "%s%s", names.length ? ", " : "", name);
	if (node)
		return intent_fail(err, INTENT_EABSENT, "%s: %s has no slot; there %s %s", key, node,
				   json_object_size(slots) == 1 ? "is" : "are",
				   names.length ? intent_text_str(&names) : "none");
	return intent_fail(err, INTENT_EUSAGE,
			   "%s has the slots of several nodes: %s; name one of them, or give "
			   "--all",
			   key, intent_text_str(&names));
}

struct breaking {
	const char *app, *cluster, *node;
	json_t *rows; /* what was taken away; owned */
};

/* Once. Of others' slots nothing is touched. */
static int break_slot_once(struct ppctl *ctl, struct breaking *breaking, struct intent_error *err)
{
	struct intent_slots slots = {0};
	intent_json_auto json_t *next = NULL;
	int code = intent_slots_read(ctl->store, breaking->app, breaking->cluster, &slots, err);

	if (code)
		return code;
	code = intent_slots_drop(slots.document, breaking->node, &next, err);
	if (!code && !next)
		code = no_slot(slots.key, breaking->node, json_object_get(slots.document, "slots"),
			       err);
	if (!code) {
		const json_t *slot = intent_slots_find(slots.document, breaking->node);
		intent_json_auto json_t *one =
			json_pack("{sO}", breaking->node, (json_t *)(uintptr_t)slot);
		const struct intent_entry entry = {.key = slots.key, .revision = slots.revision};
		json_array_clear(breaking->rows);
		add_slots(breaking->rows, &entry, one);
		code = intent_slots_write(ctl->store, &slots, next, err);
	}
	intent_slots_release(&slots);
	return code;
}

static int break_slot(struct ppctl *ctl, struct breaking *breaking, struct intent_error *err)
{
	struct ppctl_patience patience = {0};
	int code;

	do
		code = break_slot_once(ctl, breaking, err);
	while (code && ppctl_again(&patience, err));
	/* Gone, after a write whose answer was lost: that was ours. */
	if (code && !(code == INTENT_EABSENT && patience.maybe))
		return code;
	show_broken(ctl, breaking->rows);
	say_broken();
	return 0;
}

static int break_shutdown(struct ppctl *ctl, const struct intent_entry *entry, const char *app,
			  const char *cluster, struct intent_error *err)
{
	intent_json_auto json_t *document = ppctl_document(entry);
	intent_json_auto json_t *rows = json_array();
	const json_t *slots = json_object_get(document, "slots");
	const char *node = ppctl_argument(ctl, 1);
	struct breaking breaking = {app, cluster, node, rows};

	if (!node && json_object_size(slots) > 1)
		return no_slot(entry->key, NULL, slots, err);
	if (!node)
		breaking.node = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)slots));
	return breaking.node ? break_slot(ctl, &breaking, err) : break_key(ctl, entry, err);
}

int ppctl_lock_break(struct ppctl *ctl, struct intent_error *err)
{
	intent_free_auto char *key = whole_key(ppctl_argument(ctl, 0));
	struct intent_snapshot *found = NULL;
	struct intent_store *store;
	char app[129], cluster[129];

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_STRONGEST, &found, err);
	if (code == INTENT_EABSENT)
		return intent_fail(err, code,
				   "%s: nobody holds it; \"ppctl lock ls\" lists what is held",
				   key);
	if (code)
		return code;
	bool shutdown = split_shutdown(key, app, cluster);
	if (ppctl_argument(ctl, 1) && (!shutdown || ppctl_flag(ctl, "all")))
		code = intent_fail(err, INTENT_EUSAGE,
				   "%s: a node is named only for a slot of "
				   "locks/APP/CLUSTER/shutdown, and without --all",
				   key);
	else if (shutdown && !ppctl_flag(ctl, "all"))
		code = break_shutdown(ctl, found->entries, app, cluster, err);
	else
		code = break_key(ctl, found->entries, err);
	intent_snapshot_unref(found);
	return code;
}
