#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include <intent/digest.h>
#include <intent/envdir.h>
#include "supervisor.h"

#define STARTED_MAX (4u << 20)

/* ---- whose is it? ---- */

/* "" when <stage>/<service> is this application's, "absent" words in `why` otherwise. */
enum owner { OWNER_NONE, OWNER_US, OWNER_FOREIGN, OWNER_UNKNOWN };

static enum owner owner_of(const struct intent_site *site, const char *service, char why[512])
{
	intent_free_auto char *directory = intent__service_path(site, service, NULL);
	intent_free_auto char *path = intent__service_path(site, service, INTENT__OWNER);
	intent_json_auto json_t *record = NULL;
	struct intent_error err = {0};
	struct stat seen;

	if (lstat(directory, &seen)) {
		if (errno != EIO)
			return OWNER_NONE;
		snprintf(why, 512, "whose %.128s is cannot be read: %s", service, strerror(errno));
		return OWNER_UNKNOWN;
	}
	if (S_ISDIR(seen.st_mode) && intent_file_read_json(path, 4096, &record, &err) && err.code != INTENT_EABSENT &&
	    err.code != INTENT_EMALFORMED) {
		snprintf(why, 512, "whose %.128s is cannot be read: %.300s", service, err.msg);
		return OWNER_UNKNOWN;
	}
	if (!S_ISDIR(seen.st_mode) || !record ||
	    strcmp(intent_json_string(record, "agent", ""), "setlive")) {
		snprintf(why, 512, "%.300s exists and was not made by pp-setlive; move it away",
			 directory);
		return OWNER_FOREIGN;
	}
	const char *app = intent_json_string(record, "app", "");
	if (!strcmp(app, site->app))
		return OWNER_US;
	snprintf(why, 512, "%.300s belongs to application %.128s; rename one of the two", directory,
		 app);
	return OWNER_FOREIGN;
}

bool intent__service_is_ours(const struct intent_site *site, const char *service)
{
	char why[512];

	return owner_of(site, service, why) == OWNER_US;
}

int intent_service_apps(const struct intent_site *site, json_t **ret_new, struct intent_error *err)
{
	DIR *stage = opendir(site->stage);
	intent_json_auto json_t *apps = json_object();
	json_t *names, *value;
	struct dirent *entry;
	const char *name;

	if (!stage && errno != ENOENT)
		return intent_fail_errno(err, "%s: cannot list it", site->stage);
	while (stage && (errno = 0, entry = readdir(stage))) {
		intent_free_auto char *path = intent__service_path(site, entry->d_name, INTENT__OWNER);
		intent_json_auto json_t *record = NULL;

		/* One that cannot be read may be ours: not to know of it would be to leave it running. */
		if (*entry->d_name != '.' && intent_file_read_json(path, 4096, &record, err) == -EIO) {
			closedir(stage);
			return err->code;
		}
		if (strcmp(intent_json_string(record, "agent", ""), "setlive"))
			continue;
		const char *app = intent_json_string(record, "app", "");
		if (intent_name_is_valid(app))
			json_object_set_new(apps, app, json_null());
	}
	if (stage && errno) {
		intent_fail_errno(err, "%s: cannot list it", site->stage);
		closedir(stage);
		return err->code;
	}
	if (stage)
		closedir(stage);
	names = json_array();
	json_object_foreach(apps, name, value)
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

			json_array_append_new(places, json_string(path ? path : ""));
		}
		if (site->basedir)
			json_array_append_new(places, json_sprintf("%s/%s", site->logs, name));
	}
	return places;
}

int intent_service_list(const struct intent_site *site, json_t **ret_new, struct intent_error *err)
{
	DIR *stage = opendir(site->stage);
	size_t length = strlen(site->app);
	json_t *names = json_array();
	struct dirent *entry;
	char why[512];
	int code = 0;

	if (!stage && errno != ENOENT) {
		json_decref(names);
		return intent_fail_errno(err, "%s: cannot list it", site->stage);
	}
	while (!code && stage && (errno = 0, entry = readdir(stage))) {
		const char *name = entry->d_name;
		enum owner owner;

		if (strncmp(name, site->app, length) || (name[length] && name[length] != '-'))
			continue;
		owner = owner_of(site, name, why);
		if (owner == OWNER_UNKNOWN)
			code = intent_fail(err, -EIO, "%s", why);
		else if (owner == OWNER_US)
			json_array_append_new(names, json_string(name));
	}
	if (!code && stage && errno)
		code = intent_fail_errno(err, "%s: cannot list it", site->stage);
	if (stage)
		closedir(stage);
	if (code)
		json_decref(names);
	else
		*ret_new = names;
	return code;
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
	if (!path || !record)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
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

	if (!path || (unlink(path) && errno != ENOENT))
		return intent_fail_errno(err, "%s/%s/" INTENT__STARTED ": cannot be removed",
					 site->stage, service);
	return 0;
}

int intent_service_note(const struct intent_site *site, const char *service, const json_t *members,
			struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, INTENT__STARTED);
	intent_json_auto json_t *record = NULL;

	if (!path)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	if (intent_file_read_json(path, STARTED_MAX, &record, err))
		return err->code;
	if (json_object_update(json_object_get(record, "wanted"), (json_t *)(uintptr_t)members))
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
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
		return err->code == -EIO ? err->code : 0;
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

int intent_service_observe(const struct intent_site *site, const json_t *intent, const char *service,
			   json_t **ret_new, struct intent_error *err)
{
	struct intent__seen seen;
	bool linked;
	char why[512];

	enum owner owner = owner_of(site, service, why);
	if (owner == OWNER_FOREIGN || owner == OWNER_UNKNOWN ||
	    !site->supervisor->linked(site, service, &linked, why)) {
		*ret_new = json_pack("{ss}", "foreign", why);
		return *ret_new ? 0 : intent_fail(err, -ENOMEM, "%s: out of memory", service);
	}
	*ret_new = NULL;
	/* A link of ours that leads nowhere is as good as none: making the directory mends it. */
	if (owner == OWNER_NONE)
		return 0;
	site->supervisor->look(site, service, &seen);
	intent_json_auto json_t *files =
		site->basedir ? intent__service_render(site, intent, service) : json_object();
	json_t *object = json_pack("{sb ss sb sb sb}", "linked", linked, "want", seen.want_up ? "up" : "down",
				   "running", seen.running, "down", seen.stays_down, "supervised", seen.supervised);

	json_object_set_new(object, "stale", site->basedir ?
			    intent__service_stale(site, intent, service, files) : json_array());
	if (observe_started(site, service, object, err)) {
		json_decref(object);
		return err->code;
	}
	*ret_new = object;
	return 0;
}

/* ---- make it so ---- */

int intent_service_configure(const struct intent_site *site, const json_t *intent, const char *service,
			     struct intent_error *err)
{
	intent_json_auto json_t *files = intent__service_render(site, intent, service), *stale = NULL;
	char why[512];
	bool linked;

	enum owner owner = owner_of(site, service, why);
	if (owner == OWNER_FOREIGN || owner == OWNER_UNKNOWN || !site->supervisor->linked(site, service, &linked, why))
		return intent_fail(err, INTENT_ENOTOURS, "%s", why);
	if (owner == OWNER_NONE && intent__service_create(site, files, service, err))
		return err->code;
	stale = intent__service_stale(site, intent, service, files);
	if (intent__service_repair(site, intent, files, service, stale, err))
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
	if (!path)
		return intent_fail(err, -ENOMEM, "out of memory");
	if (intent_envdir_read(envdir, INTENT_ENVDIR_REST_MS, &variables, err) < 0 ||
	    (create && intent_directory_make(site->stage, 0755, err) < 0) ||
	    intent_digest_key(path, create, key, err) < 0)
		return err->code;
	intent_envdir_digest(variables, key, ret_digest);
	return 0;
}

json_t *intent_service_environment(const struct intent_site *site, const json_t *intent, const char *service)
{
	intent_json_auto json_t *env = intent__service_variables(site, intent, service);
	const char *path = getenv("PATH"), *name;
	json_t *list = json_array(), *value;

	if (!json_object_get(env, "PATH"))
		json_array_append_new(list, json_sprintf("PATH=%s", path ? path : "/usr/bin:/bin"));
	json_object_foreach(env, name, value)
		if (json_is_string(value))
			json_array_append_new(
				list, json_sprintf("%s=%s", name, json_string_value(value)));
	return list;
}

char *intent_service_watch_path(const struct intent_site *site, const char *service)
{
	return site->supervisor->watch_path(site, service);
}
