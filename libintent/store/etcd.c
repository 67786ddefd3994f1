/* The etcd engine: operations of the contract as tasks; the watch is in etcd-watch.c. */
#include <inttypes.h>
#include "etcd.h"

/* ---- every request: version, login, work ---- */

bool intent__etcd_trust(struct intent__etcd *etcd, const struct intent__etcd_header *header,
			uint64_t floor, struct intent_error *err)
{
	struct intent__remote *remote = &etcd->remote;
	bool other = etcd->cluster[0] && header->cluster[0] && strcmp(etcd->cluster, header->cluster);
	bool all = true;

	if (!other && header->revision >= floor) {
		memset(etcd->doubts, 0, sizeof etcd->doubts);
	} else {
		etcd->doubts[remote->at]++;
		for (size_t i = 0; i < remote->count; i++)
			all = all && etcd->doubts[i] >= (remote->count > 1 ? 1 : 2);
		if (!all) {
			(void)intent_fail(err, INTENT_EUNAVAILABLE,
				other ? "%s belongs to another cluster (%s, not %s): check the addresses" :
				"%s is behind: its revision is lower than one already seen",
				remote->endpoints[remote->at], header->cluster, etcd->cluster);
			return false;
		}
		memset(etcd->doubts, 0, sizeof etcd->doubts);
		etcd->highest = 0;
		etcd->cluster[0] = '\0';
	}
	if (!etcd->cluster[0])
		memcpy(etcd->cluster, header->cluster, sizeof etcd->cluster);
	if (header->revision > etcd->highest)
		etcd->highest = header->revision;
	return true;
}

static int build(struct intent__task *base, struct intent__call *call, struct intent_error *err)
{
	struct intent__etcd_task *task = (struct intent__etcd_task *)base;
	struct intent__etcd *etcd = task->etcd;
	const char *api = etcd->apis[etcd->remote.at];

	call->timeout_ms = task->timeout_ms;
	if (!api) {
		task->phase = INTENT__ETCD_AT_VERSION;
		intent__etcd_version(call);
		return 0;
	}
	if (etcd->user && !etcd->token && !etcd->open) {
		task->phase = INTENT__ETCD_AT_LOGIN;
		intent__etcd_authenticate(call, api, etcd->user, etcd->password ? etcd->password : "");
		return 0;
	}
	task->phase = INTENT__ETCD_AT_WORK;
	task->floor = etcd->highest;
	return task->write(task, api, call, err);
}

static void forget_token(struct intent__etcd *etcd)
{
	if (etcd->token)
		explicit_bzero(etcd->token, strlen(etcd->token));
	free(etcd->token);
	etcd->token = NULL;
	etcd->open = false;
}

static enum intent__verdict parse_login(struct intent__etcd_task *task,
					const struct intent_http_response *response, struct intent_error *err)
{
	struct intent__etcd *etcd = task->etcd;
	intent_json_auto json_t *root = NULL;

	if (intent__etcd_reply(response, false, &root, err) == INTENT__ETCD_FINE) {
		const char *token = intent_json_string(root, "token", NULL);

		forget_token(etcd);
		etcd->token = token && !strpbrk(token, "\r\n") ? strdup(token) : NULL;
		if (etcd->token)
			return INTENT__MORE;
		(void)intent_fail(err, INTENT_EUNAVAILABLE, "etcd gives no token");
		return INTENT__FAILED;
	}
	if (strstr(err->msg, "authentication is not enabled")) {
		etcd->open = true;
		return INTENT__MORE;
	}
	(void)intent_wrap(err, "log in as %.64s", etcd->user);
	return err->code == INTENT_EREFUSED ? INTENT__FAILED : INTENT__ELSEWHERE;
}

static bool shrink(struct intent__task *base)
{
	struct intent__etcd_task *task = (struct intent__etcd_task *)base;

	if (task->range.limit <= 1)
		return false;
	task->range.limit /= 8;
	return true;
}

static void restart_range(struct intent__etcd_task *task)
{
	free(task->after);
	task->after = NULL;
	task->range.after = NULL;
	task->range.revision = 0;
	intent_snapshot_unref(task->snapshot);
	task->snapshot = NULL;
}

static enum intent__verdict parse_work(struct intent__etcd_task *task,
				       const struct intent_http_response *response, struct intent_error *err)
{
	struct intent__etcd *etcd = task->etcd;
	intent_json_auto json_t *root = NULL;
	struct intent__etcd_header header;

	switch (intent__etcd_reply(response, task->task.call.writes, &root, err)) {
	case INTENT__ETCD_FINE:
		intent__etcd_header(root, &header);
		/* A member's own state may rightly be behind another's. */
		if (header.cluster[0] && !intent__etcd_trust(etcd, &header,
				task->range.serializable ? 0 : task->floor, err)) {
			if (task->task.call.writes)
				err->code = INTENT_EUNKNOWN;
			/* The only one is asked again at once. */
			return task->task.call.writes ? INTENT__FAILED :
				etcd->remote.count == 1 ? INTENT__MORE : INTENT__ELSEWHERE;
		}
		return task->read(task, root, &header, err);
	case INTENT__ETCD_AUTHENTICATE:
		forget_token(etcd);
		return etcd->user && task->logins++ < 2 ? INTENT__MORE : INTENT__FAILED;
	case INTENT__ETCD_PROBE:
		etcd->apis[etcd->remote.at] = NULL;
		return task->probes++ < 2 ? INTENT__MORE : INTENT__ELSEWHERE;
	case INTENT__ETCD_COMPACTED:
		if (task->fixed || task->restarts++ >= 3)
			return INTENT__FAILED;
		restart_range(task);
		return INTENT__MORE;
	case INTENT__ETCD_TOO_LARGE:
		return shrink(&task->task) ? INTENT__MORE : INTENT__FAILED;
	case INTENT__ETCD_ELSEWHERE:
		return INTENT__ELSEWHERE;
	case INTENT__ETCD_FAILED:
		break;
	}
	if (err->code != INTENT_EABSENT || !task->absent_is_fine)
		return INTENT__FAILED;
	err->code = 0;
	return INTENT__DONE;
}

static enum intent__verdict parse(struct intent__task *base, const struct intent_http_response *response,
				  struct intent_error *err)
{
	struct intent__etcd_task *task = (struct intent__etcd_task *)base;
	size_t at = task->etcd->remote.at;

	switch (task->phase) {
	case INTENT__ETCD_AT_VERSION:
		if (intent__etcd_api(response, &task->etcd->apis[at], err))
			return INTENT__ELSEWHERE;
		return INTENT__MORE;
	case INTENT__ETCD_AT_LOGIN:
		return parse_login(task, response, err);
	default:
		return parse_work(task, response, err);
	}
}

static void free_task(struct intent__task *base)
{
	struct intent__etcd_task *task = (struct intent__etcd_task *)base;

	free(task->key);
	free(task->after);
	free(task->ops);
	free(task->id);
	intent_snapshot_unref(task->snapshot);
	free(task);
}

static void on_task_done(struct intent__task *base, const struct intent_error *err)
{
	struct intent__etcd_task *task = (struct intent__etcd_task *)base;

	if (task->on_done)
		task->on_done(task->etcd->store, task->revision, err->code ? NULL : task->id, err, task->data);
	else
		task->finished(task, err);
}

static struct intent__etcd_task *new_task(struct intent__etcd *etcd)
{
	struct intent__etcd_task *task = calloc(1, sizeof *task);

	task->etcd = etcd;
	task->task = (struct intent__task){
		.remote = &etcd->remote, .build = build, .parse = parse, .free = free_task,
		.on_done = on_task_done,
	};
	return task;
}

/* ---- reading ---- */

static int write_range(struct intent__etcd_task *task, const char *api, struct intent__call *call,
		       struct intent_error *err)
{
	(void)err;
	call->fresh = task->fresh && !task->range.after;
	intent__etcd_range(call, api, &task->range);
	return 0;
}

static enum intent__verdict read_range(struct intent__etcd_task *task, const json_t *root,
				       const struct intent__etcd_header *header, struct intent_error *err)
{
	bool more = false;

	if (!task->snapshot) {
		task->snapshot = intent_snapshot_new();
		/* Further pages are of this very revision, which this member has. */
		if (!task->range.revision)
			task->range.revision = header->revision;
		task->snapshot->revision = task->range.revision;
		task->range.serializable = true;
	}
	if (intent__etcd_read_range(root, task->snapshot, &more, err))
		return INTENT__FAILED;
	if (!more) {
		intent_snapshot_sort(task->snapshot);
		return INTENT__DONE;
	}
	/* From the answer, not from the snapshot: its last key may be one that is not ours to see. */
	const json_t *kvs = json_object_get(root, "kvs");
	const char *last = intent_json_string(json_array_get(kvs, json_array_size(kvs) - 1), "key", "");
	struct intent_text key = INTENT_TEXT_INIT;

	if (intent_base64_decode(&key, last, strlen(last), err) || !key.length) {
		intent_text_release(&key);
		(void)intent_fail(err, INTENT_EMALFORMED, "etcd: a page ends in a key without name");
		return INTENT__FAILED;
	}
	free(task->after);
	task->range.after_length = key.length;
	task->range.after = task->after = intent_text_steal(&key);
	return INTENT__MORE;
}

struct intent__etcd_task *intent__etcd_list_task(struct intent__etcd *etcd, const char *key, bool exact)
{
	struct intent__etcd_task *task = new_task(etcd);

	task->key = strdup(key);
	task->range = (struct intent__etcd_range){
		.key = task->key, .exact = exact, .limit = exact ? 0 : INTENT__ETCD_PAGE,
	};
	task->task.shrink = shrink;
	task->write = write_range;
	task->read = read_range;
	return task;
}

static enum intent__verdict read_look(struct intent__etcd_task *task, const json_t *root,
				      const struct intent__etcd_header *header, struct intent_error *err)
{
	(void)root;
	task->revision = header->revision;
	if (header->revision)
		return INTENT__DONE;
	(void)intent_fail(err, INTENT_EUNAVAILABLE, "etcd's answer has no revision");
	return INTENT__ELSEWHERE;
}

struct intent__etcd_task *intent__etcd_look_task(struct intent__etcd *etcd, const char *key)
{
	struct intent__etcd_task *task = intent__etcd_list_task(etcd, key, false);

	task->range.only_look = true;
	task->read = read_look;
	return task;
}

static int etcd_read(struct intent_store *store, const char *key, bool exact,
		     enum intent_consistency consistency, struct intent_snapshot **ret_owned,
		     struct intent_error *err)
{
	struct intent__etcd_task *task = intent__etcd_list_task(store->state, key, exact);

	task->fresh = consistency == INTENT_STRONGEST;
	int code = intent__task_perform(&task->task, err);

	if (!code) {
		*ret_owned = task->snapshot;
		task->snapshot = NULL;
	}
	intent__task_cancel(&task->task);
	return code;
}

/* ---- writing ---- */

static int write_txn(struct intent__etcd_task *task, const char *api, struct intent__call *call,
		     struct intent_error *err)
{
	return intent__etcd_txn(call, api, task->ops, task->count, err);
}

static enum intent__verdict read_txn(struct intent__etcd_task *task, const json_t *root,
				     const struct intent__etcd_header *header, struct intent_error *err)
{
	task->revision = header->revision;
	return intent__etcd_read_txn(root, task->ops, task->count, err) ? INTENT__FAILED : INTENT__DONE;
}

static struct intent__etcd_task *txn_task(struct intent__etcd *etcd, const struct intent_op *ops, size_t count)
{
	struct intent__etcd_task *task = new_task(etcd);

	task->ops = intent__ops_copy(ops, count);
	task->count = count;
	task->write = write_txn;
	task->read = read_txn;
	return task;
}

static int etcd_txn(struct intent_store *store, const struct intent_op *ops, size_t count,
		    uint64_t *ret_revision, struct intent_error *err)
{
	struct intent__etcd_task *task = txn_task(store->state, ops, count);
	int code = intent__task_perform(&task->task, err);

	if (!code && ret_revision)
		*ret_revision = task->revision;
	intent__task_cancel(&task->task);
	return code;
}

/* ---- sessions ---- */

static int write_grant(struct intent__etcd_task *task, const char *api, struct intent__call *call,
		       struct intent_error *err)
{
	(void)err;
	intent__etcd_grant(call, api, task->ttl_ms);
	return 0;
}

static enum intent__verdict read_grant(struct intent__etcd_task *task, const json_t *root,
				       const struct intent__etcd_header *header, struct intent_error *err)
{
	(void)header;
	return intent__etcd_read_grant(root, &task->id, err) ? INTENT__FAILED : INTENT__DONE;
}

static int write_keepalive(struct intent__etcd_task *task, const char *api, struct intent__call *call,
			   struct intent_error *err)
{
	if (!intent__etcd_is_lease(task->id))
		return intent_fail(err, INTENT_EABSENT, "session \"%s\" is no lease of etcd: open another", task->id);
	intent__etcd_keepalive(call, api, task->id);
	return 0;
}

static enum intent__verdict read_keepalive(struct intent__etcd_task *task, const json_t *root,
					   const struct intent__etcd_header *header, struct intent_error *err)
{
	(void)header;
	return intent__etcd_read_keepalive(root, task->id, err) ? INTENT__FAILED : INTENT__DONE;
}

static int write_revoke(struct intent__etcd_task *task, const char *api, struct intent__call *call,
			struct intent_error *err)
{
	(void)err;
	intent__etcd_revoke(call, api, intent__etcd_is_lease(task->id) ? task->id : "1");
	return 0;
}

static enum intent__verdict read_nothing(struct intent__etcd_task *task, const json_t *root,
					 const struct intent__etcd_header *header, struct intent_error *err)
{
	(void)task, (void)root, (void)header, (void)err;
	return INTENT__DONE;
}

enum session_kind { OPEN, RENEW, CLOSE };

static struct intent__etcd_task *session_task(struct intent__etcd *etcd, enum session_kind kind,
					      const char *id, int64_t ttl_ms)
{
	struct intent__etcd_task *task = new_task(etcd);

	task->id = id ? strdup(id) : NULL;
	task->ttl_ms = ttl_ms;
	task->write = kind == OPEN ? write_grant : kind == RENEW ? write_keepalive : write_revoke;
	task->read = kind == OPEN ? read_grant : kind == RENEW ? read_keepalive : read_nothing;
	task->absent_is_fine = kind == CLOSE;
	return task;
}

static int etcd_session_open(struct intent_store *store, int64_t ttl_ms, char **ret_id_owned,
			     struct intent_error *err)
{
	struct intent__etcd_task *task = session_task(store->state, OPEN, NULL, ttl_ms);
	int code = intent__task_perform(&task->task, err);

	if (!code) {
		*ret_id_owned = task->id;
		task->id = NULL;
	}
	intent__task_cancel(&task->task);
	return code;
}

static int etcd_session_renew(struct intent_store *store, const char *id, struct intent_error *err)
{
	struct intent__etcd_task *task = session_task(store->state, RENEW, id, 0);
	int code = intent__task_perform(&task->task, err);

	intent__task_cancel(&task->task);
	return code;
}

static int etcd_session_close(struct intent_store *store, const char *id, struct intent_error *err)
{
	struct intent__etcd_task *task = session_task(store->state, CLOSE, id, 0);
	int code = intent__task_perform(&task->task, err);

	intent__task_cancel(&task->task);
	return code;
}

/* ---- on a loop ---- */

static void etcd_attach(struct intent_store *store, uv_loop_t *loop)
{
	struct intent__etcd *etcd = store->state;

	intent__remote_attach(&etcd->remote, loop);
}

static int begin(struct intent__etcd_task *task, intent_store_done on_done, void *data,
		 struct intent_error *err)
{
	task->on_done = on_done;
	task->data = data;
	int code = intent__task_start(&task->task, err);

	if (code)
		intent__task_cancel(&task->task);
	return code;
}

static int etcd_txn_start(struct intent_store *store, const struct intent_op *ops, size_t count,
			  intent_store_done on_done, void *data, struct intent_error *err)
{
	return begin(txn_task(store->state, ops, count), on_done, data, err);
}

static int etcd_session_open_start(struct intent_store *store, int64_t ttl_ms, intent_store_done on_done,
				   void *data, struct intent_error *err)
{
	return begin(session_task(store->state, OPEN, NULL, ttl_ms), on_done, data, err);
}

static int etcd_session_renew_start(struct intent_store *store, const char *id, intent_store_done on_done,
				    void *data, struct intent_error *err)
{
	return begin(session_task(store->state, RENEW, id, 0), on_done, data, err);
}

static int etcd_session_close_start(struct intent_store *store, const char *id, intent_store_done on_done,
				    void *data, struct intent_error *err)
{
	return begin(session_task(store->state, CLOSE, id, 0), on_done, data, err);
}

/* ---- opening ---- */

static void add_headers(struct intent__remote *remote, struct intent__headers *out)
{
	const struct intent__etcd *etcd = remote->engine;

	/* Without it, a member that has lost its leader is silent for 7 s, a watch for ever. */
	intent__headers_add(out, "Grpc-Metadata-hasleader: true");
	if (etcd->token)
		intent__headers_add(out, "Authorization: %s", etcd->token);
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void etcd_close(struct intent_store *store)
{
	struct intent__etcd *etcd = store->state;

	store->state = NULL;
	intent__remote_close(&etcd->remote);
	forget_token(etcd);
	free(etcd->user);
	wipe(etcd->password);
	free(etcd);
}

/* ETCDCTL_USER is "user:password", or "user" and ETCDCTL_PASSWORD. */
static void read_user(struct intent__etcd *etcd)
{
	const char *user = intent__env("ETCDCTL_USER"), *password = intent__env("ETCDCTL_PASSWORD");

	if (!user)
		return;
	const char *colon = password ? NULL : strchr(user, ':');

	etcd->user = strndup(user, colon ? (size_t)(colon - user) : strlen(user));
	etcd->password = strdup(colon ? colon + 1 : password ? password : "");
}

static int open_as(struct intent_store *store, const char *scheme, const char *url, const char *rest,
		   struct intent_error *err)
{
	struct intent_http_settings settings = {
		.ca_file = intent__env("ETCDCTL_CACERT"),
		.cert_file = intent__env("ETCDCTL_CERT"),
		.key_file = intent__env("ETCDCTL_KEY"),
		.ca_option = "ETCDCTL_CACERT",
		.cert_option = "ETCDCTL_CERT and ETCDCTL_KEY",
		.insecure = intent__env_true("ETCDCTL_INSECURE_SKIP_TLS_VERIFY"),
	};
	struct intent__etcd *etcd = calloc(1, sizeof *etcd);
	const char *dial = intent__env("ETCDCTL_DIAL_TIMEOUT");

	etcd->store = store;
	etcd->remote.engine = etcd;
	etcd->remote.scheme = scheme;
	etcd->remote.headers = add_headers;
	store->state = etcd;
	int code = dial ? intent_duration_parse(dial, &etcd->remote.connect_timeout_ms, err) : 0;

	if (code)
		(void)intent_wrap(err, "ETCDCTL_DIAL_TIMEOUT");
	else
		code = intent__remote_open(&etcd->remote, rest, 2379, &settings, err);
	if (code) {
		etcd_close(store);
		return intent_wrap(err, "%.200s", strchr(url, '@') ? "etcd" : url);
	}
	store->name = strdup(url);
	read_user(etcd);
	return 0;
}

static int etcd_open(struct intent_store *store, const char *url, const char *rest, struct intent_error *err)
{
	return open_as(store, "http", url, rest, err);
}

static int etcd_open_tls(struct intent_store *store, const char *url, const char *rest, struct intent_error *err)
{
	return open_as(store, "https", url, rest, err);
}

#define METHODS \
	.close = etcd_close, .read = etcd_read, .txn = etcd_txn, \
	.session_open = etcd_session_open, .session_renew = etcd_session_renew, \
	.session_close = etcd_session_close, .session_beats = true, .attach = etcd_attach, \
	.txn_start = etcd_txn_start, .session_open_start = etcd_session_open_start, \
	.session_renew_start = etcd_session_renew_start, \
	.session_close_start = etcd_session_close_start, \
	.watch_start = intent__etcd_watch_start, .watch_set = intent__etcd_watch_set, \
	.watch_refresh = intent__etcd_watch_refresh, .watch_stop = intent__etcd_watch_stop

const struct intent__engine intent__engine_etcd = {.scheme = "etcd://", .open = etcd_open, METHODS};
const struct intent__engine intent__engine_etcd_tls = {.scheme = "etcd+https://", .open = etcd_open_tls, METHODS};
