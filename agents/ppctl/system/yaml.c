/*
 * YAML that people write: everything that is wrong with it at once, and where everything stands.
 *
 * Places have the shape of the document: [line, column] of a scalar; [line, column, [place, ...]] of a
 * list; [line, column, {name: [line, column, place]}] of an object, where the name has its own.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <yaml.h>
#include "../system.h"

#define MAX_BYTES (1u << 20)
#define MAX_DEPTH 32
#define MAX_NODES 200000

/* ---- faults ---- */

void system_fault(json_t *faults, const char *file, struct system_place place, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	intent_utf8_clean(text);
	if (json_array_size(faults) < SYSTEM_FAULTS_MAX)
		json_array_append_new(faults, json_pack("{ss si si ss}", "file", file, "line", place.line, "column",
							place.column, "text", text));
}

void system_fault_of(json_t *faults, const json_t *row, const char *format, ...)
{
	const json_t *at = json_object_get(row, "at");
	struct system_place place = {(int)json_integer_value(json_array_get(at, 0)),
				     (int)json_integer_value(json_array_get(at, 1))};
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	system_fault(faults, intent_json_string(row, "file", ""), place, "%s", text);
}

static int by_place(const void *a, const void *b)
{
	const json_t *one = *(json_t *const *)a, *other = *(json_t *const *)b;
	int order = strcmp(intent_json_string(one, "file", ""), intent_json_string(other, "file", ""));
	int64_t line = intent_json_integer(one, "line", 0) - intent_json_integer(other, "line", 0);
	int64_t column = intent_json_integer(one, "column", 0) - intent_json_integer(other, "column", 0);

	if (!order)
		order = line ? (line < 0 ? -1 : 1) : column ? (column < 0 ? -1 : 1) : 0;
	return order ? order : strcmp(intent_json_string(one, "text", ""), intent_json_string(other, "text", ""));
}

void system_sort(json_t *rows, int (*order)(const void *, const void *))
{
	size_t count = json_array_size(rows);
	json_t **sorted = calloc(count + 1, sizeof(*sorted));

	for (size_t i = 0; i < count; i++)
		sorted[i] = json_incref(json_array_get(rows, i));
	qsort(sorted, count, sizeof(*sorted), order);
	json_array_clear(rows);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(rows, sorted[i]);
	free(sorted);
}

void system_sort_faults(json_t *faults)
{
	system_sort(faults, by_place);
	for (size_t i = json_array_size(faults); i-- > 1;)
		if (json_equal(json_array_get(faults, i - 1), json_array_get(faults, i)))
			json_array_remove(faults, i);
}

static struct system_place place_of(const json_t *place)
{
	return (struct system_place){(int)json_integer_value(json_array_get(place, 0)),
				     (int)json_integer_value(json_array_get(place, 1))};
}

/* One part of a JSON pointer: its length, and what it says. */
static size_t pointer_part(const char *pointer, char *out, size_t room)
{
	size_t length = strcspn(pointer, "/"), used = 0;

	for (size_t i = 0; i < length && used + 1 < room; i++)
		if (pointer[i] == '~' && i + 1 < length)
			out[used++] = pointer[++i] == '1' ? '/' : '~';
		else
			out[used++] = pointer[i];
	out[used] = '\0';
	return length;
}

struct system_place system_place_at(const json_t *places, const char *pointer, bool of_name)
{
	struct system_place found = place_of(places);
	char part[1024];

	while (*pointer == '/') {
		const json_t *inner = json_array_get(places, 2), *next;

		pointer += 1 + pointer_part(pointer + 1, part, sizeof(part));
		next = json_is_object(inner) ? json_object_get(inner, part) :
					       json_array_get(inner, (size_t)strtoul(part, NULL, 10));
		if (!next)
			break;
		if (json_is_object(inner)) {
			found = place_of(next);
			next = json_array_get(next, 2);
			if (*pointer || !of_name)
				found = place_of(next);
		} else {
			found = place_of(next);
		}
		places = next;
	}
	return found;
}

/* ---- reading events ---- */

struct reader {
	yaml_parser_t parser;
	const char *file; /* borrowed */
	const char *bytes; /* borrowed */
	json_t *faults;   /* borrowed */
	unsigned nodes;
	bool broken; /* nothing more can be read */
};

#define event_auto __attribute__((cleanup(yaml_event_delete))) yaml_event_t

static json_t *read_node(struct reader *reader, const yaml_event_t *event, unsigned depth, json_t **ret_new_place);

static struct system_place mark_place(yaml_mark_t mark)
{
	return (struct system_place){(int)mark.line + 1, (int)mark.column + 1};
}

static const struct {
	const char *problem, *instead;
} ways_out[] = {
	{"mapping values are not allowed", "quote the text if the colon belongs to it, or indent the line as its "
					   "neighbours are"},
	{"did not find expected key", "each line here needs NAME: VALUE, indented as the others"},
	{"did not find expected '-'", "each item begins with \"- \", indented as the others"},
	{"found character that cannot start", "quote the text, and indent with blanks only"},
	{"could not find expected ':'", "a name needs a colon and a blank behind it"},
	{"found unexpected end of stream", "close the quote or bracket"},
	{"did not find expected ',' or", "close the bracket, and put commas between items"},
	{"found unknown escape", "write \\\\ for a backslash, or use single quotes"},
};

/* Bytes that are no text come without a mark, only with an offset. */
static struct system_place offset_place(const char *bytes, size_t offset)
{
	struct system_place place = {1, 1};

	for (size_t i = 0; i < offset; i++) {
		place.column++;
		if (bytes[i] == '\n') {
			place.line++;
			place.column = 1;
		}
	}
	return place;
}

static void fault_of_parser(struct reader *reader)
{
	const yaml_parser_t *parser = &reader->parser;
	const char *problem = parser->problem ? parser->problem : "not YAML", *instead = NULL;
	struct system_place place = mark_place(parser->problem_mark);

	reader->broken = true;
	if (parser->error == YAML_READER_ERROR) {
		system_fault(reader->faults, reader->file, offset_place(reader->bytes, parser->problem_offset),
			     "not UTF-8 text, or a control character; take it out, or save the file as UTF-8");
		return;
	}
	for (size_t i = 0; i < sizeof(ways_out) / sizeof(*ways_out) && !instead; i++)
		if (intent_starts_with(problem, ways_out[i].problem))
			instead = ways_out[i].instead;
	if (parser->context && parser->context_mark.line + 1 != (size_t)place.line)
		system_fault(reader->faults, reader->file, place, "%s (%s that began in line %zu)%s%s", problem,
			     parser->context, parser->context_mark.line + 1, instead ? "; " : "",
			     instead ? instead : "");
	else
		system_fault(reader->faults, reader->file, place, "%s%s%s", problem, instead ? "; " : "",
			     instead ? instead : "");
}

/* A zeroed event when nothing more comes. */
static void next(struct reader *reader, yaml_event_t *event)
{
	memset(event, 0, sizeof(*event));
	if (reader->broken)
		return;
	if (!yaml_parser_parse(&reader->parser, event)) {
		fault_of_parser(reader);
		memset(event, 0, sizeof(*event));
	} else if (++reader->nodes > MAX_NODES) {
		system_fault(reader->faults, reader->file, mark_place(event->start_mark),
			     "more than %d values; split the file", MAX_NODES);
		reader->broken = true;
	}
}

static bool is_end(const struct reader *reader, const yaml_event_t *event)
{
	return reader->broken || event->type == YAML_NO_EVENT || event->type == YAML_MAPPING_END_EVENT ||
		event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_DOCUMENT_END_EVENT ||
		event->type == YAML_STREAM_END_EVENT;
}

static json_t *new_place(const yaml_event_t *event)
{
	return json_pack("[ii]", (int)event->start_mark.line + 1, (int)event->start_mark.column + 1);
}

static json_t *read_scalar(struct reader *reader, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;

	if (strlen(text) != length) {
		system_fault(reader->faults, reader->file, mark_place(event->start_mark),
			     "a NUL character; leave it out");
		return json_null();
	}
	return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? intent_yaml_scalar(text, length) :
								     json_stringn(text, length);
}

static json_t *read_sequence(struct reader *reader, unsigned depth, json_t *place)
{
	json_t *array = json_array(), *places = json_array();

	for (;;) {
		event_auto event;
		json_t *where = NULL;

		next(reader, &event);
		if (is_end(reader, &event))
			break;
		json_array_append_new(array, read_node(reader, &event, depth, &where));
		json_array_append_new(places, where);
	}
	json_array_append_new(place, places);
	return array;
}

/* The member's name; NULL (said already) when its value is to be thrown away. */
static const char *read_name(struct reader *reader, const yaml_event_t *event, const json_t *object)
{
	const char *name = (const char *)event->data.scalar.value;
	struct system_place place = mark_place(event->start_mark);

	if (event->type != YAML_SCALAR_EVENT) {
		json_t *ignored = NULL;
		system_fault(reader->faults, reader->file, place,
			     "a name must be plain text; quote it if it begins with one of [ { * & ! |");
		json_decref(read_node(reader, event, MAX_DEPTH / 2, &ignored));
		json_decref(ignored);
		return NULL;
	}
	if (event->data.scalar.anchor || event->data.scalar.tag)
		system_fault(reader->faults, reader->file, place,
			     "anchors (&) and tags (!) are not taken; write the text itself");
	if (strlen(name) != event->data.scalar.length || !intent_utf8_is_clean(name, strlen(name))) {
		system_fault(reader->faults, reader->file, place, "a control character in a name; leave it out");
		return NULL;
	}
	if (json_object_get(object, name)) {
		system_fault(reader->faults, reader->file, place, "\"%.100s\" is given twice; leave one of them out",
			     name);
		return NULL;
	}
	return name;
}

static json_t *read_mapping(struct reader *reader, unsigned depth, json_t *place)
{
	json_t *object = json_object(), *places = json_object();

	for (;;) {
		event_auto event, value;
		json_t *where = NULL, *item;

		memset(&value, 0, sizeof(value));
		next(reader, &event);
		if (is_end(reader, &event))
			break;
		const char *name = read_name(reader, &event, object);
		next(reader, &value);
		if (is_end(reader, &value))
			break;
		item = read_node(reader, &value, depth, &where);
		if (!name) {
			json_decref(item);
			json_decref(where);
			continue;
		}
		json_object_set_new(object, name, item);
		json_object_set_new(places, name,
				    json_pack("[iio]", (int)event.start_mark.line + 1,
					      (int)event.start_mark.column + 1, where));
	}
	json_array_append_new(place, places);
	return object;
}

/* Everything up to the end of what `event` begins. */
static void skip(struct reader *reader, const yaml_event_t *event)
{
	int open = event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;

	while (open && !reader->broken) {
		event_auto inner;

		next(reader, &inner);
		open += inner.type == YAML_MAPPING_START_EVENT || inner.type == YAML_SEQUENCE_START_EVENT;
		open -= inner.type == YAML_MAPPING_END_EVENT || inner.type == YAML_SEQUENCE_END_EVENT;
	}
}

static void refuse_fancy(struct reader *reader, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	}
	if (anchor || event->type == YAML_ALIAS_EVENT)
		system_fault(reader->faults, reader->file, mark_place(event->start_mark),
			     "anchors and aliases (& *) are not taken; write the value itself");
	if (tag)
		system_fault(reader->faults, reader->file, mark_place(event->start_mark),
			     "tags (!) are not taken; quote the value if it is text");
}

static json_t *read_node(struct reader *reader, const yaml_event_t *event, unsigned depth, json_t **ret_new_place)
{
	json_t *place = *ret_new_place = new_place(event);

	refuse_fancy(reader, event);
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(reader, event);
	if (event->type == YAML_ALIAS_EVENT)
		return json_null();
	if (!depth) {
		system_fault(reader->faults, reader->file, mark_place(event->start_mark),
			     "nested more than %d deep; no file needs that", MAX_DEPTH);
		skip(reader, event);
		return json_null();
	}
	return event->type == YAML_SEQUENCE_START_EVENT ? read_sequence(reader, depth - 1, place) :
							   read_mapping(reader, depth - 1, place);
}

static json_t *read_stream(struct reader *reader, json_t **ret_new_places)
{
	json_t *json = NULL, *places = NULL;

	while (!reader->broken) {
		event_auto event;

		next(reader, &event);
		if (reader->broken || event.type == YAML_STREAM_END_EVENT)
			break;
		if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		if (event.type == YAML_DOCUMENT_START_EVENT && !json)
			continue;
		if (json) {
			system_fault(reader->faults, reader->file, mark_place(event.start_mark),
				     "a second document (---); only one is taken");
			break;
		}
		json = read_node(reader, &event, MAX_DEPTH, &places);
	}
	if (!json && !reader->broken) {
		json = json_null();
		places = json_pack("[ii]", 1, 1);
	}
	*ret_new_places = places;
	return json;
}

static json_t *parse(const char *file, const char *bytes, size_t length, json_t *faults, bool *ret_broken,
		     json_t **ret_new_places)
{
	struct reader reader = {.file = file, .bytes = bytes, .faults = faults};
	json_t *json = NULL;

	*ret_new_places = NULL;
	if (!yaml_parser_initialize(&reader.parser))
		return NULL;
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)bytes, length);
	json = read_stream(&reader, ret_new_places);
	yaml_parser_delete(&reader.parser);
	*ret_broken = reader.broken;
	return json;
}

/* ---- what people forget ---- */

struct line {
	const char *start;    /* behind its indentation */
	size_t indent, length; /* without blanks and a comment behind it */
	int number;
	bool tab;
};

/* The next line with something on it; false at the end. */
static bool next_line(const char **cursor, const char *end, int *number, struct line *ret)
{
	while (*cursor < end) {
		const char *begin = *cursor, *stop = memchr(begin, '\n', (size_t)(end - begin)), *start, *comment;

		stop = stop ? stop : end;
		*cursor = stop < end ? stop + 1 : end;
		(*number)++;
		for (start = begin; start < stop && (*start == ' ' || *start == '\t'); start++)
			;
		*ret = (struct line){.start = start, .indent = (size_t)(start - begin), .number = *number,
				     .tab = memchr(begin, '\t', (size_t)(start - begin)) != NULL};
		if (start == stop || *start == '#' || *start == '\r')
			continue;
		comment = memmem(start, (size_t)(stop - start), " #", 2);
		stop = comment ? comment : stop;
		while (stop > start && isspace((unsigned char)stop[-1]))
			stop--;
		ret->length = (size_t)(stop - start);
		return true;
	}
	return false;
}

/* A whole line that is one quoted text, or plain text without a colon that would end a name. */
static bool is_bare_name(const struct line *line)
{
	const char *s = line->start;
	size_t length = line->length;

	if (*s == '"' || *s == '\'')
		return length > 2 && s[length - 1] == *s && memchr(s + 1, *s, length - 1) == s + length - 1;
	return !strchr("-[{&*!|>%@`,?", *s) && s[length - 1] != ':' && !memmem(s, length, ": ", 2);
}

static bool begins_member(const struct line *line)
{
	const char *s = line->start;
	size_t length = line->length;

	return (length > 1 && *s == '-' && s[1] == ' ') || s[length - 1] == ':' || memmem(s, length, ": ", 2);
}

/* "dev:docker://...": where its colon is, or 0. */
static size_t tight_colon(const struct line *line)
{
	size_t at = 0;

	while (at < line->length && (isalnum((unsigned char)line->start[at]) || strchr("_-.", line->start[at])))
		at++;
	return at && at + 1 < line->length && line->start[at] == ':' && line->start[at + 1] != ' ' &&
		!memmem(line->start, line->length, ": ", 2) && line->start[line->length - 1] != ':' ? at : 0;
}

/*
 * The text with what is missing in it, or NULL when nothing is found: a colon behind a name whose members
 * follow, a blank behind a colon. Only asked when the text is not YAML, so that guessing does no harm.
 */
static char *repaired(const char *file, const char *bytes, size_t length, json_t *faults)
{
	const char *cursor = bytes, *end = bytes + length, *copied = bytes;
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	struct line line, follower;
	int number = 0, found = 0;
	bool more = next_line(&cursor, end, &number, &line);

	for (; more; line = follower) {
		struct system_place place = {line.number, (int)line.indent + 1};
		size_t colon = tight_colon(&line);
		const char *gap = line.start + line.length, *missing = ":";

		more = next_line(&cursor, end, &number, &follower);
		if (colon) {
			system_fault(faults, file, place, "a blank is missing behind the colon; write %.*s: %.*s", (int)colon,
				     line.start, (int)(line.length - colon - 1), line.start + colon + 1);
			gap = line.start + colon + 1;
			missing = " ";
		} else if (more && line.length < 200 && is_bare_name(&line) && begins_member(&follower) &&
			   (follower.indent > line.indent ||
			    (follower.indent == line.indent && *follower.start == '-'))) {
			system_fault(faults, file, place, "the colon behind this name is missing; write %.*s:",
				     (int)line.length, line.start);
		} else {
			continue;
		}
		intent_text_add(&out, copied, (size_t)(gap - copied));
		intent_text_puts(&out, missing);
		copied = gap;
		found++;
	}
	intent_text_add(&out, copied, (size_t)(end - copied));
	return found ? intent_text_steal(&out) : NULL;
}

static int tabs(const char *file, const char *bytes, size_t length, json_t *faults)
{
	const char *cursor = bytes;
	struct line line;
	int number = 0, found = 0;

	while (next_line(&cursor, bytes + length, &number, &line))
		if (line.tab) {
			system_fault(faults, file, (struct system_place){line.number, 1},
				     "a tab in the indentation; indent with blanks");
			found++;
		}
	return found;
}

json_t *system_yaml(const char *file, const char *bytes, size_t length, json_t *faults, json_t **ret_new_places)
{
	intent_json_auto json_t *own = json_array();
	intent_json_auto json_t *repairs = json_array();
	json_t *places = NULL, *json;
	bool broken = false;

	*ret_new_places = NULL;
	if (length > MAX_BYTES) {
		system_fault(faults, file, (struct system_place){0, 0}, "more than %u bytes; split the file",
			     MAX_BYTES);
		return NULL;
	}
	json = parse(file, bytes, length, own, &broken, &places);
	bool tabbed = broken && tabs(file, bytes, length, repairs);
	intent_free_auto char *better = broken && !tabbed ? repaired(file, bytes, length, repairs) : NULL;
	if (better) {
		json_decref(json);
		json_decref(places);
		json_array_clear(own);
		json = parse(file, better, strlen(better), own, &broken, &places);
	}
	json_array_extend(faults, repairs);
	if (!tabbed)
		json_array_extend(faults, own);
	/* Half a document would only bring faults that are none. */
	if (!json || broken) {
		json_decref(json);
		json_decref(places);
		return NULL;
	}
	*ret_new_places = places;
	return json;
}
