/* ConfigMaps and Secrets. */
#include <errno.h>
#include "sink-kubernetes.h"

#define DATA_MAX (1u << 20) /* the server's own bound on the values of one object */

/* A Secret holds base64. */
static void digest_of(const struct injector *injector, const json_t *value, bool is_secret, char ret[INJECTOR_DIGEST])
{
	intent_text_auto struct intent_text plain = INTENT_TEXT_INIT;
	struct intent_error ignored;

	if (!is_secret)
		intent_text_add(&plain, json_string_value(value), json_string_length(value));
	else if (intent_base64_decode(&plain, json_string_value(value), json_string_length(value), &ignored) < 0)
		intent_text_clear(&plain);
	injector__digest(injector, intent_text_str(&plain), plain.length, ret);
	if (plain.data)
		explicit_bzero(plain.data, plain.room);
}

/* What we own in it, and what stands in the place of what we want; the rest is somebody else's affair. New. */
static json_t *keys_of(const struct injector *injector, const struct injector_sink *sink, const json_t *object,
		       bool is_secret)
{
	json_t *keys = json_object(), *value;
	const char *key;
	char digest[INJECTOR_DIGEST];

	json_object_foreach(json_object_get(object, "data"), key, value)
		if (json_is_string(value) &&
		    (json_object_get(sink->wanted, key) || injector__object_owns(object, "data", key))) {
			digest_of(injector, value, is_secret, digest);
			json_object_set_new(keys, key, json_string(digest));
		}
	return keys;
}

static int observe_data(struct injector *injector, const struct injector_sink *sink, const char *kind, json_t **ret_new,
			struct intent_error *err)
{
	intent_json_auto json_t *object = NULL;

	if (injector__object_get(injector, sink, kind, &object, err) < 0)
		return err->code;
	*ret_new = injector__object_standing(object, sink);
	if (object)
		json_object_set_new(*ret_new, "keys", keys_of(injector, sink, object, !strcmp(kind, "Secret")));
	return 0;
}

/* The object's "data": new. */
static int data_of(const json_t *values, bool is_secret, json_t **ret_new, struct intent_error *err)
{
	json_t *data = json_object(), *value;
	const char *key;
	size_t size = 0;

	json_object_foreach((json_t *)(uintptr_t)values, key, value) {
		intent_text_auto struct intent_text encoded = INTENT_TEXT_INIT;

		size += json_string_length(value);
		if (is_secret)
			intent_base64_encode(&encoded, json_string_value(value), json_string_length(value));
		json_object_set_new(data, key, is_secret ? json_string(intent_text_str(&encoded)) : json_incref(value));
		if (encoded.data)
			explicit_bzero(encoded.data, encoded.room);
	}
	*ret_new = data;
	if (size <= DATA_MAX)
		return 0;
	json_decref(data);
	return intent_fail(err, INTENT_ETOOBIG,
			   "its values have %zu bytes, and Kubernetes takes 1 MiB: share them out to several "
			   "sinks with \"keys\"", size);
}

static int write_data(struct injector *injector, const struct injector_sink *sink, const json_t *values,
		      const char *kind, struct intent_error *err)
{
	intent_json_auto json_t *present = NULL;
	json_t *data, *object;

	if (injector__object_get(injector, sink, kind, &present, err) < 0 ||
	    injector__object_check(present, sink, err) < 0 ||
	    data_of(values, !strcmp(kind, "Secret"), &data, err) < 0)
		return err->code;
	object = injector__object_new(sink, "v1", kind);
	json_object_set_new(object, "data", data);
	return injector__object_apply(injector, sink, object, err);
}

static int observe_configmap(struct injector *injector, const struct injector_sink *sink, json_t **ret_new,
			     struct intent_error *err)
{
	return observe_data(injector, sink, "ConfigMap", ret_new, err);
}

static int observe_secret(struct injector *injector, const struct injector_sink *sink, json_t **ret_new,
			  struct intent_error *err)
{
	return observe_data(injector, sink, "Secret", ret_new, err);
}

static int write_configmap(struct injector *injector, const struct injector_sink *sink, const json_t *values,
			   struct intent_error *err)
{
	return write_data(injector, sink, values, "ConfigMap", err);
}

static int write_secret(struct injector *injector, const struct injector_sink *sink, const json_t *values,
			struct intent_error *err)
{
	return write_data(injector, sink, values, "Secret", err);
}

static int remove_configmap(struct injector *injector, const struct injector_sink *sink, struct intent_error *err)
{
	return injector__object_remove(injector, sink, "v1", "ConfigMap", err);
}

static int remove_secret(struct injector *injector, const struct injector_sink *sink, struct intent_error *err)
{
	return injector__object_remove(injector, sink, "v1", "Secret", err);
}

const struct injector_sink_kind injector__configmap = {
	"configmap", observe_configmap, write_configmap, remove_configmap,
};
const struct injector_sink_kind injector__secret = {
	"secret", observe_secret, write_secret, remove_secret,
};
