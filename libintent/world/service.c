#include <errno.h>
#include <fcntl.h>

#include <intent/digest.h>
#include <intent/envdir.h>
#include "supervisor.h"

#define OWNER_MAX 4096
#define STARTED_MAX (4u << 20)

/* ---- whose is it? ---- */

/* 0: this application's. INTENT_EABSENT, INTENT_ENOTOURS; any other code: it cannot be told. */
static int owner_of(const struct intent_site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *directory = intent__service_path(site, service, NULL);
	intent_free_auto char *path = intent__service_path(site, service, INTENT__OWNER);
	intent_json_auto json_t *record = NULL;
	struct stat seen;

	if (intent_file_stat(directory, AT_SYMLINK_NOFOLLOW, &seen, err))
		return err->code;
	if (S_ISDIR(seen.st_mode) && intent_file_read_json(path, OWNER_MAX, &record, err) &&
	    intent_error_is_errno(err->code))
		return intent_wrap(err, "whose %s is cannot be read", service);
	if (strcmp(intent_json_string(record, "agent", ""), "setlive"))
		return intent_fail(err, INTENT_ENOTOURS, "%.300s exists and was not made by pp-setlive; move it away",
				   directory);
	const char *app = intent_json_string(record, "app", "");
	return !strcmp(app, site->app) ? 0 :
		intent_fail(err, INTENT_ENOTOURS, "%.300s belongs to application %.128s; rename one of the two",
			    directory, app);
}

int intent_service_apps(const struct intent_site *site, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *entries = NULL, *apps = json_object();
	json_t *names, *item;
	const char *name;
	size_t i;

	if (intent_directory_list(site->stage, &entries, err) && err->code != INTENT_EABSENT)
		return err->code;
	json_array_foreach(entries, i, item) {
		intent_free_auto char *path = intent__service_path(site, json_string_value(item), INTENT__OWNER);
		intent_json_auto json_t *record = NULL;

		/* One that cannot be read may be ours: not to know of it would be to leave it running. */
		if (*json_string_value(item) != '.' && intent_file_read_json(path, OWNER_MAX, &record, err) &&
		    intent_error_is_errno(err->code))
			return err->code;
		const char *app = intent_json_string(record, "app", "");
		if (!strcmp(intent_json_string(record, "agent", ""), "setlive") && intent_name_is_valid(app))
			json_object_set_new(apps, app, json_null());
	}
	names = json_array();
	json_object_foreach(apps, name, item)
		json_array_append_new(names, json_string(name));
	*ret_new = names;
	return 0;
}

json_t *intent_services_places(const struct intent_site *site, const json_t *names)
{
	static const char *const parts[] = { NULL, "env", "log" };
	json_t *places = json_pack("[s]", site->stage), *item;
	size_t i;

	site->supervisor->places(site, places);
	if (site->basedir)
		json_array_append_new(places, json_string(site->logs));
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		const char *name = json_string_value(item);

		for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
			intent_free_auto char *path = intent__service_path(site, name, parts[k]);

			json_array_append_new(places, json_string(path));
		}
		if (site->basedir)
			json_array_append_new(places, json_sprintf("%s/%s", site->logs, name));
	}
	return places;
}

int intent_service_list(const struct intent_site *site, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *entries = NULL, *names = json_array();
	size_t length = strlen(site->app), i;
	json_t *item;

	if (intent_directory_list(site->stage, &entries, err) && err->code != INTENT_EABSENT)
		return err->code;
	json_array_foreach(entries, i, item) {
		const char *name = json_string_value(item);

		if (strncmp(name, site->app, length) || (name[length] && name[length] != '-'))
			continue;
		int code = owner_of(site, name, err);
		if (!code)
			json_array_append(names, item);
		else if (intent_error_is_errno(code))
			return code;
	}
	*ret_new = json_incref(names);
	return 0;
}

/* ---- observe ---- */

void intent__boot_id(char out[40])
{
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	size_t count;

	if (intent_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &count, &ignored))
		text = NULL;
	snprintf(out, 40, "%.36s", text ? text : "");
}

int intent__service_record_start(const struct intent_site *site, const char *service,
				 const json_t *wanted, struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, INTENT__STARTED);
	char boot[40];

	intent__boot_id(boot);
	intent_json_auto json_t *record =
		json_pack("{ss sI sO}", "boot", boot, "at", (json_int_t)intent_time_monotonic(),
			  "wanted", wanted);
	return intent_file_write_json(path, record, 0600, err);
}

/*
 * First of all, whatever happens from here on is owed a start. Not synced: should power fail,
 * the process that the note is about dies too, and what runs after that boot was
 * started from the files that there are then (observe_started()).
 */
int intent__service_forget_start(const struct intent_site *site, const char *service,
				 struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, INTENT__STARTED);

	if (unlink(path) && errno != ENOENT)
		return intent_fail_errno(err, "%s/%s/" INTENT__STARTED ": cannot be removed",
					 site->stage, service);
	return 0;
}

int intent_service_note(const struct intent_site *site, const char *service, const json_t *members,
			struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, INTENT__STARTED);
	intent_json_auto json_t *record = NULL;
	const char *name;
	json_t *wanted, *value;

	if (intent_file_read_json(path, STARTED_MAX, &record, err))
		return err->code;
	wanted = json_object_get(record, "wanted");
	json_object_update(wanted, (json_t *)(uintptr_t)members);
	json_object_foreach((json_t *)(uintptr_t)members, name, value)
		if (json_is_null(value))
			json_object_del(wanted, name);
	return intent_file_write_json(path, record, 0600, err);
}

/*
 * Time since then, or since boot: by the clock that nobody sets. A record that the disk does not give is not
 * one that is not there: what runs would be started anew for it.
 */
static int observe_started(const struct intent_site *site, const char *service, json_t *object,
			   struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, INTENT__STARTED);
	intent_json_auto json_t *record = NULL;
	int64_t now = intent_time_monotonic(), at;
	char boot[40];

	if (intent_file_read_json(path, STARTED_MAX, &record, err))
		return intent_error_is_errno(err->code) ? err->code : 0;
	intent__boot_id(boot);
	bool same_boot = !strcmp(boot, intent_json_string(record, "boot", "?"));

	/* After a boot it was started from these files: what, when they are not as intended? */
	if (!same_boot && json_array_size(json_object_get(object, "stale")))
		return 0;
	at = same_boot ? intent_json_integer(record, "at", 0) : 0;
	json_object_set(object, "started", json_object_get(record, "wanted"));
	json_object_set_new(object, "started_ms", json_integer(now > at ? now - at : 0));
	return 0;
}

int intent_service_look(const struct intent_site *site, const char *service,
			struct intent_service_state *ret, struct intent_error *err)
{
	struct intent__seen seen;
	int exits;

	int code = owner_of(site, service, err);
	if (code == INTENT_EABSENT || code == INTENT_ENOTOURS)
		return intent_fail(err, INTENT_EABSENT, "there is no service %s of %s below %s", service,
				   site->app, site->stage);
	if (code || site->supervisor->look(site, service, &seen, err) ||
	    intent__service_exits(site, service, &exits, err))
		return err->code;
	*ret = (struct intent_service_state){
		.supervised = seen.supervised,
		.wanted_up = seen.want_up,
		.running = seen.running,
		.pid = seen.running ? seen.pid : 0,
		.up_ms = seen.running ? intent__process_uptime(seen.pid) : -1,
		.exits = exits,
	};
	return 0;
}

/* What is there of one that is ours. */
static int observe_own(const struct intent_site *site, const json_t *intent, const char *service, json_t *object,
		       struct intent_error *err)
{
	intent_json_auto json_t *files = NULL, *stale = NULL;
	struct intent__seen seen;

	if (site->supervisor->look(site, service, &seen, err) ||
	    (site->basedir && (intent__service_render(site, intent, service, &files, err) ||
			       intent__service_stale(site, intent, service, files, &stale, err))))
		return err->code;
	json_object_update_new(object, json_pack("{ss sb sb sb}", "want", seen.want_up ? "up" : "down",
						 "running", seen.running, "down", seen.stays_down,
						 "supervised", seen.supervised && !seen.spent));
	json_object_set_new(object, "stale", stale ? json_incref(stale) : json_array());
	return observe_started(site, service, object, err);
}

int intent_service_observe(const struct intent_site *site, const json_t *intent, const char *service,
			   json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *object = NULL;
	int owner = owner_of(site, service, err), linked = owner;

	if (!owner || owner == INTENT_EABSENT)
		linked = site->supervisor->linked(site, service, err);
	if (linked == INTENT_ENOTOURS) {
		*ret_new = json_pack("{ss}", "foreign", err->msg);
		return 0;
	}
	if (linked && linked != INTENT_EABSENT)
		return linked;
	/* A link of ours that leads nowhere is as good as none: making the directory mends it. */
	if (!owner) {
		object = json_pack("{sb}", "linked", !linked);
		if (observe_own(site, intent, service, object, err))
			return err->code;
	}
	*ret_new = json_incref(object);
	return 0;
}

/* ---- make it so ---- */

int intent_service_configure(const struct intent_site *site, const json_t *intent, const char *service,
			     struct intent_error *err)
{
	intent_json_auto json_t *files = NULL, *stale = NULL;
	int owner = owner_of(site, service, err);

	if (owner && owner != INTENT_EABSENT)
		return owner;
	if (site->supervisor->linked(site, service, err) && err->code != INTENT_EABSENT)
		return err->code;
	if (intent__service_render(site, intent, service, &files, err) ||
	    (owner && intent__service_create(site, files, service, err)) ||
	    intent__service_stale(site, intent, service, files, &stale, err) ||
	    intent__service_repair(site, intent, files, service, stale, err))
		return err->code;
	return site->supervisor->publish(site, service, err);
}

int intent_service_envdir(const struct intent_site *site, const json_t *intent, bool create, char ret_digest[33],
			  struct intent_error *err)
{
	const char *envdir = intent_json_string(intent, "envdir", NULL);
	intent_free_auto char *path = intent_format("%s/.digest-key", site->stage);
	intent_json_auto json_t *variables = NULL;
	unsigned char key[32];

	*ret_digest = '\0';
	if (!envdir)
		return 0;
	if (intent_envdir_read(envdir, INTENT_ENVDIR_REST_MS, &variables, err) < 0 ||
	    (create && intent_directory_make(site->stage, 0755, err) < 0) ||
	    intent_digest_key(path, create, key, err) < 0)
		return err->code;
	intent_envdir_digest(variables, key, ret_digest);
	return 0;
}

int intent_service_environment(const struct intent_site *site, const json_t *intent, const char *service,
			       const char *version, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *env = NULL;
	const char *path = getenv("PATH"), *name;
	json_t *list, *value;

	if (intent__service_variables(site, intent, service, &env, err))
		return err->code;
	json_object_set_new(env, "PP_VERSION", json_string(version));
	list = json_array();
	if (!json_object_get(env, "PATH"))
		json_array_append_new(list, json_sprintf("PATH=%s", path ? path : "/usr/bin:/bin"));
	json_object_foreach(env, name, value)
		if (json_is_string(value))
			json_array_append_new(
				list, json_sprintf("%s=%s", name, json_string_value(value)));
	*ret_new = list;
	return 0;
}

char *intent_service_watch_path(const struct intent_site *site, const char *service)
{
	return site->supervisor->watch_path(site, service);
}
