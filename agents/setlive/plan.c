/*
 * What setlive would do: pure, from intent and what was observed (setlive.h) alone.
 *
 * The order of an update is slot, disable, stop, configure, symlink, start, enable, await, release; the
 * reasons begin with the words that the seed's transcript has. Nothing is stopped before everything
 * that starting needs is known to be there.
 *
 *	plan.c            the cases: what is to run, what stands in the way, what follows a failure
 *	plan-services.c   the services one by one
 *	plan-steps.c      the actions
 */
#include <intent/documents.h>
#include <intent/health.h>
#include <intent/slots.h>
#include "plan.h"

/* ---- what is kept, what goes ---- */

/*
 * The services whose directories are kept ready: those of every installed version that intent
 * names, so that none of them waits for the supervisor's next scan when it goes live.
 */
static json_t *services_kept(const struct look *look)
{
	json_t *kept = json_array();
	const char *version, *name;
	json_t *install, *item;
	size_t i;

	json_object_foreach(json_object_get(look->observed, "installs"), version, install) {
		bool named = intent_json_at(look->intent, "/config/versions") &&
			     json_object_get(intent_json_at(look->intent, "/config/versions"), version);

		if (named || (look->version && !strcmp(version, look->version)))
			json_array_foreach(install, i, item)
				setlive__add(kept, json_string_value(item));
	}
	if (json_array_size(kept))
		return kept;
	/* Nothing is installed yet: what there is stays, or the usual name is a good guess. */
	json_object_foreach(json_object_get(look->observed, "services"), name, item)
		if (!json_object_get(item, "foreign"))
			setlive__add(kept, name);
	if (!json_array_size(kept))
		setlive__add(kept, look->app);
	return kept;
}

/* Make ready what does not run: what runs keeps what it was started with until it is stopped. */
static void configure_idle(struct look *look, const json_t *kept, bool all_stopped)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)kept, i, item) {
		const json_t *service = setlive__service_of(look, json_string_value(item));

		if (all_stopped || !setlive__is_up(service))
			setlive__plan_configure(look, json_string_value(item));
	}
}

static void drop_obsolete(struct look *look, const json_t *kept)
{
	const char *name;
	json_t *service;

	json_object_foreach(json_object_get(look->observed, "services"), name, service)
		if (!json_object_get(service, "foreign") && !setlive__has(kept, name))
			setlive__plan_remove(look, "drop", name, "no version that intent names has it");
}

/* ---- shutdown slots ---- */

static const char *store_error(const struct look *look)
{
	return intent_json_string(look->observed, "store_error", NULL);
}

static bool slot_is_for_target(const struct look *look)
{
	return look->slot && !strcmp(intent_json_string(look->slot, "target", ""), look->target);
}

/* Did we find that what intent wants does not become healthy? */
static bool is_marked(const struct look *look)
{
	return slot_is_for_target(look) && json_object_get(look->slot, "failed");
}

/* Own check and published fact are both good; `names` run `version`. */
static void plan_release(struct look *look, const char *version, const json_t *names)
{
	const char *cluster = intent_json_string(look->intent, "cluster", "");

	if (is_marked(look) || (!look->slot && !setlive__any_noted(look, names, "slot", true)))
		return;
	if (!store_error(look) && look->slot && look->min_nodes &&
	    !intent_json_boolean(look->observed, "fact", false))
		intent_plan_verdict(look->plan, INTENT_EWAITING,
				    "healthy, but reality/health/%s/%s/%s does not say so yet; then its "
				    "shutdown slot is given back (pp-health-reporter publishes it)",
				    look->app, cluster, intent_json_string(look->intent, "node", ""));
	else if (!store_error(look))
		setlive__plan_release(look, cluster, version, names);
	else if (look->min_nodes)
		intent_plan_verdict(look->plan, INTENT_EUNAVAILABLE,
				    "its shutdown slot cannot be given back: %s", store_error(look));
}

/* Slots of ours where nothing of ours runs: they go with the fact. */
static void plan_release_idle(struct look *look, const char *cluster, bool fact)
{
	if (!fact)
		setlive__plan_release(look, cluster, NULL, NULL);
	else
		intent_plan_verdict(look->plan, INTENT_EWAITING,
				    "reality/health/%s/%s/%s still says that it is healthy; then its shutdown slot "
				    "is given back",
				    look->app, cluster, intent_json_string(look->intent, "node", ""));
}

static void plan_release_elsewhere(struct look *look)
{
	const char *cluster;
	json_t *fact;

	json_object_foreach(json_object_get(look->observed, "elsewhere"), cluster, fact)
		plan_release_idle(look, cluster, json_is_true(fact));
}

/* ---- what stays as it is ---- */

/* What runs goes on running: what was begun with it is taken back. */
static void leave_be(struct look *look)
{
	const char *current = intent_json_string(look->observed, "current", NULL), *name;
	intent_json_auto json_t *names = json_array();
	json_t *service;

	json_object_foreach(json_object_get(look->observed, "services"), name, service)
		if (intent_json_boolean(service, "running", false))
			setlive__add(names, name);
	if (setlive__has_hook(look, current, "enable") && setlive__any_noted(look, names, "enabled", false))
		setlive__plan_enable(look, current, names);
	if (!*intent_json_string(look->observed, "health", "?"))
		plan_release(look, intent_json_string(look->observed, "checked", NULL), names);
}

/* ---- the active version is there ---- */

/* `version` is to be run, if it can be. */
static bool choose(struct look *look, const char *version)
{
	const json_t *install = version ? setlive__install_of(look, version) : NULL;

	if (!json_is_array(install))
		return false;
	json_decref(look->wanted);
	look->version = version;
	look->run = install;
	look->wanted = setlive__wanted(look->intent, look->observed, version);
	return true;
}

/* What stands in for a version that failed: as the mark says, or, without a store, what we noted. */
static const char *stand_in(const struct look *look)
{
	const char *name;
	json_t *service;

	if (is_marked(look))
		return intent_json_string(look->slot, "instead", NULL);
	if (!store_error(look))
		return NULL;
	json_object_foreach(json_object_get(look->observed, "services"), name, service) {
		const json_t *started = json_object_get(service, "started");

		if (!strcmp(intent_json_string(started, "instead_for", ""), look->target))
			return intent_json_string(started, "version", NULL);
	}
	return NULL;
}

/* What was found of the version to be run: "" is good, NULL: nothing was. */
static const char *health_of(const struct look *look)
{
	return strcmp(intent_json_string(look->observed, "checked", ""), look->version) ? NULL :
	       intent_json_string(look->observed, "health", NULL);
}

static bool is_stand_in(const struct look *look)
{
	return strcmp(look->version, look->active) != 0;
}

static int64_t time_left(const struct look *look)
{
	return intent_health_deadline(intent_json_at(look->intent, "/deploy/health")) -
	       intent_json_integer(look->observed, "started_ms", 0);
}

static bool owes_enable(const struct look *look)
{
	return setlive__has_hook(look, look->version, "enable") &&
	       !setlive__all_noted(look, look->run, "enabled");
}

/* A version that has never been healthy since it was started, and had its time: says how it failed. */
static bool has_failed(const struct look *look, char out[128])
{
	const char *health = health_of(look);
	char limit[24];

	if (setlive__all_noted(look, look->run, "settled") || time_left(look) > 0)
		return false;
	intent_duration_format(intent_health_deadline(intent_json_at(look->intent, "/deploy/health")),
			       limit);
	snprintf(out, 128, health && *health ? "was not healthy within %s" :
					       "was not enabled by its bin/enable within %s", limit);
	return !health || *health || owes_enable(look);
}

static bool wants_rollback(const struct look *look)
{
	return !strcmp(intent_json_string(json_object_get(look->intent, "deploy"), "on_failure", "keep"), "rollback");
}

/* What a rollback leads to, which has been healthy here. Borrowed; NULL: there is no such version. */
static const char *way_back(const struct look *look)
{
	const char *previous = intent_json_string(look->observed, "previous", NULL);

	return previous && strcmp(previous, look->active) && json_is_array(setlive__install_of(look, previous)) ?
		previous : NULL;
}

/* The slot is marked, once; with "rollback" the version before is chosen: true. */
static bool plan_failure(struct look *look)
{
	const char *back = wants_rollback(look) ? way_back(look) : NULL;
	char failed[128];

	if (is_marked(look) || is_stand_in(look) || store_error(look) || !has_failed(look, failed))
		return false;
	setlive__plan_mark(look, failed, back);
	look->slot = intent_json_at(json_array_get(look->plan->actions,
						   json_array_size(look->plan->actions) - 1),
				    "/effect/slot");
	return back && choose(look, back);
}

/* What a mark means for this node, until a person does something. */
static void say_mark(struct look *look)
{
	const char *health = health_of(look);
	const char *failed = intent_json_string(look->slot, "failed", "failed");
	bool stuck = !is_stand_in(look) && wants_rollback(look) && !way_back(look);
	char now[300] = "";

	if (!is_marked(look) && !is_stand_in(look))
		return;
	if (is_stand_in(look))
		snprintf(now, sizeof now, "; %s was set live instead", look->version);
	if (health && *health)
		snprintf(now + strlen(now), sizeof now - strlen(now), "%s: %.200s",
			 *now ? " and is not healthy" : "", health);
	else if (health && !*now)
		snprintf(now, sizeof now, "; it is healthy now");
	intent_plan_verdict(look->plan, INTENT_EUNHEALTHY,
			    "%s %s%s%s; correct it, or try again with: ppctl rollout retry %s", look->active, failed, now,
			    stuck ? "; there is no other version to go back to that was healthy here" : "", look->app);
}

/* May what runs be stopped for this, or something else be started? */
static bool may_switch(struct look *look, const struct change *change)
{
	const json_t *marked = json_object_get(look->observed, "marked");

	if (!setlive__is_due(change) || change->known)
		return true;
	if (marked && !is_stand_in(look))
		intent_plan_verdict(
			look->plan, INTENT_EUNHEALTHY,
			"%s is not set live: on %s it %s; correct it, or try again with: ppctl rollout "
			"retry %s",
			look->active, intent_json_string(marked, "node", "another node"),
			intent_json_string(marked, "failed", "failed"), look->app);
	else if (look->min_nodes && store_error(look))
		intent_plan_verdict(look->plan, INTENT_EUNAVAILABLE,
				    "%s is not set live: a shutdown slot is needed (min_nodes is %lld), "
				    "but %s",
				    look->version, (long long)look->min_nodes, store_error(look));
	else
		return true;
	return false;
}

/*
 * The slot is taken anew though we hold one (slots.h says why); for a stand-in the one that was just
 * marked will do.
 */
static void plan_switch(struct look *look, const struct change *change)
{
	bool slot = look->min_nodes || look->slot;

	if (!change->known)
		look->ask = slot ? ASK_SLOT : store_error(look) ? ASK_NOTHING : ASK_HOLD;
	if (setlive__is_due(change) && !change->known && slot && !is_stand_in(look))
		setlive__plan_slot(look);
	setlive__plan_disable(look, change->running, change->why);
	setlive__plan_stop(look, change->restart, false, change->why);
	setlive__plan_stop(look, change->leave, true, change->why);
}

/* What runs as it should proves itself. */
static void plan_proof(struct look *look, bool starts)
{
	const char *health = health_of(look);
	bool settled = setlive__all_noted(look, look->run, "settled");
	int64_t left = time_left(look);
	char failed[128];

	if (starts ? setlive__has_hook(look, look->version, "enable") : owes_enable(look))
		setlive__plan_enable(look, look->version, look->run);
	if (starts) {
		setlive__plan_await(look, true, intent_health_deadline(intent_json_at(look->intent, "/deploy/health")));
	} else if (health && !*health) {
		if (!settled)
			setlive__plan_await(look, false, left > 0 ? left : 0);
	} else if (left > 0) {
		setlive__plan_await(look, false, left);
	} else {
		intent_plan_verdict(look->plan, INTENT_EUNHEALTHY, "%s %s: %s", look->version,
				    has_failed(look, failed) ? failed : "is not healthy",
				    health ? health : "not checked");
	}
}

static bool awaits(const struct look *look)
{
	const json_t *actions = look->plan->actions;
	json_t *action;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)actions, i, action)
		if (!strcmp(intent_json_string(action, "verb", ""), "await"))
			return true;
	return false;
}

static void plan_changed(struct look *look, struct change *change, const json_t *kept)
{
	bool starts = json_array_size(change->start);
	bool proven = !starts && health_of(look) && !*health_of(look) &&
		      setlive__all_noted(look, look->run, "settled");

	if (!may_switch(look, change)) {
		leave_be(look);
		configure_idle(look, kept, false);
		return;
	}
	plan_switch(look, change);
	configure_idle(look, kept, true);
	setlive__plan_symlink(look);
	setlive__plan_start(look, change->start);
	plan_proof(look, starts);
	drop_obsolete(look, kept);
	/* The fact is asked for later; where none is needed, the check is all that there is to wait for. */
	if (proven || (look->slot && !look->min_nodes && awaits(look)))
		plan_release(look, look->version, look->run);
}

static void plan_live(struct look *look)
{
	intent_json_auto json_t *kept = NULL;
	struct change change;

	setlive__change_find(look, &change);
	if (!setlive__is_due(&change) && plan_failure(look)) {
		setlive__change_release(&change);
		setlive__change_find(look, &change);
	}
	say_mark(look);
	kept = services_kept(look);
	plan_changed(look, &change, kept);
	setlive__change_release(&change);
}

/* ---- the cases ---- */

/* The release waits for all that is removed, and for the fact to go. */
static void plan_absent(struct look *look)
{
	const char *name;
	json_t *service;

	json_object_foreach(json_object_get(look->observed, "services"), name, service)
		if (!json_object_get(service, "foreign"))
			setlive__plan_remove(look, "remove", name, "intent for it is gone from this node");
	if (store_error(look))
		intent_plan_verdict(look->plan, INTENT_EUNAVAILABLE,
				    "whether it holds a shutdown slot is not known: %s",
				    store_error(look));
	plan_release_elsewhere(look);
}

/* What is running and not wanted is stopped. */
static void plan_idle(struct look *look, const json_t *kept)
{
	intent_json_auto json_t *names = json_array(), *running = json_array();
	const char *name, *cluster = intent_json_string(look->intent, "cluster", "");
	json_t *service;

	json_object_foreach(json_object_get(look->observed, "services"), name, service) {
		if (json_object_get(service, "foreign") || !setlive__is_up(service))
			continue;
		setlive__add(names, name);
		if (intent_json_boolean(service, "running", false))
			setlive__add(running, name);
	}
	look->ask = store_error(look) ? ASK_NOTHING : ASK_HOLD;
	setlive__plan_disable(look, running, "no version is active");
	setlive__plan_stop(look, names, true, "no version is active");
	configure_idle(look, kept, true);
	drop_obsolete(look, kept);
	if (look->slot)
		plan_release_idle(look, cluster, intent_json_boolean(look->observed, "fact", false));
}

/* Does anything stand in the way of everything? */
static bool is_blocked(struct look *look, const json_t *kept)
{
	const char *problem;
	size_t i;
	json_t *item;

	problem = intent_json_string(look->observed, "runas_error", NULL);
	if (problem) {
		intent_plan_verdict(look->plan, INTENT_EREFUSED, "%s", problem);
		return true;
	}
	problem = intent_json_string(look->observed, "supervisor_error", NULL);
	if (problem) {
		intent_plan_verdict(look->plan, INTENT_EUNSUPERVISED, "%s", problem);
		return true;
	}
	json_array_foreach((json_t *)(uintptr_t)kept, i, item) {
		problem = intent_json_string(setlive__service_of(look, json_string_value(item)),
					     "foreign", NULL);
		if (problem) {
			intent_plan_verdict(look->plan, INTENT_ENOTOURS, "%s", problem);
			return true;
		}
	}
	problem = intent_json_string(look->observed, "current_foreign", NULL);
	if (problem && look->active) {
		intent_plan_verdict(look->plan, INTENT_ENOTOURS, "%s", problem);
		return true;
	}
	return false;
}

/* Without them nothing is started, and so nothing is stopped either. */
static bool misses_variables(struct look *look)
{
	const json_t *error = json_object_get(look->observed, "envdir_error");

	if (error)
		intent_plan_verdict(look->plan, (int)intent_json_integer(error, "code", INTENT_EENVIRONMENT), "%s",
				    intent_json_string(error, "message", ""));
	return error;
}

static void plan_app(struct look *look)
{
	const char *hold = intent_json_string(look->observed, "hold", NULL), *problem;
	intent_json_auto json_t *kept = NULL;

	/* A failed one that runs and has become healthy since is left, though. */
	if (look->active && (!choose(look, look->active) || !health_of(look) || *health_of(look)))
		choose(look, stand_in(look));
	kept = services_kept(look);
	if (hold) {
		intent_plan_verdict(look->plan, INTENT_EWAITING, "left as it is, on hold: %s", hold);
		leave_be(look);
		return;
	}
	if (is_blocked(look, kept))
		return;
	plan_release_elsewhere(look);
	if (look->active && misses_variables(look)) {
		leave_be(look);
		return;
	}
	if (!look->active) {
		plan_idle(look, kept);
		return;
	}
	if (look->version) {
		plan_live(look);
		return;
	}
	problem = intent_json_string(setlive__install_of(look, look->active), "error", NULL);
	if (problem)
		intent_plan_verdict(look->plan, INTENT_EMALFORMED, "%s", problem);
	else
		intent_plan_verdict(
			look->plan, INTENT_ENOTINSTALLED, "%s/installs/%s_%s does not exist yet",
			intent_json_string(look->intent, "basedir", "?"), look->app, look->active);
	leave_be(look);
	configure_idle(look, kept, false);
}

static void plan_sweep(struct look *look)
{
	const json_t *strays = json_object_get(look->observed, "strays");
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)strays, i, item)
		intent_plan_add(look->plan, "sweep", json_string_value(item), NULL, json_pack("{s[]}", "strays"),
				"Sweeping: a killed round left temporaries in %s", json_string_value(item));
}

int setlive_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		 struct intent_error *err)
{
	const json_t *config = json_object_get(intent, "config");
	struct look look = {
		.intent = intent, .observed = observed, .plan = plan,
		.app = intent_json_string(intent, "app", ""),
		.active = intent_config_active(config),
		.slot = json_object_get(observed, "slot"),
		.min_nodes = intent_json_integer(config, "min_nodes", 0),
	};
	bool absent = intent_json_boolean(intent, "absent", false);

	if (!absent && !intent_json_string(intent, "basedir", NULL))
		return intent_fail(err, INTENT_EMALFORMED,
				   "deploy_config of %s has no basedir: say where it is installed",
				   look.app);
	if (!absent)
		intent_slots_target(config, json_object_get(intent, "deploy"), look.target);
	plan_sweep(&look);
	if (absent)
		plan_absent(&look);
	else
		plan_app(&look);
	json_decref(look.wanted);
	return 0;
}
