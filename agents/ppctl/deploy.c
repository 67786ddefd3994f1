/* prep, activate and the like: one change of a cluster's config, with compare-and-set. */
#include "ppctl.h"

struct request {
	struct ppctl *ctl;
	const char *app, *version;
	char *cluster; /* owned */
	char *key;     /* of its config; owned */
	/* Changes config (a copy) as asked; doing it again changes nothing. */
	int (*change)(struct request *request, json_t *config, struct intent_error *err);
	char target[129]; /* rollback: the version it decided on at first sight */
};

/* ---- which cluster ---- */

/* Every cluster of the application that a node or a document names, as a set. */
static int known_clusters(struct request *request, json_t *set, struct intent_error *err)
{
	struct intent_snapshot *nodes = NULL;
	intent_free_auto char *tail = intent_format("/%s", request->app);
	int code = ppctl_list(request->ctl, "nodes/", &nodes, err);

	for (size_t i = 0; !code && i < nodes->count; i++) {
		intent_json_auto json_t *node = NULL;
		const char *name;
		if (!intent_ends_with(nodes->entries[i].key, tail))
			continue;
		node = ppctl_document(&nodes->entries[i]);
		name = intent_json_string(node, "cluster", NULL);
		if (name)
			json_object_set_new(set, name, json_true());
	}
	intent_snapshot_unref(nodes);
	return code ? code : ppctl_add_clusters(request->ctl, request->app, set, err);
}

static int choose_cluster(struct request *request, struct intent_error *err)
{
	intent_json_auto json_t *set = json_object();
	intent_text_auto struct intent_text names = INTENT_TEXT_INIT;
	const char *name, *only = NULL;
	json_t *value;

	if (known_clusters(request, set, err))
		return err->code;
	json_object_foreach(set, name, value) {
		intent_text_printf(&names, "%s%s", names.length ? ", " : "", name);
		only = name;
	}
	if (!only)
		return intent_fail(err, INTENT_EABSENT,
				   "%s: no node and no cluster has this application; begin with "
				   "\"ppctl node add %s CLUSTER\" or name one with --cluster",
				   request->app, request->app);
	if (json_object_size(set) > 1)
		return intent_fail(err, INTENT_EUSAGE,
				   "%s is in several clusters: %s; name one with --cluster",
				   request->app, intent_text_str(&names));
	request->cluster = strdup(only);
	return 0;
}

/* --cluster, else this node's, else the only one. */
static int find_cluster(struct request *request, struct intent_error *err)
{
	const char *given = ppctl_option(request->ctl, "cluster");
	struct intent_store *store;
	struct intent_snapshot *found = NULL;
	intent_free_auto char *key =
		intent_format("nodes/%s/%s", request->ctl->node, request->app);

	if (ppctl_store(request->ctl, &store, err))
		return err->code;
	if (given) {
		request->cluster = strdup(given);
		return 0;
	}
	int code = intent_store_get(store, key, INTENT_DEFAULT, &found, err);
	if (code == INTENT_EABSENT)
		return choose_cluster(request, err);
	if (code)
		return code;
	intent_json_auto json_t *node = ppctl_document(found->entries);
	const char *name = intent_json_string(node, "cluster", NULL);
	request->cluster = name ? strdup(name) : NULL;
	intent_snapshot_unref(found);
	return name ? 0 :
		      intent_fail(err, INTENT_EMALFORMED,
				  "%s names no cluster; \"ppctl edit %s\" corrects it, "
				  "--cluster does without",
				  key, key);
}

/* ---- one change ---- */

static int change_config(json_t *config, void *data, struct intent_error *err)
{
	struct request *request = data;
	return request->change(request, config, err);
}

static int apply(struct request *request, bool *ret_changed, json_t **ret_new_config,
		 struct intent_error *err)
{
	const struct ppctl_change change = {
		.key = request->key,
		.otherwise = "{\"versions\": {}}",
		.change = change_config,
		.data = request,
	};
	return ppctl_change(request->ctl, &change, ret_changed, ret_new_config, err);
}

/* ---- what is said afterwards ---- */

static void prepared_versions(const json_t *config, struct intent_text *out)
{
	const char *version;
	json_t *state;
	json_object_foreach(json_object_get(config, "versions"), version, state)
		if (!strcmp(json_string_value(state), "prep"))
			intent_text_printf(out, "%s%s", out->length ? ", " : "", version);
}

static void say_result(const struct request *request, const json_t *config, bool changed)
{
	const char *active = intent_config_active(config);
	intent_text_auto struct intent_text prepared = INTENT_TEXT_INIT;

	prepared_versions(config, &prepared);
	ppctl_say("%s in %s: active %s, prepared %s%s", request->app, request->cluster,
		  active ? active : "none", prepared.length ? intent_text_str(&prepared) : "none",
		  changed ? "" : " (as before)");
}

/* What is still missing before an agent can do anything with it. */
static void say_missing(struct request *request)
{
	struct intent_store *store = request->ctl->store;
	struct intent_snapshot *found = NULL, *nodes = NULL;
	struct intent_error err;
	intent_free_auto char *key =
		intent_format("clusters/%s/%s/deploy_config", request->app, request->cluster);
	intent_free_auto char *tail = intent_format("/%s", request->app);
	bool used = false;

	if (intent_store_get(store, key, INTENT_DEFAULT, &found, &err) == INTENT_EABSENT)
		ppctl_say("Agents still wait for its deploy_config: ppctl put %s '{\"basedir\": "
			  "\"/srv/%s\"}'",
			  key, request->app);
	intent_snapshot_unref(found);
	if (ppctl_list(request->ctl, "nodes/", &nodes, &err))
		return;
	for (size_t i = 0; i < nodes->count; i++) {
		intent_json_auto json_t *node = intent_ends_with(nodes->entries[i].key, tail) ?
			ppctl_document(&nodes->entries[i]) :
			NULL;
		used = used || !strcmp(intent_json_string(node, "cluster", ""), request->cluster);
	}
	intent_snapshot_unref(nodes);
	if (!used)
		ppctl_say("No node is in this cluster yet: ppctl node add %s %s", request->app,
			  request->cluster);
}

static int run(struct ppctl *ctl,
	       int (*change)(struct request *, json_t *, struct intent_error *),
	       struct intent_error *err)
{
	struct request request = {
		.ctl = ctl,
		.app = ppctl_argument(ctl, 0),
		.version = ppctl_argument(ctl, 1),
		.change = change,
	};
	intent_json_auto json_t *config = NULL;
	bool changed = false;
	int code = 0;

	if (!intent_name_is_valid(request.app) ||
	    (request.version && !intent_name_is_valid(request.version)))
		code = intent_fail(err, INTENT_EUSAGE,
				   "\"%.64s\" is no valid name: 1 to 128 letters, digits and "
				   ". _ - + ~ @ :, not beginning with . or -",
				   intent_name_is_valid(request.app) ? request.version :
								       request.app);
	if (!code)
		code = find_cluster(&request, err);
	if (!code) {
		request.key = intent_format("clusters/%s/%s/config", request.app, request.cluster);
		code = apply(&request, &changed, &config, err);
	}
	if (!code && ppctl_flag(ctl, "json")) {
		intent_json_auto json_t *result =
			json_pack("{ss ss sb sO}", "app", request.app, "cluster", request.cluster,
				  "changed", changed, "config", config);
		ppctl_print_json(result, false);
	} else if (!code) {
		say_result(&request, config, changed);
		say_missing(&request);
	}
	free(request.cluster);
	free(request.key);
	return code;
}

/* ---- the changes ---- */

static const char *state_of(const json_t *config, const char *version)
{
	return intent_json_string(json_object_get(config, "versions"), version, NULL);
}

static void set_state(json_t *config, const char *version, const char *state)
{
	json_object_set_new(json_object_get(config, "versions"), version, json_string(state));
}

/* The active version, if any, becomes prepared and is remembered. */
static void step_down(json_t *config)
{
	const char *active = intent_config_active(config);
	if (!active)
		return;
	json_object_set_new(config, "previous", json_string(active));
	set_state(config, active, "prep");
}

/* What stands at an artifact's `member` must not change unnoticed: versions are immutable. */
static int set_artifact(struct request *request, json_t *artifact, const char *member,
			struct intent_error *err)
{
	const char *given = ppctl_option(request->ctl, member);
	const char *old = intent_json_string(artifact, member, NULL);

	if (!given || (old && !strcmp(old, given)))
		return 0;
	if (old && !ppctl_flag(request->ctl, "force"))
		return intent_fail(
			err, INTENT_EREFUSED,
			"%s %s has %s %.100s already; a version never changes: give the "
			"new archive a new version, or insist with --force",
			request->app, request->version, member, old);
	json_object_set_new(artifact, member, json_string(given));
	return 0;
}

static int change_prep(struct request *request, json_t *config, struct intent_error *err)
{
	const char *state = state_of(config, request->version);
	json_t *artifacts = json_object_get(config, "artifacts"), *artifact;

	if (!state)
		set_state(config, request->version, "prep");
	if (!ppctl_option(request->ctl, "url") && !ppctl_option(request->ctl, "sha256"))
		return 0;
	if (!artifacts)
		json_object_set_new(config, "artifacts", artifacts = json_object());
	artifact = json_object_get(artifacts, request->version);
	if (!artifact)
		json_object_set_new(artifacts, request->version, artifact = json_object());
	if (set_artifact(request, artifact, "url", err) ||
	    set_artifact(request, artifact, "sha256", err))
		return err->code;
	return 0;
}

static int change_unprep(struct request *request, json_t *config, struct intent_error *err)
{
	const char *state = state_of(config, request->version);
	json_t *artifacts = json_object_get(config, "artifacts");

	if (state && !strcmp(state, "active"))
		return intent_fail(err, INTENT_EREFUSED,
				   "%s %s is active in %s; activate another version or "
				   "\"ppctl deactivate %s\" first",
				   request->app, request->version, request->cluster,
				   request->app);
	json_object_del(json_object_get(config, "versions"), request->version);
	if (artifacts)
		json_object_del(artifacts, request->version);
	if (artifacts && !json_object_size(artifacts))
		json_object_del(config, "artifacts");
	if (!strcmp(intent_json_string(config, "previous", ""), request->version))
		json_object_del(config, "previous");
	return 0;
}

/* A version that was never prepared is more often a slip of the fingers than meant. */
static int refuse_unknown(struct request *request, const json_t *config, struct intent_error *err)
{
	const char *known[256], *version;
	size_t count = 0;
	json_t *state;
	json_object_foreach(json_object_get(config, "versions"), version, state)
		if (count < sizeof(known) / sizeof(*known))
			known[count++] = version;
	const char *nearest = intent_nearest_name(request->version, known, count);
	return intent_fail(
		err, INTENT_EABSENT,
		"%s %s was never prepared in %s%s%s%s; \"ppctl prep %s %s\" does that, "
		"--force does without",
		request->app, request->version, request->cluster,
		nearest ? " (did you mean " : "", nearest ? nearest : "", nearest ? "?)" : "",
		request->app, request->version);
}

static int change_activate(struct request *request, json_t *config, struct intent_error *err)
{
	const char *state = state_of(config, request->version);
	if (state && !strcmp(state, "active"))
		return 0;
	if (!state && !ppctl_flag(request->ctl, "force"))
		return refuse_unknown(request, config, err);
	step_down(config);
	set_state(config, request->version, "active");
	return 0;
}

static int change_deactivate(struct request *request, json_t *config, struct intent_error *err)
{
	(void)request;
	(void)err;
	step_down(config);
	return 0;
}

/* Decided once: were it read again after a lost answer, it would swap back. */
static int change_rollback(struct request *request, json_t *config, struct intent_error *err)
{
	const char *previous = intent_json_string(config, "previous", NULL);
	const char *active = intent_config_active(config);

	if (!*request->target && !previous)
		return intent_fail(err, INTENT_EABSENT,
				   "%s in %s has no previous version to go back to; \"ppctl "
				   "activate %s VERSION\" names one",
				   request->app, request->cluster, request->app);
	if (!*request->target)
		snprintf(request->target, sizeof(request->target), "%s", previous);
	if (active && !strcmp(active, request->target))
		return 0;
	step_down(config);
	if (!active)
		json_object_del(config, "previous");
	set_state(config, request->target, "active");
	return 0;
}

int ppctl_prep(struct ppctl *ctl, struct intent_error *err)
{
	return run(ctl, change_prep, err);
}
int ppctl_unprep(struct ppctl *ctl, struct intent_error *err)
{
	return run(ctl, change_unprep, err);
}
int ppctl_activate(struct ppctl *ctl, struct intent_error *err)
{
	return run(ctl, change_activate, err);
}
int ppctl_deactivate(struct ppctl *ctl, struct intent_error *err)
{
	return run(ctl, change_deactivate, err);
}
int ppctl_rollback(struct ppctl *ctl, struct intent_error *err)
{
	return run(ctl, change_rollback, err);
}
