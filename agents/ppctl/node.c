/* node add, node rm: which applications a node runs. */
#include "ppctl.h"

/* What stands there already (a hold, say) stays. *ret_revision: 0 when nothing does. */
static int node_document(struct ppctl *ctl, const char *key, const char *cluster,
			 uint64_t *ret_revision, char **ret_owned, struct intent_error *err)
{
	struct intent_store *store;
	struct intent_snapshot *found = NULL;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
	if (code && code != INTENT_EABSENT)
		return code;
	intent_json_auto json_t *document = found ? ppctl_document(found->entries) : NULL;
	if (!json_is_object(document)) {
		json_decref(document);
		document = json_object();
	}
	*ret_revision = found ? found->entries->revision : 0;
	intent_snapshot_unref(found);
	json_object_set_new(document, "cluster", json_string(cluster));
	*ret_owned = intent_json_canonical(document);
	return 0;
}

/* A cluster without documents, beside others that have some, may be a slip. Who may not read them is told nothing. */
static void warn_of_slip(struct ppctl *ctl, const char *app, const char *cluster)
{
	intent_text_auto struct intent_text others = INTENT_TEXT_INIT;
	intent_json_auto json_t *known = json_object();
	struct intent_error ignored;
	const char *name;
	json_t *value;

	if (ppctl_add_clusters(ctl, app, known, &ignored))
		return;
	json_object_foreach(known, name, value)
		intent_text_printf(&others, "%s%s", others.length ? ", " : "", name);
	if (others.length && !json_object_get(known, cluster))
		ppctl_say("No document describes that cluster yet; those there are of %s describe: %s", app,
			  intent_text_str(&others));
}

int ppctl_node_add(struct ppctl *ctl, struct intent_error *err)
{
	const char *app = ppctl_argument(ctl, 0), *cluster = ppctl_argument(ctl, 1);
	intent_free_auto char *key = intent_format("nodes/%s/%s", ctl->node, app);
	intent_free_auto char *bytes = NULL;
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	uint64_t revision;
	bool written;

	if (node_document(ctl, key, cluster, &revision, &bytes, err))
		return err->code;
	if (intent_document_check(key, bytes, strlen(bytes), true, NULL, &faults, err))
		return ppctl_faults(key, &faults, NULL);
	if (ppctl_write(ctl, key, bytes, &revision, &written, err))
		return err->code == INTENT_ECONFLICT ?
			intent_fail(err, err->code,
				    "%s: somebody else wrote it at the "
				    "same moment; look with \"ppctl get %s\" and try again",
				    key, key) :
			err->code;
	ppctl_say("%s runs %s of cluster %s%s", ctl->node, app, cluster,
		  written ? "" : " (as before)");
	warn_of_slip(ctl, app, cluster);
	return 0;
}

int ppctl_node_rm(struct ppctl *ctl, struct intent_error *err)
{
	const char *app = ppctl_argument(ctl, 0);
	intent_free_auto char *key = intent_format("nodes/%s/%s", ctl->node, app);
	intent_free_auto char *marker = intent_format("nodes/%s/", ctl->node);
	struct intent_store *store;
	struct intent_snapshot *found = NULL;

	if (ppctl_store(ctl, &store, err))
		return err->code;
	int code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
	intent_snapshot_unref(found);
	if (code == INTENT_EABSENT)
		return intent_fail(
			err, code,
			"%s does not run %s: there is no %s; \"ppctl ls %s\" lists what it runs",
			ctl->node, app, key, marker);
	/* Without the marker the last application's removal would look like a lost store. */
	if (!code)
		code = intent_store_cas(store, marker, 0, "{}", 2, NULL, err);
	if (code && code != INTENT_ECONFLICT)
		return code;
	if (intent_store_delete(store, key, err))
		return err->code;
	ppctl_say("%s does not run %s any more; its data and installed versions stay", ctl->node,
		  app);
	return 0;
}
