#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "supervisor.h"

static void no_slash_at_end(char *path)
{
	for (size_t length = strlen(path); length > 1 && path[length - 1] == '/'; length--)
		path[length - 1] = '\0';
}

/* The seed's place, else Debian's. */
static int default_runit(const char **ret, struct intent_error *err)
{
	bool seeds, debians;

	if (intent_file_exists("/var/service", 0, &seeds, err) ||
	    intent_file_exists("/etc/service", 0, &debians, err))
		return err->code;
	*ret = seeds || !debians ? "/var/service" : "/etc/service";
	return 0;
}

/* getpwnam(3) has many words for "no such user"; these are others. */
static bool cannot_tell(void)
{
	return errno == EIO || errno == EINTR || errno == EMFILE || errno == ENFILE;
}

/* *ret NULL: there is none. */
static int find_user(const char *name, const struct passwd **ret, struct intent_error *err)
{
	errno = 0;
	*ret = getpwnam(name);
	return !*ret && cannot_tell() ? intent_fail_errno(err, "user %s cannot be looked up", name) : 0;
}

static int find_group(const char *name, const struct group **ret, struct intent_error *err)
{
	errno = 0;
	*ret = getgrnam(name);
	return !*ret && cannot_tell() ? intent_fail_errno(err, "group %s cannot be looked up", name) : 0;
}

static int find_log_user(const json_t *options, struct intent_site *site, struct intent_error *err)
{
	const char *name = intent_json_string(options, "log-user", "_runit-log");
	const struct passwd *user = NULL;

	site->log_uid = geteuid();
	site->log_gid = getegid();
	if (site->root && find_user(name, &user, err))
		return err->code;
	if (!user)
		return 0;
	site->log_user = name;
	site->log_uid = user->pw_uid;
	site->log_gid = user->pw_gid;
	return 0;
}

static void refuse_runas(struct intent_site *site, const char *what, const char *runas,
			 const char *way_out)
{
	snprintf(site->runas_error, sizeof site->runas_error, "%s cannot run as %.80s: %s; %s",
		 site->app, runas, what, way_out);
}

/* "user" or "user:group". */
static int find_runas(const json_t *deploy, struct intent_site *site, struct intent_error *err)
{
	const char *runas = intent_json_string(deploy, "runas", NULL);
	const struct passwd *user;
	const struct group *group;
	char name[64];

	site->uid = geteuid();
	site->gid = getegid();
	if (!runas)
		return 0;
	size_t length = strcspn(runas, ":");
	snprintf(name, sizeof name, "%.*s", (int)length, runas);
	if (find_user(name, &user, err))
		return err->code;
	if (!user) {
		refuse_runas(site, "there is no such user here", runas,
			     "create it, or correct runas in deploy_config");
		return 0;
	}
	uid_t uid = user->pw_uid;
	gid_t gid = user->pw_gid;
	snprintf(site->user, sizeof site->user, "%s", user->pw_name);
	snprintf(site->home, sizeof site->home, "%s", user->pw_dir);
	if (runas[length]) {
		if (find_group(runas + length + 1, &group, err))
			return err->code;
		if (!group) {
			refuse_runas(site, "there is no such group here", runas,
				     "create it, or correct runas in deploy_config");
			return 0;
		}
		gid = group->gr_gid;
	}
	if (!site->root) {
		if (uid != geteuid() || gid != getegid())
			refuse_runas(site, "pp-setlive is not root", runas,
				     "run it as root, or remove runas from deploy_config");
		return 0;
	}
	site->uid = uid;
	site->gid = gid;
	snprintf(site->runas, sizeof site->runas, "%.70s", runas);
	return 0;
}

static int find_supervisor(const json_t *options, struct intent_site *site, struct intent_error *err)
{
	static const struct intent__supervisor *const known[] = { &intent__runit, &intent__systemd };
	const char *name = intent_json_string(options, "supervisor", "auto");
	size_t count = sizeof known / sizeof *known, i = 0;
	bool systemd, runit;

	if (intent_file_exists("/run/systemd/system", 0, &systemd, err) ||
	    intent_file_exists(site->runit, 0, &runit, err))
		return err->code;
	if (!strcmp(name, "auto"))
		name = systemd && !runit ? "systemd" : "runit";
	while (i < count && strcmp(name, known[i]->name))
		i++;
	site->supervisor = known[i < count ? i : 0];
	if (i < count)
		return site->supervisor->check(site, site->supervisor_error, err);
	snprintf(site->supervisor_error, sizeof site->supervisor_error,
		 "there is no supervisor \"%.64s\"; --supervisor takes runit, systemd or auto", name);
	return 0;
}

int intent_site_init(const json_t *intent, struct intent_site *ret, struct intent_error *err)
{
	const json_t *options = json_object_get(intent, "options");
	const char *logs = intent_json_string(options, "log-dir", NULL);
	const char *runit = intent_json_string(options, "runit", NULL);
	struct intent_site site = {
		.app = intent_json_string(intent, "app", ""),
		.node = intent_json_string(intent, "node", ""),
		.cluster = intent_json_string(intent, "cluster", ""),
		.basedir = intent_json_string(intent, "basedir", NULL),
		.builder = intent_json_string(options, "servicebuilder", NULL),
		.builder_config = intent_json_string(options, "config", "/etc/servicebuilder.d"),
		.root = geteuid() == 0,
	};

	if (!runit && default_runit(&runit, err))
		return err->code;
	snprintf(site.runit, sizeof site.runit, "%s", runit);
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
	if (find_supervisor(options, &site, err) || find_log_user(options, &site, err) ||
	    find_runas(json_object_get(intent, "deploy"), &site, err))
		return err->code;
	*ret = site;
	return 0;
}

char *intent__service_path(const struct intent_site *site, const char *service, const char *name)
{
	return intent_format("%s/%s%s%s", site->stage, service, name ? "/" : "", name ? name : "");
}

const char *intent_site_supervisor(const struct intent_site *site)
{
	return site->supervisor->name;
}
