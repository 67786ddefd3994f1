#include <check.h>

#include "../../libintent/world/supervisor.h"
#include "../../libintent/world/systemd.h"

static struct intent_error error;

/* ---- systemctl show ---- */

#define LOADED "LoadState=loaded\nNeedDaemonReload=no\nFragmentPath=/etc/systemd/system/x.service\nJob=\n"

static const struct {
	const char *text;
	int state;    /* -1: malformed */
	pid_t pid;
	bool loaded, needs_reload, has_job;
} shown[] = {
	{ LOADED "MainPID=77\nActiveState=active\nSubState=running\n", INTENT__UNIT_ACTIVE, 77, true, false, false },
	{ LOADED "MainPID=0\nActiveState=activating\nSubState=auto-restart\n", INTENT__UNIT_RESTARTING, 0, true, false, false },
	{ LOADED "MainPID=7\nActiveState=activating\nSubState=start\n", INTENT__UNIT_ACTIVATING, 7, true, false, false },
	{ LOADED "MainPID=7\nActiveState=deactivating\nSubState=stop-sigterm", INTENT__UNIT_DEACTIVATING, 7, true, false, false },
	{ LOADED "MainPID=0\nActiveState=failed\nSubState=failed\n", INTENT__UNIT_INACTIVE, 0, true, false, false },
	{ "LoadState=not-found\nActiveState=inactive\nSubState=dead\nMainPID=0\n", INTENT__UNIT_INACTIVE, 0, false, false, false },
	{ "LoadState=masked\nActiveState=inactive\n", INTENT__UNIT_INACTIVE, 0, false, false, false },
	{ "ActiveState=active\nMainPID=9\nJob=123\nNeedDaemonReload=yes\nLoadState=loaded\n", INTENT__UNIT_ACTIVE, 9, true, true, true },
	{ "ActiveState=active\nJob=0\nMainPID=x\n", INTENT__UNIT_ACTIVE, 0, false, false, false },
	{ "ActiveState=active\nMainPID=4294967297\n", INTENT__UNIT_ACTIVE, 0, false, false, false },
	{ "XActiveState=active\n", -1, 0, false, false, false },
	{ "ActiveState=activeX\n", -1, 0, false, false, false },
	{ "ActiveState=\nActiveState=act", -1, 0, false, false, false },
	{ "", -1, 0, false, false, false },
	{ "Failed to connect to bus: No such file or directory\n", -1, 0, false, false, false },
};

START_TEST(show)
{
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
		struct intent__unit_status status = { .pid = -7 };
		int code = intent__unit_status_parse(shown[i].text, &status, &error);

		ck_assert_msg(code == (shown[i].state < 0 ? INTENT_EMALFORMED : 0), "row %zu", i);
		if (code)
			ck_assert_int_eq(status.pid, -7);
		else
			ck_assert_msg((int)status.state == shown[i].state && status.pid == shown[i].pid &&
				      status.loaded == shown[i].loaded && status.has_job == shown[i].has_job &&
				      status.needs_reload == shown[i].needs_reload, "row %zu", i);
	}
	struct intent__unit_status status;
	ck_assert_int_eq(intent__unit_status_parse(shown[0].text, &status, &error), 0);
	ck_assert_str_eq(status.fragment, "/etc/systemd/system/x.service");
}
END_TEST

START_TEST(names)
{
	static const struct { const char *service, *unit; } rows[] = {
		{ "slug", "platypus-slug.service" },
		{ "a.b_c-d:e", "platypus-a.b_c-d:e.service" },
		/* No instance of a template, and nothing that a unit's name cannot have. */
		{ "a@b", "platypus-a\\x40b.service" },
		{ "a+b~c", "platypus-a\\x2bb\\x7ec.service" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		intent_free_auto char *unit = intent__unit_name(rows[i].service);

		ck_assert_str_eq(unit, rows[i].unit);
	}
}
END_TEST

/* ---- the unit ---- */

/* The unit of a service of "app" as this deploy_config makes it; owned. */
static char *unit_of(const char *basedir, const char *deploy, const char *runas, const char *service)
{
	intent_json_auto json_t *intent =
		json_pack("{ss ss ss ss s{ss ss ss}}", "app", "app", "node", "n1", "cluster", "c", "basedir",
			  basedir, "options", "runit", "/r", "runit-stage", "/s", "supervisor", "systemd");
	struct intent_error err;
	struct intent_site site;

	json_object_set_new(intent, "deploy", json_loads(deploy, 0, NULL));
	ck_assert_ptr_nonnull(json_object_get(intent, "deploy"));
	ck_assert_int_eq(intent_site_init(intent, &site, &err), 0);
	snprintf(site.runas, sizeof site.runas, "%s", runas);
	return intent__unit_render(&site, intent, service);
}

START_TEST(whole)
{
	intent_free_auto char *unit = unit_of("/srv/app", "{}", "", "app");

	ck_assert_str_eq(unit, "# Made by pp-setlive; changes do not last.\n"
			 "[Unit]\nDescription=app of c (Platypus)\nAfter=network.target\nStartLimitIntervalSec=0\n\n"
			 "[Service]\nType=exec\nWorkingDirectory=-/srv/app/current\n"
			 "ExecStart=\"/srv/app/current/bin/launch\"\nExecStopPost=+/bin/sh \"/s/app/finish\"\n"
			 "EnvironmentFile=/s/app/environment\nEnvironmentFile=-/s/app/version\nSyslogIdentifier=app\n"
			 "Restart=always\nRestartSec=1\nKillMode=mixed\nTimeoutStopSec=31000ms\n\n"
			 "[Install]\nWantedBy=multi-user.target\n");
}
END_TEST

static const struct { const char *deploy, *runas, *part; } parts[] = {
	{ "{}", "web", "\nUser=web\n" },
	{ "{}", "web:www", "\nUser=web\nGroup=www\n" },
	{ "{\"restart\": \"never\"}", "", "\nRestart=no\n" },
	{ "{\"restart\": \"on-failure\"}", "", "\nRestart=on-failure\nRestartForceExitStatus=SIGHUP SIGINT SIGPIPE SIGTERM\n" },
	{ "{\"stop_timeout\": \"300ms\"}", "", "\nTimeoutStopSec=1300ms\n" },
	{ "{\"limits\": {\"files\": 99, \"processes\": 5}}", "", "\nLimitNOFILE=99\nTasksMax=5\n" },
	{ "{\"limits\": {\"memory\": \"1M\", \"file_size\": 7, \"core\": 0}}", "", "\nMemoryMax=1048576\nLimitFSIZE=7\nLimitCORE=0\n" },
};

START_TEST(settings)
{
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		intent_free_auto char *unit = unit_of("/srv/app", parts[i].deploy, parts[i].runas, "app");

		ck_assert_msg(strstr(unit, parts[i].part) != NULL, "%s in\n%s", parts[i].part, unit);
	}
}
END_TEST

/* A secret in the environment is for the file that only root reads. */
START_TEST(no_environment)
{
	intent_free_auto char *unit = unit_of("/srv/app", "{\"environment\": {\"KEY\": \"hidden\"}}", "", "app");

	ck_assert_ptr_null(strstr(unit, "hidden"));
}
END_TEST

START_TEST(odd_paths)
{
	intent_free_auto char *unit = unit_of("/srv/a b%c$d\"e\\f", "{}", "", "app-two");

	ck_assert_ptr_nonnull(strstr(unit, "\nWorkingDirectory=-/srv/a b%%c$d\"e\\f/current\n"));
	ck_assert_ptr_nonnull(strstr(unit, "\nExecStart=\"/srv/a b%%c$$d\\\"e\\\\f/current/bin/launch/two\"\n"));
}
END_TEST

START_TEST(variables)
{
	intent_json_auto json_t *env = json_pack("{ss ss}", "A", "plain", "B", "q\"b\\d$t`n\nl'x");
	intent_free_auto char *text = intent__unit_environment(env);

	ck_assert_ptr_nonnull(strstr(text, "A=\"plain\"\n"));
	ck_assert_ptr_nonnull(strstr(text, "B=\"q\\\"b\\\\d\\$t\\`n\nl'x\"\n"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("systemd");
	TCase *all = tcase_create("all");

	tcase_add_test(all, show);
	tcase_add_test(all, names);
	tcase_add_test(all, whole);
	tcase_add_test(all, settings);
	tcase_add_test(all, no_environment);
	tcase_add_test(all, odd_paths);
	tcase_add_test(all, variables);
	suite_add_tcase(suite, all);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
