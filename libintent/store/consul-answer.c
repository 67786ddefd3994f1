/* What Consul's answers say; see consul-wire.h. */
#include <ctype.h>
#include <inttypes.h>
#include "consul-wire.h"
#include "etcd-wire.h" /* intent__key_is_ours() */

/* ---- errors ---- */

static const struct error_row {
	int status;           /* 0: any of 500 and above */
	const char *words;    /* NULL: any */
	int code;             /* 0: read unavailable, write unknown */
	const char *way_out;
} error_rows[] = {
	{403, NULL, INTENT_EREFUSED, "give the token of CONSUL_HTTP_TOKEN a rule for this key"},
	{401, NULL, INTENT_EREFUSED, "check CONSUL_HTTP_TOKEN"},
	{413, NULL, INTENT_ETOOBIG, "Consul takes 512 KiB in a value, and in a whole transaction"},
	{429, NULL, INTENT_EUNAVAILABLE, NULL},
	{400, NULL, INTENT_EUSAGE, NULL},
	{0, "Permission denied", INTENT_EREFUSED, "give the token of CONSUL_HTTP_TOKEN a rule for this key"},
	{0, "ACL not found", INTENT_EREFUSED, "check CONSUL_HTTP_TOKEN"},
	/* Said before anything is sent to a leader. */
	{0, "No cluster leader", INTENT_EUNAVAILABLE, NULL},
	{0, "No known Consul servers", INTENT_EUNAVAILABLE, NULL},
	{0, "UUID must be", INTENT_EABSENT, "that is no session of Consul"},
	{0, NULL, 0, NULL},
};

int intent__consul_error(const struct intent_http_response *response, bool writes, struct intent_error *err)
{
	char words[201];
	const char *body = intent_text_str(&response->body);
	size_t length = strcspn(body, "\r\n");

	length = length < sizeof words - 1 ? length : sizeof words - 1;
	memcpy(words, body, length);
	words[length] = '\0';
	for (char *c = words; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = '?';
	for (size_t i = 0; i < sizeof error_rows / sizeof error_rows[0]; i++) {
		const struct error_row *row = &error_rows[i];

		if ((row->status ? row->status != response->status : response->status < 500) ||
		    (row->words && !strstr(body, row->words)))
			continue;
		int code = row->code ? row->code : writes ? INTENT_EUNKNOWN : INTENT_EUNAVAILABLE;

		return intent_fail(err, code, "Consul answers %d: %s%s%s", response->status, words,
				   row->way_out ? ": " : "", row->way_out ? row->way_out : "");
	}
	return intent_fail(err, writes && response->status / 100 == 2 ? INTENT_EUNKNOWN : INTENT_EUNAVAILABLE,
			   "answer %d where Consul gives none such: is another program behind this address?",
			   response->status);
}

/* ---- numbers that jansson does not take ---- */

static bool too_large(const char *digits, size_t count)
{
	static const char most[] = "9223372036854775807";

	while (count > 1 && *digits == '0')
		digits++, count--;
	return count > 19 || (count == 19 && memcmp(digits, most, 19) > 0);
}

void intent__consul_tame_numbers(char *json, size_t length)
{
	bool string = false;

	for (size_t i = 0; i < length; i++) {
		if (string) {
			if (json[i] == '\\')
				i++;
			else if (json[i] == '"')
				string = false;
			continue;
		}
		string = json[i] == '"';
		if (!isdigit((unsigned char)json[i]))
			continue;
		size_t count = 1;

		while (i + count < length && isdigit((unsigned char)json[i + count]))
			count++;
		/* Reals have a range of their own. */
		bool whole = i + count >= length || !strchr(".eE", json[i + count]);

		if (whole && too_large(json + i, count)) {
			memset(json + i, ' ', count);
			json[i] = '0';
		}
		i += count - 1;
	}
}

static int parse(const struct intent_http_response *response, json_t **ret_new, struct intent_error *err)
{
	size_t length = response->body.length;
	intent_free_auto char *copy = malloc(length + 1);

	memcpy(copy, intent_text_str(&response->body), length + 1);
	intent__consul_tame_numbers(copy, length);
	return intent_json_parse(copy, length, INTENT__REPLY_MAX, ret_new, err);
}

/* ---- reading ---- */

static int check_origin(const struct intent_http_response *response, uint64_t *ret_index,
			struct intent_error *err)
{
	char value[32];
	int64_t index = 0, contact = 0;
	struct intent_error ignored;

	if (intent_http_header(response, "x-consul-knownleader", value, sizeof value) && strcmp(value, "true"))
		return intent_fail(err, INTENT_EUNAVAILABLE, "Consul knows no leader: its answer is not used");
	if (intent_http_header(response, "x-consul-lastcontact", value, sizeof value) &&
	    (intent_integer_parse(value, 0, INT64_MAX, &contact, &ignored) || contact))
		return intent_fail(err, INTENT_EUNAVAILABLE, "Consul's answer is not its leader's "
				   "(last contact %s ms ago): it is not used", value);
	if (!intent_http_header(response, "x-consul-index", value, sizeof value)) {
		if (response->status == 404)
			return intent_fail(err, INTENT_EUNAVAILABLE, "a 404 without X-Consul-Index: "
					   "is another program behind this address?");
	} else if (intent_integer_parse(value, 0, INT64_MAX, &index, &ignored)) {
		index = 0;
	}
	*ret_index = (uint64_t)index;
	return 0;
}

static int add_entry(const json_t *item, struct intent_snapshot *into, struct intent_error *err)
{
	intent_text_auto struct intent_text value = INTENT_TEXT_INIT;
	const char *key = intent_json_string(item, "Key", ""), *text = intent_json_string(item, "Value", "");
	int64_t revision = intent_json_integer(item, "ModifyIndex", 0);

	if (revision <= 0)
		return intent_fail(err, INTENT_EMALFORMED, "Consul: key %.100s has no ModifyIndex", key);
	if (intent_base64_decode(&value, text, strlen(text), err))
		return intent_wrap(err, "Consul: key %.100s", key);
	intent_snapshot_add(into, key, intent_text_str(&value), value.length, (uint64_t)revision,
			    intent_json_string(item, "Session", NULL), false);
	return 0;
}

int intent__consul_read_kv(const struct intent_http_response *response, const char *key, bool exact,
			   struct intent_snapshot **ret_owned, struct intent_error *err)
{
	intent_json_auto json_t *root = NULL;
	uint64_t index = 0;

	if (response->status != 200 && response->status != 404)
		return intent__consul_error(response, false, err);
	if (check_origin(response, &index, err))
		return err->code;
	if (response->status == 200 && (parse(response, &root, err) || !json_is_array(root)))
		return intent_fail(err, INTENT_EUNAVAILABLE, "Consul's answer is no array of keys: "
				   "is another program behind this address?");
	struct intent_snapshot *snapshot = intent_snapshot_new();

	snapshot->revision = index;
	for (size_t i = 0; i < json_array_size(root); i++) {
		const json_t *item = json_array_get(root, i);
		const char *name = intent_json_string(item, "Key", "");

		if (!(exact ? !strcmp(name, key) : intent_starts_with(name, key)) ||
		    !intent__key_is_ours(name, strlen(name)))
			continue;
		if (add_entry(item, snapshot, err)) {
			intent_snapshot_unref(snapshot);
			return err->code;
		}
	}
	intent_snapshot_sort(snapshot);
	*ret_owned = snapshot;
	return 0;
}

/* ---- transactions ---- */

static void read_results(const json_t *results, const struct intent_op *ops, size_t count,
			 struct intent__consul_outcome *ret)
{
	for (size_t i = 0; i < json_array_size(results); i++) {
		const json_t *kv = json_object_get(json_array_get(results, i), "KV");
		const char *key = intent_json_string(kv, "Key", "");
		int64_t revision = intent_json_integer(kv, "ModifyIndex", 0);

		for (size_t j = 0; j < count; j++) {
			if (ops[j].kind != INTENT_OP_PUT || strcmp(ops[j].key, key))
				continue;
			ret->revisions[j] = (uint64_t)revision;
			if ((uint64_t)revision > ret->revision)
				ret->revision = (uint64_t)revision;
			if (!ops[j].session && *intent_json_string(kv, "Session", ""))
				ret->bound |= UINT64_C(1) << j;
		}
	}
}

/* The worst of the errors decides: a compare that failed before a key that is held. */
static int read_errors(const json_t *errors, const struct intent__consul_map *map,
		       const struct intent_op *ops, size_t count, struct intent__consul_outcome *ret,
		       struct intent_error *err)
{
	for (size_t i = 0; i < json_array_size(errors); i++) {
		const json_t *error = json_array_get(errors, i);
		int64_t at = intent_json_integer(error, "OpIndex", -1);
		size_t index = at >= 0 && (size_t)at < map->count ? map->op[at] : count;
		const char *what = intent_json_string(error, "What", "?");

		if (index >= count)
			return intent_fail(err, INTENT_EUNAVAILABLE, "Consul refuses the transaction: %.200s", what);
		const struct intent_op *op = &ops[index];

		if (op->kind == INTENT_OP_PUT && op->session &&
		    (strstr(what, "invalid session") || strstr(what, "session lookup")))
			return intent_fail(err, INTENT_EABSENT, "session %s is gone: open another", op->session);
		if (strstr(what, "ermission denied"))
			return intent_fail(err, INTENT_EREFUSED, "key %s: %.200s: give the token of "
					   "CONSUL_HTTP_TOKEN a rule for it", op->key, what);
		if (op->kind == INTENT_OP_PUT && strstr(what, "lock is already held"))
			ret->held |= UINT64_C(1) << index;
		else if (op->kind == INTENT_OP_PUT && strstr(what, "doesn't exist"))
			ret->gone |= UINT64_C(1) << index;
		else
			return intent_fail(err, INTENT_ECONFLICT, "key %s: %.200s: read it again", op->key, what);
	}
	return 0;
}

int intent__consul_read_txn(const struct intent_http_response *response, const struct intent__consul_map *map,
			    const struct intent_op *ops, size_t count, bool writes,
			    struct intent__consul_outcome *ret, struct intent_error *err)
{
	intent_json_auto json_t *root = NULL;

	*ret = (struct intent__consul_outcome){0};
	if (response->status != 200 && response->status != 409)
		return intent__consul_error(response, writes, err);
	if (parse(response, &root, err) || !json_is_object(root))
		return intent_fail(err, writes && response->status == 200 ? INTENT_EUNKNOWN : INTENT_EUNAVAILABLE,
				   "Consul's answer %d to a transaction is no document", response->status);
	if (response->status == 200) {
		read_results(json_object_get(root, "Results"), ops, count, ret);
		return 0;
	}
	if (!json_array_size(json_object_get(root, "Errors")))
		return intent_fail(err, INTENT_EUNAVAILABLE, "Consul refuses the transaction without a reason");
	return read_errors(json_object_get(root, "Errors"), map, ops, count, ret, err);
}

int intent__consul_read_raw_put(const struct intent_http_response *response, const struct intent_op *ops,
				size_t count, struct intent_error *err)
{
	const char *body = intent_text_str(&response->body);

	if (response->status != 200)
		return intent__consul_error(response, true, err);
	if (intent_starts_with(body, "true"))
		return 0;
	if (count > 1 && intent_starts_with(body, "false"))
		return intent_fail(err, INTENT_ECONFLICT, "key %s: somebody has written it: read it again", ops[0].key);
	return intent_fail(err, INTENT_EUNKNOWN, "Consul's answer to a put is neither true nor false");
}

int intent__consul_read_session(const struct intent_http_response *response, char **ret_id_owned,
				struct intent_error *err)
{
	intent_json_auto json_t *root = NULL;

	if (response->status != 200)
		return intent__consul_error(response, false, err);
	const char *id = parse(response, &root, err) ? "" : intent_json_string(root, "ID", "");

	if (!intent__consul_is_session(id))
		return intent_fail(err, INTENT_EUNAVAILABLE, "Consul opens a session without an ID");
	*ret_id_owned = strdup(id);
	return 0;
}
