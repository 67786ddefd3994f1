/*
 * The rows of slices.c by application and node, beside what only the whole cluster tells: health
 * facts, shutdown slots and who waits behind them, holds.
 */
#include <intent/slots.h>
#include "ppctl.h"

int ppctl_look(struct ppctl *ctl, struct intent_snapshot **ret_owned, struct intent_error *err)
{
	struct intent_snapshot *all = intent_snapshot_new();
	int code = 0;

	for (size_t i = 0; !code && ppctl_slice_prefixes[i]; i++) {
		struct intent_snapshot *part = NULL;
		code = ppctl_list(ctl, ppctl_slice_prefixes[i], &part, err);
		for (size_t k = 0; !code && k < part->count; k++) {
			const struct intent_entry *e = &part->entries[k];
			intent_snapshot_add(all, e->key, e->value, e->length, e->revision, e->session, e->untrusted);
		}
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

struct fleet {
	const struct intent_snapshot *snapshot;
	/* The shutdown document read last: the nodes of a cluster have one. */
	char *slots_key; /* owned */
	json_t *slots;   /* owned; NULL: there is none, or it is none */
};

/* What stands at a key (stolen), or NULL; *ret_alive (may be NULL): somebody keeps it. New. */
static json_t *document_at(const struct fleet *fleet, char *key, bool *ret_alive)
{
	const struct intent_entry *entry = key ? intent_snapshot_find(fleet->snapshot, key) : NULL;

	free(key);
	if (ret_alive)
		*ret_alive = entry && entry->session;
	return entry ? ppctl_document(entry) : NULL;
}

/* Borrowed. */
static const json_t *slots_of(struct fleet *fleet, const char *app, const char *cluster)
{
	char *key = intent_format("locks/%s/%s/shutdown", app, cluster);

	if (key && fleet->slots_key && !strcmp(key, fleet->slots_key)) {
		free(key);
		return fleet->slots;
	}
	free(fleet->slots_key);
	json_decref(fleet->slots);
	fleet->slots = document_at(fleet, key ? strdup(key) : NULL, NULL);
	fleet->slots_key = key;
	return fleet->slots;
}

/* ---- one application on one node ---- */

static void add_fact(const struct fleet *fleet, json_t *to, const char *app, const char *cluster,
		     const char *node)
{
	bool alive;
	json_t *fact = document_at(
		fleet, intent_format("reality/health/%s/%s/%s", app, cluster, node), &alive);

	if (!json_is_object(fact)) {
		json_decref(fact);
		return;
	}
	json_object_set_new(fact, "good", json_boolean(alive && intent_fact_is_good(fact)));
	json_object_set_new(to, "health", fact);
}

char *ppctl_hold_words(const char *key, const json_t *hold)
{
	intent_json_auto json_t *holds = json_pack("{sO}", key, hold);
	int64_t ignored;
	return holds ? intent_hold_in_force(holds, intent_time_now(), &ignored) : NULL;
}

static void add_hold(const struct fleet *fleet, json_t *holds, char *key)
{
	intent_free_auto char *name = key ? strdup(key) : NULL;
	intent_json_auto json_t *document = document_at(fleet, key, NULL);
	const json_t *hold = json_object_get(document, "hold");
	intent_free_auto char *words = hold ? ppctl_hold_words(name, hold) : NULL;

	if (!words)
		return;
	json_t *row = json_is_object(hold) ? json_copy((json_t *)(uintptr_t)hold) : json_object();
	if (json_is_string(hold))
		json_object_set_new(row, "why", json_string(json_string_value(hold)));
	json_object_set_new(row, "key", json_string(name));
	json_object_set_new(row, "words", json_string(words));
	json_array_append_new(holds, row);
}

static void add_holds(const struct fleet *fleet, json_t *to, const char *app, const char *cluster,
		      const char *node)
{
	json_t *holds = json_array();

	add_hold(fleet, holds, intent_format("nodes/%s/", node));
	add_hold(fleet, holds, intent_format("nodes/%s/%s", node, app));
	add_hold(fleet, holds, intent_format("clusters/%s/%s/config", app, cluster));
	add_hold(fleet, holds, intent_format("clusters/%s/%s/deploy_config", app, cluster));
	json_object_set_new(to, "holds", holds);
}

/* Its own slot; or, where it waits for one, whose slots it waits behind. */
static void add_slots(struct fleet *fleet, json_t *to, const json_t *setlive, const char *app,
		      const char *cluster, const char *node)
{
	static const char *const waits[] = {"Waiting", "Unhealthy"};
	const json_t *slots = slots_of(fleet, app, cluster);
	const json_t *own = intent_slots_find(slots, node);
	const char *reason = intent_json_string(setlive, "reason", ""), *holder;
	json_t *behind, *slot;

	if (own)
		json_object_set(to, "slot", (json_t *)(uintptr_t)own);
	if (own || json_array_size(json_object_get(to, "holds")) ||
	    (strcmp(reason, waits[0]) && strcmp(reason, waits[1])))
		return;
	behind = json_array();
	json_object_foreach(json_object_get(slots, "slots"), holder, slot)
		json_array_append_new(behind, json_string(holder));
	json_object_set_new(to, "behind", behind);
}

const char *const ppctl_severity[] = {"blocked", "failing",    "malformed", "absent",    "waiting",
				      "converging", "pending", "held",	    "converged", NULL};

static int severity(const char *state)
{
	int i = 0;
	while (ppctl_severity[i] && strcmp(ppctl_severity[i], state))
		i++;
	return i;
}

/* The worst of its agents speaks for it; one that only waits because it is told to is held. */
static void add_state(json_t *to, const json_t *worst)
{
	const char *state = ppctl_state(worst), *since = intent_json_string(worst, "since", NULL);
	bool held = json_array_size(json_object_get(to, "holds")) && !strcmp(state, "waiting") &&
		!strcmp(intent_json_string(worst, "agent", ""), "setlive");

	json_object_set_new(to, "state", json_string(held ? "held" : state));
	if (since)
		json_object_set_new(to, "since", json_string(since));
}

/* Rows [at, end) are of one application on one node. New. */
static json_t *application(struct fleet *fleet, const json_t *rows, size_t at, size_t end)
{
	const json_t *first = json_array_get(rows, at), *worst = first, *setlive = NULL;
	const char *node = intent_json_string(first, "node", "");
	const char *app = intent_json_string(first, "app", "");
	const char *cluster = intent_json_string(first, "cluster", NULL);
	json_t *agents = json_object();
	json_t *to = json_pack("{ss ss sO? sO? sO? so}", "node", node, "app", app, "cluster",
			       json_object_get(first, "cluster"), "active",
			       json_object_get(first, "active"), "prep",
			       json_object_get(first, "prep"), "agents", agents);

	for (size_t i = at; to && i < end; i++) {
		const json_t *row = json_array_get(rows, i);
		const char *agent = intent_json_string(row, "agent", ""), *state = ppctl_state(row);
		json_object_set_new(agents, agent, json_string(state));
		if (severity(state) < severity(ppctl_state(worst)))
			worst = row;
		if (!strcmp(agent, "setlive"))
			setlive = row;
	}
	if (!to)
		return NULL;
	if (cluster) {
		add_fact(fleet, to, app, cluster, node);
		add_holds(fleet, to, app, cluster, node);
		add_slots(fleet, to, setlive, app, cluster, node);
	}
	const json_t *detail = json_object_get(setlive, "detail");
	const char *runs = intent_json_string(detail, "current", NULL);
	runs = intent_json_string(json_object_get(to, "health"), "version", runs);
	if (runs)
		json_object_set_new(to, "runs", json_string(runs));
	add_state(to, worst);
	return to;
}

static bool same_place(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "node"), json_object_get(b, "node")) &&
		json_equal(json_object_get(a, "app"), json_object_get(b, "app"));
}

json_t *ppctl_fleet(const struct intent_snapshot *snapshot, const char *app, const char *node,
		    const char *cluster)
{
	struct fleet fleet = {.snapshot = snapshot};
	json_t *document = ppctl_slices(snapshot, app, node, cluster), *applications = json_array();
	const json_t *rows = json_object_get(document, "slices");
	size_t count = json_array_size(rows);

	for (size_t at = 0, end; at < count; at = end) {
		for (end = at + 1; end < count &&
		     same_place(json_array_get(rows, at), json_array_get(rows, end));)
			end++;
		json_array_append_new(applications, application(&fleet, rows, at, end));
	}
	json_object_set_new(document, "applications", applications);
	free(fleet.slots_key);
	json_decref(fleet.slots);
	return document;
}
