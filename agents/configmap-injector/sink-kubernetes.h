/*
 * Between the sinks that are objects of Kubernetes: what is ours there, and how it is written and given up.
 *
 * Ours is what our field manager applied and what bears our annotation; of such an object, the fields that are our field
 * manager's, and no others.
 */
#ifndef SINK_KUBERNETES_H
#define SINK_KUBERNETES_H

#include "injector.h"

#define INJECTOR_MANAGER "pp-configmap-injector"

/* What lies at a place: *ret_new NULL when there is nothing. */
int injector__object_get(struct injector *injector, const struct injector_sink *sink, const char *kind, json_t **ret_new,
			 struct intent_error *err);
/* {"state", "by"} of an object as observe gives it, and "differs" when a mark is missing. New. */
json_t *injector__object_standing(const json_t *object, const struct injector_sink *sink);
/* INTENT_ENOTOURS: it is there and foreign, and the sink does not say "adopt". */
int injector__object_check(const json_t *object, const struct injector_sink *sink, struct intent_error *err);
/* Does our manager own the field `name` of the member `of` ("data", "spec")? */
bool injector__object_owns(const json_t *object, const char *of, const char *name);
/* apiVersion, kind and metadata with our marks: new. */
json_t *injector__object_new(const struct injector_sink *sink, const char *api, const char *kind);
/* Server-side apply; `object` is stolen. INTENT_EWAITING without its namespace. */
int injector__object_apply(struct injector *injector, const struct injector_sink *sink, json_t *object,
			   struct intent_error *err);
/* Deletes it while it is ours; what also others keep something in, stays without what is ours. */
int injector__object_remove(struct injector *injector, const struct injector_sink *sink, const char *api, const char *kind,
			    struct intent_error *err);
/* May it be the name of an object, or of a host? At most `max` characters; NULL: yes, else why not. */
const char *injector__dns_fault(const char *name, size_t max);

#endif
