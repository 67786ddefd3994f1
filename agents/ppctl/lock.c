/* lock ls, lock break: who holds what. */
#include "ppctl.h"

/*
 * A lock says {"holder", "since"}; the slots of a shutdown document are one such object a node.
 * Whatever else stands there is shown as it is.
 */
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

static void show(const json_t *row, size_t fill)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	const char *holder = intent_json_string(row, "holder", NULL);

	ppctl_add(&out, intent_json_string(row, "key", ""), PPCTL_BOLD, 0, fill);
	intent_text_puts(&out, "  ");
	if (holder) {
		ppctl_add(&out, holder, PPCTL_CYAN, 0, 24);
		intent_text_puts(&out, "  since ");
		ppctl_add(&out, intent_json_string(row, "since", "?"), PPCTL_PLAIN, 0, 0);
	} else {
		intent_free_auto char *text =
			intent_json_canonical(json_object_get(row, "document"));
		ppctl_add(&out, text ? text : "(no JSON)", PPCTL_PLAIN, 0, 0);
	}
	ppctl_print(intent_text_str(&out));
}

/* "prod" may be said for "locks/prod". Owned. */
static char *whole_key(const char *word)
{
	return intent_format("%s%s", intent_starts_with(word, "locks/") ? "" : "locks/", word);
}

int ppctl_lock_ls(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);
	intent_free_auto char *prefix = whole_key(word ? word : "");
	struct intent_snapshot *found = NULL;
	intent_json_auto json_t *rows = json_array();
	size_t fill = 0, index;
	json_t *row;

	if (!prefix || ppctl_list(ctl, prefix, &found, err))
		return err->code;
	for (size_t i = 0; i < found->count; i++) {
		size_t width = strlen(found->entries[i].key);
		fill = width > fill ? width : fill;
		json_array_append_new(rows, describe(&found->entries[i]));
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

int ppctl_lock_break(struct ppctl *ctl, struct intent_error *err)
{
	intent_free_auto char *key = whole_key(ppctl_argument(ctl, 0));
	struct intent_snapshot *found = NULL;
	struct intent_store *store;

	if (!key || ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_STRONGEST, &found, err);
	if (code == INTENT_EABSENT)
		return intent_fail(err, code,
				   "%s: nobody holds it; \"ppctl lock ls\" lists what is held",
				   key);
	if (code)
		return code;
	intent_json_auto json_t *row = describe(found->entries);
	struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = key, .revision = found->entries->revision},
		{.kind = INTENT_OP_DELETE, .key = key},
	};
	intent_snapshot_unref(found);
	code = intent_store_txn(store, ops, 2, NULL, err);
	if (code == INTENT_ECONFLICT)
		return intent_fail(err, code,
				   "%s changed hands at this very moment and was left alone; "
				   "look again with "
				   "\"ppctl lock ls %s\"",
				   key, key);
	if (code)
		return code;
	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(row, false);
	else
		show(row, 0);
	ppctl_say(
		"broken; its holder finds out when it looks at the lock before its next change");
	return 0;
}
