/* Which store is meant, and what its front refuses. */
#include <check.h>
#include <sys/stat.h>
#include <intent/file.h>
#include <intent/store.h>

static struct intent_error err;
static char top[64];

static void setup(void)
{
	static const char *const names[] = {
		"PP_STORE", "CONSUL_HTTP_ADDR", "CONSUL_HTTP_SSL", "ETCDCTL_ENDPOINTS",
		"XDG_STATE_HOME", "HOME",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unsetenv(names[i]);
	snprintf(top, sizeof(top), "/tmp/platypus-store.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static void teardown(void)
{
	intent_tree_remove(top, &err);
}

static void expect(const char *given, const char *configured, const char *url, const char *why)
{
	const char *because = NULL;
	char *got = intent_store_url(given, configured, &because);

	ck_assert_str_eq(got, url);
	ck_assert_str_eq(because, why);
	free(got);
}

START_TEST(order)
{
	setenv("PP_STORE", "dir:/from/variable", 1);
	setenv("CONSUL_HTTP_ADDR", "10.0.0.1:8500", 1);
	setenv("ETCDCTL_ENDPOINTS", "10.0.0.2:2379", 1);
	expect("dir:/given", "dir:/configured", "dir:/given", "--store");
	expect(NULL, "dir:/configured", "dir:/from/variable", "PP_STORE");
	expect("", "", "dir:/from/variable", "PP_STORE");
	setenv("PP_STORE", "", 1);
	expect(NULL, "dir:/configured", "consul://10.0.0.1:8500", "CONSUL_HTTP_ADDR");
	unsetenv("CONSUL_HTTP_ADDR");
	expect(NULL, "dir:/configured", "etcd://10.0.0.2:2379", "ETCDCTL_ENDPOINTS");
	unsetenv("ETCDCTL_ENDPOINTS");
	expect(NULL, "dir:/configured", "dir:/configured", "configuration");
}
END_TEST

START_TEST(consul_variables)
{
	static const char *const rows[][3] = {
		{"h:8500", "", "consul://h:8500"},
		{"h:8500", "true", "consul+https://h:8500"},
		{"h:8500", "1", "consul+https://h:8500"},
		{"h:8500", "false", "consul://h:8500"},
		{"http://h:8500", "true", "consul://h:8500"},
		{"https://h:8501", "", "consul+https://h:8501"},
		{"[::1]:8500", "", "consul://[::1]:8500"},
		{"unix:///run/consul", "", "unix:///run/consul"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		setenv("CONSUL_HTTP_ADDR", rows[i][0], 1);
		setenv("CONSUL_HTTP_SSL", rows[i][1], 1);
		expect(NULL, NULL, rows[i][2], "CONSUL_HTTP_ADDR");
	}
}
END_TEST

START_TEST(etcd_variables)
{
	static const char *const rows[][2] = {
		{"h:2379", "etcd://h:2379"},
		{"http://a:2379,b:2379,http://c:2379", "etcd://a:2379,b:2379,c:2379"},
		{"https://a:2379,https://b:2379", "etcd+https://a:2379,b:2379"},
		{"a:2379,", "etcd://a:2379"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		setenv("ETCDCTL_ENDPOINTS", rows[i][0], 1);
		expect(NULL, NULL, rows[i][1], "ETCDCTL_ENDPOINTS");
	}
}
END_TEST

START_TEST(made_by_init)
{
	char state[128], home[128], url[160];
	const char *why = NULL;
	char *got;

	/* root's own does not depend on anybody's home. */
	if (geteuid() == 0 && (setegid(65534) < 0 || chown(top, 65534, 65534) < 0 ||
			       seteuid(65534) < 0))
		ck_abort_msg("cannot become nobody");
	snprintf(state, sizeof(state), "%s/state", top);
	snprintf(home, sizeof(home), "%s/home", top);
	setenv("XDG_STATE_HOME", state, 1);
	setenv("HOME", home, 1);
	got = intent_store_url(NULL, NULL, &why);
	ck_assert_ptr_null(strstr(got, top));
	free(got);
	snprintf(url, sizeof(url), "dir:%s/platypus/store", state);
	ck_assert_int_eq(intent_store_init(url, &err), 0);
	expect(NULL, NULL, url, "ppctl init");
	setenv("XDG_STATE_HOME", "relative", 1);
	snprintf(url, sizeof(url), "dir:%s/.local/state/platypus/store", home);
	ck_assert_int_eq(intent_store_init(url, &err), 0);
	expect(NULL, NULL, url, "ppctl init");
	unsetenv("XDG_STATE_HOME");
	expect(NULL, NULL, url, "ppctl init");
	ck_assert_int_eq(seteuid(getuid()), 0);
}
END_TEST

START_TEST(prefix_forms)
{
	static const char *const forms[] = {"a/b", "/a/b", "a/b/", "//a/b/"};
	struct intent_store *store = NULL, *whole = NULL;
	struct intent_snapshot *snapshot = NULL;
	char url[128], longest[INTENT_KEY_MAX];

	snprintf(url, sizeof(url), "dir:%s", top);
	ck_assert_int_eq(intent_store_open(url, "", &whole, &err), 0);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		ck_assert_int_eq(intent_store_open(url, forms[i], &store, &err), 0);
		ck_assert_int_eq(intent_store_put(store, "x", forms[i], strlen(forms[i]), &err), 0);
		ck_assert_int_eq(intent_store_get(whole, "a/b/x", INTENT_DEFAULT, &snapshot, &err),
				 0);
		ck_assert_str_eq(snapshot->entries[0].value, forms[i]);
		snapshot = intent_snapshot_unref(snapshot);
		store = intent_store_close(store);
	}
	memset(longest, 'x', sizeof(longest));
	longest[300] = 0;
	ck_assert_int_eq(intent_store_open(url, longest, &store, &err), INTENT_EUSAGE);
	longest[250] = 0;
	ck_assert_int_eq(intent_store_open(url, longest, &store, &err), 0);
	/* 250 + 1 + 262 bytes: too long together. */
	memset(longest, 'k', 262);
	longest[262] = 0;
	ck_assert_int_eq(intent_store_put(store, longest, "", 0, &err), INTENT_EUSAGE);
	longest[261] = 0;
	ck_assert_int_eq(intent_store_put(store, longest, "", 0, &err), 0);
	intent_store_close(store);
	intent_store_close(whole);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, order);
	tcase_add_test(all, consul_variables);
	tcase_add_test(all, etcd_variables);
	tcase_add_test(all, made_by_init);
	tcase_add_test(all, prefix_forms);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
