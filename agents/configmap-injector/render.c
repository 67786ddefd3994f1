/* Values as the text of a file or an object, and back. */
#include <ctype.h>
#include "injector.h"

/* ---- dotenv ---- */

/*
 * docker's --env-file takes all behind the "=" as it is, a shell and systemd take off quotes and escapes. What
 * needs neither is the same to all three; what does is written for the last two.
 */
static bool is_plain(const char *value)
{
	for (const char *p = value; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_-./:@%+,=", *p))
			return false;
	return true;
}

static void add_quoted(struct intent_text *out, const char *value)
{
	intent_text_puts(out, "\"");
	for (const char *p = value; *p; p++) {
		if (strchr("\"\\$`", *p))
			intent_text_puts(out, "\\");
		intent_text_add(out, p, 1);
	}
	intent_text_puts(out, "\"");
}

static bool is_variable(const char *name)
{
	const char *p = name;

	while (isalnum((unsigned char)*p) || *p == '_')
		p++;
	return !*p && p > name && !isdigit((unsigned char)*name);
}

static int add_line(struct intent_text *out, const char *key, const char *value, struct intent_error *err)
{
	if (!is_variable(key))
		return intent_fail(err, INTENT_EREFUSED, "%s is no variable's name: it has letters, digits and _; leave it "
				   "out with \"keys\", or use another format", key);
	if (strpbrk(value, "\r\n"))
		return intent_fail(err, INTENT_EREFUSED, "the value of %s has more than one line, which dotenv cannot hold "
				   "for all that read it; use json or an envdir", key);
	intent_text_printf(out, "%s=", key);
	if (is_plain(value))
		intent_text_puts(out, value);
	else
		add_quoted(out, value);
	intent_text_puts(out, "\n");
	return 0;
}

/* Members by name: the same values are the same text. */
static int render_dotenv(const json_t *values, struct intent_text *out, struct intent_error *err)
{
	size_t count = json_object_size(values);
	const char **names = calloc(count + 1, sizeof(*names)), *name;
	json_t *ignored;
	size_t filled = 0, at;
	int code = 0;

	json_object_foreach((json_t *)(uintptr_t)values, name, ignored) {
		for (at = filled++; at && strcmp(names[at - 1], name) > 0; at--)
			names[at] = names[at - 1];
		names[at] = name;
	}
	for (size_t i = 0; !code && i < count; i++)
		code = add_line(out, names[i], intent_json_string(values, names[i], ""), err);
	free(names);
	return code;
}

/* The value of a line as written above, in place; false: it is not. */
static bool unquote(char *value)
{
	char *to = value;
	const char *from = value + 1;

	if (*value != '"')
		return is_plain(value);
	for (; *from && *from != '"'; from++) {
		if (*from == '\\' && !*++from)
			return false;
		*to++ = *from;
	}
	if (*from != '"' || from[1])
		return false;
	*to = '\0';
	return true;
}

static json_t *parse_dotenv(char *text)
{
	json_t *values = json_object();
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, '=');

		if (!*line || *line == '#')
			continue;
		if (value)
			*value++ = '\0';
		if (!value || !is_variable(line) || json_object_get(values, line) || !unquote(value) ||
		    json_object_set_new(values, line, json_string(value)) < 0) {
			json_decref(values);
			return NULL;
		}
	}
	return values;
}

/* ---- json ---- */

static json_t *parse_json(const char *bytes, size_t count)
{
	struct intent_error ignored;
	json_t *values, *value;
	const char *key;

	if (intent_json_parse(bytes, count, 0, &values, &ignored) < 0)
		return NULL;
	json_object_foreach(values, key, value)
		if (!json_is_string(value)) {
			json_decref(values);
			return NULL;
		}
	if (json_is_object(values))
		return values;
	json_decref(values);
	return NULL;
}

/* ---- both ---- */

int injector__render(const char *format, const json_t *values, struct intent_text *ret, struct intent_error *err)
{
	intent_free_auto char *json = NULL;

	if (!strcmp(format, "dotenv"))
		return render_dotenv(values, ret, err);
	json = intent_json_pretty(values);
	intent_text_puts(ret, json);
	if (!intent_ends_with(json, "\n"))
		intent_text_puts(ret, "\n");
	return 0;
}

json_t *injector__parse(const struct injector *injector, const char *format, const char *bytes, size_t count)
{
	intent_free_auto char *copy = strndup(bytes, count);
	intent_json_auto json_t *values = NULL;
	json_t *digests, *value;
	const char *key;

	if (strlen(copy) != count)
		return NULL;
	values = !strcmp(format, "dotenv") ? parse_dotenv(copy) : parse_json(bytes, count);
	digests = values ? json_object() : NULL;
	json_object_foreach(values, key, value) {
		char digest[INJECTOR_DIGEST];

		injector__digest(injector, json_string_value(value), json_string_length(value), digest);
		json_object_set_new(digests, key, json_string(digest));
	}
	return digests;
}
