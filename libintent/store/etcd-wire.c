/* Requests to etcd's gateway, and what its answers say; see etcd-wire.h. */
#include <errno.h>
#include <inttypes.h>
#include "etcd-wire.h"

/* ---- requests ---- */

static void start(struct intent__call *call, const char *api, const char *path)
{
	call->method = "POST";
	call->has_body = true;
	intent_text_printf(&call->path, "/%s/%s", api, path);
	call->body.limit = INTENT__REPLY_MAX;
}

static void put_base64(struct intent_text *text, const char *name, const void *bytes, size_t count)
{
	intent_text_printf(text, "\"%s\":\"", name);
	intent_base64_encode(text, bytes, count);
	intent_text_puts(text, "\"");
}

/* The smallest key that is greater than all that start with prefix: its last byte plus one. */
static void put_range_end(struct intent_text *text, const char *prefix)
{
	char end[INTENT_KEY_MAX + 1] = "";
	size_t length = strnlen(prefix, sizeof end - 1);

	memcpy(end, prefix, length);
	while (length && (unsigned char)end[length - 1] == 0xff)
		length--;
	if (length)
		end[length - 1]++;
	/* Without one, a single NUL byte means "to the end". */
	put_base64(text, "range_end", length ? end : "", length ? length : 1);
}

static void put_prefix(struct intent_text *text, const char *prefix)
{
	/* The whole store begins at NUL; an empty key would be an error. */
	put_base64(text, "key", prefix, *prefix ? strlen(prefix) : 1);
	intent_text_puts(text, ",");
	put_range_end(text, prefix);
}

void intent__etcd_version(struct intent__call *call)
{
	call->method = "GET";
	intent_text_puts(&call->path, "/version");
}

int intent__etcd_api(const struct intent_http_response *response, const char **ret_api,
		     struct intent_error *err)
{
	static const struct { const char *version, *api; } known[] = {
		{"3.2.", "v3alpha"}, {"3.3.", "v3beta"}, {"3.", "v3"},
	};
	intent_json_auto json_t *root = NULL;

	if (response->status == 200 &&
	    !intent_json_parse(intent_text_str(&response->body), response->body.length, 0, &root, err)) {
		const char *version = intent_json_string(root, "etcdserver", "");

		for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
			if (!intent_starts_with(version, known[i].version))
				continue;
			*ret_api = known[i].api;
			return 0;
		}
	}
	return intent_fail(err, INTENT_EUNAVAILABLE, "GET /version answers %d and no version 3 of etcd: "
			   "is another program behind this address?", response->status);
}

void intent__etcd_authenticate(struct intent__call *call, const char *api, const char *user,
			       const char *password)
{
	intent_json_auto json_t *body = json_pack("{s:s, s:s}", "name", user, "password", password);
	intent_free_auto char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	start(call, api, "auth/authenticate");
	intent_text_puts(&call->body, text ? text : "{}");
	if (text)
		explicit_bzero(text, strlen(text));
}

void intent__etcd_range(struct intent__call *call, const char *api, const struct intent__etcd_range *range)
{
	struct intent_text *body = &call->body;

	start(call, api, "kv/range");
	intent_text_puts(body, "{");
	if (range->exact) {
		put_base64(body, "key", range->key, strlen(range->key));
	} else if (range->after) {
		/* The least key after it: with a NUL at its end. */
		put_base64(body, "key", range->after, range->after_length + 1);
		intent_text_puts(body, ",");
		put_range_end(body, range->key);
	} else {
		put_prefix(body, range->key);
	}
	if (range->revision)
		intent_text_printf(body, ",\"revision\":\"%" PRIu64 "\"", range->revision);
	if (range->serializable)
		intent_text_puts(body, ",\"serializable\":true");
	if (range->only_look)
		intent_text_puts(body, ",\"limit\":\"1\",\"keys_only\":true");
	else if (range->limit)
		intent_text_printf(body, ",\"limit\":\"%u\"", range->limit);
	intent_text_puts(body, "}");
}

bool intent__etcd_is_lease(const char *id)
{
	int64_t number;
	struct intent_error ignored;

	return !intent_integer_parse(id, 1, INT64_MAX, &number, &ignored);
}

static int put_op(struct intent_text *body, const struct intent_op *op, struct intent_error *err)
{
	intent_text_puts(body, op->kind == INTENT_OP_PUT ? "{\"request_put\":{" : "{\"request_delete_range\":{");
	put_base64(body, "key", op->key, strlen(op->key));
	if (op->kind == INTENT_OP_PUT) {
		intent_text_puts(body, ",");
		put_base64(body, "value", op->value, op->length);
		if (op->session && !intent__etcd_is_lease(op->session))
			return intent_fail(err, INTENT_EABSENT, "session \"%s\" is no lease of etcd: open another",
					   op->session);
		if (op->session)
			intent_text_printf(body, ",\"lease\":\"%s\"", op->session);
	}
	intent_text_puts(body, "}}");
	return 0;
}

/* The failure branch reads the compared keys, so that the conflict can be named. */
int intent__etcd_txn(struct intent__call *call, const char *api, const struct intent_op *ops, size_t count,
		     struct intent_error *err)
{
	struct intent_text *body = &call->body;
	const char *comma = "";

	start(call, api, "kv/txn");
	intent_text_puts(body, "{\"compare\":[");
	for (size_t i = 0; i < count; i++) {
		if (ops[i].kind != INTENT_OP_CHECK)
			continue;
		intent_text_printf(body, "%s{\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"%"
				   PRIu64 "\",", comma, ops[i].revision);
		put_base64(body, "key", ops[i].key, strlen(ops[i].key));
		intent_text_puts(body, "}");
		comma = ",";
	}
	intent_text_puts(body, "],\"success\":[");
	comma = "";
	for (size_t i = 0; i < count; i++) {
		if (ops[i].kind == INTENT_OP_CHECK)
			continue;
		call->writes = true;
		intent_text_puts(body, comma);
		if (put_op(body, &ops[i], err))
			return err->code;
		comma = ",";
	}
	intent_text_puts(body, "],\"failure\":[");
	comma = "";
	for (size_t i = 0; i < count; i++) {
		if (ops[i].kind != INTENT_OP_CHECK)
			continue;
		intent_text_printf(body, "%s{\"request_range\":{\"keys_only\":true,", comma);
		put_base64(body, "key", ops[i].key, strlen(ops[i].key));
		intent_text_puts(body, "}}");
		comma = ",";
	}
	intent_text_puts(body, "]}");
	return 0;
}

void intent__etcd_grant(struct intent__call *call, const char *api, int64_t ttl_ms)
{
	start(call, api, "lease/grant");
	intent_text_printf(&call->body, "{\"TTL\":\"%" PRId64 "\"}", (ttl_ms + 999) / 1000);
}

void intent__etcd_keepalive(struct intent__call *call, const char *api, const char *lease)
{
	start(call, api, "lease/keepalive");
	intent_text_printf(&call->body, "{\"ID\":\"%s\"}", lease);
}

void intent__etcd_revoke(struct intent__call *call, const char *api, const char *lease)
{
	start(call, api, "lease/revoke");
	intent_text_printf(&call->body, "{\"ID\":\"%s\"}", lease);
}

void intent__etcd_create_watch(struct intent_text *body, const char *prefix, uint64_t start_revision)
{
	intent_text_puts(body, "{\"create_request\":{");
	put_prefix(body, prefix);
	intent_text_printf(body, ",\"start_revision\":\"%" PRIu64 "\"}}\n", start_revision);
}

/* ---- errors ---- */

/* Of a gRPC code, the first row whose words are in the message; at last by the code alone. */
static const struct error_row {
	int grpc;             /* -1: any */
	const char *words;    /* NULL: any */
	enum intent__etcd_fate fate;
	int code;             /* 0: read unavailable, write unknown */
	const char *way_out;
} error_rows[] = {
	{16, NULL, INTENT__ETCD_AUTHENTICATE, INTENT_EREFUSED, "check ETCDCTL_USER"},
	{3, "revision of auth store is old", INTENT__ETCD_AUTHENTICATE, INTENT_EREFUSED, NULL},
	{3, "user name is empty", INTENT__ETCD_AUTHENTICATE, INTENT_EREFUSED, "set ETCDCTL_USER to user:password"},
	{3, "authentication failed", INTENT__ETCD_FAILED, INTENT_EREFUSED, "check ETCDCTL_USER"},
	{3, "too large", INTENT__ETCD_FAILED, INTENT_ETOOBIG, "etcd takes 1.5 MiB in one transaction"},
	{3, "too many operations", INTENT__ETCD_FAILED, INTENT_ETOOBIG, NULL},
	{3, NULL, INTENT__ETCD_FAILED, INTENT_EUSAGE, NULL},
	{7, NULL, INTENT__ETCD_FAILED, INTENT_EREFUSED, "grant the user a role on this key"},
	{5, "lease not found", INTENT__ETCD_FAILED, INTENT_EABSENT, "the session is gone, open another"},
	{8, "larger than max", INTENT__ETCD_TOO_LARGE, INTENT_ETOOBIG, NULL},
	{8, "space exceeded", INTENT__ETCD_FAILED, INTENT_EUNAVAILABLE,
	 "compact and defragment it, then `etcdctl alarm disarm`"},
	{8, NULL, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE, NULL},
	{11, "compacted", INTENT__ETCD_COMPACTED, INTENT_EUNAVAILABLE, NULL},
	{11, NULL, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE, NULL},
	/* Said by the interceptor before anything is proposed. */
	{14, "etcdserver: no leader", INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE, NULL},
	{-1, NULL, INTENT__ETCD_ELSEWHERE, 0, NULL},
};

static enum intent__etcd_fate judge(int grpc, int status, const char *message, bool writes,
				    struct intent_error *err)
{
	const struct error_row *row = error_rows;

	while ((row->grpc >= 0 && row->grpc != grpc) || (row->words && !strstr(message, row->words)))
		row++;
	int code = row->code ? row->code : writes ? INTENT_EUNKNOWN : INTENT_EUNAVAILABLE;

	(void)intent_fail(err, code, "etcd answers %d (code %d): %.300s%s%s", status, grpc, message,
			  row->way_out ? ": " : "", row->way_out ? row->way_out : "");
	return code == INTENT_EUNKNOWN ? INTENT__ETCD_FAILED : row->fate;
}

enum intent__etcd_fate intent__etcd_error(const json_t *root, int status, bool writes,
					  struct intent_error *err)
{
	const json_t *error = json_object_get(root, "error");
	const json_t *holder = json_is_object(error) ? error : root;
	int grpc = (int)intent_json_integer(holder, "grpc_code", intent_json_integer(holder, "code", 2));
	const char *message = intent_json_string(holder, "message", intent_json_string(root, "error", "?"));

	return judge(grpc, status, message, writes, err);
}

/* Some other program, or a proxy before etcd, has spoken. */
static enum intent__etcd_fate judge_status(int status, bool writes, struct intent_error *err)
{
	static const struct { int status; enum intent__etcd_fate fate; int code; const char *words; } rows[] = {
		{404, INTENT__ETCD_PROBE, INTENT_EUNAVAILABLE, "no such path"},
		{401, INTENT__ETCD_FAILED, INTENT_EREFUSED, "a proxy before it wants credentials"},
		{403, INTENT__ETCD_FAILED, INTENT_EREFUSED, "a proxy before it refuses"},
		{413, INTENT__ETCD_FAILED, INTENT_ETOOBIG, "the request is too large"},
		{429, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE, "too many requests"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].status != status)
			continue;
		(void)intent_fail(err, rows[i].code, "etcd answers %d: %s", status, rows[i].words);
		return rows[i].fate;
	}
	(void)intent_fail(err, writes && (status >= 500 || status == 200) ? INTENT_EUNKNOWN : INTENT_EUNAVAILABLE,
			  "etcd answers %d, and no document: is another program behind this address?", status);
	return err->code == INTENT_EUNKNOWN ? INTENT__ETCD_FAILED : INTENT__ETCD_ELSEWHERE;
}

/* The gateway sometimes puts its trailers into the body of an error: read up to the first line's end. */
static size_t document_length(const struct intent_http_response *response)
{
	const char *body = intent_text_str(&response->body);
	const char *trailer = response->status == 200 ? NULL : strstr(body, "}Grpc-Trailer");

	return trailer ? (size_t)(trailer + 1 - body) : response->body.length;
}

enum intent__etcd_fate intent__etcd_reply(const struct intent_http_response *response, bool writes,
					  json_t **ret_new, struct intent_error *err)
{
	json_t *root = NULL;

	if (intent_json_parse(intent_text_str(&response->body), document_length(response),
			      INTENT__REPLY_MAX, &root, err) || !json_is_object(root)) {
		json_decref(root);
		return judge_status(response->status, writes, err);
	}
	if (response->status == 200 && !json_object_get(root, "error")) {
		*ret_new = root;
		err->code = 0;
		return INTENT__ETCD_FINE;
	}
	enum intent__etcd_fate fate = json_object_get(root, "error") ?
		intent__etcd_error(root, response->status, writes, err) :
		judge_status(response->status, writes, err);

	json_decref(root);
	return fate;
}

/* ---- answers ---- */

/* A 64-bit number, written as a string or, by other gateways, as a number; absent is 0. */
static uint64_t number(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (json_is_integer(value) && json_integer_value(value) > 0)
		return (uint64_t)json_integer_value(value);
	const char *digits = json_string_value(value);
	int64_t parsed;
	struct intent_error ignored;

	return digits && !intent_integer_parse(digits, 0, INT64_MAX, &parsed, &ignored) ? (uint64_t)parsed : 0;
}

void intent__etcd_header(const json_t *root, struct intent__etcd_header *ret)
{
	const json_t *header = json_object_get(root, "header");

	*ret = (struct intent__etcd_header){.revision = number(header, "revision")};
	(void)snprintf(ret->cluster, sizeof ret->cluster, "%s", intent_json_string(header, "cluster_id", ""));
}

bool intent__key_is_ours(const char *key, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (key[i] < 0x20 || key[i] > 0x7e)
			return false;
	return length >= 1 && length <= INTENT_KEY_MAX;
}

static int decode(const json_t *kv, const char *name, struct intent_text *out, struct intent_error *err)
{
	const char *text = intent_json_string(kv, name, "");

	intent_text_clear(out);
	if (intent_base64_decode(out, text, strlen(text), err))
		return intent_wrap(err, "etcd: \"%s\" of a key", name);
	return 0;
}

static int add_kv(const json_t *kv, struct intent_snapshot *into, struct intent_error *err)
{
	intent_text_auto struct intent_text key = INTENT_TEXT_INIT, value = INTENT_TEXT_INIT;
	const char *lease = intent_json_string(kv, "lease", "0");
	uint64_t revision = number(kv, "mod_revision");

	if (decode(kv, "key", &key, err) || decode(kv, "value", &value, err))
		return err->code;
	if (!intent__key_is_ours(intent_text_str(&key), key.length))
		return 0;
	if (!revision)
		return intent_fail(err, INTENT_EMALFORMED, "etcd: key %s has no mod_revision", key.data);
	intent_snapshot_add(into, key.data, intent_text_str(&value), value.length, revision,
			    strcmp(lease, "0") ? lease : NULL, false);
	return 0;
}

int intent__etcd_read_range(const json_t *root, struct intent_snapshot *into, bool *ret_more,
			    struct intent_error *err)
{
	const json_t *kvs = json_object_get(root, "kvs");

	for (size_t i = 0; i < json_array_size(kvs); i++)
		if (add_kv(json_array_get(kvs, i), into, err))
			return err->code;
	*ret_more = json_array_size(kvs) && json_is_true(json_object_get(root, "more"));
	return 0;
}

int intent__etcd_read_txn(const json_t *root, const struct intent_op *ops, size_t count,
			  struct intent_error *err)
{
	const json_t *responses = json_object_get(root, "responses");
	size_t at = 0;

	if (json_is_true(json_object_get(root, "succeeded")))
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (ops[i].kind != INTENT_OP_CHECK)
			continue;
		const json_t *range = json_object_get(json_array_get(responses, at++), "response_range");
		uint64_t now = number(json_array_get(json_object_get(range, "kvs"), 0), "mod_revision");

		if (now != ops[i].revision)
			return intent_fail(err, INTENT_ECONFLICT, "key %s: it is at revision %" PRIu64
					   ", not %" PRIu64 " (0: absent): read it again", ops[i].key, now,
					   ops[i].revision);
	}
	return intent_fail(err, INTENT_ECONFLICT, "key %s: a compare failed: read it again",
			   count ? ops[0].key : "?");
}

int intent__etcd_read_grant(const json_t *root, char **ret_id_owned, struct intent_error *err)
{
	const char *id = intent_json_string(root, "ID", "");

	if (!intent__etcd_is_lease(id))
		return intent_fail(err, INTENT_EUNAVAILABLE, "etcd grants a lease without a number");
	*ret_id_owned = strdup(id);
	return 0;
}

int intent__etcd_read_keepalive(const json_t *root, const char *lease, struct intent_error *err)
{
	if (!number(json_object_get(root, "result"), "TTL"))
		return intent_fail(err, INTENT_EABSENT, "session %s is gone: open another", lease);
	return 0;
}
