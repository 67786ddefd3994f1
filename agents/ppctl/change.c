/* One document changed by compare-and-set, until the change stands there. */
#include "ppctl.h"

#define PATIENCE_MS 30000 /* with others writing all the time */

bool ppctl_again(struct ppctl_patience *patience, const struct intent_error *err)
{
	int64_t now = intent_time_monotonic();

	if (err->code != INTENT_ECONFLICT && err->code != INTENT_EUNKNOWN)
		return false;
	patience->maybe = patience->maybe || err->code == INTENT_EUNKNOWN;
	if (!patience->deadline) {
		patience->deadline = now + PATIENCE_MS;
		patience->seed = (unsigned)getpid() ^ (unsigned)now;
	}
	if (now > patience->deadline)
		return false;
	struct timespec pause = {0, (1 + rand_r(&patience->seed) % 40) * 1000000L};
	nanosleep(&pause, NULL);
	return true;
}

static int read_document(const struct ppctl_change *change, struct intent_store *store,
			 uint64_t *ret_revision, json_t **ret_new, struct intent_error *err)
{
	struct intent_snapshot *found = NULL;
	int code = intent_store_get(store, change->key, INTENT_DEFAULT, &found, err);

	if (code == INTENT_EABSENT && change->otherwise) {
		*ret_revision = 0;
		return intent_json_parse(change->otherwise, strlen(change->otherwise), 0, ret_new,
					 err);
	}
	if (code)
		return code;
	*ret_revision = found->entries->revision;
	code = intent_document_check(change->key, found->entries->value, found->entries->length,
				     false, ret_new, NULL, err);
	intent_snapshot_unref(found);
	if (code) {
		struct intent_error why = *err;
		return intent_fail(err, code, "%.380s; \"ppctl edit %.80s\" corrects it", why.msg,
				   change->key);
	}
	return 0;
}

/* Once: read, change, write if nobody wrote in between. */
static int attempt(const struct ppctl_change *change, struct intent_store *store,
		   bool *ret_changed, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *before = NULL;
	intent_json_auto json_t *document = NULL;
	uint64_t revision;

	if (read_document(change, store, &revision, &before, err))
		return err->code;
	document = json_deep_copy(before);
	int code = change->change(document, change->data, err);
	if (code)
		return code;
	*ret_changed = !json_equal(before, document);
	if (*ret_changed) {
		intent_free_auto char *bytes = intent_json_canonical(document);
		if (intent_document_check(change->key, bytes, strlen(bytes), false, NULL, NULL,
					  err) ||
		    intent_store_cas(store, change->key, revision, bytes, strlen(bytes), NULL,
				     err))
			return err->code;
	}
	*ret_new = json_incref(document);
	return 0;
}

int ppctl_change(struct ppctl *ctl, const struct ppctl_change *change, bool *ret_changed,
		 json_t **ret_new, struct intent_error *err)
{
	struct ppctl_patience patience = {0};
	struct intent_store *store;
	int code = ppctl_store(ctl, &store, err);

	if (code)
		return code;
	do
		code = attempt(change, store, ret_changed, ret_new, err);
	while (code && ppctl_again(&patience, err));
	/* What was lost was only the answer. */
	if (!code)
		*ret_changed = *ret_changed || patience.maybe;
	else if (code == INTENT_ECONFLICT || code == INTENT_EUNKNOWN)
		return intent_wrap(err, "%s: still not written after 30 s", change->key);
	return code;
}
