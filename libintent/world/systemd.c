#include <ctype.h>

#include "supervisor.h"
#include "systemd.h"

/* ---- systemctl show ---- */

const char intent__unit_properties[] =
	"--property=LoadState,ActiveState,SubState,MainPID,Job,FragmentPath,NeedDaemonReload";

/* The value of NAME=value on a line of its own, its length in *ret_length; NULL: not said. */
static const char *property(const char *text, const char *name, size_t *ret_length)
{
	size_t length = strlen(name);

	for (const char *line = text; *line;) {
		size_t whole = strcspn(line, "\n");

		if (whole > length && !strncmp(line, name, length) && line[length] == '=') {
			*ret_length = whole - length - 1;
			return line + length + 1;
		}
		line += whole + (line[whole] == '\n');
	}
	return NULL;
}

static bool says(const char *text, const char *name, const char *value)
{
	size_t length;
	const char *said = property(text, name, &length);

	return said && length == strlen(value) && !strncmp(said, value, length);
}

static const struct {
	const char *active, *sub;   /* sub NULL: any */
	int state;
} states[] = {
	{ "activating", "auto-restart", INTENT__UNIT_RESTARTING },
	{ "activating", "auto-restart-queued", INTENT__UNIT_RESTARTING },
	{ "activating", NULL, INTENT__UNIT_ACTIVATING },
	{ "active", NULL, INTENT__UNIT_ACTIVE },
	{ "reloading", NULL, INTENT__UNIT_ACTIVE },
	{ "refreshing", NULL, INTENT__UNIT_ACTIVE },
	{ "deactivating", NULL, INTENT__UNIT_DEACTIVATING },
	{ "inactive", NULL, INTENT__UNIT_INACTIVE },
	{ "failed", NULL, INTENT__UNIT_INACTIVE },
	{ "maintenance", NULL, INTENT__UNIT_INACTIVE },
};

int intent__unit_status_parse(const char *text, struct intent__unit_status *ret, struct intent_error *err)
{
	struct intent__unit_status status = { .loaded = says(text, "LoadState", "loaded"),
					      .needs_reload = says(text, "NeedDaemonReload", "yes") };
	struct intent_error ignored;
	int64_t pid;
	size_t length, row = 0, rows = sizeof states / sizeof *states;
	const char *said;

	while (row < rows && !(says(text, "ActiveState", states[row].active) &&
			       (!states[row].sub || says(text, "SubState", states[row].sub))))
		row++;
	if (row == rows)
		return intent_fail(err, INTENT_EMALFORMED, "systemctl does not say what state the unit is in");
	status.state = states[row].state;
	said = property(text, "Job", &length);
	status.has_job = said && length && !(length == 1 && *said == '0');
	said = property(text, "FragmentPath", &length);
	if (said)
		snprintf(status.fragment, sizeof status.fragment, "%.*s",
			 (int)(length < sizeof status.fragment ? length : 0), said);
	said = property(text, "MainPID", &length);
	intent_free_auto char *number = said ? strndup(said, length) : NULL;
	if (number && !intent_integer_parse(number, 0, INT32_MAX, &pid, &ignored))
		status.pid = (pid_t)pid;
	*ret = status;
	return 0;
}

/* ---- the unit ---- */

char *intent__unit_name(const char *service)
{
	struct intent_text text = INTENT_TEXT_INIT;

	intent_text_puts(&text, "platypus-");
	for (const char *c = service; *c; c++) {
		if (isalnum((unsigned char)*c) || strchr("-_.:", *c))
			intent_text_add(&text, c, 1);
		else
			intent_text_printf(&text, "\\x%02x", (unsigned char)*c);
	}
	intent_text_puts(&text, ".service");
	return intent_text_steal(&text);
}

/* A path as the whole value of a setting: only % means something. */
static void add_path(struct intent_text *text, const char *path)
{
	for (const char *c = path; *c; c++)
		intent_text_add(text, *c == '%' ? "%%" : c, *c == '%' ? 2 : 1);
}

/* One word of a command line. */
static void add_word(struct intent_text *text, const char *word)
{
	intent_text_puts(text, "\"");
	for (const char *c = word; *c; c++) {
		if (*c == '%' || *c == '$')
			intent_text_add(text, c, 1);
		else if (*c == '"' || *c == '\\')
			intent_text_puts(text, "\\");
		intent_text_add(text, c, 1);
	}
	intent_text_puts(text, "\"");
}

static const struct { const char *name, *setting; } limits[] = {
	{ "files", "LimitNOFILE" }, { "processes", "TasksMax" }, { "memory", "MemoryMax" },
	{ "file_size", "LimitFSIZE" }, { "core", "LimitCORE" },
};

static const char *const restarts[] = {
	[INTENT__RESTART_ALWAYS] = "always",
	/* Any signal is a failure, as it is for runit. */
	[INTENT__RESTART_ON_FAILURE] = "on-failure\nRestartForceExitStatus=SIGHUP SIGINT SIGPIPE SIGTERM",
	[INTENT__RESTART_NEVER] = "no",
};

static void add_user(struct intent_text *text, const struct intent_site *site)
{
	size_t user = strcspn(site->runas, ":");

	if (*site->runas)
		intent_text_printf(text, "User=%.*s\n", (int)user, site->runas);
	if (site->runas[user])
		intent_text_printf(text, "Group=%s\n", site->runas + user + 1);
}

char *intent__unit_render(const struct intent_site *site, const json_t *intent, const char *service)
{
	intent_free_auto char *current = intent_format("%s/current", site->basedir);
	intent_free_auto char *launch = !strcmp(service, site->app) ?
		intent_format("%s/current/bin/launch", site->basedir) :
		intent_format("%s/current/bin/launch/%s", site->basedir, service + strlen(site->app) + 1);
	intent_free_auto char *directory = intent__service_path(site, service, "");
	struct intent_text text = INTENT_TEXT_INIT;

	intent_text_printf(&text, INTENT__UNIT_MARK
			   "[Unit]\nDescription=%s of %s (Platypus)\nAfter=network.target\n"
			   "StartLimitIntervalSec=0\n\n[Service]\nType=exec\nWorkingDirectory=-", service, site->cluster);
	add_path(&text, current);
	intent_text_puts(&text, "\nExecStart=");
	add_word(&text, launch);
	intent_text_puts(&text, "\nExecStopPost=+/bin/sh ");
	intent_free_auto char *finish = intent_format("%sfinish", directory);
	add_word(&text, finish);
	intent_text_puts(&text, "\nEnvironmentFile=");
	add_path(&text, directory);
	intent_text_puts(&text, "environment\nEnvironmentFile=-");
	add_path(&text, directory);
	intent_text_printf(&text, "version\nSyslogIdentifier=%s\n", service);
	add_user(&text, site);
	/* A second more than we wait ourselves, so that it is us who says that it had to be killed. */
	intent_text_printf(&text, "Restart=%s\nRestartSec=1\nKillMode=mixed\nTimeoutStopSec=%lldms\n",
			   restarts[intent__service_restart(intent)],
			   (long long)intent_service_stop_timeout(intent) + 1000);
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		int64_t value = intent__service_limit(intent, limits[i].name);

		if (value >= 0)
			intent_text_printf(&text, "%s=%lld\n", limits[i].setting, (long long)value);
	}
	intent_text_puts(&text, "\n[Install]\nWantedBy=multi-user.target\n");
	return intent_text_steal(&text);
}

char *intent__unit_environment(const json_t *variables)
{
	struct intent_text text = INTENT_TEXT_INIT;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)variables, name, value) {
		if (!json_is_string(value))
			continue;
		intent_text_printf(&text, "%s=\"", name);
		for (const char *c = json_string_value(value); *c; c++) {
			if (strchr("\"\\`$", *c))
				intent_text_puts(&text, "\\");
			intent_text_add(&text, c, 1);
		}
		intent_text_puts(&text, "\"\n");
	}
	return intent_text_steal(&text);
}
