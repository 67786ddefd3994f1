/* The pure half of the etcd engine: requests as text, answers, the stream. */
#include <check.h>
#include "../../libintent/store/etcd.h"

static struct intent_error error;

static struct intent_http_response reply(int status, const char *body)
{
	struct intent_http_response response = {.status = status};

	intent_text_puts(&response.body, body);
	return response;
}

static json_t *document(const char *text)
{
	json_t *root;

	ck_assert_msg(!intent_json_parse(text, strlen(text), 0, &root, &error), "%s: %s", text, error.msg);
	return root;
}

/* ---- requests ---- */

static const struct { struct intent__etcd_range range; const char *body; } ranges[] = {
	{{.key = "a/k", .exact = true}, "{\"key\":\"YS9r\"}"},
	{{.key = "a/"}, "{\"key\":\"YS8=\",\"range_end\":\"YTA=\"}"},
	{{.key = ""}, "{\"key\":\"AA==\",\"range_end\":\"AA==\"}"},
	{{.key = "a\xff"}, "{\"key\":\"Yf8=\",\"range_end\":\"Yg==\"}"},
	{{.key = "\xff\xff"}, "{\"key\":\"//8=\",\"range_end\":\"AA==\"}"},
	{{.key = "a/", .limit = 8}, "{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"limit\":\"8\"}"},
	{{.key = "a/", .after = "a/k", .after_length = 3, .revision = 7, .serializable = true, .limit = 8},
	 "{\"key\":\"YS9rAA==\",\"range_end\":\"YTA=\",\"revision\":\"7\",\"serializable\":true,\"limit\":\"8\"}"},
	{{.key = "", .after = "z", .after_length = 1}, "{\"key\":\"egA=\",\"range_end\":\"AA==\"}"},
	{{.key = "a/", .only_look = true, .limit = 8},
	 "{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"limit\":\"1\",\"keys_only\":true}"},
};

START_TEST(range_request)
{
	struct intent__call call = {0};

	intent__etcd_range(&call, "v3", &ranges[_i].range);
	ck_assert_str_eq(intent_text_str(&call.body), ranges[_i].body);
	ck_assert_str_eq(intent_text_str(&call.path), "/v3/kv/range");
	ck_assert(!call.writes);
	json_decref(document(intent_text_str(&call.body)));
	intent__call_release(&call);
}
END_TEST

START_TEST(txn_request)
{
	const struct intent_op ops[] = {
		{.kind = INTENT_OP_PUT, .key = "a", .value = "v", .length = 1, .session = "42"},
		{.kind = INTENT_OP_CHECK, .key = "b", .revision = 7},
		{.kind = INTENT_OP_DELETE, .key = "c"},
		{.kind = INTENT_OP_CHECK, .key = "d"},
	};
	struct intent__call call = {0};

	ck_assert_int_eq(intent__etcd_txn(&call, "v3", ops, 4, &error), 0);
	ck_assert_str_eq(intent_text_str(&call.body),
		"{\"compare\":[{\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"7\",\"key\":\"Yg==\"},"
		"{\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"0\",\"key\":\"ZA==\"}],"
		"\"success\":[{\"request_put\":{\"key\":\"YQ==\",\"value\":\"dg==\",\"lease\":\"42\"}},"
		"{\"request_delete_range\":{\"key\":\"Yw==\"}}],"
		"\"failure\":[{\"request_range\":{\"keys_only\":true,\"key\":\"Yg==\"}},"
		"{\"request_range\":{\"keys_only\":true,\"key\":\"ZA==\"}}]}");
	ck_assert(call.writes);
	intent__call_release(&call);
	const struct intent_op foreign = {.kind = INTENT_OP_PUT, .key = "a", .session = "4a-2b"};

	ck_assert_int_eq(intent__etcd_txn(&call, "v3", &foreign, 1, &error), INTENT_EABSENT);
	intent__call_release(&call);
	const struct intent_op look = {.kind = INTENT_OP_CHECK, .key = "a"};

	ck_assert_int_eq(intent__etcd_txn(&call, "v3", &look, 1, &error), 0);
	ck_assert(!call.writes);
	intent__call_release(&call);
}
END_TEST

START_TEST(secrets_are_escaped)
{
	struct intent__call call = {0};

	intent__etcd_authenticate(&call, "v3", "u", "p\"\\w");
	ck_assert_str_eq(intent_text_str(&call.body), "{\"name\":\"u\",\"password\":\"p\\\"\\\\w\"}");
	intent__call_release(&call);
}
END_TEST

static const struct { const char *body; int status; const char *api; } versions[] = {
	{"{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}", 200, "v3"},
	{"{\"etcdserver\":\"3.3.27\"}", 200, "v3beta"},
	{"{\"etcdserver\":\"3.2.1\"}", 200, "v3alpha"},
	{"{\"etcdserver\":\"3.6.0\"}", 200, "v3"},
	{"{\"etcdserver\":\"2.3.0\"}", 200, NULL},
	{"{\"etcdserver\":\"3.4.23\"}", 500, NULL},
	{"<html>", 200, NULL},
	{"[]", 200, NULL},
};

START_TEST(api_by_version)
{
	struct intent_http_response response = reply(versions[_i].status, versions[_i].body);
	const char *api = NULL;

	ck_assert_int_eq(intent__etcd_api(&response, &api, &error), versions[_i].api ? 0 : INTENT_EUNAVAILABLE);
	ck_assert_pstr_eq(api, versions[_i].api);
	intent_http_response_release(&response);
}
END_TEST

/* ---- answers ---- */

static const struct {
	int status;
	const char *body;
	bool writes;
	enum intent__etcd_fate fate;
	int code;
} errors[] = {
	{200, "{}", true, INTENT__ETCD_FINE, 0},
	{503, "{\"error\":\"etcdserver: no leader\",\"code\":14}", true, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE},
	{503, "{\"error\":\"etcdserver: leader changed\",\"code\":14}", true, INTENT__ETCD_FAILED, INTENT_EUNKNOWN},
	{503, "{\"error\":\"etcdserver: leader changed\",\"code\":14}", false, INTENT__ETCD_ELSEWHERE,
		INTENT_EUNAVAILABLE},
	{504, "{\"error\":\"context deadline exceeded\",\"code\":4}", true, INTENT__ETCD_FAILED, INTENT_EUNKNOWN},
	{401, "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}", true, INTENT__ETCD_AUTHENTICATE,
		INTENT_EREFUSED},
	{400, "{\"error\":\"etcdserver: revision of auth store is old\",\"code\":3}", true,
		INTENT__ETCD_AUTHENTICATE, INTENT_EREFUSED},
	{400, "{\"error\":\"etcdserver: user name is empty\",\"code\":3}", false, INTENT__ETCD_AUTHENTICATE,
		INTENT_EREFUSED},
	{403, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", true, INTENT__ETCD_FAILED, INTENT_EREFUSED},
	{400, "{\"error\":\"etcdserver: request is too large\",\"code\":3}", true, INTENT__ETCD_FAILED, INTENT_ETOOBIG},
	{429, "{\"error\":\"grpc: received message larger than max (9 vs. 4)\",\"code\":8}", false,
		INTENT__ETCD_TOO_LARGE, INTENT_ETOOBIG},
	{400, "{\"error\":\"etcdserver: mvcc: required revision has been compacted\",\"code\":11}", false,
		INTENT__ETCD_COMPACTED, INTENT_EUNAVAILABLE},
	{400, "{\"error\":\"etcdserver: mvcc: required revision is a future revision\","
		"\"code\":11}Grpc-Trailer-Content-Type: application/grpc\r\n",
	 false, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE},
	{404, "{\"error\":\"etcdserver: requested lease not found\",\"code\":5}", true, INTENT__ETCD_FAILED,
		INTENT_EABSENT},
	{429, "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", true,
		INTENT__ETCD_FAILED, INTENT_EUNAVAILABLE},
	{200, "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}", false,
	 INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE},
	{404, "404 page not found", false, INTENT__ETCD_PROBE, INTENT_EUNAVAILABLE},
	{500, "oh", true, INTENT__ETCD_FAILED, INTENT_EUNKNOWN},
	{500, "oh", false, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE},
	{200, "<html>", true, INTENT__ETCD_FAILED, INTENT_EUNKNOWN},
	{200, "[]", false, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE},
	{302, "", true, INTENT__ETCD_ELSEWHERE, INTENT_EUNAVAILABLE},
	{413, "big", true, INTENT__ETCD_FAILED, INTENT_ETOOBIG},
};

START_TEST(error_table)
{
	struct intent_http_response response = reply(errors[_i].status, errors[_i].body);
	json_t *root = NULL;

	ck_assert_int_eq(intent__etcd_reply(&response, errors[_i].writes, &root, &error), errors[_i].fate);
	ck_assert_int_eq(error.code, errors[_i].code);
	ck_assert(!root == (errors[_i].fate != INTENT__ETCD_FINE));
	json_decref(root);
	intent_http_response_release(&response);
}
END_TEST

START_TEST(range_answer)
{
	/* zero members are left out; "s" has a lease; the last key is not printable and not ours */
	json_t *root = document("{\"header\":{\"cluster_id\":\"9\",\"revision\":\"9007199254740993\"},\"kvs\":["
		"{\"key\":\"YS9r\",\"mod_revision\":\"9007199254740993\",\"value\":\"djE=\"},"
		"{\"key\":\"ZW1wdHk=\",\"mod_revision\":\"4\"},"
		"{\"key\":\"cw==\",\"mod_revision\":\"5\",\"lease\":\"42\"},"
		"{\"key\":\"AP8=\",\"mod_revision\":\"6\"}],\"more\":true,\"count\":\"9\"}");
	struct intent_snapshot *snapshot = intent_snapshot_new();
	struct intent__etcd_header header;
	bool more;

	intent__etcd_header(root, &header);
	ck_assert_str_eq(header.cluster, "9");
	ck_assert_uint_eq(header.revision, UINT64_C(9007199254740993));
	ck_assert_int_eq(intent__etcd_read_range(root, snapshot, &more, &error), 0);
	ck_assert(more);
	ck_assert_uint_eq(snapshot->count, 3);
	intent_snapshot_sort(snapshot);
	ck_assert_uint_eq(snapshot->entries[0].revision, UINT64_C(9007199254740993));
	ck_assert_uint_eq(intent_snapshot_find(snapshot, "empty")->length, 0);
	ck_assert_str_eq(intent_snapshot_find(snapshot, "s")->session, "42");
	ck_assert_ptr_null(intent_snapshot_find(snapshot, "a/k")->session);
	intent_snapshot_unref(snapshot);
	json_decref(root);
}
END_TEST

static const char *const bad_ranges[] = {
	"{\"kvs\":[{\"key\":\"!\",\"mod_revision\":\"1\"}]}",
	"{\"kvs\":[{\"key\":\"YQ==\"}]}",
	"{\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"-1\"}]}",
	"{\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"1\",\"value\":\"====\"}]}",
};

START_TEST(bad_range_answer)
{
	json_t *root = document(bad_ranges[_i]);
	struct intent_snapshot *snapshot = intent_snapshot_new();
	bool more;

	ck_assert_int_eq(intent__etcd_read_range(root, snapshot, &more, &error), INTENT_EMALFORMED);
	intent_snapshot_unref(snapshot);
	json_decref(root);
}
END_TEST

START_TEST(txn_answer)
{
	const struct intent_op ops[] = {
		{.kind = INTENT_OP_CHECK, .key = "a", .revision = 5},
		{.kind = INTENT_OP_PUT, .key = "a"},
		{.kind = INTENT_OP_CHECK, .key = "b"},
	};
	json_t *root = document("{\"succeeded\":true}");

	ck_assert_int_eq(intent__etcd_read_txn(root, ops, 3, &error), 0);
	json_decref(root);
	root = document("{\"responses\":[{\"response_range\":{\"kvs\":[{\"mod_revision\":\"5\"}]}},"
			"{\"response_range\":{\"kvs\":[{\"mod_revision\":\"9\"}]}}]}");
	ck_assert_int_eq(intent__etcd_read_txn(root, ops, 3, &error), INTENT_ECONFLICT);
	ck_assert_ptr_nonnull(strstr(error.msg, "key b: it is at revision 9"));
	json_decref(root);
	root = document("{}"); /* absent "succeeded" is false */
	ck_assert_int_eq(intent__etcd_read_txn(root, ops, 3, &error), INTENT_ECONFLICT);
	json_decref(root);
}
END_TEST

START_TEST(lease_answers)
{
	json_t *kept = document("{\"result\":{\"ID\":\"42\",\"TTL\":\"10\"}}"),
		*gone = document("{\"result\":{\"ID\":\"42\"}}");
	char *id = NULL;

	ck_assert_int_eq(intent__etcd_read_keepalive(kept, "42", &error), 0);
	ck_assert_int_eq(intent__etcd_read_keepalive(gone, "42", &error), INTENT_EABSENT);
	ck_assert_int_eq(intent__etcd_read_grant(gone, &id, &error), INTENT_EUNAVAILABLE);
	ck_assert_ptr_null(id);
	ck_assert(intent__etcd_is_lease("42") && !intent__etcd_is_lease("0") && !intent__etcd_is_lease("4x"));
	json_decref(kept);
	json_decref(gone);
}
END_TEST

/* ---- the stream ---- */

static int collect(const char *line, size_t length, void *data)
{
	struct intent_text *all = data;

	intent_text_add(all, line, length);
	intent_text_puts(all, "|");
	return length == 4 && !memcmp(line, "stop", 4) ? -7 : 0;
}

START_TEST(lines_however_cut)
{
	static const char stream[] = "one\ntwo\n\nthree\nrest";

	for (size_t step = 1; step < sizeof stream; step++) {
		struct intent__lines lines = {.limit = 6};
		struct intent_text all = INTENT_TEXT_INIT;

		for (size_t at = 0; at < sizeof stream - 1; at += step) {
			size_t left = sizeof stream - 1 - at;

			ck_assert_int_eq(intent__lines_feed(&lines, stream + at, left < step ? left : step,
				collect, &all), 0);
		}
		ck_assert_str_eq(intent_text_str(&all), "one|two|three|");
		ck_assert_int_eq(intent__lines_feed(&lines, "of it", 5, collect, &all), INTENT_ETOOBIG);
		intent__lines_release(&lines);
		ck_assert_int_eq(intent__lines_feed(&lines, "a\nstop\nb\n", 9, collect, &all), -7);
		ck_assert_str_eq(intent_text_str(&all), "one|two|three|a|stop|");
		intent__lines_release(&lines);
		intent_text_release(&all);
	}
}
END_TEST

static const struct {
	const char *line;
	int code;
	struct intent__etcd_message message;
	int events;
} messages[] = {
	{"{\"result\":{\"header\":{\"revision\":\"4\"},\"created\":true}}", 0, {.created = true}, 0},
	{"{\"result\":{\"watch_id\":\"3\",\"events\":[{},{}]}}", 0, {.watch = 3}, 2},
	{"{\"result\":{\"canceled\":true,\"compact_revision\":\"8\"}}", 0, {.canceled = true, .compacted = 8}, 0},
	{"{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}", INTENT_EUNAVAILABLE, {.watch = 0}, 0},
	{"{\"error\":{\"grpc_code\":16,\"message\":\"invalid auth token\"}}", INTENT_EREFUSED, {.watch = 0}, 0},
	{"{\"result\":[]}", INTENT_EMALFORMED, {.watch = 0}, 0},
	{"nonsense", INTENT_EMALFORMED, {.watch = 0}, 0},
	{"7", INTENT_EMALFORMED, {.watch = 0}, 0},
};

START_TEST(message_table)
{
	struct intent__etcd_message message = {0};
	enum intent__etcd_fate fate;
	json_t *root = NULL;

	ck_assert_int_eq(intent__etcd_read_message(messages[_i].line, strlen(messages[_i].line), &root, &message,
						   &fate, &error), messages[_i].code);
	ck_assert_int_eq(message.created, messages[_i].message.created);
	ck_assert_int_eq(message.canceled, messages[_i].message.canceled);
	ck_assert_uint_eq(message.watch, messages[_i].message.watch);
	ck_assert_uint_eq(message.compacted, messages[_i].message.compacted);
	ck_assert_int_eq((int)json_array_size(message.events), messages[_i].events);
	json_decref(root);
}
END_TEST

START_TEST(events_applied)
{
	struct intent_snapshot *old = intent_snapshot_new(), *fresh;

	intent_snapshot_add(old, "a/gone", "1", 1, 2, NULL, false);
	intent_snapshot_add(old, "a/kept", "1", 1, 3, NULL, false);
	intent_snapshot_add(old, "a/new", "1", 1, 4, NULL, false);
	intent_snapshot_sort(old);
	old->revision = 4;
	json_t *events = document("["
		"{\"kv\":{\"key\":\"YS9uZXc=\",\"mod_revision\":\"5\",\"value\":\"Mg==\"}},"
		"{\"type\":\"DELETE\",\"kv\":{\"key\":\"YS9nb25l\",\"mod_revision\":\"6\"}},"
		"{\"type\":\"DELETE\",\"kv\":{\"key\":\"YS9uZXc=\",\"mod_revision\":\"7\"}},"
		"{\"type\":\"PUT\",\"kv\":{\"key\":\"YS9uZXc=\",\"mod_revision\":\"8\",\"value\":\"Mw==\"}},"
		"{\"kv\":{\"key\":\"YS96\",\"mod_revision\":\"9\"}},"
		"{\"type\":\"DELETE\",\"kv\":{\"key\":\"YS96\",\"mod_revision\":\"10\"}}]");

	ck_assert_int_eq(intent__etcd_apply(old, events, &fresh, &error), 0);
	ck_assert_uint_eq(old->count, 3);
	ck_assert_uint_eq(fresh->count, 2);
	ck_assert_str_eq(fresh->entries[0].key, "a/kept");
	ck_assert_str_eq(fresh->entries[1].key, "a/new");
	ck_assert_str_eq(fresh->entries[1].value, "3");
	ck_assert_uint_eq(fresh->revision, 10);
	intent_snapshot_unref(old);
	intent_snapshot_unref(fresh);
	json_decref(events);
}
END_TEST

/* ---- whom to believe ---- */

static bool trusts(struct intent__etcd *etcd, size_t at, const char *cluster, uint64_t revision)
{
	struct intent__etcd_header header = {.revision = revision};

	(void)snprintf(header.cluster, sizeof header.cluster, "%s", cluster);
	etcd->remote.at = at;
	return intent__etcd_trust(etcd, &header, etcd->highest, &error);
}

START_TEST(one_behind_is_not_believed)
{
	char name[] = "host:1";
	struct intent__etcd etcd = {.remote = {.count = 2, .endpoints = {name, name}}};

	ck_assert(trusts(&etcd, 0, "7", 10));
	ck_assert(!trusts(&etcd, 1, "7", 9));
	ck_assert_int_eq(error.code, INTENT_EUNAVAILABLE);
	ck_assert(!trusts(&etcd, 1, "7", 9)); /* however often it says so */
	ck_assert(!trusts(&etcd, 1, "8", 11));
	ck_assert(trusts(&etcd, 0, "7", 10));
	ck_assert_uint_eq(etcd.highest, 10);
	ck_assert(!trusts(&etcd, 0, "7", 3)); /* now both have: it was restored */
	ck_assert(trusts(&etcd, 1, "7", 3));
	ck_assert_uint_eq(etcd.highest, 3);
}
END_TEST

START_TEST(the_only_one_is_believed_the_second_time)
{
	char name[] = "host:1";
	struct intent__etcd etcd = {.remote = {.count = 1, .endpoints = {name}}};

	ck_assert(trusts(&etcd, 0, "7", 10));
	ck_assert(!trusts(&etcd, 0, "8", 3));
	ck_assert(trusts(&etcd, 0, "8", 3));
	ck_assert_str_eq(etcd.cluster, "8");
	/* What was asked before a newer answer came may be older than that. */
	etcd.highest = 20;
	ck_assert(intent__etcd_trust(&etcd, &(struct intent__etcd_header){.cluster = "8", .revision = 5}, 4, &error));
}
END_TEST

#define ROWS(table) (int)(sizeof table / sizeof table[0])

int main(void)
{
	Suite *suite = suite_create("etcd");
	TCase *tests = tcase_create("wire");

	tcase_add_loop_test(tests, range_request, 0, ROWS(ranges));
	tcase_add_test(tests, txn_request);
	tcase_add_test(tests, secrets_are_escaped);
	tcase_add_loop_test(tests, api_by_version, 0, ROWS(versions));
	tcase_add_loop_test(tests, error_table, 0, ROWS(errors));
	tcase_add_test(tests, range_answer);
	tcase_add_loop_test(tests, bad_range_answer, 0, ROWS(bad_ranges));
	tcase_add_test(tests, txn_answer);
	tcase_add_test(tests, lease_answers);
	tcase_add_test(tests, lines_however_cut);
	tcase_add_loop_test(tests, message_table, 0, ROWS(messages));
	tcase_add_test(tests, events_applied);
	tcase_add_test(tests, one_behind_is_not_believed);
	tcase_add_test(tests, the_only_one_is_believed_the_second_time);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
