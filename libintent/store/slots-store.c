/* Shutdown slots: the document and the facts, read in this order, and written by compare. */
#include <intent/documents.h>
#include <intent/slots.h>

static int read_document(struct intent_store *store, struct intent_slots *slots, struct intent_error *err)
{
	struct intent_snapshot *snapshot;
	int rc;

	if (intent_store_get(store, slots->key, INTENT_STRONGEST, &snapshot, err))
		return err->code == INTENT_EABSENT ? 0 : err->code;
	slots->revision = snapshot->entries[0].revision;
	rc = intent_document_check(slots->key, snapshot->entries[0].value, snapshot->entries[0].length, false,
				   &slots->document, NULL, err);
	intent_snapshot_unref(snapshot);
	return rc;
}

/* What is bound to no session, nobody keeps alive, whatever it says of itself. New; NULL: not to be understood. */
static json_t *fact_of(const struct intent_entry *entry)
{
	struct intent_error ignored;
	json_t *fact = NULL;

	if (intent_document_check(entry->key, entry->value, entry->length, false, &fact, NULL, &ignored))
		return json_null();
	if (!entry->session)
		json_object_set_new(fact, "once", json_true());
	return fact;
}

static int read_facts(struct intent_store *store, const char *prefix, json_t *facts, struct intent_error *err)
{
	struct intent_snapshot *snapshot;

	if (intent_store_list(store, prefix, INTENT_STRONGEST, &snapshot, err))
		return err->code;
	for (size_t i = 0; i < snapshot->count; i++) {
		const char *node = snapshot->entries[i].key + strlen(prefix);

		if (intent_name_is_valid(node))
			json_object_set_new(facts, node, fact_of(&snapshot->entries[i]));
	}
	intent_snapshot_unref(snapshot);
	return 0;
}

int intent_slots_read(struct intent_store *store, const char *app, const char *cluster, struct intent_slots *ret,
		      struct intent_error *err)
{
	intent_free_auto char *prefix = intent_format("reality/health/%s/%s/", app, cluster);
	struct intent_slots slots = {
		.key = intent_format("locks/%s/%s/shutdown", app, cluster),
		.facts = json_object(),
	};

	if (!read_document(store, &slots, err) && !read_facts(store, prefix, slots.facts, err)) {
		*ret = slots;
		return 0;
	}
	intent_slots_release(&slots);
	return intent_wrap(err, "the shutdown slots of %s/%s", app, cluster);
}

void intent_slots_release(struct intent_slots *slots)
{
	free(slots->key);
	json_decref(slots->document);
	json_decref(slots->facts);
	*slots = (struct intent_slots){0};
}

int intent_slots_write(struct intent_store *store, const struct intent_slots *slots, const json_t *document,
		       struct intent_error *err)
{
	bool empty = !json_object_size(json_object_get(document, "slots"));
	intent_free_auto char *value = empty ? NULL : intent_json_canonical(document);
	const struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = slots->key, .revision = slots->revision},
		empty ? (struct intent_op){.kind = INTENT_OP_DELETE, .key = slots->key} :
			(struct intent_op){.kind = INTENT_OP_PUT, .key = slots->key, .value = value,
					   .length = strlen(value)},
	};

	if (empty && !slots->revision)
		return 0;
	return intent_store_txn(store, ops, 2, NULL, err);
}
