/* Looks at the world and changes nothing; the document it makes is described in setlive.h. */
#include <dirent.h>
#include <sys/file.h>

#include <intent/agent.h>
#include <intent/documents.h>
#include <intent/file.h>
#include "setlive.h"

#define HEALTH_AGAIN_MS 5000   /* while it is not well */

/* Held from the first look at the active install to the end of the round (DESIGN section 4). */
static int install_lock = -1;

/* Shared, so that preparer cannot take it away under us; false: it is on its way out. */
static bool lock_install(const char *path)
{
	struct intent_error ignored;
	struct stat held, there;

	if (install_lock >= 0 && !fstat(install_lock, &held) && !stat(path, &there) &&
	    held.st_ino == there.st_ino && held.st_dev == there.st_dev)
		return true;
	if (install_lock >= 0)
		close(install_lock);
	install_lock = -1;
	if (intent_file_lock(path, LOCK_SH | LOCK_NB, false, &install_lock, &ignored))
		return false;
	/* It may have been renamed aside before the lock was ours. */
	return !fstat(install_lock, &held) && !stat(path, &there) && held.st_ino == there.st_ino;
}

json_t *setlive__install(const struct intent_site *site, const char *version, bool active)
{
	intent_free_auto char *path = intent_install_path(site, version);

	return !path || (active && !lock_install(path)) ? NULL : intent_install_services(site, version);
}

static json_t *observe_installs(struct intent_round *round, const struct intent_site *site,
				const json_t *intent)
{
	const char *active = intent_config_active(json_object_get(intent, "config")), *version;
	json_t *installs = json_object(), *state;
	bool missing = false;

	json_object_foreach(intent_json_at(intent, "/config/versions"), version, state) {
		json_t *install =
			setlive__install(site, version, active && !strcmp(version, active));

		if (install)
			json_object_set_new(installs, version, install);
		else
			missing = true;
	}
	if (missing) {
		intent_free_auto char *path = intent_format("%s/installs", site->basedir);

		if (path)
			intent_round_watch(round, path);
	}
	return installs;
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

static void add_stray(json_t *strays, const char *path)
{
	DIR *listing = opendir(path);
	struct dirent *entry;

	while (listing && (entry = readdir(listing)))
		if (intent_temp_is_stale(entry->d_name)) {
			json_array_append_new(strays, json_string(path));
			break;
		}
	if (listing)
		closedir(listing);
}

static json_t *observe_strays(const struct intent_site *site, const json_t *services)
{
	intent_json_auto json_t *names = json_array(), *places = NULL;
	json_t *strays = json_array(), *service, *item;
	const char *name;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)services, name, service)
		if (!json_object_get(service, "foreign"))
			json_array_append_new(names, json_string(name));
	places = intent_services_places(site, names);
	json_array_foreach(places, i, item)
		add_stray(strays, json_string_value(item));
	if (site->basedir)
		add_stray(strays, site->basedir);
	return strays;
}

static int observe_services(const struct intent_site *site, const json_t *intent, const json_t *installs,
			    json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *names = NULL;
	json_t *services = json_object(), *install, *item;
	const char *version;
	size_t i;

	if (intent_service_list(site, &names, err)) {
		json_decref(services);
		return err->code;
	}
	json_object_foreach((json_t *)(uintptr_t)installs, version, install)
		if (json_is_array(install))
			json_array_extend(names, install);
	/* The name that is taken while nothing is installed yet. */
	if (!json_array_size(names) && site->basedir)
		json_array_append_new(names, json_string(site->app));
	json_array_foreach(names, i, item) {
		json_t *service = NULL;

		if (json_object_get(services, json_string_value(item)))
			continue;
		if (intent_service_observe(site, intent, json_string_value(item), &service, err)) {
			json_decref(services);
			return err->code;
		}
		if (service)
			json_object_set_new(services, json_string_value(item), service);
	}
	*ret_new = services;
	return 0;
}

/* ---- health ---- */

/* A service that ends or is told to stop wakes us. */
static void watch_service(struct intent_round *round, const struct intent_site *site, const char *name)
{
	intent_free_auto char *path = intent_service_watch_path(site, name);

	if (path)
		intent_round_watch(round, path);
}

/* Only when all that should run was started as intent says; else it is started again anyway. */
static void observe_health(struct intent_round *round, const struct intent_site *site,
			   const json_t *intent, json_t *observed)
{
	const char *active = intent_config_active(json_object_get(intent, "config"));
	const json_t *names =
		active ? json_object_get(json_object_get(observed, "installs"), active) : NULL;
	intent_json_auto json_t *wanted = active ? setlive__wanted(intent, active) : NULL;
	intent_text_auto struct intent_text health = INTENT_TEXT_INIT;
	int64_t started_ms = INT64_MAX;
	size_t i;
	json_t *item;

	if (!json_is_array(names))
		return;
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		json_t *service = json_object_get(json_object_get(observed, "services"),
						  json_string_value(item));
		int64_t ms = intent_json_integer(service, "started_ms", 0);
		const json_t *started = json_object_get(service, "started");

		if (!started || !json_equal(started, wanted))
			return;
		started_ms = ms < started_ms ? ms : started_ms;
		watch_service(round, site, json_string_value(item));
	}
	intent_services_health(site, intent, active, names, &health);
	/* Getting well is seen by nobody but who asks again. */
	if (health.length)
		intent_round_again(round, HEALTH_AGAIN_MS);
	json_object_set_new(observed, "started_ms", json_integer(started_ms));
	json_object_set_new(observed, "health", json_string(intent_text_str(&health)));
}

int setlive__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
			   struct intent_error *err)
{
	struct intent_site site;
	struct stat seen;
	json_t *services = NULL;

	intent_site_init(intent, &site);
	intent_json_auto json_t *observed = json_pack("{ss}", "runit", site.runit);
	if (site.basedir) {
		if (*site.runas_error)
			json_object_set_new(observed, "runas_error", json_string(site.runas_error));
		json_object_set_new(observed, "installs", observe_installs(round, &site, intent));
		if (observe_current(&site, observed, err))
			return err->code;
	}
	if (stat(site.runit, &seen) || !S_ISDIR(seen.st_mode)) {
		json_object_set_new(observed, "runit_missing", json_true());
		intent_round_watch(round, site.runit);
	}
	if (observe_services(&site, intent, json_object_get(observed, "installs"), &services, err))
		return err->code;
	json_object_set_new(observed, "services", services);
	json_object_set_new(observed, "strays", observe_strays(&site, services));
	observe_health(round, &site, intent, observed);
	intent_round_owned(round, (int)json_object_size(services));
	if (json_object_get(observed, "current"))
		intent_round_detail(round, "current",
				    json_incref(json_object_get(observed, "current")));
	*ret_new_observed = json_incref(observed);
	return 0;
}
