/* What is common to all objects of Kubernetes that are sinks: whose they are, how they are applied and given up. */
#include <ctype.h>
#include "sink-kubernetes.h"

#define LABEL "app.kubernetes.io/managed-by"
#define LABEL_VALUE "platypus"
#define ANNOTATION "pp.dev/injection"

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
