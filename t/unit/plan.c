/*
 * One driver for every agent's planner: test-data/plan/<agent>/<case>.json is
 *	{"intent", "observed", "plan": [...], "verdict": {...}}  or
 *	{"intent", "observed", "error": {"reason", "message"}}
 * The plan must be as written, the inputs untouched, and planning again after the actions'
 * effects must give nothing.
 */
#include <dirent.h>
#include <check.h>
#include <intent.h>
#include "planners.h"

#define CASES_MAX 1000

static struct planned_case {
	intent_planner planner;
	char path[512];
} cases[CASES_MAX];
static int case_count;

static json_t *without_effects(const json_t *actions)
{
	json_t *copy = json_deep_copy(actions), *action;
	size_t i;

	json_array_foreach(copy, i, action)
		json_object_del(action, "effect");
	return copy;
}

static void expect_equal(const json_t *got, const json_t *want, const char *what, const char *path)
{
	char *got_text, *want_text;

	if ((!got && !want) || (got && want && json_equal(got, want)))
		return;
	got_text = got ? intent_json_pretty(got) : strdup("nothing");
	want_text = want ? intent_json_pretty(want) : strdup("nothing");
	ck_abort_msg("%s: %s is\n%s\nbut should be\n%s", path, what, got_text, want_text);
}

static void expect_error(const json_t *want, int rc, const struct intent_error *err, const char *path)
{
	const char *reason = intent_json_string(want, "reason", ""), *message = intent_json_string(want, "message", "");

	ck_assert_msg(rc < 0, "%s: planned, but should have failed with %s", path, reason);
	ck_assert_msg(!strcmp(intent_error_reason(err->code), reason), "%s: failed with %s: %s, should be %s", path,
		      intent_error_reason(err->code), err->msg, reason);
	ck_assert_msg(strstr(err->msg, message) != NULL, "%s: says \"%s\", should say \"%s\"", path, err->msg, message);
}

/* The verdict's message may be given in part. */
static void expect_verdict(const json_t *want, const struct intent_plan *plan, const char *path)
{
	const char *message = intent_json_string(want, "message", "");
	const char *reason = intent_json_string(want, "reason", NULL);

	ck_assert_msg(!reason == !plan->verdict.code, "%s: verdict is \"%s\", should be %s", path, plan->verdict.msg,
		      reason ? reason : "none");
	if (!reason)
		return;
	ck_assert_msg(!strcmp(reason, intent_error_reason(plan->verdict.code)), "%s: verdict is %s (%s), should be %s", path,
		      intent_error_reason(plan->verdict.code), plan->verdict.msg, reason);
	ck_assert_msg(strstr(plan->verdict.msg, message) != NULL, "%s: verdict says \"%s\", should say \"%s\"", path,
		      plan->verdict.msg, message);
}

static void check_simulated(const struct planned_case *c, const json_t *intent, json_t *observed,
			    const struct intent_plan *plan)
{
	struct intent_plan again;
	struct intent_error err = {0};
	size_t i;
	json_t *action;

	json_array_foreach(plan->actions, i, action)
		intent_json_merge(observed, json_object_get(action, "effect"));
	intent_plan_init(&again);
	if (c->planner(intent, observed, &again, &err) == 0 && json_array_size(again.actions)) {
		char *text = intent_json_pretty(again.actions), *world = intent_json_pretty(observed);

		ck_abort_msg("%s: planning again after the actions still wants\n%s\nobserved is then\n%s", c->path, text, world);
	}
	intent_plan_release(&again);
}

START_TEST(test_case)
{
	const struct planned_case *c = &cases[_i];
	json_t *data = NULL, *intent, *observed, *intent_copy, *observed_copy, *got;
	struct intent_plan plan;
	struct intent_error err = {0};
	int rc;

	if (intent_file_read_json(c->path, 1 << 20, &data, &err) < 0)
		ck_abort_msg("%s", err.msg);
	intent = json_object_get(data, "intent");
	observed = json_object_get(data, "observed");
	intent_copy = json_deep_copy(intent);
	observed_copy = json_deep_copy(observed);
	intent_plan_init(&plan);
	rc = c->planner(intent, observed, &plan, &err);
	expect_equal(intent, intent_copy, "intent after planning", c->path);
	expect_equal(observed, observed_copy, "observed after planning", c->path);
	if (json_object_get(data, "error")) {
		expect_error(json_object_get(data, "error"), rc, &err, c->path);
	} else {
		ck_assert_msg(rc == 0, "%s: failed: %s", c->path, err.msg);
		got = without_effects(plan.actions);
		expect_equal(got, json_object_get(data, "plan"), "the plan", c->path);
		expect_verdict(json_object_get(data, "verdict"), &plan, c->path);
		check_simulated(c, intent, observed, &plan);
		json_decref(got);
	}
	intent_plan_release(&plan);
	json_decref(data);
	json_decref(intent_copy);
	json_decref(observed_copy);
}
END_TEST

static void add_cases(const struct agent_planner *agent)
{
	char directory[256];
	struct dirent *entry;
	DIR *listing;

	snprintf(directory, sizeof(directory), "test-data/plan/%s", agent->name);
	listing = opendir(directory);
	while (listing && case_count < CASES_MAX && (entry = readdir(listing))) {
		if (!intent_ends_with(entry->d_name, ".json"))
			continue;
		cases[case_count].planner = agent->planner;
		snprintf(cases[case_count].path, sizeof(cases[0].path), "%s/%s", directory, entry->d_name);
		case_count++;
	}
	if (listing)
		closedir(listing);
}

START_TEST(test_there_are_cases)
{
	ck_assert_int_gt(case_count, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("plan");
	TCase *tc = tcase_create("cases");
	SRunner *runner;
	int failed;

	for (const struct agent_planner *agent = agent_planners; agent->name; agent++)
		add_cases(agent);
	tcase_add_test(tc, test_there_are_cases);
	tcase_add_loop_test(tc, test_case, 0, case_count);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
