/*
 * What a person sees of `run': every service's lines with its name before them, and on a terminal below them a table
 * that stays.
 */
#include <termios.h>
#include <intent/file.h>
#include "local.h"

#define LAST_SHOWN 5           /* lines of the log of what failed */
#define ABOVE_MAX (256u << 10) /* what is kept to be shown, while others have the terminal */

struct local_live {
	const json_t *names;      /* borrowed */
	size_t widest;
	json_t *rows;             /* as shown last */
	json_t *said;             /* {service: what was said of it}, where there is no table */
	const struct local_logs *logs; /* borrowed: of the rows */
	struct intent_text above; /* lines not written yet */
	struct intent_text frame; /* table and foot, as they are on the screen; empty: nothing of ours is */
	char *foot;               /* owned */
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
	bool runs = !strcmp(intent_json_string(row, "state", ""), "healthy");
	const json_t *lines = built || runs ? built : local_logs_last(logs, intent_json_string(row, "name", ""));
	size_t count = json_array_size(lines);
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

	for (size_t i = count > LAST_SHOWN ? count - LAST_SHOWN : 0; i < count; i++)
		intent_text_printf(&text, "| %s\n", json_string_value(json_array_get(lines, i)));
	return intent_text_steal(&text);
}

static bool is_broken(const json_t *row)
{
	return intent_json_boolean(row, "broken", false);
}

/* In the table also how far a build is; elsewhere each word of it would be a line. */
static char *last_cell(const json_t *row)
{
	const char *why = intent_json_string(row, "why", ""), *progress = intent_json_string(row, "progress", "");

	return intent_format("%s%s%s", why, *why && *progress ? ", " : "", progress);
}

static char *copy(const json_t *row, const char *member)
{
	return strdup(intent_json_string(row, member, ""));
}

static void add_table(const struct local_live *live, size_t columns, struct intent_text *out)
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

	json_array_foreach(live->rows, index, row) {
		const char *name = intent_json_string(row, "name", "");
		const char *state = intent_json_string(row, "state", "");
		lines[index] = (struct ppctl_line){
			.cell = {strdup(name), strdup(state), copy(row, "address"),
				 ppctl_version(intent_json_string(row, "version", ""), true), last_cell(row)},
			.style = {color_of(live, name), local_style(state), PPCTL_PLAIN, PPCTL_DIM,
				  is_broken(row) ? PPCTL_RED : PPCTL_DIM},
			.below = is_broken(row) ? last_lines(live->logs, row) : NULL,
			/* Of a build's last words a part is enough. */
			.settled = json_object_get(row, "progress") != NULL,
		};
	}
	intent_text_puts(out, "\n");
	ppctl_grid(out, &grid, lines, count, columns);
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
static void say_changes(struct local_live *live)
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
		intent_free_auto char *last = last_lines(live->logs, row);
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
	live->logs = logs;
	if (!live->terminal)
		say_changes(live);
}

void local_live_foot(struct local_live *live, const char *words)
{
	free(live->foot);
	live->foot = strdup(words);
	if (!live->terminal)
		local_live_line(live, NULL, words);
}

/* ---- the screen ---- */

/* Who is in the background waits: the terminal is somebody else's. */
static bool is_ours_to_draw(void)
{
	pid_t front = tcgetpgrp(STDOUT_FILENO);

	return front < 0 || front == getpgrp();
}

/* The oldest lines go, whole. */
static void bound(struct intent_text *text)
{
	if (text->length < ABOVE_MAX)
		return;
	const char *from = intent_text_str(text) + text->length - ABOVE_MAX / 2;
	intent_free_auto char *rest = strdup(from + strcspn(from, "\n"));
	intent_text_clear(text);
	intent_text_puts(text, *rest ? rest + 1 : rest);
}

/* Columns of a line, without what colours it. */
static size_t width_of(const char *line, size_t length)
{
	size_t width = 0;

	for (size_t i = 0; i < length; i++)
		if (line[i] == '\033')
			i += strcspn(line + i, "mK");
		else
			width += ((unsigned char)line[i] & 0xc0) != 0x80;
	return width;
}

/* How many lines a terminal needs for it: one that was made narrower has broken some in two. */
static int height_of(const char *text, size_t columns)
{
	int height = 0;

	for (const char *p = text; *p;) {
		size_t length = strcspn(p, "\n"), width = width_of(p, length);
		height += width > columns ? (int)((width + columns - 1) / columns) : 1;
		p += length + (p[length] == '\n');
	}
	return height;
}

/* As much of the table as there is room for, and the foot. */
static void make_frame(const struct local_live *live, size_t columns, struct intent_text *out)
{
	intent_text_auto struct intent_text table = INTENT_TEXT_INIT;
	int room = ppctl_lines() - 2;

	if (live->rows)
		add_table(live, columns, &table);
	for (const char *p = intent_text_str(&table); *p;) {
		size_t length = strcspn(p, "\n"), width = width_of(p, length);
		room -= width > columns ? (int)((width + columns - 1) / columns) : 1;
		if (room < 0)
			break;
		intent_text_add(out, p, length);
		intent_text_puts(out, "\033[0m\n");
		p += length + (p[length] == '\n');
	}
	if (!live->foot)
		return;
	ppctl_add(out, live->foot, PPCTL_DIM, columns - 1, 0);
	intent_text_puts(out, "\n");
}

/* New lines go above the table, in one write: nothing flickers, and a selection stays while nothing changes. */
static void draw_screen(struct local_live *live)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT, frame = INTENT_TEXT_INIT;
	size_t columns = (size_t)ppctl_columns();

	bound(&live->above);
	if (!columns || !is_ours_to_draw())
		return;
	make_frame(live, columns, &frame);
	if (!live->above.length && !strcmp(intent_text_str(&frame), intent_text_str(&live->frame)))
		return;
	intent_text_puts(&out, "\033[?2026h");
	if (live->frame.length)
		intent_text_printf(&out, "\033[%dA", height_of(intent_text_str(&live->frame), columns));
	intent_text_puts(&out, "\r\033[J");
	intent_text_puts(&out, intent_text_str(&live->above));
	intent_text_puts(&out, intent_text_str(&frame));
	intent_text_puts(&out, "\033[?2026l");
	intent_text_clear(&live->above);
	intent_text_clear(&live->frame);
	fflush(stdout);
	if (!intent_write_all(STDOUT_FILENO, intent_text_str(&out), out.length))
		intent_text_puts(&live->frame, intent_text_str(&frame));
}

void local_live_draw(struct local_live *live)
{
	if (live->terminal) {
		draw_screen(live);
		return;
	}
	fputs(intent_text_str(&live->above), stdout);
	fflush(stdout);
	intent_text_clear(&live->above);
}

void local_live_resume(struct local_live *live)
{
	intent_text_clear(&live->frame);
}

void local_live_free(struct local_live *live)
{
	if (!live)
		return;
	json_decref(live->rows);
	json_decref(live->said);
	intent_text_release(&live->above);
	intent_text_release(&live->frame);
	free(live->foot);
	free(live);
}
