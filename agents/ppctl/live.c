/*
 * What a person sees of `run': every service's lines with its name before them, and on a terminal below them a table
 * that stays.
 */
#include <intent/file.h>
#include "local.h"

#define LAST_SHOWN 5 /* lines of the log of what failed */

struct local_live {
	const json_t *names;      /* borrowed */
	size_t widest;
	json_t *rows;             /* as shown last */
	json_t *said;             /* {service: what was said of it}, where there is no table */
	struct intent_text above; /* lines not written yet */
	struct intent_text table;
	char *foot;               /* owned */
	int height;               /* of the table on the screen */
	bool terminal;
};

static const enum ppctl_style colors[] = {
	PPCTL_CYAN, PPCTL_YELLOW, PPCTL_MAGENTA, PPCTL_GREEN, PPCTL_BLUE,
};

struct local_live *local_live_new(const json_t *names)
{
	struct local_live *live = calloc(1, sizeof(*live));
	size_t index;
	json_t *name;

	if (!live)
		return NULL;
	*live = (struct local_live){
		.names = names, .terminal = ppctl_columns() > 0, .said = json_object()};
	json_array_foreach((json_t *)(uintptr_t)names, index, name) {
		size_t width = ppctl_width(json_string_value(name));
		live->widest = width > live->widest ? width : live->widest;
	}
	return live;
}

static enum ppctl_style color_of(const struct local_live *live, const char *service)
{
	size_t index;
	json_t *name;

	json_array_foreach((json_t *)(uintptr_t)live->names, index, name)
		if (!strcmp(json_string_value(name), service))
			return colors[index % (sizeof(colors) / sizeof(*colors))];
	return PPCTL_DIM;
}

void local_live_line(struct local_live *live, const char *service, const char *line)
{
	/* Beside a table all is on one screen; else words do not mix with what services say. */
	if (!service && !live->terminal) {
		local_live_draw(live);
		ppctl_say("%s", line);
		return;
	}
	if (service) {
		ppctl_add(&live->above, service, color_of(live, service), 0, live->widest);
		ppctl_add(&live->above, " | ", PPCTL_DIM, 0, 0);
	}
	ppctl_add(&live->above, line, service ? PPCTL_PLAIN : PPCTL_BOLD, 0, 0);
	intent_text_puts(&live->above, "\n");
}

/* ---- the table ---- */

/* Of its build, where that failed, else of its log. */
static char *last_lines(const struct local_logs *logs, const json_t *row)
{
	const json_t *built = json_object_get(row, "last");
	const json_t *lines = built ? built : local_logs_last(logs, intent_json_string(row, "name", ""));
	size_t count = json_array_size(lines);
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

	for (size_t i = count > LAST_SHOWN ? count - LAST_SHOWN : 0; i < count; i++)
		intent_text_printf(&text, "| %s\n", json_string_value(json_array_get(lines, i)));
	return intent_text_steal(&text);
}

static bool is_broken(const json_t *row)
{
	const char *state = intent_json_string(row, "state", "");

	return !strcmp(state, "failed") || !strcmp(state, "unhealthy");
}

static char *copy(const json_t *row, const char *member)
{
	return strdup(intent_json_string(row, member, ""));
}

static void draw_table(struct local_live *live, const struct local_logs *logs)
{
	static const struct ppctl_grid grid = {
		.columns = {{.title = "SERVICE", .widest = 40},
			    {.title = "STATE"},
			    {.title = "ADDRESS", .dispensable = 2},
			    {.title = "VERSION", .widest = 14, .dispensable = 1},
			    {.title = ""}},
		.count = 5,
		.least = 20,
	};
	size_t count = json_array_size(live->rows), index;
	struct ppctl_line *lines = calloc(count + 1, sizeof(*lines));
	json_t *row;

	intent_text_clear(&live->table);
	if (!lines)
		return;
	json_array_foreach(live->rows, index, row) {
		const char *name = intent_json_string(row, "name", "");
		const char *state = intent_json_string(row, "state", "");
		lines[index] = (struct ppctl_line){
			.cell = {strdup(name), strdup(state), copy(row, "address"),
				 ppctl_version(intent_json_string(row, "version", ""), true), copy(row, "why")},
			.style = {color_of(live, name), local_style(state), PPCTL_PLAIN, PPCTL_DIM,
				  is_broken(row) ? PPCTL_RED : PPCTL_DIM},
			.below = is_broken(row) ? last_lines(logs, row) : NULL,
			.settled = !is_broken(row) && strcmp(state, "missing"),
		};
	}
	intent_text_puts(&live->table, "\n");
	ppctl_grid(&live->table, &grid, lines, count, (size_t)ppctl_columns());
	free(lines);
}

static char *words_of(const json_t *row)
{
	const char *name = intent_json_string(row, "name", ""), *why = intent_json_string(row, "why", "");
	const char *state = intent_json_string(row, "state", ""), *address = intent_json_string(row, "address", "");

	if (strcmp(state, "healthy"))
		return intent_format("%s: %s%s%s", name, state, *why ? ": " : "", why);
	return intent_format("%s: healthy%s%s, version %s%s%s", name, *address ? " at " : "", address,
			     intent_json_string(row, "version", ""), *why ? "; " : "", why);
}

/* Without a table: a line for each service whose state is another one. */
static void say_changes(struct local_live *live, const struct local_logs *logs)
{
	size_t index;
	json_t *row;

	json_array_foreach(live->rows, index, row) {
		const char *name = intent_json_string(row, "name", "");
		intent_free_auto char *words = words_of(row);
		const char *before = intent_json_string(live->said, name, "");
		if (!words || !strcmp(words, before))
			continue;
		json_object_set_new(live->said, name, json_string(words));
		local_live_line(live, NULL, words);
		if (!is_broken(row))
			continue;
		intent_free_auto char *last = last_lines(logs, row);
		for (char *line = last, *end; line && *line; line = end) {
			end = line + strcspn(line, "\n");
			*end = 0;
			end++;
			ppctl_say("    %s", line);
		}
	}
}

void local_live_rows(struct local_live *live, json_t *rows, const struct local_logs *logs)
{
	json_decref(live->rows);
	live->rows = rows;
	if (live->terminal)
		draw_table(live, logs);
	else
		say_changes(live, logs);
}

void local_live_foot(struct local_live *live, const char *words)
{
	free(live->foot);
	live->foot = strdup(words);
	if (!live->terminal)
		local_live_line(live, NULL, words);
}

/* New lines go above the table, in one write: nothing flickers. */
void local_live_draw(struct local_live *live)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	int room = ppctl_lines() - 2, lines = 0;

	if (!live->terminal) {
		fputs(intent_text_str(&live->above), stdout);
		fflush(stdout);
		intent_text_clear(&live->above);
		return;
	}
	intent_text_puts(&out, "\033[?2026h");
	if (live->height)
		intent_text_printf(&out, "\033[%dA", live->height);
	intent_text_puts(&out, "\r\033[J");
	intent_text_puts(&out, intent_text_str(&live->above));
	intent_text_clear(&live->above);
	for (const char *p = intent_text_str(&live->table); *p && lines < room; lines++) {
		size_t length = strcspn(p, "\n");
		intent_text_add(&out, p, length);
		intent_text_puts(&out, "\033[0m\n");
		p += length + (p[length] == '\n');
	}
	if (live->foot) {
		ppctl_add(&out, live->foot, PPCTL_DIM, (size_t)ppctl_columns() - 1, 0);
		intent_text_puts(&out, "\n");
		lines++;
	}
	intent_text_puts(&out, "\033[?2026l");
	fflush(stdout);
	live->height = intent_write_all(STDOUT_FILENO, intent_text_str(&out), out.length) ? 0 : lines;
}

void local_live_free(struct local_live *live)
{
	if (!live)
		return;
	json_decref(live->rows);
	json_decref(live->said);
	intent_text_release(&live->above);
	intent_text_release(&live->table);
	free(live->foot);
	free(live);
}
