/* Looks at the world and changes nothing; the document it makes is described in setlive.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include <intent/agent.h>
#include <intent/documents.h>
#include <intent/health.h>
#include "runit.h"
#include "service.h"
#include "setlive.h"

#define HEALTH_AGAIN_MS 5000   /* while it is not well */
#define LAST_WORDS 300         /* of the log, in a message */

/* Held from the first look at the active install to the end of the round (DESIGN section 4). */
static int install_lock = -1;

char *setlive__install_path(const struct site *site, const char *version)
{
	return intent_format("%s/installs/%s_%s", site->basedir, site->app, version);
}

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

static bool is_program(const char *directory, const char *name)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name);
	struct stat seen;

	return path && !stat(path, &seen) && S_ISREG(seen.st_mode) && seen.st_mode & 0111;
}

static int by_name(const void *a, const void *b)
{
	const json_t *const *left = a, *const *right = b;

	return strcmp(json_string_value(*left), json_string_value(*right));
}

/* One service for each program in bin/launch/, in the order of their names. */
static json_t *launch_directory(const char *app, const char *launch)
{
	DIR *listing = opendir(launch);
	json_t *found[LAUNCH_MAX], *names = json_array();
	size_t count = 0;
	struct dirent *entry;

	while (listing && count < LAUNCH_MAX && (entry = readdir(listing)))
		if (intent_name_is_valid(entry->d_name) && is_program(launch, entry->d_name))
			found[count++] = json_sprintf("%s-%s", app, entry->d_name);
	if (listing)
		closedir(listing);
	qsort(found, count, sizeof *found, by_name);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(names, found[i]);
	return names;
}

json_t *setlive__install(const struct site *site, const char *version, bool active)
{
	intent_free_auto char *path = setlive__install_path(site, version);
	intent_free_auto char *launch = path ? intent_format("%s/bin/launch", path) : NULL;
	struct stat seen;

	if (!launch || lstat(path, &seen) || !S_ISDIR(seen.st_mode) ||
	    (active && !lock_install(path)))
		return NULL;
	if (stat(launch, &seen))
		return json_pack("{so}", "error",
				 json_sprintf("%s cannot be run: it has no bin/launch, a program "
					      "or a directory of programs",
					      path));
	if (S_ISREG(seen.st_mode) && seen.st_mode & 0111)
		return json_pack("[s]", site->app);
	json_t *names = S_ISDIR(seen.st_mode) ? launch_directory(site->app, launch) : NULL;
	if (json_array_size(names))
		return names;
	json_decref(names);
	return json_pack("{so}", "error",
			 json_sprintf("%s cannot be run: %s", launch,
				      S_ISDIR(seen.st_mode) ? "no program is in it" :
							      "it is not executable"));
}

static json_t *observe_installs(struct intent_round *round, const struct site *site,
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

/* The version that <basedir>/current names. */
static void observe_current(const struct site *site, json_t *observed)
{
	intent_free_auto char *link = intent_format("%s/current", site->basedir);
	intent_free_auto char *prefix = intent_format("%s/installs/%s_", site->basedir, site->app);
	intent_free_auto char *target = NULL;
	struct intent_error err;

	int code = link && prefix ? intent_link_read(link, &target, &err) : -ENOMEM;
	if (code == INTENT_EABSENT)
		return;
	if (code)
		json_object_set_new(
			observed, "current_foreign",
			json_sprintf("%s is not a link; move it away", link ? link : "current"));
	else if (intent_starts_with(target, prefix) && !strchr(target + strlen(prefix), '/'))
		json_object_set_new(observed, "current", json_string(target + strlen(prefix)));
	else
		json_object_set_new(observed, "current_foreign", json_sprintf(
			"%s points at %s, which is no version of %s below %s/installs; remove it",
			link, target, site->app, site->basedir));
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

static json_t *observe_strays(const struct site *site, const json_t *services)
{
	static const char *const parts[] = { NULL, "env", "log" };
	json_t *strays = json_array(), *service;
	const char *name;

	add_stray(strays, site->stage);
	add_stray(strays, site->runit);
	if (site->basedir) {
		add_stray(strays, site->basedir);
		add_stray(strays, site->logs);
	}
	json_object_foreach((json_t *)(uintptr_t)services, name, service) {
		intent_free_auto char *logs = intent_format("%s/%s", site->logs, name);

		for (size_t i = 0; i < 3 && !json_object_get(service, "foreign"); i++) {
			intent_free_auto char *path = service_path(site, name, parts[i]);

			if (path)
				add_stray(strays, path);
		}
		if (logs && site->basedir)
			add_stray(strays, logs);
	}
	return strays;
}

static int observe_services(const struct site *site, const json_t *intent, const json_t *installs,
			    json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *names = NULL;
	json_t *services = json_object(), *install, *item;
	const char *version;
	size_t i;

	if (service_list(site, &names, err)) {
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
		if (service_observe(site, intent, json_string_value(item), &service, err)) {
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

/* The last of what the service said and how it ended, for whoever reads why it is not healthy. */
static void add_last_words(const struct site *site, const char *service, struct intent_text *text)
{
	intent_free_auto char *log = intent_format("%s/%s/current", site->logs, service);
	intent_free_auto char *exit_path = service_path(site, service, "exit");
	intent_free_auto char *exit_words = NULL;
	struct intent_error ignored;
	char tail[LAST_WORDS + 1];
	int code = 0, number = 0;
	size_t count;

	if (exit_path &&
	    !intent_file_read(AT_FDCWD, exit_path, 64, &exit_words, &count, &ignored) &&
	    sscanf(exit_words, "%d %d", &code, &number) == 2)
		intent_text_printf(text,
				   code < 0 ? "; it last ended by signal %d" :
					      "; it last ended with status %d",
				   code < 0 ? number : code);
	intent_close_auto int fd = log && !site->builder ?
		open(log, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	ssize_t got =
		size <= 0 ? 0 :
			    pread(fd, tail, LAST_WORDS, size > LAST_WORDS ? size - LAST_WORDS : 0);
	if (got <= 0)
		return;
	tail[got] = '\0';
	/* The last line that is whole, without svlogd's time stamp. */
	while (got && (tail[got - 1] == '\n' || tail[got - 1] == ' '))
		tail[--got] = '\0';
	const char *line = strrchr(tail, '\n') ? strrchr(tail, '\n') + 1 : tail;
	if (strlen(line) > 26 && line[10] == '_')
		line += strcspn(line, " ") + 1;
	if (*line)
		intent_text_printf(text, "; last line of its log: %.160s", line);
}

void setlive__health(const struct site *site, const json_t *intent, const json_t *names,
			   struct intent_text *ret)
{
	const char *active = intent_config_active(json_object_get(intent, "config"));
	const char *first = json_string_value(json_array_get(names, 0)), *worst = first;
	intent_json_auto json_t *list =
		service_environment(site, intent, first ? first : site->app);
	intent_free_auto char *install = active ? setlive__install_path(site, active) : NULL;
	const char *env[1024] = { NULL };
	struct intent_health_subject subject = { .install = install,
						 .env = env,
						 .up_ms = INT64_MAX };
	struct intent_error err;
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item)
		if (i < sizeof env / sizeof *env - 1)
			env[i] = json_string_value(item);
	if (site->root && *site->runas) {
		subject.uid = site->uid;
		subject.gid = site->gid;
	}
	json_array_foreach((json_t *)(uintptr_t)names, i, item) {
		intent_free_auto char *path = service_path(site, json_string_value(item), NULL);
		struct runit_status status = { 0 };
		int64_t up = -1;

		if (path && runit_is_supervised(path) && !runit_status_read(path, &status, &err) &&
		    status.state == RUNIT_RUN)
			up = runit_uptime(status.pid);
		if (up < subject.up_ms) {
			subject.up_ms = up;
			worst = json_string_value(item);
		}
	}
	intent_text_clear(ret);
	if (intent_health_check(json_object_get(json_object_get(intent, "deploy"), "health"),
				&subject, &err)) {
		intent_text_printf(ret, "%s: %s", worst ? worst : site->app, err.msg);
		add_last_words(site, worst ? worst : site->app, ret);
	}
}

/* A service that ends or is told to stop wakes us: runsv writes its status anew. */
static void watch_service(struct intent_round *round, const struct site *site, const char *name)
{
	intent_free_auto char *path = intent_format("%s/%s/supervise", site->stage, name);

	if (path)
		intent_round_watch(round, path);
}

/* Only when all that should run was started as intent says; else it is started again anyway. */
static void observe_health(struct intent_round *round, const struct site *site,
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
	setlive__health(site, intent, names, &health);
	/* Getting well is seen by nobody but who asks again. */
	if (health.length)
		intent_round_again(round, HEALTH_AGAIN_MS);
	json_object_set_new(observed, "started_ms", json_integer(started_ms));
	json_object_set_new(observed, "health", json_string(intent_text_str(&health)));
}

int setlive__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
			   struct intent_error *err)
{
	struct site site;
	struct stat seen;
	json_t *services = NULL;

	site_init(intent, &site);
	intent_json_auto json_t *observed = json_pack("{ss}", "runit", site.runit);
	if (site.basedir) {
		if (*site.runas_error)
			json_object_set_new(observed, "runas_error", json_string(site.runas_error));
		json_object_set_new(observed, "installs", observe_installs(round, &site, intent));
		observe_current(&site, observed);
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
