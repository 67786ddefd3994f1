/* status: intent beside reality, once, or in place while one watches or waits. */
#include "ppctl.h"

struct shown {
	struct ppctl *ctl;
	const char *app, *node, *cluster;
	bool json, watching, terminal, detailed, summary;
	json_t *last; /* the document shown last; owned */
	int height;   /* lines of the frame on the terminal */
	char trouble[512];
	int64_t deadline; /* --wait; 0: none */
};

static bool is_converged(const json_t *document)
{
	return intent_json_boolean(document, "converged", false) &&
		json_array_size(json_object_get(document, "slices"));
}

static int status_of(const struct shown *shown, const json_t *document)
{
	size_t index;
	json_t *row;
	json_array_foreach(json_object_get(document, "slices"), index, row)
		if (!strcmp(intent_json_string(row, "state", ""), "blocked"))
			return PPCTL_BLOCKED;
	if (!json_array_size(json_object_get(document, "slices")))
		return shown->app ? PPCTL_REFUSED : 0;
	return is_converged(document) ? 0 : PPCTL_AGAIN;
}

static void say_nothing_found(const struct shown *shown)
{
	const char *node = shown->node ? shown->node : "no node";

	if (shown->app)
		ppctl_say("%s %s %s%s%s; \"ppctl node add %s CLUSTER\" makes one that does", node,
			  shown->node ? "does not run" : "runs", shown->app,
			  shown->cluster ? " of cluster " : "",
			  shown->cluster ? shown->cluster : "", shown->app);
	else
		ppctl_say("%s runs %s yet; \"ppctl node add APP CLUSTER\" begins", node,
			  shown->node ? "nothing" : "anything");
}

/* Every node where that fits, else every cluster. lines: of the terminal; 0: as many as it takes. */
static void draw(const struct shown *shown, const json_t *document, struct intent_text *out,
		 int lines)
{
	size_t columns = (size_t)ppctl_columns();
	int height;

	if (shown->summary || shown->detailed) {
		(shown->summary ? ppctl_summary : ppctl_table)(out, document, columns);
		return;
	}
	height = ppctl_folded(out, document, columns);
	if (!lines || height <= lines)
		return;
	intent_text_clear(out);
	ppctl_summary(out, document, columns);
	intent_text_puts(out, "\n");
	ppctl_add(out, "Each node: ppctl status | less, or --node NODE", PPCTL_DIM, columns - 1,
		  0);
	intent_text_puts(out, "\n");
}

static void show_once(const struct shown *shown, const json_t *document)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	if (shown->json) {
		ppctl_print_json(document, false);
	} else if (!json_array_size(json_object_get(document, "slices"))) {
		say_nothing_found(shown);
	} else {
		draw(shown, document, &out, ppctl_columns() ? ppctl_lines() - 1 : 0);
		fputs(intent_text_str(&out), stdout);
	}
}

static void redraw(struct shown *shown)
{
	intent_text_auto struct intent_text frame = INTENT_TEXT_INIT;

	draw(shown, shown->last, &frame, ppctl_lines() - (*shown->trouble ? 2 : 1));
	if (*shown->trouble) {
		ppctl_add(&frame, shown->trouble, PPCTL_RED, (size_t)ppctl_columns() - 1, 0);
		intent_text_puts(&frame, "\n");
	}
	ppctl_redraw(&shown->height, intent_text_str(&frame));
}

/* Not a terminal: one line for each row that changed. */
static void show_changes(const json_t *before, const json_t *now)
{
	intent_json_auto json_t *known = json_object();
	json_t *row;
	size_t index;
	char time[32];

	intent_time_format(intent_time_now(), time);
	json_array_foreach(json_object_get(before, "slices"), index, row) {
		intent_free_auto char *name = intent_format(
			"%s/%s/%s", intent_json_string(row, "node", ""),
			intent_json_string(row, "app", ""), intent_json_string(row, "agent", ""));
		json_object_set(known, name ? name : "", row);
	}
	json_array_foreach(json_object_get(now, "slices"), index, row) {
		intent_free_auto char *name = intent_format(
			"%s/%s/%s", intent_json_string(row, "node", ""),
			intent_json_string(row, "app", ""), intent_json_string(row, "agent", ""));
		intent_free_auto char *words = ppctl_message(row, false);
		json_t *old = json_object_get(known, name ? name : "");
		if (old && json_equal(old, row))
			continue;
		printf("%s %s %s %s %s active=%s %s%s%s\n", time,
		       intent_json_string(row, "node", "-"), intent_json_string(row, "app", "-"),
		       intent_json_string(row, "cluster", "-"),
		       intent_json_string(row, "agent", "-"),
		       intent_json_string(row, "active", "-"), ppctl_state(row),
		       words && *words ? ": " : "", words ? words : "");
	}
}

/* ---- watching ---- */

/* Go on? No longer when --wait is over, or when nobody reads. */
static bool goes_on(const struct shown *shown)
{
	if (shown->deadline && is_converged(shown->last))
		return false;
	if (shown->deadline && intent_time_monotonic() >= shown->deadline)
		return false;
	return !fflush(stdout) && !ferror(stdout);
}

static bool on_change(struct intent_snapshot *snapshot, void *data)
{
	struct shown *shown = data;
	json_t *now = ppctl_fleet(snapshot, shown->app, shown->node, shown->cluster);

	if (shown->last && json_equal(shown->last, now)) {
		json_decref(now);
		return goes_on(shown);
	}
	if (shown->watching && !shown->terminal && shown->json)
		ppctl_print_json(now, true);
	else if (shown->watching && !shown->terminal)
		show_changes(shown->last, now);
	json_decref(shown->last);
	shown->last = now;
	if (shown->watching && shown->terminal)
		redraw(shown);
	return goes_on(shown);
}

/* Ages grow and terminals change their size. */
static bool on_tick(void *data)
{
	struct shown *shown = data;
	if (shown->watching && shown->terminal && shown->last)
		redraw(shown);
	return goes_on(shown);
}

static void on_trouble(const struct intent_error *err, void *data)
{
	struct shown *shown = data;
	snprintf(shown->trouble, sizeof(shown->trouble), "%s", err->code ? err->msg : "");
	if (!shown->terminal || !shown->watching)
		ppctl_say("ppctl: %s", err->code ? err->msg : "the store answers again");
	else if (shown->last)
		redraw(shown);
	else if (err->code)
		ppctl_say("%s", err->msg);
}

static int follow(struct shown *shown, struct intent_error *err)
{
	struct ppctl_watching watching = {
		.prefixes = ppctl_slice_prefixes,
		.each = on_change,
		.tick = on_tick,
		.trouble = on_trouble,
		.data = shown,
	};
	int code = ppctl_follow(shown->ctl, &watching, err);
	if (code)
		return code;
	if (!shown->last)
		return PPCTL_AGAIN;
	if (!shown->watching)
		show_once(shown, shown->last);
	return shown->deadline ? status_of(shown, shown->last) : 0;
}

/* This node when it runs what is asked for, else all; --all, --node and --cluster say otherwise. */
static const char *choose_node(struct ppctl *ctl, const struct intent_snapshot *snapshot, const char *app)
{
	intent_free_auto char *prefix = intent_format("nodes/%s/", ctl->node);
	intent_free_auto char *key = intent_format("nodes/%s/%s", ctl->node, app ? app : "");
	size_t count = 0;

	if (ppctl_flag(ctl, "all"))
		return NULL;
	if (ppctl_option(ctl, "node"))
		return ctl->node;
	if (ppctl_option(ctl, "cluster"))
		return NULL;
	if (app)
		return intent_snapshot_find(snapshot, key) ? ctl->node : NULL;
	/* Its marker alone says nothing about it. */
	intent_snapshot_range(snapshot, prefix, &count);
	return count > (intent_snapshot_find(snapshot, prefix) != NULL) ? ctl->node : NULL;
}

int ppctl_status(struct ppctl *ctl, struct intent_error *err)
{
	struct intent_snapshot *snapshot = NULL;
	struct shown shown = {
		.ctl = ctl,
		.app = ppctl_argument(ctl, 0),
		.cluster = ppctl_option(ctl, "cluster"),
		.json = ppctl_flag(ctl, "json"),
		.watching = ppctl_flag(ctl, "watch"),
		.detailed = ppctl_flag(ctl, "long"),
		.summary = ppctl_flag(ctl, "summary"),
	};
	int64_t wait = intent_json_integer(ctl->options, "wait", 0);
	int code = ppctl_look(ctl, &snapshot, err);

	if (code)
		return code;
	shown.node = choose_node(ctl, snapshot, shown.app);
	shown.terminal = ppctl_columns() && !shown.json;
	shown.deadline = wait ? intent_time_monotonic() + wait : 0;
	if (shown.watching || wait) {
		code = follow(&shown, err);
	} else {
		shown.last = ppctl_fleet(snapshot, shown.app, shown.node, shown.cluster);
		show_once(&shown, shown.last);
		code = status_of(&shown, shown.last);
	}
	intent_snapshot_unref(snapshot);
	json_decref(shown.last);
	return code;
}
