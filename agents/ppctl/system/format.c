/*
 * The layout of a YAML file: two blanks a level, no blanks at line ends, no two empty lines. Line by line, so that
 * comments stay where they are; nothing but white space changes, and what would change the meaning is refused.
 */
#include <ctype.h>
#include "parts.h"

#define LEVELS_MAX 64

struct level {
	size_t old, new;
};

struct layout {
	struct intent_text out;
	struct level levels[LEVELS_MAX];
	size_t depth;            /* of levels */
	const char *comments;    /* where the comments and empty lines before the next line begin */
	size_t block;            /* 1 + the indentation that a block scalar's lines are beyond; 0: in none */
	long shift;              /* of the last line that began something */
};

static size_t indent_of(const char *line, const char *end)
{
	size_t indent = 0;

	while (line + indent < end && line[indent] == ' ')
		indent++;
	return indent;
}

static const char *trimmed(const char *begin, const char *end)
{
	while (end > begin && isspace((unsigned char)end[-1]))
		end--;
	return end;
}

static void blanks(struct intent_text *out, size_t count)
{
	while (count--)
		intent_text_puts(out, " ");
}

/* The column that a line beginning in `old` is to begin in. */
static size_t column_for(struct layout *layout, size_t old)
{
	while (layout->depth && layout->levels[layout->depth - 1].old > old)
		layout->depth--;
	if (layout->depth && layout->levels[layout->depth - 1].old == old)
		return layout->levels[layout->depth - 1].new;
	size_t new = layout->depth ? layout->levels[layout->depth - 1].new + 2 : 0;
	if (layout->depth < LEVELS_MAX)
		layout->levels[layout->depth++] = (struct level){old, new};
	return new;
}

/* "key: |", "- >-": what follows is a text of its own layout. */
static bool begins_block(const char *line, const char *end)
{
	const char *comment = memmem(line, (size_t)(end - line), " #", 2), *p;

	end = trimmed(line, comment ? comment : end);
	for (p = end; p > line && strchr("+-0123456789", p[-1]); p--)
		;
	return p > line && strchr("|>", p[-1]) && (p - 1 == line || p[-2] == ' ');
}

/* Does it begin a member or an item, rather than go on with the line before? */
static bool begins_something(const char *line, const char *end)
{
	const char *comment = memmem(line, (size_t)(end - line), " #", 2);

	end = trimmed(line, comment ? comment : end);
	return (*line == '-' && (line + 1 == end || line[1] == ' ')) || end[-1] == ':' ||
		memmem(line, (size_t)(end - line), ": ", 2);
}

/* Comments belong to what follows them. */
static void emit_comments(struct layout *layout, const char *until, size_t column)
{
	const char *line = layout->comments, *end;
	bool empty = false;

	for (; line && line < until; line = end + 1) {
		const char *newline = memchr(line, '\n', (size_t)(until - line));
		end = newline ? newline : until;
		const char *stop = trimmed(line, end), *start = line + indent_of(line, stop);
		if (start >= stop) {
			empty = layout->out.length != 0;
			continue;
		}
		if (empty)
			intent_text_puts(&layout->out, "\n");
		empty = false;
		blanks(&layout->out, column);
		intent_text_add(&layout->out, start, (size_t)(stop - start));
		intent_text_puts(&layout->out, "\n");
	}
	if (empty && column != SIZE_MAX && until && *until)
		intent_text_puts(&layout->out, "\n");
	layout->comments = NULL;
}

/* "-   -  key: value": one blank behind each dash, and a level for what follows. */
static void emit_line(struct layout *layout, const char *line, const char *start, const char *stop)
{
	size_t old = (size_t)(start - line), new = column_for(layout, old);

	emit_comments(layout, line, new);
	layout->shift = (long)new - (long)old;
	blanks(&layout->out, new);
	while (stop - start > 1 && *start == '-' && start[1] == ' ') {
		const char *inner = start + 1 + indent_of(start + 1, stop);

		intent_text_puts(&layout->out, "- ");
		new += 2;
		if (begins_something(inner, stop) && layout->depth < LEVELS_MAX)
			layout->levels[layout->depth++] = (struct level){(size_t)(inner - line), new};
		start = inner;
	}
	intent_text_add(&layout->out, start, (size_t)(stop - start));
	intent_text_puts(&layout->out, "\n");
	if (begins_block(start, stop))
		layout->block = 1 + old;
}

static void emit_shifted(struct layout *layout, const char *line, const char *start, const char *stop)
{
	long column = (long)(start - line) + layout->shift;

	emit_comments(layout, line, column > 0 ? (size_t)column : 0);
	blanks(&layout->out, column > 0 ? (size_t)column : 0);
	intent_text_add(&layout->out, start, (size_t)(stop - start));
	intent_text_puts(&layout->out, "\n");
}

static void lay_line(struct layout *layout, const char *line, const char *end)
{
	const char *stop = trimmed(line, end), *start = line + indent_of(line, stop);

	if (layout->block && (start == stop || (size_t)(start - line) > layout->block - 1)) {
		/* Blanks at the end may belong to the text. */
		const char *kept = end > line && end[-1] == '\r' ? end - 1 : end;
		if (start == stop)
			intent_text_puts(&layout->out, "\n");
		else
			emit_shifted(layout, line, start, kept);
		return;
	}
	layout->block = 0;
	if (start == stop || *start == '#') {
		layout->comments = layout->comments ? layout->comments : line;
		return;
	}
	if (begins_something(start, stop) || !layout->depth)
		emit_line(layout, line, start, stop);
	else
		emit_shifted(layout, line, start, stop);
}

/* Is nothing but white space different? */
static bool same_words(const char *a, const char *b)
{
	for (;; a++, b++) {
		while (isspace((unsigned char)*a))
			a++;
		while (isspace((unsigned char)*b))
			b++;
		if (*a != *b || !*a)
			return *a == *b;
	}
}

char *system_formatted(const char *file, const char *bytes, size_t length, json_t *faults)
{
	struct layout layout = {.depth = 0};
	intent_json_auto json_t *places = NULL, *places_after = NULL;
	intent_json_auto json_t *before = system_yaml(file, bytes, length, faults, &places), *after = NULL;
	intent_json_auto json_t *ignored = json_array();
	const char *end = bytes + length;

	if (!before || json_array_size(faults))
		return NULL;
	for (const char *line = bytes; line < end;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line)), *stop = newline ? newline : end;
		lay_line(&layout, line, stop);
		line = newline ? newline + 1 : end;
	}
	emit_comments(&layout, end, 0);
	char *text = intent_text_steal(&layout.out);
	after = text ? system_yaml(file, text, strlen(text), ignored, &places_after) : NULL;
	if (text && after && !json_array_size(ignored) && json_equal(before, after) && same_words(bytes, text))
		return text;
	free(text);
	system_fault(faults, file, (struct system_place){1, 1},
		     "its layout is one that cannot be changed without changing what it says; left as it is");
	return NULL;
}
