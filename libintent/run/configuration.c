#include <inttypes.h>
#include "option.h"

#define USUAL_PATH "/etc/platypus/platypus.yaml"

struct configuration {
	const struct intent_option_program *program;
	const char *path;
	char *directory;      /* where the file stands: relative paths in it begin there */
	const json_t *lines;
	json_t *result;
};

static char *subject_of(const struct configuration *from, const char *section, const char *name)
{
	char *pointer intent_free_auto = intent_format("%s%s/%s", section ? "/" : "", section ? section : "", name);

	if (!pointer)
		return NULL;
	return intent_format("%s:%" PRId64 ": %.100s", from->path, intent_json_integer(from->lines, pointer, 0), name);
}

static int unknown_name(const struct configuration *from, const char *subject, const char *name, bool in_section,
			struct intent_error *err)
{
	const char *nearest = intent__option_nearest(from->program, name);

	if (nearest && strcmp(nearest, name) != 0)
		return intent_fail(err, INTENT_EUSAGE, "%s: unknown option; did you mean \"%s\"?", subject, nearest);
	if (in_section)
		return intent_fail(err, INTENT_EUSAGE, "%s: unknown option; %s --help lists them all", subject,
				   from->program->name);
	return intent_fail(err, INTENT_EUSAGE,
			   "%s: %s has no such option; what is for one agent only belongs below its name", subject,
			   from->program->name);
}

/* As it would stand on the command line; numbers read back as they were written. */
static int scalar_text(const json_t *value, const char *subject, char **ret_owned, struct intent_error *err)
{
	if (json_is_string(value))
		*ret_owned = strdup(json_string_value(value));
	else if (json_is_boolean(value))
		*ret_owned = strdup(json_is_true(value) ? "true" : "false");
	else if (json_is_integer(value))
		*ret_owned = intent_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_null(value))
		return intent_fail(err, INTENT_EUSAGE, "%s: has no value; write one, or remove the line", subject);
	else
		return intent_fail(err, INTENT_EUSAGE, "%s: must be one value, not a list or a mapping", subject);
	return 0;
}

static bool is_builtin(const struct intent_option *option)
{
	const struct intent_option *row;

	for (row = intent__option_builtins; row->name; row++)
		if (strcmp(row->name, option->name) == 0)
			return true;
	return false;
}

static int take_name(const struct configuration *from, const char *section, const char *name, const json_t *value,
		     struct intent_error *err)
{
	const struct intent_option *option = intent__option_find(from->program, name);
	char *subject intent_free_auto = subject_of(from, section, name);
	char *text intent_free_auto = NULL;
	int rc;

	if (!option && from->program->ignores_unknown)
		return 0;
	if (!option)
		return unknown_name(from, subject, name, section != NULL, err);
	if (is_builtin(option))
		return intent_fail(err, INTENT_EUSAGE, "%s: only on the command line", subject);
	rc = scalar_text(value, subject, &text, err);
	if (rc < 0)
		return rc;
	if (json_is_boolean(value) && option->type == INTENT_OPTION_STRING)
		return intent_fail(err, INTENT_EUSAGE, "%s: must be text; quote it: \"%s\"", subject, text);
	return intent__option_set(from->result, option, text, from->directory, subject, err);
}

static int take_section(const struct configuration *from, json_t *section, struct intent_error *err)
{
	const char *name;
	json_t *value;

	json_object_foreach(section, name, value) {
		int rc = take_name(from, from->program->section, name, value, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int not_a_section(const struct configuration *from, const char *name, struct intent_error *err)
{
	char *subject intent_free_auto = subject_of(from, NULL, name);

	return intent_fail(err, INTENT_EUSAGE, "%s: must be a mapping of options", subject ? subject : name);
}

/* Common options first; a section is for one program, and the others' are none of ours. */
static int take_all(const struct configuration *from, json_t *document, struct intent_error *err)
{
	const char *section = from->program->section, *name;
	json_t *value;
	int rc;

	json_object_foreach(document, name, value) {
		bool known = intent__option_find(from->program, name) != NULL;

		if (section && strcmp(name, section) == 0 && !json_is_object(value) && !json_is_null(value))
			return not_a_section(from, name, err);
		if (json_is_object(value) || (json_is_null(value) && !known))
			continue;
		rc = take_name(from, NULL, name, value, err);
		if (rc < 0)
			return rc;
	}
	return section ? take_section(from, json_object_get(document, section), err) : 0;
}

int intent__configuration_read(const struct intent_option_program *program, const char *path,
			       json_t *result, struct intent_error *err)
{
	json_t *document intent_json_auto = NULL, *lines intent_json_auto = NULL;
	struct configuration from = {.program = program, .path = path ? path : USUAL_PATH, .result = result};
	char *directory intent_free_auto = NULL;
	int rc;

	rc = intent__yaml_read_lines(from.path, &document, &lines, err);
	if (rc == INTENT_EABSENT && !path)
		return 0;
	if (rc < 0) {
		err->code = INTENT_EUSAGE;
		return intent_wrap(err, "configuration file");
	}
	if (json_is_null(document))
		return 0;
	if (!json_is_object(document))
		return intent_fail(err, INTENT_EUSAGE, "%s:1: must be a mapping: \"name: value\" lines", from.path);
	directory = strdup(from.path);
	*(strrchr(directory, '/') + 1) = '\0';
	from.directory = directory;
	from.lines = lines;
	return take_all(&from, document, err);
}
