#include <check.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <intent/digest.h>

/* Made by minisign 0.11 over a file that holds "hello\n". */
#define ID_1 "DF21D97C54BA87AF"
#define KEY_1 "RWSvh7pUfNkh3/45y1wR6zCqW3QkRq6ITME33qp+KwpdtoSF/a4NYjAh"
#define KEY_2 "RWQBtS3Y19YjAJs8UagfQMIWNOcetQFM65bSOyxpNfmrvDIk8xK1qV99"
#define SIG_1 \
	"untrusted comment: signature from minisign secret key\n" \
	"RUSvh7pUfNkh32NZ05WAzsghKhwd9olWTxAGkjpDEGDWmw7ZsNmuRnu2byqnrqWXCxl9qRjXxkg54YZMjQd3Jt2ty3xj3Ocbbwk=\n" \
	"trusted comment: timestamp:1\tfile:f\thashed\n" \
	"27Lel4nS1NgIHN+2SKMqT9BJb3xA02kJMS7yJTw0bhBTJ0K6e9ZZ2pQICOGk+B7Rv0Se0aBn0IRFdCKzAlWuAw==\n"
#define SIG_2 \
	"untrusted comment: signature from minisign secret key\n" \
	"RUQBtS3Y19YjAKCwH3sUkxU96AXDSmLc60vWokFISHoToFh4GpXpOwJ1Poi35xbRv3Tx6Ed/alpUStqNDIl0ojfywWSQyI0jfwA=\n" \
	"trusted comment: two\n" \
	"3Giy5iobelvHr9m5n8RUGY0PU0zcR8IFfLVvmaI8VkpEEdOzA+KWCFe69syW3vcnUvWKvgSakRQIEW6m+MFbBw==\n"
#define SIG_OLD \
	"untrusted comment: signature from minisign secret key\n" \
	"RWSvh7pUfNkh3yETuoNm9p2z5VIf9TAceTJjmOvo5oaInRCnSSS6rzXD2yzSA0wmlwB81k/RDkprc+ZK9kDqYnOx3/X4rBJMBgQ=\n" \
	"trusted comment: old\n" \
	"VKXCwXKKDgvhNrQKglgGOajM5vfNnGqs6TdeOg3IxJnsyOtdu3GL076y8KtoEilltHCy4A4/S8QPf7TDgw86BA==\n"

static char directory[64];
static unsigned char hash[INTENT_DIGEST_MAX];
static struct intent_error error;

static void setup(void)
{
	struct intent_digest *digest = intent_digest_new(INTENT_BLAKE2B_512);

	intent_digest_add(digest, "hello\n", 6);
	ck_assert_uint_eq(intent_digest_finish(digest, hash), 64);
	intent_digest_free(digest);
	snprintf(directory, sizeof(directory), "/tmp/platypus-signature.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	error = (struct intent_error){0};
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void teardown(void)
{
	static const char *const names[] = {"a.pub", "b.pub", "notes.txt", NULL};

	for (int i = 0; names[i]; i++)
		unlink(path_of(names[i]));
	rmdir(directory);
}

static void put(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	fclose(file);
}

static struct intent_trusted_keys *load(const char *name)
{
	struct intent_trusted_keys *keys = NULL;

	ck_assert_msg(intent_trusted_keys_load(name ? path_of(name) : directory, &keys, &error) == 0,
		      "%s", error.msg);
	return keys;
}

static int check_one(const struct intent_trusted_keys *keys, const char *text)
{
	return intent_signature_check(keys, text, strlen(text), hash, &error);
}

START_TEST(good_signature)
{
	struct intent_trusted_keys *keys;
	char id[17], comment[128];

	put("a.pub", "untrusted comment: minisign public key\n" KEY_1 "\n");
	keys = load("a.pub");
	ck_assert_msg(check_one(keys, SIG_1) == 0, "%s", error.msg);
	ck_assert_int_eq(intent_signature_describe(SIG_1, strlen(SIG_1), id, comment, sizeof(comment),
						   &error), 0);
	ck_assert_str_eq(id, ID_1);
	ck_assert_str_eq(comment, "timestamp:1\tfile:f\thashed");
	ck_assert_int_eq(intent_signature_describe(SIG_1, strlen(SIG_1), id, comment, 5, &error),
			 INTENT_ETOOBIG);
	intent_trusted_keys_free(keys);
}
END_TEST

START_TEST(unknown_key_is_named)
{
	struct intent_trusted_keys *keys;

	put("a.pub", KEY_2 "\n");
	keys = load("a.pub");
	ck_assert_int_eq(check_one(keys, SIG_1), INTENT_EDIGEST);
	ck_assert_ptr_nonnull(strstr(error.msg, ID_1));
	intent_trusted_keys_free(keys);
}
END_TEST

START_TEST(several_keys)
{
	struct intent_trusted_keys *keys;

	put("a.pub", "# ours\nuntrusted comment: x\n" KEY_2 "\n\n" KEY_1 "\r\n");
	keys = load("a.pub");
	ck_assert_int_eq(check_one(keys, SIG_1), 0);
	ck_assert_int_eq(check_one(keys, SIG_2), 0);
	intent_trusted_keys_free(keys);
	put("a.pub", KEY_1);
	put("b.pub", KEY_2);
	put("notes.txt", "no key");
	keys = load(NULL);
	ck_assert_int_eq(check_one(keys, SIG_1), 0);
	ck_assert_int_eq(check_one(keys, SIG_2), 0);
	intent_trusted_keys_free(keys);
}
END_TEST

/* One bad key spoils the set: it is never narrowed without a word. */
START_TEST(bad_keys)
{
	static const char *const bad[] = {
		"", "untrusted comment: only\n", (KEY_1 "\nnonsense\n"), "RWSvh7pUfNkh3/45\n",
		"RXSvh7pUfNkh3/45y1wR6zCqW3QkRq6ITME33qp+KwpdtoSF/a4NYjAh\n", NULL,
	};
	struct intent_trusted_keys *keys = NULL;

	for (int i = 0; bad[i]; i++) {
		put("a.pub", bad[i]);
		ck_assert_int_eq(intent_trusted_keys_load(path_of("a.pub"), &keys, &error),
				 INTENT_EMALFORMED);
		ck_assert_ptr_nonnull(strstr(error.msg, "a.pub"));
		put("b.pub", KEY_1);
		ck_assert_int_ne(intent_trusted_keys_load(directory, &keys, &error), 0);
	}
	ck_assert_int_ne(intent_trusted_keys_load(path_of("absent"), &keys, &error), 0);
	unlink(path_of("a.pub"));
	unlink(path_of("b.pub"));
	ck_assert_int_eq(intent_trusted_keys_load(directory, &keys, &error), INTENT_EMALFORMED);
	ck_assert_ptr_null(keys);
}
END_TEST

START_TEST(old_kind_says_so)
{
	struct intent_trusted_keys *keys;

	put("a.pub", KEY_1);
	keys = load("a.pub");
	ck_assert_int_eq(check_one(keys, SIG_OLD), INTENT_EREFUSED);
	ck_assert_ptr_nonnull(strstr(error.msg, "minisign -S -H"));
	intent_trusted_keys_free(keys);
}
END_TEST

/*
 * Every bit of signature, second signature and trusted comment counts. Not the first line, which
 * nobody signs, and not the unused low bits of the last base64 digit.
 */
START_TEST(bit_flips)
{
	char text[] = SIG_1;
	size_t first = (size_t)(strchr(text, '\n') - text) + 1, accepted = 0;
	struct intent_trusted_keys *keys;

	put("a.pub", KEY_1);
	keys = load("a.pub");
	for (size_t at = first; at + 1 < sizeof(text) - 1; at++) {
		for (int bit = 0; bit < 8; bit++) {
			text[at] = (char)(text[at] ^ (1 << bit));
			if (intent_signature_check(keys, text, sizeof(text) - 1, hash, &error) == 0 &&
			    text[at + 1] != '=')
				accepted++;
			text[at] = (char)(text[at] ^ (1 << bit));
		}
	}
	ck_assert_uint_eq(accepted, 0);
	for (size_t at = 0; at < 64; at++) {
		hash[at] ^= 1;
		ck_assert_int_eq(check_one(keys, SIG_1), INTENT_EDIGEST);
		hash[at] ^= 1;
	}
	intent_trusted_keys_free(keys);
}
END_TEST

START_TEST(cut_anywhere)
{
	struct intent_trusted_keys *keys;

	put("a.pub", KEY_1);
	keys = load("a.pub");
	for (size_t count = 0; count + 1 < strlen(SIG_1); count++)
		ck_assert_int_ne(intent_signature_check(keys, SIG_1, count, hash, &error), 0);
	ck_assert_int_eq(check_one(keys, SIG_1 "\n\n"), 0);
	ck_assert_int_eq(check_one(keys, SIG_1 SIG_1), INTENT_EMALFORMED);
	intent_trusted_keys_free(keys);
}
END_TEST

START_TEST(comment_of_another)
{
	static const char mixed[] =
		"untrusted comment: x\n"
		"RUSvh7pUfNkh32NZ05WAzsghKhwd9olWTxAGkjpDEGDWmw7ZsNmuRnu2byqnrqWXCxl9qRjXxkg54YZMjQd3Jt2ty3xj3Ocbbwk=\n"
		"trusted comment: two\n"
		"3Giy5iobelvHr9m5n8RUGY0PU0zcR8IFfLVvmaI8VkpEEdOzA+KWCFe69syW3vcnUvWKvgSakRQIEW6m+MFbBw==\n";
	struct intent_trusted_keys *keys;

	put("a.pub", KEY_1 "\n" KEY_2 "\n");
	keys = load("a.pub");
	ck_assert_int_eq(check_one(keys, mixed), INTENT_EDIGEST);
	intent_trusted_keys_free(keys);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("signature");
	TCase *tcase = tcase_create("minisign");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, good_signature);
	tcase_add_test(tcase, unknown_key_is_named);
	tcase_add_test(tcase, several_keys);
	tcase_add_test(tcase, bad_keys);
	tcase_add_test(tcase, old_kind_says_so);
	tcase_add_test(tcase, bit_flips);
	tcase_add_test(tcase, cut_anywhere);
	tcase_add_test(tcase, comment_of_another);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
