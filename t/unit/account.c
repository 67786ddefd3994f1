/*
 * Accounts of registries: each test-data/accounts/CASE.json is {"image", "config", "registry", "helper", "account" | "error"},
 * or, with "said", what a helper answered.
 */
#include <check.h>
#include <dirent.h>
#include <intent/file.h>
#include "../../agents/container-runner/account.h"

static void check_account(const char *path, const json_t *wanted, const json_t *got)
{
	intent_free_auto char *is = got ? intent_json_canonical(got) : strdup("none");
	intent_free_auto char *be = wanted ? intent_json_canonical(wanted) : strdup("none");

	ck_assert_msg(!strcmp(is, be), "%s: is %s, not %s", path, is, be);
}

static void check_case(const char *path)
{
	intent_json_auto json_t *test = NULL, *account = NULL;
	char registry[256], helper[DOCKER__HELPER_MAX + 1] = "";
	struct intent_error err = { 0 };

	ck_assert_msg(!intent_file_read_json(path, 1u << 20, &test, &err), "%s: %s", path, err.msg);
	const char *said = intent_json_string(test, "said", NULL), *error = intent_json_string(test, "error", NULL);
	docker__registry_of(intent_json_string(test, "image", ""), registry);
	if (!said)
		ck_assert_str_eq(registry, intent_json_string(test, "registry", "?"));
	int code = said ? docker__account_heard(registry, said, strlen(said), &account, &err) :
		docker__account_find(json_object_get(test, "config"), registry, helper, &account, &err);
	ck_assert_msg(!code == !error, "%s: %s", path, err.msg);
	if (error) {
		ck_assert_int_eq(code, INTENT_EMALFORMED);
		ck_assert_str_eq(err.msg, error);
		return;
	}
	check_account(path, json_object_get(test, "account"), account);
	ck_assert_msg(!strcmp(helper, intent_json_string(test, "helper", "")), "%s: helper %s", path, helper);
}

START_TEST(cases)
{
	DIR *directory = opendir("test-data/accounts");
	int count = 0;

	ck_assert_ptr_nonnull(directory);
	for (struct dirent *entry; (entry = readdir(directory)); )
		if (intent_ends_with(entry->d_name, ".json")) {
			intent_free_auto char *path = intent_format("test-data/accounts/%s", entry->d_name);

			check_case(path);
			count++;
		}
	closedir(directory);
	ck_assert_int_ge(count, 30);
}
END_TEST

START_TEST(header)
{
	intent_json_auto json_t *account = json_pack("{ss ss ss}", "username", "ann", "password", "\x7f>>>???",
						     "serveraddress", "r");
	intent_free_auto char *line = docker__account_header(account);

	/* Engines take - and _, with padding. */
	ck_assert_str_eq(line, "X-Registry-Auth: "
			 "eyJ1c2VybmFtZSI6ImFubiIsInBhc3N3b3JkIjoifz4-Pj8_PyIsInNlcnZlcmFkZHJlc3MiOiJyIn0=");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("account");
	TCase *tcase = tcase_create("registry");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, cases);
	tcase_add_test(tcase, header);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
