/* Checking documents by table: every fault, each with its path. */
#include <inttypes.h>
#include <stdarg.h>
#include <intent/json.h>

#define FAULTS_MAX 100 /* a hostile document must not make a report without end */

struct check {
	bool strict;
	struct intent_text path;
	struct intent_text *faults; /* may be NULL */
	int count;
	struct intent_error first;
};

static void check_value(struct check *check, const json_t *json, const struct intent_json_field *row);

static void fault(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fault(struct check *check, const char *format, ...)
{
	char what[384];
	struct intent_error one;
	va_list ap;

	va_start(ap, format);
	vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	if (check->count++ >= FAULTS_MAX)
		return;
	/* Member names come from outside: they must neither crowd out the cause nor begin a line. */
	intent_fail(&one, INTENT_EMALFORMED, "%.200s: %s",
		    check->path.length ? intent_text_str(&check->path) : "document", what);
	if (check->count == 1)
		check->first = one;
	if (check->faults)
		intent_text_printf(check->faults, "%s\n", one.msg);
}

static size_t path_enter(struct check *check, const char *name)
{
	size_t before = check->path.length;

	intent_text_puts(&check->path, "/");
	for (; *name; name++)
		if (*name == '/')
			intent_text_puts(&check->path, "~1");
		else if (*name == '~')
			intent_text_puts(&check->path, "~0");
		else
			intent_text_add(&check->path, name, 1);
	return before;
}

static void path_leave(struct check *check, size_t before)
{
	check->path.length = before;
	if (check->path.data)
		check->path.data[before] = '\0';
}

static void unknown_member(struct check *check, const char *name, const struct intent_json_field *members)
{
	const char *known[64], *nearest;
	intent_text_auto struct intent_text list = INTENT_TEXT_INIT;
	size_t count = 0;

	for (const struct intent_json_field *m = members; m && m->name && count < 64; m++) {
		known[count++] = m->name;
		intent_text_printf(&list, "%s%s", count > 1 ? ", " : "", m->name);
	}
	nearest = intent_nearest_name(name, known, count);
	if (nearest)
		fault(check, "unknown field; did you mean \"%s\"?", nearest);
	else
		fault(check, "unknown field; known are %s", intent_text_str(&list));
}

static void check_object(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	const struct intent_json_field *m;
	const char *name;
	json_t *value;
	size_t before;

	for (m = row->members; m && m->name; m++) {
		value = json_object_get(json, m->name);
		before = path_enter(check, m->name);
		if (value)
			check_value(check, value, m);
		else if (m->flags & INTENT_JSON_REQUIRED)
			fault(check, "is missing%s%s", m->help ? ": " : "", m->help ? m->help : "");
		path_leave(check, before);
	}
	if (!check->strict || row->flags & INTENT_JSON_OPEN)
		return;
	json_object_foreach((json_t *)(uintptr_t)json, name, value) {
		for (m = row->members; m && m->name && strcmp(m->name, name); m++)
			;
		if (m && m->name)
			continue;
		before = path_enter(check, name);
		unknown_member(check, name, row->members);
		path_leave(check, before);
	}
}

static void check_count(struct check *check, size_t count, const char *of, const struct intent_json_field *row)
{
	if (!row->min && !row->max)
		return;
	if ((int64_t)count < row->min)
		fault(check, "has %zu %s, needs at least %" PRId64, count, of, row->min);
	else if (row->max && (int64_t)count > row->max)
		fault(check, "has %zu %s, at most %" PRId64 " are allowed", count, of, row->max);
}

static void check_map(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	const char *name, *why;
	json_t *value;

	check_count(check, json_object_size(json), "members", row);
	json_object_foreach((json_t *)(uintptr_t)json, name, value) {
		size_t before = path_enter(check, name);

		why = row->check ? row->check(name) : NULL;
		if (why)
			fault(check, "the name %s", why);
		if (row->members)
			check_value(check, value, row->members);
		path_leave(check, before);
	}
}

static void check_array(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	size_t index;
	json_t *value;
	char name[24];

	check_count(check, json_array_size(json), "items", row);
	json_array_foreach((json_t *)(uintptr_t)json, index, value) {
		size_t before;

		snprintf(name, sizeof(name), "%zu", index);
		before = path_enter(check, name);
		if (row->members)
			check_value(check, value, row->members);
		path_leave(check, before);
	}
}

static void check_string(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	const char *string = json_string_value(json), *why;

	check_count(check, json_string_length(json), "bytes", row);
	if (strlen(string) != json_string_length(json))
		fault(check, "must not contain a NUL");
	why = row->check ? row->check(string) : NULL;
	if (why)
		fault(check, "%s", why);
}

static void check_integer(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	int64_t value = json_integer_value(json);

	if ((row->min || row->max) && (value < row->min || value > row->max))
		fault(check, "must be between %" PRId64 " and %" PRId64, row->min, row->max);
}

static void check_duration(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	char number[24];
	struct intent_error err;
	int64_t ms;

	/* A number goes the way of its text, so that both have the same bounds. */
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	if (intent_duration_parse(json_is_string(json) ? json_string_value(json) : number, &ms, &err) < 0)
		fault(check, "%s", err.msg);
	else if (ms < row->min || (row->max && ms > row->max))
		fault(check, "is out of range");
}

static bool type_fits(enum intent_json_type type, const json_t *json)
{
	switch (type) {
	case INTENT_JSON_STRING: return json_is_string(json);
	case INTENT_JSON_INTEGER: return json_is_integer(json);
	case INTENT_JSON_BOOLEAN: return json_is_boolean(json);
	case INTENT_JSON_DURATION: return json_is_string(json) || json_is_integer(json);
	case INTENT_JSON_OBJECT:
	case INTENT_JSON_MAP: return json_is_object(json);
	case INTENT_JSON_ARRAY: return json_is_array(json);
	case INTENT_JSON_ANY:
	case INTENT_JSON_ONE_OF: return true;
	}
	return false;
}

static const char *const type_words[] = {
	[INTENT_JSON_ANY] = "any value",
	[INTENT_JSON_STRING] = "a string",
	[INTENT_JSON_INTEGER] = "a whole number",
	[INTENT_JSON_BOOLEAN] = "true or false",
	[INTENT_JSON_DURATION] = "a duration such as \"10s\"",
	[INTENT_JSON_OBJECT] = "an object",
	[INTENT_JSON_MAP] = "an object",
	[INTENT_JSON_ARRAY] = "a list",
	[INTENT_JSON_ONE_OF] = "another value",
};

static void check_one_of(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;

	for (const struct intent_json_field *m = row->members; m->name; m++) {
		if (type_fits(m->type, json)) {
			check_value(check, json, m);
			return;
		}
		intent_text_printf(&words, "%s%s", words.length ? " or " : "", type_words[m->type]);
	}
	fault(check, "must be %s", intent_text_str(&words));
}

static void check_value(struct check *check, const json_t *json, const struct intent_json_field *row)
{
	static void (*const checks[])(struct check *, const json_t *, const struct intent_json_field *) = {
		[INTENT_JSON_STRING] = check_string,
		[INTENT_JSON_INTEGER] = check_integer,
		[INTENT_JSON_DURATION] = check_duration,
		[INTENT_JSON_OBJECT] = check_object,
		[INTENT_JSON_MAP] = check_map,
		[INTENT_JSON_ARRAY] = check_array,
		[INTENT_JSON_ONE_OF] = check_one_of,
	};
	const char *why;

	if (json_is_null(json) && row->flags & INTENT_JSON_NULLABLE)
		return;
	if (!type_fits(row->type, json)) {
		fault(check, "must be %s", type_words[row->type]);
		return;
	}
	if (checks[row->type])
		checks[row->type](check, json, row);
	why = row->whole ? row->whole(json) : NULL;
	if (why)
		fault(check, "%s", why);
}

int intent_json_check(const json_t *json, const struct intent_json_field *row, bool strict,
		      struct intent_text *faults, struct intent_error *err)
{
	struct check check = {.strict = strict, .faults = faults};

	check_value(&check, json, row);
	intent_text_release(&check.path);
	if (!check.count)
		return 0;
	if (check.count > 1)
		return intent_fail(err, INTENT_EMALFORMED, "%s (and %d more)", check.first.msg, check.count - 1);
	*err = check.first;
	return err->code;
}

const char *intent_check_name(const char *string)
{
	return intent_name_is_valid(string) ? NULL :
	       "must be 1 to 128 of A-Z a-z 0-9 . _ - + ~ @ : and not start with . or -";
}

const char *intent_check_absolute(const char *string)
{
	if (string[0] != '/')
		return "must be an absolute path";
	if (strstr(string, "/../") || intent_ends_with(string, "/.."))
		return "must not contain \"..\"";
	if (strlen(string) > 1024)
		return "must be at most 1024 bytes long";
	return intent_utf8_is_clean(string, strlen(string)) ? NULL : "must not contain control characters";
}

const char *intent_check_sha256(const char *string)
{
	return strlen(string) == 64 && strspn(string, "0123456789abcdefABCDEF") == 64 ? NULL :
	       "must be 64 hexadecimal digits";
}
