/* The pure half of the Consul engine, and what a real Consul once answered. */
#include <check.h>
#include <fcntl.h>
#include <intent/file.h>
#include "../../libintent/store/consul-wire.h"

static struct intent_error error;
static struct intent__call call;
static struct intent__consul_map map;

/* ---- requests ---- */

static const struct { const char *key, *safe; } keys[] = {
	{"a/k", "a/k"}, {"a/", "a/"}, {"", ""}, {"nodes/web 1/%?#", "nodes/web 1/%?#"},
	{"a//b", "a/"}, {"/a", ""}, {"a/../b", "a/"}, {"a/./b", "a/"}, {"a/..", "a/"}, {"a/...", "a/..."},
	{".", ""}, {"..a/b", "..a/b"}, {"a/b//", "a/b/"},
};

START_TEST(safe_paths)
{
	char safe[INTENT_KEY_MAX + 1];

	intent__consul_safe(keys[_i].key, safe);
	ck_assert_str_eq(safe, keys[_i].safe);
}
END_TEST

START_TEST(read_requests)
{
	intent__consul_list(&call, "a/", true, 0);
	ck_assert_str_eq(intent_text_str(&call.path), "/v1/kv/a/?recurse&consistent");
	intent__call_release(&call);
	intent__consul_list(&call, "a b/", false, 77);
	ck_assert_str_eq(intent_text_str(&call.path), "/v1/kv/a%20b/?recurse&index=77&wait=300s");
	ck_assert_int_eq(call.timeout_ms, 300000 * 17 / 16 + 10000);
	intent__call_release(&call);
	intent__consul_get(&call, "a/k", false);
	ck_assert_str_eq(intent_text_str(&call.path), "/v1/kv/a/k");
	intent__call_release(&call);
	intent__consul_get(&call, "a//k", true);
	ck_assert_str_eq(intent_text_str(&call.path), "/v1/kv/a/?recurse&consistent");
	intent__call_release(&call);
}
END_TEST

static const struct intent_op ops[] = {
	{.kind = INTENT_OP_PUT, .key = "a\"\\", .value = "v", .length = 1},
	{.kind = INTENT_OP_DELETE, .key = "b"},
	{.kind = INTENT_OP_CHECK, .key = "c", .revision = 7},
	{.kind = INTENT_OP_PUT, .key = "d", .session = "s"},
	{.kind = INTENT_OP_CHECK, .key = "e"},
};

START_TEST(txn_request)
{
	intent__consul_txn(&call, &map, ops, 5, 1 << 3);
	ck_assert_str_eq(intent_text_str(&call.body),
		"[{\"KV\":{\"Verb\":\"check-index\",\"Key\":\"c\",\"Index\":7}},"
		"{\"KV\":{\"Verb\":\"check-not-exists\",\"Key\":\"e\"}},"
		"{\"KV\":{\"Verb\":\"set\",\"Key\":\"a\\\"\\\\\",\"Value\":\"dg==\"}},"
		"{\"KV\":{\"Verb\":\"delete\",\"Key\":\"b\"}},"
		"{\"KV\":{\"Verb\":\"delete\",\"Key\":\"d\"}},"
		"{\"KV\":{\"Verb\":\"lock\",\"Key\":\"d\",\"Value\":\"\",\"Session\":\"s\"}}]");
	ck_assert(call.writes);
	ck_assert_uint_eq(map.count, 6);
	ck_assert_int_eq(map.op[1], 4);
	ck_assert_int_eq(map.op[5], 3);
	intent__call_release(&call);
	intent__consul_txn(&call, &map, &ops[2], 1, 0);
	ck_assert(!call.writes);
	intent__call_release(&call);
}
END_TEST

START_TEST(freeing_request)
{
	const uint64_t revisions[5] = {9};

	ck_assert_uint_eq(intent__consul_free(&call, &map, ops, 5, 1, revisions, false), 1);
	ck_assert_str_eq(intent_text_str(&call.body),
		"[{\"KV\":{\"Verb\":\"check-index\",\"Key\":\"a\\\"\\\\\",\"Index\":9}},"
		"{\"KV\":{\"Verb\":\"delete\",\"Key\":\"a\\\"\\\\\"}},"
		"{\"KV\":{\"Verb\":\"set\",\"Key\":\"a\\\"\\\\\",\"Value\":\"dg==\"}}]");
	intent__call_release(&call);
	(void)intent__consul_free(&call, &map, ops, 5, 1, revisions, true);
	ck_assert_ptr_nonnull(strstr(intent_text_str(&call.body), "check-not-exists"));
	ck_assert_ptr_null(strstr(intent_text_str(&call.body), "delete"));
	intent__call_release(&call);
}
END_TEST

START_TEST(large_values)
{
	const struct intent_op cas[] = {
		{.kind = INTENT_OP_CHECK, .key = "a k", .revision = 7},
		{.kind = INTENT_OP_PUT, .key = "a k", .value = "v", .length = 1},
	};
	struct intent_op other[] = {cas[0], cas[1]};

	ck_assert(intent__consul_raw_put(&call, cas, 2));
	ck_assert_str_eq(intent_text_str(&call.path), "/v1/kv/a%20k?cas=7");
	ck_assert_str_eq(intent_text_str(&call.body), "v");
	ck_assert(call.writes);
	intent__call_release(&call);
	ck_assert(intent__consul_raw_put(&call, cas + 1, 1));
	ck_assert_str_eq(intent_text_str(&call.path), "/v1/kv/a%20k");
	intent__call_release(&call);
	other[0].key = "b";
	ck_assert(!intent__consul_raw_put(&call, other, 2));
	ck_assert(!intent__consul_raw_put(&call, cas, 1));
	other[0] = cas[0];
	other[1].session = "s";
	ck_assert(!intent__consul_raw_put(&call, other, 2));
}
END_TEST

static const struct { int64_t ttl; const char *text; } ttls[] = {
	{60000, "\"TTL\":\"60s\""}, {1000, "\"TTL\":\"10s\""}, {10001, "\"TTL\":\"11s\""}, {INT64_C(90000000),
		"\"TTL\":\"86400s\""},
};

START_TEST(session_request)
{
	intent__consul_session_create(&call, ttls[_i].ttl);
	ck_assert_ptr_nonnull(strstr(intent_text_str(&call.body), ttls[_i].text));
	ck_assert_ptr_nonnull(strstr(intent_text_str(&call.body),
				     "\"Behavior\":\"delete\",\"LockDelay\":\"0s\",\"Checks\":[]"));
	intent__call_release(&call);
}
END_TEST

/* ---- what has no number in jansson ---- */

static const struct { const char *json, *tame; } numbers[] = {
	{"{\"Flags\":18446744073709551615,\"a\":1}", "{\"Flags\":0                   ,\"a\":1}"},
	{"[9223372036854775807]", "[9223372036854775807]"},
	{"[9223372036854775808]", "[0                  ]"},
	{"[\"18446744073709551615\"]", "[\"18446744073709551615\"]"},
	{"[\"\\\"18446744073709551615\"]", "[\"\\\"18446744073709551615\"]"},
	{"[1844674407370955161500.5]", "[1844674407370955161500.5]"},
	{"[18446744073709551615", "[0                   "},
	{"[9007199254740993]", "[9007199254740993]"},
	{"[\"\\", "[\"\\"},
};

START_TEST(tame_numbers)
{
	char text[64];

	(void)snprintf(text, sizeof text, "%s", numbers[_i].json);
	intent__consul_tame_numbers(text, strlen(text));
	ck_assert_str_eq(text, numbers[_i].tame);
}
END_TEST

/* ---- many prefixes, few queries ---- */

static const struct { const char *prefixes[6]; size_t most; const char *queries; } merges[] = {
	{{"b/", "a/"}, 2, "a/|b/|"},
	{{"nodes/w1/", "nodes/w10/", "clusters/a/"}, 2, "clusters/a/|nodes/w1|"},
	{{"clusters/a/x/", "clusters/a/y/", "clusters/b/x/", "nodes/w/"}, 2, "clusters/|nodes/w/|"},
	{{"clusters/a/x/", "clusters/a/y/", "clusters/b/x/", "nodes/w/"}, 3, "clusters/a/|clusters/b/x/|nodes/w/|"},
	{{"a/", "b/"}, 1, "|"},
	{{"a/b/", "a/", "c/"}, 2, "a/|c/|"},
	{{NULL}, 2, ""},
};

START_TEST(merged)
{
	size_t count = 0;
	intent_text_auto struct intent_text joined = INTENT_TEXT_INIT;

	while (merges[_i].prefixes[count])
		count++;
	char **queries = intent__prefixes_merge(merges[_i].prefixes, count, merges[_i].most);

	for (size_t i = 0; queries[i]; i++)
		intent_text_printf(&joined, "%s|", queries[i]);
	ck_assert_str_eq(intent_text_str(&joined), merges[_i].queries);
	free(queries);
}
END_TEST

/* ---- the recordings ---- */

/* The answer of test-data/recordings/consul/<name>.http. */
static struct intent_http_response recorded(const char *name)
{
	struct intent_http_response response = {0};
	intent_free_auto char *path = intent_format("test-data/recordings/consul/%s.http", name), *text = NULL;
	size_t length;

	ck_assert_msg(!intent_file_read(AT_FDCWD, path, 1 << 20, &text, &length, &error), "%s", error.msg);
	char *line = strstr(text, "# response\n") + strlen("# response\n");

	ck_assert_int_eq(sscanf(line, "HTTP/1.1 %d", &response.status), 1);
	for (line = strchr(line, '\n') + 1; *line != '\n'; line = strchr(line, '\n') + 1) {
		for (char *c = line; *c != ':'; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
		intent_text_add(&response.headers, line, (size_t)(strchr(line, '\n') + 1 - line));
	}
	intent_text_puts(&response.body, line + 1);
	return response;
}

static const struct {
	const char *name, *key;
	bool exact;
	int code;
	size_t count;
	uint64_t index, revision;
	const char *value;
} reads[] = {
	{"01-get-missing", "nope", true, 0, 0, 1, 0, NULL},
	{"03-get", "nodes/n1/slug", true, 0, 1, 14, 14, "{\"cluster\":\"development\"}"},
	{"03-get", "nodes/n1/slu", true, 0, 0, 14, 0, NULL},
	{"05-get-empty-value", "empty", true, 0, 1, 15, 15, ""},
	{"06-list-recurse", "nodes/", false, 0, 1, 14, 14, "{\"cluster\":\"development\"}"},
	{"06-list-recurse", "nodes/n2/", false, 0, 0, 14, 0, NULL},
	{"07-list-missing-prefix", "absent/", false, 0, 0, 15, 0, NULL},
	{"24-blocking-timeout", "nodes/", false, 0, 1, 16, 16, "{\"cluster\":\"production\"}"},
	{"30-get-flags-u64", "f", true, 0, 1, 30, 30, "v"},
	{"31-bad-consistency", "f", true, INTENT_EUSAGE, 0, 0, 0, NULL},
	{"20-session-ttl-too-short", "f", true, INTENT_EUNAVAILABLE, 0, 0, 0, NULL},
	{"02-put", "f", true, INTENT_EUNAVAILABLE, 0, 0, 0, NULL},
};

START_TEST(recorded_reads)
{
	struct intent_http_response response = recorded(reads[_i].name);
	struct intent_snapshot *snapshot = NULL;

	ck_assert_int_eq(intent__consul_read_kv(&response, reads[_i].key, reads[_i].exact, &snapshot, &error),
			 reads[_i].code);
	intent_http_response_release(&response);
	if (reads[_i].code)
		return;
	ck_assert_uint_eq(snapshot->count, reads[_i].count);
	ck_assert_uint_eq(snapshot->revision, reads[_i].index);
	if (snapshot->count) {
		ck_assert_uint_eq(snapshot->entries[0].revision, reads[_i].revision);
		ck_assert_str_eq(snapshot->entries[0].value, reads[_i].value);
	}
	intent_snapshot_unref(snapshot);
}
END_TEST

START_TEST(recorded_session_of_key)
{
	struct intent_http_response response = recorded("15-get-held");
	struct intent_snapshot *snapshot = NULL;

	ck_assert_int_eq(intent__consul_read_kv(&response, "", false, &snapshot, &error), 0);
	ck_assert_uint_eq(snapshot->count, 1);
	ck_assert(intent__consul_is_session(snapshot->entries[0].session));
	intent_snapshot_unref(snapshot);
	intent_http_response_release(&response);
}
END_TEST

START_TEST(recorded_transactions)
{
	const struct intent_op two[] = {
		{.kind = INTENT_OP_CHECK, .key = "nodes/n1/slug", .revision = 1},
		{.kind = INTENT_OP_PUT, .key = "t/a", .value = "1", .length = 1},
	};
	struct intent__consul_outcome outcome;
	struct intent_http_response response = recorded("21-txn-ok");

	map = (struct intent__consul_map){.op = {1, 0}, .count = 2};
	ck_assert_int_eq(intent__consul_read_txn(&response, &map, two, 2, true, &outcome, &error), 0);
	ck_assert_uint_eq(outcome.revision, 26);
	ck_assert(!outcome.held && !outcome.bound);
	intent_http_response_release(&response);
	response = recorded("22-txn-conflict");
	ck_assert_int_eq(intent__consul_read_txn(&response, &map, two, 2, true, &outcome, &error), INTENT_ECONFLICT);
	ck_assert_ptr_nonnull(strstr(error.msg, "key nodes/n1/slug"));
	intent_http_response_release(&response);
	response = recorded("23-txn-check-not-exists");
	map = (struct intent__consul_map){.op = {0}, .count = 1};
	ck_assert_int_eq(intent__consul_read_txn(&response, &map, two, 1, true, &outcome, &error), INTENT_ECONFLICT);
	intent_http_response_release(&response);
	response = recorded("34-value-too-large");
	ck_assert_int_eq(intent__consul_read_txn(&response, &map, two, 2, true, &outcome, &error), INTENT_ETOOBIG);
	intent_http_response_release(&response);
}
END_TEST

START_TEST(recorded_puts)
{
	static const struct { const char *name; int code; } rows[] = {
		{"02-put", 0}, {"09-cas-ok", 0}, {"10-cas-stale", INTENT_ECONFLICT}, {"11-cas0-exists",
			INTENT_ECONFLICT},
		{"20-session-ttl-too-short", INTENT_EUNKNOWN}, {"34-value-too-large", INTENT_ETOOBIG},
	};
	const struct intent_op two[] = {{.kind = INTENT_OP_CHECK, .key = "a"}, {.kind = INTENT_OP_PUT, .key = "a"}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct intent_http_response response = recorded(rows[i].name);

		ck_assert_int_eq(intent__consul_read_raw_put(&response, two, 2, &error), rows[i].code);
		intent_http_response_release(&response);
	}
}
END_TEST

START_TEST(recorded_session)
{
	struct intent_http_response response = recorded("12-session-create");
	char *id = NULL;

	ck_assert_int_eq(intent__consul_read_session(&response, &id, &error), 0);
	ck_assert(intent__consul_is_session(id));
	free(id);
	intent_http_response_release(&response);
	response = recorded("20-session-ttl-too-short");
	ck_assert_int_eq(intent__consul_read_session(&response, &id, &error), INTENT_EUNAVAILABLE);
	ck_assert_ptr_nonnull(strstr(error.msg, "Invalid Session TTL"));
	intent_http_response_release(&response);
}
END_TEST

/* ---- answers that nobody recorded ---- */

START_TEST(transaction_outcomes)
{
	static const struct { int status; const char *body; int code; uint64_t held, bound, gone; } rows[] = {
		{409, "{\"Errors\":[{\"OpIndex\":5,\"What\":\"failed to lock key \\\"d\\\","
			" lock is already held\"}]}", 0, 8, 0, 0},
		{409, "{\"Errors\":[{\"OpIndex\":5,\"What\":\"lock is already held\"},{\"OpIndex\":0,"
			"\"What\":\"failed index check\"}]}",
		 INTENT_ECONFLICT, 8, 0, 0},
		{409, "{\"Errors\":[{\"OpIndex\":5,\"What\":\"invalid session \\\"s\\\"\"}]}", INTENT_EABSENT, 0, 0, 0},
		{409, "{\"Errors\":[{\"OpIndex\":99,\"What\":\"?\"}]}", INTENT_EUNAVAILABLE, 0, 0, 0},
		{409, "{\"Errors\":[]}", INTENT_EUNAVAILABLE, 0, 0, 0},
		{409, "{\"Errors\":[{\"OpIndex\":2,\"What\":\"Permission denied\"}]}", INTENT_EREFUSED, 0, 0, 0},
		{200, "{\"Results\":[{\"KV\":{\"Key\":\"a\\\"\\\\\",\"Session\":\"x\",\"ModifyIndex\":9}}]}",
			0, 0, 1, 0},
		{200, "{\"Results\":[{\"KV\":{\"Key\":\"d\",\"Session\":\"s\",\"ModifyIndex\":9}}]}", 0, 0, 0, 0},
		{200, "[]", INTENT_EUNKNOWN, 0, 0, 0},
		{500, "rpc error making call: EOF", INTENT_EUNKNOWN, 0, 0, 0},
		{500, "No cluster leader", INTENT_EUNAVAILABLE, 0, 0, 0},
	};

	intent__consul_txn(&call, &map, ops, 5, 1 << 3);
	intent__call_release(&call);
	struct intent_http_response response = {.status = rows[_i].status};
	struct intent__consul_outcome outcome;

	intent_text_puts(&response.body, rows[_i].body);
	ck_assert_int_eq(intent__consul_read_txn(&response, &map, ops, 5, true, &outcome, &error), rows[_i].code);
	ck_assert_uint_eq(outcome.held, rows[_i].held);
	ck_assert_uint_eq(outcome.bound, rows[_i].bound);
	ck_assert_uint_eq(outcome.gone, rows[_i].gone);
	intent_http_response_release(&response);
}
END_TEST

#define ROWS(table) (int)(sizeof table / sizeof table[0])

int main(void)
{
	Suite *suite = suite_create("consul");
	TCase *tests = tcase_create("wire"), *records = tcase_create("recordings");

	tcase_add_loop_test(tests, safe_paths, 0, ROWS(keys));
	tcase_add_test(tests, read_requests);
	tcase_add_test(tests, txn_request);
	tcase_add_test(tests, freeing_request);
	tcase_add_test(tests, large_values);
	tcase_add_loop_test(tests, session_request, 0, ROWS(ttls));
	tcase_add_loop_test(tests, tame_numbers, 0, ROWS(numbers));
	tcase_add_loop_test(tests, merged, 0, ROWS(merges));
	tcase_add_loop_test(tests, transaction_outcomes, 0, 11);
	tcase_add_loop_test(records, recorded_reads, 0, ROWS(reads));
	tcase_add_test(records, recorded_session_of_key);
	tcase_add_test(records, recorded_transactions);
	tcase_add_test(records, recorded_puts);
	tcase_add_test(records, recorded_session);
	suite_add_tcase(suite, tests);
	suite_add_tcase(suite, records);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
