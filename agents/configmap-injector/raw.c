/*
 * JSON text looked into without being taken apart: a state is large, what is wanted of it small, and a number has to
 * come out as it was written (0.1, 18446744073709551615).
 */
#include <ctype.h>
#include "injector.h"

#define DEPTH_MAX 256

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && strchr(" \t\r\n", *p) && *p)
		p++;
	return p;
}

/* Behind the closing quote; NULL: there is none. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p < end ? p + 1 : NULL;
}

static const char *skip_word(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && (isalnum((unsigned char)*p) || strchr("+-.", *p)) && *p)
		p++;
	return p > start ? p : NULL;
}

/* Brackets must fit; what is between them is looked at when it is taken. */
static const char *skip_value(const char *p, const char *end)
{
	char closing[DEPTH_MAX];
	size_t depth = 0;

	do {
		p = skip_blanks(p, end);
		if (p == end)
			return NULL;
		if (*p == '"') {
			p = skip_string(p, end);
		} else if (*p == '{' || *p == '[') {
			if (depth == DEPTH_MAX)
				return NULL;
			closing[depth++] = *p++ == '{' ? '}' : ']';
		} else if (depth && *p == closing[depth - 1]) {
			depth--;
			p++;
		} else if (depth && (*p == ',' || *p == ':')) {
			p++;
		} else {
			p = skip_word(p, end);
		}
	} while (p && depth);
	return p;
}

bool injector__raw_whole(struct injector_raw *raw)
{
	const char *start = skip_blanks(raw->at, raw->end), *end = skip_value(start, raw->end);

	if (!end || skip_blanks(end, raw->end) != raw->end)
		return false;
	raw->at = start;
	raw->end = end;
	return true;
}

/* Is this string, quotes and all, that name? */
static bool is_name(const char *start, const char *end, const char *name)
{
	intent_json_auto json_t *string = NULL;

	if (!memchr(start, '\\', (size_t)(end - start)))
		return (size_t)(end - start) == strlen(name) + 2 && !memcmp(start + 1, name, strlen(name));
	string = json_loadb(start, (size_t)(end - start), JSON_DECODE_ANY, NULL);
	return string && !strcmp(json_string_value(string), name);
}

/* The next member of an object, or item of an array (name NULL); false at the end, and where it is no JSON. */
static bool next(const char **p, const char *end, bool is_object, struct injector_raw *name, struct injector_raw *value)
{
	*p = skip_blanks(*p, end);
	if (*p < end && **p == ',')
		*p = skip_blanks(*p + 1, end);
	if (*p >= end || **p == '}' || **p == ']')
		return false;
	if (is_object) {
		name->at = *p;
		name->end = **p == '"' ? skip_string(*p, end) : NULL;
		*p = name->end ? skip_blanks(name->end, end) : end;
		if (*p >= end || **p != ':')
			return false;
		*p = skip_blanks(*p + 1, end);
	}
	value->at = *p;
	value->end = skip_value(*p, end);
	*p = value->end;
	return *p != NULL;
}

bool injector__raw_member(const struct injector_raw *raw, const char *name, struct injector_raw *ret)
{
	const char *p = raw->at + 1;
	struct injector_raw key, value;

	if (raw->at >= raw->end || *raw->at != '{')
		return false;
	while (next(&p, raw->end, true, &key, &value))
		if (is_name(key.at, key.end, name)) {
			*ret = value;
			return true;
		}
	return false;
}

json_t *injector__raw_names(const struct injector_raw *raw)
{
	const char *p = raw->at + 1;
	struct injector_raw key, value;
	json_t *names = json_array();

	while (raw->at < raw->end && *raw->at == '{' && next(&p, raw->end, true, &key, &value))
		json_array_append_new(names, json_loadb(key.at, (size_t)(key.end - key.at), JSON_DECODE_ANY, NULL));
	return names;
}

static bool item_of(const struct injector_raw *raw, const char *number, struct injector_raw *ret)
{
	const char *p = raw->at + 1;
	struct injector_raw ignored, item;
	struct intent_error err;
	int64_t index;

	if (intent_integer_parse(number, 0, INT32_MAX, &index, &err) < 0)
		return false;
	while (next(&p, raw->end, false, &ignored, &item))
		if (!index--) {
			*ret = item;
			return true;
		}
	return false;
}

bool injector__raw_at(const struct injector_raw *raw, const char *pointer, struct injector_raw *ret)
{
	struct injector_raw at = *raw;

	while (*pointer == '/') {
		intent_text_auto struct intent_text part = INTENT_TEXT_INIT;

		for (pointer++; *pointer && *pointer != '/'; pointer++) {
			bool escape = *pointer == '~' && (pointer[1] == '0' || pointer[1] == '1');

			pointer += escape;
			intent_text_add(&part, escape ? (*pointer == '0' ? "~" : "/") : pointer, 1);
		}
		if (*at.at == '[' ? !item_of(&at, intent_text_str(&part), &at) :
		    !injector__raw_member(&at, intent_text_str(&part), &at))
			return false;
	}
	*ret = at;
	return !*pointer;
}

/* Without the blanks that are not part of a string. */
static void compact(const struct injector_raw *raw, struct intent_text *out)
{
	const char *p = raw->at;

	while (p && (p = skip_blanks(p, raw->end)) < raw->end) {
		const char *end = *p == '"' ? skip_string(p, raw->end) : p + 1;

		if (end)
			intent_text_add(out, p, (size_t)(end - p));
		p = end;
	}
}

char *injector__raw_text(const struct injector_raw *raw)
{
	intent_json_auto json_t *value = json_loadb(raw->at, (size_t)(raw->end - raw->at),
						    JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	if (!value || json_is_null(value))
		return NULL;
	if (json_is_string(value))
		return strdup(json_string_value(value));
	compact(raw, &out);
	return intent_text_steal(&out);
}
