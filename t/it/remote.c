/*
 * What only the remote engines must do, against a real server. Prints TAP.
 *
 *	remote pages URL       more keys than a page, more bytes than an answer may have
 *	remote prefixes URL    more prefixes than connections, and who is woken
 *	remote refused URL     the credentials do not suffice
 */
#include <stdio.h>
#include <sys/resource.h>
#include <intent/store.h>

static struct intent_error error;

static int ok(bool good, const char *what)
{
	printf("%sok - %s%s%s\n", good ? "" : "not ", what, good ? "" : ": ", good ? "" : error.msg);
	return good ? 0 : 1;
}

static int put_many(struct intent_store *store, int count)
{
	char keys[60][32];
	struct intent_op ops[60];

	for (int from = 0; from < count; from += 60) {
		int many = count - from < 60 ? count - from : 60;

		for (int i = 0; i < many; i++) {
			(void)snprintf(keys[i], sizeof keys[i], "pages/small/%05d", from + i);
			ops[i] = (struct intent_op){.kind = INTENT_OP_PUT, .key = keys[i], .value = keys[i], .length = 17};
		}
		if (intent_store_txn(store, ops, (size_t)many, NULL, &error))
			return error.code;
	}
	return 0;
}

static bool has(struct intent_store *store, const char *prefix, size_t count, size_t length)
{
	struct intent_snapshot *snapshot;
	bool good = !intent_store_list(store, prefix, INTENT_STRONGEST, &snapshot, &error);

	if (!good)
		return false;
	good = snapshot->count == count;
	for (size_t i = 0; i < snapshot->count; i++)
		good = good && snapshot->entries[i].length == length &&
			(!i || strcmp(snapshot->entries[i - 1].key, snapshot->entries[i].key) < 0);
	if (!good)
		(void)intent_fail(&error, -1, "%zu keys, wanted %zu", snapshot->count, count);
	intent_snapshot_unref(snapshot);
	return good;
}

static int pages(struct intent_store *store)
{
	intent_free_auto char *value = malloc(INTENT_VALUE_MAX);
	char key[32];
	int bad = 0, code = put_many(store, 1100);

	bad += ok(!code && has(store, "pages/small/", 1100, 17), "1100 keys are listed once each, in order");
	memset(value, 'v', INTENT_VALUE_MAX);
	for (int i = 0; i < 100 && !code; i++) {
		(void)snprintf(key, sizeof key, "pages/large/%03d", i);
		code = intent_store_put(store, key, value, INTENT_VALUE_MAX, &error);
	}
	/* As base64, more than the 64 MiB that one answer may have. */
	bool listed = !code && has(store, "pages/large/", 100, INTENT_VALUE_MAX);

	/* Consul has no pages: it must say so, and not run out of memory. */
	bad += intent_starts_with(intent_store_name(store), "etcd") ? ok(listed, "50 MiB are listed in smaller pages") :
		ok(!code && error.code == INTENT_ETOOBIG, "50 MiB are too much for one answer");
	return bad;
}

/* ---- watching more prefixes than there are connections ---- */

static int snapshots, timeouts;
static uv_loop_t loop;

static void on_snapshot(struct intent_watch *watch, struct intent_snapshot *snapshot, void *data)
{
	(void)watch, (void)data, (void)snapshot;
	snapshots++;
}

static void on_trouble(struct intent_watch *watch, const struct intent_error *err, void *data)
{
	(void)watch, (void)data;
	if (err->code)
		printf("# %s\n", err->msg);
}

static void on_time(uv_timer_t *timer)
{
	(void)timer;
	timeouts++;
}

static void run_for(uv_timer_t *timer, uint64_t ms, int until)
{
	int before = timeouts;

	uv_timer_start(timer, on_time, ms, 0);
	while (timeouts == before && (!until || snapshots < until))
		uv_run(&loop, UV_RUN_ONCE);
}

static int watch_them(struct intent_store *store, struct intent_store *writer, uv_timer_t *timer)
{
	char text[30][32];
	const char *prefixes[31] = {NULL};
	const struct intent_watch_events events = {on_snapshot, on_trouble, NULL};
	struct intent_watch *watch;
	struct rusage before, after;
	int bad = 0;

	for (int i = 0; i < 30; i++) {
		(void)snprintf(text[i], sizeof text[i], "many/%c/%02d/", 'a' + i % 5, i);
		prefixes[i] = text[i];
		char *key = intent_format("%sk", text[i]);

		if (intent_store_put(writer, key, "1", 1, &error))
			return ok(false, "30 keys are put");
		free(key);
	}
	if (intent_watch_start(store, prefixes, &events, &watch, &error))
		return ok(false, "30 prefixes are watched");
	run_for(timer, 20000, 1); /* only until it comes */
	bad += ok(snapshots == 1, "30 prefixes are watched");
	run_for(timer, 1500, 0);
	getrusage(RUSAGE_SELF, &before);
	run_for(timer, 3000, 0);
	getrusage(RUSAGE_SELF, &after);
	printf("# %ld switches in 3 s\n", after.ru_nvcsw - before.ru_nvcsw);
	bad += ok(after.ru_nvcsw - before.ru_nvcsw <= 2, "nothing changes, nothing wakes");
	bad += ok(!intent_store_put(writer, "other/key", "x", 1, &error) &&
		  !intent_store_put(writer, "many/a/99/k", "x", 1, &error), "others' keys are written");
	run_for(timer, 1500, 0);
	bad += ok(snapshots == 1, "which is no snapshot for us");
	bad += ok(!intent_store_put(writer, "many/c/17/k", "2", 1, &error), "one of ours is written");
	run_for(timer, 20000, 2);
	bad += ok(snapshots == 2, "which is one");
	intent_watch_stop(watch);
	return bad;
}

static int prefixes_of(const char *url, struct intent_store *writer)
{
	struct intent_store *store;
	uv_timer_t timer;
	int bad;

	uv_loop_init(&loop);
	uv_timer_init(&loop, &timer);
	if (intent_store_open(url, NULL, &store, &error) || intent_store_attach(store, &loop, &error))
		return ok(false, "open");
	bad = watch_them(store, writer, &timer);
	intent_store_close(store);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return bad + ok(!uv_loop_close(&loop), "the loop is left empty");
}

static int refused(struct intent_store *store)
{
	int code = intent_store_put(store, "forbidden", "x", 1, &error);

	printf("# %s\n", error.msg);
	return ok(code == INTENT_EREFUSED && strstr(error.msg, "forbidden"), "a refusal names the key");
}

int main(int argc, char **argv)
{
	struct intent_store *store;
	int bad = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 3 || intent_store_open(argv[2], NULL, &store, &error)) {
		fprintf(stderr, "usage: remote pages|prefixes|refused URL\n%s\n", error.msg);
		return 2;
	}
	if (!strcmp(argv[1], "pages"))
		bad = pages(store);
	else if (!strcmp(argv[1], "prefixes"))
		bad = prefixes_of(argv[2], store);
	else if (!strcmp(argv[1], "refused"))
		bad = refused(store);
	intent_store_close(store);
	return bad != 0;
}
