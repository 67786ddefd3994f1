/* The log: its three forms, its levels, and that nothing foreign gets through raw. */
#include <regex.h>
#include <check.h>
#include <intent/json.h>
#include <intent/log.h>

static char line[16384];

/* What a call writes to standard error, in one write. */
static void capture(enum intent_log_format format, enum intent_log_level least, enum intent_log_level level,
		    const char *slice, const char *message)
{
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t got;

	ck_assert_int_eq(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	intent_log_setup(least, format, "toy");
	intent_log(level, slice, "%s", message);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	got = read(ends[0], line, sizeof(line) - 1);
	ck_assert_int_ge(got, 0);
	line[got] = '\0';
	close(ends[0]);
}

#define TEXT_TIME "\\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}\\]"
#define RFC_TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

static const struct {
	enum intent_log_format format;
	enum intent_log_level level;
	const char *slice, *message, *pattern;
} lines[] = {
	{INTENT_LOG_TEXT, INTENT_INFO, "slug", "Symlinking", "^INFO  " TEXT_TIME " slug: Symlinking\n$"},
	{INTENT_LOG_TEXT, INTENT_WARN, NULL, "x", "^WARN  " TEXT_TIME " x\n$"},
	{INTENT_LOG_TEXT, INTENT_ERROR, NULL, "x", "^ERROR " TEXT_TIME " x\n$"},
	{INTENT_LOG_TEXT, INTENT_DEBUG, NULL, "x", "^DEBUG " TEXT_TIME " x\n$"},
	{INTENT_LOG_TEXT, INTENT_INFO, "slug", "Checking spec for slug", "^INFO  " TEXT_TIME " Checking spec for slug\n$"},
	{INTENT_LOG_TEXT, INTENT_INFO, "web", "web10 is full", "^INFO  " TEXT_TIME " web: web10 is full\n$"},
	{INTENT_LOG_TEXT, INTENT_INFO, "a", "naming a thing", "^INFO  " TEXT_TIME " naming a thing\n$"},
	{INTENT_LOG_TEXT, INTENT_INFO, "e", "there", "^INFO  " TEXT_TIME " e: there\n$"},
	{INTENT_LOG_TEXT, INTENT_INFO, NULL, "a\nb\x1b[2J\xff\xc2\x9b", "^INFO  " TEXT_TIME " a\\?b\\?\\[2J\\?\\?\\?\n$"},
	{INTENT_LOG_LOGFMT, INTENT_INFO, "slug", "two words", "^time=" RFC_TIME " level=info agent=toy slice=slug msg=\"two words\"\n$"},
	{INTENT_LOG_LOGFMT, INTENT_WARN, NULL, "say \"x\\y\"=",
	 "^time=" RFC_TIME " level=warn agent=toy msg=\"say \\\\\"x\\\\\\\\y\\\\\"=\"\n$"},
	{INTENT_LOG_LOGFMT, INTENT_WARN, NULL, "", "^time=" RFC_TIME " level=warn agent=toy msg=\"\"\n$"},
};

START_TEST(test_line)
{
	regex_t pattern;

	capture(lines[_i].format, INTENT_DEBUG, lines[_i].level, lines[_i].slice, lines[_i].message);
	ck_assert_int_eq(regcomp(&pattern, lines[_i].pattern, REG_EXTENDED | REG_NOSUB), 0);
	ck_assert_msg(!regexec(&pattern, line, 0, NULL, 0), "%s does not match %s", line, lines[_i].pattern);
	regfree(&pattern);
}
END_TEST

START_TEST(test_json)
{
	static const char *const messages[] = {"plain", "say \"x\\y\"", "\xff\xfe", "\xe2\x82\xac"};
	static const char *const shown[] = {"plain", "say \"x\\y\"", "??", "\xe2\x82\xac"};
	struct intent_error err;

	for (size_t i = 0; i < 4; i++) {
		intent_json_auto json_t *json = NULL;

		capture(INTENT_LOG_JSON, INTENT_INFO, INTENT_ERROR, "slug", messages[i]);
		ck_assert_msg(!intent_json_parse(line, strlen(line), 0, &json, &err), "%s: %s", line, err.msg);
		ck_assert_str_eq(intent_json_string(json, "msg", ""), shown[i]);
		ck_assert_str_eq(intent_json_string(json, "level", ""), "error");
		ck_assert_str_eq(intent_json_string(json, "slice", ""), "slug");
		ck_assert_uint_eq(strcspn(line, "\n"), strlen(line) - 1);
	}
}
END_TEST

START_TEST(test_bounds)
{
	char message[5000];

	for (int format = INTENT_LOG_TEXT; format <= INTENT_LOG_JSON; format++) {
		memset(message, '"', sizeof(message) - 1);
		message[sizeof(message) - 1] = '\0';
		capture((enum intent_log_format)format, INTENT_INFO, INTENT_INFO, "slug", message);
		ck_assert_uint_gt(strlen(line), 2000);
		ck_assert_uint_lt(strlen(line), 8192);
		ck_assert_uint_eq(strcspn(line, "\n"), strlen(line) - 1);
	}
}
END_TEST

START_TEST(test_levels)
{
	for (int least = INTENT_DEBUG; least <= INTENT_ERROR; least++)
		for (int level = INTENT_DEBUG; level <= INTENT_ERROR; level++) {
			capture(INTENT_LOG_TEXT, (enum intent_log_level)least, (enum intent_log_level)level, NULL, "x");
			ck_assert_int_eq(line[0] != '\0', level >= least);
		}
}
END_TEST

START_TEST(test_words)
{
	enum intent_log_level level;
	enum intent_log_format format;
	struct intent_error err;

	ck_assert_int_eq(intent_log_level_parse("warn", &level, &err), 0);
	ck_assert_int_eq(level, INTENT_WARN);
	ck_assert_int_eq(intent_log_level_parse("WARN", &level, &err), INTENT_EUSAGE);
	ck_assert_int_eq(intent_log_format_parse("json", &format, &err), 0);
	ck_assert_int_eq(format, INTENT_LOG_JSON);
	ck_assert_int_eq(intent_log_format_parse("xml", &format, &err), INTENT_EUSAGE);
	ck_assert_ptr_nonnull(strstr(err.msg, "logfmt"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_line, 0, (int)(sizeof(lines) / sizeof(lines[0])));
	tcase_add_test(tc, test_json);
	tcase_add_test(tc, test_bounds);
	tcase_add_test(tc, test_levels);
	tcase_add_test(tc, test_words);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
