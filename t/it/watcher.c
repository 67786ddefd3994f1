/*
 * Watches a store from outside, and says when it has healed. For etcd-cluster.sh and its like.
 *
 *	watcher watch URL PREFIX       a line "<ms> <value of the first key, or ->" for every snapshot,
 *	                               "<ms> !<reason>" for trouble, until ended; "<ms> stalled <ms>" when the
 *	                               machine did not let it run for so long
 *	watcher heal URL KEY VALUE     when a fresh connection's strongest read succeeds, writes KEY, and prints the
 *	                               ms when that is done; exits 1 after 60 s
 *
 * Milliseconds of one clock for all.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <intent/store.h>

#define TICK_MS 20

static void on_snapshot(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data)
{
	(void)watch, (void)data;
	printf("%lld %s\n", (long long)intent_time_monotonic(), snapshot->count ? snapshot->entries[0].value : "-");
}

static void on_trouble(struct intent_watch *watch, const struct intent_error *err, void *data)
{
	(void)watch, (void)data;
	printf("%lld !%s\n", (long long)intent_time_monotonic(), err->code ? err->msg : "over");
}

static void on_tick(uv_timer_t *timer)
{
	static int64_t last;
	int64_t now = intent_time_monotonic();

	(void)timer;
	if (last && now - last > 3 * TICK_MS)
		printf("%lld stalled %lld\n", (long long)now, (long long)(now - last - TICK_MS));
	last = now;
}

static int watch_store(const char *url, const char *prefix)
{
	const char *const prefixes[] = {prefix, NULL};
	const struct intent_watch_events events = {on_snapshot, on_trouble, NULL};
	struct intent_store *store;
	struct intent_watch *watch;
	struct intent_error err = {0};
	uv_loop_t loop;
	uv_timer_t tick;

	uv_loop_init(&loop);
	uv_timer_init(&loop, &tick);
	uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS);
	if (intent_store_open(url, NULL, &store, &err) || intent_store_attach(store, &loop, &err) ||
	    intent_watch_start(store, prefixes, &events, &watch, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		return 2;
	}
	return uv_run(&loop, UV_RUN_DEFAULT);
}

static int try_read(const char *url, const char *key)
{
	struct intent_store *store;
	struct intent_snapshot *snapshot = NULL;
	struct intent_error err = {0};

	if (intent_store_open(url, NULL, &store, &err))
		return err.code;
	int code = intent_store_get(store, key, INTENT_STRONGEST, &snapshot, &err);

	intent_snapshot_unref(snapshot);
	intent_store_close(store);
	return code == INTENT_EABSENT ? 0 : code;
}

/* A try that began before the store healed may hang: a new one begins every 100 ms. */
static bool await_healing(const char *url, const char *key)
{
	pid_t tries[600];
	int count = 0, status, first = -1;

	while (first < 0 && count < 600) {
		tries[count] = fork();
		if (!tries[count++])
			_exit(try_read(url, key) ? 1 : 0);
		usleep(100000);
		for (int i = 0; i < count && first < 0; i++) {
			if (!tries[i] || waitpid(tries[i], &status, WNOHANG) <= 0)
				continue;
			tries[i] = 0;
			if (!status)
				first = i;
		}
	}
	for (int i = 0; i < count; i++) {
		if (!tries[i])
			continue;
		kill(tries[i], SIGKILL);
		waitpid(tries[i], &status, 0);
	}
	return first >= 0;
}

static int heal(const char *url, const char *key, const char *value)
{
	struct intent_store *store;
	struct intent_error err = {0};

	if (!await_healing(url, key) || intent_store_open(url, NULL, &store, &err))
		return 1;
	for (int i = 0; intent_store_put(store, key, value, strlen(value), &err); i++) {
		if (i == 20) {
			fprintf(stderr, "%s\n", err.msg);
			return 1;
		}
		usleep(50000);
	}
	printf("%lld\n", (long long)intent_time_monotonic());
	intent_store_close(store);
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && !strcmp(argv[1], "watch"))
		return watch_store(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "heal"))
		return heal(argv[2], argv[3], argv[4]);
	fprintf(stderr, "usage: watcher watch URL PREFIX | heal URL KEY VALUE\n");
	return 2;
}
