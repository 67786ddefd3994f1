#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include <intent/child.h>
#include "runit.h"
#include "service.h"

#define FILE_MAX (1u << 20)
#define LOG_SIZE 1000000
#define LOG_KEEP 10
#define BUILDER_DEADLINE_MS 60000

/* Modes by the beginning of a name; the first that fits. */
static const struct rule {
	const char *prefix;
	mode_t mode;
	bool runas;   /* belongs to the service's user, who alone may read it */
} rules[] = {
	{ "env/", 0600, false },          /* chpst reads it before it changes users */
	{ "config.yaml", 0400, true },
	{ "run", 0755, false },
	{ "launch", 0755, false },
	{ "finish", 0755, false },
	{ "log/run", 0755, false },
	{ "", 0644, false },
};

static const struct rule *rule_of(const char *name)
{
	const struct rule *rule = rules;

	while (!intent_starts_with(name, rule->prefix))
		rule++;
	return rule;
}

/* What goes on disk: chpst -e takes the first line, in which NUL stands for a newline. */
static void to_disk(const char *name, struct intent_text *text, const char *rendered)
{
	size_t length = strlen(rendered);

	intent_text_puts(text, rendered);
	if (!text->failed && intent_starts_with(name, "env/"))
		for (size_t i = 0; i + 1 < length; i++)
			if (text->data[i] == '\n')
				text->data[i] = '\0';
}

/* ---- whose is it? ---- */

/* "" when <stage>/<service> is this application's, "absent" words in `why` otherwise. */
enum owner { OWNER_NONE, OWNER_US, OWNER_FOREIGN };

static enum owner owner_of(const struct site *site, const char *service, char why[512])
{
	intent_free_auto char *directory = service_path(site, service, NULL);
	intent_free_auto char *path = service_path(site, service, SERVICE_OWNER);
	intent_json_auto json_t *record = NULL;
	struct intent_error ignored;
	struct stat seen;

	if (!directory || !path || lstat(directory, &seen))
		return OWNER_NONE;
	if (!S_ISDIR(seen.st_mode) || intent_file_read_json(path, 4096, &record, &ignored) ||
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

/* Does the link in --runit lead here? *ret_linked; false and `why` when it is somebody else's. */
static bool link_is_ours(const struct site *site, const char *service, bool *ret_linked,
			 char why[512])
{
	intent_free_auto char *link = intent_format("%s/%s", site->runit, service);
	intent_free_auto char *directory = service_path(site, service, NULL);
	intent_free_auto char *target = NULL;
	struct intent_error err;

	*ret_linked = false;
	int code = link ? intent_link_read(link, &target, &err) : -ENOMEM;
	if (code == INTENT_EABSENT)
		return true;
	if (!code && directory && !strcmp(target, directory)) {
		*ret_linked = true;
		return true;
	}
	if (code)
		snprintf(why, 512, "%.400s is not a link made by pp-setlive; move it away",
			 link ? link : "");
	else
		snprintf(why, 512, "%.200s points at %.200s, which is not ours; move it away", link,
			 target);
	return false;
}

int service_list(const struct site *site, json_t **ret_new, struct intent_error *err)
{
	DIR *stage = opendir(site->stage);
	size_t length = strlen(site->app);
	json_t *names = json_array();
	struct dirent *entry;
	char why[512];

	if (!stage && errno != ENOENT) {
		json_decref(names);
		return intent_fail_errno(err, "%s: cannot list it", site->stage);
	}
	while (stage && (entry = readdir(stage))) {
		const char *name = entry->d_name;

		if (!strncmp(name, site->app, length) && (!name[length] || name[length] == '-') &&
		    owner_of(site, name, why) == OWNER_US)
			json_array_append_new(names, json_string(name));
	}
	if (stage)
		closedir(stage);
	*ret_new = names;
	return 0;
}

/* ---- what differs ---- */

static bool file_is_as(int dir, const char *name, const char *rendered, const struct site *site)
{
	intent_text_auto struct intent_text want = INTENT_TEXT_INIT;
	intent_free_auto char *is = NULL;
	const struct rule *rule = rule_of(name);
	struct intent_error ignored;
	struct stat seen;
	size_t count;

	if (fstatat(dir, name, &seen, AT_SYMLINK_NOFOLLOW) || !S_ISREG(seen.st_mode) ||
	    (seen.st_mode & 07777) != rule->mode)
		return false;
	if (site->root && (seen.st_uid != (rule->runas ? site->uid : 0) ||
			   seen.st_gid != (rule->runas ? site->gid : 0)))
		return false;
	to_disk(name, &want, rendered);
	return !intent_file_read(dir, name, FILE_MAX, &is, &count, &ignored) &&
	       count == want.length && !memcmp(is, intent_text_str(&want), count);
}

/* Names in env/ that nobody rendered. */
static void add_extra_env(int dir, const json_t *files, json_t *stale)
{
	int fd = openat(dir, "env", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (listing && (entry = readdir(listing))) {
		intent_free_auto char *name = intent_format("env/%s", entry->d_name);

		if (*entry->d_name != '.' && name && !json_object_get(files, name))
			json_array_append_new(stale, json_string(name));
	}
	if (listing)
		closedir(listing);
	else
		intent__close(&fd);
}

static char *log_config(const json_t *intent)
{
	const json_t *log = intent_json_at(intent, "/deploy/log");

	return intent_format("s%lld\nn%lld\n",
			     (long long)intent_json_integer(log, "size", LOG_SIZE),
			     (long long)intent_json_integer(log, "keep", LOG_KEEP));
}

/* "logs": the directory; "logs/config": svlogd's settings in it. */
static void add_stale_log(const struct site *site, const json_t *intent, const char *service,
			  json_t *stale)
{
	intent_free_auto char *directory = intent_format("%s/%s", site->logs, service);
	intent_free_auto char *path = intent_format("%s/%s/config", site->logs, service);
	intent_free_auto char *want = log_config(intent), *is = NULL;
	struct intent_error ignored;
	struct stat seen;
	size_t count;

	if (site->builder || !directory || !path || !want)
		return;
	if (lstat(directory, &seen) || !S_ISDIR(seen.st_mode))
		json_array_append_new(stale, json_string("logs"));
	else if (intent_file_read(AT_FDCWD, path, 4096, &is, &count, &ignored) || strcmp(is, want))
		json_array_append_new(stale, json_string("logs/config"));
}

static json_t *stale_files(const struct site *site, const json_t *intent, const char *service,
			   const json_t *files)
{
	intent_free_auto char *path = service_path(site, service, NULL);
	intent_close_auto int dir =
		path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	json_t *stale = json_array(), *text;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)files, name, text)
		if (!file_is_as(dir, name, json_string_value(text), site))
			json_array_append_new(stale, json_string(name));
	add_extra_env(dir, files, stale);
	add_stale_log(site, intent, service, stale);
	if (site->builder && faccessat(dir, "run", X_OK, 0))
		json_array_append_new(stale, json_string("run"));
	return stale;
}

/* ---- observe ---- */

static void boot_id(char out[64])
{
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	size_t count;

	if (intent_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &count,
			     &ignored))
		text = NULL;
	snprintf(out, 64, "%.36s", text ? text : "");
}

int service_record_start(const struct site *site, const char *service, const json_t *wanted,
			 struct intent_error *err)
{
	intent_free_auto char *path = service_path(site, service, SERVICE_STARTED);
	char boot[64];

	boot_id(boot);
	intent_json_auto json_t *record =
		json_pack("{ss sI sO}", "boot", boot, "at", (json_int_t)intent_time_monotonic(),
			  "wanted", wanted);
	if (!path || !record)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	return intent_file_write_json(path, record, 0600, err);
}

/* Time since then, or since boot: by the clock that nobody sets. */
static void observe_started(const struct site *site, const char *service, json_t *object)
{
	intent_free_auto char *path = service_path(site, service, SERVICE_STARTED);
	intent_json_auto json_t *record = NULL;
	struct intent_error ignored;
	int64_t now = intent_time_monotonic(), at;
	char boot[64];

	if (!path || intent_file_read_json(path, 4u << 20, &record, &ignored))
		return;
	boot_id(boot);
	bool same_boot = !strcmp(boot, intent_json_string(record, "boot", "?"));

	/* After a boot it was started from these files: what, when they are not as intended? */
	if (!same_boot && json_array_size(json_object_get(object, "stale")))
		return;
	at = same_boot ? intent_json_integer(record, "at", 0) : 0;
	json_object_set(object, "started", json_object_get(record, "wanted"));
	json_object_set_new(object, "started_ms", json_integer(now > at ? now - at : 0));
}

int service_observe(const struct site *site, const json_t *intent, const char *service,
		    json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *directory = service_path(site, service, NULL);
	intent_free_auto char *down = service_path(site, service, "down");
	struct runit_status status = { 0 };
	struct intent_error ignored;
	bool linked;
	char why[512];

	if (!directory || !down)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	enum owner owner = owner_of(site, service, why);
	if (owner == OWNER_FOREIGN || !link_is_ours(site, service, &linked, why)) {
		*ret_new = json_pack("{ss}", "foreign", why);
		return 0;
	}
	*ret_new = NULL;
	/* A link of ours that leads nowhere is as good as none: making the directory mends it. */
	if (owner == OWNER_NONE)
		return 0;
	bool supervised = runit_is_supervised(directory);
	bool has_down = !access(down, F_OK);
	bool want_up = supervised && !runit_status_read(directory, &status, &ignored) ?
			       status.want_up :
			       !has_down;
	intent_json_auto json_t *files =
		site->basedir ? service_render(site, intent, service) : json_object();
	json_t *object =
		json_pack("{sb ss sb sb}", "linked", linked, "want", want_up ? "up" : "down",
			  "down", has_down, "supervised", supervised);

	json_object_set_new(object, "stale",
			    site->basedir ? stale_files(site, intent, service, files) :
					    json_array());
	observe_started(site, service, object);
	*ret_new = object;
	return 0;
}

/* ---- make it so ---- */

/* Opens (making it when missing) the directory that `name` is in; *ret_base its last part. */
static int open_part(int dir, const char *name, const char **ret_base, struct intent_error *err)
{
	const char *slash = strrchr(name, '/');
	char part[64];

	*ret_base = slash ? slash + 1 : name;
	snprintf(part, sizeof part, "%.*s", slash ? (int)(slash - name) : 1, slash ? name : ".");
	/* env/ holds what only the service may see. */
	if (slash && mkdirat(dir, part, strcmp(part, "env") ? 0755 : 0700) && errno != EEXIST)
		return intent_fail_errno(err, "%s: cannot make directory", part);
	int fd = openat(dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? intent_fail_errno(err, "%s: cannot open directory", part) : fd;
}

static int write_file(const struct site *site, int dir, const char *name, const char *rendered,
		      struct intent_error *err)
{
	intent_text_auto struct intent_text bytes = INTENT_TEXT_INIT;
	const struct rule *rule = rule_of(name);
	const char *base;
	intent_close_auto int part = open_part(dir, name, &base, err);

	if (part < 0)
		return part;
	to_disk(name, &bytes, rendered);
	if (bytes.failed)
		return intent_fail(err, -ENOMEM, "%s: out of memory", name);
	return intent_file_write_at(part, base, intent_text_str(&bytes), bytes.length, rule->mode,
				    !site->root ? (uid_t)-1 : rule->runas ? site->uid : 0,
				    !site->root ? (gid_t)-1 : rule->runas ? site->gid : 0, err);
}

/* Files of a directory that is not published yet: no fsync each, one syncfs for all. */
static int fill_file(const struct site *site, int dir, const char *name, const char *rendered,
		     struct intent_error *err)
{
	intent_text_auto struct intent_text bytes = INTENT_TEXT_INIT;
	const struct rule *rule = rule_of(name);
	const char *base;
	intent_close_auto int part = open_part(dir, name, &base, err);

	if (part < 0)
		return part;
	intent_close_auto int fd =
		openat(part, base, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	to_disk(name, &bytes, rendered);
	if (fd < 0 || intent_write_all(fd, intent_text_str(&bytes), bytes.length) ||
	    fchmod(fd, rule->mode) ||
	    (site->root && rule->runas && fchown(fd, site->uid, site->gid)))
		return intent_fail_errno(err, "%s: cannot write", name);
	return 0;
}

/* A new service directory, whole or not at all, and down. */
static int create(const struct site *site, const json_t *files, const char *service,
		  struct intent_error *err)
{
	intent_close_auto int stage = -1, dir = -1;
	const char *name;
	json_t *text;
	char temp[256];

	if (intent_directory_make(site->stage, 0755, err))
		return err->code;
	stage = open(site->stage, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	intent_temp_name(temp, service);
	if (stage < 0 || mkdirat(stage, temp, 0755))
		return intent_fail_errno(err, "%s: cannot make a directory in it", site->stage);
	dir = openat(stage, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int code = dir < 0 ? intent_fail_errno(err, "%s/%s", site->stage, temp) :
		fill_file(site, dir, "down", "", err);
	json_object_foreach((json_t *)(uintptr_t)files, name, text)
		if (!code)
			code = fill_file(site, dir, name, json_string_value(text), err);
	if (!code && syncfs(dir))
		code = intent_fail_errno(err, "cannot sync its file system");
	if (!code && renameat(stage, temp, stage, service))
		code = intent_fail_errno(err, "cannot be renamed into place");
	if (code) {
		struct intent_error ignored;

		intent_tree_remove_at(stage, temp, &ignored);
		return intent_wrap(err, "%s/%s", site->stage, service);
	}
	return fsync(stage) ? intent_fail_errno(err, "%s: cannot be synced", site->stage) : 0;
}

/* svlogd's directory: its owner is right from the moment it has its name. */
static int make_log_directory(const struct site *site, const char *service,
			      struct intent_error *err)
{
	intent_close_auto int logs = -1, dir = -1;
	char temp[256];

	if (intent_directory_make(site->logs, 0755, err))
		return err->code;
	logs = open(site->logs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	intent_temp_name(temp, service);
	if (logs < 0 || mkdirat(logs, temp, 0750))
		return intent_fail_errno(err, "%s: cannot make a directory in it", site->logs);
	dir = openat(logs, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || (site->root && fchown(dir, site->log_uid, site->log_gid)) ||
	    renameat(logs, temp, logs, service)) {
		intent_fail_errno(err, "%s/%s: cannot make directory", site->logs, service);
		unlinkat(logs, temp, AT_REMOVEDIR);
		return err->code;
	}
	return fsync(logs) ? intent_fail_errno(err, "%s: cannot be synced", site->logs) : 0;
}

static int configure_log(const struct site *site, const json_t *intent, const char *service,
			 bool make, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s/config", site->logs, service);
	intent_free_auto char *text = log_config(intent);

	if (!path || !text)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	if (make && make_log_directory(site, service, err))
		return err->code;
	return intent_file_write(path, text, strlen(text), 0644, err);
}

/* An external servicebuilder writes run, log/ and the link from our definition. */
static int run_builder(const struct site *site, const char *service, struct intent_error *err)
{
	intent_free_auto char *definition =
		intent_format("%s/%s.yaml", site->builder_config, service);
	intent_free_auto char *launch = service_path(site, service, "launch");
	const char *argv[] = { site->builder, "-c", site->builder_config, "-d",
			       site->runit,   "-s", site->stage,          NULL };
	struct intent_child_options options = { .argv = argv, .deadline_ms = BUILDER_DEADLINE_MS };
	intent_json_auto json_t *document = json_pack("{s{s[s]}}", service, "run", launch);

	if (!definition || !launch)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	if (intent_directory_make(site->builder_config, 0755, err) ||
	    intent_file_write_json(definition, document, 0644, err))
		return err->code;
	return intent_child_check(&options, err) ? intent_wrap(err, "--servicebuilder") : 0;
}

static int repair(const struct site *site, const json_t *intent, const json_t *files,
		  const char *service, const json_t *stale, struct intent_error *err)
{
	intent_free_auto char *path = service_path(site, service, NULL);
	intent_close_auto int dir =
		path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct intent_error ignored;
	size_t i;
	json_t *item;
	int code = 0;

	if (dir < 0)
		return intent_fail_errno(err, "%s", path ? path : service);
	json_array_foreach((json_t *)(uintptr_t)stale, i, item) {
		const char *name = json_string_value(item),
			   *text = intent_json_string(files, name, NULL);

		if (text)
			code = write_file(site, dir, name, text, err);
		else if (intent_starts_with(name, "env/") && unlinkat(dir, name, 0) &&
			 errno != ENOENT)
			code = intent_fail_errno(err, "%s: cannot be removed", name);
		else if (intent_starts_with(name, "logs"))
			code = configure_log(site, intent, service, !strcmp(name, "logs"), err);
		if (code)
			return intent_wrap(err, "%s", path);
		/* svlogd reads its settings again at HUP, and log/run is run again after TERM. */
		if (!strcmp(name, "logs/config"))
			runit_control_log(path, "h", &ignored);
		else if (!strcmp(name, "log/run"))
			runit_control_log(path, "t", &ignored);
	}
	return 0;
}

int service_configure(const struct site *site, const json_t *intent, const char *service,
		      struct intent_error *err)
{
	intent_json_auto json_t *files = service_render(site, intent, service), *stale = NULL;
	intent_free_auto char *directory = service_path(site, service, NULL);
	intent_free_auto char *link = intent_format("%s/%s", site->runit, service);
	char why[512];
	bool linked;

	if (!directory || !link)
		return intent_fail(err, -ENOMEM, "%s: out of memory", service);
	enum owner owner = owner_of(site, service, why);
	if (owner == OWNER_FOREIGN || !link_is_ours(site, service, &linked, why))
		return intent_fail(err, INTENT_ENOTOURS, "%s", why);
	if (owner == OWNER_NONE && create(site, files, service, err))
		return err->code;
	stale = stale_files(site, intent, service, files);
	if (repair(site, intent, files, service, stale, err))
		return err->code;
	if (site->builder && run_builder(site, service, err))
		return err->code;
	return intent_link_set(directory, link, NULL, err);
}
