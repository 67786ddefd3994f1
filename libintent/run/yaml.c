#include <errno.h>
#include <fcntl.h>
#include <yaml.h>
#include <intent/option.h>
#include "option.h"

/* A configuration file or a system definition; both are written by hand. */
#define MAX_BYTES (1u << 20)
#define MAX_DEPTH 32

struct reader {
	yaml_parser_t parser;
	const char *name;          /* borrowed; for messages */
	const char *bytes;         /* borrowed */
	json_t *lines;             /* borrowed, may be NULL: "/section/name" -> line */
	struct intent_text path;   /* the pointer of what is being read */
};

static int read_node(struct reader *reader, const yaml_event_t *event, unsigned depth, json_t **ret_new,
		     struct intent_error *err);

static void event_release(yaml_event_t *event)
{
	yaml_event_delete(event);
}

#define event_auto __attribute__((cleanup(event_release))) yaml_event_t

static int fault(const struct reader *reader, yaml_mark_t mark, struct intent_error *err, const char *words)
{
	return intent_fail(err, INTENT_EMALFORMED, "%s:%zu:%zu: %s", reader->name, mark.line + 1,
			   mark.column + 1, words);
}

/* Bytes that are no text come without a mark, only with an offset. */
static int fault_at_offset(const struct reader *reader, size_t offset, struct intent_error *err)
{
	yaml_mark_t mark = {0};
	size_t i;

	for (i = 0; i < offset; i++) {
		mark.column++;
		if (reader->bytes[i] == '\n') {
			mark.line++;
			mark.column = 0;
		}
	}
	return fault(reader, mark, err, "not UTF-8 text, or a control character");
}

static int fault_of_parser(const struct reader *reader, struct intent_error *err)
{
	const yaml_parser_t *parser = &reader->parser;
	struct intent_text words intent_text_auto = INTENT_TEXT_INIT;

	if (parser->error == YAML_READER_ERROR)
		return fault_at_offset(reader, parser->problem_offset, err);
	intent_text_puts(&words, parser->problem ? parser->problem : "not YAML");
	if (parser->context)
		intent_text_printf(&words, " (%s that began in line %zu)", parser->context,
				   parser->context_mark.line + 1);
	return fault(reader, parser->problem_mark, err, intent_text_str(&words));
}

static int next(struct reader *reader, yaml_event_t *event, struct intent_error *err)
{
	memset(event, 0, sizeof(*event));
	if (!yaml_parser_parse(&reader->parser, event))
		return fault_of_parser(reader, err);
	return 0;
}

/*
 * Only what reads back as the same text is a number: 0644, +1 and 1.10 stay strings, so
 * that a mode, a version or a digest made of digits keeps its face.
 */
static bool is_integer(const char *text)
{
	const char *digits = text + (*text == '-');

	if (*digits < '0' || *digits > '9' || (*digits == '0' && (digits[1] || digits != text)))
		return false;
	return digits[strspn(digits, "0123456789")] == '\0';
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

/* The core schema of YAML 1.2: "yes" and "on" are words, Norway is a country. */
json_t *intent_yaml_scalar(const char *text, size_t length)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	struct intent_error ignored;
	int64_t number;

	if (is_one_of(text, nulls))
		return json_null();
	if (is_one_of(text, trues))
		return json_true();
	if (is_one_of(text, falses))
		return json_false();
	if (is_integer(text) && intent_integer_parse(text, INT64_MIN, INT64_MAX, &number, &ignored) == 0)
		return json_integer(number);
	return json_stringn(text, length);
}

static int read_scalar(struct reader *reader, const yaml_event_t *event, json_t **ret_new,
		       struct intent_error *err)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;

	if (event->data.scalar.tag)
		return fault(reader, event->start_mark, err, "tags (!) are not supported");
	if (strlen(text) != length)
		return fault(reader, event->start_mark, err, "a NUL character");
	*ret_new = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? intent_yaml_scalar(text, length)
								      : json_stringn(text, length);
	return *ret_new ? 0 : fault(reader, event->start_mark, err, "not UTF-8");
}

static int read_sequence(struct reader *reader, unsigned depth, json_t **ret_new, struct intent_error *err)
{
	json_t *array intent_json_auto = json_array();
	int rc;

	for (;;) {
		event_auto event;
		json_t *item = NULL;

		rc = next(reader, &event, err);
		if (rc < 0)
			return rc;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;
		rc = read_node(reader, &event, depth, &item, err);
		if (rc < 0)
			return rc;
		json_array_append_new(array, item);
	}
	*ret_new = array;
	array = NULL;
	return 0;
}

/* The member's name, checked; where it stands is noted for whoever checks the values. */
static int read_key(struct reader *reader, const yaml_event_t *event, unsigned depth, const json_t *object,
		    struct intent_error *err)
{
	const char *key = (const char *)event->data.scalar.value;
	json_t *text intent_json_auto = NULL;
	int rc;

	if (event->type == YAML_ALIAS_EVENT)
		return fault(reader, event->start_mark, err, "anchors and aliases (& *) are not supported");
	if (event->type != YAML_SCALAR_EVENT)
		return fault(reader, event->start_mark, err, "a name must be plain text");
	if (event->data.scalar.anchor)
		return fault(reader, event->start_mark, err, "anchors and aliases (& *) are not supported");
	rc = read_scalar(reader, event, &text, err);
	if (rc < 0)
		return rc;
	if (json_object_get(object, key)) {
		struct intent_text words intent_text_auto = INTENT_TEXT_INIT;

		intent_text_printf(&words, "\"%.100s\" is given twice", key);
		return fault(reader, event->start_mark, err, intent_text_str(&words));
	}
	intent_text_printf(&reader->path, "/%s", key);
	/* Not for all of them: a long name with many members would be kept once for each. */
	if (reader->lines && depth >= MAX_DEPTH - 2 && reader->path.length < 256)
		json_object_set_new(reader->lines, intent_text_str(&reader->path),
				    json_integer((json_int_t)event->start_mark.line + 1));
	return 0;
}

static int read_member(struct reader *reader, const yaml_event_t *key, unsigned depth, json_t *object,
		       struct intent_error *err)
{
	size_t parent = reader->path.length;
	event_auto event = {0};
	json_t *value = NULL;
	int rc;

	rc = read_key(reader, key, depth, object, err);
	if (rc < 0)
		return rc;
	rc = next(reader, &event, err);
	if (rc < 0)
		return rc;
	rc = read_node(reader, &event, depth, &value, err);
	if (rc < 0)
		return rc;
	json_object_set_new(object, (const char *)key->data.scalar.value, value);
	reader->path.length = parent;
	reader->path.data[parent] = '\0';
	return 0;
}

static int read_mapping(struct reader *reader, unsigned depth, json_t **ret_new, struct intent_error *err)
{
	json_t *object intent_json_auto = json_object();
	int rc;

	for (;;) {
		event_auto key;

		rc = next(reader, &key, err);
		if (rc < 0)
			return rc;
		if (key.type == YAML_MAPPING_END_EVENT)
			break;
		rc = read_member(reader, &key, depth, object, err);
		if (rc < 0)
			return rc;
	}
	*ret_new = object;
	object = NULL;
	return 0;
}

static int read_node(struct reader *reader, const yaml_event_t *event, unsigned depth, json_t **ret_new,
		     struct intent_error *err)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (depth == 0)
		return fault(reader, event->start_mark, err, "nested too deeply");
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
		return fault(reader, event->start_mark, err, "anchors and aliases (& *) are not supported");
	if (tag)
		return fault(reader, event->start_mark, err, "tags (!) are not supported");
	if (event->type == YAML_SEQUENCE_START_EVENT)
		return read_sequence(reader, depth - 1, ret_new, err);
	if (event->type == YAML_MAPPING_START_EVENT)
		return read_mapping(reader, depth - 1, ret_new, err);
	return read_scalar(reader, event, ret_new, err);
}

/* Stream and document framing around the one node. */
static int read_stream(struct reader *reader, json_t **ret_new, struct intent_error *err)
{
	json_t *json intent_json_auto = NULL;
	bool begun = false;
	int rc;

	for (;;) {
		event_auto event;

		rc = next(reader, &event, err);
		if (rc < 0)
			return rc;
		if (event.type == YAML_STREAM_END_EVENT)
			break;
		if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		if (event.type == YAML_DOCUMENT_START_EVENT) {
			if (begun)
				return fault(reader, event.start_mark, err, "a second document; only one is taken");
			begun = true;
			continue;
		}
		rc = read_node(reader, &event, MAX_DEPTH, &json, err);
		if (rc < 0)
			return rc;
	}
	*ret_new = json ? json : json_null();
	json = NULL;
	return 0;
}

int intent__yaml_parse_lines(const char *bytes, size_t count, const char *name, json_t **ret_new,
			     json_t **ret_new_lines, struct intent_error *err)
{
	struct reader reader = {.name = name, .bytes = bytes};
	json_t *lines intent_json_auto = json_object();
	int rc;

	if (count > MAX_BYTES)
		return intent_fail(err, INTENT_ETOOBIG, "%s: more than %u bytes of YAML", name, MAX_BYTES);
	(void)yaml_parser_initialize(&reader.parser); /* wants memory only */
	reader.lines = ret_new_lines ? lines : NULL;
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)bytes, count);
	rc = read_stream(&reader, ret_new, err);
	yaml_parser_delete(&reader.parser);
	intent_text_release(&reader.path);
	if (rc == 0 && ret_new_lines) {
		*ret_new_lines = lines;
		lines = NULL;
	}
	return rc;
}

int intent_yaml_parse(const char *bytes, size_t count, const char *name, json_t **ret_new,
		      struct intent_error *err)
{
	return intent__yaml_parse_lines(bytes, count, name, ret_new, NULL, err);
}

/* Not intent_file_read(): /dev/stdin, /dev/null and a shell's <(...) are files enough here. */
static int slurp(const char *path, struct intent_text *out, struct intent_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char buffer[16384];
	ssize_t got;

	if (fd < 0) {
		if (errno == ENOENT)
			return intent_fail(err, INTENT_EABSENT, "%s: there is no such file", path);
		return intent_fail_errno(err, "%s: cannot open", path);
	}
	do {
		got = read(fd, buffer, sizeof(buffer));
		if (got > 0)
			intent_text_add(out, buffer, (size_t)got);
	} while ((got > 0 && out->length <= MAX_BYTES) || (got < 0 && errno == EINTR));
	if (got < 0)
		intent_fail_errno(err, "%s: cannot read", path);
	close(fd);
	return got < 0 ? err->code : 0;
}

int intent__yaml_read_lines(const char *path, json_t **ret_new, json_t **ret_new_lines,
			    struct intent_error *err)
{
	struct intent_text text intent_text_auto = INTENT_TEXT_INIT;
	int rc = slurp(path, &text, err);

	if (rc < 0)
		return rc;
	return intent__yaml_parse_lines(intent_text_str(&text), text.length, path, ret_new, ret_new_lines, err);
}

int intent_yaml_read(const char *path, json_t **ret_new, struct intent_error *err)
{
	return intent__yaml_read_lines(path, ret_new, NULL, err);
}
