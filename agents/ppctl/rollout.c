/* rollout: how far a version has come, once or until it is over; and rollout retry. */
#include <intent/slots.h>
#include "ppctl.h"

#define SETTLE_MS 5000 /* an agent that is restarted is gone for a moment: no reason to give up */
#define BAR 30

struct following {
	struct ppctl *ctl;
	const char *app, *cluster;
	json_t *last; /* of ppctl_rollouts(); owned */
	struct intent_snapshot *snapshot;
	bool terminal, json;
	int height;
	char *said; /* without a terminal: the line that was printed last; owned */
	char trouble[512];
	int64_t over_since; /* 0: it goes on */
};

/* ---- its end ---- */

static const struct {
	const char *state;
	int status;
	enum ppctl_style style;
} ends[] = {
	{"done", 0, PPCTL_GREEN},
	{"none", PPCTL_REFUSED, PPCTL_DIM},
	{"rolling", PPCTL_AGAIN, PPCTL_CYAN},
	{"stuck", PPCTL_STUCK, PPCTL_YELLOW},
	{"failed", PPCTL_BLOCKED, PPCTL_RED},
};

static size_t end_of(const char *state)
{
	size_t i = 0;
	while (i + 1 < sizeof(ends) / sizeof(*ends) && strcmp(ends[i].state, state))
		i++;
	return i;
}

/* Of several clusters: one that goes on, else the worst. */
static const char *overall(const json_t *rollouts)
{
	size_t index, worst = 0;
	json_t *rollout;

	json_array_foreach((json_t *)(uintptr_t)rollouts, index, rollout) {
		const char *state = intent_json_string(rollout, "state", "");
		if (!strcmp(state, "rolling"))
			return "rolling";
		worst = end_of(state) > worst ? end_of(state) : worst;
	}
	return ends[worst].state;
}

/* ---- for people ---- */

/* An estimate has no tenths. */
static void format_seconds(int64_t seconds, char out[24])
{
	if (seconds < 60)
		snprintf(out, 24, "%llds", (long long)seconds);
	else
		intent_duration_format(seconds * 1000, out);
}

static void add_bar(struct intent_text *out, const json_t *rollout, size_t columns)
{
	intent_text_auto struct intent_text bar = INTENT_TEXT_INIT;
	const json_t *phases = json_object_get(rollout, "phases");
	size_t total = json_array_size(json_object_get(rollout, "nodes"));
	size_t done = (size_t)intent_json_integer(phases, "done", 0);
	size_t at = (size_t)intent_json_integer(phases, "progress", 0);
	size_t width = columns && columns < BAR + 34 ? (columns > 46 ? columns - 34 : 12) : BAR;
	int64_t left = intent_json_integer(rollout, "left_seconds", -1);
	char text[24];

	for (size_t i = 0; i < width; i++)
		intent_text_puts(&bar, i < done * width / total		? "█" :
				       i < (done + at) * width / total ? "▒" :
									 "░");
	ppctl_add(out, intent_text_str(&bar),
		  ends[end_of(intent_json_string(rollout, "state", ""))].style, 0, 0);
	intent_text_printf(out, "  %zu of %zu", done, total);
	if (left >= 0) {
		format_seconds(left, text);
		intent_text_printf(out, ", about %s left", text);
		format_seconds(intent_json_integer(rollout, "pace_seconds", 0), text);
		if (!columns || columns >= 76)
			intent_text_printf(out, " (%s a node)", text);
	}
	intent_text_puts(out, "\n");
}

/* What is said of a node beyond its phase. Owned; NULL: nothing. */
static char *about(const json_t *node)
{
	const json_t *slot = json_object_get(node, "slot");
	const char *why = intent_json_string(node, "why", NULL);
	intent_free_auto char *age = ppctl_age(intent_json_string(slot, "since", NULL));

	if (!slot || intent_json_string(slot, "failed", NULL))
		return why ? strdup(why) : NULL;
	return intent_format("slot since %s%s%s", *age ? age : "?", why ? "; " : "",
			     why ? why : "");
}

/* "failed  1  web7: not healthy within 30s": the nodes of a phase, by what is said of them. */
static void add_phase(struct intent_text *out, const json_t *rollout, const char *phase,
		      size_t columns)
{
	intent_json_auto json_t *groups = json_object();
	json_t *node, *names;
	const char *words;
	size_t index;
	bool first = true;

	json_array_foreach(json_object_get(rollout, "nodes"), index, node) {
		if (strcmp(intent_json_string(node, "phase", ""), phase))
			continue;
		intent_free_auto char *text = about(node);
		names = json_object_get(groups, text ? text : "");
		if (!names)
			json_object_set_new(groups, text ? text : "", names = json_array());
		json_array_append(names, json_object_get(node, "node"));
	}
	json_object_foreach(groups, words, names) {
		intent_text_auto struct intent_text line = INTENT_TEXT_INIT;
		intent_text_auto struct intent_text wrapped = INTENT_TEXT_INIT;
		enum ppctl_style style = !strcmp(phase, "done") ? PPCTL_GREEN :
			!strcmp(phase, "progress") || !strcmp(phase, "waiting") ? PPCTL_CYAN :
			!strcmp(phase, "held")	 ? PPCTL_YELLOW :
						   PPCTL_RED;
		intent_text_puts(out, "  ");
		ppctl_add(out, first ? phase : "", style, 0, 10);
		first = false;
		intent_text_printf(out, "%4zu  ", json_array_size(names));
		ppctl_add_nodes(&line, names);
		intent_text_printf(&line, "%s%s", *words ? ": " : "", words);
		ppctl_add_wrapped(&wrapped, intent_text_str(&line), PPCTL_PLAIN, 18, columns);
		intent_text_puts(out, intent_text_str(&wrapped) + 18);
		intent_text_puts(out, "\n");
	}
}

static void add_advice(struct intent_text *out, const json_t *rollout, size_t columns)
{
	const char *state = intent_json_string(rollout, "state", "");
	const char *app = intent_json_string(rollout, "app", "");
	const char *cluster = intent_json_string(rollout, "cluster", "");
	intent_free_auto char *words = NULL;

	if (!strcmp(state, "failed") && intent_json_boolean(rollout, "marked", false))
		words = intent_format("It failed and is tried nowhere else. Go back: ppctl rollback "
				      "%s --cluster %s. Once more: ppctl rollout retry %s "
				      "--cluster %s.",
				      app, cluster, app, cluster);
	else if (!strcmp(state, "stuck"))
		words = strdup("What is left will not go on by itself.");
	else if (!strcmp(state, "none"))
		words = intent_format("No version is active: ppctl activate %s VERSION", app);
	if (!words)
		return;
	ppctl_add_wrapped(out, words, PPCTL_PLAIN, 2, columns);
	intent_text_puts(out, "\n");
}

static void add_rollout(struct intent_text *out, const json_t *rollout, size_t columns)
{
	const char *state = intent_json_string(rollout, "state", "");
	const char *version = intent_json_string(rollout, "version", NULL);
	int64_t required = intent_json_integer(rollout, "min_nodes", 0);

	ppctl_add(out, intent_json_string(rollout, "app", ""), PPCTL_BOLD, 0, 0);
	intent_text_printf(out, " in %s", intent_json_string(rollout, "cluster", ""));
	if (version) {
		intent_text_puts(out, ": ");
		ppctl_add(out, version, PPCTL_BOLD, 0, 0);
		intent_text_puts(out, " ");
		ppctl_add(out, state, ends[end_of(state)].style, 0, 0);
	}
	if (required)
		intent_text_printf(out, ", min_nodes %lld", (long long)required);
	intent_text_puts(out, "\n");
	if (version) {
		add_bar(out, rollout, columns);
		for (int i = 0; ppctl_phases[i]; i++)
			add_phase(out, rollout, ppctl_phases[i], columns);
	}
	add_advice(out, rollout, columns);
}

static void add_all(struct intent_text *out, const json_t *rollouts, size_t columns)
{
	size_t index;
	json_t *rollout;

	json_array_foreach((json_t *)(uintptr_t)rollouts, index, rollout) {
		intent_text_puts(out, index ? "\n" : "");
		add_rollout(out, rollout, columns);
	}
}

/* One line for a log: "slug in prod: 1.1 rolling, 6 done, 1 progress, 3 waiting". Owned. */
static char *line_of(const json_t *rollouts)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	size_t index;
	json_t *rollout;

	json_array_foreach((json_t *)(uintptr_t)rollouts, index, rollout) {
		intent_text_printf(&out, "%s%s in %s: %s %s", index ? "; " : "",
				   intent_json_string(rollout, "app", ""),
				   intent_json_string(rollout, "cluster", ""),
				   intent_json_string(rollout, "version", "none"),
				   intent_json_string(rollout, "state", ""));
		for (int i = 0; ppctl_phases[i]; i++) {
			int64_t count = intent_json_integer(json_object_get(rollout, "phases"),
							    ppctl_phases[i], 0);
			if (count)
				intent_text_printf(&out, ", %lld %s", (long long)count,
						   ppctl_phases[i]);
		}
	}
	return intent_text_steal(&out);
}

static void show(const json_t *rollouts, bool json)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	intent_json_auto json_t *document =
		json_pack("{ss sO}", "state", overall(rollouts), "rollouts", rollouts);

	if (json) {
		ppctl_print_json(document, false);
		return;
	}
	add_all(&out, rollouts, (size_t)ppctl_columns());
	fputs(intent_text_str(&out), stdout);
}

/* ---- following ---- */

static void redraw(struct following *following)
{
	intent_text_auto struct intent_text frame = INTENT_TEXT_INIT;

	add_all(&frame, following->last, (size_t)ppctl_columns());
	if (*following->trouble) {
		ppctl_add(&frame, following->trouble, PPCTL_RED, (size_t)ppctl_columns() - 1, 0);
		intent_text_puts(&frame, "\n");
	}
	ppctl_redraw(&following->height, intent_text_str(&frame));
}

/* A line, or with --json a document, for every change of what it says. */
static void print_change(struct following *following)
{
	char time[32], *line = line_of(following->last);

	if (!line || (following->said && !strcmp(line, following->said))) {
		free(line);
		return;
	}
	free(following->said);
	following->said = line;
	intent_time_format(intent_time_now(), time);
	if (following->json) {
		intent_json_auto json_t *document =
			json_pack("{ss ss sO}", "time", time, "state", overall(following->last),
				  "rollouts", following->last);
		ppctl_print_json(document, true);
	} else {
		printf("%s %s\n", time, line);
	}
}

static bool any_marked(const json_t *rollouts)
{
	size_t index;
	json_t *rollout;
	json_array_foreach((json_t *)(uintptr_t)rollouts, index, rollout)
		if (intent_json_boolean(rollout, "marked", false))
			return true;
	return false;
}

/* Over is what is done or failed for good at once, and all else that stays so for a moment. */
static bool goes_on(struct following *following)
{
	const char *state = overall(following->last);
	int64_t now = intent_time_monotonic();

	if (fflush(stdout) || ferror(stdout))
		return false;
	if (!strcmp(state, "rolling")) {
		following->over_since = 0;
		return true;
	}
	if (!strcmp(state, "done") || (!strcmp(state, "failed") && any_marked(following->last)))
		return false;
	if (!following->over_since)
		following->over_since = now;
	return now - following->over_since < SETTLE_MS;
}

static bool look_again(struct following *following)
{
	json_decref(following->last);
	following->last =
		ppctl_rollouts(following->snapshot, following->app, following->cluster);
	if (following->terminal)
		redraw(following);
	else
		print_change(following);
	return goes_on(following);
}

static bool on_change(struct intent_snapshot *snapshot, void *data)
{
	struct following *following = data;
	intent_snapshot_unref(following->snapshot);
	following->snapshot = intent_snapshot_ref(snapshot);
	return look_again(following);
}

/* The estimate shrinks, and what waits too long is stuck, though nothing changes. */
static bool on_tick(void *data)
{
	struct following *following = data;
	return following->snapshot ? look_again(following) : true;
}

static void on_trouble(const struct intent_error *err, void *data)
{
	struct following *following = data;
	snprintf(following->trouble, sizeof(following->trouble), "%s", err->code ? err->msg : "");
	if (!following->terminal || !following->last)
		ppctl_say("ppctl: %s", err->code ? err->msg : "the store answers again");
	else
		redraw(following);
}

static int follow(struct following *following, struct intent_error *err)
{
	struct ppctl_watching watching = {
		.prefixes = ppctl_slice_prefixes,
		.each = on_change,
		.tick = on_tick,
		.trouble = on_trouble,
		.data = following,
	};
	int code = ppctl_follow(following->ctl, &watching, err);

	intent_snapshot_unref(following->snapshot);
	free(following->said);
	if (code)
		return code;
	return following->last ? ends[end_of(overall(following->last))].status : PPCTL_AGAIN;
}

int ppctl_rollout(struct ppctl *ctl, struct intent_error *err)
{
	struct following following = {
		.ctl = ctl,
		.app = ppctl_argument(ctl, 0),
		.cluster = ppctl_option(ctl, "cluster"),
		.json = ppctl_flag(ctl, "json"),
	};
	struct intent_snapshot *snapshot = NULL;
	int code = ppctl_look(ctl, &snapshot, err);

	if (code)
		return code;
	following.last = ppctl_rollouts(snapshot, following.app, following.cluster);
	intent_snapshot_unref(snapshot);
	following.terminal = ppctl_columns() && !following.json;
	if (!json_array_size(following.last)) {
		code = intent_fail(err, INTENT_EABSENT,
				   "no node runs %s%s%s; \"ppctl node add %s CLUSTER\" makes one",
				   following.app, following.cluster ? " of cluster " : "",
				   following.cluster ? following.cluster : "", following.app);
	} else if (ppctl_flag(ctl, "watch")) {
		code = follow(&following, err);
	} else {
		show(following.last, following.json);
		code = ends[end_of(overall(following.last))].status;
	}
	json_decref(following.last);
	return code;
}

/* ---- retry ---- */

static int retry_once(struct ppctl *ctl, const char *app, const char *cluster, bool *ret_lifted,
		      struct intent_error *err)
{
	struct intent_slots slots = {0};
	intent_json_auto json_t *next = NULL;
	int code = intent_slots_read(ctl->store, app, cluster, &slots, err);

	if (code)
		return code;
	code = intent_slots_retry(slots.document, &next, err);
	*ret_lifted = next != NULL;
	if (!code && next)
		code = intent_slots_write(ctl->store, &slots, next, err);
	intent_slots_release(&slots);
	return code;
}

static int retry(struct ppctl *ctl, const char *app, const char *cluster, struct intent_error *err)
{
	struct ppctl_patience patience = {0};
	bool lifted = false;
	int code;

	do
		code = retry_once(ctl, app, cluster, &lifted, err);
	while (code && ppctl_again(&patience, err));
	if (code)
		return code;
	if (lifted || patience.maybe)
		ppctl_say("%s in %s: tried once more", app, cluster);
	else
		ppctl_say("%s in %s: nothing is marked as failed (as before)", app, cluster);
	return 0;
}

int ppctl_rollout_retry(struct ppctl *ctl, struct intent_error *err)
{
	const char *app = ppctl_argument(ctl, 0), *cluster = ppctl_option(ctl, "cluster");
	intent_free_auto char *prefix = intent_format("locks/%s/", app);
	struct intent_snapshot *found = NULL;
	struct intent_store *store;
	int code = ppctl_store(ctl, &store, err);

	if (code || cluster)
		return code ? code : retry(ctl, app, cluster, err);
	code = ppctl_list(ctl, prefix, &found, err);
	for (size_t i = 0; !code && i < found->count; i++) {
		const char *name = found->entries[i].key + strlen(prefix);
		size_t length = strcspn(name, "/");
		if (strcmp(name + length, "/shutdown"))
			continue;
		intent_free_auto char *one = strndup(name, length);
		code = retry(ctl, app, one, err);
	}
	if (!code && !found->count)
		ppctl_say("%s: nothing is marked as failed (as before)", app);
	intent_snapshot_unref(found);
	return code;
}
