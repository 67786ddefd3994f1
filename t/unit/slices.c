/* A node's applications as slices: every rule of the slicer, from the keys of a store to intent. */
#include <check.h>
#include <intent/agent.h>

#define CONFIG "{\"versions\": {\"1.0\": \"active\"}, \"artifacts\": {\"1.0\": {\"sha256\": " \
	"\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", \"url\": \"http://x/y.tar\"}}}"
#define DEPLOY(basedir) "{\"basedir\": \"" basedir "\"}"

struct key { const char *key, *value; bool untrusted; };

static struct intent_snapshot *snapshot_of(const struct key *keys)
{
	struct intent_snapshot *snapshot = intent_snapshot_new();

	for (uint64_t revision = 1; keys->key; keys++, revision++)
		intent_snapshot_add(snapshot, keys->key, keys->value, strlen(keys->value), revision, NULL,
				    keys->untrusted);
	intent_snapshot_sort(snapshot);
	return snapshot;
}

static json_t *options_of(const char *node)
{
	return json_pack("{ss s{si}}", "node", node, "own", "keep", 3);
}

/* known: a JSON array as text, or NULL. New. */
static json_t *slices_for(const struct intent_slicer *slicer, const struct key *keys, const char *node, const char *known)
{
	intent_json_auto json_t *options = options_of(node);
	intent_json_auto json_t *names = known ? json_loads(known, 0, NULL) : json_array();
	struct intent_snapshot *snapshot = snapshot_of(keys);
	json_t *slices = slicer->slices(snapshot, options, names);

	intent_snapshot_unref(snapshot);
	return slices;
}

static json_t *slices_of(const struct key *keys, const char *node, const char *known)
{
	return slices_for(&intent_node_applications, keys, node, known);
}

static const char *reason_of(const json_t *slices, const char *name)
{
	const json_t *error = intent_json_at(json_object_get(slices, name), "/error");

	return error ? intent_error_reason((int)intent_json_integer(error, "code", 0)) : "";
}

static const char *at(const json_t *slices, const char *pointer)
{
	const char *string = json_string_value(intent_json_at(slices, pointer));

	return string ? string : "";
}

#define SLUG_ON(node) {"nodes/" node "/slug", "{\"cluster\": \"dev\"}", false}
#define SLUG_CONFIG {"clusters/slug/dev/config", CONFIG, false}
#define SLUG_DEPLOY {"clusters/slug/dev/deploy_config", DEPLOY("/srv/slug"), false}

static void expect_prefixes(const struct key *keys, const char *node, const char *want)
{
	intent_json_auto json_t *options = options_of(node), *wanted = json_loads(want, 0, NULL), *got;
	struct intent_snapshot *snapshot = snapshot_of(keys);

	got = intent_node_applications.prefixes(snapshot, options);
	intent_snapshot_unref(snapshot);
	char *text = json_dumps(got, JSON_COMPACT);
	ck_assert_msg(json_equal(got, wanted), "%s instead of %s", text, want);
	free(text);
}

/* What runs in a container is no supervisor's, and the other way about; what changed sides is gone from the one. */
START_TEST(test_targets)
{
	static const struct key keys[] = {
		SLUG_ON("n1"), SLUG_CONFIG, SLUG_DEPLOY,
		{"nodes/n1/web", "{\"cluster\": \"dev\"}", false}, {"clusters/web/dev/config", CONFIG, false},
		{"clusters/web/dev/deploy_config", "{\"docker\": {\"image\": \"web\"}}", false},
		{"nodes/n1/both", "{\"cluster\": \"dev\"}", false}, {"clusters/both/dev/config", CONFIG, false},
		{"clusters/both/dev/deploy_config", "{\"basedir\": \"/srv/both\", \"docker\": {}}", false},
		{"nodes/n1/new", "{\"cluster\": \"dev\"}", false},
		{NULL, NULL, false},
	};
	intent_json_auto json_t *services = slices_for(&intent_node_services, keys, "n1", "[\"web\", \"slug\"]");
	intent_json_auto json_t *containers = slices_for(&intent_node_containers, keys, "n1", "[\"slug\"]");

	ck_assert_str_eq(at(services, "/slug/intent/cluster"), "dev");
	ck_assert(json_is_true(intent_json_at(services, "/web/intent/absent")));
	ck_assert_ptr_null(json_object_get(services, "both"));
	ck_assert_str_eq(at(containers, "/web/intent/cluster"), "dev");
	ck_assert_str_eq(at(containers, "/both/intent/cluster"), "dev");
	ck_assert(json_is_true(intent_json_at(containers, "/slug/intent/absent")));
	/* Of one without documents nobody knows. */
	ck_assert_str_eq(reason_of(services, "new"), "NoConfig");
	ck_assert_str_eq(reason_of(containers, "new"), "NoConfig");
}
END_TEST

START_TEST(test_prefixes)
{
	static const struct key none[] = {{NULL, NULL, false}};
	static const struct key keys[] = {
		SLUG_ON("web1"), {"nodes/web1/", "{}", false}, {"nodes/web10/other", "{\"cluster\": \"dev\"}", false},
		{"nodes/web1/bad", "{\"cluster\": 5}", false}, {"nodes/web1/worse", "{", false}, {"nodes/web1/-x", "{\"cluster\": \"c\"}", false},
		{"nodes/web1/esc", "{\"cluster\": \"../../x\"}", false}, {NULL, NULL, false},
	};

	expect_prefixes(none, "web1", "[\"nodes/web1/\"]");
	expect_prefixes(keys, "web1", "[\"nodes/web1/\", \"clusters/slug/dev/\"]");
	expect_prefixes(keys, "web10", "[\"nodes/web10/\", \"clusters/other/dev/\"]");
	expect_prefixes(keys, "web", "[\"nodes/web/\"]");
}
END_TEST

START_TEST(test_intent)
{
	static const struct key keys[] = {
		SLUG_ON("web1"), SLUG_CONFIG, {"clusters/slug/dev/deploy_config", DEPLOY("/srv/%n//slug/"), false},
		{"nodes/web10/other", "{\"cluster\": \"dev\"}", false}, {"nodes/web1/", "{\"ensure\": \"present\"}", false}, {NULL, NULL, false},
	};
	intent_json_auto json_t *slices = slices_of(keys, "web1", NULL), *other = slices_of(keys, "web10", NULL);
	intent_json_auto json_t *nobody = slices_of(keys, "web", NULL);

	ck_assert_uint_eq(json_object_size(slices), 1);
	ck_assert_str_eq(at(slices, "/slug/intent/app"), "slug");
	ck_assert_str_eq(at(slices, "/slug/intent/node"), "web1");
	ck_assert_str_eq(at(slices, "/slug/intent/cluster"), "dev");
	ck_assert_str_eq(at(slices, "/slug/intent/basedir"), "/srv/web1/slug");
	ck_assert_str_eq(at(slices, "/slug/intent/config/versions/1.0"), "active");
	ck_assert_int_eq(json_integer_value(intent_json_at(slices, "/slug/intent/options/keep")), 3);
	ck_assert_uint_eq(json_object_size(other), 1);
	ck_assert_str_eq(reason_of(other, "other"), "NoConfig");
	ck_assert_uint_eq(json_object_size(nobody), 0);
}
END_TEST

static const struct { const char *what; struct key keys[6]; const char *reason, *message; } troubles[] = {
	{"no config", {SLUG_ON("web1"), SLUG_DEPLOY}, "NoConfig", "clusters/slug/dev/config does not exist yet"},
	{"no deploy_config", {SLUG_ON("web1"), SLUG_CONFIG}, "NoConfig", "clusters/slug/dev/deploy_config does not exist yet"},
	{"neither", {SLUG_ON("web1")}, "NoConfig", "ppctl put clusters/slug/dev/config"},
	{"node not JSON", {{"nodes/web1/slug", "{", false}, SLUG_CONFIG, SLUG_DEPLOY}, "Malformed", "nodes/web1/slug: not JSON"},
	{"no cluster", {{"nodes/web1/slug", "{}", false}, SLUG_CONFIG, SLUG_DEPLOY}, "Malformed", "cluster"},
	{"config not JSON", {SLUG_ON("web1"), {"clusters/slug/dev/config", "x", false}, SLUG_DEPLOY}, "Malformed",
	 "clusters/slug/dev/config: not JSON"},
	{"config empty", {SLUG_ON("web1"), {"clusters/slug/dev/config", "", false}, SLUG_DEPLOY}, "Malformed", "config"},
	{"two active", {SLUG_ON("web1"), {"clusters/slug/dev/config", "{\"versions\": {\"1\": \"active\", \"2\": \"active\"}}", false},
	 SLUG_DEPLOY}, "Malformed", "/versions"},
	{"relative basedir", {SLUG_ON("web1"), SLUG_CONFIG, {"clusters/slug/dev/deploy_config", DEPLOY("srv"), false}}, "Malformed", "/basedir"},
	{"no basedir", {SLUG_ON("web1"), SLUG_CONFIG, {"clusters/slug/dev/deploy_config", "{}", false}}, "Malformed", "basedir"},
	{"untrusted", {SLUG_ON("web1"), SLUG_CONFIG, {"clusters/slug/dev/deploy_config", DEPLOY("/srv/slug"), true}}, "Refused",
	 "clusters/slug/dev/deploy_config can run things as root"},
};

START_TEST(test_trouble)
{
	intent_json_auto json_t *slices = slices_of(troubles[_i].keys, "web1", "[\"slug\"]");
	const char *message = at(slices, "/slug/error/message");

	ck_assert_msg(!strcmp(reason_of(slices, "slug"), troubles[_i].reason), "%s: %s: %s", troubles[_i].what,
		      reason_of(slices, "slug"), message);
	ck_assert_msg(strstr(message, troubles[_i].message) != NULL, "%s: says \"%s\"", troubles[_i].what, message);
	ck_assert_ptr_null(intent_json_at(slices, "/slug/intent"));
}
END_TEST

START_TEST(test_alone)
{
	static const struct key keys[] = {
		SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY, {"nodes/web1/bad", "{", false}, {"nodes/web1/a/b", "{}", false},
		{"nodes/web1/bad name", "{\"cluster\": \"dev\"}", false}, {NULL, NULL, false},
	};
	intent_json_auto json_t *slices = slices_of(keys, "web1", NULL);

	ck_assert_uint_eq(json_object_size(slices), 4);
	ck_assert_str_eq(at(slices, "/slug/intent/basedir"), "/srv/slug");
	ck_assert_str_eq(reason_of(slices, "bad"), "Malformed");
	ck_assert_str_eq(reason_of(slices, "a/b"), "Malformed");
	ck_assert_str_eq(reason_of(slices, "bad name"), "Malformed");
}
END_TEST

START_TEST(test_clash)
{
	static const struct key keys[] = {
		{"nodes/web1/a", "{\"cluster\": \"c\"}", false}, {"clusters/a/c/config", CONFIG, false},
		{"clusters/a/c/deploy_config", DEPLOY("/srv/x"), false},
		{"nodes/web1/b", "{\"cluster\": \"c\"}", false}, {"clusters/b/c/config", CONFIG, false},
		{"clusters/b/c/deploy_config", DEPLOY("/srv/./x/"), false},
		{"nodes/web1/c", "{\"cluster\": \"c\"}", false}, {"clusters/c/c/config", CONFIG, false},
		{"clusters/c/c/deploy_config", DEPLOY("/srv//x"), false},
		{"nodes/web1/d", "{\"cluster\": \"c\"}", false}, {"clusters/d/c/config", CONFIG, false},
		{"clusters/d/c/deploy_config", DEPLOY("/srv/xy"), false}, {NULL, NULL, false},
	};
	intent_json_auto json_t *slices = slices_of(keys, "web1", NULL);

	ck_assert_str_eq(reason_of(slices, "a"), "Clash");
	ck_assert_str_eq(reason_of(slices, "b"), "Clash");
	ck_assert_str_eq(reason_of(slices, "c"), "Clash");
	ck_assert_ptr_nonnull(strstr(at(slices, "/b/error/message"), "/srv/x is claimed by both a and"));
	ck_assert_str_eq(at(slices, "/d/intent/basedir"), "/srv/xy");
}
END_TEST

/* Containers need no base directory; two without one do not share it. */
START_TEST(test_no_basedir)
{
	static const struct key keys[] = {
		{"nodes/web1/a", "{\"cluster\": \"c\"}", false}, {"clusters/a/c/config", CONFIG, false},
		{"clusters/a/c/deploy_config", "{\"docker\": {}}", false},
		{"nodes/web1/b", "{\"cluster\": \"c\"}", false}, {"clusters/b/c/config", CONFIG, false},
		{"clusters/b/c/deploy_config", "{\"docker\": {}}", false}, {NULL, NULL, false},
	};
	intent_json_auto json_t *slices = slices_of(keys, "web1", NULL);

	ck_assert_msg(intent_json_at(slices, "/a/intent") && intent_json_at(slices, "/b/intent"), "%s %s",
		      at(slices, "/a/error/message"), at(slices, "/b/error/message"));
	ck_assert_ptr_null(intent_json_at(slices, "/a/intent/basedir"));
}
END_TEST

START_TEST(test_vanished)
{
	static const struct key nothing[] = {SLUG_CONFIG, {"nodes/web10/slug", "{\"cluster\": \"dev\"}", false}, {NULL, NULL, false}};
	static const struct key marker[] = {{"nodes/web1/", "{}", false}, {NULL, NULL, false}};
	static const struct key odd[] = {{"nodes/web1/", "what?", false}, {NULL, NULL, false}};
	static const struct key one[] = {SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY, {NULL, NULL, false}};
	intent_json_auto json_t *gone = slices_of(nothing, "web1", "[\"slug\", \"other\"]");
	intent_json_auto json_t *meant = slices_of(marker, "web1", "[\"slug\"]"), *fresh = slices_of(nothing, "web1", NULL);
	intent_json_auto json_t *strange = slices_of(odd, "web1", "[\"slug\"]");
	intent_json_auto json_t *left = slices_of(one, "web1", "[\"slug\", \"other\", \"slug\", 5, null]");

	ck_assert_uint_eq(json_object_size(gone), 2);
	ck_assert_str_eq(reason_of(gone, "slug"), "IntentVanished");
	ck_assert_str_eq(reason_of(gone, "other"), "IntentVanished");
	ck_assert_ptr_nonnull(strstr(at(gone, "/slug/error/message"), "ppctl put nodes/web1/ '{\"ensure\": \"absent\"}'"));
	ck_assert_uint_eq(json_object_size(fresh), 0);
	ck_assert(json_is_true(intent_json_at(meant, "/slug/intent/absent")));
	ck_assert(!json_is_true(intent_json_at(meant, "/slug/intent/retired")));
	ck_assert(json_is_true(intent_json_at(strange, "/slug/intent/absent")));
	ck_assert(!json_is_true(intent_json_at(strange, "/slug/intent/retired")));
	ck_assert_uint_eq(json_object_size(left), 2);
	ck_assert_str_eq(at(left, "/slug/intent/basedir"), "/srv/slug");
	ck_assert(json_is_true(intent_json_at(left, "/other/intent/absent")));
	ck_assert_str_eq(at(left, "/other/intent/node"), "web1");
	ck_assert_int_eq(json_integer_value(intent_json_at(left, "/other/intent/options/keep")), 3);
}
END_TEST

/* Named but in trouble is not absent. */
START_TEST(test_trouble_is_not_absence)
{
	static const struct key keys[] = {{"nodes/web1/slug", "{", false}, {"nodes/web1/other", "{\"cluster\": \"c\"}", false}, {NULL, NULL, false}};
	intent_json_auto json_t *slices = slices_of(keys, "web1", "[\"slug\", \"other\"]");

	ck_assert_str_eq(reason_of(slices, "slug"), "Malformed");
	ck_assert_str_eq(reason_of(slices, "other"), "NoConfig");
}
END_TEST

/* What asks to leave an application as it is, by the document that does. */
#define HOLD_CONFIG "{\"versions\": {}, \"hold\": \"no changes in December\"}"
static const struct { const char *what; struct key keys[8]; const char *holds; } holds[] = {
	{"none", {SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY, {"nodes/web1/", "{}", false}}, NULL},
	{"false is none", {{"nodes/web1/slug", "{\"cluster\": \"dev\", \"hold\": false}", false}, SLUG_CONFIG, SLUG_DEPLOY}, NULL},
	{"of the node", {SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY, {"nodes/web1/", "{\"hold\": true}", false}},
	 "{\"nodes/web1/\": true}"},
	{"of another node", {SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY, {"nodes/web10/", "{\"hold\": true}", false}}, NULL},
	{"of another application", {SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY,
				    {"nodes/web1/slug2", "{\"cluster\": \"dev\", \"hold\": true}", false}}, NULL},
	{"of a marker that is malformed but for it", {SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY,
						      {"nodes/web1/", "{\"hold\": \"x\", \"ensure\": 5}", false}},
	 "{\"nodes/web1/\": \"x\"}"},
	{"of the application on the node", {{"nodes/web1/slug", "{\"cluster\": \"dev\", \"hold\": {\"why\": \"disk\"}}", false},
					    SLUG_CONFIG, SLUG_DEPLOY}, "{\"nodes/web1/slug\": {\"why\": \"disk\"}}"},
	{"of the cluster, twice, and the node",
	 {SLUG_ON("web1"), {"clusters/slug/dev/config", HOLD_CONFIG, false}, {"nodes/web1/", "{\"hold\": true}", false},
	  {"clusters/slug/dev/deploy_config", "{\"basedir\": \"/srv/slug\", \"hold\": {\"who\": \"anna\"}}", false}},
	 "{\"clusters/slug/dev/config\": \"no changes in December\", \"nodes/web1/\": true, "
	 "\"clusters/slug/dev/deploy_config\": {\"who\": \"anna\"}}"},
};

START_TEST(test_holds)
{
	intent_json_auto json_t *slices = slices_of(holds[_i].keys, "web1", NULL);
	intent_json_auto json_t *want = holds[_i].holds ? json_loads(holds[_i].holds, JSON_DECODE_ANY, NULL) : NULL;
	const json_t *got = intent_json_at(slices, "/slug/intent/hold");
	intent_free_auto char *text = json_dumps(got, JSON_ENCODE_ANY);

	ck_assert_msg(intent_json_at(slices, "/slug/intent") != NULL, "%s: %s", holds[_i].what, at(slices, "/slug/error/message"));
	ck_assert_msg(want ? json_equal(got, want) : !got, "%s: %s", holds[_i].what, text ? text : "none");
	/* The documents are handed on as they are. */
	ck_assert_int_eq(intent_json_at(slices, "/slug/intent/config/hold") != NULL, strstr(holds[_i].what, "cluster") != NULL);
}
END_TEST

START_TEST(test_retired)
{
	static const struct key keys[] = {
		{"nodes/web1/", "{\"ensure\": \"absent\"}", false}, SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY, {NULL, NULL, false},
	};
	static const struct key neighbour[] = {
		{"nodes/web10/", "{\"ensure\": \"absent\"}", false}, SLUG_ON("web1"), SLUG_CONFIG, SLUG_DEPLOY, {NULL, NULL, false},
	};
	intent_json_auto json_t *slices = slices_of(keys, "web1", "[\"slug\", \"other\"]");
	intent_json_auto json_t *still = slices_of(neighbour, "web1", "[\"slug\"]");

	ck_assert(json_is_true(intent_json_at(slices, "/slug/intent/absent")));
	ck_assert(json_is_true(intent_json_at(slices, "/slug/intent/retired")));
	ck_assert(json_is_true(intent_json_at(slices, "/other/intent/retired")));
	ck_assert_str_eq(at(still, "/slug/intent/basedir"), "/srv/slug");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("slices");
	TCase *tc = tcase_create("slices");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_targets);
	tcase_add_test(tc, test_prefixes);
	tcase_add_test(tc, test_intent);
	tcase_add_loop_test(tc, test_trouble, 0, (int)(sizeof(troubles) / sizeof(troubles[0])));
	tcase_add_test(tc, test_alone);
	tcase_add_test(tc, test_clash);
	tcase_add_test(tc, test_no_basedir);
	tcase_add_test(tc, test_vanished);
	tcase_add_test(tc, test_trouble_is_not_absence);
	tcase_add_loop_test(tc, test_holds, 0, (int)(sizeof(holds) / sizeof(holds[0])));
	tcase_add_test(tc, test_retired);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
