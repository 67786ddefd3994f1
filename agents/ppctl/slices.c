/* Intent beside reality, as rows: what should run where, and what each agent says of it. */
#include "ppctl.h"

const char *const ppctl_slice_prefixes[] = {"nodes/",          "clusters/", "reality/status/",
					    "reality/health/", "locks/",    NULL};

/*
 * Every application on a node is the business of these, whether they have said anything or not; of
 * other agents once they have spoken of the application on any node.
 */
static const char *const usual_agents[] = {"preparer", "setlive"};

struct gathering {
	const struct intent_snapshot *snapshot;
	const char *app, *node, *cluster; /* NULL: all */
	json_t *agents;                   /* {app: set of those that look after it} */
	json_t *rows;
};

static const struct intent_entry *find(const struct intent_snapshot *snapshot, char *key)
{
	const struct intent_entry *entry = key ? intent_snapshot_find(snapshot, key) : NULL;
	free(key);
	return entry;
}

/* "reality/status/<agent>/<node>/<slice>" apart; false for other keys. */
static bool split_status(const char *key, char agent[129], char node[129], const char **ret_slice)
{
	static const char prefix[] = "reality/status/";
	if (!intent_starts_with(key, prefix))
		return false;
	key += strlen(prefix);
	size_t first = strcspn(key, "/"), second = key[first] ? strcspn(key + first + 1, "/") : 0;
	if (!first || first > 128 || !second || second > 128 || !key[first + 1 + second])
		return false;
	snprintf(agent, 129, "%.*s", (int)first, key);
	snprintf(node, 129, "%.*s", (int)second, key + first + 1);
	*ret_slice = key + first + second + 2;
	return true;
}

/* "nodes/<node>/<app>" apart; false for markers and other keys. */
static bool split_node(const char *key, char node[129], const char **ret_app)
{
	size_t length = intent_starts_with(key, "nodes/") ? strcspn(key + 6, "/") : 0;
	if (!length || length > 128 || !key[6 + length] || !key[7 + length])
		return false;
	snprintf(node, 129, "%.*s", (int)length, key + 6);
	*ret_app = key + 7 + length;
	return true;
}

static void add_versions(json_t *row, const struct intent_entry *config_entry)
{
	intent_json_auto json_t *config = config_entry ? ppctl_document(config_entry) : NULL;
	const char *active = intent_config_active(config), *version;
	json_t *prep = json_array(), *state;

	json_object_foreach(json_object_get(config, "versions"), version, state)
		if (json_is_string(state) && !strcmp(json_string_value(state), "prep"))
			json_array_append_new(prep, json_string(version));
	json_object_set_new(row, "active", active ? json_string(active) : json_null());
	json_object_set_new(row, "prep", prep);
}

/*
 * The agent's own words. A status that is older than the intent it is about does not tell how
 * things stand: agents write a new one for every new intent, be it only for its digest.
 */
static void add_status(json_t *row, const struct intent_entry *entry, uint64_t intent_revision)
{
	static const char *const members[] = {"state",    "reason",       "message", "since",
					      "attempts", "next_attempt", "detail",  "once"};
	intent_json_auto json_t *status = entry ? ppctl_document(entry) : NULL;

	for (size_t i = 0; status && i < sizeof(members) / sizeof(*members); i++) {
		json_t *value = json_object_get(status, members[i]);
		if (value)
			json_object_set(row, members[i], value);
	}
	if (!json_is_string(json_object_get(row, "state")))
		json_object_set_new(row, "state", json_string(entry ? "malformed" : "absent"));
	if (entry)
		json_object_set_new(row, "current",
				    json_boolean(entry->revision >= intent_revision));
}

static uint64_t newest(const struct intent_entry *a, const struct intent_entry *b)
{
	uint64_t x = a ? a->revision : 0, y = b ? b->revision : 0;
	return x > y ? x : y;
}

static json_t *agents_of(struct gathering *g, const char *app)
{
	json_t *set = json_object_get(g->agents, app);
	if (set)
		return set;
	json_object_set_new(g->agents, app, set = json_object());
	for (size_t i = 0; i < sizeof(usual_agents) / sizeof(*usual_agents); i++)
		json_object_set_new(set, usual_agents[i], json_true());
	return set;
}

static void note_agents(struct gathering *g)
{
	char agent[129], node[129];
	const char *slice;
	for (size_t i = 0; i < g->snapshot->count; i++)
		if (split_status(g->snapshot->entries[i].key, agent, node, &slice) &&
		    find(g->snapshot, intent_format("nodes/%s/%s", node, slice)))
			json_object_set_new(agents_of(g, slice), agent, json_true());
}

static void add_application(struct gathering *g, const struct intent_entry *entry,
			    const char *node, const char *app)
{
	intent_json_auto json_t *document = ppctl_document(entry);
	const char *cluster = intent_json_string(document, "cluster", NULL), *agent;
	const struct intent_entry *config = NULL, *deploy = NULL;
	json_t *value;

	if (g->cluster && (!cluster || strcmp(cluster, g->cluster)))
		return;
	if (cluster) {
		config = find(g->snapshot, intent_format("clusters/%s/%s/config", app, cluster));
		deploy = find(g->snapshot,
			      intent_format("clusters/%s/%s/deploy_config", app, cluster));
	}
	json_object_foreach(agents_of(g, app), agent, value) {
		json_t *row = json_pack("{ss ss ss* ss}", "node", node, "app", app, "cluster",
					cluster, "agent", agent);
		add_versions(row, config);
		add_status(row,
			   find(g->snapshot,
				intent_format("reality/status/%s/%s/%s", agent, node, app)),
			   newest(entry, config) > newest(deploy, NULL) ? newest(entry, config) :
									  newest(deploy, NULL));
		json_array_append_new(g->rows, row);
	}
}

static bool wanted(const struct gathering *g, const char *node, const char *app)
{
	return (!g->app || !strcmp(g->app, app)) && (!g->node || !strcmp(g->node, node));
}

/* A status of something that no node document names: it is being removed, or no application. */
static void add_leftover(struct gathering *g, const struct intent_entry *entry, const char *agent,
			 const char *node, const char *slice)
{
	if (g->cluster || find(g->snapshot, intent_format("nodes/%s/%s", node, slice)))
		return;
	json_t *row =
		json_pack("{ss ss sn ss}", "node", node, "app", slice, "cluster", "agent", agent);
	add_versions(row, NULL);
	add_status(row, entry, 0);
	json_array_append_new(g->rows, row);
}

static int compare_rows(const void *a, const void *b)
{
	static const char *const members[] = {"node", "app", "agent"};
	for (size_t i = 0; i < 3; i++) {
		/* web2 before web10. */
		int order = strverscmp(intent_json_string(*(json_t *const *)a, members[i], ""),
				       intent_json_string(*(json_t *const *)b, members[i], ""));
		if (order)
			return order;
	}
	return 0;
}

static json_t *sorted(json_t *rows)
{
	size_t count = json_array_size(rows);
	json_t **list = calloc(count + 1, sizeof(*list)), *result = json_array();
	for (size_t i = 0; i < count; i++)
		list[i] = json_array_get(rows, i);
	if (count)
		qsort(list, count, sizeof(*list), compare_rows);
	for (size_t i = 0; i < count; i++)
		json_array_append(result, list[i]);
	free(list);
	return result;
}

static bool all_converged(const json_t *rows)
{
	size_t index;
	json_t *row;
	json_array_foreach((json_t *)(uintptr_t)rows, index, row)
		if (strcmp(intent_json_string(row, "state", ""), "converged") ||
		    !intent_json_boolean(row, "current", false))
			return false;
	return true;
}

json_t *ppctl_slices(const struct intent_snapshot *snapshot, const char *app, const char *node,
		     const char *cluster)
{
	intent_json_auto json_t *agents = json_object(), *rows = json_array();
	struct gathering g = {snapshot, app, node, cluster, agents, rows};
	char agent[129], on[129];
	const char *what;

	note_agents(&g);
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct intent_entry *entry = &snapshot->entries[i];
		if (split_node(entry->key, on, &what) && wanted(&g, on, what))
			add_application(&g, entry, on, what);
		else if (split_status(entry->key, agent, on, &what) && wanted(&g, on, what))
			add_leftover(&g, entry, agent, on, what);
	}
	json_t *slices = sorted(rows);
	return json_pack("{sb so}", "converged", all_converged(slices), "slices", slices);
}
