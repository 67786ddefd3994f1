/* ConfigMaps and Secrets, and what is common to all objects of Kubernetes that are sinks. */
#include <ctype.h>
#include <errno.h>
#include "sink-kubernetes.h"

#define LABEL "app.kubernetes.io/managed-by"
#define LABEL_VALUE "platypus"
#define ANNOTATION "pp.dev/injection"
#define DATA_MAX (1u << 20) /* the server's own bound on the values of one object */

/* ---- what is ours ---- */

static const json_t *annotation_of(const json_t *object)
{
	return json_object_get(json_object_get(json_object_get(object, "metadata"), "annotations"), ANNOTATION);
}

/* What our manager applied: its fieldsV1; NULL: nothing. */
static const json_t *our_fields(const json_t *object)
{
	size_t i;
	json_t *entry;

	json_array_foreach(json_object_get(json_object_get(object, "metadata"), "managedFields"), i, entry)
		if (!strcmp(intent_json_string(entry, "manager", ""), INJECTOR_MANAGER) &&
		    !strcmp(intent_json_string(entry, "operation", ""), "Apply"))
			return json_object_get(entry, "fieldsV1");
	return NULL;
}

bool injector__object_owns(const json_t *object, const char *of, const char *name)
{
	intent_free_auto char *outer = intent_format("f:%s", of), *inner = intent_format("f:%s", name);
	const json_t *fields = outer ? json_object_get(our_fields(object), outer) : NULL;

	return inner && json_object_get(fields, inner);
}

/* Somebody else's manager that keeps content in it, not only labels; NULL: nobody does. Borrowed. */
static const char *other_holder(const json_t *object)
{
	static const char *const content[] = {"f:data", "f:binaryData", "f:spec", "f:endpoints"};
	size_t i;
	json_t *entry;

	json_array_foreach(json_object_get(json_object_get(object, "metadata"), "managedFields"), i, entry) {
		const json_t *fields = json_object_get(entry, "fieldsV1");

		if (fields == our_fields(object))
			continue;
		for (size_t k = 0; k < sizeof(content) / sizeof(*content); k++)
			if (json_object_get(fields, content[k]))
				return intent_json_string(entry, "manager", "unknown");
	}
	return NULL;
}

json_t *injector__object_standing(const json_t *object, const struct injector_sink *sink)
{
	const json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
	const char *holder, *mark = json_string_value(annotation_of(object));

	if (!object)
		return json_pack("{ss}", "state", "absent");
	if (mark && strcmp(mark, sink->owner))
		return json_pack("{ss so}", "state", "foreign", "by", json_sprintf("it is of the injection %s", mark));
	if (!our_fields(object)) {
		holder = other_holder(object);
		return json_pack("{ss so}", "state", "foreign", "by", holder ?
				 json_sprintf("field manager %s", holder) : json_string("it has no mark of ours"));
	}
	if (!mark || strcmp(intent_json_string(labels, LABEL, ""), LABEL_VALUE))
		return json_pack("{ss ss}", "state", "ours", "differs", "a mark of ours is missing");
	return json_pack("{ss}", "state", "ours");
}

int injector__object_check(const json_t *object, const struct injector_sink *sink, struct intent_error *err)
{
	intent_json_auto json_t *standing = injector__object_standing(object, sink);

	if (strcmp(intent_json_string(standing, "state", ""), "foreign") ||
	    intent_json_boolean(sink->document, "adopt", false))
		return 0;
	return intent_fail(err, INTENT_ENOTOURS, "it is there and not ours (%s)",
			   intent_json_string(standing, "by", ""));
}

/* ---- asking the server ---- */

const char *injector__dns_fault(const char *name, size_t max)
{
	if (!*name || strlen(name) > max)
		return max > 63 ? "is longer than 253 characters" : "is longer than 63 characters";
	for (const char *p = name; *p; p++) {
		bool edge = p == name || !p[1] || p[-1] == '.' || p[1] == '.';

		if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && (edge || (*p != '-' && *p != '.')))
			return "is not made of lower-case letters and digits, with - and single dots between them";
	}
	return NULL;
}

/*
 * What went wrong, without the subject that whoever reports it names anyway. A server that asks for patience gets
 * it: the next attempt is not before.
 */
static int failed(struct injector *injector, const struct injector_sink *sink, const char *kind, int64_t again_ms,
		  struct intent_error *err)
{
	const char *space = intent_json_string(sink->document, "namespace", "");
	const char *name = intent_json_string(sink->document, "name", "");
	intent_free_auto char *subject = intent_format("%s %s/%s: ", kind, space, name);

	if (subject && strcmp(kind, "EndpointSlice") && intent_starts_with(err->msg, subject))
		memmove(err->msg, err->msg + strlen(subject), strlen(err->msg + strlen(subject)) + 1);
	if (again_ms > 0)
		intent_round_patience(injector->round, again_ms);
	return err->code;
}

int injector__object_get(struct injector *injector, const struct injector_sink *sink, const char *kind,
			 json_t **ret_new, struct intent_error *err)
{
	const char *name = intent_json_string(sink->document, "name", "");
	bool is_service = strcmp(kind, "ConfigMap") && strcmp(kind, "Secret");
	const char *fault = injector__dns_fault(name, is_service ? 63 : 253);
	struct intent_kube *kube;
	int64_t again_ms = 0;

	*ret_new = NULL;
	if (is_service && !fault && (!isalpha((unsigned char)*name) || strchr(name, '.')))
		fault = "must begin with a letter and hold no dot, as it is a host's name";
	if (fault)
		return intent_fail(err, INTENT_EREFUSED,
				   "no %s may be called so: the name %s; name another in the sink", kind,
				   fault);
	if (injector__kube(injector, &kube, err) < 0)
		return err->code;
	if (intent_kube_get(kube, kind, intent_json_string(sink->document, "namespace", ""), name, ret_new, &again_ms,
			    err) < 0)
		return err->code == INTENT_EABSENT ? 0 : failed(injector, sink, kind, again_ms, err);
	return 0;
}

json_t *injector__object_new(const struct injector_sink *sink, const char *api, const char *kind)
{
	return json_pack("{ss ss s{ss ss s{ss} s{ss}}}", "apiVersion", api, "kind", kind, "metadata",
			 "name", intent_json_string(sink->document, "name", ""),
			 "namespace", intent_json_string(sink->document, "namespace", ""),
			 "labels", LABEL, LABEL_VALUE, "annotations", ANNOTATION, sink->owner);
}

int injector__object_apply(struct injector *injector, const struct injector_sink *sink, json_t *object,
			   struct intent_error *err)
{
	intent_json_auto json_t *stolen = object;
	struct intent_kube *kube;
	int64_t again_ms = 0;

	if (!object)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (injector__kube(injector, &kube, err) < 0)
		return err->code;
	if (intent_kube_apply(kube, stolen, INJECTOR_MANAGER, NULL, &again_ms, err) == 0)
		return 0;
	if (err->code == INTENT_EABSENT)
		err->code = INTENT_EWAITING; /* its namespace: somebody may make it yet */
	return failed(injector, sink, intent_json_string(stolen, "kind", ""), again_ms, err);
}

int injector__object_remove(struct injector *injector, const struct injector_sink *sink, const char *api,
			    const char *kind, struct intent_error *err)
{
	const char *space = intent_json_string(sink->document, "namespace", "");
	const char *name = intent_json_string(sink->document, "name", ""), *holder, *uid;
	intent_json_auto json_t *object = NULL, *standing = NULL;
	json_t *given_up;
	struct intent_kube *kube;
	int64_t again_ms = 0;

	if (injector__object_get(injector, sink, kind, &object, err) < 0)
		return err->code;
	standing = injector__object_standing(object, sink);
	if (strcmp(intent_json_string(standing, "state", ""), "ours"))
		return 0;
	holder = other_holder(object);
	if (holder) {
		intent_round_log(injector->round, INTENT_INFO,
				 "%s stays, without what was ours: field manager %s keeps "
				 "something in it", sink->id, holder);
		given_up = json_pack("{ss ss s{ss ss}}", "apiVersion", api, "kind", kind, "metadata", "name", name,
				     "namespace", space);
		return injector__object_apply(injector, sink, given_up, err);
	}
	if (injector__kube(injector, &kube, err) < 0)
		return err->code;
	uid = intent_json_string(json_object_get(object, "metadata"), "uid", "");
	if (intent_kube_delete(kube, kind, space, name, uid, &again_ms, err) < 0)
		return failed(injector, sink, kind, again_ms, err);
	return 0;
}

/* ---- ConfigMap and Secret ---- */

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
