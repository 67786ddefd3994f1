/* The stream of an etcd watch: bytes to lines, lines to messages, messages to content. */
#include "etcd-wire.h"

void intent__lines_release(struct intent__lines *lines)
{
	intent_text_release(&lines->rest);
}

int intent__lines_feed(struct intent__lines *lines, const char *bytes, size_t count,
		       int (*on_line)(const char *line, size_t length, void *data), void *data)
{
	while (count) {
		const char *end = memchr(bytes, '\n', count);
		size_t taken = end ? (size_t)(end - bytes) + 1 : count;

		if (lines->rest.length + taken > lines->limit)
			return INTENT_ETOOBIG;
		intent_text_add(&lines->rest, bytes, taken);
		bytes += taken;
		count -= taken;
		if (!end)
			continue;
		/* An own copy: on_line may end us. */
		struct intent_text line = lines->rest;

		lines->rest = (struct intent_text){.limit = line.limit};
		int code = line.length > 1 ? on_line(line.data, line.length - 1, data) : 0;

		intent_text_release(&line);
		if (code)
			return code;
	}
	return 0;
}

static uint64_t number(const json_t *object, const char *name)
{
	int64_t parsed;
	struct intent_error ignored;

	if (intent_integer_parse(intent_json_string(object, name, "0"), 0, INT64_MAX, &parsed, &ignored))
		return 0;
	return (uint64_t)parsed;
}

int intent__etcd_read_message(const char *line, size_t length, json_t **ret_new,
			      struct intent__etcd_message *ret, enum intent__etcd_fate *ret_fate,
			      struct intent_error *err)
{
	intent_json_auto json_t *root = NULL;

	*ret_fate = INTENT__ETCD_ELSEWHERE;
	if (intent_json_parse(line, length, INTENT__REPLY_MAX, &root, err))
		return intent_wrap(err, "etcd's watch");
	if (json_object_get(root, "error")) {
		*ret_fate = intent__etcd_error(root, 200, false, err);
		return err->code;
	}
	const json_t *result = json_object_get(root, "result");

	if (!json_is_object(result))
		return intent_fail(err, INTENT_EMALFORMED, "etcd's watch: a line without a result");
	*ret = (struct intent__etcd_message){
		.watch = number(result, "watch_id"),
		.created = json_is_true(json_object_get(result, "created")),
		.canceled = json_is_true(json_object_get(result, "canceled")),
		.compacted = number(result, "compact_revision"),
		.reason = intent_json_string(result, "cancel_reason", ""),
		.events = json_object_get(result, "events"),
	};
	intent__etcd_header(result, &ret->header);
	*ret_fate = INTENT__ETCD_FINE;
	*ret_new = json_incref(root);
	return 0;
}

/* Of each key only its last event counts. Borrowed events, by decoded key. */
static int last_events(const json_t *events, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *last = json_object();
	intent_text_auto struct intent_text key = INTENT_TEXT_INIT;

	for (size_t i = 0; i < json_array_size(events); i++) {
		json_t *event = json_array_get(events, i);
		const char *text = intent_json_string(json_object_get(event, "kv"), "key", "");

		intent_text_clear(&key);
		if (intent_base64_decode(&key, text, strlen(text), err))
			return intent_wrap(err, "etcd's watch: a key");
		if (!intent__key_is_ours(intent_text_str(&key), key.length))
			continue;
		json_object_set(last, key.data, event);
	}
	*ret_new = json_incref(last);
	return 0;
}

int intent__etcd_apply(const struct intent_snapshot *old, const json_t *events,
		       struct intent_snapshot **ret_owned, struct intent_error *err)
{
	intent_json_auto json_t *last = NULL, *puts = json_array(), *page = json_object();
	struct intent_snapshot *fresh;
	const char *key;
	json_t *event;
	bool more;

	if (last_events(events, &last, err))
		return err->code;
	fresh = intent_snapshot_new();
	fresh->revision = old->revision;
	for (size_t i = 0; i < old->count; i++) {
		if (!json_object_get(last, old->entries[i].key))
			intent__snapshot_share(fresh, &old->entries[i]);
	}
	json_object_foreach(last, key, event) {
		json_t *kv = json_object_get(event, "kv");
		uint64_t revision = number(kv, "mod_revision");

		if (revision > fresh->revision)
			fresh->revision = revision;
		if (strcmp(intent_json_string(event, "type", "PUT"), "DELETE"))
			json_array_append(puts, kv);
	}
	json_object_set(page, "kvs", puts);
	if (intent__etcd_read_range(page, fresh, &more, err)) {
		intent_snapshot_unref(fresh);
		return err->code;
	}
	intent_snapshot_sort(fresh);
	*ret_owned = fresh;
	return 0;
}
