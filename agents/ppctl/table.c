/* The rows of slices.c as a table for people. */
#include "ppctl.h"

enum column { NODE, APP, CLUSTER, ACTIVE, PREP, AGENT, STATE, SINCE, MESSAGE, COLUMNS };

static const char *const titles[] = {"NODE",  "APP",   "CLUSTER", "ACTIVE", "PREP",
				     "AGENT", "STATE", "SINCE",   "MESSAGE"};
/* On a terminal no column but the last grows beyond this; the last one gets what remains. */
static const size_t widest[] = {20, 20, 16, 13, 16, 17, 10, 6, 0};
/* What a narrow terminal does without, in this order. */
static const enum column dispensable[] = {SINCE, PREP, CLUSTER, NODE, ACTIVE};

#define MESSAGE_LEAST 24
#define INDENT 6 /* of a message below its row */

struct table {
	size_t width[COLUMNS]; /* 0: not shown */
	size_t columns;
	bool terminal;
};

struct line {
	char *cell[COLUMNS]; /* owned */
	enum ppctl_style state;
	bool repeats; /* same application and node as the line above */
	bool settled;
};

/* ---- cells ---- */

static const struct {
	const char *state;
	enum ppctl_style style;
} state_styles[] = {
	{"converged", PPCTL_GREEN}, {"converging", PPCTL_YELLOW}, {"pending", PPCTL_YELLOW},
	{"waiting", PPCTL_CYAN},    {"blocked", PPCTL_RED},       {"failing", PPCTL_RED},
	{"malformed", PPCTL_RED},   {"absent", PPCTL_DIM},
};

/* Unix ms of an RFC 3339 time in UTC, or -1. */
static int64_t parse_time(const char *text)
{
	struct tm tm = {0};
	return text && strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) * 1000 :
								  -1;
}

static char *age(const char *since)
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	int64_t then = parse_time(since), seconds = (intent_time_now() - then) / 1000;
	if (then < 0)
		return strdup("");
	for (size_t i = 0; i < 4; i++)
		if (seconds >= units[i].seconds)
			return intent_format("%lld%c", (long long)(seconds / units[i].seconds),
					     units[i].unit);
	return strdup("now");
}

/* A git revision is known by its beginning. */
static char *version(const char *name, bool terminal)
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
			version(json_string_value(json_array_get(list, i)), terminal);
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

char *ppctl_message(const json_t *row)
{
	const char *state = ppctl_state(row), *said = intent_json_string(row, "message", "");
	const char *reason = intent_json_string(row, "reason", "");
	int64_t attempts = intent_json_integer(row, "attempts", 0);
	int64_t next =
		parse_time(intent_json_string(row, "next_attempt", NULL)) - intent_time_now();
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	if (!strcmp(state, "absent"))
		return intent_format("no word from pp-%s: is it running on %s?",
				     intent_json_string(row, "agent", ""),
				     intent_json_string(row, "node", ""));
	if (!strcmp(state, "malformed"))
		return strdup("its status is not JSON with a state");
	if (!strcmp(state, "pending"))
		return strdup("intent has changed since; no word yet");
	if (*said)
		intent_text_puts(&out, said);
	else if (strcmp(state, "converged") && strcmp(reason, "Working"))
		intent_text_puts(&out, reason);
	add_progress(&out, row);
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

static void fill_line(struct line *line, const json_t *row, const json_t *above, bool terminal)
{
	const char *active = intent_json_string(row, "active", NULL), *state = ppctl_state(row);

	line->cell[NODE] = strdup(intent_json_string(row, "node", "-"));
	line->cell[APP] = strdup(intent_json_string(row, "app", "-"));
	line->cell[CLUSTER] = strdup(intent_json_string(row, "cluster", "-"));
	line->cell[ACTIVE] = active ? version(active, terminal) : strdup("-");
	line->cell[PREP] = prepared(row, terminal);
	line->cell[AGENT] = strdup(intent_json_string(row, "agent", "-"));
	line->cell[STATE] = strdup(state);
	line->cell[SINCE] = age(intent_json_string(row, "since", NULL));
	line->cell[MESSAGE] = ppctl_message(row);
	line->repeats = terminal && same_place(row, above);
	line->settled = !strcmp(state, "converged");
	for (size_t i = 0; i < sizeof(state_styles) / sizeof(*state_styles); i++)
		if (!strcmp(state, state_styles[i].state))
			line->state = state_styles[i].style;
	for (int c = 0; c < COLUMNS; c++) {
		bool empty = !line->cell[c] || !*line->cell[c];
		/* Programs count columns. */
		if (empty && !terminal && c < MESSAGE) {
			free(line->cell[c]);
			line->cell[c] = strdup("-");
		} else if (!line->cell[c]) {
			line->cell[c] = strdup("");
		}
	}
}

/* ---- the table ---- */

static bool several_nodes(const json_t *rows)
{
	size_t index;
	json_t *row;
	json_array_foreach((json_t *)(uintptr_t)rows, index, row)
		if (!json_equal(json_object_get(row, "node"),
				json_object_get(json_array_get(rows, 0), "node")))
			return true;
	return false;
}

static size_t width_of(const struct table *table)
{
	size_t total = 0;
	for (int c = 0; c < MESSAGE; c++)
		total += table->width[c] ? table->width[c] + 2 : 0;
	return total;
}

/* Every column as wide as it needs; on a terminal the message takes the rest of the line. */
static void lay_out(struct table *table, const struct line *lines, size_t count, bool nodes,
		    size_t columns)
{
	for (int c = 0; c < COLUMNS; c++) {
		table->width[c] = strlen(titles[c]);
		for (size_t i = 0; i < count; i++) {
			size_t width = ppctl_width(lines[i].cell[c]);
			table->width[c] = width > table->width[c] ? width : table->width[c];
		}
		if (columns && widest[c] && table->width[c] > widest[c])
			table->width[c] = widest[c];
	}
	if (!nodes && columns)
		table->width[NODE] = 0;
	table->terminal = columns > 0;
	table->columns = columns > INDENT + 20 ? columns : INDENT + 20;
	for (size_t i = 0; columns && width_of(table) + MESSAGE_LEAST > columns &&
	     i < sizeof(dispensable) / sizeof(*dispensable);
	     i++)
		table->width[dispensable[i]] = 0;
	if (columns)
		table->width[MESSAGE] =
			columns > width_of(table) + 8 ? columns - width_of(table) - 1 : 8;
}

/* A message that calls for a person is shown whole: below its row where it does not fit. */
static int add_message(struct intent_text *out, const struct table *table,
		       const struct line *line)
{
	const char *text = line->cell[MESSAGE];
	size_t width = table->width[MESSAGE];

	if (!table->terminal || line->settled || ppctl_width(text) <= width) {
		ppctl_add(out, text, line->settled ? PPCTL_DIM : PPCTL_PLAIN,
			  table->terminal ? width : 0, 0);
		return 1;
	}
	intent_text_puts(out, "\n");
	return 1 + ppctl_add_wrapped(out, text, PPCTL_PLAIN, INDENT, table->columns);
}

static int add_line(struct intent_text *out, const struct table *table, const struct line *line)
{
	for (int c = 0; c < MESSAGE; c++) {
		bool again = line->repeats && c <= PREP;
		enum ppctl_style style = c == STATE ? line->state :
			c == APP                    ? PPCTL_BOLD :
			c == SINCE || c == PREP     ? PPCTL_DIM :
						      PPCTL_PLAIN;
		if (!table->width[c])
			continue;
		ppctl_add(out, again ? "" : line->cell[c], style,
			  table->terminal ? table->width[c] : 0, table->width[c]);
		intent_text_puts(out, "  ");
	}
	int height = add_message(out, table, line);
	while (out->length && out->data[out->length - 1] == ' ')
		out->data[--out->length] = 0;
	intent_text_puts(out, "\n");
	return height;
}

static void add_titles(struct intent_text *out, const struct table *table)
{
	for (int c = 0; c < COLUMNS; c++)
		if (table->width[c])
			ppctl_add(out, titles[c], PPCTL_DIM, 0,
				  c < MESSAGE ? table->width[c] + 2 : 0);
	intent_text_puts(out, "\n");
}

static void add_sum(struct intent_text *out, const json_t *rows)
{
	size_t total = json_array_size(rows), index;
	json_t *row;

	intent_text_puts(out, "\n");
	for (size_t i = 0; i < sizeof(state_styles) / sizeof(*state_styles); i++) {
		size_t count = 0;
		json_array_foreach((json_t *)(uintptr_t)rows, index, row)
			count += !strcmp(ppctl_state(row), state_styles[i].state);
		intent_free_auto char *words =
			intent_format("%zu %s", count, state_styles[i].state);
		if (!count)
			continue;
		ppctl_add(out, words ? words : "", state_styles[i].style, 0, 0);
		intent_text_puts(out, count == total ? "" : "  ");
	}
	intent_text_puts(out, "\n");
}

int ppctl_table(struct intent_text *out, const json_t *document, size_t columns)
{
	json_t *rows = json_object_get(document, "slices");
	size_t count = json_array_size(rows);
	struct line *lines = calloc(count + 1, sizeof(*lines));
	struct table table;
	int height = 1;

	if (!lines)
		return 0;
	for (size_t i = 0; i < count; i++)
		fill_line(&lines[i], json_array_get(rows, i),
			  i ? json_array_get(rows, i - 1) : NULL, columns > 0);
	lay_out(&table, lines, count, several_nodes(rows), columns);
	add_titles(out, &table);
	for (size_t i = 0; i < count; i++)
		height += add_line(out, &table, &lines[i]);
	for (size_t i = 0; i < count; i++)
		for (int c = 0; c < COLUMNS; c++)
			free(lines[i].cell[c]);
	free(lines);
	if (columns) {
		add_sum(out, rows);
		height += 2;
	}
	return height;
}
