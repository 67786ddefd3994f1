/* The steps of a plan: each with its reason, its arguments and what it makes of the observed document. Pure. */
#include "plan.h"

#define STOP_S 10 /* from SIGTERM to SIGKILL, the engine's own default */

static const char *version_of(const struct look *look)
{
	return intent_json_string(look->wanted, "version", "");
}

static json_t *container_patch(const char *name, json_t *patch)
{
	return json_pack("{s{so}}", "containers", name, patch);
}

/* What the store is asked at the last moment, before something that a person would notice. */
static json_t *asking(const struct look *look, json_t *args)
{
	bool slot = look->min_nodes || look->slot;

	if (slot)
		json_object_set_new(args, "ask", json_pack("{ss ss}", "version", version_of(look), "target",
							   look->target));
	else if (!json_object_get(look->observed, "store_error"))
		json_object_set_new(args, "ask", json_object());
	return args;
}

void docker__plan_slot(struct look *look)
{
	intent_plan_add(look->plan, "slot", version_of(look),
			json_pack("{ss ss}", "version", version_of(look), "target", look->target),
			json_pack("{s{ss ss sn sn sn} sb}", "slot", "version", version_of(look), "target",
				  look->target, "failed", "failed_at", "instead", "noted_slot", 1),
			"Taking the shutdown slot: %s is to run", version_of(look));
}

void docker__plan_pull(struct look *look)
{
	const char *image = intent_json_string(look->wanted, "image", "");
	bool there = json_object_get(json_object_get(look->observed, "images"), image);

	intent_plan_add(look->plan, "pull", image, NULL, json_pack("{s{ss}}", "images", image, "pulled"),
			"Pulling: %s", there ?
			"the registry is always asked" : "there is no such image here");
}

static void plan_object(struct look *look, const char *kind, const char *name)
{
	bool network = !strcmp(kind, "networks");

	if (!name || (network && docker__is_builtin(name)) || json_object_get(json_object_get(look->observed,
											      kind), name))
		return;
	intent_plan_add(look->plan, network ? "network" : "volume", name, NULL,
			json_pack("{s{sb}}", kind, name, 1), "Making %s %s: there is none",
			network ? "network" : "volume", name);
}

void docker__plan_objects(struct look *look)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(look->wanted, "networks"), i, item)
		plan_object(look, "networks", json_string_value(item));
	json_array_foreach(json_object_get(look->wanted, "volumes"), i, item)
		plan_object(look, "volumes", intent_json_string(item, "volume", NULL));
}

void docker__plan_create(struct look *look, const char *why)
{
	intent_plan_add(look->plan, "create", look->name, asking(look, json_pack("{sO}", "spec",
										 look->wanted)),
			container_patch(look->name, json_pack("{ss ss ss sO}", "digest", look->digest,
							      "version",
			 version_of(look), "state", "created", "spec", look->wanted)),
			"Creating %s: %s", look->name, why);
}

/* `made`: right before, in this plan. */
void docker__plan_start(struct look *look, const char *why, bool made)
{
	json_t *patch = json_pack("{ss sn sn}", "state", "running", "lacks", "ended");
	const char *name = made ? look->name : look->current;

	if (made || !json_object_get(look->is, "since_ms"))
		json_object_set_new(patch, "since_ms", json_integer(0));
	intent_plan_add(look->plan, "start", name,
			asking(look, json_pack("{sO sb}", "spec", look->wanted, "alone",
					       docker__is_alone(look->intent, look->wanted))),
			container_patch(name, patch), "Starting %s: %s", name, why);
}

void docker__plan_connect(struct look *look)
{
	const json_t *lacks = json_object_get(look->is, "lacks");
	json_t *item;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)lacks, i, item)
		intent_plan_add(look->plan, "connect", json_string_value(item),
				json_pack("{ss sO}", "container", look->current, "spec", look->wanted),
				container_patch(look->current, json_pack("{sn}", "lacks")),
				"Connecting %s: it is not on network %s", look->current, json_string_value(item));
}

void docker__plan_await(struct look *look, int64_t within_ms)
{
	const char *name = look->current ? look->current : look->name;
	const char *health = intent_json_string(look->is, "health", "?");

	intent_plan_add(look->plan, "await", name, json_pack("{sI}", "within_ms", (json_int_t)within_ms),
			json_pack("{so sn}", "containers", json_pack("{s{ss sb}}", name, "health", "",
								     "settled", 1),
				  "fact"),
			"Checking: %s %s", version_of(look), !look->current ? "is started" :
			*health ? "is not healthy yet" : "is healthy");
}

void docker__plan_drain(struct look *look)
{
	const char *name = look->current ? look->current : look->name;
	int64_t drain = docker__drain_ms(look->intent);
	char words[24];

	if (!drain || intent_json_boolean(look->is, "drained", false))
		return;
	intent_duration_format(drain, words);
	intent_plan_add(look->plan, "drain", name, NULL, container_patch(name, json_pack("{sb}",
											 "drained", 1)),
			"Draining: what ran before goes on for %s", words);
}

/* `alone`: it goes before its successor comes, and is remembered for its return. */
void docker__plan_retire(struct look *look, const char *verb, const char *name, const char *why, bool alone)
{
	const json_t *old = json_object_get(look->containers, name);
	bool failed = !strcmp(intent_json_string(old, "digest", "?"), look->failed);
	/* What has not proved itself is remembered only for want of better. */
	bool keep = alone && !failed && (intent_json_boolean(old, "settled", false) ||
					 !json_object_get(look->observed, "before"));
	json_t *args = json_pack("{ss sb sI}", "id", intent_json_string(old, "id", ""), "logs", failed, "stop_s",
		(json_int_t)intent_json_integer(json_object_get(old, "spec"), "stop_timeout", STOP_S));
	json_t *effect = container_patch(name, json_null());

	if (keep) {
		json_object_set_new(args, "keep", json_true());
		json_object_set(effect, "before", json_object_get(old, "spec"));
	}
	intent_plan_add(look->plan, verb, name, alone && look->wanted ? asking(look, args) : args, effect,
			"Removing %s: %s", name, why);
}

void docker__plan_mark(struct look *look, const char *failed)
{
	const char *instead = look->stand_in ? version_of(look) : NULL;

	intent_plan_add(look->plan, "mark", look->active,
			json_pack("{ss ss ss ss*}", "version", look->active, "target", look->target, "failed",
				  failed, "instead", instead),
			json_pack("{s{ss ss ss ss* sO*} sb}", "slot", "version", look->active, "target",
				  look->target, "failed", failed, "instead", instead, "attempt",
				  json_object_get(look->slot, "attempt"), "noted_slot", 1),
			"Marking: %s %s%s%s", look->active, failed, instead ? "; back to " : "",
			instead ? instead : "");
}

void docker__plan_release(struct look *look, const char *cluster, const char *version)
{
	bool ours = !strcmp(cluster, intent_json_string(look->intent, "cluster", ""));
	json_t *effect = ours ? json_pack("{sn sn}", "slot", "noted_slot") :
		json_pack("{s{sn}}", "elsewhere", cluster);

	intent_plan_add(look->plan, "release", cluster, json_pack("{ss ss*}", "cluster", cluster,
								  "version", version),
			effect, "Giving back the shutdown slot of %s in %s", look->app, cluster);
}
