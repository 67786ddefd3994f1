#include <grp.h>
#include <pwd.h>

#include "service.h"

static void no_slash_at_end(char *path)
{
	for (size_t length = strlen(path); length > 1 && path[length - 1] == '/'; length--)
		path[length - 1] = '\0';
}

/* The seed's place, else Debian's. */
static const char *default_runit(void)
{
	struct stat seen;

	if (!stat("/var/service", &seen) || stat("/etc/service", &seen))
		return "/var/service";
	return "/etc/service";
}

static void find_log_user(const json_t *options, struct site *site)
{
	const char *name = intent_json_string(options, "log-user", NULL);
	const struct passwd *user = site->root ? getpwnam(name ? name : "_runit-log") : NULL;

	site->log_uid = geteuid();
	site->log_gid = getegid();
	if (!user)
		return;
	site->log_user = name ? name : "_runit-log";
	site->log_uid = user->pw_uid;
	site->log_gid = user->pw_gid;
}

static void refuse_runas(struct site *site, const char *what, const char *runas,
			 const char *way_out)
{
	snprintf(site->runas_error, sizeof site->runas_error, "%s cannot run as %.80s: %s; %s",
		 site->app, runas, what, way_out);
}

/* "user" or "user:group". */
static void find_runas(const json_t *deploy, struct site *site)
{
	const char *runas = intent_json_string(deploy, "runas", NULL);
	char name[64];

	site->uid = geteuid();
	site->gid = getegid();
	if (!runas)
		return;
	size_t length = strcspn(runas, ":");
	snprintf(name, sizeof name, "%.*s", (int)length, runas);
	const struct passwd *user = getpwnam(name);
	if (!user) {
		refuse_runas(site, "there is no such user here", runas,
			     "create it, or correct runas in deploy_config");
		return;
	}
	uid_t uid = user->pw_uid;
	gid_t gid = user->pw_gid;
	snprintf(site->user, sizeof site->user, "%s", user->pw_name);
	snprintf(site->home, sizeof site->home, "%s", user->pw_dir);
	if (runas[length]) {
		const struct group *group = getgrnam(runas + length + 1);

		if (!group) {
			refuse_runas(site, "there is no such group here", runas,
				     "create it, or correct runas in deploy_config");
			return;
		}
		gid = group->gr_gid;
	}
	if (!site->root) {
		if (uid != geteuid() || gid != getegid())
			refuse_runas(site, "pp-setlive is not root", runas,
				     "run it as root, or remove runas from deploy_config");
		return;
	}
	site->uid = uid;
	site->gid = gid;
	snprintf(site->runas, sizeof site->runas, "%.70s", runas);
}

void site_init(const json_t *intent, struct site *ret)
{
	const json_t *options = json_object_get(intent, "options");
	const char *logs = intent_json_string(options, "log-dir", NULL);
	struct site site = {
		.app = intent_json_string(intent, "app", ""),
		.node = intent_json_string(intent, "node", ""),
		.cluster = intent_json_string(intent, "cluster", ""),
		.basedir = intent_json_string(intent, "basedir", NULL),
		.builder = intent_json_string(options, "servicebuilder", NULL),
		.builder_config = intent_json_string(options, "config", "/etc/servicebuilder.d"),
		.root = geteuid() == 0,
	};

	snprintf(site.runit, sizeof site.runit, "%s",
		 intent_json_string(options, "runit", default_runit()));
	snprintf(site.stage, sizeof site.stage, "%s",
		 intent_json_string(options, "runit-stage", "/var/service-stage"));
	if (logs)
		snprintf(site.logs, sizeof site.logs, "%s", logs);
	else
		snprintf(site.logs, sizeof site.logs, "%s/logs", site.basedir ? site.basedir : "");
	no_slash_at_end(site.runit);
	no_slash_at_end(site.stage);
	no_slash_at_end(site.logs);
	find_log_user(options, &site);
	find_runas(json_object_get(intent, "deploy"), &site);
	*ret = site;
}

char *service_path(const struct site *site, const char *service, const char *name)
{
	return intent_format("%s/%s%s%s", site->stage, service, name ? "/" : "", name ? name : "");
}

/* ---- texts ---- */

/* One word for sh(1), whatever is in it. */
static void quote(struct intent_text *text, const char *word)
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

static void put_text(json_t *files, const char *name, const struct intent_text *text)
{
	if (!text->failed)
		json_object_set_new(files, name, json_string(intent_text_str(text)));
}

static void render_run(json_t *files, const struct site *site, const char *service)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_free_auto char *env = service_path(site, service, "env");
	intent_free_auto char *current = intent_format("%s/current", site->basedir);
	intent_free_auto char *launch = !strcmp(service, site->app) ? strdup("./bin/launch") :
		intent_format("./bin/launch/%s", service + strlen(site->app) + 1);

	if (!env || !current || !launch)
		return;
	intent_text_puts(
		&text, "#!/bin/sh\n# Made by pp-setlive; changes do not last.\nexec 2>&1\ncd -P ");
	quote(&text, current);
	intent_text_printf(
		&text, " || exit 111\nPP_VERSION=${PWD##*/%s_}\nexport PP_VERSION\nexec chpst -e ",
		site->app);
	quote(&text, env);
	if (*site->runas) {
		intent_text_puts(&text, " -u ");
		quote(&text, site->runas);
	}
	intent_text_puts(&text, " ");
	quote(&text, launch);
	intent_text_puts(&text, "\n");
	put_text(files, site->builder ? "launch" : "run", &text);
}

static void render_log(json_t *files, const struct site *site, const char *service)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	intent_free_auto char *directory = intent_format("%s/%s", site->logs, service);

	if (!directory || site->builder)
		return;
	intent_text_puts(&text,
			 "#!/bin/sh\n# Made by pp-setlive; changes do not last.\nexec 2>&1\nexec ");
	if (site->log_user) {
		intent_text_puts(&text, "chpst -u ");
		quote(&text, site->log_user);
		intent_text_puts(&text, " ");
	}
	intent_text_puts(&text, "svlogd -tt ");
	quote(&text, directory);
	intent_text_puts(&text, "\n");
	put_text(files, "log/run", &text);
}

/* NAME -> value: ours first, so that deploy_config has the last word. */
static json_t *environment(const struct site *site, const json_t *intent, const char *service)
{
	intent_free_auto char *config = service_path(site, service, "config.yaml");
	json_t *env = json_pack("{ss ss ss ss*}", "PP_APP", site->app, "PP_CLUSTER", site->cluster,
				"PP_NODE", site->node, "CONFIG_PATH", config);

	if (*site->user)
		json_object_update_new(env, json_pack("{ss ss ss}", "HOME", site->home, "USER",
						      site->user, "LOGNAME", site->user));
	json_object_update(env, intent_json_at(intent, "/deploy/environment"));
	return env;
}

static void render_env(json_t *files, const struct site *site, const json_t *intent,
		       const char *service)
{
	intent_json_auto json_t *env = environment(site, intent, service);
	const char *name;
	json_t *value;

	json_object_foreach(env, name, value) {
		intent_free_auto char *file = intent_format("env/%s", name);

		if (file && json_is_string(value))
			json_object_set_new(files, file,
					    json_sprintf("%s\n", json_string_value(value)));
	}
}

json_t *service_environment(const struct site *site, const json_t *intent, const char *service)
{
	intent_json_auto json_t *env = environment(site, intent, service);
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

json_t *service_render(const struct site *site, const json_t *intent, const char *service)
{
	const json_t *config = intent_json_at(intent, "/config/user_config");
	intent_free_auto char *pretty = config ? intent_json_pretty(config) : strdup("{}");
	intent_json_auto json_t *owner =
		json_pack("{ss ss ss* ss}", "agent", "setlive", "app", site->app, "basedir",
			  site->basedir, "service", service);
	intent_free_auto char *record = intent_json_canonical(owner);
	json_t *files = json_object();

	json_object_set_new(files, SERVICE_OWNER, json_sprintf("%s\n", record ? record : ""));
	json_object_set_new(files, "config.yaml", json_sprintf("%s\n", pretty ? pretty : "{}"));
	json_object_set_new(files, "finish",
			    json_string("#!/bin/sh\n# Made by pp-setlive; changes do not last.\n"
					"echo \"$1 $2\" >exit\n"));
	render_run(files, site, service);
	render_log(files, site, service);
	render_env(files, site, intent, service);
	return files;
}
