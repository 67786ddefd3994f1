#include <grp.h>
#include <pwd.h>

#include "supervisor.h"

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

static void find_log_user(const json_t *options, struct intent_site *site)
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

static void refuse_runas(struct intent_site *site, const char *what, const char *runas,
			 const char *way_out)
{
	snprintf(site->runas_error, sizeof site->runas_error, "%s cannot run as %.80s: %s; %s",
		 site->app, runas, what, way_out);
}

/* "user" or "user:group". */
static void find_runas(const json_t *deploy, struct intent_site *site)
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

static void find_supervisor(const json_t *options, struct intent_site *site)
{
	const char *name = intent_json_string(options, "supervisor", "auto");

	static const struct intent__supervisor *const known[] = { &intent__runit, &intent__systemd };
	struct stat seen;
	size_t count = sizeof known / sizeof *known, i = 0;

	if (!strcmp(name, "auto"))
		name = !stat("/run/systemd/system", &seen) && stat(site->runit, &seen) ? "systemd" : "runit";
	while (i < count && strcmp(name, known[i]->name))
		i++;
	site->supervisor = known[i < count ? i : 0];
	if (i < count)
		site->supervisor->check(site, site->supervisor_error);
	else
		snprintf(site->supervisor_error, sizeof site->supervisor_error,
			 "there is no supervisor \"%.64s\"; --supervisor takes runit, systemd or auto", name);
}

void intent_site_init(const json_t *intent, struct intent_site *ret)
{
	const json_t *options = json_object_get(intent, "options");
	const char *logs = intent_json_string(options, "log-dir", NULL);
	struct intent_site site = {
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
	snprintf(site.systemd, sizeof site.systemd, "%s",
		 intent_json_string(options, "systemd-dir", "/etc/systemd/system"));
	no_slash_at_end(site.runit);
	no_slash_at_end(site.systemd);
	no_slash_at_end(site.stage);
	no_slash_at_end(site.logs);
	find_supervisor(options, &site);
	find_log_user(options, &site);
	find_runas(json_object_get(intent, "deploy"), &site);
	*ret = site;
}

char *intent__service_path(const struct intent_site *site, const char *service, const char *name)
{
	return intent_format("%s/%s%s%s", site->stage, service, name ? "/" : "", name ? name : "");
}

const char *intent_site_supervisor(const struct intent_site *site)
{
	return site->supervisor->name;
}
