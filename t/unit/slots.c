/* The decisions about shutdown slots, as tables: a document, facts, a claim, and what comes of it. */
#include <check.h>
#include <sys/stat.h>
#include <intent/file.h>
#include <intent/slots.h>

#define NOW "2026-11-21T12:00:00.000Z"
#define COUNT(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

/* Shorthand of the tables: slots and facts of nodes. */
#define SLOT(more) "{\"holder\": \"h\", \"since\": \"s\", \"version\": \"1.1\", \"target\": \"t1\"" more "}"
#define FAILED ", \"failed\": \"it was ill\", \"failed_at\": \"then\""
#define GOOD "{\"state\": \"healthy\"}"
#define BAD "{\"state\": \"unhealthy\", \"reason\": \"r\"}"
#define BCD_GOOD "{\"b\": " GOOD ", \"c\": " GOOD ", \"d\": " GOOD "}"

enum { DOWN = 1, UNHEALTHY = 2 };

static struct intent_error err;

static json_t *parse(const char *text)
{
	json_t *json = NULL;

	if (text)
		ck_assert_msg(!intent_json_parse(text, strlen(text), 0, &json, &err), "%s: %s", text, err.msg);
	return json;
}

static struct intent_slots_claim claim_of(const char *target, int64_t min_nodes, int found)
{
	return (struct intent_slots_claim){
		.node = "a", .holder = "setlive@a", .version = "1.1", .target = target, .min_nodes = min_nodes,
		.is_down = found == DOWN, .is_unhealthy = found == UNHEALTHY,
	};
}

static void expect(const char *what, const json_t *got, const char *want)
{
	intent_json_auto json_t *wanted = parse(want);
	char *text = got ? intent_json_canonical(got) : NULL;

	ck_assert_msg(got == wanted || (got && wanted && json_equal(got, wanted)), "%s: %s instead of %s", what,
		      text ? text : "nothing", want ? want : "nothing");
	free(text);
}

/* ---- facts ---- */

static const struct { const char *fact; bool good; } facts[] = {
	{NULL, false}, {GOOD, true}, {BAD, false}, {"{\"state\": \"unknown\"}", false}, {"null", false}, {"true", false},
	{"{\"state\": true}", false}, {"{\"state\": \"healthy\", \"once\": true}", false},
	{"{\"state\": \"healthy\", \"once\": false, \"version\": \"1\"}", true}, {"{}", false},
};

START_TEST(test_fact)
{
	intent_json_auto json_t *fact = parse(facts[_i].fact);

	ck_assert_msg(intent_fact_is_good(fact) == facts[_i].good, "%s", facts[_i].fact);
}
END_TEST

/* ---- take ---- */

static const struct {
	const char *what, *document, *facts;
	int64_t min_nodes;
	int found, code;
	const char *slot;           /* what the node has then, less holder and version; NULL: nothing is written */
	const char *says[4];        /* parts of the refusal */
} takes[] = {
	{"enough others", NULL, BCD_GOOD, 3, 0, 0, "{\"fence\": 1, \"since\": \"" NOW "\"}", {NULL}},
	{"an empty document", "{}", BCD_GOOD, 3, 0, 0, "{\"fence\": 1, \"since\": \"" NOW "\"}", {NULL}},
	{"too few", NULL, BCD_GOOD, 4, 0, INTENT_EWAITING, NULL,
	 {"healthy without one: 3,", "min_nodes: 4", "known at all: 3 "}},
	{"its own fact does not count", NULL, "{\"a\": " GOOD ", \"b\": " GOOD "}", 2, 0, INTENT_EWAITING, NULL,
	 {"healthy without one: 1,"}},
	{"nothing is known", NULL, NULL, 1, 0, INTENT_EWAITING, NULL, {"healthy without one: 0,", "known at all: 0 "}},
	{"bad facts", NULL, "{\"b\": " BAD ", \"c\": null, \"d\": {\"state\": \"healthy\", \"once\": true}, \"e\": " GOOD "}", 2, 0,
	 INTENT_EWAITING, NULL, {"healthy without one: 1,", "b (unhealthy)", "c (not readable)", "d (healthy, but nobody keeps"}},
	{"a node with a slot is not counted", "{\"slots\": {\"b\": " SLOT("") "}}", BCD_GOOD, 3, 0, INTENT_EWAITING, NULL,
	 {"healthy without one: 2,", "slots: b (1.1 since s)"}},
	{"a node with a slot is not needed", "{\"slots\": {\"b\": " SLOT("") "}}", BCD_GOOD, 2, 0, 0,
	 "{\"fence\": 1, \"since\": \"" NOW "\"}", {NULL}},
	{"a holder without a fact is named", "{\"slots\": {\"x\": " SLOT("") "}}", BCD_GOOD, 4, 0, INTENT_EWAITING, NULL,
	 {"healthy without one: 3,", "slots: x (1.1 since s)", "no health known: x (holds a slot)"}},
	{"a waived slot of a healthy node does not matter", "{\"slots\": {\"b\": " SLOT(", \"waived\": true") "}}", BCD_GOOD, 3, 0, 0,
	 "{\"fence\": 1, \"since\": \"" NOW "\"}", {NULL}},
	{"down: no test", NULL, NULL, 3, DOWN, 0, "{\"fence\": 1, \"since\": \"" NOW "\", \"waived\": true}", {NULL}},
	{"down, but the test is passed", NULL, BCD_GOOD, 3, DOWN, 0, "{\"fence\": 1, \"since\": \"" NOW "\"}", {NULL}},
	{"unhealthy is not down", NULL, NULL, 3, UNHEALTHY, INTENT_EWAITING, NULL, {"healthy without one: 0,"}},
	{"own slot: no test, written all the same", "{\"slots\": {\"a\": " SLOT("") "}}", NULL, 3, 0, 0,
	 "{\"fence\": 1, \"since\": \"s\"}", {NULL}},
	{"own slot again", "{\"slots\": {\"a\": " SLOT(", \"fence\": 7, \"attempt\": 2") "}}", NULL, 3, 0, 0,
	 "{\"fence\": 8, \"since\": \"s\", \"attempt\": 2}", {NULL}},
	{"own waived slot, down", "{\"slots\": {\"a\": " SLOT(", \"waived\": true") "}}", NULL, 3, DOWN, 0,
	 "{\"fence\": 1, \"since\": \"s\", \"waived\": true}", {NULL}},
	{"own waived slot, ill", "{\"slots\": {\"a\": " SLOT(", \"waived\": true") "}}", NULL, 3, UNHEALTHY, 0,
	 "{\"fence\": 1, \"since\": \"s\", \"waived\": true}", {NULL}},
	{"own waived slot, well", "{\"slots\": {\"a\": " SLOT(", \"waived\": true") "}}", "{\"b\": " GOOD "}", 3, 0, INTENT_EWAITING, NULL,
	 {"healthy without one: 1,"}},
	{"own waived slot, well, test passed", "{\"slots\": {\"a\": " SLOT(", \"waived\": true") "}}", BCD_GOOD, 3, 0, 0,
	 "{\"fence\": 1, \"since\": \"s\"}", {NULL}},
	{"marked by another", "{\"slots\": {\"b\": " SLOT(FAILED) "}}", BCD_GOOD, 1, 0, INTENT_EUNHEALTHY, NULL,
	 {"1.1 failed on b at then (it was ill)", "ppctl rollout retry"}},
	{"marked by another: down or not", "{\"slots\": {\"b\": " SLOT(FAILED) "}}", BCD_GOOD, 1, DOWN, INTENT_EUNHEALTHY, NULL, {"failed on b"}},
	{"marked by another: slot or not", "{\"slots\": {\"a\": " SLOT("") ", \"b\": " SLOT(FAILED) "}}", BCD_GOOD, 1, 0, INTENT_EUNHEALTHY,
	 NULL, {"failed on b"}},
	{"marked by itself", "{\"slots\": {\"a\": " SLOT(FAILED) "}}", BCD_GOOD, 1, 0, INTENT_EUNHEALTHY, NULL, {"failed on a"}},
	{"marked, none required", "{\"slots\": {\"b\": " SLOT(FAILED) "}}", NULL, 0, 0, INTENT_EUNHEALTHY, NULL, {"failed on b"}},
	{"none required", NULL, NULL, 0, 0, 0, NULL, {NULL}},
	{"none required, down", NULL, NULL, 0, DOWN, 0, NULL, {NULL}},
	{"none required, others have slots", "{\"slots\": {\"b\": " SLOT("") "}}", NULL, 0, 0, 0, NULL, {NULL}},
	{"none required, but it has one", "{\"slots\": {\"a\": " SLOT(", \"waived\": true") "}}", NULL, 0, 0, 0,
	 "{\"fence\": 1, \"since\": \"s\"}", {NULL}},
	{"no object", "[]", BCD_GOOD, 1, 0, INTENT_EMALFORMED, NULL, {"must be an object"}},
	{"slots are no object", "{\"slots\": []}", BCD_GOOD, 1, DOWN, INTENT_EMALFORMED, NULL, {"/slots must"}},
	{"a slot is no object", "{\"slots\": {\"b\": true}}", BCD_GOOD, 0, 0, INTENT_EMALFORMED, NULL, {"/slots/b must"}},
};

START_TEST(test_take)
{
	intent_json_auto json_t *document = parse(takes[_i].document), *known = parse(takes[_i].facts);
	intent_json_auto json_t *before = json_deep_copy(document), *want = parse(takes[_i].slot), *new = NULL, *rest = NULL;
	struct intent_slots_claim claim = claim_of("t1", takes[_i].min_nodes, takes[_i].found);
	int code = intent_slots_take(document, known, &claim, NOW, &new, &err);

	ck_assert_msg(code == takes[_i].code, "%s: %d (%s)", takes[_i].what, code, code ? err.msg : "");
	for (int i = 0; i < 4 && takes[_i].says[i]; i++)
		ck_assert_msg(strstr(err.msg, takes[_i].says[i]), "%s: \"%s\" is not in: %s", takes[_i].what, takes[_i].says[i], err.msg);
	ck_assert_msg(document == before || json_equal(document, before), "%s: the document was changed", takes[_i].what);
	ck_assert_msg(!want == !new, "%s: written or not", takes[_i].what);
	if (!new)
		return;
	json_object_set_new(want, "holder", json_string("setlive@a"));
	json_object_set_new(want, "version", json_string("1.1"));
	json_object_set_new(want, "target", json_string("t1"));
	char *wanted = intent_json_canonical(want);
	expect(takes[_i].what, intent_slots_find(new, "a"), wanted);
	free(wanted);
	/* Nobody else's is touched. */
	ck_assert_int_eq(intent_slots_drop(new, "a", &rest, &err), 0);
	json_object_del(json_object_get(before, "slots"), "a");
	ck_assert_msg(json_object_size(rest) == 0 || json_equal(rest, before), "%s: others' slots", takes[_i].what);
}
END_TEST

START_TEST(test_take_another_target)
{
	intent_json_auto json_t *document = parse("{\"slots\": {\"a\": " SLOT(FAILED ", \"fence\": 4, \"attempt\": 3, \"instead\": \"1.0\"")
						  ", \"b\": " SLOT(FAILED) "}}");
	intent_json_auto json_t *new = NULL;
	struct intent_slots_claim claim = claim_of("t2", 3, 0);

	ck_assert_int_eq(intent_slots_take(document, NULL, &claim, NOW, &new, &err), 0);
	expect("rewritten", new, "{\"slots\": {\"a\": {\"holder\": \"setlive@a\", \"since\": \"s\", \"version\": \"1.1\", \"target\": \"t2\", "
	       "\"fence\": 5}, \"b\": " SLOT(FAILED) "}}");
}
END_TEST

/* Longer than a sentence may be: it stays one line, and the numbers stand in front. */
START_TEST(test_long_refusal)
{
	intent_json_auto json_t *document = parse("{\"slots\": {}}"), *known = json_object(), *new = NULL;
	struct intent_slots_claim claim = claim_of("t1", 90, 0);

	for (int i = 0; i < 80; i++) {
		char node[129];

		snprintf(node, sizeof node, "node-%02d-%0120d", i, 7);
		json_object_set_new(i < 40 ? json_object_get(document, "slots") : known, node, parse(i < 40 ? SLOT("") : BAD));
	}
	ck_assert_int_eq(intent_slots_take(document, known, &claim, NOW, &new, &err), INTENT_EWAITING);
	ck_assert_ptr_nonnull(strstr(err.msg, "healthy without one: 0, min_nodes: 90; slots: node-00"));
	ck_assert_ptr_nonnull(strstr(err.msg, " and 36 more"));
	ck_assert_ptr_null(strchr(err.msg, '\n'));
}
END_TEST

/* ---- verify ---- */

static const struct { const char *what, *document; int64_t min_nodes; int code; } verifies[] = {
	{"it stands", "{\"slots\": {\"a\": " SLOT("") ", \"b\": " SLOT("") "}}", 3, 0},
	{"a waived one", "{\"slots\": {\"a\": " SLOT(", \"waived\": true") "}}", 3, 0},
	{"it is gone", "{\"slots\": {\"b\": " SLOT("") "}}", 3, INTENT_ECONFLICT},
	{"everything is gone", NULL, 3, INTENT_ECONFLICT},
	{"it is for something else", "{\"slots\": {\"a\": {\"target\": \"t2\"}}}", 3, INTENT_ECONFLICT},
	{"marked meanwhile", "{\"slots\": {\"a\": " SLOT("") ", \"b\": " SLOT(FAILED) "}}", 3, INTENT_EUNHEALTHY},
	{"something else is marked", "{\"slots\": {\"a\": " SLOT("") ", \"b\": {\"target\": \"t2\"" FAILED "}}}", 3, 0},
	{"none is needed", NULL, 0, 0},
	{"none is needed, but it is marked", "{\"slots\": {\"b\": " SLOT(FAILED) "}}", 0, INTENT_EUNHEALTHY},
	{"not readable", "{\"slots\": 1}", 0, INTENT_EMALFORMED},
};

START_TEST(test_verify)
{
	intent_json_auto json_t *document = parse(verifies[_i].document);
	struct intent_slots_claim claim = claim_of("t1", verifies[_i].min_nodes, 0);
	int code = intent_slots_verify(document, &claim, &err);

	ck_assert_msg(code == verifies[_i].code, "%s: %d", verifies[_i].what, code);
}
END_TEST

/* ---- drop, mark, retry ---- */

static const struct { const char *what, *document, *want; int code; } drops[] = {
	{"the last one", "{\"slots\": {\"a\": " SLOT("") "}}", "{}", 0},
	{"one of two", "{\"slots\": {\"a\": " SLOT(FAILED) ", \"b\": " SLOT("") "}}", "{\"slots\": {\"b\": " SLOT("") "}}", 0},
	{"none of it", "{\"slots\": {\"b\": " SLOT("") "}}", NULL, 0}, {"nothing", NULL, NULL, 0},
	{"not readable", "{\"slots\": {\"a\": 5}}", NULL, INTENT_EMALFORMED},
};

START_TEST(test_drop)
{
	intent_json_auto json_t *document = parse(drops[_i].document), *new = NULL;

	ck_assert_int_eq(intent_slots_drop(document, "a", &new, &err), drops[_i].code);
	expect(drops[_i].what, new, drops[_i].want);
}
END_TEST

#define MINE "\"holder\": \"setlive@a\", \"version\": \"1.1\", \"target\": \"t1\""
#define MARK "\"failed\": \"no\", \"failed_at\": \"" NOW "\""
static const struct { const char *what, *document, *instead, *want; } marks[] = {
	{"its slot", "{\"slots\": {\"a\": " SLOT(", \"attempt\": 1") "}}", NULL,
	 "{\"slots\": {\"a\": {" MINE ", \"since\": \"s\", \"fence\": 1, \"attempt\": 1, " MARK "}}}"},
	{"its waived slot", "{\"slots\": {\"a\": " SLOT(", \"waived\": true") "}}", "1.0",
	 "{\"slots\": {\"a\": {" MINE ", \"since\": \"s\", \"fence\": 1, \"waived\": true, " MARK ", \"instead\": \"1.0\"}}}"},
	{"no slot", "{\"slots\": {\"b\": " SLOT(FAILED) "}}", NULL,
	 "{\"slots\": {\"a\": {" MINE ", \"since\": \"" NOW "\", \"fence\": 1, \"waived\": true, " MARK "}, \"b\": " SLOT(FAILED) "}}"},
	{"marked already, in other words", "{\"slots\": {\"a\": " SLOT(FAILED) "}}", NULL, NULL},
	{"now with another one instead", "{\"slots\": {\"a\": " SLOT(FAILED) "}}", "1.0",
	 "{\"slots\": {\"a\": {" MINE ", \"since\": \"s\", \"fence\": 1, " MARK ", \"instead\": \"1.0\"}}}"},
	{"another target failed before", "{\"slots\": {\"a\": {\"target\": \"t0\", \"since\": \"s\"" FAILED "}}}", NULL,
	 "{\"slots\": {\"a\": {" MINE ", \"since\": \"s\", \"fence\": 1, " MARK "}}}"},
};

START_TEST(test_mark)
{
	intent_json_auto json_t *document = parse(marks[_i].document), *new = NULL, *again = NULL;
	struct intent_slots_claim claim = claim_of("t1", 3, 0);

	ck_assert_int_eq(intent_slots_mark(document, &claim, "no", marks[_i].instead, NOW, &new, &err), 0);
	expect(marks[_i].what, new, marks[_i].want);
	if (!new)
		return;
	ck_assert_int_eq(intent_slots_mark(new, &claim, "still not", marks[_i].instead, NOW, &again, &err), 0);
	ck_assert_msg(!again, "%s: written twice", marks[_i].what);
	ck_assert_int_eq(intent_slots_take(new, NULL, &claim, NOW, &again, &err), INTENT_EUNHEALTHY);
}
END_TEST

START_TEST(test_retry)
{
	intent_json_auto json_t *document = parse("{\"slots\": {\"a\": " SLOT(FAILED ", \"instead\": \"1.0\"") ", \"b\": " SLOT("") ", \"c\": "
						  SLOT(FAILED ", \"attempt\": 4, \"waived\": true") "}}");
	intent_json_auto json_t *new = NULL, *again = NULL, *nothing = NULL;

	ck_assert_int_eq(intent_slots_retry(document, &new, &err), 0);
	expect("retried", new, "{\"slots\": {\"a\": " SLOT(", \"attempt\": 1") ", \"b\": " SLOT("") ", \"c\": "
	       SLOT(", \"attempt\": 5, \"waived\": true") "}}");
	ck_assert_int_eq(intent_slots_retry(new, &again, &err), 0);
	ck_assert_ptr_null(again);
	ck_assert_int_eq(intent_slots_retry(NULL, &nothing, &err), 0);
	ck_assert_ptr_null(nothing);
}
END_TEST

START_TEST(test_marked)
{
	intent_json_auto json_t *document = parse("{\"slots\": {\"a\": " SLOT("") ", \"b\": {\"target\": \"t0\"" FAILED "}}}");
	const char *node = NULL;

	ck_assert_ptr_nonnull(intent_slots_marked(document, "t0", &node));
	ck_assert_str_eq(node, "b");
	ck_assert_ptr_nonnull(intent_slots_marked(document, "t0", NULL));
	ck_assert_ptr_null(intent_slots_marked(document, "t1", NULL));
	ck_assert_ptr_null(intent_slots_marked(NULL, "t1", NULL));
}
END_TEST

/* ---- targets ---- */

#define CONFIG(version, artifact, rest) "{\"versions\": {\"1.0\": \"prep\", \"" version "\": \"active\"}, \"artifacts\": {\"1.0\": " \
	"{\"url\": \"http://x/0\"}, \"1.1\": {\"url\": \"" artifact "\"}}" rest "}"
static const struct { const char *what, *config, *deploy; bool same; } targets[] = {
	{"the same", CONFIG("1.1", "http://x/1", ""), "{\"basedir\": \"/a\"}", true},
	{"held", CONFIG("1.1", "http://x/1", ", \"hold\": true, \"min_nodes\": 3, \"previous\": \"1.0\""),
	 "{\"basedir\": \"/a\", \"hold\": \"no\", \"on_failure\": \"rollback\"}", true},
	{"another version", CONFIG("1.2", "http://x/1", ""), "{\"basedir\": \"/a\"}", false},
	{"no version", "{\"versions\": {\"1.1\": \"prep\"}}", "{\"basedir\": \"/a\"}", false},
	{"another artifact", CONFIG("1.1", "http://x/2", ""), "{\"basedir\": \"/a\"}", false},
	{"another user_config", CONFIG("1.1", "http://x/1", ", \"user_config\": {}"), "{\"basedir\": \"/a\"}", false},
	{"another health check", CONFIG("1.1", "http://x/1", ""), "{\"basedir\": \"/a\", \"health\": {\"deadline\": \"1m\"}}", false},
};

START_TEST(test_target)
{
	intent_json_auto json_t *first = parse(targets[0].config), *deployed = parse(targets[0].deploy);
	intent_json_auto json_t *config = parse(targets[_i].config), *deploy = parse(targets[_i].deploy);
	intent_json_auto json_t *before = json_deep_copy(deploy);
	char want[17], got[17];

	intent_slots_target(first, deployed, want);
	intent_slots_target(config, deploy, got);
	ck_assert_uint_eq(strlen(got), 16);
	ck_assert_msg(!strcmp(want, got) == targets[_i].same, "%s: %s and %s", targets[_i].what, want, got);
	ck_assert(json_equal(deploy, before));
}
END_TEST

/* ---- in a store ---- */

static struct intent_store *store;
static char top[64];

static void open_store(void)
{
	char url[80];

	snprintf(top, sizeof top, "/tmp/platypus-slots.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(url, sizeof url, "dir:%s", top);
	ck_assert_int_eq(intent_store_init(url, &err), 0);
	ck_assert_int_eq(intent_store_open(url, "some", &store, &err), 0);
}

static void close_store(void)
{
	intent_store_close(store);
	intent_tree_remove(top, &err);
}

static void put(const char *key, const char *value, const char *session)
{
	struct intent_op op = {.kind = INTENT_OP_PUT, .key = key, .value = value, .length = strlen(value), .session = session};

	ck_assert_msg(!intent_store_txn(store, &op, 1, NULL, &err), "%s", err.msg);
}

START_TEST(test_read)
{
	struct intent_slots slots;
	char *session = NULL;

	ck_assert_int_eq(intent_session_open(store, 60000, &session, &err), 0);
	put("reality/health/slug/prod/a", GOOD, session);
	put("reality/health/slug/prod/b", GOOD, NULL);
	put("reality/health/slug/prod/c", "{", session);
	put("reality/health/slug/prod/d/x", GOOD, session);
	put("reality/health/slug/prod2/e", GOOD, session);
	ck_assert_int_eq(intent_slots_read(store, "slug", "prod", &slots, &err), 0);
	ck_assert_str_eq(slots.key, "locks/slug/prod/shutdown");
	ck_assert_ptr_null(slots.document);
	ck_assert_uint_eq(slots.revision, 0);
	expect("facts", slots.facts, "{\"a\": " GOOD ", \"b\": {\"state\": \"healthy\", \"once\": true}, \"c\": null}");
	intent_slots_release(&slots);
	intent_slots_release(&slots);
	put("locks/slug/prod/shutdown", "{\"slots\": {\"a\": 1}}", NULL);
	ck_assert_int_eq(intent_slots_read(store, "slug", "prod", &slots, &err), INTENT_EMALFORMED);
	ck_assert_ptr_nonnull(strstr(err.msg, "slug/prod"));
	free(session);
}
END_TEST

START_TEST(test_write)
{
	struct intent_slots first, late, taken, gone;
	intent_json_auto json_t *new = NULL, *again = NULL, *empty = NULL;
	struct intent_slots_claim claim = claim_of("t1", 3, DOWN);

	ck_assert_int_eq(intent_slots_read(store, "slug", "prod", &first, &err), 0);
	ck_assert_int_eq(intent_slots_read(store, "slug", "prod", &late, &err), 0);
	ck_assert_int_eq(intent_slots_take(first.document, first.facts, &claim, NOW, &new, &err), 0);
	ck_assert_int_eq(intent_slots_write(store, &first, new, &err), 0);
	ck_assert_int_eq(intent_slots_write(store, &late, new, &err), INTENT_ECONFLICT);
	ck_assert_int_eq(intent_slots_read(store, "slug", "prod", &taken, &err), 0);
	expect("written", taken.document, "{\"slots\": {\"a\": {" MINE ", \"since\": \"" NOW "\", \"fence\": 1, \"waived\": true}}}");
	ck_assert_int_eq(intent_slots_drop(taken.document, "a", &empty, &err), 0);
	/* Taken again meanwhile: what was under way to free it comes too late. */
	ck_assert_int_eq(intent_slots_take(taken.document, taken.facts, &claim, NOW, &again, &err), 0);
	ck_assert_int_eq(intent_slots_write(store, &taken, again, &err), 0);
	ck_assert_int_eq(intent_slots_write(store, &taken, empty, &err), INTENT_ECONFLICT);
	ck_assert_int_eq(intent_slots_read(store, "slug", "prod", &gone, &err), 0);
	ck_assert_int_eq(intent_slots_write(store, &gone, empty, &err), 0);
	intent_slots_release(&gone);
	ck_assert_int_eq(intent_slots_read(store, "slug", "prod", &gone, &err), 0);
	ck_assert_ptr_null(gone.document);
	ck_assert_int_eq(intent_slots_write(store, &gone, empty, &err), 0);
	intent_slots_release(&first);
	intent_slots_release(&late);
	intent_slots_release(&taken);
	intent_slots_release(&gone);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("slots");
	TCase *pure = tcase_create("pure"), *stored = tcase_create("stored");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(pure, test_fact, 0, COUNT(facts));
	tcase_add_loop_test(pure, test_take, 0, COUNT(takes));
	tcase_add_test(pure, test_take_another_target);
	tcase_add_test(pure, test_long_refusal);
	tcase_add_loop_test(pure, test_verify, 0, COUNT(verifies));
	tcase_add_loop_test(pure, test_drop, 0, COUNT(drops));
	tcase_add_loop_test(pure, test_mark, 0, COUNT(marks));
	tcase_add_test(pure, test_retry);
	tcase_add_test(pure, test_marked);
	tcase_add_loop_test(pure, test_target, 0, COUNT(targets));
	suite_add_tcase(suite, pure);
	tcase_add_checked_fixture(stored, open_store, close_store);
	tcase_add_test(stored, test_read);
	tcase_add_test(stored, test_write);
	suite_add_tcase(suite, stored);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
