/* How far the active version has come in a cluster, and how long the rest may take: from documents alone. */
#include <intent/slots.h>
#include "ppctl.h"

#define STUCK_MS 120000 /* so long waits a node while nobody holds a slot: that is no queue */

const char *const ppctl_phases[] = {"done",	 "progress", "waiting", "failed",
				    "unhealthy", "held",     "absent",	NULL};

struct judging {
	const struct intent_snapshot *snapshot;
	const char *app, *cluster, *active;
	char target[17];
	const json_t *slots; /* the shutdown document; borrowed */
	int64_t now_ms;
};

static json_t *cluster_document(const struct judging *judging, const char *name)
{
	intent_free_auto char *key =
		intent_format("clusters/%s/%s/%s", judging->app, judging->cluster, name);
	const struct intent_entry *entry =
		key ? intent_snapshot_find(judging->snapshot, key) : NULL;
	return entry ? ppctl_document(entry) : NULL;
}

/* ---- one node ---- */

/* A slot whose version is another one by now, or has other configuration, is no mark of this one. */
static bool is_marked(const struct judging *judging, const json_t *slot)
{
	return intent_json_string(slot, "failed", NULL) &&
		!strcmp(intent_json_string(slot, "target", ""), judging->target);
}

static bool any_marked(const struct judging *judging)
{
	return intent_slots_marked(judging->slots, judging->target, NULL) != NULL;
}

static const json_t *row_of(const json_t *rows, const json_t *place, const char *agent)
{
	size_t i;
	json_t *row;
	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
		if (json_equal(json_object_get(row, "node"), json_object_get(place, "node")) &&
		    !strcmp(intent_json_string(row, "agent", ""), agent))
			return row;
	return NULL;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return !strcmp(word, a) || !strcmp(word, b);
}

/*
 * Which of ppctl_phases, and why in a sentence (owned; NULL: nothing to say). setlive decides what
 * runs; the preparer is heard only where it stands in the way.
 */
static const char *phase_of(const struct judging *judging, const json_t *rows,
			    const json_t *place, char **ret_why)
{
	const json_t *setlive = row_of(rows, place, "setlive"), *health, *slot, *hold;
	const json_t *preparer = row_of(rows, place, "preparer");
	const char *state = ppctl_state(setlive);

	health = json_object_get(place, "health");
	slot = json_object_get(place, "slot");
	hold = json_array_get(json_object_get(place, "holds"), 0);
	if (is_marked(judging, slot)) {
		const char *instead = intent_json_string(slot, "instead", NULL);
		*ret_why = intent_format("%s%s%s", intent_json_string(slot, "failed", ""),
					 instead ? "; runs instead: " : "", instead ? instead : "");
		return "failed";
	}
	if (!strcmp(state, "absent")) {
		*ret_why = ppctl_message(setlive, true);
		return "absent";
	}
	if (!strcmp(state, "converged") && !slot) {
		bool good = !health || intent_json_boolean(health, "good", false);
		if (!good)
			*ret_why = strdup(intent_json_string(health, "reason", "its fact is stale"));
		return good ? "done" : "unhealthy";
	}
	if (hold && !slot) {
		*ret_why = strdup(intent_json_string(hold, "words", ""));
		return "held";
	}
	if (!slot && any_marked(judging)) {
		*ret_why = strdup("not tried: it failed elsewhere");
		return "waiting";
	}
	const json_t *trouble = is_one_of(state, "blocked", "failing") ? setlive :
		preparer && is_one_of(ppctl_state(preparer), "blocked", "failing") ? preparer :
										     NULL;
	*ret_why = ppctl_message(trouble ? trouble : setlive, true);
	if (trouble)
		return "failed";
	return slot || !strcmp(state, "converging") ? "progress" : "waiting";
}

/* ---- the pace ---- */

static int compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/*
 * Milliseconds from one node done to the next, in this rollout: back from the last until a gap is
 * much longer than those after it, which is where an earlier one ended. 0: not known.
 */
static int64_t pace_of(int64_t *times, size_t count)
{
	size_t first = count;

	qsort(times, count, sizeof(*times), compare_times);
	for (; first > 1; first--) {
		size_t gaps = count - first;
		int64_t mean = gaps ? (times[count - 1] - times[first - 1]) / (int64_t)gaps : 0;
		if (gaps && times[first - 1] - times[first - 2] > 4 * mean + 60000)
			break;
	}
	if (first)
		first--;
	return count > first + 1 ? (times[count - 1] - times[first]) / (int64_t)(count - first - 1) :
				   0;
}

/* "pace_seconds" and "left_seconds", where there is something to tell them from. */
static void add_estimate(const struct judging *judging, json_t *rollout)
{
	const json_t *nodes = json_object_get(rollout, "nodes"), *phases, *node;
	size_t count = 0, index;
	int64_t *times = calloc(json_array_size(nodes) + 1, sizeof(*times));

	phases = json_object_get(rollout, "phases");
	int64_t rest = intent_json_integer(phases, "progress", 0) +
		intent_json_integer(phases, "waiting", 0);
	json_array_foreach((json_t *)(uintptr_t)nodes, index, node) {
		int64_t since = ppctl_time(intent_json_string(node, "since", NULL));
		if (since >= 0 && !strcmp(intent_json_string(node, "phase", ""), "done"))
			times[count++] = since;
	}
	int64_t pace = times ? pace_of(times, count) : 0;
	/* What is marked is not tried any more. */
	if (pace > 0 && rest && !any_marked(judging) && !strcmp(intent_json_string(rollout, "state", ""), "rolling")) {
		int64_t left = rest * pace - (judging->now_ms - times[count - 1]);
		left = left < (rest - 1) * pace ? (rest - 1) * pace : left;
		json_object_set_new(rollout, "pace_seconds", json_integer((pace + 999) / 1000));
		json_object_set_new(rollout, "left_seconds", json_integer((left + 999) / 1000));
	}
	free(times);
}

/* ---- one cluster ---- */

/* Waits, as far as it says, for nobody: long, while nobody has a slot. */
static bool waits_in_vain(const struct judging *judging, const json_t *nodes)
{
	size_t index;
	json_t *node;
	json_array_foreach((json_t *)(uintptr_t)nodes, index, node)
		if (!strcmp(intent_json_string(node, "phase", ""), "waiting") &&
		    (!strcmp(intent_json_string(node, "state", ""), "pending") ||
		     judging->now_ms - ppctl_time(intent_json_string(node, "since", NULL)) <
			     STUCK_MS))
			return false;
	return true;
}

static const char *outcome(const struct judging *judging, const json_t *rollout)
{
	const json_t *phases = json_object_get(rollout, "phases");
	const json_t *nodes = json_object_get(rollout, "nodes");
	int64_t waiting = intent_json_integer(phases, "waiting", 0);

	if (intent_json_integer(phases, "done", 0) == (int64_t)json_array_size(nodes))
		return "done";
	if (intent_json_integer(phases, "progress", 0))
		return "rolling";
	if (intent_json_integer(phases, "failed", 0))
		return "failed";
	return waiting && !waits_in_vain(judging, nodes) ? "rolling" : "stuck";
}

static json_t *describe_node(const struct judging *judging, const json_t *rows,
			     const json_t *place, json_t *phases)
{
	const json_t *setlive = row_of(rows, place, "setlive");
	char *why = NULL;
	const char *phase = phase_of(judging, rows, place, &why);
	const char *since = intent_json_string(setlive, "since", NULL);
	const char *fact_since =
		intent_json_string(json_object_get(place, "health"), "since", NULL);

	/* It is done when both say so. */
	if (!strcmp(phase, "done") && ppctl_time(fact_since) > ppctl_time(since))
		since = fact_since;
	json_object_set_new(phases, phase,
			    json_integer(intent_json_integer(phases, phase, 0) + 1));
	json_t *node = json_pack("{sO ss ss ss* ss* sO* sO*}", "node",
				 json_object_get(place, "node"), "phase", phase, "state",
				 ppctl_state(setlive), "since", since, "why", why && *why ? why : NULL,
				 "runs", json_object_get(place, "runs"), "slot",
				 json_object_get(place, "slot"));
	free(why);
	return node;
}

static json_t *judge(struct judging *judging)
{
	intent_json_auto json_t *config = cluster_document(judging, "config");
	intent_json_auto json_t *deploy = cluster_document(judging, "deploy_config");
	intent_json_auto json_t *fleet =
		ppctl_fleet(judging->snapshot, judging->app, NULL, judging->cluster);
	intent_free_auto char *key =
		intent_format("locks/%s/%s/shutdown", judging->app, judging->cluster);
	const struct intent_entry *entry =
		key ? intent_snapshot_find(judging->snapshot, key) : NULL;
	intent_json_auto json_t *slots = entry ? ppctl_document(entry) : NULL;
	json_t *nodes = json_array(), *phases = json_object(), *place;
	size_t index;

	judging->active = intent_config_active(config);
	judging->slots = slots;
	intent_slots_target(config, deploy, judging->target);
	json_t *rollout = json_pack("{ss ss ss* ss sI so so}", "app", judging->app, "cluster",
				    judging->cluster, "version", judging->active, "target",
				    judging->target, "min_nodes",
				    (json_int_t)intent_json_integer(config, "min_nodes", 0),
				    "nodes", nodes, "phases", phases);
	json_array_foreach(json_object_get(fleet, "applications"), index, place)
		json_array_append_new(nodes, describe_node(judging, json_object_get(fleet, "slices"),
							   place, phases));
	json_object_set_new(rollout, "state",
			    json_string(judging->active ? outcome(judging, rollout) : "none"));
	json_object_set_new(rollout, "marked", json_boolean(any_marked(judging)));
	add_estimate(judging, rollout);
	return rollout;
}

json_t *ppctl_rollouts(const struct intent_snapshot *snapshot, const char *app,
		       const char *cluster)
{
	intent_json_auto json_t *fleet = ppctl_fleet(snapshot, app, NULL, cluster);
	intent_json_auto json_t *seen = json_object();
	json_t *rollouts = json_array(), *place, *ignored;
	const char *name;
	size_t index;

	json_array_foreach(json_object_get(fleet, "applications"), index, place)
		if (intent_json_string(place, "cluster", NULL))
			json_object_set_new(seen, intent_json_string(place, "cluster", ""),
					    json_true());
	json_object_foreach(seen, name, ignored) {
		struct judging judging = {.snapshot = snapshot,
					  .app = app,
					  .cluster = name,
					  .now_ms = intent_time_now()};
		json_array_append_new(rollouts, judge(&judging));
	}
	return rollouts;
}
