/* Any answer of etcd's gateway, and any stream of a watch, however it is cut.
 * seeds: test-data/recordings/etcd */
#include "../../libintent/store/etcd-wire.h"
#include "response.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const struct intent_op ops[] = {
	{.kind = INTENT_OP_CHECK, .key = "nodes/n1/slug", .revision = 2},
	{.kind = INTENT_OP_PUT, .key = "nodes/n1/slug", .value = "v", .length = 1},
};

/* `unique`: no key twice, as after events. */
static void look_at(const struct intent_snapshot *snapshot, bool unique)
{
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct intent_entry *entry = &snapshot->entries[i];
		int order = i ? strcmp(entry[-1].key, entry->key) : -1;

		if (!intent__key_is_ours(entry->key, strlen(entry->key)) || !entry->revision ||
		    entry->value[entry->length] || order > 0 || (unique && !order))
			abort();
	}
}

static void read_documents(const json_t *root)
{
	struct intent_snapshot *snapshot = intent_snapshot_new();
	struct intent__etcd_header header;
	struct intent_error err = {0};
	char *id = NULL;
	bool more;

	if (!snapshot)
		abort();
	if (fuzz_good(intent__etcd_read_range(root, snapshot, &more, &err), &err)) {
		intent_snapshot_sort(snapshot);
		look_at(snapshot, false);
	}
	intent_snapshot_unref(snapshot);
	intent__etcd_header(root, &header);
	(void)fuzz_good(intent__etcd_read_txn(root, ops, 2, &err), &err);
	(void)fuzz_good(intent__etcd_read_keepalive(root, "42", &err), &err);
	if (fuzz_good(intent__etcd_read_grant(root, &id, &err), &err) && !intent__etcd_is_lease(id))
		abort();
	free(id);
}

static void read_answer(const struct intent_http_response *response)
{
	struct intent_error err = {0};
	const char *api = NULL;
	json_t *root = NULL;

	for (int writes = 0; writes < 2; writes++) {
		enum intent__etcd_fate fate = intent__etcd_reply(response, writes, &root, &err);

		if ((fate == INTENT__ETCD_FINE) != (root != NULL) || (!root && !(err.code < 0 && err.msg[0])))
			abort();
		if (root)
			read_documents(root);
		json_decref(root);
		root = NULL;
	}
	if (fuzz_good(intent__etcd_api(response, &api, &err), &err) && !intent_starts_with(api, "v3"))
		abort();
}

/* ---- the stream ---- */

struct stream { struct intent_snapshot *content; struct intent_text lines; };

static int on_line(const char *line, size_t length, void *data)
{
	struct stream *stream = data;
	struct intent__etcd_message message;
	struct intent_snapshot *fresh = NULL;
	enum intent__etcd_fate fate;
	struct intent_error err = {0};
	json_t *root = NULL;

	intent_text_add(&stream->lines, line, length);
	intent_text_puts(&stream->lines, "\n");
	if (!fuzz_good(intent__etcd_read_message(line, length, &root, &message, &fate, &err), &err)) {
		if (root || fate == INTENT__ETCD_FINE)
			abort();
		return 0;
	}
	if (fuzz_good(intent__etcd_apply(stream->content, message.events, &fresh, &err), &err)) {
		look_at(fresh, true);
		if (fresh->revision < stream->content->revision)
			abort();
		intent_snapshot_unref(stream->content);
		stream->content = fresh;
	}
	json_decref(root);
	return 0;
}

static struct stream read_stream(const struct intent_text *body, size_t piece)
{
	struct intent__lines lines = {.limit = 1 << 20};
	struct stream stream = {.content = intent_snapshot_new()};

	intent_snapshot_add(stream.content, "nodes/n1/slug", "v", 1, 2, NULL, false);
	for (size_t at = 0; at < body->length; at += piece) {
		size_t count = body->length - at < piece ? body->length - at : piece;

		if (intent__lines_feed(&lines, body->data + at, count, on_line, &stream))
			break;
	}
	intent__lines_release(&lines);
	return stream;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct intent_http_response response = fuzz_response(bytes, count);
	struct stream whole = read_stream(&response.body, response.body.length + 1);
	struct stream cut = read_stream(&response.body, count % 7 + 1);

	if (whole.lines.length != cut.lines.length ||
	    strcmp(intent_text_str(&whole.lines), intent_text_str(&cut.lines)) != 0 ||
	    !intent_snapshot_same(whole.content, cut.content))
		abort();
	intent_snapshot_unref(whole.content);
	intent_snapshot_unref(cut.content);
	intent_text_release(&whole.lines);
	intent_text_release(&cut.lines);
	read_answer(&response);
	intent_http_response_release(&response);
	return 0;
}
