/* Requests to Consul, and what its answers say; see consul-wire.h. */
#include <errno.h>
#include <inttypes.h>
#include "consul-wire.h"
#include "etcd-wire.h" /* intent__key_is_ours() */

/* ---- paths ---- */

void intent__consul_safe(const char *key, char out[INTENT_KEY_MAX + 1])
{
	size_t length = 0;

	for (const char *at = key;;) {
		size_t part = strcspn(at, "/");
		bool dots = (part == 1 && at[0] == '.') || (part == 2 && at[0] == '.' && at[1] == '.');

		/* An empty part is fine only at the end: "a/" is the prefix of what is below. */
		if (dots || (!part && *at))
			break;
		length = (size_t)(at - key) + part + (at[part] == '/');
		if (!at[part] || length >= INTENT_KEY_MAX)
			break;
		at += part + 1;
	}
	memcpy(out, key, length);
	out[length] = '\0';
}

static void put_path(struct intent_text *path, const char *key)
{
	char safe[INTENT_KEY_MAX + 1];

	intent__consul_safe(key, safe);
	intent_text_puts(path, "/v1/kv/");
	intent_url_escape(path, safe, "/");
}

void intent__consul_list(struct intent__call *call, const char *key, bool consistent, uint64_t index)
{
	call->method = "GET";
	put_path(&call->path, key);
	intent_text_puts(&call->path, consistent ? "?recurse&consistent" : "?recurse");
	if (!index)
		return;
	intent_text_printf(&call->path, "&index=%" PRIu64 "&wait=%ds", index, INTENT__CONSUL_WAIT_MS / 1000);
	/* Consul adds up to a sixteenth so that waiters do not return all at once. */
	call->timeout_ms = (int64_t)INTENT__CONSUL_WAIT_MS * 17 / 16 + 10000;
}

void intent__consul_get(struct intent__call *call, const char *key, bool consistent)
{
	char safe[INTENT_KEY_MAX + 1];

	intent__consul_safe(key, safe);
	if (strcmp(safe, key)) {
		intent__consul_list(call, key, consistent, 0);
		return;
	}
	call->method = "GET";
	put_path(&call->path, key);
	if (consistent)
		intent_text_puts(&call->path, "?consistent");
}

/* ---- transactions ---- */

static void put_string(struct intent_text *text, const char *string)
{
	intent_text_puts(text, "\"");
	for (; *string; string++) {
		if (*string == '"' || *string == '\\')
			intent_text_puts(text, "\\");
		intent_text_add(text, string, 1);
	}
	intent_text_puts(text, "\"");
}

static void put_verb(struct intent_text *body, struct intent__consul_map *map, size_t index,
		     const char *verb, const char *key)
{
	if (map->count < sizeof map->op)
		map->op[map->count++] = (unsigned char)index;
	intent_text_printf(body, "%s{\"KV\":{\"Verb\":\"%s\",\"Key\":", body->length > 1 ? "," : "", verb);
	put_string(body, key);
}

static void put_check(struct intent_text *body, struct intent__consul_map *map, size_t index,
		      const char *key, uint64_t revision)
{
	put_verb(body, map, index, revision ? "check-index" : "check-not-exists", key);
	if (revision)
		intent_text_printf(body, ",\"Index\":%" PRIu64, revision);
	intent_text_puts(body, "}}");
}

static void put_delete(struct intent_text *body, struct intent__consul_map *map, size_t index, const char *key)
{
	put_verb(body, map, index, "delete", key);
	intent_text_puts(body, "}}");
}

static void put_value(struct intent_text *body, struct intent__consul_map *map, size_t index,
		      const struct intent_op *op)
{
	put_verb(body, map, index, op->session ? "lock" : "set", op->key);
	intent_text_puts(body, ",\"Value\":\"");
	intent_base64_encode(body, op->value, op->length);
	intent_text_puts(body, "\"");
	if (op->session) {
		intent_text_puts(body, ",\"Session\":");
		put_string(body, op->session);
	}
	intent_text_puts(body, "}}");
}

static void start_txn(struct intent__call *call, struct intent__consul_map *map)
{
	call->method = "PUT";
	call->has_body = true;
	intent_text_puts(&call->path, "/v1/txn");
	intent_text_puts(&call->body, "[");
	map->count = 0;
}

void intent__consul_txn(struct intent__call *call, struct intent__consul_map *map,
			const struct intent_op *ops, size_t count, uint64_t clear)
{
	start_txn(call, map);
	for (size_t i = 0; i < count; i++)
		if (ops[i].kind == INTENT_OP_CHECK)
			put_check(&call->body, map, i, ops[i].key, ops[i].revision);
	for (size_t i = 0; i < count; i++) {
		if (ops[i].kind == INTENT_OP_CHECK)
			continue;
		call->writes = true;
		if (ops[i].kind == INTENT_OP_DELETE || clear >> i & 1)
			put_delete(&call->body, map, i, ops[i].key);
		if (ops[i].kind == INTENT_OP_PUT)
			put_value(&call->body, map, i, &ops[i]);
	}
	intent_text_puts(&call->body, "]");
}

uint64_t intent__consul_free(struct intent__call *call, struct intent__consul_map *map,
			     const struct intent_op *ops, size_t count, uint64_t which,
			     const uint64_t *revisions, bool absent)
{
	uint64_t taken = 0;
	int keys = 0;

	start_txn(call, map);
	call->writes = true;
	for (size_t i = 0; i < count && keys < 20; i++) {
		if (!(which >> i & 1))
			continue;
		keys++;
		taken |= UINT64_C(1) << i;
		put_check(&call->body, map, i, ops[i].key, absent ? 0 : revisions[i]);
		if (!absent)
			put_delete(&call->body, map, i, ops[i].key);
		put_value(&call->body, map, i, &ops[i]);
	}
	intent_text_puts(&call->body, "]");
	return taken;
}

bool intent__consul_raw_put(struct intent__call *call, const struct intent_op *ops, size_t count)
{
	const struct intent_op *put = NULL, *check = NULL;
	char safe[INTENT_KEY_MAX + 1];

	for (size_t i = 0; i < count; i++)
		*(ops[i].kind == INTENT_OP_CHECK ? &check : &put) = &ops[i];
	if (count != (check ? 2 : 1) || !put || put->kind != INTENT_OP_PUT || put->session ||
	    (check && strcmp(check->key, put->key)))
		return false;
	intent__consul_safe(put->key, safe);
	if (strcmp(safe, put->key))
		return false;
	call->method = "PUT";
	call->has_body = call->writes = true;
	put_path(&call->path, put->key);
	if (check)
		intent_text_printf(&call->path, "?cas=%" PRIu64, check->revision);
	intent_text_add(&call->body, put->value, put->length);
	return true;
}

/* ---- sessions ---- */

/*
 * No checks: by default one lapse of gossip frees every lock. No lock delay: fencing is by
 * revision. Consul takes 10 s to 24 h.
 */
void intent__consul_session_create(struct intent__call *call, int64_t ttl_ms)
{
	int64_t seconds = (ttl_ms + 999) / 1000;

	call->method = "PUT";
	call->has_body = true;
	intent_text_puts(&call->path, "/v1/session/create");
	intent_text_printf(&call->body, "{\"Name\":\"platypus\",\"TTL\":\"%" PRId64 "s\",\"Behavior\":\"delete\","
			   "\"LockDelay\":\"0s\",\"Checks\":[]}",
			   seconds < 10 ? 10 : seconds > 86400 ? 86400 : seconds);
}

static void session_call(struct intent__call *call, const char *verb, const char *id)
{
	call->method = "PUT";
	intent_text_printf(&call->path, "/v1/session/%s/", verb);
	intent_url_escape(&call->path, id, "");
}

void intent__consul_session_renew(struct intent__call *call, const char *id)
{
	session_call(call, "renew", id);
}

void intent__consul_session_destroy(struct intent__call *call, const char *id)
{
	session_call(call, "destroy", id);
}

bool intent__consul_is_session(const char *id)
{
	return strlen(id) == 36 && strspn(id, "0123456789abcdefABCDEF-") == 36;
}
