/* Digests: known answers, in pieces and at once, and the identity of documents. */
#include <check.h>
#include <intent/digest.h>

static const struct { enum intent_digest_kind kind; const char *text, *hex; } answers[] = {
	{INTENT_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{INTENT_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{INTENT_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	{INTENT_BLAKE2B_512, "", "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419"
	 "d25e1031afee585313896444934eb04b903a685b1448b755d56f701afe9be2ce"},
	{INTENT_BLAKE2B_512, "abc", "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
	 "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"},
};

START_TEST(test_known)
{
	const char *text = answers[_i].text;

	for (size_t piece = 1; piece <= 64; piece++) {
		struct intent_digest *digest = intent_digest_new(answers[_i].kind);
		unsigned char out[INTENT_DIGEST_MAX];
		char hex[2 * INTENT_DIGEST_MAX + 1];

		for (size_t at = 0; at < strlen(text); at += piece)
			intent_digest_add(digest, text + at, strlen(text + at) < piece ? strlen(text + at) : piece);
		intent_hex(hex, out, intent_digest_finish(digest, out));
		ck_assert_str_eq(hex, answers[_i].hex);
		ck_assert_ptr_null(intent_digest_free(digest));
	}
	ck_assert_ptr_null(intent_digest_free(NULL));
	if (answers[_i].kind == INTENT_SHA256) {
		char hex[65];

		intent_sha256_hex(text, strlen(text), hex);
		ck_assert_str_eq(hex, answers[_i].hex);
	}
}
END_TEST

START_TEST(test_document)
{
	static const char *const same[] = {"{\"a\": 1, \"b\": [1, 2]}", "{\"b\":[1,2],\"a\":1}", " { \"b\" : [ 1 , 2 ],\n\"a\":1 } "};
	static const char *const others[] = {"{\"a\": 1, \"b\": [2, 1]}", "{\"a\": 1.0, \"b\": [1, 2]}", "{\"a\": 1}", "{}"};
	char first[65] = "", hex[65] = "";
	struct intent_error err;

	for (size_t i = 0; i < 7; i++) {
		const char *text = i < 3 ? same[i] : others[i - 3];
		json_t *json;

		ck_assert_int_eq(intent_json_parse(text, strlen(text), 0, &json, &err), 0);
		intent_json_digest(json, i ? hex : first);
		json_decref(json);
		if (i)
			ck_assert_msg(!strcmp(first, hex) == (i < 3), "%s", text);
	}
	intent_sha256_hex("{\"a\":1,\"b\":[1,2]}", 17, hex);
	ck_assert_str_eq(first, hex);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("digest");
	TCase *tc = tcase_create("digest");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_known, 0, (int)(sizeof(answers) / sizeof(answers[0])));
	tcase_add_test(tc, test_document);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
