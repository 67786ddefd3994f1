/*
 * The fleet for people: a line for each application on a node, with its agents' states folded into
 * one and words only where something is not as it should be; or, of many nodes, a line a cluster.
 */
#include "ppctl.h"

/* ---- what is wrong with one ---- */

/* Does the sentence name one of the nodes already? */
static bool names_one(const char *words, const json_t *nodes)
{
	size_t index;
	json_t *node;
	json_array_foreach((json_t *)(uintptr_t)nodes, index, node)
		if (strstr(words, json_string_value(node)))
			return true;
	return false;
}

static void add_agent_trouble(struct intent_text *out, const json_t *place, const json_t *row,
			      bool brief)
{
	const char *state = ppctl_state(row), *agent = intent_json_string(row, "agent", "");
	const json_t *behind = json_object_get(place, "behind");
	intent_free_auto char *words = ppctl_message(row, brief);
	bool worst = !strcmp(state, intent_json_string(place, "state", ""));
	bool said = words && *words;

	if (!strcmp(state, "converged") || !strcmp(state, "absent"))
		return;
	/* What its own status would say of the hold is said with who and until when. */
	if (!strcmp(intent_json_string(place, "state", ""), "held") && !strcmp(agent, "setlive"))
		return;
	/* At work is no trouble. */
	if (worst && !said && !strcmp(state, "converging"))
		return;
	intent_text_printf(out, "%s%s%s%s%s", agent, worst && said ? "" : " ",
			   worst && said ? "" : state, said ? ": " : "", said ? words : "");
	if (!strcmp(agent, "setlive") && json_array_size(behind) &&
	    !names_one(words ? words : "", behind)) {
		intent_text_puts(out, ", behind ");
		ppctl_add_nodes(out, behind);
	}
	intent_text_puts(out, "\n");
}

static void add_absent(struct intent_text *out, const json_t *place)
{
	const char *agent;
	json_t *state;
	int count = 0;

	json_object_foreach(json_object_get(place, "agents"), agent, state)
		if (!strcmp(json_string_value(state), "absent"))
			intent_text_printf(out, "%s pp-%s",
					   count++ ? "," : "no word from", agent);
	if (count)
		intent_text_printf(out, ": %s running there?\n", count > 1 ? "are they" : "is it");
}

static void add_slot(struct intent_text *out, const json_t *slot)
{
	const char *failed = intent_json_string(slot, "failed", NULL);
	const char *instead = intent_json_string(slot, "instead", NULL);
	const char *version = intent_json_string(slot, "version", "?");
	intent_free_auto char *age = ppctl_age(intent_json_string(slot, "since", NULL));

	if (failed)
		intent_text_printf(out, "slot: %s failed: %s%s%s\n", version, failed,
				   instead ? "; runs instead: " : "", instead ? instead : "");
	else
		intent_text_printf(out, "slot for %s since %s\n", version, age ? age : "?");
}

/* Everything that a person should know of a place, a line each. rows: of its agents. brief: words that
 * are the same where the trouble is. */
static void add_troubles(struct intent_text *out, const json_t *place, const json_t *rows,
			 size_t at, size_t end, bool brief)
{
	const json_t *health = json_object_get(place, "health"), *hold;
	size_t index;

	add_absent(out, place);
	for (size_t i = at; i < end; i++)
		add_agent_trouble(out, place, json_array_get(rows, i), brief);
	if (health && !intent_json_boolean(health, "good", false))
		intent_text_printf(out, "health: %s%s%s\n",
				   intent_json_string(health, "state", "?"),
				   json_object_get(health, "reason") ? ": " : "",
				   intent_json_string(health, "reason", ""));
	if (json_object_get(place, "slot"))
		add_slot(out, json_object_get(place, "slot"));
	json_array_foreach(json_object_get(place, "holds"), index, hold)
		intent_text_printf(out, "held by %s\n", intent_json_string(hold, "words", ""));
	if (out->length)
		out->data[--out->length] = 0;
}

/* "1.1"; "1.0 -> 1.1" where another one still runs. */
static char *version_cell(const json_t *place, bool terminal)
{
	const char *active = intent_json_string(place, "active", "-");
	const char *runs = intent_json_string(place, "runs", active);
	intent_free_auto char *now = ppctl_version(runs, terminal);
	intent_free_auto char *then = ppctl_version(active, terminal);

	if (!strcmp(active, "-") || !strcmp(runs, active))
		return strdup(then);
	return intent_format("%s%s%s", now, terminal ? " → " : "->", then);
}

static const char *health_word(const json_t *place)
{
	const json_t *health = json_object_get(place, "health");
	const char *state = intent_json_string(health, "state", "-");
	/* Healthy, says somebody who is gone. */
	return !strcmp(state, "healthy") && !intent_json_boolean(health, "good", false) ? "stale" :
											   state;
}

/* ---- a line for each ---- */

enum { NODE, APP, CLUSTER, VERSION, STATE, HEALTH, SINCE, DETAIL };

static char *all_well(const json_t *place, size_t columns)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	size_t count = json_object_size(json_object_get(place, "agents"));
	const char *agent;
	json_t *state;

	if (columns && columns < 90)
		return intent_format("%zu agent%s", count, count == 1 ? "" : "s");
	json_object_foreach(json_object_get(place, "agents"), agent, state)
		intent_text_printf(&out, "%s%s", out.length ? ", " : "", agent);
	return intent_text_steal(&out);
}

/* One line is one application, for whoever counts them. Owned. */
static char *on_one_line(const char *lines)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	for (; *lines; lines++)
		intent_text_add(&out, *lines == '\n' ? "; " : lines, *lines == '\n' ? 2 : 1);
	return intent_text_steal(&out);
}

static void fill_line(struct ppctl_line *line, const json_t *place, const char *troubles,
		      size_t columns)
{
	bool terminal = columns > 0;
	const char *state = intent_json_string(place, "state", ""), *health = health_word(place);

	line->cell[NODE] = strdup(intent_json_string(place, "node", "-"));
	line->cell[APP] = strdup(intent_json_string(place, "app", "-"));
	line->cell[CLUSTER] = strdup(intent_json_string(place, "cluster", "-"));
	line->cell[VERSION] = version_cell(place, terminal);
	line->cell[STATE] = strdup(state);
	line->cell[HEALTH] = strdup(health);
	line->cell[SINCE] = ppctl_age(intent_json_string(place, "since", NULL));
	line->style[APP] = PPCTL_BOLD;
	line->style[STATE] = ppctl_style_of(state);
	line->style[HEALTH] = ppctl_style_of(health);
	line->style[SINCE] = PPCTL_DIM;
	line->settled = !*troubles;
	if (line->settled)
		line->cell[DETAIL] = all_well(place, columns);
	else if (terminal && strchr(troubles, '\n'))
		line->below = strdup(troubles);
	else
		line->cell[DETAIL] = on_one_line(troubles);
}

int ppctl_folded(struct intent_text *out, const json_t *document, size_t columns)
{
	const json_t *places = json_object_get(document, "applications");
	const json_t *rows = json_object_get(document, "slices"), *place;
	size_t count = json_array_size(places), at = 0, i;
	struct ppctl_line *lines = calloc(count + 1, sizeof(*lines));
	const struct ppctl_grid grid = {
		.columns = {[NODE] = {"NODE", 20, 0, !ppctl_several(rows, "node")},
			    [APP] = {"APP", 20, 0, false},
			    [CLUSTER] = {"CLUSTER", 16, 1, false},
			    [VERSION] = {"VERSION", 22, 4, false},
			    [STATE] = {"STATE", 10, 0, false},
			    [HEALTH] = {"HEALTH", 9, 3, false},
			    [SINCE] = {"SINCE", 6, 2, false},
			    [DETAIL] = {"DETAIL", 0, 0, false}},
		.count = DETAIL + 1,
		.least = 12,
	};

	json_array_foreach((json_t *)(uintptr_t)places, i, place) {
		intent_text_auto struct intent_text troubles = INTENT_TEXT_INIT;
		size_t end = at + json_object_size(json_object_get(place, "agents"));
		add_troubles(&troubles, place, rows, at, end, false);
		intent_free_auto char *text = strdup(intent_text_str(&troubles));
		fill_line(&lines[i], place, text ? text : "", columns);
		at = end;
	}
	int height = ppctl_grid(out, &grid, lines, count, columns);
	free(lines);
	if (columns) {
		height += ppctl_add_sum(out, places, columns);
	}
	return height;
}

/* ---- a line for each cluster ---- */

enum { S_APP, S_CLUSTER, S_VERSION, S_NODES, S_STATES };

/* Clusters by "app\ncluster", each {"first": place, "states": {state: count}, "groups": {what: [nodes]}}. */
static json_t *gather_clusters(const json_t *document)
{
	const json_t *rows = json_object_get(document, "slices"), *place;
	json_t *clusters = json_object();
	size_t at = 0, i;

	json_array_foreach(json_object_get(document, "applications"), i, place) {
		intent_text_auto struct intent_text troubles = INTENT_TEXT_INIT;
		const char *state = intent_json_string(place, "state", "");
		size_t end = at + json_object_size(json_object_get(place, "agents"));
		intent_free_auto char *key =
			intent_format("%s\n%s", intent_json_string(place, "app", ""),
				      intent_json_string(place, "cluster", "-"));
		json_t *cluster = json_object_get(clusters, key ? key : "");

		if (!cluster) {
			cluster = json_pack("{sO s{} s{}}", "first", place, "states", "groups");
			json_object_set_new(clusters, key ? key : "", cluster);
		}
		json_t *states = json_object_get(cluster, "states");
		json_object_set_new(states, state,
				    json_integer(intent_json_integer(states, state, 0) + 1));
		add_troubles(&troubles, place, rows, at, end, true);
		at = end;
		if (!troubles.length)
			continue;
		intent_free_auto char *what =
			intent_format("%s\n%s", state, intent_text_str(&troubles));
		json_t *groups = json_object_get(cluster, "groups");
		json_t *nodes = json_object_get(groups, what ? what : "");
		if (!nodes)
			json_object_set_new(groups, what ? what : "", nodes = json_array());
		json_array_append(nodes, json_object_get(place, "node"));
	}
	return clusters;
}

/* "187 converged, 10 waiting"; *ret_worst is static. Owned. */
static char *states_cell(const json_t *states, const char **ret_worst)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	*ret_worst = NULL;
	for (int i = 0; ppctl_severity[i]; i++) {
		int64_t count = intent_json_integer(states, ppctl_severity[i], 0);
		if (!count)
			continue;
		*ret_worst = *ret_worst ? *ret_worst : ppctl_severity[i];
		intent_text_printf(&out, "%s%lld %s", out.length ? ", " : "", (long long)count,
				   ppctl_severity[i]);
	}
	return intent_text_steal(&out);
}

/* "failing web[7,12]: setlive: ..." Owned. */
static char *groups_text(const json_t *groups)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	const char *what;
	json_t *nodes;

	for (int i = 0; ppctl_severity[i]; i++)
		json_object_foreach((json_t *)(uintptr_t)groups, what, nodes) {
			size_t length = strcspn(what, "\n");
			if (strlen(ppctl_severity[i]) != length ||
			    strncmp(ppctl_severity[i], what, length))
				continue;
			intent_text_printf(&out, "%s%s ", out.length ? "\n" : "",
					   ppctl_severity[i]);
			ppctl_add_nodes(&out, nodes);
			intent_text_puts(&out, ": ");
			intent_free_auto char *words = on_one_line(what + length + 1);
			intent_text_puts(&out, words ? words : "");
		}
	return out.length ? intent_text_steal(&out) : NULL;
}

int ppctl_summary(struct intent_text *out, const json_t *document, size_t columns)
{
	intent_json_auto json_t *clusters = gather_clusters(document);
	struct ppctl_line *lines = calloc(json_object_size(clusters) + 1, sizeof(*lines));
	static const struct ppctl_grid grid = {
		.columns = {[S_APP] = {"APP", 20, 0, false},
			    [S_CLUSTER] = {"CLUSTER", 16, 1, false},
			    [S_VERSION] = {"VERSION", 13, 2, false},
			    [S_NODES] = {"NODES", 6, 0, false},
			    [S_STATES] = {"STATES", 0, 0, false}},
		.count = S_STATES + 1,
		.least = 24,
	};
	const char *key, *worst;
	json_t *cluster;
	size_t count = 0;

	json_object_foreach(clusters, key, cluster) {
		const json_t *first = json_object_get(cluster, "first"), *states;
		struct ppctl_line *line = &lines[count++];
		int64_t nodes = 0;
		states = json_object_get(cluster, "states");
		for (int i = 0; ppctl_severity[i]; i++)
			nodes += intent_json_integer(states, ppctl_severity[i], 0);
		line->cell[S_APP] = strdup(intent_json_string(first, "app", "-"));
		line->cell[S_CLUSTER] = strdup(intent_json_string(first, "cluster", "-"));
		line->cell[S_VERSION] =
			ppctl_version(intent_json_string(first, "active", "-"), columns > 0);
		line->cell[S_NODES] = intent_format("%lld", (long long)nodes);
		line->cell[S_STATES] = states_cell(states, &worst);
		line->style[S_APP] = PPCTL_BOLD;
		line->style[S_STATES] = ppctl_style_of(worst ? worst : "");
		line->below = groups_text(json_object_get(cluster, "groups"));
	}
	int height = ppctl_grid(out, &grid, lines, count, columns);
	free(lines);
	return height;
}
