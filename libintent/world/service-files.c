#include <errno.h>
#include <fcntl.h>

#include <intent/envdir.h>
#include "supervisor.h"

#define FILE_MAX (1u << 20)

/* Modes by the beginning of a name; the first that fits. */
static const struct rule {
	const char *prefix;
	mode_t mode;
	bool runas;   /* belongs to the service's user, who alone may read it */
} rules[] = {
	{ "env/", 0600, false },          /* chpst reads it before it changes users */
	{ "environment", 0600, false },   /* and so does systemd */
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

void intent__sh_quote(struct intent_text *text, const char *word)
{
	intent_text_puts(text, "'");
	for (const char *c = word; *c; c++) {
		if (*c == '\'')
			intent_text_puts(text, "'\\''");
		else
			intent_text_add(text, c, 1);
	}
	intent_text_puts(text, "'");
}

/* ---- what deploy_config says ---- */

int64_t intent__service_limit(const json_t *intent, const char *name)
{
	const json_t *limits = intent_json_at(intent, "/deploy/limits");
	const json_t *value = json_object_get(limits, name);
	struct intent_error ignored;
	int64_t bytes;

	if (json_is_integer(value) && json_integer_value(value) >= 0)
		return json_integer_value(value);
	if (json_is_string(value) && !intent_size_parse(json_string_value(value), &bytes, &ignored))
		return bytes;
	return -1;
}

enum intent__restart intent__service_restart(const json_t *intent)
{
	const char *word = intent_json_string(json_object_get(intent, "deploy"), "restart", "always");

	return !strcmp(word, "never") ? INTENT__RESTART_NEVER :
		!strcmp(word, "on-failure") ? INTENT__RESTART_ON_FAILURE : INTENT__RESTART_ALWAYS;
}

int intent__service_variables(const struct intent_site *site, const json_t *intent, const char *service,
			      json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *config = intent__service_path(site, service, "config.yaml");
	const char *envdir = intent_json_string(intent, "envdir", NULL);
	intent_json_auto json_t *given = NULL;
	json_t *env;

	if (envdir && intent_envdir_read(envdir, 0, &given, err) && intent_error_is_errno(err->code) &&
	    err->code != -EACCES)
		return err->code;
	env = json_pack("{ss ss ss ss*}", "PP_APP", site->app, "PP_CLUSTER", site->cluster,
			"PP_NODE", site->node, "CONFIG_PATH", config);
	if (given)
		json_object_update_missing(env, given);
	if (*site->user)
		json_object_update_new(env, json_pack("{ss ss ss}", "HOME", site->home, "USER",
						      site->user, "LOGNAME", site->user));
	json_object_update(env, intent_json_at(intent, "/deploy/environment"));
	*ret_new = env;
	return 0;
}

int intent__service_render(const struct intent_site *site, const json_t *intent, const char *service,
			   json_t **ret_new, struct intent_error *err)
{
	const json_t *config = intent_json_at(intent, "/config/user_config");
	intent_free_auto char *pretty = config ? intent_json_pretty(config) : strdup("{}");
	intent_json_auto json_t *owner =
		json_pack("{ss ss ss* ss}", "agent", "setlive", "app", site->app, "basedir",
			  site->basedir, "service", service);
	intent_free_auto char *record = intent_json_canonical(owner);
	intent_json_auto json_t *files = json_object();

	json_object_set_new(files, INTENT__OWNER, json_sprintf("%s\n", record ? record : ""));
	json_object_set_new(files, "config.yaml", json_sprintf("%s\n", pretty ? pretty : "{}"));
	if (site->supervisor->render(site, intent, service, files, err))
		return err->code;
	*ret_new = json_incref(files);
	return 0;
}

/* ---- what differs ---- */

static bool file_is_as(int dir, const char *name, const char *rendered, const struct intent_site *site)
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
static int add_extra_env(const struct intent_site *site, const char *service, const json_t *files, json_t *stale,
			 struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, "env");
	intent_json_auto json_t *entries = NULL;
	struct stat seen;
	size_t i;
	json_t *item;

	int code = intent_file_stat(path, AT_SYMLINK_NOFOLLOW, &seen, err);
	if (!code && S_ISDIR(seen.st_mode))
		code = intent_directory_list(path, &entries, err);
	if (code && code != INTENT_EABSENT)
		return code;
	json_array_foreach(entries, i, item) {
		intent_free_auto char *name = intent_format("env/%s", json_string_value(item));

		if (*json_string_value(item) != '.' && !json_object_get(files, name))
			json_array_append_new(stale, json_string(name));
	}
	return 0;
}

int intent__service_stale(const struct intent_site *site, const json_t *intent, const char *service,
			  const json_t *files, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, NULL);
	intent_close_auto int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	intent_json_auto json_t *stale = json_array();
	const char *name;
	json_t *text;

	if (dir < 0)
		return intent_fail_errno(err, "%s: cannot be looked at", path);
	json_object_foreach((json_t *)(uintptr_t)files, name, text)
		if (!file_is_as(dir, name, json_string_value(text), site))
			json_array_append_new(stale, json_string(name));
	if (add_extra_env(site, service, files, stale, err) ||
	    site->supervisor->stale(site, intent, service, stale, err))
		return err->code;
	*ret_new = json_incref(stale);
	return 0;
}

/* ---- making it so ---- */

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

static int write_file(const struct intent_site *site, int dir, const char *name, const char *rendered,
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
static int fill_file(const struct intent_site *site, int dir, const char *name, const char *rendered,
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

static int make_initial(const struct intent_site *site, int dir, const char *name, struct intent_error *err)
{
	if (!intent_ends_with(name, "/"))
		return fill_file(site, dir, name, "", err);
	return mkdirat(dir, name, 0755) ? intent_fail_errno(err, "%s: cannot make directory", name) : 0;
}

int intent__service_create(const struct intent_site *site, const json_t *files, const char *service,
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
	int code = dir < 0 ? intent_fail_errno(err, "%s/%s", site->stage, temp) : 0;
	for (size_t i = 0; i < site->supervisor->initial_count && !code; i++)
		code = make_initial(site, dir, site->supervisor->initial[i], err);
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

static int remove_file(int dir, const char *name, struct intent_error *err)
{
	return unlinkat(dir, name, 0) && errno != ENOENT ?
		intent_fail_errno(err, "%s: cannot be removed", name) : 0;
}

int intent__service_repair(const struct intent_site *site, const json_t *intent, const json_t *files,
			   const char *service, const json_t *stale, struct intent_error *err)
{
	intent_free_auto char *path = intent__service_path(site, service, NULL);
	intent_close_auto int dir =
		path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
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
		else if (intent_starts_with(name, "env/"))
			code = remove_file(dir, name, err);
		else
			code = site->supervisor->repair(site, intent, service, name, err);
		if (code)
			return intent_wrap(err, "%s", path);
		site->supervisor->replaced(site, service, name);
	}
	return 0;
}
