/* Options: command line, environment, configuration file; help and completion. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <intent/option.h>

static const struct intent_option common[] = {
	{"store", INTENT_OPTION_STRING, "URL", NULL, "TEST_STORE", 0, 0, "Where intent is"},
	{"state-dir", INTENT_OPTION_PATH, "DIRECTORY", "/var/lib/x", NULL, 0, 0, "What is remembered"},
	{"once", INTENT_OPTION_FLAG, NULL, "false", NULL, 0, 0, "One round, then exit"},
	{"interval", INTENT_OPTION_DURATION, "DURATION", "5m", NULL, 1000, 86400000, "Look again after so long"},
	{"concurrency", INTENT_OPTION_INTEGER, "NUMBER", "4", "TEST_CONCURRENCY", 1, 64, "Rounds side by side"},
	{"log-format", INTENT_OPTION_WORD, "text|logfmt|json", "text", NULL, 0, 0, "Form of the log"},
	{0},
};

static const struct intent_option own[] = {
	{"repo", INTENT_OPTION_STRING, "URL", NULL, NULL, 0, 0, "Where artifacts are"},
	{"runit-stage", INTENT_OPTION_PATH, "DIRECTORY", NULL, NULL, 0, 0,
	 "Where service directories are [built]: it's there"},
	{"wait", INTENT_OPTION_DURATION, "DURATION", NULL, NULL, 0, 0, "No bound"},
	{"no-wonder", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "Begins with no"},
	{0},
};

static const struct intent_option *const tables[] = {own, common, NULL};

static const struct intent_option_program program = {
	.name = "pp-test", .usage = "[OPTION]...", .summary = "Tests.", .section = "test", .tables = tables,
	.words = "put get",
};

#define MAX_WORDS 8

static int parse(char *const *words, json_t **ret_new, json_t **ret_rest, bool *ret_done, struct intent_error *err)
{
	char *argv[MAX_WORDS + 2] = {(char *)(uintptr_t)"pp-test"};
	int argc = 1;

	while (argc <= MAX_WORDS && words[argc - 1]) {
		argv[argc] = words[argc - 1];
		argc++;
	}
	return intent_options_parse(&program, argc, argv, ret_new, ret_rest, ret_done, err);
}

#define WORDS(...) ((char *[]){__VA_ARGS__, NULL})
#define S(text) ((char *)(uintptr_t)(text))

static struct {
	const char *words[MAX_WORDS];
	const char *name, *json; /* json NULL: absent */
} good[] = {
	{{0}, "state-dir", "\"/var/lib/x\""},
	{{0}, "interval", "300000"},
	{{0}, "once", "false"},
	{{0}, "repo", NULL},
	{{"--repo=x"}, "repo", "\"x\""},
	{{"--repo", "x"}, "repo", "\"x\""},
	{{"-repo=file:///tmp/local-repo/"}, "repo", "\"file:///tmp/local-repo/\""},
	{{"-repo", "file:///tmp/local-repo/"}, "repo", "\"file:///tmp/local-repo/\""},
	{{"-runit-stage=/var/service-stage/"}, "runit-stage", "\"/var/service-stage\""},
	{{"--runit-stage=/"}, "runit-stage", "\"/\""},
	{{"--runit-stage=."}, "runit-stage", "\"/tmp\""},
	{{"--runit-stage=./a/b//"}, "runit-stage", "\"/tmp/a/b\""},
	{{"--runit-stage=.//a"}, "runit-stage", "\"/tmp/a\""},
	{{"--runit-stage=./"}, "runit-stage", "\"/tmp\""},
	{{"--runit-stage=../a"}, "runit-stage", "\"/tmp/../a\""},
	{{"--repo="}, "repo", "\"\""},
	{{"--repo", "-"}, "repo", "\"-\""},
	{{"--repo", "--unheard-of"}, "repo", "\"--unheard-of\""},
	{{"--repo=--once"}, "repo", "\"--once\""},
	{{"--repo=a=b"}, "repo", "\"a=b\""},
	{{"--repo=1", "--repo=2"}, "repo", "\"2\""},
	{{"--once"}, "once", "true"},
	{{"-once"}, "once", "true"},
	{{"--once=true"}, "once", "true"},
	{{"--once=false"}, "once", "false"},
	{{"--once", "--no-once"}, "once", "false"},
	{{"--no-wonder"}, "no-wonder", "true"},
	{{"--no-no-wonder"}, "no-wonder", "false"},
	{{"--interval=10"}, "interval", "10000"},
	{{"--interval=1500ms"}, "interval", "1500"},
	{{"--wait=365d"}, "wait", "31536000000"},
	{{"--concurrency=64"}, "concurrency", "64"},
	{{"--log-format=json"}, "log-format", "\"json\""},
};

START_TEST(takes)
{
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	bool done = true;

	ck_assert_int_eq(chdir("/tmp"), 0);
	ck_assert_msg(parse((char *const *)(uintptr_t)good[_i].words, &json, NULL, &done, &err) == 0, "%s", err.msg);
	ck_assert(!done);
	if (!good[_i].json) {
		ck_assert_ptr_null(json_object_get(json, good[_i].name));
	} else {
		char *text intent_free_auto = json_dumps(json_object_get(json, good[_i].name), JSON_ENCODE_ANY);

		ck_assert_ptr_nonnull(text);
		ck_assert_str_eq(text, good[_i].json);
	}
}
END_TEST

static struct {
	const char *words[MAX_WORDS];
	const char *message;
} bad[] = {
	{{"--repp=x"}, "unknown option --repp; did you mean --repo?"},
	{{"-onec"}, "unknown option --onec; did you mean --once?"},
	{{"--confg-file=x"}, "unknown option --confg-file; did you mean --config-file?"},
	{{"--xyzzyfoo"}, "unknown option --xyzzyfoo; pp-test --help lists them all"},
	{{"--no-repo"}, "unknown option --no-repo; "},
	{{"--no-once=true"}, "unknown option --no-once"},
	{{"--no-"}, "unknown option --no-"},
	{{"--="}, "unknown option --;"},
	{{"--repo"}, "--repo needs a value"},
	{{"--repo", "--once"}, "--repo needs a value, but --once follows; write --repo=--once if that is it"},
	{{"--repo", "--store=x"}, "--repo needs a value, but --store=x follows"},
	{{"--repo=\xff"}, "--repo: must be UTF-8 text"},
	{{"--once=yes"}, "--once: must be true or false, not \"yes\""},
	{{"--once="}, "--once: must be true or false"},
	{{"--state-dir="}, "--state-dir: must be a path"},
	{{"--interval=10ms"}, "--interval: must be between 1.0s and 1d00h, not 10ms"},
	{{"--interval=2d"}, "--interval: must be between"},
	{{"--interval=soon"}, "--interval: "},
	{{"--interval=-5"}, "--interval: "},
	{{"--concurrency=0"}, "--concurrency: "},
	{{"--concurrency=65"}, "--concurrency: "},
	{{"--concurrency=4x"}, "--concurrency: "},
	{{"--concurrency="}, "--concurrency: "},
	{{"--log-format=xml"}, "--log-format: must be one of text|logfmt|json, not \"xml\""},
	{{"--log-format=text|json"}, "--log-format: must be one of"},
	{{"--log-format="}, "--log-format: must be one of"},
	{{"--completion=fish"}, "--completion: must be one of bash|zsh"},
	{{"word"}, "unexpected argument \"word\""},
	{{"--", "--once"}, "unexpected argument \"--once\""},
	{{"--config-file=/nowhere/at.yaml"}, "configuration file: /nowhere/at.yaml: there is no such file"},
};

START_TEST(refuses)
{
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	bool done;
	int rc = parse((char *const *)(uintptr_t)bad[_i].words, &json, NULL, &done, &err);

	ck_assert_ptr_null(json);
	ck_assert_msg(intent_starts_with(err.msg, bad[_i].message), "got: %s\nwant: %s", err.msg, bad[_i].message);
	ck_assert_int_eq(rc, INTENT_EUSAGE);
	ck_assert_int_eq(err.code, INTENT_EUSAGE);
}
END_TEST

START_TEST(takes_arguments_anywhere)
{
	json_t *json intent_json_auto = NULL, *rest intent_json_auto = NULL;
	struct intent_error err = {0};
	char *text intent_free_auto = NULL;
	bool done;

	ck_assert_int_eq(parse(WORDS(S("put"), S("--once"), S("key"), S("-"), S("--"), S("-5"), S("--once")),
			       &json, &rest, &done, &err), 0);
	text = intent_json_canonical(rest);
	ck_assert_str_eq(text, "[\"put\",\"key\",\"-\",\"-5\",\"--once\"]");
	ck_assert(intent_json_boolean(json, "once", false));
}
END_TEST

static char file[] = "/tmp/platypus-option.XXXXXX";

static void write_file(const char *text)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void with_file(void)
{
	int fd;

	snprintf(file, sizeof(file), "%s", "/tmp/platypus-option.XXXXXX");
	fd = mkstemp(file);
	ck_assert_int_ge(fd, 0);
	close(fd);
	setenv("PP_CONFIG", file, 1);
}

static void without_file(void)
{
	unlink(file);
}

START_TEST(orders_sources)
{
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	bool done;

	write_file("store: from-file\nconcurrency: 5\ninterval: 7s\nlog-format: json\nonce: true\n"
		   "test:\n  concurrency: 6\n  log-format: logfmt\n  repo: 12\n");
	setenv("TEST_CONCURRENCY", "7", 1);
	setenv("TEST_STORE", "", 1); /* set to nothing is not set */
	ck_assert_msg(parse(WORDS(S("--interval=9s")), &json, NULL, &done, &err) == 0, "%s", err.msg);
	ck_assert_str_eq(intent_json_string(json, "store", ""), "from-file");
	ck_assert_str_eq(intent_json_string(json, "log-format", ""), "logfmt");
	ck_assert_str_eq(intent_json_string(json, "repo", ""), "12");
	ck_assert_int_eq(intent_json_integer(json, "concurrency", 0), 7);
	ck_assert_int_eq(intent_json_integer(json, "interval", 0), 9000);
	ck_assert(intent_json_boolean(json, "once", false));
	json_decref(json);
	json = NULL;
	setenv("TEST_CONCURRENCY", "700", 1);
	ck_assert_int_eq(parse(WORDS(NULL), &json, NULL, &done, &err), INTENT_EUSAGE);
	ck_assert_msg(intent_starts_with(err.msg, "TEST_CONCURRENCY: "), "%s", err.msg);
}
END_TEST

START_TEST(finds_files_beside_the_file)
{
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	bool done;

	ck_assert_int_eq(chdir("/"), 0);
	write_file("state-dir: state\n");
	ck_assert_int_eq(parse(WORDS(NULL), &json, NULL, &done, &err), 0);
	ck_assert_str_eq(intent_json_string(json, "state-dir", ""), "/tmp/state");
}
END_TEST

/* After "<file>:". */
static const struct {
	const char *yaml, *message; /* message NULL: taken */
} files[] = {
	{"", NULL},
	{"# nothing\n", NULL},
	{"test:\n", NULL},
	{"preparer:\n", NULL},
	{"preparer:\n  whatever: 1\n  deeper: {a: [1]}\n", NULL},
	{"once: false\ntest: {once: true}\n", NULL},
	{"store: x\nstroe: y\n", "2: stroe: unknown option; did you mean \"store\"?"},
	{"test:\n  store: x\n  runit-stag: /x\n", "3: runit-stag: unknown option; did you mean \"runit-stage\"?"},
	{"test:\n\n  xyzzyfoo: x\n", "3: xyzzyfoo: unknown option; pp-test --help lists them all"},
	{"trusted-keys: x\n", "1: trusted-keys: pp-test has no such option; what is for one agent"},
	{"once: yes\n", "1: once: must be true or false, not \"yes\""},
	{"\nonce: 1\n", "2: once: must be true or false"},
	{"store:\n", "1: store: has no value"},
	{"store: [a, b]\n", "1: store: must be one value"},
	{"test:\n  store: {a: b}\n", "2: store: must be one value"},
	{"store: true\n", "1: store: must be text; quote it: \"true\""},
	{"concurrency: 65\n", "1: concurrency: "},
	{"concurrency: many\n", "1: concurrency: "},
	{"interval: 10ms\n", "1: interval: must be between"},
	{"test: on\n", "1: test: must be a mapping"},
	{"config-file: /x\n", "1: config-file: only on the command line"},
	{"help: true\n", "1: help: only on the command line"},
	{"- a\n", "1: must be a mapping"},
	{"store: x\nstore: y\n", "2:1: \"store\" is given twice"},
	{"store: x\n bad\n- x\n", "3:1: did not find"},
};

START_TEST(checks_file)
{
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	const char *after;
	bool done;
	int rc;

	write_file(files[_i].yaml);
	rc = parse(WORDS(NULL), &json, NULL, &done, &err);
	if (!files[_i].message) {
		ck_assert_msg(rc == 0, "%s", err.msg);
		return;
	}
	ck_assert_int_eq(rc, INTENT_EUSAGE);
	after = strstr(err.msg, file);
	ck_assert_msg(after && intent_starts_with(after + strlen(file) + 1, files[_i].message), "%s: got %s",
		      files[_i].yaml, err.msg);
}
END_TEST

START_TEST(ignores_what_is_for_others)
{
	struct intent_option_program lenient = program;
	char name[] = "ppctl", *argv[] = {name, NULL};
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	bool done;

	write_file("strange: 1\nstore: x\ntest: {stranger: 2}\n");
	lenient.ignores_unknown = true;
	ck_assert_int_eq(intent_options_parse(&lenient, 1, argv, &json, NULL, &done, &err), 0);
	ck_assert_str_eq(intent_json_string(json, "store", ""), "x");
	ck_assert_ptr_null(json_object_get(json, "strange"));
	json_decref(json);
	json = NULL;
	write_file("store: [x]\n");
	ck_assert_int_eq(intent_options_parse(&lenient, 1, argv, &json, NULL, &done, &err), INTENT_EUSAGE);
}
END_TEST

static void capture(const char *word, struct intent_text *out)
{
	char path[] = "/tmp/platypus-option-out.XXXXXX", buffer[16384];
	int fd = mkstemp(path), saved = dup(STDOUT_FILENO);
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	bool done = false;
	ssize_t got;

	unlink(path);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	/* A broken file must not keep anybody from reading the help. */
	ck_assert_int_eq(parse(WORDS(S("--config-file=/nowhere"), S(word)), &json, NULL, &done, &err), 0);
	dup2(saved, STDOUT_FILENO);
	ck_assert(done);
	lseek(fd, 0, SEEK_SET);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		intent_text_add(out, buffer, (size_t)got);
	close(fd);
	close(saved);
}

START_TEST(prints_help)
{
	struct intent_text out intent_text_auto = INTENT_TEXT_INIT;
	const char *line, *end;

	capture("--help", &out);
	ck_assert_msg(intent_starts_with(intent_text_str(&out), "Usage: pp-test [OPTION]...\nTests.\n\n  --repo URL "),
		      "%s", intent_text_str(&out));
	ck_assert(strstr(intent_text_str(&out), "  --concurrency NUMBER"));
	ck_assert(strstr(intent_text_str(&out), "[4] ($TEST_CONCURRENCY)"));
	ck_assert(strstr(intent_text_str(&out), "  --log-format text|logfmt|json\n"));
	ck_assert(strstr(intent_text_str(&out), "  --config-file FILE"));
	for (line = out.data; *line; line = end + 1) {
		end = strchr(line, '\n');
		ck_assert_msg(end - line <= 80, "too long: %.*s", (int)(end - line), line);
		ck_assert_msg(end == line || end[-1] != ' ', "blank at the end: %.*s", (int)(end - line), line);
	}
}
END_TEST

START_TEST(prints_version)
{
	struct intent_text out intent_text_auto = INTENT_TEXT_INIT;

	capture("--version", &out);
	ck_assert_str_eq(out.data, "pp-test " INTENT_VERSION "\n");
}
END_TEST

START_TEST(prints_completion)
{
	struct intent_text bash intent_text_auto = INTENT_TEXT_INIT, zsh intent_text_auto = INTENT_TEXT_INIT;

	capture("--completion=bash", &bash);
	ck_assert(strstr(intent_text_str(&bash), "complete -F _pp_test pp-test\n"));
	ck_assert(strstr(intent_text_str(&bash), "compgen -W 'text logfmt json'"));
	ck_assert(strstr(intent_text_str(&bash), " --once "));
	ck_assert(strstr(intent_text_str(&bash), "compgen -W 'put get'"));
	capture("--completion=zsh", &zsh);
	ck_assert(intent_starts_with(intent_text_str(&zsh), "#compdef pp-test\n"));
	ck_assert(strstr(intent_text_str(&zsh), "'--runit-stage=[Where service directories are \\[built\\]\\: "
			 "it'\\''s there]:DIRECTORY:_files'"));
	ck_assert(strstr(intent_text_str(&zsh), ":log-format:(text logfmt json)'"));
}
END_TEST

START_TEST(says_when_output_fails)
{
	int full = open("/dev/full", O_WRONLY), saved = dup(STDOUT_FILENO);
	json_t *json intent_json_auto = NULL;
	struct intent_error err = {0};
	bool done = false;
	int rc;

	if (full < 0)
		return;
	fflush(stdout);
	dup2(full, STDOUT_FILENO);
	rc = parse(WORDS(S("--help")), &json, NULL, &done, &err);
	dup2(saved, STDOUT_FILENO);
	clearerr(stdout);
	ck_assert_int_eq(rc, -ENOSPC);
	ck_assert_msg(!done, "an output was touched");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("option");
	TCase *cases = tcase_create("command line"), *in_files = tcase_create("file");
	SRunner *runner = srunner_create(suite);
	int failed;

	unsetenv("PP_CONFIG");
	suite_add_tcase(suite, cases);
	suite_add_tcase(suite, in_files);
	tcase_add_loop_test(cases, takes, 0, sizeof(good) / sizeof(*good));
	tcase_add_loop_test(cases, refuses, 0, sizeof(bad) / sizeof(*bad));
	tcase_add_test(cases, takes_arguments_anywhere);
	tcase_add_test(cases, prints_help);
	tcase_add_test(cases, prints_version);
	tcase_add_test(cases, prints_completion);
	tcase_add_test(cases, says_when_output_fails);
	tcase_add_checked_fixture(in_files, with_file, without_file);
	tcase_add_test(in_files, orders_sources);
	tcase_add_test(in_files, ignores_what_is_for_others);
	tcase_add_test(in_files, finds_files_beside_the_file);
	tcase_add_loop_test(in_files, checks_file, 0, sizeof(files) / sizeof(*files));
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
