/*
 * The frame of the conformance suite: every engine must pass the same cases.
 *
 *	conformance URL LABEL [NAME...]      only cases whose name contains a NAME
 *
 * A case is a function that runs in a process of its own, below a prefix of its own, and
 * ends that process with EXPECT() when something is wrong. Cases run side by side, which
 * is a test of its own.
 */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <intent/store.h>

#define AT_ONCE 6
#define CASE_SECONDS 150

struct test_case {
	const char *name;
	void (*run)(void);
};

static const char *url;
static char base[96];            /* this case's prefix, ends in '/' */
static struct intent_store *store;
static struct intent_error err;

static inline void __attribute__((format(printf, 2, 3), noreturn))
fail_case(int line, const char *format, ...)
{
	va_list arguments;

	printf("line %d: ", line);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("%s%s\n", err.code ? "; last error: " : "", err.code ? err.msg : "");
	fflush(stdout);
	_exit(1);
}

#define EXPECT(condition, ...) \
	do { if (!(condition)) fail_case(__LINE__, "not " #condition " " __VA_ARGS__); } while (0)
#define EXPECT_OK(call) \
	do { int rc_ = (call); if (rc_ != 0) fail_case(__LINE__, #call " gave %d", rc_); } while (0)
#define EXPECT_CODE(call, wanted) \
	do { int rc_ = (call); if (rc_ != (wanted) || err.code != (wanted)) \
		fail_case(__LINE__, #call " gave %d, not " #wanted, rc_); } while (0)

/* ---- short hands; keys are below base ---- */

/* One of eight buffers, so that several can be used at once. */
static inline const char *key(const char *name)
{
	static char buffers[8][1024];
	static int next;

	next = (next + 1) % 8;
	snprintf(buffers[next], sizeof(buffers[next]), "%s%s", base, name);
	return buffers[next];
}

static inline struct intent_store *open_store(const char *prefix)
{
	struct intent_store *opened = NULL;

	EXPECT_OK(intent_store_open(url, prefix, &opened, &err));
	return opened;
}

static inline void put(const char *name, const char *value)
{
	EXPECT_OK(intent_store_put(store, key(name), value, strlen(value), &err));
}

static inline struct intent_snapshot *get(const char *name)
{
	struct intent_snapshot *snapshot = NULL;

	EXPECT_OK(intent_store_get(store, key(name), INTENT_DEFAULT, &snapshot, &err));
	EXPECT(snapshot->count == 1);
	EXPECT(strcmp(snapshot->entries[0].key, key(name)) == 0);
	return snapshot;
}

static inline struct intent_snapshot *list(const char *name)
{
	struct intent_snapshot *snapshot = NULL;

	EXPECT_OK(intent_store_list(store, key(name), INTENT_DEFAULT, &snapshot, &err));
	return snapshot;
}

static inline uint64_t revision_of(const char *name)
{
	struct intent_snapshot *snapshot = get(name);
	uint64_t revision = snapshot->entries[0].revision;

	intent_snapshot_unref(snapshot);
	return revision;
}

static inline bool has_value(const char *name, const char *value)
{
	struct intent_snapshot *snapshot = get(name);
	bool equal = snapshot->entries[0].length == strlen(value) &&
		memcmp(snapshot->entries[0].value, value, strlen(value) + 1) == 0;

	intent_snapshot_unref(snapshot);
	return equal;
}

static inline bool is_absent(const char *name)
{
	struct intent_snapshot *snapshot = NULL;
	int rc = intent_store_get(store, key(name), INTENT_STRONGEST, &snapshot, &err);

	intent_snapshot_unref(snapshot);
	if (rc != 0 && rc != INTENT_EABSENT)
		fail_case(__LINE__, "reading %s gave %d", name, rc);
	return rc == INTENT_EABSENT;
}

static inline size_t count_below(const char *name)
{
	struct intent_snapshot *snapshot = list(name);
	size_t count = snapshot->count;

	intent_snapshot_unref(snapshot);
	return count;
}

static inline struct intent_op op_put(const char *name, const char *value)
{
	return (struct intent_op){.kind = INTENT_OP_PUT, .key = key(name), .value = value,
				  .length = strlen(value)};
}

static inline struct intent_op op_bound(const char *name, const char *value, const char *session)
{
	struct intent_op op = op_put(name, value);

	op.session = session;
	return op;
}

static inline struct intent_op op_delete(const char *name)
{
	return (struct intent_op){.kind = INTENT_OP_DELETE, .key = key(name)};
}

static inline struct intent_op op_check(const char *name, uint64_t revision)
{
	return (struct intent_op){.kind = INTENT_OP_CHECK, .key = key(name), .revision = revision};
}

static inline uint64_t txn(const struct intent_op *ops, size_t count)
{
	uint64_t revision = 0;

	EXPECT_OK(intent_store_txn(store, ops, count, &revision, &err));
	return revision;
}

/* For loops that somebody else's compare may refuse: temporary trouble is tried again. */
static inline void nap(int ms)
{
	poll(NULL, 0, ms);
}

/* A second process of this case with a store of its own; `run` ends it with _exit(). */
static inline pid_t fork_with_store(void (*run)(void *data), void *data)
{
	pid_t pid = fork();

	if (pid == 0) {
		store = open_store(NULL);
		run(data);
		intent_store_close(store);
		fflush(stdout);
		_exit(0);
	}
	EXPECT(pid > 0);
	return pid;
}

static inline void wait_child(pid_t pid)
{
	int status = 0;

	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0, "(a child process failed)");
}

/* ---- running ---- */

struct running {
	pid_t pid;
	int output;
	int64_t since;
	size_t index;
};

static inline struct running begin(const struct test_case *cases, size_t index)
{
	struct running running = {.index = index, .since = intent_time_monotonic()};
	int ends[2];

	if (pipe(ends) < 0)
		exit(1);
	fflush(stdout);
	running.pid = fork();
	if (running.pid == 0) {
		setpgid(0, 0);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		alarm(CASE_SECONDS);
		snprintf(base, sizeof(base), "t%d-%zu/", getpid(), index);
		store = open_store(NULL);
		cases[index].run();
		intent_store_close(store);
		exit(0);
	}
	close(ends[1]);
	running.output = ends[0];
	return running;
}

static inline bool finish(const struct running *running, const struct test_case *cases,
			  const char *label, int status)
{
	static int number;
	char text[2000];
	ssize_t count;
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	kill(-running->pid, SIGKILL);
	count = read(running->output, text, sizeof(text) - 1);
	text[count > 0 ? count : 0] = 0;
	close(running->output);
	printf("%sok %d - %s: %s\n", good ? "" : "not ", ++number, label,
	       cases[running->index].name);
	if (!good && WIFSIGNALED(status))
		printf("# ended by signal %d%s\n", WTERMSIG(status),
		       WTERMSIG(status) == SIGALRM ? " (too long)" : "");
	if (!good && text[0]) {
		for (char *rest = text, *line; (line = strsep(&rest, "\n")); ) {
			if (*line)
				printf("# %s\n", line);
		}
	}
	if (getenv("CONFORMANCE_TIMES"))
		printf("# %" PRId64 " ms\n", intent_time_monotonic() - running->since);
	fflush(stdout);
	return good;
}

static inline bool is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		if (strstr(name, argv[i]))
			return true;
	}
	return argc <= 3;
}

static inline int conformance_main(int argc, char **argv, const struct test_case *cases,
				   size_t count)
{
	struct running running[AT_ONCE];
	size_t active = 0, next = 0;
	int failed = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: %s URL LABEL [NAME...]\n", argv[0]);
		return 100;
	}
	url = argv[1];
	while (active || next < count) {
		int status;
		pid_t pid;

		while (active < AT_ONCE && next < count) {
			if (is_wanted(cases[next].name, argc, argv))
				running[active++] = begin(cases, next);
			next++;
		}
		if (!active)
			break;
		pid = wait(&status);
		for (size_t i = 0; i < active; i++) {
			if (running[i].pid != pid)
				continue;
			failed += !finish(&running[i], cases, argv[2], status);
			running[i] = running[--active];
			break;
		}
	}
	return failed ? 1 : 0;
}

#endif
