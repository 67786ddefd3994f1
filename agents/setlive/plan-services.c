/* The planner's view of services: which must be stopped, started, or have something noted. Pure. */
#include "plan.h"

const json_t *setlive__service_of(const struct look *look, const char *name)
{
	return json_object_get(json_object_get(look->observed, "services"), name);
}

const json_t *setlive__install_of(const struct look *look, const char *version)
{
	return json_object_get(json_object_get(look->observed, "installs"), version);
}

bool setlive__has(const json_t *array, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)array, i, item)
		if (!strcmp(json_string_value(item), name))
			return true;
	return false;
}

void setlive__add(json_t *array, const char *name)
{
	if (!setlive__has(array, name))
		json_array_append_new(array, json_string(name));
}

bool setlive__has_hook(const struct look *look, const char *version, const char *hook)
{
	return version && setlive__has(json_object_get(json_object_get(look->observed, "hooks"),
						       version), hook);
}

/* Does it run, or will it at once? */
static bool runs(const json_t *service)
{
	return intent_json_boolean(service, "running", false) ||
	       !strcmp(intent_json_string(service, "want", "down"), "up");
}

/*
 * Is it running now, or would it after a reboot? What was told to end and has not counts: whoever told it may have
 * been killed before its time was over, and then nobody else would end it.
 */
bool setlive__is_up(const json_t *service)
{
	return service && (runs(service) || !intent_json_boolean(service, "down", false));
}

/* Is it as told, under a supervisor, and staying so after a reboot? */
static bool is_live(const json_t *service)
{
	return service && !strcmp(intent_json_string(service, "want", "down"), "up") &&
	       !intent_json_boolean(service, "down", false) &&
	       intent_json_boolean(service, "supervised", false);
}

bool setlive__all_noted(const struct look *look, const json_t *names, const char *note)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		const json_t *service = setlive__service_of(look, json_string_value(item));

		if (!intent_json_boolean(json_object_get(service, "started"), note, false))
			return false;
	}
	return true;
}

bool setlive__any_noted(const struct look *look, const json_t *names, const char *note, bool value)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		const json_t *service = setlive__service_of(look, json_string_value(item));

		if (intent_json_boolean(json_object_get(service, "started"), note, !value) == value)
			return true;
	}
	return false;
}

/* ---- what a process saw of intent ---- */

/* Members of deploy_config that it must be started again for. */
static const char *const of_deploy[] = { "environment", "runas", "limits", "restart", NULL };

json_t *setlive__wanted(const json_t *intent, const json_t *observed, const char *version)
{
	const json_t *deploy = json_object_get(intent, "deploy");
	const json_t *config = json_object_get(intent, "config");
	json_t *wanted = json_pack("{ss sO* sO* sO*}", "version", version,
				   "basedir", json_object_get(intent, "basedir"),
				   "user_config", json_object_get(config, "user_config"),
				   "envdir", json_object_get(observed, "envdir"));

	for (const char *const *member = of_deploy; wanted && *member; member++)
		if (json_object_get(deploy, *member))
			json_object_set(wanted, *member, json_object_get(deploy, *member));
	return wanted;
}

/* The first member of what is wanted that is not as it was at the start; NULL: all are. */
static const char *differing(const json_t *started, const json_t *wanted)
{
	static const char *const members[] = { "version", "user_config", "environment", "runas",
					       "basedir", "limits", "restart", "envdir" };

	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		const json_t *is = json_object_get(started, members[i]);
		const json_t *shall = json_object_get(wanted, members[i]);

		if (is != shall && !(is && shall && json_equal(is, shall)))
			return members[i];
	}
	return NULL;
}

bool setlive__is_as_wanted(const json_t *started, const json_t *wanted)
{
	return json_is_object(started) && !differing(started, wanted);
}

/* A retry was asked for, and what it is about has neither begun again nor mended itself. */
static bool is_to_retry(const struct look *look, const json_t *started)
{
	return look->slot && !strcmp(intent_json_string(look->slot, "target", ""), look->target) &&
	       !intent_json_boolean(started, "settled", false) &&
	       *intent_json_string(look->observed, "health", "?") &&
	       intent_json_integer(look->slot, "attempt", 0) >
		       intent_json_integer(started, "attempt", 0);
}

/* Why a running service must be started again, for the reason; NULL: it need not. */
static const char *why_restart(const struct look *look, const json_t *started, char out[512])
{
	const char *member;

	if (!json_is_object(started)) {
		snprintf(out, 512, "what it was started with is not known");
		return out;
	}
	member = differing(started, look->wanted);
	if (member && !strcmp(member, "version"))
		snprintf(out, 512, "%s is %s, %s runs", look->version,
			 !strcmp(look->version, look->active) ? "active" : "to be live instead",
			 intent_json_string(started, "version", ""));
	else if (member)
		snprintf(out, 512, "%s changed", member);
	else if (is_to_retry(look, started))
		snprintf(out, 512, "%s is tried again, as was asked for", look->version);
	else if (!intent_json_boolean(started, "enabled", true) &&
		 !setlive__has_hook(look, look->version, "enable"))
		snprintf(out, 512, "its bin/disable has run, and it has no bin/enable");
	else
		return NULL;
	return out;
}

/* Started with just this once, or stopped by us and not started since: it was begun with. */
static bool was_begun(const json_t *service, const char *reason)
{
	return service && (!reason || (!json_object_get(service, "started") && !runs(service) &&
				       !intent_json_boolean(service, "down", true)));
}

void setlive__change_find(const struct look *look, struct change *ret)
{
	char this[512];
	const char *name;
	json_t *service, *item;
	size_t i;
	bool begun = true;

	*ret = (struct change){ .restart = json_array(), .leave = json_array(),
				.start = json_array(), .running = json_array() };
	json_object_foreach(json_object_get(look->observed, "services"), name, service) {
		if (json_object_get(service, "foreign") || !setlive__is_up(service))
			continue;
		const char *reason = why_restart(look, json_object_get(service, "started"), this);

		if (!setlive__has(look->run, name))
			setlive__add(ret->leave, name);
		else if (reason)
			setlive__add(ret->restart, name);
		else
			continue;
		if (runs(service))
			setlive__add(ret->running, name);
		if (!*ret->why)
			snprintf(ret->why, sizeof ret->why, "%s",
				 reason ? reason : "the active version has no such service");
	}
	json_array_foreach((json_t *)(uintptr_t)look->run, i, item) {
		service = json_object_get(json_object_get(look->observed, "services"),
					  json_string_value(item));
		if (!setlive__has(ret->restart, json_string_value(item)) && is_live(service))
			continue;
		setlive__add(ret->start, json_string_value(item));
		if (!was_begun(service, why_restart(look, json_object_get(service, "started"), this)))
			begun = false;
	}
	ret->known = begun && !json_array_size(ret->running);
}

void setlive__change_release(struct change *change)
{
	json_decref(change->restart);
	json_decref(change->leave);
	json_decref(change->running);
	json_decref(change->start);
}

bool setlive__is_due(const struct change *change)
{
	return json_array_size(change->restart) || json_array_size(change->leave) ||
	       json_array_size(change->start);
}
