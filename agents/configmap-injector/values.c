/* The values of an injection, from wherever they come. */
#include <errno.h>
#include "injector.h"

/* As software reads it: a string is itself, anything else its JSON. Owned. */
static char *text_of(const json_t *value)
{
	return json_is_string(value) ? strdup(json_string_value(value)) : intent_json_canonical(value);
}

static json_t *fault(int code, const char *message)
{
	return json_pack("{s{si ss}}", "fault", "code", code, "message", message);
}

/* Into memory; what is observed is its digest. */
static json_t *take(struct injector *injector, const char *key, const json_t *value, bool sensitive)
{
	intent_free_auto char *text = text_of(value);
	char digest[INJECTOR_DIGEST];

	if (!text)
		return fault(-ENOMEM, "out of memory");
	json_object_set_new(injector->values, key, json_string(text));
	injector__digest(injector, text, strlen(text), digest);
	return json_pack("{ss sb}", "digest", digest, "sensitive", sensitive);
}

static json_t *resolve(struct injector *injector, const char *key, const json_t *value)
{
	const json_t *literal = json_object_get(value, "value");

	if (literal)
		return take(injector, key, literal, false);
	return fault(INTENT_ESOURCE, "this build reads no sources");
}

int injector__observe_values(struct injector *injector, json_t *observed, struct intent_error *err)
{
	json_t *values = json_object(), *value;
	const char *key;

	json_decref(injector->values);
	injector->values = json_object();
	if (!values || !injector->values)
		return intent_fail(err, -ENOMEM, "out of memory");
	json_object_foreach(json_object_get(json_object_get(injector->intent, "injection"), "values"), key, value)
		json_object_set_new(values, key, resolve(injector, key, value));
	json_object_set_new(observed, "values", values);
	return 0;
}
