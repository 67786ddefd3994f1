/* The rows of a program's options, and a value as written made into what its row says. */
#include "option.h"

#define MAX_NAMES 128

const struct intent_option intent__option_builtins[] = {
	{"config-file", INTENT_OPTION_PATH, "FILE", NULL, "PP_CONFIG", 0, 0,
	 "Read options from this YAML file (/etc/platypus/platypus.yaml if it is there)"},
	{"completion", INTENT_OPTION_WORD, "bash|zsh", NULL, NULL, 0, 0,
	 "Print a completion script for this shell"},
	{"help", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Print this"},
	{"version", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Print the version"},
	{0},
};

static const struct intent_option *find_row(const struct intent_option *table, const char *name)
{
	for (; table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

const struct intent_option *intent__option_find(const struct intent_option_program *program, const char *name)
{
	const struct intent_option *row;
	size_t i;

	for (i = 0; program->tables[i]; i++) {
		row = find_row(program->tables[i], name);
		if (row)
			return row;
	}
	return find_row(intent__option_builtins, name);
}

void intent__option_each(const struct intent_option_program *program,
			 void (*each)(const struct intent_option *option, int group, void *data), void *data)
{
	const struct intent_option *row;
	int group;

	for (group = 0; program->tables[group]; group++)
		for (row = program->tables[group]; row->name; row++)
			if (intent__option_find(program, row->name) == row)
				each(row, group, data);
	for (row = intent__option_builtins; row->name; row++)
		if (intent__option_find(program, row->name) == row)
			each(row, group, data);
}

struct names {
	const char *name[MAX_NAMES];
	size_t count;
};

static void add_name(const struct intent_option *option, int group, void *data)
{
	struct names *names = data;

	(void)group;
	if (names->count < MAX_NAMES)
		names->name[names->count++] = option->name;
}

const char *intent__option_nearest(const struct intent_option_program *program, const char *name)
{
	struct names names = {.count = 0};

	intent__option_each(program, add_name, &names);
	return intent_nearest_name(name, names.name, names.count);
}

/* ---- values ---- */

static json_t *flag_value(const char *text, struct intent_error *err)
{
	if (strcmp(text, "true") == 0)
		return json_true();
	if (strcmp(text, "false") == 0)
		return json_false();
	intent_fail(err, INTENT_EUSAGE, "must be true or false, not \"%.100s\"", text);
	return NULL;
}

/* Absolute, without "./" before it and slashes behind it; links are left alone. */
static json_t *path_value(const char *text, const char *directory, struct intent_error *err)
{
	struct intent_text path intent_text_auto = INTENT_TEXT_INIT;

	if (!*text) {
		intent_fail(err, INTENT_EUSAGE, "must be a path, not nothing");
		return NULL;
	}
	while (text[0] == '.' && text[1] == '/')
		text += 1 + strspn(text + 1, "/");
	if (*text != '/')
		intent_text_puts(&path, directory);
	if (strcmp(text, ".") != 0 && *text) {
		if (*text != '/' && !intent_ends_with(directory, "/"))
			intent_text_puts(&path, "/");
		intent_text_puts(&path, text);
	}
	while (path.length > 1 && path.data[path.length - 1] == '/')
		path.data[--path.length] = '\0';
	return json_stringn(intent_text_str(&path), path.length);
}

static json_t *number_value(const struct intent_option *option, const char *text, struct intent_error *err)
{
	bool bounded = option->min || option->max;
	int64_t min = bounded ? option->min : 0, max = bounded ? option->max : INT64_MAX, value;
	char low[24], high[24];

	if (option->type == INTENT_OPTION_INTEGER)
		return intent_integer_parse(text, min, max, &value, err) < 0 ? NULL : json_integer(value);
	if (intent_duration_parse(text, &value, err) < 0)
		return NULL;
	if (value < min || value > max) {
		intent_duration_format(min, low);
		intent_duration_format(max, high);
		if (max == INT64_MAX)
			intent_fail(err, INTENT_EUSAGE, "must be at least %s, not %.50s", low, text);
		else
			intent_fail(err, INTENT_EUSAGE, "must be between %s and %s, not %.50s", low, high, text);
		return NULL;
	}
	return json_integer(value);
}

static bool is_word_of(const char *words, const char *text)
{
	size_t length = strlen(text), part;

	for (; *words; words += part + (words[part] == '|')) {
		part = strcspn(words, "|");
		if (part == length && memcmp(words, text, length) == 0)
			return true;
	}
	return false;
}

static json_t *word_value(const struct intent_option *option, const char *text, struct intent_error *err)
{
	if (is_word_of(option->metavar, text))
		return json_string(text);
	intent_fail(err, INTENT_EUSAGE, "must be one of %s, not \"%.100s\"", option->metavar, text);
	return NULL;
}

static json_t *convert(const struct intent_option *option, const char *text, const char *directory,
		       struct intent_error *err)
{
	switch (option->type) {
	case INTENT_OPTION_FLAG:
		return flag_value(text, err);
	case INTENT_OPTION_STRING:
		return json_string(text);
	case INTENT_OPTION_PATH:
		return path_value(text, directory, err);
	case INTENT_OPTION_INTEGER:
	case INTENT_OPTION_DURATION:
		return number_value(option, text, err);
	case INTENT_OPTION_WORD:
		return word_value(option, text, err);
	}
	return NULL;
}

int intent__option_set(json_t *result, const struct intent_option *option, const char *text,
		       const char *directory, const char *subject, struct intent_error *err)
{
	json_t *value;

	err->code = 0;
	value = convert(option, text, directory, err);
	if (!value && err->code == 0)
		intent_fail(err, INTENT_EUSAGE, "must be UTF-8 text");
	if (!value) {
		/* Whatever the parser of numbers calls it, here it is a wrong use. */
		err->code = INTENT_EUSAGE;
		return intent_wrap(err, "%s", subject);
	}
	json_object_set_new(result, option->name, value);
	return 0;
}
