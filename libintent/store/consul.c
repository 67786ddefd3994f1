/* The Consul engine: operations of the contract as tasks; the watch is in consul-watch.c. */
#include <fcntl.h>
#include <intent/file.h>
#include "consul.h"

static void free_task(struct intent__task *base)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	free(task->key);
	free(task->ops);
	free(task->id);
	intent_snapshot_unref(task->snapshot);
	free(task);
}

static void on_task_done(struct intent__task *base, const struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	if (task->on_done)
		task->on_done(task->consul->store, task->revision, err->code ? NULL : task->id, err, task->data);
	else
		task->finished(task, err);
}

typedef int build_function(struct intent__task *task, struct intent__call *call, struct intent_error *err);
typedef enum intent__verdict parse_function(struct intent__task *task,
					    const struct intent_http_response *response,
					    struct intent_error *err);

static struct intent__consul_task *new_task(struct intent__consul *consul, build_function *build,
					    parse_function *parse)
{
	struct intent__consul_task *task = calloc(1, sizeof *task);

	task->consul = consul;
	task->task = (struct intent__task){
		.remote = &consul->remote, .build = build, .parse = parse, .free = free_task,
		.on_done = on_task_done,
	};
	return task;
}

/* A fault of this moment is tried again where the shell has tries left. */
static enum intent__verdict verdict_of(int code)
{
	return !code ? INTENT__DONE : code == INTENT_EUNAVAILABLE ? INTENT__ELSEWHERE : INTENT__FAILED;
}

/* ---- reading ---- */

static int build_read(struct intent__task *base, struct intent__call *call, struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	(void)err;
	if (task->exact)
		intent__consul_get(call, task->key, task->consistent);
	else
		intent__consul_list(call, task->key, task->consistent, task->index);
	call->fresh = task->consistent && !task->consul->remote.loop;
	return 0;
}

static enum intent__verdict parse_read(struct intent__task *base, const struct intent_http_response *response,
				       struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	return verdict_of(intent__consul_read_kv(response, task->key, task->exact, &task->snapshot, err));
}

struct intent__consul_task *intent__consul_read_task(struct intent__consul *consul, const char *key,
						     bool exact, bool consistent)
{
	struct intent__consul_task *task = new_task(consul, build_read, parse_read);

	task->key = strdup(key);
	task->exact = exact;
	task->consistent = consistent;
	return task;
}

static int consul_read(struct intent_store *store, const char *key, bool exact,
		       enum intent_consistency consistency, struct intent_snapshot **ret_owned,
		       struct intent_error *err)
{
	struct intent__consul_task *task = intent__consul_read_task(store->state, key, exact,
								    consistency == INTENT_STRONGEST);
	int code = intent__task_perform(&task->task, err);

	if (!code) {
		*ret_owned = task->snapshot;
		task->snapshot = NULL;
	}
	intent__task_cancel(&task->task);
	return code;
}

/* ---- writing ---- */

static const struct intent_op *first_put(const struct intent__consul_task *task)
{
	size_t i = 0;

	while (i + 1 < task->count && task->ops[i].kind != INTENT_OP_PUT)
		i++;
	return &task->ops[i];
}

static int build_txn(struct intent__task *base, struct intent__call *call, struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	(void)err;
	if (task->raw) { /* written; only its revision is still wanted */
		intent__consul_get(call, first_put(task)->key, true);
		return 0;
	}
	if (task->bound) {
		task->taken = intent__consul_free(call, &task->map, task->ops, task->count, task->bound,
						  task->revisions, task->absent);
		return 0;
	}
	intent__consul_txn(call, &task->map, task->ops, task->count, task->clear);
	if (call->body.length <= INTENT__CONSUL_TXN_BYTES)
		return 0;
	struct intent__call raw = {0};

	if (intent__consul_raw_put(&raw, task->ops, task->count)) {
		intent__call_release(call);
		*call = raw;
	}
	return 0;
}

/* Somebody has written the key since: what was put is overwritten, and so is its session. */
static enum intent__verdict parse_free(struct intent__consul_task *task,
				       const struct intent_http_response *response, struct intent_error *err)
{
	struct intent__consul_outcome outcome;
	int code = intent__consul_read_txn(response, &task->map, task->ops, task->count, true, &outcome, err);

	if (code && code != INTENT_ECONFLICT)
		return INTENT__FAILED;
	if (outcome.gone && !task->absent) {
		task->absent = true;
		return INTENT__MORE;
	}
	if (outcome.revision > task->revision)
		task->revision = outcome.revision;
	task->absent = false;
	task->bound &= ~task->taken;
	return task->bound ? INTENT__MORE : INTENT__DONE;
}

static enum intent__verdict parse_raw(struct intent__consul_task *task,
				      const struct intent_http_response *response, struct intent_error *err)
{
	const struct intent_op *put = first_put(task);
	struct intent_snapshot *snapshot;

	if (!task->raw) {
		if (intent__consul_read_raw_put(response, task->ops, task->count, err))
			return INTENT__FAILED;
		task->raw = true;
		return INTENT__MORE;
	}
	if (intent__consul_read_kv(response, put->key, true, &snapshot, err))
		return INTENT__ELSEWHERE;
	if (snapshot->count)
		task->revision = snapshot->entries[0].revision;
	intent_snapshot_unref(snapshot);
	return INTENT__DONE;
}

static enum intent__verdict parse_txn(struct intent__task *base, const struct intent_http_response *response,
				      struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;
	struct intent__consul_outcome outcome;

	if (task->raw || intent_starts_with(intent_text_str(&task->task.call.path), "/v1/kv/"))
		return parse_raw(task, response, err);
	if (task->bound)
		return parse_free(task, response, err);
	int code = intent__consul_read_txn(response, &task->map, task->ops, task->count,
					   task->task.call.writes, &outcome, err);

	if (code)
		return code == INTENT_EUNAVAILABLE ? INTENT__ELSEWHERE : INTENT__FAILED;
	if (outcome.gone) {
		(void)intent_fail(err, INTENT_EUNAVAILABLE, "Consul refuses the transaction: a key vanished");
		return INTENT__ELSEWHERE;
	}
	if (outcome.held & ~task->clear) {
		task->clear |= outcome.held;
		return INTENT__MORE;
	}
	task->revision = outcome.revision;
	task->bound = outcome.bound;
	memcpy(task->revisions, outcome.revisions, sizeof task->revisions);
	return task->bound ? INTENT__MORE : INTENT__DONE;
}

static struct intent__consul_task *txn_task(struct intent__consul *consul, const struct intent_op *ops,
					    size_t count)
{
	struct intent__consul_task *task = new_task(consul, build_txn, parse_txn);

	task->ops = intent__ops_copy(ops, count);
	task->count = count;
	return task;
}

static int consul_txn(struct intent_store *store, const struct intent_op *ops, size_t count,
		      uint64_t *ret_revision, struct intent_error *err)
{
	struct intent__consul_task *task = txn_task(store->state, ops, count);
	int code = intent__task_perform(&task->task, err);

	if (!code && ret_revision)
		*ret_revision = task->revision;
	intent__task_cancel(&task->task);
	return code;
}

/* ---- sessions ---- */

static int build_create(struct intent__task *base, struct intent__call *call, struct intent_error *err)
{
	(void)err;
	intent__consul_session_create(call, ((struct intent__consul_task *)base)->ttl_ms);
	return 0;
}

static enum intent__verdict parse_create(struct intent__task *base, const struct intent_http_response *response,
					 struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	return verdict_of(intent__consul_read_session(response, &task->id, err));
}

static int build_renew(struct intent__task *base, struct intent__call *call, struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	if (!intent__consul_is_session(task->id))
		return intent_fail(err, INTENT_EABSENT, "session \"%s\" is none of Consul's: open another", task->id);
	intent__consul_session_renew(call, task->id);
	return 0;
}

static enum intent__verdict parse_renew(struct intent__task *base, const struct intent_http_response *response,
					struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	if (response->status == 404 && strstr(intent_text_str(&response->body), "not found")) {
		(void)intent_fail(err, INTENT_EABSENT, "session %s is gone: open another", task->id);
		return INTENT__FAILED;
	}
	return verdict_of(response->status == 200 ? 0 : intent__consul_error(response, false, err));
}

static int build_destroy(struct intent__task *base, struct intent__call *call, struct intent_error *err)
{
	struct intent__consul_task *task = (struct intent__consul_task *)base;

	(void)err;
	intent__consul_session_destroy(call, task->id);
	return 0;
}

static enum intent__verdict parse_destroy(struct intent__task *base, const struct intent_http_response *response,
					  struct intent_error *err)
{
	int code;

	(void)base;
	if (response->status == 200)
		return INTENT__DONE;
	code = intent__consul_error(response, false, err);
	return code == INTENT_EABSENT ? INTENT__DONE : verdict_of(code);
}

static struct intent__consul_task *session_task(struct intent__consul *consul, build_function *build,
						parse_function *parse, const char *id, int64_t ttl_ms)
{
	struct intent__consul_task *task = new_task(consul, build, parse);

	task->id = id ? strdup(id) : NULL;
	task->ttl_ms = ttl_ms;
	return task;
}

static int consul_session_open(struct intent_store *store, int64_t ttl_ms, char **ret_id_owned,
			       struct intent_error *err)
{
	struct intent__consul_task *task = session_task(store->state, build_create, parse_create, NULL, ttl_ms);
	int code = intent__task_perform(&task->task, err);

	if (!code) {
		*ret_id_owned = task->id;
		task->id = NULL;
	}
	intent__task_cancel(&task->task);
	return code;
}

static int consul_session_renew(struct intent_store *store, const char *id, struct intent_error *err)
{
	struct intent__consul_task *task = session_task(store->state, build_renew, parse_renew, id, 0);
	int code = intent__task_perform(&task->task, err);

	intent__task_cancel(&task->task);
	return code;
}

static int consul_session_close(struct intent_store *store, const char *id, struct intent_error *err)
{
	struct intent__consul_task *task = session_task(store->state, build_destroy, parse_destroy, id, 0);
	int code = intent__task_perform(&task->task, err);

	intent__task_cancel(&task->task);
	return code;
}

/* ---- on a loop ---- */

static void consul_attach(struct intent_store *store, uv_loop_t *loop)
{
	struct intent__consul *consul = store->state;

	intent__remote_attach(&consul->remote, loop);
}

static int begin(struct intent__consul_task *task, intent_store_done on_done, void *data,
		 struct intent_error *err)
{
	task->on_done = on_done;
	task->data = data;
	int code = intent__task_start(&task->task, err);

	if (code)
		intent__task_cancel(&task->task);
	return code;
}

static int consul_txn_start(struct intent_store *store, const struct intent_op *ops, size_t count,
			    intent_store_done on_done, void *data, struct intent_error *err)
{
	return begin(txn_task(store->state, ops, count), on_done, data, err);
}

static int consul_session_open_start(struct intent_store *store, int64_t ttl_ms, intent_store_done on_done,
				     void *data, struct intent_error *err)
{
	return begin(session_task(store->state, build_create, parse_create, NULL, ttl_ms), on_done, data, err);
}

static int consul_session_renew_start(struct intent_store *store, const char *id, intent_store_done on_done,
				      void *data, struct intent_error *err)
{
	return begin(session_task(store->state, build_renew, parse_renew, id, 0), on_done, data, err);
}

static int consul_session_close_start(struct intent_store *store, const char *id, intent_store_done on_done,
				      void *data, struct intent_error *err)
{
	return begin(session_task(store->state, build_destroy, parse_destroy, id, 0), on_done, data, err);
}

/* ---- opening ---- */

static void wipe(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	free(*secret);
	*secret = NULL;
}

/* Each time, so that a rotated token counts from the next request on; unreadable: the last one. */
static void refresh_token(struct intent__consul *consul)
{
	struct intent_error ignored;
	char *text;
	size_t length;

	if (!consul->token_file ||
	    intent_file_read(AT_FDCWD, consul->token_file, 4096, &text, &length, &ignored))
		return;
	wipe(&consul->token);
	text[strcspn(text, " \t\r\n")] = '\0';
	consul->token = text;
}

static void add_headers(struct intent__remote *remote, struct intent__headers *out)
{
	struct intent__consul *consul = remote->engine;

	refresh_token(consul);
	/* Never in the URL: those are logged. */
	if (consul->token && *consul->token)
		intent__headers_add(out, "X-Consul-Token: %s", consul->token);
	if (consul->basic)
		intent__headers_add(out, "Authorization: Basic %s", consul->basic);
	if (consul->name_space)
		intent__headers_add(out, "X-Consul-Namespace: %s", consul->name_space);
}

static void consul_close(struct intent_store *store)
{
	struct intent__consul *consul = store->state;

	store->state = NULL;
	intent__remote_close(&consul->remote);
	wipe(&consul->token);
	wipe(&consul->basic);
	free(consul->token_file);
	free(consul->name_space);
	free(consul);
}

static bool copy_env(char **ret, const char *name)
{
	const char *value = intent__env(name);

	if (value && strpbrk(value, "\r\n"))
		return false;
	*ret = value ? strdup(value) : NULL;
	return true;
}

static bool read_environment(struct intent__consul *consul)
{
	const char *basic = intent__env("CONSUL_HTTP_AUTH");
	struct intent_text encoded = INTENT_TEXT_INIT;

	if (basic) {
		intent_base64_encode(&encoded, basic, strlen(basic));
		consul->basic = intent_text_steal(&encoded);
	}
	return copy_env(&consul->token, "CONSUL_HTTP_TOKEN") &&
		copy_env(&consul->token_file, "CONSUL_HTTP_TOKEN_FILE") &&
		copy_env(&consul->name_space, "CONSUL_NAMESPACE");
}

static int open_as(struct intent_store *store, bool tls, const char *url, const char *rest,
		   struct intent_error *err)
{
	const char *verify = intent__env("CONSUL_HTTP_SSL_VERIFY");
	struct intent_http_settings settings = {
		.ca_file = intent__env("CONSUL_CACERT"),
		.ca_directory = intent__env("CONSUL_CAPATH"),
		.cert_file = intent__env("CONSUL_CLIENT_CERT"),
		.key_file = intent__env("CONSUL_CLIENT_KEY"),
		.ca_option = "CONSUL_CACERT",
		.cert_option = "CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY",
		.server_name = intent__env("CONSUL_TLS_SERVER_NAME"),
		.insecure = verify && !intent__env_true("CONSUL_HTTP_SSL_VERIFY"),
	};
	struct intent__consul *consul = calloc(1, sizeof *consul);

	consul->store = store;
	consul->remote.engine = consul;
	consul->remote.scheme = tls || intent__env_true("CONSUL_HTTP_SSL") ? "https" : "http";
	consul->remote.headers = add_headers;
	store->state = consul;
	if (intent__remote_open(&consul->remote, rest, 8500, &settings, err)) {
		consul_close(store);
		return intent_wrap(err, "%.200s", strchr(url, '@') ? "consul" : url);
	}
	store->name = strdup(url);
	if (!read_environment(consul)) {
		consul_close(store);
		return intent_fail(err, INTENT_EUSAGE, "CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE or "
				   "CONSUL_NAMESPACE holds a line's end");
	}
	return 0;
}

static int consul_open(struct intent_store *store, const char *url, const char *rest, struct intent_error *err)
{
	return open_as(store, false, url, rest, err);
}

static int consul_open_tls(struct intent_store *store, const char *url, const char *rest,
			   struct intent_error *err)
{
	return open_as(store, true, url, rest, err);
}

#define METHODS \
	.close = consul_close, .read = consul_read, .txn = consul_txn, \
	.session_open = consul_session_open, .session_renew = consul_session_renew, \
	.session_close = consul_session_close, .session_beats = true, .attach = consul_attach, \
	.txn_start = consul_txn_start, .session_open_start = consul_session_open_start, \
	.session_renew_start = consul_session_renew_start, \
	.session_close_start = consul_session_close_start, \
	.watch_start = intent__consul_watch_start, .watch_set = intent__consul_watch_set, \
	.watch_refresh = intent__consul_watch_refresh, .watch_stop = intent__consul_watch_stop

const struct intent__engine intent__engine_consul = {.scheme = "consul://", .open = consul_open, METHODS};
const struct intent__engine intent__engine_consul_tls = {
	.scheme = "consul+https://", .open = consul_open_tls, METHODS
};
