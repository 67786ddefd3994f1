/* JSON documents: reading with bounds, the canonical form, pointers, merging, checking by table. */
#include <check.h>
#include <intent/json.h>

static json_t *parse(const char *text)
{
	struct intent_error err;
	json_t *json = NULL;

	ck_assert_msg(!intent_json_parse(text, strlen(text), 0, &json, &err), "%s: %s", text, err.msg);
	return json;
}

static const struct { const char *text; int code; } inputs[] = {
	{"{}", 0}, {"[]", 0}, {"1", 0}, {"\"x\"", 0}, {"null", 0}, {" true ", 0}, {"{\"a\": [1, {\"b\": null}]}", 0},
	{"\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", 0},
	{"\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", 0},
	{"", INTENT_EMALFORMED}, {"{", INTENT_EMALFORMED}, {"{} x", INTENT_EMALFORMED}, {"{}{}", INTENT_EMALFORMED},
	{"{\"a\": 1, \"a\": 2}", INTENT_EMALFORMED}, {"[1,]", INTENT_EMALFORMED}, {"{a: 1}", INTENT_EMALFORMED},
	{"\"\xff\"", INTENT_EMALFORMED}, {"'x'", INTENT_EMALFORMED}, {"nul", INTENT_EMALFORMED},
	{"\"\\u0000\"", INTENT_EMALFORMED}, {"99999999999999999999", INTENT_EMALFORMED}, {"1e999", INTENT_EMALFORMED},
	{"01", INTENT_EMALFORMED}, {"NaN", INTENT_EMALFORMED}, {"]]]]", INTENT_EMALFORMED}, {"\"\\", INTENT_EMALFORMED},
};

START_TEST(test_parse)
{
	struct intent_error err = {0};
	json_t *json = NULL;
	int code = intent_json_parse(inputs[_i].text, strlen(inputs[_i].text), 0, &json, &err);

	ck_assert_msg(code == inputs[_i].code, "%s: %d %s", inputs[_i].text, code, err.msg);
	ck_assert_int_eq(json != NULL, code == 0);
	ck_assert_int_eq(err.code, code);
	json_decref(json);
}
END_TEST

START_TEST(test_depth_and_size)
{
	char text[2 * (INTENT_JSON_MAX_DEPTH + 1)];
	struct intent_error err;
	json_t *json;

	for (int extra = 0; extra < 2; extra++) {
		size_t depth = INTENT_JSON_MAX_DEPTH + (size_t)extra;

		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		ck_assert_int_eq(intent_json_parse(text, 2 * depth, 0, &json, &err), extra ? INTENT_EMALFORMED : 0);
		if (!extra)
			json_decref(json);
	}
	ck_assert_int_eq(intent_json_parse("[1,2,3]", 7, 6, &json, &err), INTENT_ETOOBIG);
	ck_assert_int_eq(intent_json_parse("[1,2,3]", 7, 7, &json, &err), 0);
	json_decref(json);
	ck_assert_int_eq(intent_json_parse("{\n \"a\": x}", 10, 0, &json, &err), INTENT_EMALFORMED);
	ck_assert_ptr_nonnull(strstr(err.msg, "line 2"));
}
END_TEST

static const struct { const char *text, *canonical; } forms[] = {
	{"{ \"b\" : 1, \"a\" : [ 1.0, true, null ] }", "{\"a\":[1.0,true,null],\"b\":1}"},
	{"{\"Z\": 1, \"a\": 2, \"\xc3\xa4\": 3, \"aa\": 4}", "{\"Z\":1,\"a\":2,\"aa\":4,\"\xc3\xa4\":3}"},
	{"\"\\u00e4\\/\\n\"", "\"\xc3\xa4/\\n\""}, {"{\"o\": {\"y\": {}, \"x\": []}}", "{\"o\":{\"x\":[],\"y\":{}}}"}, {"5", "5"},
};

START_TEST(test_canonical)
{
	intent_json_auto json_t *json = parse(forms[_i].text), *again;
	intent_free_auto char *text = intent_json_canonical(json), *twice, *pretty = intent_json_pretty(json);

	ck_assert_str_eq(text, forms[_i].canonical);
	again = parse(pretty);
	twice = intent_json_canonical(again);
	ck_assert_str_eq(twice, text);
}
END_TEST

START_TEST(test_lookups)
{
	intent_json_auto json_t *json = parse("{\"s\": \"x\", \"i\": 5, \"b\": true, \"n\": null}");

	ck_assert_str_eq(intent_json_string(json, "s", "d"), "x");
	ck_assert_str_eq(intent_json_string(json, "i", "d"), "d");
	ck_assert_str_eq(intent_json_string(NULL, "s", "d"), "d");
	ck_assert_int_eq(intent_json_integer(json, "i", 7), 5);
	ck_assert_int_eq(intent_json_integer(json, "s", 7), 7);
	ck_assert_int_eq(intent_json_boolean(json, "b", false), true);
	ck_assert_int_eq(intent_json_boolean(json, "n", true), true);
	ck_assert_int_eq(intent_json_boolean(json_null(), "n", true), true);
}
END_TEST

/* RFC 6901, section 5, and what is not there. */
static const struct { const char *pointer, *found; } pointers[] = {
	{"/foo/0", "\"bar\""}, {"/", "0"}, {"/a~1b", "1"}, {"/c%d", "2"}, {"/k\"l", "6"}, {"/m~0n", "8"}, {"/o/p", "9"},
	{"/foo", "[\"bar\",\"baz\"]"}, {"/foo/2", NULL}, {"/foo/-", NULL}, {"/foo/-1", NULL}, {"/foo/x", NULL},
	{"/nothing", NULL}, {"/nothing/below", NULL}, {"foo", NULL}, {"/o/p/q", NULL}, {"/foo/99999999999999999999", NULL},
};

START_TEST(test_pointer)
{
	intent_json_auto json_t *json = parse("{\"foo\": [\"bar\", \"baz\"], \"\": 0, \"a/b\": 1, \"c%d\": 2, "
					      "\"k\\\"l\": 6, \"m~n\": 8, \"o\": {\"p\": 9}}");
	json_t *found = intent_json_at(json, pointers[_i].pointer);
	intent_free_auto char *text = found ? intent_json_canonical(found) : NULL;

	ck_assert_msg(!text == !pointers[_i].found, "%s", pointers[_i].pointer);
	if (text)
		ck_assert_str_eq(text, pointers[_i].found);
	ck_assert_ptr_eq(intent_json_at(json, ""), json);
}
END_TEST

START_TEST(test_long_pointer)
{
	intent_json_auto json_t *json = parse("{}");
	char pointer[1000];

	memset(pointer, 'a', sizeof(pointer) - 1);
	pointer[0] = '/';
	pointer[sizeof(pointer) - 1] = '\0';
	ck_assert_ptr_null(intent_json_at(json, pointer));
	ck_assert_ptr_null(intent_json_at(NULL, "/a"));
}
END_TEST

/* RFC 7396, appendix A, the rows with objects. */
static const struct { const char *target, *patch, *result; } merges[] = {
	{"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"}, {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
	{"{\"a\":\"b\"}", "{\"a\":null}", "{}"}, {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
	{"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"}, {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
	{"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
	{"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"}, {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
	{"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"}, {"{\"a\":1}", "{\"a\":{\"b\":null}}", "{\"a\":{}}"},
	{"{\"a\":1}", "{\"a\":[null]}", "{\"a\":[null]}"},
};

START_TEST(test_merge)
{
	intent_json_auto json_t *target = parse(merges[_i].target), *patch = parse(merges[_i].patch);
	intent_free_auto char *before = intent_json_canonical(patch), *text, *after;

	intent_json_merge(target, patch);
	text = intent_json_canonical(target);
	ck_assert_str_eq(text, merges[_i].result);
	after = intent_json_canonical(patch);
	ck_assert_str_eq(after, before);
	intent_json_merge(target, NULL);
}
END_TEST

/* ---- checking ---- */

static const char *not_both(const json_t *json)
{
	return json_object_get(json, "a") && json_object_get(json, "b") ? "has both \"a\" and \"b\"" : NULL;
}

static const struct intent_json_field port[] = {{.name = "", .type = INTENT_JSON_INTEGER, .min = 1, .max = 65535}, {0}};
static const struct intent_json_field either[] = {
	{.name = "", .type = INTENT_JSON_INTEGER}, {.name = "", .type = INTENT_JSON_STRING, .max = 3}, {0},
};
static const struct intent_json_field inner[] = {
	{.name = "name", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = intent_check_name},
	{.name = "a", .type = INTENT_JSON_ANY}, {.name = "b", .type = INTENT_JSON_ANY}, {0},
};
static const struct intent_json_field rows[] = {
	{.name = "ports", .type = INTENT_JSON_ARRAY, .max = 3, .members = port},
	{.name = "inner", .type = INTENT_JSON_OBJECT, .members = inner, .whole = not_both},
	{.name = "open", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN | INTENT_JSON_NULLABLE},
	{.name = "map", .type = INTENT_JSON_MAP, .min = 1, .check = intent_check_name, .members = port},
	{.name = "wait", .type = INTENT_JSON_DURATION, .min = 1000, .max = 60000},
	{.name = "any-wait", .type = INTENT_JSON_DURATION},
	{.name = "one", .type = INTENT_JSON_ONE_OF, .members = either},
	{.name = "yes", .type = INTENT_JSON_BOOLEAN},
	{.name = "sha256", .type = INTENT_JSON_STRING, .check = intent_check_sha256},
	{.name = "path", .type = INTENT_JSON_STRING, .check = intent_check_absolute}, {0},
};
static const struct intent_json_field top = {.name = "", .type = INTENT_JSON_OBJECT, .members = rows};

static const struct { const char *text, *faults; } checks[] = {
	{"{}", ""}, {"[]", "document: must be an object\n"}, {"{\"ports\": [1, 65535]}", ""},
	{"{\"ports\": [0, \"x\", 65536]}", "/ports/0: must be between 1 and 65535\n/ports/1: must be a whole number\n"
	 "/ports/2: must be between 1 and 65535\n"},
	{"{\"ports\": [1, 2, 3, 4]}", "/ports: has 4 items, at most 3 are allowed\n"},
	{"{\"ports\": 5}", "/ports: must be a list\n"}, {"{\"ports\": null}", "/ports: must be a list\n"},
	{"{\"inner\": {\"name\": \"x\"}}", ""}, {"{\"inner\": {}}", "/inner/name: is missing\n"},
	{"{\"inner\": {\"name\": \"x\", \"a\": 1, \"b\": 2}}", "/inner: has both \"a\" and \"b\"\n"},
	{"{\"inner\": {\"nmae\": \"x\", \"name\": \"y\"}}", "/inner/nmae: unknown field; did you mean \"name\"?\n"},
	{"{\"inner\": {\"something\": \"x\", \"name\": \"y\"}}", "/inner/something: unknown field; known are name, a, b\n"},
	{"{\"open\": {\"x\": 1}}", ""}, {"{\"open\": null}", ""}, {"{\"open\": 1}", "/open: must be an object\n"},
	{"{\"map\": {\"x\": 1}}", ""}, {"{\"map\": {}}", "/map: has 0 members, needs at least 1\n"},
	{"{\"map\": {\"x/y~z\": 1}}", "/map/x~1y~0z: the name must be 1 to 128 of A-Z a-z 0-9 . _ - + ~ @ : and not start with . or -\n"},
	{"{\"map\": {\"a\\nb\": 0}}", "/map/a b: the name must be 1 to 128 of A-Z a-z 0-9 . _ - + ~ @ : and not start with . or -\n"
	 "/map/a b: must be between 1 and 65535\n"},
	{"{\"wait\": \"10s\"}", ""}, {"{\"wait\": 10}", ""}, {"{\"wait\": 0}", "/wait: is out of range\n"},
	{"{\"wait\": \"61s\"}", "/wait: is out of range\n"}, {"{\"wait\": 61}", "/wait: is out of range\n"},
	{"{\"wait\": \"soon\"}", "/wait: 'soon' is not a duration: write for example 500ms, 10s, 5m, 2h or 1d\n"},
	{"{\"any-wait\": -1}", "/any-wait: '-1' is not a duration: write for example 500ms, 10s, 5m, 2h or 1d\n"},
	{"{\"any-wait\": 9223372036854775807}", "/any-wait: '9223372036854775807' is not a duration: write for example 500ms, "
	 "10s, 5m, 2h or 1d\n"},
	{"{\"any-wait\": 999999999999}", "/any-wait: '999999999999' is longer than ten years\n"},
	{"{\"wait\": true}", "/wait: must be a duration such as \"10s\"\n"},
	{"{\"one\": 1}", ""}, {"{\"one\": \"abc\"}", ""}, {"{\"one\": \"abcd\"}", "/one: has 4 bytes, at most 3 are allowed\n"},
	{"{\"one\": []}", "/one: must be a whole number or a string\n"}, {"{\"yes\": \"yes\"}", "/yes: must be true or false\n"},
	{"{\"sha256\": \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF\"}", ""},
	{"{\"sha256\": \"0123\"}", "/sha256: must be 64 hexadecimal digits\n"},
	{"{\"path\": \"/srv/x..y\"}", ""}, {"{\"path\": \"srv\"}", "/path: must be an absolute path\n"},
	{"{\"path\": \"/srv/..\"}", "/path: must not contain \"..\"\n"}, {"{\"path\": \"/../srv\"}", "/path: must not contain \"..\"\n"},
	{"{\"path\": \"/a\\nb\"}", "/path: must not contain control characters\n"},
};

START_TEST(test_check)
{
	intent_json_auto json_t *json = parse(checks[_i].text);
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	struct intent_error err = {0}, quiet = {0};
	int code = intent_json_check(json, &top, true, &faults, &err), count = 0;

	ck_assert_msg(!strcmp(intent_text_str(&faults), checks[_i].faults), "%s:\n%sinstead of\n%s", checks[_i].text,
		      intent_text_str(&faults), checks[_i].faults);
	ck_assert_int_eq(code, *checks[_i].faults ? INTENT_EMALFORMED : 0);
	ck_assert_int_eq(intent_json_check(json, &top, true, NULL, &quiet), code);
	ck_assert_str_eq(err.msg, quiet.msg);
	for (const char *p = checks[_i].faults; (p = strchr(p, '\n')); p++)
		count++;
	if (count)
		ck_assert_int_eq(strncmp(err.msg, checks[_i].faults, strcspn(checks[_i].faults, "\n")), 0);
	ck_assert_int_eq(strstr(err.msg, " more)") != NULL, count > 1);
}
END_TEST

START_TEST(test_check_bounds)
{
	intent_json_auto json_t *lax = parse("{\"unknown\": 1, \"inner\": {\"name\": \"x\", \"other\": 2}}");
	intent_json_auto json_t *many = json_object();
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	struct intent_error err = {0};
	char name[1200];
	int lines = 0;

	ck_assert_int_eq(intent_json_check(lax, &top, false, NULL, &err), 0);
	ck_assert_int_eq(intent_json_check(lax, &top, true, NULL, &err), INTENT_EMALFORMED);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "%01000d", i);
		json_object_set_new(many, name, json_integer(i));
	}
	ck_assert_int_eq(intent_json_check(many, &top, true, &faults, &err), INTENT_EMALFORMED);
	for (const char *p = intent_text_str(&faults); (p = strchr(p, '\n')); p++)
		lines++;
	ck_assert_int_eq(lines, 100);
	ck_assert_uint_lt(faults.length, 100 * 512);
	/* A long name does not crowd out what is wrong. */
	ck_assert_ptr_nonnull(strstr(err.msg, "unknown field"));
	ck_assert_ptr_nonnull(strstr(err.msg, "(and 999 more)"));
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
	Suite *suite = suite_create("json");
	TCase *tc = tcase_create("json");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_parse, 0, ROWS(inputs));
	tcase_add_test(tc, test_depth_and_size);
	tcase_add_loop_test(tc, test_canonical, 0, ROWS(forms));
	tcase_add_test(tc, test_lookups);
	tcase_add_loop_test(tc, test_pointer, 0, ROWS(pointers));
	tcase_add_test(tc, test_long_pointer);
	tcase_add_loop_test(tc, test_merge, 0, ROWS(merges));
	tcase_add_loop_test(tc, test_check, 0, ROWS(checks));
	tcase_add_test(tc, test_check_bounds);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
