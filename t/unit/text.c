/* Text: the growing buffer, encodings, durations, names; errors and what a message may hold. */
#include <errno.h>
#include <check.h>
#include <intent/text.h>

START_TEST(test_buffer)
{
	struct intent_text text = {.limit = 10};

	ck_assert_str_eq(intent_text_str(&text), "");
	intent_text_puts(&text, "12345");
	intent_text_printf(&text, "%d", 6789);
	ck_assert_str_eq(intent_text_str(&text), "123456789");
	intent_text_puts(&text, "ab");
	ck_assert(text.failed);
	ck_assert_str_eq(intent_text_str(&text), "123456789");
	intent_text_puts(&text, "a"); /* would fit, but something before it is missing */
	ck_assert_uint_eq(text.length, 9);
	ck_assert_ptr_null(intent_text_steal(&text));
	intent_text_add(&text, "a\0b", 3);
	ck_assert_uint_eq(text.length, 3);
	ck_assert_int_eq(memcmp(intent_text_str(&text), "a\0b", 4), 0);
	intent_text_clear(&text);
	ck_assert_str_eq(intent_text_str(&text), "");
	char *stolen = intent_text_steal(&text);
	ck_assert_str_eq(stolen, "");
	free(stolen);
	intent_text_printf(&text, "%.*s", 9, "abcdefghijkl");
	ck_assert(!text.failed);
	intent_text_release(&text);
	ck_assert_uint_eq(text.limit, 10);
	intent_text_printf(&text, "%s", "abcdefghijkl");
	ck_assert(text.failed);
	intent_text_release(&text);
}
END_TEST

static const struct { const char *text; int64_t ms; } durations[] = {
	{"500ms", 500}, {"0", 0}, {"0s", 0}, {"10s", 10000}, {"10", 10000}, {"5m", 300000}, {"2h", 7200000},
	{"1d", 86400000}, {"007s", 7000}, {"3650d", INT64_C(3650) * 86400000}, {"315360000000ms", INT64_C(315360000000)},
	{"", -1}, {"s", -1}, {"ms", -1}, {"-1s", -1}, {"+1s", -1}, {" 1s", -1}, {"1s ", -1}, {"1 s", -1},
	{"1.5s", -1}, {"1S", -1}, {"1w", -1}, {"1m30s", -1}, {"3651d", -1}, {"315360000001ms", -1},
	{"99999999999999999999s", -1}, {"999999999999999d", -1}, {"1e3s", -1}, {"0x10s", -1},
};

START_TEST(test_duration)
{
	struct intent_error err = {0};
	int64_t ms = -7;
	int code = intent_duration_parse(durations[_i].text, &ms, &err);

	if (durations[_i].ms >= 0) {
		ck_assert_msg(!code, "%s: %s", durations[_i].text, err.msg);
		ck_assert_int_eq(ms, durations[_i].ms);
	} else {
		ck_assert_msg(code == INTENT_EMALFORMED, "%s was taken", durations[_i].text);
		ck_assert_int_eq(ms, -7);
		ck_assert(err.msg[0]);
	}
}
END_TEST

static const struct { int64_t ms; const char *text; } spoken[] = {
	{0, "0ms"}, {350, "350ms"}, {999, "999ms"}, {1250, "1.2s"}, {9999, "9.9s"}, {10000, "10s"}, {59999, "59s"},
	{60000, "1m00s"}, {185000, "3m05s"}, {3600000, "1h00m"}, {7800000, "2h10m"}, {90000000, "1d01h"},
};

static const struct {
	const char *text;
	int64_t value; /* -1: refused */
} sizes[] = {
	{"0", 0}, {"4096", 4096}, {"64K", 65536}, {"512M", 512LL << 20}, {"2G", 2LL << 30}, {"1T", 1LL << 40},
	{"9223372036854775807", INT64_MAX}, {"9223372036854775808", -1}, {"9007199254740992K", -1},
	{"", -1}, {"K", -1}, {"12 MB", -1}, {"12MB", -1}, {"1m", -1}, {"-1", -1}, {"1.5G", -1},
}, times[] = {
	{"1970-01-01T00:00:00Z", 0}, {"2026-11-21T18:00:00Z", 1795284000000}, {"2026-11-21t18:00:00.25z", 1795284000250},
	{"2026-11-21T19:00:00+01:00", 1795284000000}, {"2026-11-21T12:30:00-05:30", 1795284000000},
	{"2024-02-29T00:00:00.123456Z", 1709164800123}, {"2026-11-21", -1}, {"2026-11-21T18:00Z", -1}, {"2026-13-21T18:00:00Z", -1},
	{"2026-11-21T24:00:00Z", -1}, {"2026-11-21T18:00:00", -1}, {"2026-11-21T18:00:00+0100", -1}, {"tomorrow", -1},
	{"2026-11-21T18:00:00Z ", -1}, {"2026-11-21T18:00:00+1:000", -1}, {"", -1},
};

START_TEST(test_size)
{
	struct intent_error err;
	int64_t bytes = -1;

	intent_size_parse(sizes[_i].text, &bytes, &err);
	ck_assert_msg(bytes == sizes[_i].value, "%s: %lld", sizes[_i].text, (long long)bytes);
}
END_TEST

START_TEST(test_time)
{
	struct intent_error err;
	int64_t ms = -1;

	intent_time_parse(times[_i].text, &ms, &err);
	ck_assert_msg(ms == times[_i].value, "%s: %lld", times[_i].text, (long long)ms);
}
END_TEST

START_TEST(test_duration_format)
{
	char out[24];

	intent_duration_format(spoken[_i].ms, out);
	ck_assert_str_eq(out, spoken[_i].text);
}
END_TEST

START_TEST(test_size_and_time)
{
	char out[32];

	intent_size_format(640, out);
	ck_assert_str_eq(out, "640 B");
	intent_size_format(12 * 1048576 + 314573, out);
	ck_assert_str_eq(out, "12.3 MiB");
	intent_size_format(UINT64_MAX, out);
	ck_assert_str_eq(out, "16.0 EiB");
	intent_time_format(INT64_C(1767323045678), out);
	ck_assert_str_eq(out, "2026-01-02T03:04:05.678Z");
	intent_time_format(0, out);
	ck_assert_str_eq(out, "1970-01-01T00:00:00.000Z");
	ck_assert_int_gt(intent_time_now(), INT64_C(1600000000000));
	ck_assert_int_gt(intent_time_monotonic(), 0);
}
END_TEST

static const struct { const char *text; int64_t min, max; bool good; int64_t value; } numbers[] = {
	{"0", 0, 9, true, 0}, {"9", 0, 9, true, 9}, {"10", 0, 9, false, 0}, {"-1", 0, 9, false, 0}, {"-5", -9, 9, true, -5},
	{"", 0, 9, false, 0}, {"-", -9, 9, false, 0}, {"+1", 0, 9, false, 0}, {" 1", 0, 9, false, 0}, {"1 ", 0, 9, false, 0},
	{"1.0", 0, 9, false, 0}, {"0x1", 0, 9, false, 0}, {"9223372036854775807", INT64_MIN, INT64_MAX, true, INT64_MAX},
	{"-9223372036854775808", INT64_MIN, INT64_MAX, true, INT64_MIN}, {"9223372036854775808", INT64_MIN, INT64_MAX, false, 0},
	{"000000000000000000001", 0, 9, false, 0},
};

START_TEST(test_integer)
{
	struct intent_error err;
	int64_t value = 42;
	int code = intent_integer_parse(numbers[_i].text, numbers[_i].min, numbers[_i].max, &value, &err);

	ck_assert_int_eq(code, numbers[_i].good ? 0 : INTENT_EMALFORMED);
	ck_assert_int_eq(value, numbers[_i].good ? numbers[_i].value : 42);
}
END_TEST

/* RFC 4648, section 10, and all that must not be taken. */
static const struct { const char *plain, *code; } base64[] = {
	{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "//79"}, {"\xfb\xef\xbe", "++++"},
	{NULL, "Z"}, {NULL, "Zg"}, {NULL, "Zg="}, {NULL, "Zg==="}, {NULL, "===="}, {NULL, "Z==="}, {NULL, "Zg==Zg=="},
	{NULL, "Zm9v\n"}, {NULL, "Z g="}, {NULL, "Zm_v"}, {NULL, "Zm-v"}, {NULL, "=Zm9"}, {NULL, "Zm=v"},
};

START_TEST(test_base64)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	struct intent_error err;
	int code = intent_base64_decode(&out, base64[_i].code, strlen(base64[_i].code), &err);

	if (!base64[_i].plain) {
		ck_assert_int_eq(code, INTENT_EMALFORMED);
		return;
	}
	ck_assert_int_eq(code, 0);
	ck_assert_str_eq(intent_text_str(&out), base64[_i].plain);
	intent_text_clear(&out);
	intent_base64_encode(&out, base64[_i].plain, strlen(base64[_i].plain));
	ck_assert_str_eq(intent_text_str(&out), base64[_i].code);
}
END_TEST

START_TEST(test_base64_bytes)
{
	intent_text_auto struct intent_text code = INTENT_TEXT_INIT, back = INTENT_TEXT_INIT;
	struct intent_text narrow = {.limit = 2};
	unsigned char bytes[256 + 2];
	struct intent_error err;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	for (size_t count = 0; count <= sizeof(bytes); count++) {
		intent_text_clear(&code);
		intent_text_clear(&back);
		intent_base64_encode(&code, bytes, count);
		ck_assert_int_eq(intent_base64_decode(&back, intent_text_str(&code), code.length, &err), 0);
		ck_assert_uint_eq(back.length, count);
		ck_assert_int_eq(memcmp(intent_text_str(&back), bytes, count), 0);
	}
	ck_assert_int_eq(intent_base64_decode(&narrow, "Zm9v", 4, &err), INTENT_ETOOBIG);
	intent_text_release(&narrow);
}
END_TEST

START_TEST(test_hex_and_url)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	char hex[7];

	intent_hex(hex, (const unsigned char *)"\x00\x7f\xff", 3);
	ck_assert_str_eq(hex, "007fff");
	intent_url_escape(&out, "aZ0-._~ /%\xc3\xa4@", "/");
	ck_assert_str_eq(intent_text_str(&out), "aZ0-._~%20/%25%C3%A4%40");
}
END_TEST

static const struct { const char *name; bool good; } names[] = {
	{"slug", true}, {"web1.example.com", true}, {"a", true}, {"1.0-rc1+build~2@x:y_z", true}, {"_x", true},
	{"", false}, {".", false}, {"..", false}, {".hidden", false}, {"-x", false}, {"a/b", false}, {"a b", false},
	{"a\n", false}, {"\xc3\xa4", false}, {"a%n", false}, {"a*", false},
};

START_TEST(test_name)
{
	ck_assert_msg(intent_name_is_valid(names[_i].name) == names[_i].good, "\"%s\"", names[_i].name);
}
END_TEST

START_TEST(test_name_length)
{
	char name[130];

	memset(name, 'a', sizeof(name));
	name[128] = '\0';
	ck_assert(intent_name_is_valid(name));
	name[128] = 'a';
	name[129] = '\0';
	ck_assert(!intent_name_is_valid(name));
}
END_TEST

static const struct { const char *bytes; bool clean; const char *cleaned; } utf8[] = {
	{"", true, ""}, {"plain ~", true, "plain ~"}, {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", true, NULL},
	{"a\nb", false, "a?b"}, {"\x1b[31m", false, "?[31m"}, {"\x7f", false, "?"}, {"\xc2\x9b" "x", false, "??x"},
	{"\xc2\xa0", true, NULL}, {"\xc0\xaf", false, "??"}, {"\xe2\x82", false, "??"}, {"x\xf0\x9f\x98", false, "x???"},
	{"\xed\xa0\x80", false, "???"}, {"\xf4\x90\x80\x80", false, "????"}, {"\xff", false, "?"},
	{"\xe2\x82" "a", false, "??a"}, {"\x80" "ok\xc3\xa4", false, "?ok\xc3\xa4"},
};

START_TEST(test_utf8)
{
	const char *want = utf8[_i].cleaned ? utf8[_i].cleaned : utf8[_i].bytes;
	char copy[64];

	ck_assert_int_eq(intent_utf8_is_clean(utf8[_i].bytes, strlen(utf8[_i].bytes)), utf8[_i].clean);
	snprintf(copy, sizeof(copy), "%s", utf8[_i].bytes);
	intent_utf8_clean(copy);
	ck_assert_str_eq(copy, want);
	ck_assert(intent_utf8_is_clean(copy, strlen(copy)));
}
END_TEST

START_TEST(test_nearest)
{
	static const char *const known[] = {"interval", "splay", "store", "x"};

	ck_assert_str_eq(intent_nearest_name("intreval", known, 4), "interval");
	ck_assert_str_eq(intent_nearest_name("stor", known, 4), "store");
	ck_assert_ptr_null(intent_nearest_name("quite-something-else", known, 4));
	ck_assert_ptr_null(intent_nearest_name("y", known, 4));
	ck_assert_ptr_null(intent_nearest_name("a-name-that-is-longer-than-32-bytes-and-more", known, 4));
}
END_TEST

START_TEST(test_errors)
{
	struct intent_error err = {0};

	ck_assert_int_eq(intent_fail(&err, INTENT_EBUSY, "a\nb\tc \n"), INTENT_EBUSY);
	ck_assert_str_eq(err.msg, "a b c");
	ck_assert_int_eq(intent_wrap(&err, "subject %d", 1), INTENT_EBUSY);
	ck_assert_str_eq(err.msg, "subject 1: a b c");
	ck_assert_int_eq(intent_fail(&err, err.code, "[%s]", err.msg), INTENT_EBUSY);
	ck_assert_str_eq(err.msg, "[subject 1: a b c]");
	errno = ENOSPC;
	ck_assert_int_eq(intent_fail_errno(&err, "%s: cannot write", "x"), -ENOSPC);
	ck_assert_str_eq(err.msg, "x: cannot write: No space left on device");
	/* Bytes of a child or a file: the message must still fit into JSON and on a terminal. */
	intent_fail(&err, -EIO, "said: %s", "\x1b[2J\xff");
	ck_assert_str_eq(err.msg, "said: ?[2J?");
	intent_fail(&err, -EIO, "%-510s%s", "x", "\xe2\x82\xac"); /* cut within a character */
	ck_assert(intent_utf8_is_clean(err.msg, strlen(err.msg)));
}
END_TEST

START_TEST(test_codes)
{
	for (int code = INTENT_EBASE; code > INTENT_EBASE - 60; code--) {
		const char *reason = intent_error_reason(code);

		if (!strcmp(reason, "Failed"))
			continue;
		ck_assert_int_eq(intent_error_from_reason(reason), code);
		ck_assert_int_eq(intent_error_is_temporary(code), intent_error_state(code) == INTENT_FAILING ||
				 intent_error_state(code) == INTENT_CONVERGING);
	}
	ck_assert_int_eq(intent_error_from_reason("NoSuchReason"), 0);
	ck_assert_str_eq(intent_error_reason(-ENOSPC), "NoSpace");
	ck_assert_int_eq(intent_error_state(-12345), INTENT_FAILING);
	ck_assert_int_eq(intent_error_state(INTENT_ENOCONFIG), INTENT_WAITING);
	ck_assert_int_eq(intent_error_state(INTENT_EVANISHED), INTENT_BLOCKED);
	ck_assert_str_eq(intent_state_name(INTENT_BLOCKED), "blocked");
}
END_TEST

#define ROWS(table) (int)(sizeof(table) / sizeof((table)[0]))

int main(void)
{
	Suite *suite = suite_create("text");
	TCase *tc = tcase_create("text");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_buffer);
	tcase_add_loop_test(tc, test_size, 0, ROWS(sizes));
	tcase_add_loop_test(tc, test_time, 0, ROWS(times));
	tcase_add_loop_test(tc, test_duration, 0, ROWS(durations));
	tcase_add_loop_test(tc, test_duration_format, 0, ROWS(spoken));
	tcase_add_test(tc, test_size_and_time);
	tcase_add_loop_test(tc, test_integer, 0, ROWS(numbers));
	tcase_add_loop_test(tc, test_base64, 0, ROWS(base64));
	tcase_add_test(tc, test_base64_bytes);
	tcase_add_test(tc, test_hex_and_url);
	tcase_add_loop_test(tc, test_name, 0, ROWS(names));
	tcase_add_test(tc, test_name_length);
	tcase_add_loop_test(tc, test_utf8, 0, ROWS(utf8));
	tcase_add_test(tc, test_nearest);
	tcase_add_test(tc, test_errors);
	tcase_add_test(tc, test_codes);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
