/* A sink's name, and which values it takes: pure. */
#include <errno.h>
#include "injector.h"

void injector__sink_id(const json_t *sink, char ret[INJECTOR_ID_MAX])
{
	const char *type = intent_json_string(sink, "type", "");
	const char *endpoint = intent_json_string(sink, "endpoint", "");

	if (!strcmp(type, "s3"))
		snprintf(ret, INJECTOR_ID_MAX, "s3 %s%s%s/%s", endpoint, *endpoint ? "/" : "",
			 intent_json_string(sink, "bucket", ""), intent_json_string(sink, "key", ""));
	else if (json_object_get(sink, "path"))
		snprintf(ret, INJECTOR_ID_MAX, "%s %s", type, intent_json_string(sink, "path", ""));
	else
		snprintf(ret, INJECTOR_ID_MAX, "%s %s/%s", type, intent_json_string(sink, "namespace", ""),
			 intent_json_string(sink, "name", ""));
}

static bool is_sensitive(const json_t *value)
{
	return intent_json_boolean(value, "sensitive", false);
}

/* Whoever may read a ConfigMap or a Service need not be allowed to read a Secret. */
static bool is_public(const char *type)
{
	return !strcmp(type, "configmap") || !strcmp(type, "externalname");
}

/* Where "keys" does not say which: what is sensitive goes into Secrets, what is not into ConfigMaps. */
static bool takes(const char *type, const json_t *value)
{
	if (!strcmp(type, "configmap"))
		return !is_sensitive(value);
	return strcmp(type, "secret") || is_sensitive(value);
}

static int add(const char *type, const char *key, const json_t *values, json_t *wanted, struct intent_error *err)
{
	const json_t *value = json_object_get(values, key);

	if (!value)
		return intent_fail(err, INTENT_EMALFORMED, "it asks for %s, which is not among the injection's \"values\"", key);
	if (is_public(type) && is_sensitive(value))
		return intent_fail(err, INTENT_EREFUSED, "%s is sensitive, and no %s takes that: use a secret, or leave it "
				   "out of \"keys\"", key, type);
	/* An optional one that is not there. */
	if (json_object_get(value, "digest"))
		json_object_set(wanted, key, json_object_get(value, "digest"));
	return 0;
}

/* The one that is the address of an externalname: the only one when there is one. */
static int add_address(const json_t *sink, const json_t *values, json_t *wanted, struct intent_error *err)
{
	const char *key = intent_json_string(sink, "value", NULL);

	if (!key && json_object_size(values) == 1)
		key = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)values));
	if (!key)
		return intent_fail(err, INTENT_EMALFORMED, "there are %zu values: say which is the address with \"value\"",
				   json_object_size(values));
	return add("externalname", key, values, wanted, err);
}

int injector__sink_wants(const json_t *sink, const json_t *values, json_t **ret_new, struct intent_error *err)
{
	const char *type = intent_json_string(sink, "type", ""), *key;
	const json_t *keys = json_object_get(sink, "keys");
	intent_json_auto json_t *wanted = json_object();
	json_t *item;
	size_t i;

	if (!strcmp(type, "externalname") && add_address(sink, values, wanted, err) < 0)
		return err->code;
	json_array_foreach((json_t *)(uintptr_t)keys, i, item)
		if (add(type, json_string_value(item), values, wanted, err) < 0)
			return err->code;
	if (!keys && strcmp(type, "externalname"))
		json_object_foreach((json_t *)(uintptr_t)values, key, item)
			if (takes(type, item) && add(type, key, values, wanted, err) < 0)
				return err->code;
	*ret_new = json_incref(wanted);
	return 0;
}
