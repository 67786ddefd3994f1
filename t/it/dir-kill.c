/*
 * For dir-kill.sh: a transaction that can be killed anywhere, and who looks at what is left.
 *
 *	dir-kill URL reset         state A
 *	dir-kill URL txn           A -> B in one transaction
 *	dir-kill URL single        one key: a -> b
 *	dir-kill URL bound         a session and a document bound to it
 *	dir-kill URL check         prints "A" or "B"; 1 when it is neither
 *	dir-kill URL storm SECONDS writers that are killed at random, checked all the while
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <intent/store.h>

static struct intent_store *store;
static struct intent_error err;

static void need(int rc)
{
	if (rc < 0) {
		printf("error: %s\n", err.msg);
		exit(1);
	}
}

static struct intent_op op_put(const char *key, const char *value)
{
	return (struct intent_op){.kind = INTENT_OP_PUT, .key = key, .value = value,
				  .length = strlen(value)};
}

static struct intent_op op_delete(const char *key)
{
	return (struct intent_op){.kind = INTENT_OP_DELETE, .key = key};
}

/* k/x is a document in A, and a document with one below it in B. */
static void reset(void)
{
	struct intent_op ops[] = {
		op_put("k/left", "A"), op_put("k/deep/er/right", "A"), op_put("k/x", "A"),
		op_delete("k/x/y"), op_put("k/old/one", "A"), op_put("single", "a"),
		op_delete("k/new"), op_delete("bound"),
	};

	need(intent_store_txn(store, ops, sizeof(ops) / sizeof(ops[0]), NULL, &err));
}

static void write_txn(void)
{
	struct intent_op ops[] = {
		op_put("k/left", "B"), op_put("k/deep/er/right", "B"), op_put("k/x/y", "B"),
		op_delete("k/old/one"), op_put("k/new", "B"),
	};

	need(intent_store_txn(store, ops, sizeof(ops) / sizeof(ops[0]), NULL, &err));
}

static void write_bound(void)
{
	struct intent_op op = op_put("bound", "1");
	char *id = NULL;

	need(intent_session_open(store, 10000, &id, &err));
	op.session = id;
	need(intent_store_txn(store, &op, 1, NULL, &err));
	free(id);
}

static const char *value_of(const struct intent_snapshot *snapshot, const char *key)
{
	const struct intent_entry *entry = intent_snapshot_find(snapshot, key);

	return entry ? entry->value : "-";
}

static int check(void)
{
	static const struct {
		const char *key, *a, *b;
	} rows[] = {
		{"k/left", "A", "B"}, {"k/deep/er/right", "A", "B"}, {"k/x", "A", "A"},
		{"k/x/y", "-", "B"}, {"k/old/one", "A", "-"}, {"k/new", "-", "B"},
	};
	struct intent_snapshot *snapshot = NULL;
	bool a = true, b = true;
	const char *single;
	size_t extra;

	need(intent_store_list(store, "", INTENT_STRONGEST, &snapshot, &err));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		a &= strcmp(value_of(snapshot, rows[i].key), rows[i].a) == 0;
		b &= strcmp(value_of(snapshot, rows[i].key), rows[i].b) == 0;
	}
	single = value_of(snapshot, "single");
	extra = snapshot->count - (a ? 5 : 6);
	if ((!a && !b) || (strcmp(single, "a") != 0 && strcmp(single, "b") != 0) || extra) {
		printf("torn:");
		for (size_t i = 0; i < snapshot->count; i++)
			printf(" %s=%s", snapshot->entries[i].key, snapshot->entries[i].value);
		printf("\n");
		return 1;
	}
	printf("%s%s\n", a ? "A" : "B", single);
	intent_snapshot_unref(snapshot);
	return 0;
}

/* ---- the storm ---- */

/* All three always together; one of them gives way to a directory now and then. */
static void write_for_ever(unsigned seed)
{
	for (unsigned i = 0;; i++) {
		char value[40];
		struct intent_op ops[4];
		size_t count = 0;

		snprintf(value, sizeof(value), "%u-%u", seed, i);
		ops[count++] = op_put("storm/a", value);
		ops[count++] = op_put("storm/b/c", value);
		ops[count++] = op_put("storm/d", value);
		ops[count++] = i % 3 ? op_delete("storm/d/e") : op_put("storm/d/e", "x");
		need(intent_store_txn(store, ops, count, NULL, &err));
		need(intent_store_put(store, "storm/single", value, strlen(value), &err));
	}
}

static pid_t start_writer(unsigned seed)
{
	pid_t pid = fork();

	if (pid == 0)
		write_for_ever(seed);
	return pid;
}

/* Nothing torn, nothing going back. */
static void look(uint64_t *last)
{
	struct intent_snapshot *snapshot = NULL;
	const struct intent_entry *a, *c, *d;

	need(intent_store_list(store, "storm/", INTENT_STRONGEST, &snapshot, &err));
	a = intent_snapshot_find(snapshot, "storm/a");
	c = intent_snapshot_find(snapshot, "storm/b/c");
	d = intent_snapshot_find(snapshot, "storm/d");
	if (a || c || d) {
		if (!a || !c || !d || strcmp(a->value, c->value) != 0 ||
		    strcmp(a->value, d->value) != 0 || a->revision != c->revision ||
		    a->revision != d->revision) {
			printf("torn: %s %s %s\n", a ? a->value : "-", c ? c->value : "-",
			       d ? d->value : "-");
			exit(1);
		}
	}
	if (snapshot->revision < *last) {
		printf("revision fell from %" PRIu64 " to %" PRIu64 "\n", *last,
		       snapshot->revision);
		exit(1);
	}
	*last = snapshot->revision;
	intent_snapshot_unref(snapshot);
}

static void storm(int seconds)
{
	int64_t end = intent_time_monotonic() + seconds * 1000;
	static const char *const keys[] = {
		"storm/a", "storm/b/c", "storm/d", "storm/d/e", "storm/single",
	};
	pid_t writers[3];
	uint64_t last = 0;
	unsigned kills = 0;

	srandom((unsigned)getpid());
	for (unsigned i = 0; i < 3; i++)
		writers[i] = start_writer(i);
	while (intent_time_monotonic() < end) {
		struct timespec pause = {.tv_nsec = random() % 15000000};
		unsigned victim = (unsigned)random() % 3;
		int status;

		nanosleep(&pause, NULL);
		kill(writers[victim], SIGKILL);
		waitpid(writers[victim], &status, 0);
		if (WIFEXITED(status)) {
			printf("a writer ended with %d\n", WEXITSTATUS(status));
			exit(1);
		}
		kills++;
		writers[victim] = start_writer(kills + 3);
		look(&last);
	}
	for (int i = 0; i < 3; i++) {
		kill(writers[i], SIGKILL);
		waitpid(writers[i], NULL, 0);
	}
	look(&last);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		need(intent_store_delete(store, keys[i], &err));
	printf("%u kills\n", kills);
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[2] : "";
	int rc = 0;

	if (argc < 3)
		return 100;
	need(intent_store_open(argv[1], NULL, &store, &err));
	if (strcmp(command, "reset") == 0)
		reset();
	else if (strcmp(command, "txn") == 0)
		write_txn();
	else if (strcmp(command, "single") == 0)
		need(intent_store_put(store, "single", "b", 1, &err));
	else if (strcmp(command, "bound") == 0)
		write_bound();
	else if (strcmp(command, "check") == 0)
		rc = check();
	else if (strcmp(command, "storm") == 0 && argc > 3)
		storm((int)strtol(argv[3], NULL, 10));
	else
		rc = 100;
	intent_store_close(store);
	return rc;
}
