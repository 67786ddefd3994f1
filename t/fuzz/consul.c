/* Any answer of Consul: every reader takes it or refuses it with a sentence; what is taken is in order.
 * seeds: test-data/recordings/consul */
#include "../../libintent/store/consul-wire.h"
#include "../../libintent/store/etcd-wire.h"
#include "response.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static const char prefix[] = "nodes/";

static const struct intent_op ops[] = {
	{.kind = INTENT_OP_PUT, .key = "nodes/n1/slug", .value = "v", .length = 1},
	{.kind = INTENT_OP_CHECK, .key = "nodes/n1/other", .revision = 7},
	{.kind = INTENT_OP_DELETE, .key = "nodes/n1/gone"},
	{.kind = INTENT_OP_PUT, .key = "p/a", .session = "adf4238a-882b-9ddc-4a9d-5b6758e4159e"},
};
#define OPS (sizeof ops / sizeof ops[0])

static void read_keys(const struct intent_http_response *response, const char *key, bool exact)
{
	struct intent_snapshot *snapshot = NULL;
	struct intent_error err = {0};

	if (!fuzz_good(intent__consul_read_kv(response, key, exact, &snapshot, &err), &err)) {
		if (snapshot)
			abort();
		return;
	}
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct intent_entry *entry = &snapshot->entries[i];

		if (exact ? strcmp(entry->key, key) != 0 : !intent_starts_with(entry->key, key))
			abort();
		if (!intent__key_is_ours(entry->key, strlen(entry->key)) || !entry->revision ||
		    entry->value[entry->length] || (i && strcmp(entry[-1].key, entry->key) > 0))
			abort();
	}
	intent_snapshot_unref(snapshot);
}

static void read_writes(const struct intent_http_response *response)
{
	struct intent__consul_outcome outcome;
	struct intent__consul_map map;
	struct intent__call call = {0};
	struct intent_error err = {0};
	char *id = NULL;

	intent__consul_txn(&call, &map, ops, OPS, 1 << 3);
	intent__call_release(&call);
	if (fuzz_good(intent__consul_read_txn(response, &map, ops, OPS, true, &outcome, &err), &err) &&
	    (outcome.held | outcome.bound | outcome.gone) >> OPS)
		abort();
	(void)fuzz_good(intent__consul_read_raw_put(response, ops, 2, &err), &err);
	if (fuzz_good(intent__consul_read_session(response, &id, &err), &err) && !intent__consul_is_session(id))
		abort();
	free(id);
	/* Not of what is fine. */
	if (response->status != 200 && !intent__consul_error(response, true, &err))
		abort();
}

/* Numbers tamed once are tame. */
static void tame(const struct intent_text *body)
{
	char *once = malloc(body->length + 1), *twice = malloc(body->length + 1);

	if (!once || !twice)
		abort();
	memcpy(once, intent_text_str(body), body->length);
	intent__consul_tame_numbers(once, body->length);
	memcpy(twice, once, body->length);
	intent__consul_tame_numbers(twice, body->length);
	if (memcmp(once, twice, body->length) != 0)
		abort();
	free(once);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct intent_http_response response = fuzz_response(bytes, count);

	read_keys(&response, prefix, false);
	read_keys(&response, "nodes/n1/slug", true);
	read_keys(&response, "", false);
	read_writes(&response);
	tame(&response.body);
	intent_http_response_release(&response);
	return 0;
}
