/*
 * The damping of pp-health-reporter over hours: its planner, a service that does what it likes, and a store that counts
 * what is written. Nothing waits; time is a number.
 */
#include <check.h>
#include <intent.h>

int health_reporter_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan, struct intent_error *err);

#define HOUR_MS (60 * 60 * 1000)
#define WRITES_PER_HOUR 100 /* by the worst that can be thought of */
#define WRITES_AT_ONCE 7    /* the first, five that say how it is, and that it cannot be said */

struct world {
	json_t *intent, *observed;
	int64_t now, born;      /* of the process */
	int writes;
	unsigned long long random;
};

static void setup(struct world *world, unsigned long long seed)
{
	*world = (struct world){ .now = 1000000, .random = seed };
	world->intent = json_pack("{ss ss ss}", "app", "slug", "node", "n1", "cluster", "c");
	world->observed = json_pack("{ss}", "host", "web1");
	world->born = world->now - HOUR_MS;
}

static void teardown(struct world *world)
{
	json_decref(world->intent);
	json_decref(world->observed);
}

static unsigned roll(struct world *world, unsigned sides)
{
	world->random = world->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(world->random >> 33) % sides;
}

static void find(json_t *observed, const struct world *world, bool good, const char *reason)
{
	char now[32];

	intent_time_format(world->now, now);
	json_object_set_new(observed, "now_ms", json_integer(world->now));
	json_object_set_new(observed, "now", json_string(now));
	json_object_set_new(observed, "look", json_pack("{ss ss ss* sI}", "found", good ? "good" : "bad", "version", "1.0",
							"reason", good ? NULL : reason, "up_ms",
							(json_int_t)(world->now - world->born)));
}

/* One look: whether it came to a write. */
static bool look(const struct world *world, json_t *observed, bool good, const char *reason)
{
	struct intent_plan plan;
	struct intent_error err = { 0 };
	bool written = false;
	size_t i;
	json_t *action;

	find(observed, world, good, reason);
	intent_plan_init(&plan);
	ck_assert_int_eq(health_reporter_plan(world->intent, observed, &plan, &err), 0);
	json_array_foreach(plan.actions, i, action) {
		written |= !strcmp(intent_json_string(action, "verb", ""), "publish");
		intent_json_merge(observed, json_object_get(action, "effect"));
	}
	intent_plan_release(&plan);
	return written;
}

static void step(struct world *world, int64_t ms, bool good, const char *reason)
{
	world->now += ms;
	world->writes += look(world, world->observed, good, reason);
}

/* Would a look that finds this be a write? */
static bool would_write(const struct world *world, bool good)
{
	json_t *observed = json_deep_copy(world->observed);
	bool written = look(world, observed, good, "another reason");

	json_decref(observed);
	return written;
}

static const char *state_of(const struct world *world)
{
	return intent_json_string(intent_json_at(world->observed, "/fact"), "state", "none");
}

START_TEST(test_writes_are_bounded_for_the_worst)
{
	static const int64_t paces[] = { 200, 1000, 1200, 5000, 30000, 60000, 121000 };
	struct world world;

	/* It finds whatever makes the reporter write, at every pace, and restarts now and then. */
	setup(&world, 1);
	for (int64_t end = world.now + HOUR_MS, pace = paces[_i]; world.now < end;) {
		world.now += pace;
		if (!roll(&world, 3))
			world.born = world.now;
		if (would_write(&world, false))
			step(&world, 0, false, "another reason");
		else
			step(&world, 0, would_write(&world, true) || roll(&world, 2), "another reason");
	}
	ck_assert_int_gt(world.writes, 1);
	ck_assert_int_le(world.writes, WRITES_PER_HOUR);
	teardown(&world);
}
END_TEST

START_TEST(test_back_and_forth_is_soon_unknown)
{
	struct world world;

	setup(&world, 1);
	for (int i = 0; i < 60; i++)
		step(&world, 2000, i / 2 % 2, "the check failed");
	ck_assert_int_le(world.writes, WRITES_AT_ONCE);
	ck_assert_str_eq(state_of(&world), "unknown");
	/* Calm is believed, and said once. */
	for (int i = 0; i < 100; i++)
		step(&world, 5000, true, NULL);
	ck_assert_str_eq(state_of(&world), "healthy");
	ck_assert_int_le(world.writes, WRITES_AT_ONCE + 1);
	teardown(&world);
}
END_TEST

START_TEST(test_crash_loop_writes_ever_more_rarely)
{
	struct world world;
	char reason[64];

	setup(&world, 1);
	for (int i = 0; i < 24 * 360; i++) {
		snprintf(reason, sizeof(reason), "up for %dms of 1s", i);
		world.born = world.now + 10000;
		step(&world, 10000, false, reason);
		ck_assert_str_eq(state_of(&world), "unhealthy");
	}
	ck_assert_int_ge(world.writes, 5);
	ck_assert_int_le(world.writes, 40);
	teardown(&world);
}
END_TEST

/* Never good of what was bad at two looks a second apart; right again when nothing moved for long enough. */
START_TEST(test_a_lasting_finding_is_told)
{
	static const unsigned often[] = { 2, 3, 10, 50, 200 };
	struct world world;
	int64_t since = 0, unhealthy_since = 0;
	bool good = true;

	setup(&world, (unsigned long long)_i + 7);
	for (int i = 0; i < 6000; i++) {
		bool before = good;

		if (!roll(&world, often[_i % 5]))
			good = !good;
		if (good != before || !i)
			since = world.now + 1000;
		if (!good && (before || !i))
			unhealthy_since = world.now + 1000;
		if (!roll(&world, 30))
			world.born = world.now;
		step(&world, 1000, good, "the check failed");
		if (!good && world.now - unhealthy_since >= 1000)
			ck_assert_str_ne(state_of(&world), "healthy");
		if (world.now - since >= 120000)
			ck_assert_str_eq(state_of(&world), good ? "healthy" : "unhealthy");
		if (good)
			ck_assert_str_ne(state_of(&world), "unhealthy");
	}
	teardown(&world);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health-reporter");
	TCase *tc = tcase_create("damping");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_writes_are_bounded_for_the_worst, 0, 7);
	tcase_add_test(tc, test_back_and_forth_is_soon_unknown);
	tcase_add_test(tc, test_crash_loop_writes_ever_more_rarely);
	tcase_add_loop_test(tc, test_a_lasting_finding_is_told, 0, 10);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
