/*
 * A Service that stands for a host elsewhere.
 *
 * A host's name makes an ExternalName. An IP address, which such a Service cannot hold, makes a headless Service with
 * an EndpointSlice of the same name. One becomes the other in place: clusterIP, which else never changes, may come and
 * go with the type ExternalName, and the server then sets or clears clusterIPs itself. The slice is there before the
 * Service needs it, and goes after; its addressType alone can never change.
 */
#include <arpa/inet.h>
#include "sink-kubernetes.h"

#define SLICE_API "discovery.k8s.io/v1"

static int family_of(const char *address)
{
	unsigned char bytes[16];

	if (inet_pton(AF_INET, address, bytes) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, address, bytes) == 1 ? AF_INET6 : 0;
}

static const char *type_of(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* ---- looking ---- */

/* The address that an object holds: borrowed, NULL: none. */
static const char *address_in(const json_t *service, const json_t *slice)
{
	const json_t *spec = json_object_get(service, "spec");

	if (!strcmp(intent_json_string(spec, "type", ""), "ExternalName"))
		return intent_json_string(spec, "externalName", NULL);
	return json_string_value(intent_json_at(slice, "/endpoints/0/addresses/0"));
}

static bool is_ours(const json_t *object, const struct injector_sink *sink)
{
	intent_json_auto json_t *standing = injector__object_standing(object, sink);

	return !strcmp(intent_json_string(standing, "state", ""), "ours");
}

/* What a write would put right beside the address: static, NULL: nothing. */
static const char *difference(const json_t *service, const json_t *slice, const struct injector_sink *sink)
{
	bool by_name = !strcmp(intent_json_string(json_object_get(service, "spec"), "type", ""), "ExternalName");

	if (by_name)
		return is_ours(slice, sink) ? "an EndpointSlice of its former address is left" : NULL;
	if (!slice)
		return "its EndpointSlice is missing";
	if (json_array_size(json_object_get(slice, "endpoints")) != 1)
		return "its EndpointSlice has other endpoints";
	return NULL;
}

static int observe(struct injector *injector, const struct injector_sink *sink, json_t **ret_new,
		   struct intent_error *err)
{
	intent_json_auto json_t *service = NULL, *slice = NULL, *standing = NULL;
	const char *key = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)sink->wanted));
	const char *address, *differs;
	char digest[INJECTOR_DIGEST];

	if (injector__object_get(injector, sink, "Service", &service, err) < 0 ||
	    injector__object_get(injector, sink, "EndpointSlice", &slice, err) < 0)
		return err->code;
	/* One that lost its Service still has to go with it. */
	standing = injector__object_standing(service || !is_ours(slice, sink) ? service : slice, sink);
	address = address_in(service, slice);
	differs = service ? difference(service, slice, sink) : slice ? "the Service is missing" : NULL;
	if (address) {
		injector__digest(injector, address, strlen(address), digest);
		json_object_set_new(standing, "keys", json_pack("{ss}", key ? key : "address", digest));
	}
	if (differs && !strcmp(intent_json_string(standing, "state", ""), "ours"))
		json_object_set_new(standing, "differs", json_string(differs));
	*ret_new = json_incref(standing);
	return 0;
}

/* ---- writing ---- */

/* What may not be an endpoint, or a name: said without quoting it. */
static int check_address(const char *address, int family, struct intent_error *err)
{
	static const char *const never[] = {"127.", "0.", "169.254.", "::1", "fe80:", "FE80:"};
	size_t length = strlen(address);
	intent_free_auto char *name = strndup(address, length - intent_ends_with(address, "."));
	const char *fault;

	for (size_t i = 0; family && i < sizeof(never) / sizeof(*never); i++)
		if (intent_starts_with(address, never[i]) || !strcmp(address, "::"))
			return intent_fail(err, INTENT_EREFUSED,
					   "the value is an address of this host or link alone, which no "
					   "other pod can reach: take another output");
	if (family)
		return 0;
	if (strchr(address, ':') || strchr(address, '/'))
		return intent_fail(err, INTENT_EREFUSED,
				   "the value is more than a host's name (it holds \"%c\"): take an output "
				   "that has neither scheme nor port", strchr(address, ':') ? ':' : '/');
	fault = injector__dns_fault(name, 253);
	return fault ? intent_fail(err, INTENT_EREFUSED,
				   "the value is neither an IP address nor a host's name, which %s", fault) : 0;
}

static json_t *slice_for(const struct injector_sink *sink, const char *address, int family)
{
	json_t *slice = injector__object_new(sink, SLICE_API, "EndpointSlice");
	json_t *labels = json_object_get(json_object_get(slice, "metadata"), "labels");

	json_object_set(labels, "kubernetes.io/service-name", json_object_get(sink->document, "name"));
	json_object_set_new(labels, "endpointslice.kubernetes.io/managed-by", json_string(INJECTOR_MANAGER));
	json_object_set_new(slice, "addressType", json_string(type_of(family)));
	json_object_set_new(slice, "endpoints",
			    json_pack("[{s[s] s{sb}}]", "addresses", address, "conditions", "ready", 1));
	return slice;
}

static json_t *service_for(const struct injector_sink *sink, const char *address, int family)
{
	json_t *service = injector__object_new(sink, "v1", "Service");

	json_object_set_new(service, "spec", family ? json_pack("{ss ss}", "type", "ClusterIP", "clusterIP", "None") :
			    json_pack("{ss ss}", "type", "ExternalName", "externalName", address));
	return service;
}

/* *ret_new NULL: there is none. */
static int get_ours(struct injector *injector, const struct injector_sink *sink, const char *kind, json_t **ret_new,
		    struct intent_error *err)
{
	return injector__object_get(injector, sink, kind, ret_new, err) < 0 ? err->code :
		injector__object_check(*ret_new, sink, err);
}

static int write_by_name(struct injector *injector, const struct injector_sink *sink, const char *name,
			 struct intent_error *err)
{
	if (injector__object_apply(injector, sink, service_for(sink, name, 0), err) < 0)
		return err->code;
	return injector__object_remove(injector, sink, SLICE_API, "EndpointSlice", err);
}

static int write_by_address(struct injector *injector, const struct injector_sink *sink, const char *address,
			    int family, struct intent_error *err)
{
	intent_json_auto json_t *slice = NULL;
	const char *type;

	if (get_ours(injector, sink, "EndpointSlice", &slice, err) < 0)
		return intent_wrap(err, "EndpointSlice");
	type = intent_json_string(slice, "addressType", NULL);
	if (type && strcmp(type, type_of(family)) &&
	    injector__object_remove(injector, sink, SLICE_API, "EndpointSlice", err) < 0)
		return err->code;
	if (injector__object_apply(injector, sink, slice_for(sink, address, family), err) < 0)
		return err->code;
	return injector__object_apply(injector, sink, service_for(sink, address, family), err);
}

static int write_service(struct injector *injector, const struct injector_sink *sink, const json_t *values,
			 struct intent_error *err)
{
	const char *address = json_string_value(json_object_iter_value(json_object_iter((json_t *)(uintptr_t)values)));
	intent_json_auto json_t *service = NULL;
	int family = address ? family_of(address) : 0;

	if (!address)
		return intent_fail(err, INTENT_EMALFORMED, "there is no address for it");
	if (check_address(address, family, err) < 0 || get_ours(injector, sink, "Service", &service, err) < 0)
		return err->code;
	return family ? write_by_address(injector, sink, address, family, err) :
			write_by_name(injector, sink, address, err);
}

static int remove_both(struct injector *injector, const struct injector_sink *sink, struct intent_error *err)
{
	if (injector__object_remove(injector, sink, "v1", "Service", err) < 0)
		return err->code;
	return injector__object_remove(injector, sink, SLICE_API, "EndpointSlice", err);
}

const struct injector_sink_kind injector__externalname = {"externalname", observe, write_service, remove_both};
