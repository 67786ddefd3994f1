/* Looks at the world and changes nothing; the document it makes is described in setlive.h. */
#include <sys/file.h>

#include <intent/agent.h>
#include <intent/documents.h>
#include <intent/file.h>
#include <intent/rolling.h>
#include "setlive.h"

#define HEALTH_AGAIN_MS 5000   /* while it is not well */
#define SLOT_AGAIN_MS 1000     /* until a slot can be given back */
#define EXITS_SHOWN 5          /* of each service */

/* Held from the first look at the active install to the end of the round (DESIGN section 4). */
static int install_lock = -1;

/* Shared, so that preparer cannot take it away under us. INTENT_EABSENT: it is not there, or on its way out. */
static int lock_install(const char *path, struct intent_error *err)
{
	struct stat held, there;

	if (intent_file_stat(path, 0, &there, err))
		return err->code;
	if (install_lock >= 0 && !fstat(install_lock, &held) && held.st_ino == there.st_ino &&
	    held.st_dev == there.st_dev)
		return 0;
	if (install_lock >= 0)
		close(install_lock);
	install_lock = -1;
	int code = intent_file_lock(path, LOCK_SH | LOCK_NB, false, &install_lock, err);
	if (code)
		return code == INTENT_EBUSY ? intent_fail(err, INTENT_EABSENT, "%s: is being removed", path) : code;
	/* It may have been renamed aside before the lock was ours. */
	if (fstat(install_lock, &held))
		return intent_fail_errno(err, "%s", path);
	if (intent_file_stat(path, 0, &there, err))
		return err->code;
	return held.st_ino == there.st_ino ? 0 : intent_fail(err, INTENT_EABSENT, "%s: is another one now", path);
}

static int add_install(const struct intent_site *site, const char *version, bool active, json_t *installs,
		       bool *ret_there, struct intent_error *err)
{
	intent_free_auto char *path = intent_install_path(site, version);
	json_t *install;
	int code;

	*ret_there = json_object_get(installs, version);
	if (*ret_there)
		return 0;
	code = active ? lock_install(path, err) : 0;
	if (!code)
		code = intent_install_services(site, version, &install, err);
	if (code)
		return code == INTENT_EABSENT ? 0 : code;
	json_object_set_new(installs, version, install);
	*ret_there = true;
	return 0;
}

/* What <basedir>/previous names, when it is installed: where a rollback leads to. */
static int observe_previous(const struct intent_site *site, json_t *installs, json_t *observed,
			    struct intent_error *err)
{
	intent_free_auto char *link = intent_format("%s/previous", site->basedir);
	intent_free_auto char *prefix = intent_format("%s/installs/%s_", site->basedir, site->app);
	intent_free_auto char *target = NULL;
	bool there;

	if (intent_link_read(link, &target, err))
		return intent_error_is_errno(err->code) ? err->code : 0;
	const char *version = intent_starts_with(target, prefix) ? target + strlen(prefix) : "/";
	if (strchr(version, '/'))
		return 0;
	if (add_install(site, version, false, installs, &there, err))
		return err->code;
	if (there)
		json_object_set_new(observed, "previous", json_string(version));
	return 0;
}

static int observe_installs(struct intent_round *round, const struct intent_site *site, const json_t *intent,
			    json_t *observed, struct intent_error *err)
{
	const char *active = intent_config_active(json_object_get(intent, "config")), *version;
	const char *current = intent_json_string(observed, "current", NULL);
	intent_free_auto char *path = intent_format("%s/installs", site->basedir);
	json_t *installs = json_object(), *state;
	bool there, missing = false;

	json_object_set_new(observed, "installs", installs);
	json_object_foreach(intent_json_at(intent, "/config/versions"), version, state) {
		if (add_install(site, version, active && !strcmp(version, active), installs, &there, err))
			return err->code;
		missing = missing || !there;
	}
	if (missing)
		intent_round_watch(round, path);
	if (current && add_install(site, current, false, installs, &there, err))
		return err->code;
	return observe_previous(site, installs, observed, err);
}

/* Which of the optional programs each installed version has. */
static int observe_hooks(const struct intent_site *site, json_t *observed, struct intent_error *err)
{
	static const char *const names[] = { "disable", "enable" };
	intent_json_auto json_t *hooks = json_object();
	const char *version;
	json_t *install;

	json_object_foreach(json_object_get(observed, "installs"), version, install)
		for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
			intent_free_auto char *path = intent_format("%s/installs/%s_%s/bin/%s", site->basedir,
								    site->app, version, names[i]);
			struct stat seen;

			int code = intent_file_stat(path, 0, &seen, err);
			if (code && code != INTENT_EABSENT)
				return code;
			if (code || !S_ISREG(seen.st_mode) || !(seen.st_mode & 0111))
				continue;
			if (!json_object_get(hooks, version))
				json_object_set_new(hooks, version, json_array());
			json_array_append_new(json_object_get(hooks, version), json_string(names[i]));
		}
	if (json_object_size(hooks))
		json_object_set(observed, "hooks", hooks);
	return 0;
}

static int observe_current(const struct intent_site *site, json_t *observed, struct intent_error *err)
{
	intent_free_auto char *version = NULL;
	char foreign[512];

	int code = intent_install_current(site, &version, foreign, err);
	if (code)
		return code == INTENT_EABSENT ? 0 : code;
	json_object_set_new(observed, version ? "current" : "current_foreign",
			    json_string(version ? version : foreign));
	return 0;
}

static int add_stray(json_t *strays, const char *path, struct intent_error *err)
{
	intent_json_auto json_t *entries = NULL;
	size_t i;
	json_t *item;

	if (intent_directory_list(path, &entries, err))
		return err->code == INTENT_EABSENT ? 0 : err->code;
	json_array_foreach(entries, i, item)
		if (intent_temp_is_stale(json_string_value(item))) {
			json_array_append_new(strays, json_string(path));
			break;
		}
	return 0;
}

static int observe_strays(const struct intent_site *site, json_t *observed, struct intent_error *err)
{
	intent_json_auto json_t *names = json_array(), *places = NULL;
	json_t *strays = json_array(), *service, *item;
	const char *name;
	size_t i;

	json_object_set_new(observed, "strays", strays);
	json_object_foreach(json_object_get(observed, "services"), name, service)
		if (!json_object_get(service, "foreign"))
			json_array_append_new(names, json_string(name));
	places = intent_services_places(site, names);
	if (site->basedir)
		json_array_append_new(places, json_string(site->basedir));
	json_array_foreach(places, i, item)
		if (add_stray(strays, json_string_value(item), err))
			return err->code;
	return 0;
}

static int observe_services(const struct intent_site *site, const json_t *intent, json_t *observed,
			    struct intent_error *err)
{
	intent_json_auto json_t *names = NULL;
	json_t *services = json_object(), *install, *item;
	const char *version;
	size_t i;

	json_object_set_new(observed, "services", services);
	if (intent_service_list(site, &names, err))
		return err->code;
	json_object_foreach(json_object_get(observed, "installs"), version, install)
		if (json_is_array(install))
			json_array_extend(names, install);
	/* The name that is taken while nothing is installed yet. */
	if (!json_array_size(names) && site->basedir)
		json_array_append_new(names, json_string(site->app));
	json_array_foreach(names, i, item) {
		json_t *service = NULL;

		if (json_object_get(services, json_string_value(item)))
			continue;
		if (intent_service_observe(site, intent, json_string_value(item), &service, err))
			return err->code;
		if (service)
			json_object_set_new(services, json_string_value(item), service);
	}
	return 0;
}

/* Its variables from elsewhere: what stands for them, or why they cannot be had. */
static void observe_envdir(struct intent_round *round, const struct intent_site *site, const json_t *intent,
			   json_t *observed)
{
	const char *envdir = intent_json_string(intent, "envdir", NULL);
	struct intent_error err;
	char digest[33];

	if (envdir)
		intent_round_watch(round, envdir);
	if (intent_service_envdir(site, intent, !intent_round_is_dry(round), digest, &err) < 0)
		json_object_set_new(observed, "envdir_error", json_pack("{si ss}", "code", err.code, "message", err.msg));
	else if (*digest)
		json_object_set_new(observed, "envdir", json_string(digest));
}

/* ---- health ---- */

/* A service that ends or is told to stop wakes us. */
static void watch_service(struct intent_round *round, const struct intent_site *site, const char *name)
{
	intent_free_auto char *path = intent_service_watch_path(site, name);

	if (path)
		intent_round_watch(round, path);
}

/* The one version that everything that runs was started with, and what that is. */
static const char *running_version(const json_t *services, json_t *names)
{
	const char *version = NULL, *name;
	json_t *service;

	json_object_foreach((json_t *)(uintptr_t)services, name, service) {
		const char *this = intent_json_string(json_object_get(service, "started"), "version", "");

		if (!intent_json_boolean(service, "running", false))
			continue;
		if (version && strcmp(version, this))
			return NULL;
		version = this;
		json_array_append_new(names, json_string(name));
	}
	return version;
}

/* All services that `version` means were started with it, and with all else that intent wants. */
static bool is_as_wanted(const json_t *intent, const json_t *observed, const char *version, int64_t *ret_ms)
{
	const json_t *names = version ? json_object_get(json_object_get(observed, "installs"), version) : NULL;
	intent_json_auto json_t *wanted = version ? setlive__wanted(intent, observed, version) : NULL;
	int64_t started_ms = INT64_MAX;
	size_t i;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		json_t *service = json_object_get(json_object_get(observed, "services"), json_string_value(item));
		int64_t ms = intent_json_integer(service, "started_ms", 0);

		if (!setlive__is_as_wanted(json_object_get(service, "started"), wanted))
			return false;
		started_ms = ms < started_ms ? ms : started_ms;
	}
	*ret_ms = started_ms;
	return json_array_size(names);
}

/*
 * The health of what was started as intent wants it, or of what is to be left as it is. Not of what is
 * about to be replaced anyway: that would only take time.
 */
static int observe_health(struct intent_round *round, const struct intent_site *site, const json_t *intent,
			  json_t *observed, struct intent_error *err)
{
	const char *active = intent_config_active(json_object_get(intent, "config"));
	const json_t *installs = json_object_get(observed, "installs");
	intent_json_auto json_t *running = json_array();
	const char *version = running_version(json_object_get(observed, "services"), running);
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	const json_t *names = running;
	int64_t started_ms = 0;
	size_t i;
	json_t *item;

	if (!active)
		return 0;
	if (is_as_wanted(intent, observed, active, &started_ms)) {
		version = active;
		names = json_object_get(installs, active);
	} else if (!version || !json_is_array(json_object_get(installs, version)) ||
		   !(json_object_get(observed, "hold") || json_object_get(observed, "marked") ||
		     json_object_get(observed, "store_error") || json_object_get(observed, "envdir_error") ||
		     !json_is_array(json_object_get(installs, active)))) {
		return 0;
	} else {
		is_as_wanted(intent, observed, version, &started_ms);
	}
	json_array_foreach((json_t *)(uintptr_t)names, i, item)
		watch_service(round, site, json_string_value(item));
	if (intent_services_health(site, intent, version, names, &health, err))
		return err->code;
	/* Getting well is seen by nobody but who asks again. */
	if (health.length)
		intent_round_again(round, HEALTH_AGAIN_MS);
	json_object_set_new(observed, "started_ms", json_integer(started_ms));
	json_object_set_new(observed, "checked", json_string(version));
	json_object_set_new(observed, "health", json_string(intent_text_str(&health)));
	return 0;
}

/* ---- the store ---- */

/* Nothing that the store could say matters: all runs as intended, is settled, and holds no slot. */
static bool is_quiet(const json_t *intent, const json_t *observed)
{
	const char *active = intent_config_active(json_object_get(intent, "config")), *name;
	const json_t *install = active ? json_object_get(json_object_get(observed, "installs"), active) : NULL;
	json_t *service;
	int64_t ignored;

	if (!active || (json_is_array(install) && !is_as_wanted(intent, observed, active, &ignored)))
		return false;
	json_object_foreach(json_object_get(observed, "services"), name, service) {
		const json_t *started = json_object_get(service, "started");

		bool idle = !intent_json_boolean(service, "running", false) &&
			    !strcmp(intent_json_string(service, "want", "down"), "down") && !started;

		if (!idle && !json_object_get(service, "foreign") &&
		    (!intent_json_boolean(started, "settled", false) || intent_json_boolean(started, "slot", false)))
			return false;
	}
	return true;
}

static void observe_store(struct intent_round *round, const json_t *intent, json_t *observed)
{
	intent_rolling_hold(round, observed);
	if (is_quiet(intent, observed))
		return;
	intent_rolling_look(round, observed);
	if (json_object_get(observed, "slot") || json_object_get(observed, "elsewhere"))
		intent_round_again(round, json_object_get(observed, "marked") ? HEALTH_AGAIN_MS : SLOT_AGAIN_MS);
}

/* For people: how often each service ended by itself lately. */
static int show_exits(struct intent_round *round, const struct intent_site *site, const json_t *services,
		      struct intent_error *err)
{
	intent_json_auto json_t *shown = json_object();
	const char *name;
	json_t *service;

	json_object_foreach((json_t *)(uintptr_t)services, name, service) {
		intent_json_auto json_t *exits = NULL;

		if (intent_service_exits(site, name, &exits, err))
			return err->code;
		while (json_array_size(exits) > EXITS_SHOWN)
			json_array_remove(exits, 0);
		if (json_array_size(exits))
			json_object_set(shown, name, exits);
	}
	if (json_object_size(shown))
		intent_round_detail(round, "exits", json_incref(shown));
	return 0;
}

int setlive__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
			   struct intent_error *err)
{
	struct intent_site site;

	if (intent_site_init(intent, &site, err))
		return err->code;
	intent_json_auto json_t *observed = json_pack("{ss}", "runit", site.runit);
	if (site.basedir) {
		if (*site.runas_error)
			json_object_set_new(observed, "runas_error", json_string(site.runas_error));
		if (observe_current(&site, observed, err) ||
		    observe_installs(round, &site, intent, observed, err) || observe_hooks(&site, observed, err))
			return err->code;
		observe_envdir(round, &site, intent, observed);
	}
	if (*site.supervisor_error) {
		json_object_set_new(observed, "supervisor_error", json_string(site.supervisor_error));
		intent_round_watch(round, site.runit);
	}
	if (observe_services(&site, intent, observed, err) || observe_strays(&site, observed, err))
		return err->code;
	const json_t *services = json_object_get(observed, "services");
	observe_store(round, intent, observed);
	if (observe_health(round, &site, intent, observed, err) || show_exits(round, &site, services, err))
		return err->code;
	/* Slots, too: who holds one must not be forgotten. */
	intent_round_owned(round, (int)json_object_size(services) + (json_object_get(observed, "slot") != NULL) +
					  (int)json_object_size(json_object_get(observed, "elsewhere")));
	if (json_object_get(observed, "current"))
		intent_round_detail(round, "current",
				    json_incref(json_object_get(observed, "current")));
	*ret_new_observed = json_incref(observed);
	return 0;
}
