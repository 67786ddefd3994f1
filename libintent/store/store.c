/*
 * The store's front: arguments are checked and the store's key prefix is added and
 * stripped here, once for every engine. Which store is meant: url.c.
 */
#include <sys/random.h>

#include "engine.h"

static const struct intent__engine *const engines[] = {
	&intent__engine_dir, &intent__engine_consul, &intent__engine_consul_tls,
	&intent__engine_etcd, &intent__engine_etcd_tls,
};

/* ---- arguments ---- */

int intent__key_check(const char *key, struct intent_error *err)
{
	size_t length = key ? strlen(key) : 0;

	if (!length)
		return intent_fail(err, INTENT_EUSAGE, "a key may not be empty");
	for (size_t i = 0; i < length; i++) {
		if (key[i] < 0x20 || key[i] > 0x7e)
			return intent_fail(err, INTENT_EUSAGE,
					   "key %.80s: byte %zu is not printable ASCII; "
					   "use letters, digits and . _ - /", key, i);
	}
	if (length > INTENT_KEY_MAX)
		return intent_fail(err, INTENT_EUSAGE, "key %.40s...: %zu bytes, at most %d are "
				   "allowed", key, length, INTENT_KEY_MAX);
	return 0;
}

/* key -> the engine's whole key. */
static int whole_key(const struct intent_store *store, const char *key,
		     char out[INTENT_KEY_MAX + 1], struct intent_error *err)
{
	size_t head = strlen(store->prefix), tail;

	if (intent__key_check(key, err) < 0)
		return err->code;
	tail = strlen(key);
	if (head + tail > INTENT_KEY_MAX)
		return intent_fail(err, INTENT_EUSAGE, "key %.80s: %zu bytes with the prefix %s, "
				   "at most %d are allowed", key, head + tail, store->prefix,
				   INTENT_KEY_MAX);
	memcpy(out, store->prefix, head);
	memcpy(out + head, key, tail + 1);
	return 0;
}

int intent__prefix_whole(const struct intent_store *store, const char *prefix,
			 char out[INTENT_KEY_MAX + 1], struct intent_error *err)
{
	if (!prefix)
		return intent_fail(err, INTENT_EUSAGE, "no prefix was given");
	if (!*prefix) {
		memcpy(out, store->prefix, strlen(store->prefix) + 1);
		return 0;
	}
	if (!intent_ends_with(prefix, "/"))
		return intent_fail(err, INTENT_EUSAGE, "prefix %.80s: must end in '/'", prefix);
	return whole_key(store, prefix, out, err);
}

static int check_op(const struct intent_op *op, struct intent_error *err)
{
	if (intent__key_check(op->key, err) < 0)
		return err->code;
	switch (op->kind) {
	case INTENT_OP_PUT:
		if (op->length > INTENT_VALUE_MAX)
			return intent_fail(err, INTENT_ETOOBIG,
					   "key %s: the value has %zu bytes, at most %u are "
					   "allowed; store a reference instead",
					   op->key, op->length, INTENT_VALUE_MAX);
		if (op->length && !op->value)
			return intent_fail(err, INTENT_EUSAGE, "key %s: no value", op->key);
		if (op->session && (!*op->session || strlen(op->session) > 128))
			return intent_fail(err, INTENT_EUSAGE, "key %s: bad session", op->key);
		return 0;
	case INTENT_OP_DELETE:
	case INTENT_OP_CHECK:
		return 0;
	}
	return intent_fail(err, INTENT_EUSAGE, "key %s: unknown operation %d", op->key, op->kind);
}

static int check_ops(const struct intent_op *ops, size_t count, struct intent_error *err)
{
	if (!count || !ops)
		return intent_fail(err, INTENT_EUSAGE, "a transaction needs an operation");
	if (count > INTENT_TXN_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "%zu operations in one transaction, at "
				   "most %d are allowed", count, INTENT_TXN_MAX);
	for (size_t i = 0; i < count; i++) {
		if (check_op(&ops[i], err) < 0)
			return err->code;
		for (size_t j = 0; j < i; j++) {
			if ((ops[i].kind == INTENT_OP_CHECK) == (ops[j].kind == INTENT_OP_CHECK) &&
			    strcmp(ops[i].key, ops[j].key) == 0)
				return intent_fail(err, INTENT_EUSAGE, "key %s: %s twice in one "
						   "transaction", ops[i].key,
						   ops[i].kind == INTENT_OP_CHECK ? "compared" :
										    "written");
		}
	}
	return 0;
}

static int check_blocking(const struct intent_store *store, struct intent_error *err)
{
	if (store->loop)
		return intent_fail(err, INTENT_EUSAGE, "%s: a blocking call on a store that is "
				   "attached to a loop; open another one", store->name);
	return 0;
}

static int check_attached(const struct intent_store *store, struct intent_error *err)
{
	if (!store->loop)
		return intent_fail(err, INTENT_EUSAGE, "%s: not attached to a loop", store->name);
	return 0;
}

/* ---- opening ---- */

/* "/a/b" and "a/b/" and "a/b" are the prefix "a/b/". */
static char *normal_prefix(const char *prefix, struct intent_error *err)
{
	size_t length;

	prefix = prefix ? prefix : "";
	while (*prefix == '/')
		prefix++;
	if (!*prefix)
		return strdup("");
	if (intent__key_check(prefix, err) < 0) {
		intent_wrap(err, "--prefix");
		return NULL;
	}
	length = strlen(prefix);
	if (length > INTENT_KEY_MAX / 2) {
		intent_fail(err, INTENT_EUSAGE, "--prefix: %zu bytes, at most %d are allowed",
			    length, INTENT_KEY_MAX / 2);
		return NULL;
	}
	return intent_format("%s%s", prefix, prefix[length - 1] == '/' ? "" : "/");
}

static const struct intent__engine *engine_of(const char *url)
{
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (intent_starts_with(url, engines[i]->scheme))
			return engines[i];
	}
	return NULL;
}

int intent_store_open(const char *url, const char *prefix, struct intent_store **ret_owned,
		      struct intent_error *err)
{
	const struct intent__engine *engine = url ? engine_of(url) : NULL;
	struct intent_store *store;

	if (!engine)
		return intent_fail(err, INTENT_EUSAGE, "store %.100s: not a known kind; use "
				   "dir:PATH, consul://HOST:PORT or etcd://HOST:PORT,... "
				   "(consul+https://, etcd+https:// with TLS)%s", url ? url : "(none)",
				   url && (*url == '/' || *url == '.') ? "; a directory's has dir: before it" : "");
	store = calloc(1, sizeof(*store));
	store->engine = engine;
	store->prefix = normal_prefix(prefix, err);
	if (!store->prefix) {
		free(store);
		return err->code;
	}
	if (engine->open(store, url, url + strlen(engine->scheme), err) < 0) {
		free(store->name);
		free(store->prefix);
		free(store);
		return intent_wrap(err, "store");
	}
	*ret_owned = store;
	return 0;
}

struct intent_store *intent_store_close(struct intent_store *store)
{
	if (!store)
		return NULL;
	store->engine->close(store);
	free(store->name);
	free(store->prefix);
	free(store);
	return NULL;
}

const char *intent_store_name(const struct intent_store *store)
{
	return store->name;
}

/* ---- reading ---- */

static int read_snapshot(struct intent_store *store, const char *whole, bool exact,
			 enum intent_consistency consistency, struct intent_snapshot **ret_owned,
			 struct intent_error *err)
{
	struct intent_snapshot *snapshot, *stripped;

	if (check_blocking(store, err) < 0)
		return err->code;
	if (store->engine->read(store, whole, exact, consistency, &snapshot, err) < 0)
		return intent_wrap(err, "%s %s", exact ? "get" : "list",
				   whole[0] ? whole : "(everything)");
	stripped = intent__snapshot_strip(snapshot, strlen(store->prefix));
	intent_snapshot_unref(snapshot);
	*ret_owned = stripped;
	return 0;
}

int intent_store_get(struct intent_store *store, const char *key,
		     enum intent_consistency consistency, struct intent_snapshot **ret_owned,
		     struct intent_error *err)
{
	char whole[INTENT_KEY_MAX + 1];
	struct intent_snapshot *snapshot;

	if (whole_key(store, key, whole, err) < 0 ||
	    read_snapshot(store, whole, true, consistency, &snapshot, err) < 0)
		return err->code;
	if (!snapshot->count) {
		intent_snapshot_unref(snapshot);
		return intent_fail(err, INTENT_EABSENT, "%s: no such key in %s", whole,
				   store->name);
	}
	*ret_owned = snapshot;
	return 0;
}

int intent_store_list(struct intent_store *store, const char *prefix,
		      enum intent_consistency consistency, struct intent_snapshot **ret_owned,
		      struct intent_error *err)
{
	char whole[INTENT_KEY_MAX + 1];

	if (intent__prefix_whole(store, prefix, whole, err) < 0)
		return err->code;
	return read_snapshot(store, whole, false, consistency, ret_owned, err);
}

/* ---- writing ---- */

struct whole_ops {
	struct intent_op ops[INTENT_TXN_MAX];
	char keys[INTENT_TXN_MAX][INTENT_KEY_MAX + 1];
};

/* The operations with whole keys: freed with free(). */
static struct whole_ops *make_whole(const struct intent_store *store, const struct intent_op *ops,
				    size_t count, struct intent_error *err)
{
	struct whole_ops *whole;

	if (check_ops(ops, count, err) < 0)
		return NULL;
	whole = malloc(sizeof(*whole));
	for (size_t i = 0; i < count; i++) {
		whole->ops[i] = ops[i];
		whole->ops[i].key = whole->keys[i];
		if (whole_key(store, ops[i].key, whole->keys[i], err) < 0) {
			free(whole);
			return NULL;
		}
	}
	return whole;
}

int intent_store_txn(struct intent_store *store, const struct intent_op *ops, size_t count,
		     uint64_t *ret_revision, struct intent_error *err)
{
	intent_free_auto void *memory = NULL;
	struct whole_ops *whole;
	uint64_t revision = 0;

	if (check_blocking(store, err) < 0)
		return err->code;
	memory = whole = make_whole(store, ops, count, err);
	if (!whole)
		return err->code;
	if (store->engine->txn(store, whole->ops, count, &revision, err) < 0)
		return err->code == INTENT_ECONFLICT ? err->code :
						       intent_wrap(err, "write %s%s",
								   whole->keys[0],
								   count > 1 ? ", ..." : "");
	if (ret_revision)
		*ret_revision = revision;
	return 0;
}

int intent_store_put(struct intent_store *store, const char *key, const void *value, size_t length,
		     struct intent_error *err)
{
	struct intent_op op = {.kind = INTENT_OP_PUT, .key = key, .value = value, .length = length};

	return intent_store_txn(store, &op, 1, NULL, err);
}

int intent_store_cas(struct intent_store *store, const char *key, uint64_t revision,
		     const void *value, size_t length, uint64_t *ret_revision,
		     struct intent_error *err)
{
	const struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = key, .revision = revision},
		{.kind = INTENT_OP_PUT, .key = key, .value = value, .length = length},
	};

	return intent_store_txn(store, ops, 2, ret_revision, err);
}

int intent_store_delete(struct intent_store *store, const char *key, struct intent_error *err)
{
	struct intent_op op = {.kind = INTENT_OP_DELETE, .key = key};

	return intent_store_txn(store, &op, 1, NULL, err);
}

/* ---- sessions ---- */

static int check_ttl(int64_t ttl_ms, struct intent_error *err)
{
	if (ttl_ms < 1000 || ttl_ms > 86400000)
		return intent_fail(err, INTENT_EUSAGE,
				   "session: a ttl of %lld ms; between 1 s and 24 h are allowed",
				   (long long)ttl_ms);
	return 0;
}

static int check_session(const char *id, struct intent_error *err)
{
	if (!id || !*id || strlen(id) > 128)
		return intent_fail(err, INTENT_EUSAGE, "session %.40s: not a session's name",
				   id ? id : "(none)");
	return 0;
}

int intent_session_open(struct intent_store *store, int64_t ttl_ms, char **ret_id_owned,
			struct intent_error *err)
{
	if (check_blocking(store, err) < 0 || check_ttl(ttl_ms, err) < 0)
		return err->code;
	if (store->engine->session_open(store, ttl_ms, ret_id_owned, err) < 0)
		return intent_wrap(err, "open a session");
	return 0;
}

int intent_session_renew(struct intent_store *store, const char *id, struct intent_error *err)
{
	if (check_blocking(store, err) < 0 || check_session(id, err) < 0)
		return err->code;
	if (store->engine->session_renew(store, id, err) < 0)
		return intent_wrap(err, "renew session %s", id);
	return 0;
}

int intent_session_close(struct intent_store *store, const char *id, struct intent_error *err)
{
	if (check_blocking(store, err) < 0 || check_session(id, err) < 0)
		return err->code;
	if (store->engine->session_close(store, id, err) < 0)
		return intent_wrap(err, "close session %s", id);
	return 0;
}

bool intent_session_beats(const struct intent_store *store)
{
	return store->engine->session_beats;
}

/* ---- on a loop ---- */

int intent_store_attach(struct intent_store *store, uv_loop_t *loop, struct intent_error *err)
{
	if (store->loop)
		return intent_fail(err, INTENT_EUSAGE, "%s: already attached to a loop",
				   store->name);
	store->engine->attach(store, loop);
	store->loop = loop;
	return 0;
}

int intent_store_txn_start(struct intent_store *store, const struct intent_op *ops, size_t count,
			   intent_store_done on_done, void *data, struct intent_error *err)
{
	intent_free_auto void *memory = NULL;
	struct whole_ops *whole;

	if (check_attached(store, err) < 0)
		return err->code;
	memory = whole = make_whole(store, ops, count, err);
	if (!whole)
		return err->code;
	return store->engine->txn_start(store, whole->ops, count, on_done, data, err);
}

int intent_session_open_start(struct intent_store *store, int64_t ttl_ms,
			      intent_store_done on_done, void *data, struct intent_error *err)
{
	if (check_attached(store, err) < 0 || check_ttl(ttl_ms, err) < 0)
		return err->code;
	return store->engine->session_open_start(store, ttl_ms, on_done, data, err);
}

int intent_session_renew_start(struct intent_store *store, const char *id,
			       intent_store_done on_done, void *data, struct intent_error *err)
{
	if (check_attached(store, err) < 0 || check_session(id, err) < 0)
		return err->code;
	return store->engine->session_renew_start(store, id, on_done, data, err);
}

int intent_session_close_start(struct intent_store *store, const char *id,
			       intent_store_done on_done, void *data, struct intent_error *err)
{
	if (check_attached(store, err) < 0 || check_session(id, err) < 0)
		return err->code;
	return store->engine->session_close_start(store, id, on_done, data, err);
}

uint64_t intent__reconnect_delay(void)
{
	uint16_t noise = 0;

	if (getrandom(&noise, sizeof(noise), GRND_NONBLOCK) != sizeof(noise))
		noise = (uint16_t)(intent_time_monotonic() * 7919);
	return 500 + noise % 500;
}
