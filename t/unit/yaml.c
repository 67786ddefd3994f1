/* The YAML reader: what it takes, what it refuses and where it says so. */
#include <check.h>
#include <intent/option.h>

static const struct {
	const char *yaml, *json;
} taken[] = {
	{"", "null"},
	{"# only words\n", "null"},
	{"a: 1\nb: two\n", "{\"a\":1,\"b\":\"two\"}"},
	{"- 1\n- [2, three]\n- {x: y}\n", "[1,[2,\"three\"],{\"x\":\"y\"}]"},
	{"[true, True, FALSE, false]", "[true,true,false,false]"},
	{"[null, ~, Null, '', '~']", "[null,null,null,\"\",\"~\"]"},
	{"a:\nb: ''\n", "{\"a\":null,\"b\":\"\"}"},
	/* Norway, and what was a boolean in 1.1 */
	{"[no, yes, on, off, y]", "[\"no\",\"yes\",\"on\",\"off\",\"y\"]"},
	/* what would not read back as it was written stays text */
	{"[0, 7, -7, 0644, +1, 1.10, 1e3, 0x1f, 1_000, -0, -]",
	 "[0,7,-7,\"0644\",\"+1\",\"1.10\",\"1e3\",\"0x1f\",\"1_000\",\"-0\",\"-\"]"},
	{"[9223372036854775807, -9223372036854775808, 9223372036854775808]",
	 "[9223372036854775807,-9223372036854775808,\"9223372036854775808\"]"},
	{"['1', \"2\", 'true']", "[\"1\",\"2\",\"true\"]"},
	{"a: |\n  x\n  y\nb: >\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\\n\"}"},
	{"1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}"},
	{"%YAML 1.1\n---\na: b\n...\n", "{\"a\":\"b\"}"},
	{"a: \"\\u00e9\\t\"\n", "{\"a\":\"\xc3\xa9\\t\"}"},
	{"\xef\xbb\xbf" "a: 1\n", "{\"a\":1}"},
	{"a: {b: 1}\nc: {b: 2}\n", "{\"a\":{\"b\":1},\"c\":{\"b\":2}}"},
};

static const struct {
	const char *yaml, *message;
} refused[] = {
	{"a: 1\na: 2\n", "f.yaml:2:1: \"a\" is given twice"},
	{"a:\n  b: 1\n  b: 1\n", "f.yaml:3:3: \"b\" is given twice"},
	{"a: &x 1\n", "f.yaml:1:4: anchors and aliases"},
	{"&x a: 1\n", "f.yaml:1:1: anchors and aliases"},
	{"a: *x\n", "f.yaml:1:4: anchors and aliases"},
	{"*x : 1\n", "f.yaml:1:1: anchors and aliases"},
	{"a: &x [1]\n", "f.yaml:1:4: anchors and aliases"},
	{"a: &x {b: 1}\n", "f.yaml:1:4: anchors and aliases"},
	{"a: !!str 1\n", "f.yaml:1:4: tags"},
	{"a: !x [1]\n", "f.yaml:1:4: tags"},
	{"a: !x {b: 1}\n", "f.yaml:1:4: tags"},
	{"!x a: 1\n", "f.yaml:1:1: tags"},
	{"a: ! b\n", "f.yaml:1:4: tags"},
	{"? [a, b]\n: 1\n", "f.yaml:1:3: a name must be plain text"},
	{"--- 1\n--- 2\n", "f.yaml:2:1: a second document"},
	{"a: \"\\0\"\n", "f.yaml:1:4: a NUL character"},
	{"a: 1\nb: [1, 2\n", "f.yaml:3:1: "},
	{"a: b: c\n", "f.yaml:1:5: mapping values are not allowed"},
	{"a:\n\tb: 1\n", "f.yaml:2:1: found character that cannot start any token"},
	{"a: 1\nb: \xff\n", "f.yaml:2:4: not UTF-8 text"},
	{"a: \x01\n", "f.yaml:1:4: not UTF-8 text"},
};

/* Outputs are untouched on failure: this stands there before. */
static int untouched;

START_TEST(takes)
{
	json_t *json intent_json_auto = NULL;
	char *text intent_free_auto = NULL;
	struct intent_error err;

	ck_assert_msg(intent_yaml_parse(taken[_i].yaml, strlen(taken[_i].yaml), "f.yaml", &json, &err) == 0,
		      "%s: %s", taken[_i].yaml, err.msg);
	text = intent_json_canonical(json);
	ck_assert_str_eq(text, taken[_i].json);
}
END_TEST

START_TEST(refuses)
{
	json_t *json = (json_t *)(void *)&untouched;
	struct intent_error err = {0};
	int rc = intent_yaml_parse(refused[_i].yaml, strlen(refused[_i].yaml), "f.yaml", &json, &err);

	ck_assert_int_eq(rc, INTENT_EMALFORMED);
	ck_assert_int_eq(err.code, INTENT_EMALFORMED);
	ck_assert_msg(json == (json_t *)(void *)&untouched, "the output was touched");
	ck_assert_msg(intent_starts_with(err.msg, refused[_i].message), "%s: got %s", refused[_i].yaml, err.msg);
}
END_TEST

static void fill(struct intent_text *text, const char *bit, int times)
{
	while (times--)
		intent_text_puts(text, bit);
}

START_TEST(bounds_depth)
{
	struct intent_text text intent_text_auto = INTENT_TEXT_INIT;
	struct intent_error err = {0};
	json_t *json intent_json_auto = NULL;

	fill(&text, "[", 31);
	fill(&text, "]", 31);
	ck_assert_int_eq(intent_yaml_parse(text.data, text.length, "f", &json, &err), 0);
	intent_text_clear(&text);
	fill(&text, "[", 20000);
	ck_assert_int_eq(intent_yaml_parse(text.data, text.length, "f", &json, &err), INTENT_EMALFORMED);
	ck_assert_str_eq(err.msg, "f:1:33: nested too deeply");
	intent_text_clear(&text);
	fill(&text, "{a: ", 33);
	ck_assert_int_eq(intent_yaml_parse(text.data, text.length, "f", &json, &err), INTENT_EMALFORMED);
	ck_assert(strstr(err.msg, "nested too deeply"));
}
END_TEST

START_TEST(bounds_size)
{
	struct intent_text text intent_text_auto = INTENT_TEXT_INIT;
	struct intent_error err = {0};
	json_t *json intent_json_auto = NULL;

	fill(&text, "a", 1 << 20);
	ck_assert_int_eq(intent_yaml_parse(text.data, text.length, "f", &json, &err), 0);
	ck_assert_uint_eq(json_string_length(json), 1 << 20);
	intent_text_puts(&text, "a");
	json_decref(json);
	json = NULL;
	ck_assert_int_eq(intent_yaml_parse(text.data, text.length, "f", &json, &err), INTENT_ETOOBIG);
}
END_TEST

START_TEST(reads_files)
{
	char path[] = "/tmp/platypus-yaml.XXXXXX";
	struct intent_error err = {0};
	json_t *json intent_json_auto = NULL;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "a: 1\nb: &x 2\n", 13), 13);
	close(fd);
	ck_assert_int_eq(intent_yaml_read(path, &json, &err), INTENT_EMALFORMED);
	ck_assert_msg(intent_starts_with(err.msg, path) && strstr(err.msg, ":2:4: anchors"), "%s", err.msg);
	ck_assert_int_eq(truncate(path, 5), 0);
	ck_assert_int_eq(intent_yaml_read(path, &json, &err), 0);
	ck_assert_int_eq(intent_json_integer(json, "a", 0), 1);
	unlink(path);
	ck_assert_int_eq(intent_yaml_read(path, &json, &err), INTENT_EABSENT);
	ck_assert_int_ne(intent_yaml_read("/tmp", &json, &err), 0);
	ck_assert_msg(intent_starts_with(err.msg, "/tmp: cannot read"), "%s", err.msg);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("yaml");
	TCase *cases = tcase_create("yaml");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, cases);
	tcase_add_loop_test(cases, takes, 0, sizeof(taken) / sizeof(*taken));
	tcase_add_loop_test(cases, refuses, 0, sizeof(refused) / sizeof(*refused));
	tcase_add_test(cases, bounds_depth);
	tcase_add_test(cases, bounds_size);
	tcase_add_test(cases, reads_files);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
