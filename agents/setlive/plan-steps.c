/*
 * The steps of a plan: each an action with its reason, its arguments and what it makes of the observed
 * document. Pure.
 */
#include <intent/health.h>
#include "plan.h"

static void join(struct intent_text *text, const json_t *array)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)array, i, item)
		intent_text_printf(text, "%s%s", i ? ", " : "", json_string_value(item));
}

/* effect: the same patch for each of the services named. */
static json_t *services_patch(const json_t *names, const json_t *patch)
{
	json_t *services = json_object();
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)names, i, item)
		json_object_set_new(services, json_string_value(item), json_deep_copy(patch));
	return json_pack("{so}", "services", services);
}

/* ... of what each was started with. The value is stolen. */
static json_t *started_patch(const json_t *names, const char *note, json_t *value)
{
	intent_json_auto json_t *patch = json_pack("{s{so}}", "started", note, value);

	return services_patch(names, patch);
}

/* The first step that a person would notice asks the store once more; a stop always does. */
static json_t *asking(struct look *look, bool again, json_t *args)
{
	if (look->ask != ASK_NOTHING && (again || !look->asked))
		json_object_set_new(args, "ask", look->ask == ASK_HOLD ? json_object() :
				    json_pack("{ss ss}", "version", look->version, "target", look->target));
	look->asked = true;
	return args;
}

/*
 * What `current` is about to be turned away from, if it has been healthy since its start: for `previous` to name, so
 * that a rollback leads to something that worked here. Borrowed; NULL: nothing to be named.
 */
static const char *worth_keeping(const struct look *look)
{
	const char *current = intent_json_string(look->observed, "current", ""), *name;
	bool found = false;
	json_t *service;

	if (look->version && !strcmp(current, look->version))
		return NULL;
	json_object_foreach(json_object_get(look->observed, "services"), name, service) {
		const json_t *started = json_object_get(service, "started");

		if (strcmp(intent_json_string(started, "version", "/"), current))
			continue;
		if (!intent_json_boolean(started, "settled", false))
			return NULL;
		found = true;
	}
	return found ? current : NULL;
}

void setlive__plan_slot(struct look *look)
{
	intent_plan_add(
		look->plan, "slot", look->version,
		json_pack("{ss ss}", "version", look->version, "target", look->target),
		json_pack("{s{ss ss sn sn sn}}", "slot", "version", look->version, "target",
			  look->target, "failed", "failed_at", "instead"),
		"Taking the shutdown slot: %s is to be set live", look->version);
}

void setlive__plan_disable(struct look *look, const json_t *names, const char *why)
{
	const char *version = intent_json_string(look->observed, "current", NULL);

	if (!json_array_size(names) || !setlive__has_hook(look, version, "disable"))
		return;
	intent_plan_add(look->plan, "disable", version,
			asking(look, false, json_pack("{ss sO}", "version", version,
						      "services", names)),
			started_patch(names, "enabled", json_false()), "Disabling: %s", why);
}

void setlive__plan_stop(struct look *look, json_t *names, bool for_good, const char *why)
{
	intent_json_auto json_t *patch = json_pack("{ss sb sn}", "want", "down", "running", 0,
						   "started");
	intent_text_auto struct intent_text list = INTENT_TEXT_INIT;

	if (!json_array_size(names))
		return;
	if (for_good)
		json_object_set_new(patch, "down", json_true());
	join(&list, names);
	intent_plan_add(look->plan, "stop", intent_text_str(&list),
			asking(look, true, json_pack("{sO sb ss*}", "services", names, "for_good",
						     for_good, "previous", worth_keeping(look))),
			services_patch(names, patch), "Stopping: %s", why);
}

void setlive__plan_configure(struct look *look, const char *name)
{
	const json_t *service = setlive__service_of(look, name);
	const json_t *stale = json_object_get(service, "stale");
	bool linked = intent_json_boolean(service, "linked", false);
	intent_text_auto struct intent_text why = INTENT_TEXT_INIT;
	intent_json_auto json_t *patch = json_pack("{sb s[]}", "linked", 1, "stale");

	if (linked && !json_array_size(stale))
		return;
	if (!service) {
		json_object_set_new(patch, "want", json_string("down"));
		json_object_set_new(patch, "down", json_true());
		intent_text_printf(&why, "%s is new", name);
	} else if (json_array_size(stale)) {
		intent_text_printf(&why, "%s: not as intended: ", name);
		join(&why, stale);
	} else {
		intent_text_printf(&why, "%s is not linked into %s", name,
				   intent_json_string(look->observed, "runit", "?"));
	}
	intent_json_auto json_t *names = json_pack("[s]", name);
	intent_plan_add(look->plan, "configure", name, NULL, services_patch(names, patch),
			"Configuring service builder: %.700s", intent_text_str(&why));
}

void setlive__plan_symlink(struct look *look)
{
	const char *current = intent_json_string(look->observed, "current", NULL);
	char found[300];

	if (current && !strcmp(current, look->version))
		return;
	snprintf(found, sizeof found, "%s%s",
		 current ? "current points at " : "there is no current link",
		 current ? current : "");
	intent_plan_add(look->plan, "symlink", look->version,
			asking(look, false, json_pack("{ss ss*}", "version", look->version,
						      "previous", worth_keeping(look))),
			json_pack("{ss}", "current", look->version),
			"Symlinking: %s, %s is %s", found, look->version,
			!strcmp(look->version, look->active) ? "active" :
							       "to be live instead");
}

/* Were all of these started with just this before, and found healthy? */
static bool are_proven(const struct look *look, const json_t *names)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)names, i, item)
		if (!setlive__is_as_wanted(json_object_get(setlive__service_of(look, json_string_value(item)),
							   "started"), look->wanted))
			return false;
	return setlive__all_noted(look, names, "settled");
}

/*
 * Beside what is wanted, what must not be lost while the store cannot be read: that a slot of ours may
 * stand there, which retry this is, for which target it stands in.
 */
static json_t *start_record(const struct look *look, const json_t *names)
{
	json_t *record = json_copy(look->wanted);
	int64_t attempt = look->slot ? intent_json_integer(look->slot, "attempt", 0) : 0;

	bool proven = are_proven(look, names);
	bool slot = proven ? setlive__any_noted(look, names, "slot", true) :
		    look->min_nodes || json_object_get(look->observed, "store_error");

	if (proven)
		json_object_set_new(record, "settled", json_true());
	if (slot || look->slot)
		json_object_set_new(record, "slot", json_true());
	if (attempt)
		json_object_set_new(record, "attempt", json_integer(attempt));
	if (strcmp(look->version, look->active))
		json_object_set_new(record, "instead_for", json_string(look->target));
	return record;
}

void setlive__plan_start(struct look *look, json_t *names)
{
	intent_json_auto json_t *record = start_record(look, names);
	intent_json_auto json_t *patch = json_pack("{ss sb sb sb sO}", "want", "up", "running", 1, "down",
						   0, "supervised", 1, "started", record);
	intent_text_auto struct intent_text list = INTENT_TEXT_INIT;

	if (!json_array_size(names))
		return;
	join(&list, names);
	json_t *effect = services_patch(names, patch);
	json_object_set_new(effect, "started_ms", json_integer(0));
	json_object_set_new(effect, "health", json_null());
	intent_plan_add(look->plan, "start", intent_text_str(&list),
			asking(look, false, json_pack("{sO sO}", "services", names, "wanted",
						      record)),
			effect, "Starting: %s", look->version);
}

void setlive__plan_enable(struct look *look, const char *version, const json_t *names)
{
	intent_plan_add(look->plan, "enable", version,
			json_pack("{ss sO}", "version", version, "services", names),
			started_patch(names, "enabled", json_true()), "Enabling: %s", version);
}

/* What was published before it was healthy again says nothing. */
void setlive__plan_await(struct look *look, bool starts, int64_t within_ms)
{
	const char *health = intent_json_string(look->observed, "health", "?");
	json_t *effect = started_patch(look->run, "settled", json_true());

	json_object_set_new(effect, "health", json_string(""));
	json_object_set_new(effect, "checked", json_string(look->version));
	json_object_set_new(effect, "fact", json_null());
	intent_plan_add(look->plan, "await", look->version,
			json_pack("{sI sO}", "within_ms", (json_int_t)within_ms, "services",
				  look->run),
			effect, "Checking: %s %s", look->version,
			starts ? "is started" :
			*health ? "is not healthy yet" : "is healthy");
}

void setlive__plan_mark(struct look *look, const char *failed, const char *instead)
{
	intent_plan_add(
		look->plan, "mark", look->version,
		json_pack("{ss ss ss ss*}", "version", look->version, "target", look->target,
			  "failed", failed, "instead", instead),
		json_pack("{s{ss ss ss ss* sO*}}", "slot", "version", look->version, "target",
			  look->target, "failed", failed, "instead", instead,
			  "attempt", json_object_get(look->slot, "attempt")),
		"Marking: %s %s%s%s", look->version, failed, instead ? "; back to " : "",
		instead ? instead : "");
}

void setlive__plan_release(struct look *look, const char *cluster, const char *version, const json_t *names)
{
	json_t *effect = names ? started_patch(names, "slot", json_null()) : json_object();
	bool ours = !strcmp(cluster, intent_json_string(look->intent, "cluster", ""));

	if (ours)
		json_object_set_new(effect, "slot", json_null());
	else
		json_object_set_new(effect, "elsewhere", json_pack("{sn}", cluster));
	intent_plan_add(look->plan, "release", cluster,
			json_pack("{ss ss* sO*}", "cluster", cluster, "version", version,
				  "services", names), effect,
			"Giving back the shutdown slot of %s in %s", look->app, cluster);
}

/* A service of ours that nothing asks for any more. */
void setlive__plan_remove(struct look *look, const char *verb, const char *name, const char *why)
{
	intent_plan_add(look->plan, verb, name, NULL, json_pack("{s{sn}}", "services", name),
			"Removing %s: %s", name, why);
}
