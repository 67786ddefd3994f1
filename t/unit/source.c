/* Names of sources, and git behind them: a repository of its own below TMPDIR. */
#include <check.h>
#include <fcntl.h>
#include <intent/child.h>
#include <intent/file.h>
#include <intent/source.h>

static const struct { const char *name, *url, *path, *ref; bool is_directory; } good[] = {
	{"gh://acme/infra", "https://github.com/acme/infra.git", "", NULL, false},
	{"gh:acme/infra", "https://github.com/acme/infra.git", "", NULL, false},
	{"gh://acme/infra//net/eu@v1.2", "https://github.com/acme/infra.git", "net/eu", "v1.2", false},
	{"gh://acme/infra@feature/x", "https://github.com/acme/infra.git", "", "feature/x", false},
	{"https://git.example/a/b.git//m@main", "https://git.example/a/b.git", "m", "main", false},
	{"git::https://git.example/b//m?ref=v1", "https://git.example/b", "m", "v1", false},
	{"ssh://git@git.example:22/a/b//m@main", "ssh://git@git.example:22/a/b", "m", "main", false},
	{"git@git.example:a/b.git//m@main", "git@git.example:a/b.git", "m", "main", false},
	{"file:///srv/b.git@0123456789012345678901234567890123456789", "file:///srv/b.git", "",
	 "0123456789012345678901234567890123456789", false},
	{"dir:/srv/modules//net", "/srv/modules", "net", NULL, true},
	{"dir:/srv/a@b", "/srv/a@b", "", NULL, true},
};

static const char *const bad[] = {
	"", "net", "./net", "/srv/net", "dir:net", "dir://srv", "dir:/srv/../etc", "gh://acme", "gh://acme/infra@",
	"gh://acme/infra//../x", "gh://acme/infra@-upload-pack=x", "gh://acme/infra@a..b", "gh://acme/in fra",
	"https://ana@git.example/x", "https://ana:pw@git.example/x", "ssh://git:pw@git.example/x", "https://git.example",
	"ext::sh -c id", "ext://x/y", "-x@y:z", "git.example:a/b", "git@git.example:", "gh://acme/infra///etc",
	"gh://a/b@v1\n", "gh://a/b'x",
};

START_TEST(test_good)
{
	struct intent_source source;
	struct intent_error err;

	ck_assert_ptr_null(intent_check_source(good[_i].name));
	ck_assert_msg(!intent_source_parse(good[_i].name, "https://github.com", &source, &err), "%s", err.msg);
	ck_assert_str_eq(source.url, good[_i].url);
	ck_assert_str_eq(source.path, good[_i].path);
	ck_assert_pstr_eq(source.ref, good[_i].ref);
	ck_assert_int_eq(source.is_directory, good[_i].is_directory);
	intent_source_release(&source);
}
END_TEST

START_TEST(test_bad)
{
	struct intent_source source;
	struct intent_error err;

	ck_assert_msg(intent_check_source(bad[_i]) != NULL, "\"%s\" is taken", bad[_i]);
	ck_assert_int_eq(intent_source_parse(bad[_i], "https://github.com/", &source, &err), INTENT_EMALFORMED);
}
END_TEST

/* ---- with git ---- */

static char top[256], repository[300], work[300], url[320];

static void shell(const char *script)
{
	const char *argv[] = {"sh", "-ec", script, NULL};
	struct intent_child_options options = {.argv = argv, .directory = work, .deadline_ms = 60000};
	struct intent_error err;

	ck_assert_msg(!intent_child_check(&options, &err), "%s: %s", script, err.msg);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(top, sizeof(top), "%s/platypus-source.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
	snprintf(work, sizeof(work), "%s/work", top);
	snprintf(repository, sizeof(repository), "%s/ours", top);
	snprintf(url, sizeof(url), "file://%s", work);
	ck_assert_int_eq(mkdir(work, 0755), 0);
	shell("git init -q -b main . && git config user.name t && git config user.email t@example.org &&"
	      "mkdir net && echo one >net/main.tf && ln -s main.tf net/link && git add -A && git commit -qm one &&"
	      "git tag light && git tag -a -m x heavy && git branch both && git tag both");
}

static void teardown(void)
{
	struct intent_error err;

	ck_assert_int_eq(intent_tree_remove(top, &err), 0);
}

static int resolve(char *name, const char *ref, char commit[INTENT_COMMIT_MAX], struct intent_error *err)
{
	char ref_copy[100];
	struct intent_git git = {repository, NULL, NULL};
	struct intent_source source = {.url = name, .path = ref_copy + 99, .ref = ref ? ref_copy : NULL,
				       .is_directory = *name == '/'};

	snprintf(ref_copy, sizeof(ref_copy), "%s", ref ? ref : "");
	ref_copy[99] = '\0';
	return intent_source_resolve(&source, &git, commit, err);
}

START_TEST(test_resolve)
{
	static const char *const same[] = {"main", "light", "heavy", "refs/heads/both", "refs/tags/heavy", NULL};
	char head[INTENT_COMMIT_MAX], commit[INTENT_COMMIT_MAX];
	struct intent_error err;

	ck_assert_msg(!resolve(url, NULL, head, &err), "%s", err.msg);
	ck_assert_int_eq(strlen(head), 40);
	for (size_t i = 0; same[i]; i++) {
		ck_assert_msg(!resolve(url, same[i], commit, &err), "%s", err.msg);
		ck_assert_msg(!strcmp(commit, head), "%s is %s, HEAD is %s", same[i], commit, head);
	}
	ck_assert_int_eq(resolve(url, "both", commit, &err), INTENT_ECLASH);
	ck_assert_int_eq(resolve(url, "none", commit, &err), INTENT_EABSENT);
	ck_assert_ptr_nonnull(strstr(err.msg, "has no branch or tag none"));
	char nowhere[400];
	snprintf(nowhere, sizeof(nowhere), "%s-none", url);
	ck_assert_int_eq(resolve(nowhere, NULL, commit, &err), INTENT_EUNAVAILABLE);
}
END_TEST

static void expect_file(const char *directory, const char *name, const char *want)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name), *text = NULL;
	struct intent_error err;
	size_t count;

	ck_assert_msg(!intent_file_read(AT_FDCWD, path, 4096, &text, &count, &err), "%s", err.msg);
	ck_assert_str_eq(text, want);
}

/* An old commit is to be had after its branch moved on; what is there stays as it is. */
START_TEST(test_checkout)
{
	struct intent_git git = {repository, NULL, NULL};
	char none[] = "", ref[] = "main", old[INTENT_COMMIT_MAX], now[INTENT_COMMIT_MAX], directory[320];
	struct intent_source source = {.url = url, .path = none, .ref = ref};
	struct intent_error err;
	struct stat st;

	ck_assert_int_eq(intent_source_resolve(&source, &git, old, &err), 0);
	shell("echo two >net/main.tf && git commit -qam two");
	ck_assert_int_eq(intent_source_resolve(&source, &git, now, &err), 0);
	ck_assert_str_ne(old, now);
	snprintf(directory, sizeof(directory), "%s/old", top);
	ck_assert_msg(!intent_source_checkout(&source, &git, old, directory, &err), "%s", err.msg);
	expect_file(directory, "net/main.tf", "one\n");
	expect_file(directory, "net/link", "one\n");
	ck_assert_int_eq(intent_source_checkout(&source, &git, now, directory, &err), 0);
	expect_file(directory, "net/main.tf", "one\n");
	snprintf(directory, sizeof(directory), "%s/never", top);
	ck_assert_int_lt(intent_source_checkout(&source, &git, "0123456789012345678901234567890123456789", directory,
						&err), 0);
	ck_assert_int_lt(stat(directory, &st), 0);
}
END_TEST

START_TEST(test_directory)
{
	struct intent_git git = {repository, NULL, NULL};
	char none[] = "", first[INTENT_COMMIT_MAX], again[INTENT_COMMIT_MAX], directory[320];
	struct intent_source source = {.url = work, .path = none, .is_directory = true};
	struct intent_error err;

	ck_assert_msg(!intent_source_resolve(&source, &git, first, &err), "%s", err.msg);
	/* What Terraform leaves behind changes nothing; what is ignored counts. */
	shell("mkdir -p net/.terraform && touch net/.terraform/x net/terraform.tfstate net/.terraform.tfstate.lock.info");
	ck_assert_int_eq(intent_source_resolve(&source, &git, again, &err), 0);
	ck_assert_str_eq(first, again);
	shell("echo '*.auto' >.gitignore && echo x >net/a.auto");
	ck_assert_int_eq(intent_source_resolve(&source, &git, again, &err), 0);
	ck_assert_str_ne(first, again);
	snprintf(directory, sizeof(directory), "%s/copy", top);
	ck_assert_msg(!intent_source_checkout(&source, &git, again, directory, &err), "%s", err.msg);
	expect_file(directory, "net/a.auto", "x\n");
	expect_file(directory, "net/main.tf", "one\n");
}
END_TEST

static bool at_once(void *data)
{
	(void)data;
	return true;
}

START_TEST(test_cancel)
{
	struct intent_git git = {repository, at_once, NULL};
	char none[] = "", commit[INTENT_COMMIT_MAX];
	struct intent_source source = {.url = url, .path = none};
	struct intent_error err;
	int code = intent_source_resolve(&source, &git, commit, &err);

	/* It may have been quicker. */
	ck_assert_msg(code == INTENT_ESTALE || code == 0, "%d: %s", code, err.msg);
}
END_TEST

static bool have_git(void)
{
	const char *argv[] = {"git", "--version", NULL};
	struct intent_child_options options = {.argv = argv, .deadline_ms = 60000};
	struct intent_error err;

	return intent_child_check(&options, &err) == 0;
}

int main(void)
{
	Suite *suite = suite_create("source");
	TCase *names = tcase_create("names"), *git = tcase_create("git");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(names, test_good, 0, sizeof(good) / sizeof(*good));
	tcase_add_loop_test(names, test_bad, 0, sizeof(bad) / sizeof(*bad));
	suite_add_tcase(suite, names);
	if (have_git())
		suite_add_tcase(suite, git);
	else
		printf("ok 0 - git # SKIP git is not on PATH\n");
	tcase_set_timeout(git, 120);
	tcase_add_checked_fixture(git, setup, teardown);
	tcase_add_test(git, test_resolve);
	tcase_add_test(git, test_checkout);
	tcase_add_test(git, test_directory);
	tcase_add_test(git, test_cancel);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
