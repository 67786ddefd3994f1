/* ConfigMaps, Secrets and ExternalName Services. */
#include "injector.h"

static int observe(struct injector *injector, const struct injector_sink *sink, json_t **ret_new, struct intent_error *err)
{
	(void)injector, (void)ret_new;
	return intent_fail(err, INTENT_EREFUSED, "%s: this build has no sinks of Kubernetes", sink->id);
}

static int write_values(struct injector *injector, const struct injector_sink *sink, const json_t *values,
			struct intent_error *err)
{
	(void)injector, (void)values;
	return intent_fail(err, INTENT_EREFUSED, "%s: this build has no sinks of Kubernetes", sink->id);
}

static int remove_object(struct injector *injector, const struct injector_sink *sink, struct intent_error *err)
{
	(void)injector;
	return intent_fail(err, INTENT_EREFUSED, "%s: this build has no sinks of Kubernetes", sink->id);
}

const struct injector_sink_kind injector__configmap = {"configmap", observe, write_values, remove_object};
const struct injector_sink_kind injector__secret = {"secret", observe, write_values, remove_object};
const struct injector_sink_kind injector__externalname = {"externalname", observe, write_values, remove_object};
