/* Conformance of a store engine: sessions and locks. */
#include "conformance.h"

#define BRIEF_TTL 10000          /* the least that every engine takes */
#define TTL 120000               /* longer than a case takes on a slow machine */
#define SOON_MS 8000             /* what is done at once; less than the brief ttl */
#define EXPIRY_MS 45000          /* Consul: twice the ttl, and its own rounds */

static char *open_for(int64_t ttl_ms)
{
	char *id = NULL;

	EXPECT_OK(intent_session_open(store, ttl_ms, &id, &err));
	EXPECT(id && *id);
	return id;
}

static char *open_session(void)
{
	return open_for(TTL);
}

static void put_bound(const char *name, const char *value, const char *session)
{
	struct intent_op op = op_bound(name, value, session);

	txn(&op, 1);
}

static void close_session(char *id)
{
	EXPECT_OK(intent_session_close(store, id, &err));
	free(id);
}

/* ---- sessions ---- */

static void session_binds(void)
{
	char *id = open_session();
	struct intent_snapshot *snapshot;

	put_bound("v", "1", id);
	put("free", "2");
	snapshot = get("v");
	EXPECT(snapshot->entries[0].session && strcmp(snapshot->entries[0].session, id) == 0);
	intent_snapshot_unref(snapshot);
	snapshot = list("");
	EXPECT(snapshot->count == 2);
	EXPECT(!snapshot->entries[0].session, "(free is bound to nothing)");
	EXPECT(snapshot->entries[1].session && strcmp(snapshot->entries[1].session, id) == 0);
	intent_snapshot_unref(snapshot);
	close_session(id);
}

static void session_close_deletes(void)
{
	char *id = open_session();

	put_bound("a", "1", id);
	put_bound("b/c", "2", id);
	put("free", "3");
	close_session(id);
	EXPECT(is_absent("a") && is_absent("b/c") && has_value("free", "3"));
	EXPECT(count_below("") == 1);
}

static void session_close_twice_is_fine(void)
{
	char *id = open_session();

	EXPECT_OK(intent_session_close(store, id, &err));
	close_session(id);
}

static void session_without_documents(void)
{
	close_session(open_session());
}

static void session_is_renewed(void)
{
	char *id = open_session();

	EXPECT_OK(intent_session_renew(store, id, &err));
	put_bound("v", "1", id);
	EXPECT_OK(intent_session_renew(store, id, &err));
	EXPECT(has_value("v", "1"));
	close_session(id);
}

static void session_that_is_gone_is_not_renewed(void)
{
	char *id = open_session();

	EXPECT_OK(intent_session_close(store, id, &err));
	EXPECT_CODE(intent_session_renew(store, id, &err), INTENT_EABSENT);
	free(id);
}

static void session_that_is_gone_binds_nothing(void)
{
	char *id = open_session();
	struct intent_op ops[2];

	EXPECT_OK(intent_session_close(store, id, &err));
	ops[0] = op_put("a", "1");
	ops[1] = op_bound("b", "2", id);
	EXPECT_CODE(intent_store_txn(store, ops, 2, NULL, &err), INTENT_EABSENT);
	EXPECT(is_absent("a") && is_absent("b"));
	free(id);
}

static void session_put_takes_over(void)
{
	char *first = open_session(), *second = open_session();

	put_bound("v", "1", first);
	put_bound("v", "2", second);
	close_session(first);
	EXPECT(has_value("v", "2"));
	close_session(second);
	EXPECT(is_absent("v"));
}

static void session_rewrites_its_own(void)
{
	char *id = open_session();
	uint64_t first;

	put_bound("v", "1", id);
	first = revision_of("v");
	put_bound("v", "2", id);
	EXPECT(has_value("v", "2") && revision_of("v") > first);
	close_session(id);
	EXPECT(is_absent("v"));
}

static void sessions_are_independent(void)
{
	char *first = open_session(), *second = open_session();

	EXPECT(strcmp(first, second) != 0);
	put_bound("a", "1", first);
	put_bound("b", "2", second);
	close_session(first);
	EXPECT(is_absent("a") && has_value("b", "2"));
	EXPECT_OK(intent_session_renew(store, second, &err));
	close_session(second);
}

static void session_document_may_be_deleted(void)
{
	char *id = open_session();

	put_bound("v", "1", id);
	EXPECT_OK(intent_store_delete(store, key("v"), &err));
	EXPECT(is_absent("v"));
	put("v", "free now");
	close_session(id);
	EXPECT(has_value("v", "free now"));
}

static void session_ttl_is_checked(void)
{
	char *id = NULL;

	EXPECT_CODE(intent_session_open(store, 0, &id, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_session_open(store, (int64_t)1 << 60, &id, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_session_renew(store, "", &err), INTENT_EUSAGE);
}

static void hold_session(void *data)
{
	char *id = open_for(BRIEF_TTL);

	(void)data;
	put_bound("held", "1", id);
	pause();
}

static void session_ends_with_its_owner(void)
{
	pid_t pid = fork_with_store(hold_session, NULL);
	int64_t deadline = intent_time_monotonic() + 30000;
	int status;

	while (is_absent("held"))
		EXPECT(intent_time_monotonic() < deadline, "(the child got its session)");
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid);
	/* Without a beat it is the owner's end; with one it is the time to live. */
	deadline = intent_time_monotonic() + (intent_session_beats(store) ? EXPIRY_MS : SOON_MS);
	while (!is_absent("held")) {
		EXPECT(intent_time_monotonic() < deadline, "(expired)");
		nap(50);
	}
	EXPECT(count_below("") == 0);
	put("held", "again");
	EXPECT(has_value("held", "again"));
}

static void session_lives_while_it_is_renewed(void)
{
	char *id = open_for(BRIEF_TTL);

	put_bound("v", "1", id);
	if (intent_session_beats(store)) {
		for (int i = 0; i < 7; i++) {
			nap(3000);
			EXPECT_OK(intent_session_renew(store, id, &err));
		}
	}
	EXPECT(has_value("v", "1"));
	close_session(id);
}

/* ---- locks ---- */

static struct intent_lock acquire(const char *session, const char *holder)
{
	intent_json_auto json_t *json = json_pack("{s:s}", "holder", holder);
	struct intent_lock lock = {0};

	EXPECT_OK(intent_lock_acquire(store, key("locks/x"), session, json, &lock, &err));
	EXPECT(lock.fence > 0 && strcmp(lock.key, key("locks/x")) == 0);
	EXPECT(strcmp(lock.session, session) == 0);
	return lock;
}

static void expect_busy(const char *session, const char *holder)
{
	struct intent_lock lock = {0};

	EXPECT_CODE(intent_lock_acquire(store, key("locks/x"), session, NULL, &lock, &err),
		    INTENT_EBUSY);
	EXPECT(strstr(err.msg, holder) && strstr(err.msg, "since 20"), "(names who and when)");
	EXPECT(!lock.key);
}

static void lock_is_acquired_and_released(void)
{
	char *id = open_session();
	struct intent_lock lock = acquire(id, "me@here");

	EXPECT(revision_of("locks/x") == lock.fence);
	EXPECT_OK(intent_lock_verify(store, &lock, &err));
	EXPECT_OK(intent_lock_release(store, &lock, &err));
	EXPECT(!lock.key && is_absent("locks/x"));
	close_session(id);
}

static void lock_says_who_holds_it(void)
{
	char *first = open_session(), *second = open_session();
	struct intent_lock lock = acquire(first, "setlive@web1");

	expect_busy(second, "setlive@web1");
	EXPECT_OK(intent_lock_verify(store, &lock, &err));
	EXPECT_OK(intent_lock_release(store, &lock, &err));
	lock = acquire(second, "other@web2");
	expect_busy(first, "other@web2");
	intent_lock_clear(&lock);
	close_session(first);
	close_session(second);
}

static void lock_is_taken_again_by_its_session(void)
{
	char *id = open_session();
	struct intent_lock first = acquire(id, "me@here"), second = acquire(id, "me@here");

	EXPECT(first.fence == second.fence);
	EXPECT_OK(intent_lock_verify(store, &first, &err));
	intent_lock_clear(&first);
	EXPECT_OK(intent_lock_release(store, &second, &err));
	close_session(id);
}

static void lock_fence_grows(void)
{
	char *id = open_session();
	uint64_t last = 0;

	for (int i = 0; i < 3; i++) {
		struct intent_lock lock = acquire(id, "me@here");

		EXPECT(lock.fence > last);
		last = lock.fence;
		EXPECT_OK(intent_lock_release(store, &lock, &err));
	}
	close_session(id);
}

static void lock_ends_with_its_session(void)
{
	char *first = open_session(), *second = open_session();
	struct intent_lock lock = acquire(first, "me@here"), other;

	EXPECT_OK(intent_session_close(store, first, &err));
	EXPECT_CODE(intent_lock_verify(store, &lock, &err), INTENT_EABSENT);
	other = acquire(second, "other@there");
	EXPECT(other.fence > lock.fence);
	intent_lock_clear(&lock);
	EXPECT_OK(intent_lock_release(store, &other, &err));
	free(first);
	close_session(second);
}

static void lock_that_was_broken_fences(void)
{
	char *first = open_session(), *second = open_session();
	struct intent_lock lock = acquire(first, "slow@web1"), other;
	struct intent_op ops[2];

	EXPECT_OK(intent_store_delete(store, key("locks/x"), &err));
	EXPECT_CODE(intent_lock_verify(store, &lock, &err), INTENT_EABSENT);
	other = acquire(second, "quick@web2");
	EXPECT_CODE(intent_lock_verify(store, &lock, &err), INTENT_EBUSY);
	ops[0] = op_check("locks/x", lock.fence);
	ops[1] = op_put("protected", "by the old holder");
	EXPECT_CODE(intent_store_txn(store, ops, 2, NULL, &err), INTENT_ECONFLICT);
	EXPECT(is_absent("protected"));
	ops[0] = op_check("locks/x", other.fence);
	ops[1] = op_put("protected", "by the new one");
	txn(ops, 2);
	EXPECT(has_value("protected", "by the new one"));
	EXPECT_CODE(intent_lock_release(store, &lock, &err), INTENT_EBUSY);
	EXPECT_OK(intent_lock_verify(store, &other, &err));
	EXPECT_OK(intent_lock_release(store, &other, &err));
	close_session(first);
	close_session(second);
}

static void lock_taken_anew_has_a_new_fence(void)
{
	char *id = open_session();
	struct intent_lock old = acquire(id, "me@here"), fresh;

	EXPECT_OK(intent_store_delete(store, key("locks/x"), &err));
	fresh = acquire(id, "me@here");
	EXPECT(fresh.fence > old.fence);
	EXPECT_CODE(intent_lock_verify(store, &old, &err), INTENT_EBUSY);
	EXPECT_OK(intent_lock_verify(store, &fresh, &err));
	intent_lock_clear(&old);
	EXPECT_OK(intent_lock_release(store, &fresh, &err));
	close_session(id);
}

static void lock_fence_holds_while_it_is_held(void)
{
	char *id = open_session();
	struct intent_lock lock = acquire(id, "me@here");
	struct intent_op ops[2];

	for (int i = 0; i < 3; i++) {
		ops[0] = op_check("locks/x", lock.fence);
		ops[1] = op_put("protected", i % 2 ? "a" : "b");
		txn(ops, 2);
		EXPECT_OK(intent_session_renew(store, id, &err));
	}
	EXPECT_OK(intent_lock_release(store, &lock, &err));
	close_session(id);
}

static void lock_released_twice(void)
{
	char *id = open_session();
	struct intent_lock lock = acquire(id, "me@here"), again = acquire(id, "me@here");

	EXPECT_OK(intent_lock_release(store, &lock, &err));
	EXPECT_OK(intent_lock_release(store, &again, &err));
	close_session(id);
}

static void lock_of_a_gone_session(void)
{
	char *id = open_session();
	struct intent_lock lock = {0};

	EXPECT_OK(intent_session_close(store, id, &err));
	EXPECT_CODE(intent_lock_acquire(store, key("locks/x"), id, NULL, &lock, &err),
		    INTENT_EABSENT);
	EXPECT_CODE(intent_lock_acquire(store, key("locks/x"), "", NULL, &lock, &err),
		    INTENT_EUSAGE);
	EXPECT(is_absent("locks/x"));
	free(id);
}

static void lock_on_a_plain_document(void)
{
	char *id = open_session();
	struct intent_lock lock = {0};

	put("locks/x", "not even JSON");
	EXPECT_CODE(intent_lock_acquire(store, key("locks/x"), id, NULL, &lock, &err),
		    INTENT_EBUSY);
	EXPECT(strstr(err.msg, "ppctl lock break"), "(says the way out)");
	EXPECT(has_value("locks/x", "not even JSON"));
	close_session(id);
}

/* Adds to a number under the lock, without any compare: only the lock protects it. */
static void count_under_lock(void *data)
{
	char *id = open_session();

	(void)data;
	for (int done = 0; done < 5;) {
		struct intent_lock lock = {0};
		struct intent_snapshot *snapshot;
		char text[16];
		int rc = intent_lock_acquire(store, key("locks/x"), id, NULL, &lock, &err);

		if (rc == INTENT_EBUSY) {
			nap(5);
			continue;
		}
		EXPECT_OK(rc);
		snapshot = get("counter");
		snprintf(text, sizeof(text), "%d",
			 (int)strtol(snapshot->entries[0].value, NULL, 10) + 1);
		intent_snapshot_unref(snapshot);
		nap(2);
		put("counter", text);
		EXPECT_OK(intent_lock_release(store, &lock, &err));
		done++;
	}
	close_session(id);
}

static void lock_excludes(void)
{
	pid_t pids[4];

	put("counter", "0");
	for (int i = 0; i < 4; i++)
		pids[i] = fork_with_store(count_under_lock, NULL);
	for (int i = 0; i < 4; i++)
		wait_child(pids[i]);
	EXPECT(has_value("counter", "20"));
}

struct pipes {
	int outcome[2];
	int over[2];
};

static void try_once(void *data)
{
	const struct pipes *pipes = data;
	char *id = open_session(), end;
	struct intent_lock lock = {0};
	int rc = intent_lock_acquire(store, key("locks/x"), id, NULL, &lock, &err);

	EXPECT(rc == 0 || rc == INTENT_EBUSY);
	EXPECT(write(pipes->outcome[1], rc == 0 ? "w" : "l", 1) == 1);
	/* Held until all have tried. */
	close(pipes->over[1]);
	EXPECT(read(pipes->over[0], &end, 1) == 0);
	intent_lock_clear(&lock);
	close_session(id);
}

static void lock_has_one_winner(void)
{
	pid_t pids[3];
	struct pipes pipes;
	int winners = 0;
	char outcome;

	EXPECT(pipe(pipes.outcome) == 0 && pipe(pipes.over) == 0);
	for (int i = 0; i < 3; i++)
		pids[i] = fork_with_store(try_once, &pipes);
	for (int i = 0; i < 3; i++) {
		EXPECT(read(pipes.outcome[0], &outcome, 1) == 1);
		winners += outcome == 'w';
	}
	close(pipes.over[1]);
	EXPECT(winners == 1, "(%d of 3 got it)", winners);
	for (int i = 0; i < 3; i++)
		wait_child(pids[i]);
}

#define CASE(function) {#function, function}

static const struct test_case cases[] = {
	CASE(session_ends_with_its_owner), CASE(session_lives_while_it_is_renewed),
	CASE(lock_excludes), CASE(lock_has_one_winner),
	CASE(session_binds), CASE(session_close_deletes), CASE(session_close_twice_is_fine),
	CASE(session_without_documents), CASE(session_is_renewed),
	CASE(session_that_is_gone_is_not_renewed), CASE(session_that_is_gone_binds_nothing),
	CASE(session_put_takes_over), CASE(session_rewrites_its_own),
	CASE(sessions_are_independent), CASE(session_document_may_be_deleted),
	CASE(session_ttl_is_checked),
	CASE(lock_is_acquired_and_released), CASE(lock_says_who_holds_it),
	CASE(lock_is_taken_again_by_its_session), CASE(lock_fence_grows),
	CASE(lock_ends_with_its_session), CASE(lock_that_was_broken_fences),
	CASE(lock_taken_anew_has_a_new_fence),
	CASE(lock_fence_holds_while_it_is_held), CASE(lock_released_twice),
	CASE(lock_of_a_gone_session), CASE(lock_on_a_plain_document),
};

int main(int argc, char **argv)
{
	return conformance_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
