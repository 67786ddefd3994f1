/* init, import, export: whole stores. */
#include <intent/file.h>
#include "ppctl.h"

#define IMPORT_MAX (8u << 20)
/* Consul takes 512 KiB of JSON a transaction, with values in base64. */
#define CHUNK_BYTES (300u << 10)

/* ---- init ---- */

/* The store that programs look for by themselves. */
static char *usual_url(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	if (geteuid() == 0)
		return strdup("dir:/var/lib/platypus/store");
	if (state && *state == '/')
		return intent_format("dir:%s/platypus/store", state);
	return home && *home == '/' ? intent_format("dir:%s/.local/state/platypus/store", home) :
				      NULL;
}

static int init_url(struct ppctl *ctl, char **ret_owned, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);
	intent_free_auto char *cwd = getcwd(NULL, 0);

	if (!word && (ppctl_option(ctl, "store") || getenv("PP_STORE")))
		word = ppctl_option(ctl, "store") ? ppctl_option(ctl, "store") :
						    getenv("PP_STORE");
	if (!word)
		*ret_owned = usual_url();
	else if (strchr(word, ':') && *word != '/' && *word != '.')
		*ret_owned = strdup(word);
	else if (*word == '/')
		*ret_owned = intent_format("dir:%s", word);
	else
		*ret_owned = cwd ? intent_format("dir:%s/%s", cwd, word) : NULL;
	return *ret_owned ? 0 :
			    intent_fail(err, INTENT_EUSAGE,
					"HOME is not set, so there is no usual "
					"place for a store; name one: ppctl init PATH");
}

int ppctl_init(struct ppctl *ctl, struct intent_error *err)
{
	struct intent_store *store;
	struct intent_snapshot *found = NULL;
	intent_free_auto char *marker = intent_format("nodes/%s/", ctl->node);
	intent_free_auto char *usual = usual_url();

	free(ctl->url);
	ctl->url = NULL;
	if (init_url(ctl, &ctl->url, err))
		return err->code;
	if (intent_starts_with(ctl->url, "dir:") && intent_store_init(ctl->url, err))
		return err->code;
	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, marker, INTENT_DEFAULT, &found, err);
	intent_snapshot_unref(found);
	if (code == INTENT_EABSENT)
		code = intent_store_cas(store, marker, 0, "{}", 2, NULL, err);
	else if (!code)
		ppctl_say("%s was marked already", ctl->node);
	if (code && code != INTENT_ECONFLICT)
		return code;
	ppctl_say("The store is %s, and %s is a node in it.", intent_store_name(store),
		  ctl->node);
	if (!usual || strcmp(ctl->url, usual))
		ppctl_say("To use it everywhere: export PP_STORE=%s", intent_store_name(store));
	ppctl_say("Next: ppctl node add APP CLUSTER, and \"ppctl help\"");
	return 0;
}

/* ---- export ---- */

/* Others may keep their own things in the same Consul or etcd. */
static bool is_intent(const char *key)
{
	return intent_document_find(key) && !intent_starts_with(key, "reality/") &&
		!intent_starts_with(key, "locks/");
}

int ppctl_export(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);
	bool all = ppctl_flag(ctl, "all") || (word && *word);
	struct intent_snapshot *found = NULL;
	intent_json_auto json_t *documents = json_object();
	int status = 0;

	if (ppctl_list(ctl, word ? word : "", &found, err))
		return err->code;
	for (size_t i = 0; i < found->count; i++) {
		const struct intent_entry *entry = &found->entries[i];
		if (!all && !is_intent(entry->key))
			continue;
		json_t *document = ppctl_document(entry);
		if (!document) {
			ppctl_say("ppctl: %s: left out: it is no JSON; \"ppctl edit %s\" "
				  "corrects it",
				  entry->key, entry->key);
			status = PPCTL_REFUSED;
		} else {
			json_object_set_new(documents, entry->key, document);
		}
	}
	intent_snapshot_unref(found);
	ppctl_print_json(documents, false);
	return status;
}

/* ---- import ---- */

struct change {
	const char *key; /* borrowed from the imported document */
	char *bytes;     /* owned */
	bool is_new;
};

struct import {
	json_t *documents;
	struct change *changes;
	size_t count, room;
};

static void import_release(struct import *import)
{
	for (size_t i = 0; i < import->count; i++)
		free(import->changes[i].bytes);
	free(import->changes);
	json_decref(import->documents);
}

/* Every fault of every document, before anything is written. */
static int check_all(const json_t *documents, struct intent_text *faults)
{
	int bad = 0;
	const char *key;
	json_t *document;

	json_object_foreach((json_t *)(uintptr_t)documents, key, document) {
		intent_free_auto char *bytes = intent_json_canonical(document);
		intent_text_auto struct intent_text own = INTENT_TEXT_INIT;
		struct intent_error err;
		if (!bytes ||
		    !intent_document_check(key, bytes, strlen(bytes), true, NULL, &own, &err))
			continue;
		bad++;
		for (const char *p = intent_text_str(&own); *p;) {
			size_t length = strcspn(p, "\n");
			bool named = !strncmp(p, key, strlen(key));
			intent_text_printf(faults, "%s%s%.*s\n", named ? "" : key,
					   named ? "" : " ", (int)length, p);
			p += length + (p[length] == '\n');
		}
	}
	return bad;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->key, ((const struct change *)b)->key);
}

static void add_change(struct import *import, const struct intent_snapshot *now, const char *key,
		       const json_t *document)
{
	const struct intent_entry *old = intent_snapshot_find(now, key);
	char *bytes = intent_json_canonical(document);

	if (old && old->length == strlen(bytes) &&
	    !memcmp(old->value, bytes, old->length)) {
		free(bytes);
		return;
	}
	if (import->count == import->room) {
		import->room = import->room ? 2 * import->room : 64;
		import->changes = reallocarray(import->changes, import->room, sizeof(*import->changes));
	}
	import->changes[import->count++] = (struct change){key, bytes, !old};
}

/* Nodes need their markers; they are part of the import when nobody has written them. */
static void add_markers(json_t *documents, const struct intent_snapshot *now)
{
	intent_json_auto json_t *markers = json_object();
	const char *key;
	json_t *document;

	json_object_foreach(documents, key, document) {
		intent_free_auto char *marker = ppctl_marker(key);
		if (marker && !intent_snapshot_find(now, marker) &&
		    !json_object_get(documents, marker))
			json_object_set_new(markers, marker, json_object());
	}
	json_object_update(documents, markers);
}

static int read_documents(const char *word, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *bytes = NULL;
	size_t length;
	bool standard = !strcmp(word, "-");
	intent_json_auto json_t *json = NULL;

	if (standard ? intent_input_read(IMPORT_MAX, &bytes, &length, err) :
		       intent_file_read(AT_FDCWD, word, IMPORT_MAX, &bytes, &length, err))
		return err->code;
	if (intent_json_parse(bytes, length, IMPORT_MAX, &json, err))
		return intent_wrap(err, "%s", standard ? "standard input" : word);
	if (!json_is_object(json))
		return intent_fail(err, INTENT_EMALFORMED,
				   "%s: must be one JSON object {key: document}, as "
				   "\"ppctl export\" prints it",
				   word);
	*ret_new = json_incref(json);
	return 0;
}

/* In the fewest transactions that every engine takes. */
static int write_changes(struct intent_store *store, const struct import *import,
			 size_t *ret_done, struct intent_error *err)
{
	for (size_t done = 0; done < import->count; *ret_done = done) {
		struct intent_op ops[INTENT_TXN_MAX];
		size_t count = 0, bytes = 0;
		while (done + count < import->count && count < INTENT_TXN_MAX) {
			const struct change *change = &import->changes[done + count];
			bytes += strlen(change->bytes) + strlen(change->key) + 64;
			if (count && bytes > CHUNK_BYTES)
				break;
			ops[count++] = (struct intent_op){.kind = INTENT_OP_PUT,
							  .key = change->key,
							  .value = change->bytes,
							  .length = strlen(change->bytes)};
		}
		if (intent_store_txn(store, ops, count, NULL, err))
			return err->code;
		done += count;
	}
	return 0;
}

static int plan_import(struct ppctl *ctl, struct import *import, struct intent_error *err)
{
	struct intent_snapshot *now = NULL;
	const char *key;
	json_t *document;
	int code = ppctl_list(ctl, "", &now, err);

	if (code)
		return code;
	add_markers(import->documents, now);
	json_object_foreach(import->documents, key, document)
		add_change(import, now, key, document);
	if (import->count)
		qsort(import->changes, import->count, sizeof(*import->changes), by_key);
	intent_snapshot_unref(now);
	return 0;
}

static int run_import(struct ppctl *ctl, struct import *import, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	size_t done = 0;

	if (read_documents(word, &import->documents, err))
		return err->code;
	if (!ppctl_flag(ctl, "force") && check_all(import->documents, &faults))
		return ppctl_faults(
			word, &faults,
			"Nothing was written. Correct that, or write everything as it "
			"is with --force.");
	if (plan_import(ctl, import, err))
		return err->code;
	for (size_t i = 0; i < import->count && ppctl_flag(ctl, "dry-run"); i++)
		printf("%s %s\n", import->changes[i].is_new ? "+" : "~", import->changes[i].key);
	if (ppctl_flag(ctl, "dry-run"))
		return 0;
	int code = write_changes(ctl->store, import, &done, err);
	ppctl_say("%zu of %zu documents written, %zu unchanged", done,
		  json_object_size(import->documents),
		  json_object_size(import->documents) - import->count);
	return code && done ? intent_wrap(err, "stopped at %s; import again goes on from there",
					  import->changes[done].key) :
			      code;
}

int ppctl_import(struct ppctl *ctl, struct intent_error *err)
{
	struct import import = {0};
	int code = run_import(ctl, &import, err);
	import_release(&import);
	return code;
}
