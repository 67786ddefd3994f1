/* Conformance of a store engine: calls on a loop, and watches. */
#include "conformance.h"

#define SOON 60000               /* a deadline, met in milliseconds when all is well */
#define QUIET 1500               /* how long nothing must happen */

static uv_loop_t loop;
static struct intent_store *attached;
static bool inside;              /* a call of ours is on the stack */

/* ---- the loop ---- */

static void start_loop(void)
{
	EXPECT(uv_loop_init(&loop) == 0);
	attached = open_store(NULL);
	EXPECT_OK(intent_store_attach(attached, &loop, &err));
}

static void end_loop(void)
{
	attached = intent_store_close(attached);
	uv_run(&loop, UV_RUN_DEFAULT);
	EXPECT(uv_loop_close(&loop) == 0, "(every handle is closed)");
}

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

/* Run until *count reaches target; false at the deadline. */
static bool run_until(const int *count, int target, int64_t ms)
{
	int64_t deadline = intent_time_monotonic() + ms;
	uv_timer_t timer;

	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_tick, 20, 20);
	while (*count < target && intent_time_monotonic() < deadline)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
	return *count >= target;
}

static void run_for(int64_t ms)
{
	int never = 0;

	run_until(&never, 1, ms);
}

/* ---- calls ---- */

struct outcome {
	int count;
	int code;
	uint64_t revision;
	char session[130];
};

static void on_done(struct intent_store *from, uint64_t revision, const char *session,
		    const struct intent_error *error, void *data)
{
	struct outcome *outcome = data;

	EXPECT(!inside, "(on_done was called from within the call)");
	EXPECT(from == attached);
	outcome->count++;
	outcome->code = error->code;
	outcome->revision = revision;
	snprintf(outcome->session, sizeof(outcome->session), "%s", session ? session : "");
}

static void start_txn(const struct intent_op *ops, size_t count, struct outcome *outcome)
{
	inside = true;
	EXPECT_OK(intent_store_txn_start(attached, ops, count, on_done, outcome, &err));
	inside = false;
}

static void loop_txn(void)
{
	struct intent_op ops[] = {op_put("a", "1"), op_put("b", "2")};
	struct outcome outcome = {0};

	start_loop();
	start_txn(ops, 2, &outcome);
	EXPECT(run_until(&outcome.count, 1, SOON));
	EXPECT(outcome.code == 0 && outcome.revision > 0);
	EXPECT(has_value("a", "1") && has_value("b", "2"));
	EXPECT(revision_of("a") == outcome.revision);
	end_loop();
	EXPECT(outcome.count == 1, "(once)");
}

static void loop_txn_conflict(void)
{
	struct intent_op ops[] = {op_check("a", 17), op_put("a", "1")};
	struct outcome outcome = {0};

	start_loop();
	start_txn(ops, 2, &outcome);
	EXPECT(run_until(&outcome.count, 1, SOON));
	EXPECT(outcome.code == INTENT_ECONFLICT && is_absent("a"));
	end_loop();
}

static void loop_txn_copies_what_it_is_given(void)
{
	char name[128], value[] = "right";
	struct intent_op op = {.kind = INTENT_OP_PUT, .key = name, .value = value, .length = 5};
	struct outcome outcome = {0};

	start_loop();
	snprintf(name, sizeof(name), "%s", key("a"));
	start_txn(&op, 1, &outcome);
	memset(name, 'x', 10);
	memset(value, 'x', 5);
	memset(&op, 0xff, sizeof(op));
	EXPECT(run_until(&outcome.count, 1, SOON));
	EXPECT(outcome.code == 0 && has_value("a", "right"));
	end_loop();
}

static void loop_txn_many_at_once(void)
{
	struct outcome outcome = {0};
	char name[16];

	start_loop();
	for (int i = 0; i < 40; i++) {
		struct intent_op op;

		snprintf(name, sizeof(name), "k%02d", i);
		op = op_put(name, name);
		start_txn(&op, 1, &outcome);
	}
	EXPECT(run_until(&outcome.count, 40, SOON));
	run_for(200);
	EXPECT(outcome.count == 40 && count_below("") == 40);
	end_loop();
}

static void loop_txn_wrong_arguments(void)
{
	struct intent_op op = {.kind = INTENT_OP_PUT, .key = "", .value = "", .length = 0};
	struct outcome outcome = {0};

	start_loop();
	EXPECT_CODE(intent_store_txn_start(attached, &op, 1, on_done, &outcome, &err),
		    INTENT_EUSAGE);
	EXPECT_CODE(intent_store_txn_start(attached, &op, 0, on_done, &outcome, &err),
		    INTENT_EUSAGE);
	run_for(200);
	EXPECT(outcome.count == 0);
	end_loop();
}

static void loop_and_blocking_do_not_mix(void)
{
	struct intent_op op = op_put("a", "1");
	struct outcome outcome = {0};

	start_loop();
	EXPECT_CODE(intent_store_put(attached, key("a"), "1", 1, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_store_attach(attached, &loop, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_store_txn_start(store, &op, 1, on_done, &outcome, &err),
		    INTENT_EUSAGE);
	end_loop();
}

static void loop_session(void)
{
	struct outcome outcome = {0};
	struct intent_op op;
	char id[130];

	start_loop();
	EXPECT_OK(intent_session_open_start(attached, 120000, on_done, &outcome, &err));
	EXPECT(outcome.count == 0 && run_until(&outcome.count, 1, SOON));
	EXPECT(outcome.code == 0 && outcome.session[0]);
	memcpy(id, outcome.session, sizeof(id));
	op = op_bound("v", "1", id);
	start_txn(&op, 1, &outcome);
	EXPECT(run_until(&outcome.count, 2, SOON) && outcome.code == 0);
	EXPECT(has_value("v", "1"));
	EXPECT_OK(intent_session_renew_start(attached, id, on_done, &outcome, &err));
	EXPECT(run_until(&outcome.count, 3, SOON) && outcome.code == 0);
	EXPECT_OK(intent_session_close_start(attached, id, on_done, &outcome, &err));
	EXPECT(run_until(&outcome.count, 4, SOON) && outcome.code == 0);
	EXPECT(is_absent("v"));
	EXPECT_OK(intent_session_renew_start(attached, id, on_done, &outcome, &err));
	EXPECT(run_until(&outcome.count, 5, SOON) && outcome.code == INTENT_EABSENT);
	end_loop();
}

static void loop_close_while_under_way(void)
{
	struct outcome outcome = {0};

	start_loop();
	for (int i = 0; i < 5; i++) {
		struct intent_op op = op_put("a", "1");

		start_txn(&op, 1, &outcome);
	}
	EXPECT_OK(intent_session_open_start(attached, 10000, on_done, &outcome, &err));
	end_loop();
	EXPECT(outcome.count == 0, "(nothing is called after close)");
}

static void on_done_then_close(struct intent_store *from, uint64_t revision, const char *session,
			       const struct intent_error *error, void *data)
{
	(void)revision;
	(void)session;
	EXPECT(error->code == 0);
	++*(int *)data;
	intent_store_close(from);
	attached = NULL;
}

static void loop_close_inside_on_done(void)
{
	struct intent_op op = op_put("a", "1");
	int count = 0;

	start_loop();
	for (int i = 0; i < 3; i++)
		EXPECT_OK(intent_store_txn_start(attached, &op, 1, on_done_then_close, &count,
						 &err));
	EXPECT(run_until(&count, 1, SOON));
	end_loop();
	EXPECT(count == 1);
}

static void loop_reopened(void)
{
	struct outcome outcome = {0};

	for (int i = 1; i <= 3; i++) {
		struct intent_op op = op_put("a", "1");

		start_loop();
		start_txn(&op, 1, &outcome);
		EXPECT(run_until(&outcome.count, i, SOON) && outcome.code == 0);
		end_loop();
	}
}

/* ---- watches ---- */

struct seen {
	int count;                       /* snapshots */
	int troubles;
	struct intent_snapshot *last;
	struct intent_watch *watch;
	void (*on_first)(struct seen *seen);
};

static void on_snapshot(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data)
{
	struct seen *seen = data;

	EXPECT(!inside, "(on_snapshot was called from within a call)");
	(void)watch;
	for (size_t i = 1; i < snapshot->count; i++)
		EXPECT(strcmp(snapshot->entries[i - 1].key, snapshot->entries[i].key) < 0);
	intent_snapshot_unref(seen->last);
	seen->last = intent_snapshot_ref(snapshot);
	if (++seen->count == 1 && seen->on_first)
		seen->on_first(seen);
}

static void on_trouble(struct intent_watch *watch, const struct intent_error *error, void *data)
{
	struct seen *seen = data;

	(void)watch;
	if (error->code)
		printf("trouble: %s\n", error->msg);
	seen->troubles++;
}

static void watch_prefixes(struct seen *seen, const char *const *prefixes)
{
	struct intent_watch_events events = {on_snapshot, on_trouble, seen};

	inside = true;
	EXPECT_OK(intent_watch_start(attached, prefixes, &events, &seen->watch, &err));
	inside = false;
}

static void watch(struct seen *seen, const char *prefix)
{
	const char *const prefixes[] = {key(prefix), NULL};

	watch_prefixes(seen, prefixes);
	EXPECT(run_until(&seen->count, 1, SOON), "(the first snapshot)");
	EXPECT(seen->troubles == 0);
}

static void end_watch(struct seen *seen)
{
	seen->watch = intent_watch_stop(seen->watch);
	intent_snapshot_unref(seen->last);
	seen->last = NULL;
}

static const char *value_of(const struct seen *seen, const char *name)
{
	const struct intent_entry *entry =
		seen->last ? intent_snapshot_find(seen->last, key(name)) : NULL;

	return entry ? entry->value : "(absent)";
}

/* Until the watch has delivered this value ("(absent)" for none). */
static void expect_value(struct seen *seen, const char *name, const char *value)
{
	int64_t deadline = intent_time_monotonic() + SOON;

	while (strcmp(value_of(seen, name), value) != 0) {
		EXPECT(intent_time_monotonic() < deadline, "(%s: wanted %s, have %s)", name, value,
		       value_of(seen, name));
		run_until(&seen->count, seen->count + 1, 500);
	}
}

static void watch_of_nothing(void)
{
	struct seen seen = {0};

	start_loop();
	watch(&seen, "nodes/web1/");
	EXPECT(seen.last->count == 0);
	end_watch(&seen);
	end_loop();
}

static void watch_begins_with_everything(void)
{
	struct seen seen = {0};

	put("nodes/web1/a", "1");
	put("nodes/web1/b/c", "2");
	put("nodes/web10/a", "3");
	start_loop();
	watch(&seen, "nodes/web1/");
	EXPECT(seen.last->count == 2 && seen.last->revision > 0);
	EXPECT(strcmp(value_of(&seen, "nodes/web1/b/c"), "2") == 0);
	end_watch(&seen);
	end_loop();
}

static void watch_sees_change_and_deletion(void)
{
	struct seen seen = {0};

	put("p/a", "1");
	start_loop();
	watch(&seen, "p/");
	put("p/a", "2");
	expect_value(&seen, "p/a", "2");
	put("p/deep/er/b", "3");
	expect_value(&seen, "p/deep/er/b", "3");
	EXPECT_OK(intent_store_delete(store, key("p/a"), &err));
	expect_value(&seen, "p/a", "(absent)");
	put("p/a", "4");
	expect_value(&seen, "p/a", "4");
	EXPECT(seen.troubles == 0);
	end_watch(&seen);
	end_loop();
}

static void watch_sees_a_prefix_appear(void)
{
	struct seen seen = {0};

	start_loop();
	watch(&seen, "not/yet/here/");
	put("not/else", "1");
	put("not/yet/else", "1");
	put("not/yet/here/a", "1");
	expect_value(&seen, "not/yet/here/a", "1");
	EXPECT(seen.last->count == 1);
	end_watch(&seen);
	end_loop();
}

static void watch_sees_a_prefix_go_and_come(void)
{
	struct seen seen = {0};

	put("p/x/a", "1");
	start_loop();
	watch(&seen, "p/x/");
	for (int i = 0; i < 3; i++) {
		EXPECT_OK(intent_store_delete(store, key("p/x/a"), &err));
		expect_value(&seen, "p/x/a", "(absent)");
		put("p/x/a", "1");
		expect_value(&seen, "p/x/a", "1");
	}
	end_watch(&seen);
	end_loop();
}

static void watch_is_silent_for_equal_content(void)
{
	struct seen seen = {0};

	put("p/a", "1");
	start_loop();
	watch(&seen, "p/");
	put("p/a", "1");
	run_for(QUIET);
	EXPECT(seen.count == 1, "(%d snapshots)", seen.count);
	end_watch(&seen);
	end_loop();
}

static void watch_is_silent_for_other_prefixes(void)
{
	struct seen seen = {0};

	put("nodes/web1/a", "1");
	start_loop();
	watch(&seen, "nodes/web1/");
	put("nodes/web10/a", "1");
	put("nodes/web1", "x");
	put("nodes/web1x", "x");
	put("other/web1/a", "1");
	run_for(QUIET);
	EXPECT(seen.count == 1, "(%d snapshots)", seen.count);
	put("nodes/web1/a", "2");
	expect_value(&seen, "nodes/web1/a", "2");
	end_watch(&seen);
	end_loop();
}

static void watch_is_silent_when_idle(void)
{
	struct seen seen = {0};

	put("p/a", "1");
	start_loop();
	watch(&seen, "p/");
	run_for(QUIET);
	EXPECT(seen.count == 1 && seen.troubles == 0);
	end_watch(&seen);
	end_loop();
}

static void watch_sees_the_marker(void)
{
	struct seen seen = {0};

	start_loop();
	watch(&seen, "nodes/web1/");
	put("nodes/web1/", "{}");
	expect_value(&seen, "nodes/web1/", "{}");
	EXPECT(seen.last->count == 1);
	put("nodes/web1", "no");
	EXPECT_OK(intent_store_delete(store, key("nodes/web1/"), &err));
	expect_value(&seen, "nodes/web1/", "(absent)");
	EXPECT(seen.last->count == 0);
	end_watch(&seen);
	end_loop();
}

static void write_burst(void *data)
{
	(void)data;
	for (int i = 0; i < 60; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p/k%d", i % 10);
		put(name, name);
		snprintf(name, sizeof(name), "%d", i);
		put("p/last", name);
	}
}

static void watch_ends_with_the_last_of_a_burst(void)
{
	struct seen seen = {0};
	pid_t pid;

	start_loop();
	watch(&seen, "p/");
	pid = fork_with_store(write_burst, NULL);
	expect_value(&seen, "p/last", "59");
	wait_child(pid);
	EXPECT(seen.last->count == 11);
	end_watch(&seen);
	end_loop();
}

static void watch_merges_a_burst(void)
{
	struct seen seen = {0};

	start_loop();
	watch(&seen, "p/");
	/* The loop stands still meanwhile: all of it is one burst. */
	write_burst(NULL);
	expect_value(&seen, "p/last", "59");
	run_for(QUIET);
	EXPECT(seen.count <= 20, "(%d snapshots of 120 writes)", seen.count);
	end_watch(&seen);
	end_loop();
}

static void flip(void *data)
{
	(void)data;
	for (int i = 0; i < 40; i++) {
		struct intent_op ops[] = {op_put("p/left", i % 2 ? "A" : "B"),
					  op_put("p/x/right", i % 2 ? "A" : "B")};

		txn(ops, 2);
	}
	put("p/over", "1");
}

static void on_flip(struct intent_watch *from, struct intent_snapshot *snapshot, void *data)
{
	on_snapshot(from, snapshot, data);
	EXPECT(strcmp(value_of(data, "p/left"), value_of(data, "p/x/right")) == 0);
}

static void watch_never_sees_half_a_txn(void)
{
	const char *const prefixes[] = {key("p/"), NULL};
	struct seen seen = {0};
	struct intent_watch_events events = {on_flip, on_trouble, &seen};
	pid_t pid;

	start_loop();
	EXPECT_OK(intent_watch_start(attached, prefixes, &events, &seen.watch, &err));
	EXPECT(run_until(&seen.count, 1, SOON));
	pid = fork_with_store(flip, NULL);
	expect_value(&seen, "p/over", "1");
	wait_child(pid);
	end_watch(&seen);
	end_loop();
}

static void watch_of_several_prefixes(void)
{
	const char *const prefixes[] = {key("c/"), key("a/"), key("b/"), key("a/"), NULL};
	struct seen seen = {0};

	put("a/1", "1");
	put("c/1", "3");
	put("d/1", "no");
	start_loop();
	watch_prefixes(&seen, prefixes);
	EXPECT(run_until(&seen.count, 1, SOON));
	EXPECT(seen.last->count == 2);
	put("b/1", "2");
	expect_value(&seen, "b/1", "2");
	EXPECT(seen.last->count == 3);
	end_watch(&seen);
	end_loop();
}

static void watch_of_overlapping_prefixes(void)
{
	const char *const prefixes[] = {key("a/"), key("a/b/"), key(""), NULL};
	struct seen seen = {0};

	put("a/b/c", "1");
	start_loop();
	watch_prefixes(&seen, prefixes);
	EXPECT(run_until(&seen.count, 1, SOON) && seen.last->count == 1);
	put("a/b/c", "2");
	expect_value(&seen, "a/b/c", "2");
	run_for(500);
	EXPECT(seen.last->count == 1);
	expect_value(&seen, "a/b/c", "2");
	end_watch(&seen);
	end_loop();
}

static void watch_of_another_set(void)
{
	const char *const wider[] = {key("a/"), key("b/"), NULL};
	const char *narrower[] = {NULL, NULL};
	const char *const none[] = {NULL};
	struct seen seen = {0};

	put("a/1", "1");
	put("b/1", "2");
	start_loop();
	watch(&seen, "a/");
	EXPECT(seen.last->count == 1);
	EXPECT_OK(intent_watch_set(seen.watch, wider, &err));
	expect_value(&seen, "b/1", "2");
	EXPECT(seen.last->count == 2);
	narrower[0] = key("b/"); /* not before: a wait on a slow machine asks for more keys than there are buffers */
	EXPECT_OK(intent_watch_set(seen.watch, narrower, &err));
	expect_value(&seen, "a/1", "(absent)");
	EXPECT(seen.last->count == 1);
	put("a/1", "unwatched");
	put("b/1", "watched");
	expect_value(&seen, "b/1", "watched");
	EXPECT(seen.last->count == 1);
	EXPECT_OK(intent_watch_set(seen.watch, none, &err));
	expect_value(&seen, "b/1", "(absent)");
	end_watch(&seen);
	end_loop();
}

static void watch_of_the_same_set_is_no_news(void)
{
	const char *const same[] = {key("a/"), NULL};
	struct seen seen = {0};

	put("a/1", "1");
	start_loop();
	watch(&seen, "a/");
	EXPECT_OK(intent_watch_set(seen.watch, same, &err));
	run_for(QUIET);
	EXPECT(seen.count == 1);
	end_watch(&seen);
	end_loop();
}

static void watch_by_two(void)
{
	struct seen first = {0}, second = {0};

	start_loop();
	watch(&first, "p/");
	watch(&second, "p/");
	put("p/a", "1");
	expect_value(&first, "p/a", "1");
	expect_value(&second, "p/a", "1");
	end_watch(&first);
	put("p/a", "2");
	expect_value(&second, "p/a", "2");
	end_watch(&second);
	end_loop();
}

static void watch_refresh_is_no_news(void)
{
	struct seen seen = {0};

	put("p/a", "1");
	start_loop();
	watch(&seen, "p/");
	intent_watch_refresh(seen.watch);
	intent_watch_refresh(seen.watch);
	run_for(QUIET);
	EXPECT(seen.count == 1 && seen.troubles == 0);
	put("p/a", "2");
	intent_watch_refresh(seen.watch);
	expect_value(&seen, "p/a", "2");
	end_watch(&seen);
	end_loop();
}

static void stop_it(struct seen *seen)
{
	seen->watch = intent_watch_stop(seen->watch);
}

static void watch_stopped_from_its_own_call(void)
{
	struct seen seen = {.on_first = stop_it};

	put("p/a", "1");
	start_loop();
	watch(&seen, "p/");
	put("p/a", "2");
	run_for(500);
	EXPECT(seen.count == 1);
	end_watch(&seen);
	end_loop();
}

static void widen_it(struct seen *seen)
{
	const char *const wider[] = {key("p/"), key("q/"), NULL};

	EXPECT_OK(intent_watch_set(seen->watch, wider, &err));
}

static void watch_widened_from_its_own_call(void)
{
	struct seen seen = {.on_first = widen_it};

	put("p/a", "1");
	put("q/a", "2");
	start_loop();
	watch(&seen, "p/");
	expect_value(&seen, "q/a", "2");
	EXPECT(seen.last->count == 2);
	end_watch(&seen);
	end_loop();
}

static void watch_stopped_at_once(void)
{
	const char *const prefixes[] = {key("p/"), NULL};
	struct seen seen = {0};

	put("p/a", "1");
	start_loop();
	watch_prefixes(&seen, prefixes);
	end_watch(&seen);
	run_for(500);
	EXPECT(seen.count == 0);
	EXPECT(!intent_watch_stop(NULL));
	end_loop();
}

static void watch_of_a_bad_prefix(void)
{
	const char *const prefixes[] = {key("p"), NULL};
	struct intent_watch_events events = {on_snapshot, on_trouble, NULL};
	struct intent_watch *none = NULL;

	start_loop();
	EXPECT_CODE(intent_watch_start(attached, prefixes, &events, &none, &err), INTENT_EUSAGE);
	EXPECT(!none);
	end_loop();
}

static void watch_of_a_thousand(void)
{
	struct seen seen = {0};
	struct intent_op ops[50];
	static char names[50][128];

	for (int i = 0; i < 1000; i += 50) {
		for (int j = 0; j < 50; j++) {
			snprintf(names[j], sizeof(names[j]), "%sp/%d/k%03d", base, i % 3, i + j);
			ops[j] = op_put("", "some value of a usual length");
			ops[j].key = names[j];
		}
		txn(ops, 50);
	}
	start_loop();
	watch(&seen, "p/");
	EXPECT(seen.last->count == 1000);
	put("p/2/k500", "changed");
	put("p/1/knew", "new");
	expect_value(&seen, "p/1/knew", "new");
	EXPECT(seen.last->count == 1001);
	EXPECT(strcmp(value_of(&seen, "p/2/k500"), "changed") == 0);
	end_watch(&seen);
	end_loop();
}

static void watch_of_a_big_value(void)
{
	struct seen seen = {0};
	char *bytes = malloc(INTENT_VALUE_MAX);

	memset(bytes, 'x', INTENT_VALUE_MAX);
	start_loop();
	watch(&seen, "p/");
	EXPECT_OK(intent_store_put(store, key("p/a"), bytes, INTENT_VALUE_MAX, &err));
	EXPECT(run_until(&seen.count, 2, SOON));
	EXPECT(seen.last->count == 1 && seen.last->entries[0].length == INTENT_VALUE_MAX);
	EXPECT(memcmp(seen.last->entries[0].value, bytes, INTENT_VALUE_MAX) == 0);
	end_watch(&seen);
	end_loop();
	free(bytes);
}

static void watch_sees_a_session_end(void)
{
	struct seen seen = {0};
	struct intent_op op;
	char *id = NULL;

	EXPECT_OK(intent_session_open(store, 120000, &id, &err));
	start_loop();
	watch(&seen, "p/");
	op = op_bound("p/a", "1", id);
	txn(&op, 1);
	expect_value(&seen, "p/a", "1");
	EXPECT(strcmp(seen.last->entries[0].session, id) == 0);
	EXPECT_OK(intent_session_close(store, id, &err));
	expect_value(&seen, "p/a", "(absent)");
	free(id);
	end_watch(&seen);
	end_loop();
}

static void hold_session(void *data)
{
	struct intent_op op;
	char *id = NULL;

	(void)data;
	EXPECT_OK(intent_session_open(store, 10000, &id, &err));
	op = op_bound("p/a", "1", id);
	txn(&op, 1);
	pause();
}

static void watch_sees_a_holder_die(void)
{
	struct seen seen = {0};
	int status;
	pid_t pid;

	start_loop();
	watch(&seen, "p/");
	pid = fork_with_store(hold_session, NULL);
	expect_value(&seen, "p/a", "1");
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid);
	for (int i = 0; i < 4 && strcmp(value_of(&seen, "p/a"), "(absent)") != 0; i++)
		run_until(&seen.count, seen.count + 1, intent_session_beats(store) ? 11000 : 2000);
	EXPECT(strcmp(value_of(&seen, "p/a"), "(absent)") == 0);
	end_watch(&seen);
	end_loop();
}

static void watch_below_the_store_prefix(void)
{
	const char *const prefixes[] = {"nodes/web1/", NULL};
	struct seen seen = {0};

	put("nodes/web1/a", "1");
	EXPECT(uv_loop_init(&loop) == 0);
	attached = open_store(base);
	EXPECT_OK(intent_store_attach(attached, &loop, &err));
	watch_prefixes(&seen, prefixes);
	EXPECT(run_until(&seen.count, 1, SOON) && seen.last->count == 1);
	EXPECT(strcmp(seen.last->entries[0].key, "nodes/web1/a") == 0);
	put("nodes/web1/b", "2");
	EXPECT(run_until(&seen.count, 2, SOON) && seen.last->count == 2);
	EXPECT(strcmp(seen.last->entries[1].key, "nodes/web1/b") == 0);
	end_watch(&seen);
	end_loop();
}

static void watch_beside_writes_of_its_own(void)
{
	struct seen seen = {0};
	struct outcome outcome = {0};
	struct intent_op op = op_put("p/a", "1");

	start_loop();
	watch(&seen, "p/");
	start_txn(&op, 1, &outcome);
	expect_value(&seen, "p/a", "1");
	EXPECT(run_until(&outcome.count, 1, SOON) && outcome.code == 0);
	EXPECT(seen.last->entries[0].revision == outcome.revision);
	op = op_delete("p/a");
	start_txn(&op, 1, &outcome);
	expect_value(&seen, "p/a", "(absent)");
	end_watch(&seen);
	end_loop();
}

#define CASE(function) {#function, function}

static const struct test_case cases[] = {
	CASE(watch_sees_a_holder_die), CASE(watch_of_a_thousand),
	CASE(loop_txn), CASE(loop_txn_conflict), CASE(loop_txn_copies_what_it_is_given),
	CASE(loop_txn_many_at_once), CASE(loop_txn_wrong_arguments),
	CASE(loop_and_blocking_do_not_mix), CASE(loop_session), CASE(loop_close_while_under_way),
	CASE(loop_close_inside_on_done), CASE(loop_reopened),
	CASE(watch_of_nothing), CASE(watch_begins_with_everything),
	CASE(watch_sees_change_and_deletion), CASE(watch_sees_a_prefix_appear),
	CASE(watch_sees_a_prefix_go_and_come), CASE(watch_is_silent_for_equal_content),
	CASE(watch_is_silent_for_other_prefixes), CASE(watch_is_silent_when_idle),
	CASE(watch_sees_the_marker), CASE(watch_ends_with_the_last_of_a_burst),
	CASE(watch_merges_a_burst), CASE(watch_never_sees_half_a_txn),
	CASE(watch_of_several_prefixes), CASE(watch_of_overlapping_prefixes),
	CASE(watch_of_another_set), CASE(watch_of_the_same_set_is_no_news), CASE(watch_by_two),
	CASE(watch_refresh_is_no_news), CASE(watch_stopped_from_its_own_call),
	CASE(watch_widened_from_its_own_call), CASE(watch_stopped_at_once),
	CASE(watch_of_a_bad_prefix), CASE(watch_of_a_big_value), CASE(watch_sees_a_session_end),
	CASE(watch_below_the_store_prefix), CASE(watch_beside_writes_of_its_own),
};

int main(int argc, char **argv)
{
	return conformance_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
