#include <intent/json.h>

void intent__json_decref(json_t **json)
{
	json_decref(*json);
}

/*
 * jansson bounds recursion at 2048, which is more stack than a parser of foreign
 * bytes should use; we look before it does.
 */
static bool is_too_deep(const char *bytes, size_t count)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < count; i++) {
		char c = bytes[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > INTENT_JSON_MAX_DEPTH)
				return true;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return false;
}

int intent_json_parse(const char *bytes, size_t count, size_t max_bytes,
		      json_t **ret_new, struct intent_error *err)
{
	size_t max = max_bytes ? max_bytes : INTENT_JSON_MAX_BYTES;
	json_error_t fault;
	json_t *json;

	if (count > max)
		return intent_fail(err, INTENT_ETOOBIG, "JSON of %zu bytes is longer than %zu", count, max);
	if (is_too_deep(bytes, count))
		return intent_fail(err, INTENT_EMALFORMED, "JSON is nested deeper than %d",
				   INTENT_JSON_MAX_DEPTH);
	json = json_loadb(bytes, count, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
	if (!json)
		return intent_fail(err, INTENT_EMALFORMED, "not JSON: line %d, column %d: %s",
				   fault.line, fault.column, fault.text);
	*ret_new = json;
	return 0;
}

char *intent_json_canonical(const json_t *json)
{
	return json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);
}

char *intent_json_pretty(const json_t *json)
{
	return json_dumps(json, JSON_SORT_KEYS | JSON_INDENT(2) | JSON_ENCODE_ANY);
}

const char *intent_json_string(const json_t *object, const char *name, const char *otherwise)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : otherwise;
}

int64_t intent_json_integer(const json_t *object, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(object, name);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

int64_t intent_json_duration(const json_t *object, const char *name, int64_t otherwise_ms)
{
	const json_t *value = json_object_get(object, name);
	struct intent_error ignored;
	int64_t ms;

	if (json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) < INT32_MAX)
		return json_integer_value(value) * 1000;
	if (json_is_string(value) && !intent_duration_parse(json_string_value(value), &ms, &ignored))
		return ms;
	return otherwise_ms;
}

bool intent_json_boolean(const json_t *object, const char *name, bool otherwise)
{
	const json_t *value = json_object_get(object, name);

	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* One reference token, unescaped ("~1" is '/', "~0" is '~'); false when too long. */
static bool take_token(const char **pointer, char *out, size_t room)
{
	const char *p = *pointer + 1;
	size_t length = 0;

	for (; *p && *p != '/'; p++) {
		char c = *p;

		if (c == '~' && (p[1] == '0' || p[1] == '1'))
			c = *++p == '1' ? '/' : '~';
		if (length + 1 >= room)
			return false;
		out[length++] = c;
	}
	out[length] = '\0';
	*pointer = p;
	return true;
}

json_t *intent_json_at(const json_t *json, const char *pointer)
{
	json_t *at = (json_t *)(uintptr_t)json;
	char token[512];
	int64_t index;
	struct intent_error ignored;

	while (at && *pointer == '/') {
		if (!take_token(&pointer, token, sizeof(token)))
			return NULL;
		if (json_is_object(at))
			at = json_object_get(at, token);
		else if (json_is_array(at) &&
			 !intent_integer_parse(token, 0, INT32_MAX, &index, &ignored))
			at = json_array_get(at, (size_t)index);
		else
			return NULL;
	}
	return *pointer ? NULL : at;
}

void intent_json_merge(json_t *target, const json_t *patch)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)patch, name, value) {
		json_t *there = json_object_get(target, name);

		if (json_is_null(value)) {
			json_object_del(target, name);
		} else if (!json_is_object(value)) {
			json_object_set_new(target, name, json_deep_copy(value));
		} else {
			if (!json_is_object(there)) {
				json_object_set_new(target, name, json_object());
				there = json_object_get(target, name);
			}
			intent_json_merge(there, value);
		}
	}
}
