/*
 * What setlive would do: pure, from intent and what was observed (setlive.h) alone.
 *
 * The order of an update is stop, configure, symlink, start: the reasons begin with the words that
 * the seed's transcript has. Nothing is stopped before everything that starting needs is known to
 * be there.
 */
#include <errno.h>
#include <intent/documents.h>
#include <intent/health.h>
#include "setlive.h"

/* One planning. All pointers are borrowed, but for `wanted`. */
struct look {
	const json_t *intent, *observed;
	struct intent_plan *plan;
	const char *app, *active;    /* active: NULL when no version is */
	const json_t *run;           /* array: services that should run; NULL when none */
	json_t *wanted;              /* what they should have been started with */
};

static const json_t *service_of(const struct look *look, const char *name)
{
	return json_object_get(json_object_get(look->observed, "services"), name);
}

static bool has(const json_t *array, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)array, i, item)
		if (!strcmp(json_string_value(item), name))
			return true;
	return false;
}

static void add(json_t *array, const char *name)
{
	if (!has(array, name))
		json_array_append_new(array, json_string(name));
}

static const json_t *install_of(const struct look *look, const char *version)
{
	return json_object_get(json_object_get(look->observed, "installs"), version);
}

json_t *setlive__wanted(const json_t *intent, const char *version)
{
	const json_t *deploy = json_object_get(intent, "deploy");

	const json_t *config = json_object_get(intent, "config");

	return json_pack("{ss sO* sO* sO* sO*}", "version", version,
			 "basedir", json_object_get(intent, "basedir"),
			 "user_config", json_object_get(config, "user_config"),
			 "environment", json_object_get(deploy, "environment"),
			 "runas", json_object_get(deploy, "runas"));
}

/* ---- why ---- */

/* Why a running service must be started again, for the reason; NULL: it need not. */
static const char *why_restart(const struct look *look, const json_t *started, char out[512])
{
	static const char *const members[] = { "user_config", "environment", "runas", "basedir" };

	if (!json_is_object(started)) {
		snprintf(out, 512, "what it was started with is not known");
		return out;
	}
	const char *version = intent_json_string(started, "version", "");
	if (strcmp(version, look->active)) {
		snprintf(out, 512, "%s is active, %s runs", look->active, version);
		return out;
	}
	for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
		const json_t *is = json_object_get(started, members[i]);
		const json_t *shall = json_object_get(look->wanted, members[i]);

		if (is == shall || (is && shall && json_equal(is, shall)))
			continue;
		snprintf(out, 512, "%s changed", members[i]);
		return out;
	}
	return NULL;
}

static void join(struct intent_text *text, const json_t *array)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)array, i, item)
		intent_text_printf(text, "%s%s", i ? ", " : "", json_string_value(item));
}

/* ---- actions ---- */

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

static int plan_stop(struct look *look, json_t *names, bool for_good, const char *why)
{
	intent_json_auto json_t *patch = json_pack("{ss sn}", "want", "down", "started");
	intent_text_auto struct intent_text list = INTENT_TEXT_INIT;

	if (!json_array_size(names))
		return 0;
	if (for_good)
		json_object_set_new(patch, "down", json_true());
	join(&list, names);
	return intent_plan_add(look->plan, "stop", intent_text_str(&list),
			       json_pack("{sO sb}", "services", names, "for_good", for_good),
			       services_patch(names, patch), "Stopping: %s", why);
}

static int plan_configure(struct look *look, const char *name)
{
	const json_t *service = service_of(look, name);
	const json_t *stale = json_object_get(service, "stale");
	bool linked = intent_json_boolean(service, "linked", false);
	intent_text_auto struct intent_text why = INTENT_TEXT_INIT;
	intent_json_auto json_t *patch = json_pack("{sb s[]}", "linked", 1, "stale");

	if (linked && !json_array_size(stale))
		return 0;
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
	return intent_plan_add(look->plan, "configure", name, NULL, services_patch(names, patch),
			       "Configuring service builder: %.700s", intent_text_str(&why));
}

static int plan_symlink(struct look *look)
{
	const char *current = intent_json_string(look->observed, "current", NULL);
	char found[300];

	if (current && !strcmp(current, look->active))
		return 0;
	snprintf(found, sizeof found, "%s%s",
		 current ? "current points at " : "there is no current link",
		 current ? current : "");
	return intent_plan_add(look->plan, "symlink", look->active,
			       json_pack("{ss}", "version", look->active),
			       json_pack("{ss}", "current", look->active),
			       "Symlinking: %s, %s is active", found, look->active);
}

static int plan_start(struct look *look, json_t *names)
{
	intent_json_auto json_t *patch = json_pack("{ss sb sb sO}", "want", "up", "down", 0,
						   "supervised", 1, "started", look->wanted);
	intent_text_auto struct intent_text list = INTENT_TEXT_INIT;

	if (!json_array_size(names))
		return 0;
	join(&list, names);
	json_t *effect = services_patch(names, patch);
	json_object_set_new(effect, "started_ms", json_integer(0));
	json_object_set_new(effect, "health", json_null());
	return intent_plan_add(look->plan, "start", intent_text_str(&list),
			       json_pack("{sO sO}", "services", names, "wanted", look->wanted),
			       effect, "Starting: %s", look->active);
}

static int plan_await(struct look *look, bool starts)
{
	const char *health = intent_json_string(look->observed, "health", NULL);
	int64_t ago = intent_json_integer(look->observed, "started_ms", 0);
	int64_t deadline = intent_health_deadline(intent_json_at(look->intent, "/deploy/health"));

	if (!starts && health && !*health)
		return 0;
	if (!starts && ago >= deadline) {
		intent_plan_verdict(look->plan, INTENT_EUNHEALTHY, "%s: %s", look->active,
				    health ? health : "not checked");
		return 0;
	}
	return intent_plan_add(
		look->plan, "await", look->active,
		json_pack("{sI}", "within_ms", (json_int_t)(starts ? deadline : deadline - ago)),
		json_pack("{ss}", "health", ""), "Checking: %s %s", look->active,
		starts ? "is started" : "is not healthy yet");
}

/* A service of ours that nothing asks for any more. */
static int plan_remove(struct look *look, const char *verb, const char *name, const char *why)
{
	return intent_plan_add(look->plan, verb, name, NULL, json_pack("{s{sn}}", "services", name),
			       "Removing %s: %s", name, why);
}

/* ---- the cases ---- */

static int plan_absent(struct look *look)
{
	const char *name;
	json_t *service;

	json_object_foreach(json_object_get(look->observed, "services"), name, service)
		if (!json_object_get(service, "foreign") &&
		    plan_remove(look, "remove", name, "intent for it is gone from this node"))
			return -ENOMEM;
	return 0;
}

/*
 * The services whose directories are kept ready: those of every installed version that intent
 * names, so that none of them waits for the supervisor's next scan when it goes live.
 */
static json_t *services_kept(const struct look *look)
{
	json_t *kept = json_array();
	const char *version, *name;
	json_t *state, *item;
	size_t i;

	json_object_foreach(intent_json_at(look->intent, "/config/versions"), version, state) {
		const json_t *install = install_of(look, version);

		json_array_foreach((json_t *)(uintptr_t)install, i, item)
			add(kept, json_string_value(item));
	}
	if (json_array_size(kept))
		return kept;
	/* Nothing is installed yet: what there is stays, or the usual name is a good guess. */
	json_object_foreach(json_object_get(look->observed, "services"), name, item)
		if (!json_object_get(item, "foreign"))
			add(kept, name);
	if (!json_array_size(kept))
		add(kept, look->app);
	return kept;
}

/* Is it running now, or would it after a reboot? */
static bool is_up(const json_t *service)
{
	return service && (!strcmp(intent_json_string(service, "want", "down"), "up") ||
			   !intent_json_boolean(service, "down", false));
}

/* Is it as told, under a supervisor, and staying so after a reboot? */
static bool is_live(const json_t *service)
{
	return service && !strcmp(intent_json_string(service, "want", "down"), "up") &&
	       !intent_json_boolean(service, "down", false) &&
	       intent_json_boolean(service, "supervised", false);
}

/* What is running and not wanted is stopped. */
static int stop_all(struct look *look, const char *why)
{
	intent_json_auto json_t *names = json_array();
	const char *name;
	json_t *service;

	json_object_foreach(json_object_get(look->observed, "services"), name, service)
		if (!json_object_get(service, "foreign") && is_up(service))
			add(names, name);
	return plan_stop(look, names, true, why);
}

/* Make ready what does not run: what runs keeps what it was started with until it is stopped. */
static int configure_idle(struct look *look, const json_t *kept, bool all_stopped)
{
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)kept, i, item) {
		const json_t *service = service_of(look, json_string_value(item));

		if ((all_stopped || !is_up(service)) &&
		    plan_configure(look, json_string_value(item)))
			return -ENOMEM;
	}
	return 0;
}

static int drop_obsolete(struct look *look, const json_t *kept)
{
	const char *name;
	json_t *service;

	json_object_foreach(json_object_get(look->observed, "services"), name, service)
		if (!json_object_get(service, "foreign") && !has(kept, name) &&
		    plan_remove(look, "drop", name, "no version that intent names has it"))
			return -ENOMEM;
	return 0;
}

/* The active version is there: stop, configure, symlink, start, check. */
static int plan_live(struct look *look, const json_t *kept)
{
	intent_json_auto json_t *restart = json_array(), *leave = json_array(),
				*start = json_array();
	char why[512] = "", this[512];
	const char *name;
	json_t *service, *item;
	size_t i;

	json_object_foreach(json_object_get(look->observed, "services"), name, service) {
		if (json_object_get(service, "foreign") || !is_up(service))
			continue;
		const char *reason = why_restart(look, json_object_get(service, "started"), this);

		if (!has(look->run, name))
			add(leave, name);
		else if (reason)
			add(restart, name);
		else
			continue;
		if (!*why)
			snprintf(why, sizeof why, "%s",
				 reason ? reason : "the active version has no such service");
	}
	json_array_foreach((json_t *)(uintptr_t)look->run, i, item)
		if (has(restart, json_string_value(item)) ||
		    !is_live(service_of(look, json_string_value(item))))
			add(start, json_string_value(item));
	if (plan_stop(look, restart, false, why) || plan_stop(look, leave, true, why) ||
	    configure_idle(look, kept, true) || plan_symlink(look) || plan_start(look, start) ||
	    plan_await(look, json_array_size(start)) || drop_obsolete(look, kept))
		return -ENOMEM;
	return 0;
}

/* Does anything stand in the way of everything? */
static bool is_blocked(struct look *look, const json_t *kept)
{
	const json_t *hold = json_object_get(look->intent, "hold");
	const char *problem;
	size_t i;
	json_t *item;

	if (!hold)
		hold = intent_json_at(look->intent, "/deploy/hold");
	if (json_is_string(hold) || json_is_true(hold)) {
		intent_plan_verdict(look->plan, INTENT_EWAITING, "left as it is, on hold%s%s",
				    json_is_string(hold) ? ": " : "",
				    json_is_string(hold) ? json_string_value(hold) : "");
		return true;
	}
	problem = intent_json_string(look->observed, "runas_error", NULL);
	if (problem) {
		intent_plan_verdict(look->plan, INTENT_EREFUSED, "%s", problem);
		return true;
	}
	if (intent_json_boolean(look->observed, "runit_missing", false)) {
		intent_plan_verdict(
			look->plan, INTENT_EUNSUPERVISED,
			"%s does not exist: start runsvdir on it, or name the directory that "
			"runsvdir watches with --runit",
			intent_json_string(look->observed, "runit", "?"));
		return true;
	}
	json_array_foreach((json_t *)(uintptr_t)kept, i, item) {
		problem = intent_json_string(service_of(look, json_string_value(item)), "foreign",
					     NULL);
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

static int plan_app(struct look *look)
{
	intent_json_auto json_t *kept = services_kept(look);
	const json_t *install = look->active ? install_of(look, look->active) : NULL;
	const char *problem = intent_json_string(install, "error", NULL);

	if (is_blocked(look, kept))
		return 0;
	if (!look->active)
		return stop_all(look, "no version is active") || configure_idle(look, kept, true) ||
		       drop_obsolete(look, kept) ? -ENOMEM : 0;
	if (json_is_array(install)) {
		look->run = install;
		look->wanted = setlive__wanted(look->intent, look->active);
		return look->wanted ? plan_live(look, kept) : -ENOMEM;
	}
	if (problem)
		intent_plan_verdict(look->plan, INTENT_EMALFORMED, "%s", problem);
	else
		intent_plan_verdict(
			look->plan, INTENT_ENOTINSTALLED, "%s/installs/%s_%s does not exist yet",
			intent_json_string(look->intent, "basedir", "?"), look->app, look->active);
	return configure_idle(look, kept, false);
}

static int plan_sweep(struct look *look)
{
	const json_t *strays = json_object_get(look->observed, "strays");
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)strays, i, item)
		if (intent_plan_add(look->plan, "sweep", json_string_value(item), NULL,
				    json_pack("{s[]}", "strays"),
				    "Sweeping: a killed round left temporaries in %s",
				    json_string_value(item)))
			return -ENOMEM;
	return 0;
}

int setlive_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		 struct intent_error *err)
{
	struct look look = {
		.intent = intent, .observed = observed, .plan = plan,
		.app = intent_json_string(intent, "app", ""),
		.active = intent_config_active(json_object_get(intent, "config")),
	};
	bool absent = intent_json_boolean(intent, "absent", false);

	if (!absent && !intent_json_string(intent, "basedir", NULL))
		return intent_fail(err, INTENT_EMALFORMED,
				   "deploy_config of %s has no basedir: say where it is installed",
				   look.app);
	int code =
		plan_sweep(&look) || (absent ? plan_absent(&look) : plan_app(&look)) ? -ENOMEM : 0;
	json_decref(look.wanted);
	return code ? intent_fail(err, code, "%s: out of memory while planning", look.app) : 0;
}
