/* What is to run, and what instead when that fails. Pure. */
#include <intent/health.h>
#include "plan.h"

const char *docker__store_error(const struct look *look)
{
	return intent_json_string(look->observed, "store_error", NULL);
}

bool docker__is_marked(const struct look *look)
{
	return look->slot && !strcmp(intent_json_string(look->slot, "target", ""), look->target) &&
		json_object_get(look->slot, "failed");
}

bool docker__runs(const json_t *container)
{
	static const char *const states[] = { "running", "restarting", "paused" };

	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		if (!strcmp(intent_json_string(container, "state", ""), states[i]))
			return true;
	return false;
}

/* ---- what is to run ---- */

/* The container that is as wanted; of several the one that runs, and has proved itself. */
static void find_current(struct look *look)
{
	const char *name;
	json_t *container;
	int best = -1;

	look->current = NULL;
	look->is = NULL;
	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container) {
		int good = 2 * docker__runs(container) + intent_json_boolean(container, "settled", false);

		if (!strcmp(intent_json_string(container, "digest", ""), look->digest) && good > best) {
			look->current = name;
			look->is = container;
			best = good;
		}
	}
}

void docker__choose(struct look *look, json_t *spec)
{
	json_decref(look->wanted);
	free(look->name);
	look->wanted = spec;
	look->name = docker__name(look->intent, spec);
	docker__spec_digest(spec, look->digest);
	find_current(look);
}

bool docker__is_failed(const struct look *look, const json_t *container)
{
	return !strcmp(intent_json_string(container, "digest", "?"), look->failed);
}

/* What stands in for a version that failed: what still runs beside it, else what ran before it. New; NULL: nothing. */
static json_t *stand_in(const struct look *look)
{
	json_t *spec = NULL, *container;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)look->containers, name, container)
		if (!docker__is_failed(look, container) && json_object_get(container, "spec") &&
		    (!spec || docker__runs(container)))
			spec = json_object_get(container, "spec");
	return json_incref(spec ? spec : json_object_get(look->observed, "before"));
}

void docker__fall_back(struct look *look)
{
	snprintf(look->failed, sizeof look->failed, "%s", look->digest);
	json_t *spec = stand_in(look);

	look->stand_in = spec;
	look->current = NULL;
	look->is = NULL;
	if (spec)
		docker__choose(look, spec);
}

/* ---- failure ---- */

int64_t docker__time_left(const struct look *look)
{
	return intent_health_deadline(intent_json_at(look->intent, "/deploy/health")) -
		intent_json_integer(look->is, "since_ms", 0);
}

/* Never healthy since it was made, and it had its time. */
static bool has_failed(const struct look *look)
{
	return look->is && !intent_json_boolean(look->is, "settled", false) && docker__time_left(look) <= 0 &&
		*intent_json_string(look->is, "health", "?");
}

void docker__plan_failure(struct look *look)
{
	char failed[128], limit[24];

	if (docker__is_marked(look) || docker__store_error(look) || !has_failed(look))
		return;
	intent_duration_format(intent_health_deadline(intent_json_at(look->intent, "/deploy/health")), limit);
	snprintf(failed, sizeof failed, "was not healthy within %s", limit);
	docker__fall_back(look);
	docker__plan_mark(look, failed);
	look->slot = intent_json_at(json_array_get(look->plan->actions, json_array_size(look->plan->actions) - 1),
				    "/effect/slot");
}

void docker__say_mark(struct look *look)
{
	char now[200] = "nothing runs instead";

	if (look->stand_in)
		snprintf(now, sizeof now, "%.150s runs instead", intent_json_string(look->wanted, "version", "?"));
	intent_plan_verdict(look->plan, INTENT_EUNHEALTHY,
			    "%s %s; %s; correct it, or try again with: ppctl rollout retry %s",
			    look->active, intent_json_string(look->slot, "failed", "failed"), now, look->app);
}
