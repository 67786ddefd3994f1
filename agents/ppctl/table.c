/* The rows of slices.c as a table for people, one line an agent; what fold.c says of them, too. */
#include "ppctl.h"

/* ---- cells ---- */

static const struct {
	const char *state;
	enum ppctl_style style;
} state_styles[] = {
	{"converged", PPCTL_GREEN}, {"converging", PPCTL_YELLOW}, {"pending", PPCTL_YELLOW},
	{"waiting", PPCTL_CYAN},    {"blocked", PPCTL_RED},       {"failing", PPCTL_RED},
	{"malformed", PPCTL_RED},   {"absent", PPCTL_RED},       {"held", PPCTL_CYAN},
	{"healthy", PPCTL_GREEN},   {"unhealthy", PPCTL_RED},    {"unknown", PPCTL_YELLOW},
};

enum ppctl_style ppctl_style_of(const char *state)
{
	for (size_t i = 0; i < sizeof(state_styles) / sizeof(*state_styles); i++)
		if (!strcmp(state, state_styles[i].state))
			return state_styles[i].style;
	return PPCTL_PLAIN;
}

int64_t ppctl_time(const char *text)
{
	struct intent_error ignored;
	int64_t ms;
	return text && !intent_time_parse(text, &ms, &ignored) ? ms : -1;
}

char *ppctl_age(const char *since)
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	int64_t then = ppctl_time(since), seconds = (intent_time_now() - then) / 1000;
	if (then < 0)
		return strdup("");
	for (size_t i = 0; i < 4; i++)
		if (seconds >= units[i].seconds)
			return intent_format("%lld%c", (long long)(seconds / units[i].seconds),
					     units[i].unit);
	return strdup("now");
}

char *ppctl_version(const char *name, bool terminal)
{
	size_t length = strlen(name);
	bool hash = terminal && length >= 20 && strspn(name, "0123456789abcdef") == length;
	return intent_format("%.*s", hash ? 12 : (int)length, name);
}

static char *prepared(const json_t *row, bool terminal)
{
	json_t *list = json_object_get(row, "prep");
	size_t count = json_array_size(list);
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	for (size_t i = 0; i < count && (!terminal || i < 1); i++) {
		intent_free_auto char *name =
			ppctl_version(json_string_value(json_array_get(list, i)), terminal);
		intent_text_printf(&out, "%s%s", i ? "," : "", name ? name : "");
	}
	if (terminal && count > 1)
		intent_text_printf(&out, " +%zu", count - 1);
	return count ? intent_text_steal(&out) : strdup("-");
}

const char *ppctl_state(const json_t *row)
{
	const char *state = intent_json_string(row, "state", "");
	/* What it said was about an earlier intent. */
	return !strcmp(state, "converged") && !intent_json_boolean(row, "current", true) ?
		"pending" :
		state;
}

/* What it is at just now, as agents publish it: "fetching 1.1, 42% of 30.1 MiB". */
static void add_progress(struct intent_text *out, const json_t *row)
{
	const json_t *progress = json_object_get(json_object_get(row, "detail"), "progress");
	const char *doing = intent_json_string(progress, "doing", NULL);
	const char *phase = intent_json_string(progress, "phase", doing);
	const char *of = intent_json_string(progress, "version", NULL);
	int64_t done = intent_json_integer(progress, "bytes", 0);
	int64_t total = intent_json_integer(progress, "total", 0);
	char size[24];

	if (!phase)
		return;
	intent_text_printf(out, "%s%s%s%s", out->length ? "; " : "", phase, of ? " " : "", of ? of : "");
	intent_size_format((uint64_t)(total > 0 ? total : done), size);
	if (total > 0)
		intent_text_printf(out, ", %d%% of %s", (int)(100.0 * (double)done / (double)total), size);
	else if (done > 0)
		intent_text_printf(out, ", %s", size);
}

char *ppctl_message(const json_t *row, bool brief)
{
	const char *state = ppctl_state(row), *said = intent_json_string(row, "message", "");
	const char *reason = intent_json_string(row, "reason", "");
	int64_t attempts = intent_json_integer(row, "attempts", 0);
	int64_t next =
		ppctl_time(intent_json_string(row, "next_attempt", NULL)) - intent_time_now();
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	if (!strcmp(state, "absent"))
		return intent_format("no word from pp-%s: is it running there?",
				     intent_json_string(row, "agent", ""));
	if (!strcmp(state, "malformed"))
		return strdup("its status is not JSON with a state");
	if (!strcmp(state, "pending"))
		return strdup("intent has changed since; no word yet");
	if (*said)
		intent_text_puts(&out, said);
	else if (strcmp(state, "converged") && strcmp(reason, "Working"))
		intent_text_puts(&out, reason);
	add_progress(&out, row);
	if (brief)
		return out.length ? intent_text_steal(&out) : strdup("");
	if (attempts > 1)
		intent_text_printf(&out, "%stried %lld times", out.length ? "; " : "",
				   (long long)attempts);
	if (next >= 1000 && attempts > 0) {
		char again[24];
		intent_duration_format(next / 1000 * 1000, again);
		intent_text_printf(&out, "%sagain in %s", out.length ? ", " : "", again);
	}
	return out.length ? intent_text_steal(&out) : strdup("");
}

static bool same_place(const json_t *a, const json_t *b)
{
	return a && b && json_equal(json_object_get(a, "node"), json_object_get(b, "node")) &&
		json_equal(json_object_get(a, "app"), json_object_get(b, "app"));
}

/* ---- the table ---- */

enum column { NODE, APP, CLUSTER, ACTIVE, PREP, AGENT, STATE, SINCE, MESSAGE };

static void fill_line(struct ppctl_line *line, const json_t *row, const json_t *above,
		      bool terminal)
{
	const char *active = intent_json_string(row, "active", NULL), *state = ppctl_state(row);

	if (!terminal || !same_place(row, above)) {
		line->cell[NODE] = strdup(intent_json_string(row, "node", "-"));
		line->cell[APP] = strdup(intent_json_string(row, "app", "-"));
		line->cell[CLUSTER] = strdup(intent_json_string(row, "cluster", "-"));
		line->cell[ACTIVE] = active ? ppctl_version(active, terminal) : strdup("-");
		line->cell[PREP] = prepared(row, terminal);
	}
	line->cell[AGENT] = strdup(intent_json_string(row, "agent", "-"));
	line->cell[STATE] = strdup(state);
	line->cell[SINCE] = ppctl_age(intent_json_string(row, "since", NULL));
	line->cell[MESSAGE] = ppctl_message(row, false);
	line->style[APP] = PPCTL_BOLD;
	line->style[PREP] = line->style[SINCE] = PPCTL_DIM;
	line->style[STATE] = ppctl_style_of(state);
	line->settled = !strcmp(state, "converged");
}

bool ppctl_several(const json_t *rows, const char *member)
{
	size_t index;
	json_t *row;
	json_array_foreach((json_t *)(uintptr_t)rows, index, row)
		if (!json_equal(json_object_get(row, member),
				json_object_get(json_array_get(rows, 0), member)))
			return true;
	return false;
}

int ppctl_add_sum(struct intent_text *out, const json_t *rows, size_t columns)
{
	size_t used = 0;
	int height = 2;

	intent_text_puts(out, "\n");
	for (size_t i = 0; i < sizeof(state_styles) / sizeof(*state_styles); i++) {
		size_t count = 0, index;
		json_t *row;
		json_array_foreach((json_t *)(uintptr_t)rows, index, row)
			count += !strcmp(ppctl_state(row), state_styles[i].state);
		intent_free_auto char *words =
			intent_format("%zu %s", count, state_styles[i].state);
		if (!count)
			continue;
		bool wraps = used && used + 2 + strlen(words ? words : "") >= columns;
		intent_text_puts(out, wraps ? "\n" : used ? "  " : "");
		ppctl_add(out, words ? words : "", state_styles[i].style, 0, 0);
		height += wraps;
		used = (wraps || !used ? 0 : used + 2) + strlen(words ? words : "");
	}
	intent_text_puts(out, "\n");
	return height;
}

int ppctl_table(struct intent_text *out, const json_t *document, size_t columns)
{
	json_t *rows = json_object_get(document, "slices");
	size_t count = json_array_size(rows);
	struct ppctl_line *lines = calloc(count + 1, sizeof(*lines));
	const struct ppctl_grid grid = {
		.columns = {[NODE] = {"NODE", 20, 4, !ppctl_several(rows, "node")},
			    [APP] = {"APP", 20, 0, false},
			    [CLUSTER] = {"CLUSTER", 16, 3, false},
			    [ACTIVE] = {"ACTIVE", 13, 5, false},
			    [PREP] = {"PREP", 16, 2, false},
			    [AGENT] = {"AGENT", 17, 0, false},
			    [STATE] = {"STATE", 10, 0, false},
			    [SINCE] = {"SINCE", 6, 1, false},
			    [MESSAGE] = {"MESSAGE", 0, 0, false}},
		.count = MESSAGE + 1,
		.least = 24,
	};

	for (size_t i = 0; i < count; i++)
		fill_line(&lines[i], json_array_get(rows, i),
			  i ? json_array_get(rows, i - 1) : NULL, columns > 0);
	int height = ppctl_grid(out, &grid, lines, count, columns);
	free(lines);
	if (columns) {
		height += ppctl_add_sum(out, rows, columns);
	}
	return height;
}
