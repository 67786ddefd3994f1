/* put, get, ls, rm: single documents. */
#include <intent/file.h>
#include "ppctl.h"

/* The value of an argument: JSON itself, "-" for standard input, "@FILE". Owned. */
static int read_value(const char *argument, char **ret_owned, struct intent_error *err)
{
	size_t length;
	if (*argument == '@')
		return intent_file_read(AT_FDCWD, argument + 1, INTENT_VALUE_MAX, ret_owned,
					&length, err);
	if (!strcmp(argument, "-"))
		return intent_input_read(INTENT_VALUE_MAX, ret_owned, &length, err);
	*ret_owned = strdup(argument);
	return 0;
}

int ppctl_put(struct ppctl *ctl, struct intent_error *err)
{
	const char *key = ppctl_argument(ctl, 0);
	intent_free_auto char *value = NULL;
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	uint64_t revision = (uint64_t)intent_json_integer(ctl->options, "revision", 0);
	bool bound = json_object_get(ctl->options, "revision") != NULL, written;

	if (read_value(ppctl_argument(ctl, 1), &value, err))
		return err->code;
	if (!ppctl_flag(ctl, "force") &&
	    intent_document_check(key, value, strlen(value), true, NULL, &faults, err))
		return ppctl_faults(key, &faults,
				    "Correct that, or write it as it is with --force.");
	if (ppctl_write(ctl, key, value, bound ? &revision : NULL, &written, err)) {
		if (err->code == INTENT_ECONFLICT)
			return intent_fail(err, INTENT_ECONFLICT,
					   "%s: its revision is not %llu; look with "
					   "\"ppctl get %s --json\" and try again",
					   key, (unsigned long long)revision, key);
		return err->code;
	}
	ppctl_say("%s %s", key, written ? "written" : "unchanged");
	return 0;
}

static json_t *describe(const struct intent_entry *entry)
{
	json_t *row = json_pack("{ss sI so*}", "key", entry->key, "revision",
				(json_int_t)entry->revision, "document", ppctl_document(entry));
	if (row && entry->session)
		json_object_set_new(row, "session", json_string(entry->session));
	if (row && !json_object_get(row, "document"))
		json_object_set_new(row, "text", json_stringn(entry->value, entry->length));
	return row;
}

int ppctl_get_document(struct ppctl *ctl, struct intent_error *err)
{
	const char *key = ppctl_argument(ctl, 0);
	struct intent_store *store;
	struct intent_snapshot *found = NULL;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
	if (code == INTENT_EABSENT)
		return intent_fail(
			err, code,
			"%s: there is no such document in %s; \"ppctl ls\" lists what is", key,
			intent_store_name(store));
	if (code)
		return code;
	intent_json_auto json_t *document = ppctl_document(found->entries);
	intent_json_auto json_t *row = describe(found->entries);
	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(row, false);
	else if (document)
		ppctl_print_json(document, false);
	else
		fwrite(found->entries->value, 1, found->entries->length, stdout);
	intent_snapshot_unref(found);
	return 0;
}

static void show_long(const struct intent_entry *entry, size_t fill)
{
	const struct intent_document *row = intent_document_find(entry->key);
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	size_t columns = (size_t)ppctl_columns(), used = 16 + 2 + 9 + 2 + fill + 2;
	char size[24];

	intent_size_format(entry->length, size);
	intent_text_printf(&out, "%16llu  %9s  ", (unsigned long long)entry->revision, size);
	ppctl_add(&out, entry->key, PPCTL_BOLD, 0, row ? fill : 0);
	if (row && (!columns || columns > used + 8)) {
		intent_text_puts(&out, "  ");
		ppctl_add(&out, row->summary, PPCTL_DIM, columns ? columns - used : 0, 0);
	}
	ppctl_print(intent_text_str(&out));
}

int ppctl_ls(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);
	struct intent_snapshot *found = NULL;
	intent_json_auto json_t *rows = json_array();
	size_t fill = 0;

	if (ppctl_list(ctl, word ? word : "", &found, err))
		return err->code;
	for (size_t i = 0; i < found->count; i++)
		fill = strlen(found->entries[i].key) > fill ? strlen(found->entries[i].key) :
							      fill;
	for (size_t i = 0; i < found->count; i++) {
		const struct intent_entry *entry = &found->entries[i];
		if (ppctl_flag(ctl, "json"))
			json_array_append_new(rows,
					      json_pack("{ss sI sI}", "key", entry->key,
							"revision", (json_int_t)entry->revision,
							"bytes", (json_int_t)entry->length));
		else if (ppctl_flag(ctl, "long"))
			show_long(entry, fill);
		else
			ppctl_print(entry->key);
	}
	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(rows, false);
	else if (!found->count)
		ppctl_say("nothing %s%s in %s", word ? "below " : "yet", word ? word : "",
			  intent_store_name(ctl->store));
	intent_snapshot_unref(found);
	return 0;
}

/* What a person may not have thought of: an empty nodes/<node>/ without a marker. */
static void warn_marker(struct ppctl *ctl, const char *key)
{
	struct intent_snapshot *left = NULL;
	struct intent_error ignored;

	if (!intent_starts_with(key, "nodes/") || !intent_ends_with(key, "/") ||
	    ppctl_list(ctl, key, &left, &ignored))
		return;
	if (!left->count)
		ppctl_say("Without its marker a node with no applications is taken for an "
			  "accident and left as "
			  "it is; to retire it: ppctl put %s '{\"ensure\": \"absent\"}'",
			  key);
	intent_snapshot_unref(left);
}

/* The keys of these that are there; the others are named. */
static int find_present(struct ppctl *ctl, struct intent_store *store, struct intent_op *ops, size_t *ret_count,
			struct intent_error *err)
{
	int status = 0;

	for (size_t i = 0; i < json_array_size(ctl->arguments); i++) {
		const char *key = ppctl_argument(ctl, i);
		struct intent_snapshot *found = NULL;
		int code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);

		intent_snapshot_unref(found);
		if (code == INTENT_EABSENT) {
			ppctl_say("ppctl: %s: there is no such document%s", key,
				  intent_ends_with(key, "/") ?
					"; rm removes single documents, \"ppctl ls\" lists them" : "");
			status = PPCTL_REFUSED;
			continue;
		}
		if (code)
			return code;
		for (size_t k = 0; k < *ret_count && key; k++)
			key = strcmp(ops[k].key, key) ? key : NULL; /* said twice */
		if (key)
			ops[(*ret_count)++] = (struct intent_op){.kind = INTENT_OP_DELETE, .key = key};
	}
	return status;
}

/* In one transaction: nobody sees some of them gone and takes the rest for what is meant. */
int ppctl_rm(struct ppctl *ctl, struct intent_error *err)
{
	size_t most = json_array_size(ctl->arguments), count = 0;
	intent_free_auto struct intent_op *ops = calloc(most + 1, sizeof(*ops));
	struct intent_store *store;
	int status;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	status = find_present(ctl, store, ops, &count, err);
	if (status < 0)
		return status;
	for (size_t done = 0; done < count;) {
		size_t now = count - done < INTENT_TXN_MAX ? count - done : INTENT_TXN_MAX;
		int code = intent_store_txn(store, ops + done, now, NULL, err);

		if (code)
			return code;
		for (size_t end = done + now; done < end; done++) {
			ppctl_say("%s removed", ops[done].key);
			warn_marker(ctl, ops[done].key);
		}
	}
	return status;
}
