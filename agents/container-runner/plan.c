/*
 * What container-runner would do: pure, from intent and what was observed (runner.h) alone.
 *
 * The order of an update is pull, network, volume, slot, create, start, await, drain, retire, release; for one that is
 * to be alone (state, a fixed port) the old one is retired after the slot. Nothing that runs is touched before
 * everything that the new one needs is known to be there.
 */
#include <intent/documents.h>
#include <intent/fact.h>
#include <intent/health.h>
#include "plan.h"

static bool state_is(const json_t *container, const char *state)
{
	return !strcmp(intent_json_string(container, "state", ""), state);
}

/* ---- shutdown slots ---- */

/* `fact`: what is published says that it is healthy. */
static void plan_release(struct look *look, const char *version, bool fact)
{
	const char *cluster = intent_json_string(look->intent, "cluster", "");

	if (docker__is_marked(look) || (!look->slot && !json_object_get(look->observed, "noted_slot")))
		return;
	if (!docker__store_error(look) && look->slot && look->min_nodes && !fact)
		intent_plan_verdict(look->plan, INTENT_EWAITING,
				    "healthy, but reality/health/%s/%s/%s does not say so yet; "
				    "then its shutdown slot is given back", look->app, cluster,
				    intent_json_string(look->intent, "node", ""));
	else if (!docker__store_error(look))
		docker__plan_release(look, cluster, version);
	else if (look->min_nodes)
		intent_plan_verdict(look->plan, INTENT_EUNAVAILABLE, "its shutdown slot cannot be given back: %s",
				    docker__store_error(look));
}

static bool fact_is_good(const struct look *look)
{
	return intent_json_boolean(look->observed, "fact", false);
}

/* Slots of ours where nothing of ours runs: they go with the fact. */
static void plan_release_idle(struct look *look, const char *cluster, bool fact)
{
	if (!fact)
		docker__plan_release(look, cluster, NULL);
	else
		intent_plan_verdict(look->plan, INTENT_EWAITING,
				    "reality/health/%s/%s/%s still says that it is healthy; then its "
				    "shutdown slot is given back", look->app, cluster,
				    intent_json_string(look->intent, "node", ""));
}

static void plan_release_elsewhere(struct look *look)
{
	const char *cluster;
	json_t *fact;

	json_object_foreach(json_object_get(look->observed, "elsewhere"), cluster, fact)
		plan_release_idle(look, cluster, json_is_true(fact));
}

/* ---- the steps ---- */

static bool is_other(const struct look *look, const char *name, const json_t *container)
{
	return (!look->current || strcmp(name, look->current) != 0) && !docker__is_failed(look, container);
}

static bool has_others(const struct look *look)
{
	const char *name;
	json_t *container;

	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container)
		if (!look->others_gone && is_other(look, name, container))
			return true;
	return false;
}

static void retire_others(struct look *look, const char *why, bool alone)
{
	const char *name;
	json_t *container;

	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container)
		if (!look->others_gone && is_other(look, name, container))
			docker__plan_retire(look, "retire", name, why, alone);
	look->others_gone = true;
}

static void retire_failed(struct look *look)
{
	const char *name;
	json_t *container;

	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container)
		if (docker__is_failed(look, container))
			docker__plan_retire(look, "retire", name, "it failed", false);
}

/* Does it become what it is to be? Then what ran before it goes, and so does the slot. */
static void plan_proof(struct look *look, int64_t within_ms, bool proven)
{
	const char *version = intent_json_string(look->wanted, "version", "");
	char why[160];

	snprintf(why, sizeof why, "%.100s is healthy", version);
	if (!proven)
		docker__plan_await(look, within_ms);
	if (has_others(look))
		docker__plan_drain(look);
	retire_others(look, why, false);
	if (!proven)
		plan_release(look, version, false);
}

/* What it is made of is fetched and made before anything that runs is touched. */
static void plan_parts(struct look *look)
{
	const char *pull = intent_json_string(intent_json_at(look->intent, "/deploy/docker"), "pull", "missing");
	const char *image = intent_json_string(look->wanted, "image", "");
	const char *there = intent_json_string(json_object_get(look->observed, "images"), image, NULL);

	if (!there && !strcmp(pull, "never")) {
		intent_plan_verdict(look->plan, INTENT_EIMAGE,
				    "image %s is not here, and \"pull\" is \"never\": build or load it",
				    image);
		return;
	}
	if (!there || (!strcmp(pull, "always") && strcmp(there, "pulled") != 0))
		docker__plan_pull(look);
	docker__plan_objects(look);
}

/* May something else be started for this? */
static bool may_switch(struct look *look)
{
	const json_t *marked = json_object_get(look->observed, "marked");
	const char *version = intent_json_string(look->wanted, "version", "");

	if (look->stand_in)
		return true;
	if (marked)
		intent_plan_verdict(look->plan, INTENT_EUNHEALTHY,
				    "%s is not started: on %s it %s; correct it, or try again with: "
				    "ppctl rollout retry %s", version, intent_json_string(marked, "node",
											  "another node"),
				    intent_json_string(marked, "failed", "failed"), look->app);
	else if (look->min_nodes && docker__store_error(look))
		intent_plan_verdict(look->plan, INTENT_EUNAVAILABLE,
				    "%s is not started: a shutdown slot is needed (min_nodes is "
				    "%lld), but %s", version, (long long)look->min_nodes, docker__store_error(look));
	else if (json_object_get(look->observed, "in_use"))
		intent_plan_verdict(look->plan, INTENT_ECLASH, "%s",
				    intent_json_string(look->observed, "in_use", ""));
	else
		return true;
	return false;
}

static void plan_slot(struct look *look)
{
	bool needed = look->min_nodes || look->slot;

	if (needed && !look->stand_in && !docker__store_error(look))
		docker__plan_slot(look);
}

static void plan_new(struct look *look)
{
	const char *version = intent_json_string(look->wanted, "version", "");
	bool alone = docker__is_alone(look->intent, look->wanted);
	int64_t within = intent_health_deadline(intent_json_at(look->intent, "/deploy/health"));
	char why[200];

	if (!may_switch(look))
		return;
	plan_parts(look);
	if (look->plan->verdict.code == INTENT_EIMAGE)
		return;
	snprintf(why, sizeof why, "%.100s is %s", version, look->stand_in ? "to run instead" : "active");
	plan_slot(look);
	if (alone)
		retire_others(look, "its successor is not to run beside it", true);
	docker__plan_create(look, why);
	docker__plan_start(look, why, true);
	plan_proof(look, within, false);
}

/* Down, and not because it is to be. */
static bool is_to_start(const struct look *look)
{
	return (state_is(look->is, "created") || state_is(look->is, "exited") || state_is(look->is, "dead")) &&
		!intent_json_boolean(look->is, "ended", false);
}

static void plan_start(struct look *look)
{
	bool alone = docker__is_alone(look->intent, look->wanted);

	if (json_object_get(look->observed, "in_use")) {
		intent_plan_verdict(look->plan, INTENT_ECLASH, "%s", intent_json_string(look->observed,
											"in_use", ""));
		return;
	}
	docker__plan_objects(look);
	if (alone && has_others(look)) {
		plan_slot(look);
		retire_others(look, "its successor is not to run beside it", true);
	}
	docker__plan_start(look, state_is(look->is, "created") ? "it was made, but not started" : "it is down", false);
}

static void plan_current(struct look *look)
{
	const char *health = intent_json_string(look->is, "health", NULL);
	const char *version = intent_json_string(look->wanted, "version", "");
	bool settled = intent_json_boolean(look->is, "settled", false), down = is_to_start(look);
	int64_t left = docker__time_left(look);

	if (down)
		plan_start(look);
	if (look->plan->verdict.code == INTENT_ECLASH)
		return;
	if (!down)
		docker__plan_connect(look);
	if (!settled && left > 0) {
		plan_proof(look, left, false);
		return;
	}
	if (!settled && (!health || *health)) {
		intent_plan_verdict(look->plan, INTENT_EUNHEALTHY, "%s was not healthy in its time: %s", version,
				    health ? health : "not checked");
		return;
	}
	plan_proof(look, 0, settled);
	if (!down && health && *health)
		intent_plan_verdict(look->plan, INTENT_EUNHEALTHY, "%s is not healthy: %s", version, health);
	if (!down && settled && health && !*health)
		plan_release(look, version, fact_is_good(look));
}

/* ---- the cases ---- */

/* Not again, so soon after the engine failed at it. */
static bool is_paused(struct look *look)
{
	const json_t *pause = json_object_get(look->observed, "pause");

	if (pause)
		intent_plan_verdict(look->plan, (int)intent_json_integer(pause, "code", INTENT_EUNAVAILABLE), "%s",
				    intent_json_string(pause, "message", ""));
	return pause;
}

static void plan_live(struct look *look)
{
	if (docker__is_marked(look))
		docker__fall_back(look);
	else
		docker__plan_failure(look);
	if (*look->failed)
		docker__say_mark(look);
	if (is_paused(look))
		return;
	if (*look->failed) {
		retire_failed(look);
		if (!look->stand_in)
			return;
	}
	if (look->current)
		plan_current(look);
	else
		plan_new(look);
}

/* What runs goes on running. */
static void leave_be(struct look *look)
{
	const char *name;
	json_t *container;

	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container)
		if (json_object_size(look->containers) == 1 && docker__runs(container) &&
		    !*intent_json_string(container, "health", "?"))
			plan_release(look, intent_json_string(container, "version", NULL), fact_is_good(look));
}

static void plan_idle(struct look *look)
{
	const char *name;
	json_t *container;

	if (is_paused(look))
		return;
	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container)
		docker__plan_retire(look, "retire", name, "no version is active", false);
	if (look->slot)
		plan_release_idle(look, intent_json_string(look->intent, "cluster", ""), fact_is_good(look));
}

static void plan_absent(struct look *look)
{
	const char *name;
	json_t *container, *item;
	size_t i;

	if (is_paused(look))
		return;
	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container)
		docker__plan_retire(look, "remove", name, "intent for it is gone from this node", false);
	json_array_foreach(json_object_get(look->observed, "idle_networks"), i, item)
		intent_plan_add(look->plan, "disuse", json_string_value(item), NULL, json_pack("{s[]}", "idle_networks"),
				"Removing network %s: nothing is on it any more", json_string_value(item));
	if (docker__store_error(look))
		intent_plan_verdict(look->plan, INTENT_EUNAVAILABLE,
				    "whether it holds a shutdown slot is not known: %s",
				    docker__store_error(look));
	plan_release_elsewhere(look);
}

/* Does anything stand in the way of everything? */
static bool is_blocked(struct look *look)
{
	const json_t *environment = json_object_get(look->observed, "environment");
	const char *name;
	json_t *sentence;

	json_object_foreach(json_object_get(look->observed, "taken"), name, sentence) {
		intent_plan_verdict(look->plan, INTENT_ENOTOURS, "%s", json_string_value(sentence));
		return true;
	}
	if (!json_object_get(environment, "code"))
		return false;
	intent_plan_verdict(look->plan, (int)intent_json_integer(environment, "code", INTENT_EWAITING), "%s",
			    intent_json_string(environment, "message", ""));
	return true;
}

static int plan_app(struct look *look, struct intent_error *err)
{
	const char *hold = intent_json_string(look->observed, "hold", NULL);
	json_t *spec = NULL;

	if (hold) {
		intent_plan_verdict(look->plan, INTENT_EWAITING, "left as it is, on hold: %s", hold);
		leave_be(look);
		return 0;
	}
	plan_release_elsewhere(look);
	if (!look->active) {
		plan_idle(look);
		return 0;
	}
	if (is_blocked(look)) {
		leave_be(look);
		return 0;
	}
	if (docker__spec(look->intent, look->active,
			 intent_json_string(json_object_get(look->observed, "environment"), "digest", NULL),
				&spec, err))
		return err->code;
	docker__choose(look, spec);
	plan_live(look);
	return 0;
}

static void plan_engine(struct look *look)
{
	const json_t *engine = json_object_get(look->observed, "engine");

	intent_plan_verdict(look->plan, (int)intent_json_integer(engine, "code", INTENT_EENGINE), "%s",
			    intent_json_string(engine, "message", ""));
	/* An engine that was started anew is no fault of the container's. */
	if (json_object_get(look->observed, "unproven"))
		intent_plan_add(look->plan, "suspend", look->app, NULL, json_pack("{sn}", "unproven"),
				"Waiting: the time of a new container of %s begins anew when the engine is back",
				look->app);
}

/* First of all: who waits for what is published must not wait for a pull. `ret`: what keeps it from being published. */
static void plan_fact(struct look *look, struct intent_error *ret)
{
	const json_t *published = json_object_get(look->observed, "published");
	struct intent_plan facts;
	json_t *action;
	size_t i;

	intent_plan_init(&facts);
	if (published)
		intent_fact_plan(look->intent, published, &facts);
	json_array_foreach(facts.actions, i, action) {
		json_object_set_new(action, "effect", json_pack("{sO*}", "published", json_object_get(action,
												      "effect")));
		json_array_append(look->plan->actions, action);
	}
	*ret = facts.verdict;
	intent_plan_release(&facts);
}

int container_runner_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			  struct intent_error *err)
{
	const json_t *config = json_object_get(intent, "config");
	struct look look = {
		.intent = intent, .observed = observed, .plan = plan,
		.containers = json_object_get(observed, "containers"),
		.app = intent_json_string(intent, "app", ""),
		.active = intent_config_active(config),
		.slot = json_object_get(observed, "slot"),
		.min_nodes = intent_json_integer(config, "min_nodes", 0),
	};
	bool absent = intent_json_boolean(intent, "absent", false);
	struct intent_error unpublished = { 0 };
	int code = 0;

	if (!absent)
		intent_slots_target(config, json_object_get(intent, "deploy"), look.target);
	plan_fact(&look, &unpublished);
	if (json_object_get(observed, "engine"))
		plan_engine(&look);
	else if (absent)
		plan_absent(&look);
	else
		code = plan_app(&look, err);
	if (unpublished.code)
		intent_plan_verdict(plan, unpublished.code, "%s", unpublished.msg);
	json_decref(look.wanted);
	free(look.name);
	return code;
}
