#include <check.h>

#include <intent/health.h>
#include "../../libintent/world/supervisor.h"

#define BOOT "5ea2b9ac-1111-2222-3333-444455556666"
#define OTHER "0aa5b9ac-1111-2222-3333-444455556666"
#define AT "2026-11-21T10:00:00Z "

/* ---- exits ---- */

static const struct {
	const char *line;
	bool good, by_signal;
	int number;
	int64_t uptime_ms;
} lines[] = {
	{ AT BOOT " 1234.56 status 3", true, false, 3, 1234560 },
	{ AT BOOT " 0.05 signal 9", true, true, 9, 50 },
	{ AT BOOT " 1234.56 status 3 ", false, false, 0, 0 },
	{ AT BOOT " 1234.56 status -3", false, false, 0, 0 },
	{ AT BOOT " 1234.56 status", false, false, 0, 0 },
	{ AT BOOT " 1234.56 stopped 3", false, false, 0, 0 },
	{ AT BOOT " -1.56 status 3", false, false, 0, 0 },
	{ AT BOOT " x status 3", false, false, 0, 0 },
	{ AT BOOT "\x01 1.00 status 3", false, false, 0, 0 },
	{ "", false, false, 0, 0 },
	{ AT AT AT AT AT AT AT AT AT AT AT AT, false, false, 0, 0 },
};

START_TEST(one_end)
{
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct intent__end ends[INTENT_EXITS_MAX];
		size_t count = intent__exits_parse(lines[i].line, ends);

		ck_assert_msg(count == lines[i].good, "row %zu", i);
		if (count)
			ck_assert_msg(ends[0].by_signal == lines[i].by_signal && ends[0].number == lines[i].number &&
				      ends[0].uptime_ms == lines[i].uptime_ms && !strcmp(ends[0].boot, BOOT), "row %zu", i);
	}
}
END_TEST

START_TEST(last_twenty)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	struct intent__end ends[INTENT_EXITS_MAX];

	for (int i = 0; i < 50; i++)
		intent_text_printf(&text, AT BOOT " %d.00 status %d\nrubbish\n", i, i);
	ck_assert_uint_eq(intent__exits_parse(intent_text_str(&text), ends), INTENT_EXITS_MAX);
	ck_assert_int_eq(ends[0].number, 30);
	ck_assert_int_eq(ends[INTENT_EXITS_MAX - 1].number, 49);
}
END_TEST

START_TEST(recent_ends)
{
	struct intent__end ends[INTENT_EXITS_MAX];
	size_t count = intent__exits_parse(AT BOOT " 100.00 status 1\n" AT BOOT " 200.00 status 1\n"
					   AT OTHER " 650.00 status 1\n" AT BOOT " 700.00 signal 9\n", ends);

	ck_assert_uint_eq(count, 4);
	ck_assert_int_eq(intent__exits_recent(ends, count, BOOT, 0, 700000), 2);
	ck_assert_int_eq(intent__exits_recent(ends, count, BOOT, 0, 699999), 3);
	ck_assert_int_eq(intent__exits_recent(ends, count, BOOT, 200000, 700000), 2);
	ck_assert_int_eq(intent__exits_recent(ends, count, BOOT, 200001, 710000), 1);
	ck_assert_int_eq(intent__exits_recent(ends, count, OTHER, 0, 700000), 1);
	ck_assert_int_eq(intent__exits_recent(ends, count, BOOT, 700001, 700002), 0);
	ck_assert_int_eq(intent__exits_recent(ends, count, BOOT, 0, 1300000), 0);
}
END_TEST

/* Whatever lives for up to a minute each time is not healthy; one end alone delays it. */
START_TEST(up_needed)
{
	intent_json_auto json_t *health = json_pack("{ss}", "up", "2s");

	ck_assert_int_eq(intent_health_up(NULL, 0), 1000);
	ck_assert_int_eq(intent_health_up(health, 0), 2000);
	ck_assert_int_eq(intent_health_up(health, 1), 12000);
	ck_assert_int_eq(intent_health_up(health, 6), 62000);
	ck_assert_int_eq(intent_health_up(health, 20), 62000);
}
END_TEST

START_TEST(three_seconds_each)
{
	/* Up 3 s, down 1 s, for an hour: asked at every moment after the first end. */
	struct intent__end ends[INTENT_EXITS_MAX] = { 0 };
	size_t count = 0;

	for (int64_t now = 3000; now < 3600000; now += 100) {
		if (now % 4000 == 3000) {
			if (count == INTENT_EXITS_MAX)
				memmove(ends, ends + 1, --count * sizeof *ends);
			ends[count] = (struct intent__end){ .uptime_ms = now };
			snprintf(ends[count++].boot, sizeof ends->boot, "%s", BOOT);
		}
		int64_t up = now % 4000;
		int exits = intent__exits_recent(ends, count, BOOT, 0, now);
		ck_assert(exits && up < intent_health_up(NULL, exits));
	}
}
END_TEST

/* ---- what is written ---- */

static json_t *intent_of(const char *deploy)
{
	json_t *intent = json_pack("{ss ss ss ss s{ss ss ss}}", "app", "app", "node", "n1", "cluster", "c",
				   "basedir", "/srv/a'b", "options", "runit", "/r", "runit-stage", "/s",
				   "supervisor", "runit");
	intent_json_auto json_t *parsed = json_loads(deploy, 0, NULL);

	ck_assert_ptr_nonnull(parsed);
	json_object_set(intent, "deploy", parsed);
	return intent;
}

/* The file NAME of the service "app" as this deploy_config makes it; owned. */
static char *rendered(const char *deploy, const char *name)
{
	intent_json_auto json_t *intent = intent_of(deploy), *files = NULL;
	struct intent_error err;
	struct intent_site site;

	ck_assert_int_eq(intent_site_init(intent, &site, &err), 0);
	ck_assert_int_eq(intent__service_render(&site, intent, "app", &files, &err), 0);
	return strdup(intent_json_string(files, name, "?"));
}

static void expect(const char *deploy, const char *name, const char *part, bool there)
{
	intent_free_auto char *text = rendered(deploy, name);

	ck_assert_msg(!strstr(text, part) == !there, "%s: %s: %s in\n%s", deploy, name, part, text);
}

START_TEST(run_script)
{
	intent_free_auto char *text = rendered("{}", "run");

	ck_assert_str_eq(text, "#!/bin/sh\n# Made by pp-setlive; changes do not last.\nexec 2>&1\n"
			 "cd -P '/srv/a'\\''b/current' || exit 111\nPP_VERSION=${PWD##*/app_}\nexport PP_VERSION\n"
			 "exec chpst -e '/s/app/env' './bin/launch'\n");
}
END_TEST

static const struct { const char *limits, *line; } limit_rows[] = {
	{ "\"files\": 777", "\nulimit -n 777 || exit 111\n" },
	{ "\"processes\": 5", "\nulimit -u 5 2>/dev/null || ulimit -p 5 || exit 111\n" },
	{ "\"memory\": \"512M\"", "\nulimit -d 524288 || exit 111\n" },
	{ "\"memory\": 1025", "\nulimit -d 2 || exit 111\n" },
	{ "\"file_size\": \"1K\"", "\nulimit -f 2 || exit 111\n" },
	{ "\"core\": 0", "\nulimit -c 0 || exit 111\n" },
	{ "\"file_size\": 9223372036854775807", "\nulimit -f 18014398509481984 || exit 111\n" },
};

START_TEST(limit_lines)
{
	for (size_t i = 0; i < sizeof limit_rows / sizeof *limit_rows; i++) {
		intent_free_auto char *deploy = intent_format("{\"limits\": {%s}}", limit_rows[i].limits);

		expect(deploy, "run", limit_rows[i].line, true);
	}
	expect("{\"limits\": {}}", "run", "ulimit", false);
	expect("{\"limits\": {\"files\": -1, \"memory\": \"much\"}}", "run", "ulimit", false);
}
END_TEST

START_TEST(restart_policy)
{
	expect("{}", "finish", "supervise/control", false);
	expect("{\"restart\": \"always\"}", "finish", "supervise/control", false);
	expect("{\"restart\": \"always\"}", "run", "rm -f", false);
	expect("{\"restart\": \"on-failure\"}", "finish", "[ \"$1\" != 0 ] || {", true);
	expect("{\"restart\": \"never\"}", "finish", "\nprintf d >supervise/control\n", true);
	expect("{\"restart\": \"never\"}", "run", "\nrm -f '/s/app/ended'\n", true);
}
END_TEST

START_TEST(unknown_supervisor)
{
	intent_json_auto json_t *intent = intent_of("{}");
	struct intent_error err;
	struct intent_site site;

	json_object_set_new(json_object_get(intent, "options"), "supervisor", json_string("upstart"));
	ck_assert_int_eq(intent_site_init(intent, &site, &err), 0);
	ck_assert_ptr_nonnull(strstr(site.supervisor_error, "upstart"));
	json_object_set_new(json_object_get(intent, "options"), "supervisor", json_string("runit"));
	ck_assert_int_eq(intent_site_init(intent, &site, &err), 0);
	ck_assert_ptr_nonnull(strstr(site.supervisor_error, "/r does not exist"));
	ck_assert_str_eq(intent_site_supervisor(&site), "runit");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *all = tcase_create("all");

	tcase_add_test(all, one_end);
	tcase_add_test(all, last_twenty);
	tcase_add_test(all, recent_ends);
	tcase_add_test(all, up_needed);
	tcase_add_test(all, three_seconds_each);
	tcase_add_test(all, run_script);
	tcase_add_test(all, limit_lines);
	tcase_add_test(all, restart_policy);
	tcase_add_test(all, unknown_supervisor);
	suite_add_tcase(suite, all);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
