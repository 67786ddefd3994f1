/*
 * The documents of the store: test-data/documents/{good,bad}, and that intent-documents(5)
 * says exactly what the tables say.
 *
 * A case is {"key", "document" | "bytes", "faults": [line, ...]}; no faults: it must be taken.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <intent/documents.h>
#include <intent/file.h>

static const char cases[] = "test-data/documents", page[] = "libintent/intent-documents.5";

static void check_case(const char *path, const json_t *one, const char *name)
{
	const char *key = intent_json_string(one, "key", ""),
		   *bytes = intent_json_string(one, "bytes", NULL);
	const json_t *want = json_object_get(one, "faults");
	intent_free_auto char *value =
		bytes ? strdup(bytes) : intent_json_canonical(json_object_get(one, "document"));
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT, wanted = INTENT_TEXT_INIT;
	intent_json_auto json_t *json = NULL;
	struct intent_error err = {0};
	size_t index;
	json_t *line;

	json_array_foreach((json_t *)(uintptr_t)want, index, line)
		intent_text_printf(&wanted, "%s\n", json_string_value(line));
	int code = intent_document_check(key, value, strlen(value), true, &json, &faults, &err);
	ck_assert_msg(!strcmp(intent_text_str(&faults), intent_text_str(&wanted)),
		      "%s: %s: %s: faults are\n%swanted are\n%s", path, name, key,
		      intent_text_str(&faults), intent_text_str(&wanted));
	ck_assert_msg(!code == !wanted.length, "%s: %s: code %d", path, name, code);
	ck_assert_msg(!json == !!code, "%s: %s: the document is returned with success only", path,
		      name);
	ck_assert_msg(!code || err.msg[0], "%s: %s: a failure without a sentence", path, name);
}

START_TEST(test_cases)
{
	DIR *directory = opendir(cases);
	int seen = 0;

	ck_assert_ptr_nonnull(directory);
	for (struct dirent *entry; (entry = readdir(directory));) {
		char path[512];
		struct intent_error err;
		intent_json_auto json_t *file = NULL;
		const char *name;
		json_t *one;

		if (!intent_ends_with(entry->d_name, ".json"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", cases, entry->d_name);
		ck_assert_msg(!intent_file_read_json(path, 1 << 20, &file, &err), "%s", err.msg);
		json_object_foreach(file, name, one) {
			check_case(path, one, name);
			seen++;
		}
	}
	closedir(directory);
	ck_assert_int_gt(seen, 60);
}
END_TEST

START_TEST(test_find)
{
	static const struct {
		const char *key, *pattern;
	} rows[] = {
		{"nodes/web1/", "nodes/<node>/"},
		{"nodes/web1/slug", "nodes/<node>/<app>"},
		{"clusters/slug/development/config", "clusters/<app>/<cluster>/config"},
		{"clusters/slug/development/deploy_config",
		 "clusters/<app>/<cluster>/deploy_config"},
		{"reality/status/setlive/web1/slug", "reality/status/<agent>/<node>/<slice...>"},
		{"reality/status/terraform-applier/web1/prod/net",
		 "reality/status/<agent>/<node>/<slice...>"},
		{"reality/refs/slug/heads/main", "reality/refs/<app>/<ref...>"},
		{"locks/slug/development/shutdown", "locks/<app>/<cluster>/shutdown"},
		{"nodes/web1", NULL},
		{"nodes//slug", NULL},
		{"nodes/web1/slug/", NULL},
		{"nodes/web1/a/b", NULL},
		{"/nodes/web1/slug", NULL},
		{"", NULL},
		{"nodes", NULL},
		{"nodes/web 1/slug", NULL},
		{"nodes/../slug", NULL},
		{"clusters/a/b/conf", NULL},
		{"reality/status/setlive/web1/", NULL},
		{"reality/status/setlive/web1/a//b", NULL},
		{"reality/status/setlive/web1/a/../b", NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct intent_document *row = intent_document_find(rows[i].key);
		ck_assert_msg(!row == !rows[i].pattern, "%s: %s", rows[i].key,
			      row ? row->pattern : "none");
		if (row)
			ck_assert_str_eq(row->pattern, rows[i].pattern);
	}
}
END_TEST

START_TEST(test_bounds)
{
	static const char more[] = "{\"cluster\": \"c\", \"more\": 1}";
	size_t size = (512u << 10) + 1;
	char *big = malloc(size), key[600];
	struct intent_error err;

	memset(big, ' ', size);
	ck_assert_int_eq(intent_document_check("nodes/n/a", big, size, true, NULL, NULL, &err),
			 INTENT_ETOOBIG);
	memset(key, 'a', sizeof(key));
	memcpy(key, "nodes/n/", 8);
	key[sizeof(key) - 1] = 0;
	ck_assert_int_eq(intent_document_check(key, "{}", 2, true, NULL, NULL, &err),
			 INTENT_ETOOBIG);
	/* Agents read leniently: a newer writer's member is no fault. */
	ck_assert_int_eq(
		intent_document_check("nodes/n/a", more, strlen(more), false, NULL, NULL, &err),
		0);
	ck_assert_int_eq(
		intent_document_check("nodes/n/a", more, strlen(more), true, NULL, NULL, &err),
		INTENT_EMALFORMED);
	free(big);
}
END_TEST

START_TEST(test_active)
{
	static const struct {
		const char *config, *active;
	} rows[] = {
		{"{\"versions\": {\"a\": \"prep\", \"b\": \"active\"}}", "b"},
		{"{\"versions\": {\"a\": \"prep\"}}", NULL},
		{"{\"versions\": {}}", NULL},
		{"{}", NULL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		intent_json_auto json_t *config = json_loads(rows[i].config, 0, NULL);
		const char *active = intent_config_active(config);
		ck_assert_msg(!active == !rows[i].active, "%s", rows[i].config);
		ck_assert(!active || !strcmp(active, rows[i].active));
	}
	ck_assert_ptr_null(intent_config_active(NULL));
}
END_TEST

START_TEST(test_basedir)
{
	static const struct {
		const char *given, *want;
	} rows[] = {
		{"/tmp/slug", "/tmp/slug"},       {"/srv/%n/slug", "/srv/web1/slug"},
		{"/srv/%n-%n", "/srv/web1-web1"}, {"/srv/100%%", "/srv/100%"},
		{"/srv/%%n", "/srv/%n"},          {"/srv//slug/", "/srv/slug"},
		{"/srv/./slug/.", "/srv/slug"},   {"//srv/slug///", "/srv/slug"},
		{"/srv/././a", "/srv/a"},         {"/srv/.hidden", "/srv/.hidden"},
		{"/srv/..a/b", "/srv/..a/b"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		intent_json_auto json_t *deploy = json_pack("{ss}", "basedir", rows[i].given);
		intent_free_auto char *path = intent_deploy_basedir(deploy, "web1");
		ck_assert_str_eq(path, rows[i].want);
	}
	ck_assert_ptr_null(intent_deploy_basedir(NULL, "web1"));
}
END_TEST

/* Every name that a document may have by its row, however deep; `names` is a set. */
static void collect(const struct intent_json_field *row, json_t *names, int depth)
{
	const struct intent_json_field *member = row->members;

	ck_assert_int_lt(depth, 10);
	for (; member && member->name; member++) {
		/* Below lists, maps and choices the name is only a placeholder. */
		if (row->type == INTENT_JSON_OBJECT) {
			ck_assert_msg(member->help && *member->help, "%s has no help",
				      member->name);
			json_object_set_new(names, member->name, json_true());
		}
		collect(member, names, depth + 1);
	}
}

static const char *const of_hold[] = {"why", "who", "since", "until"};

/* The names that the page gives a key: the .It Cm lines of its .Ss section. */
static json_t *page_names(const char *text, const char *pattern)
{
	intent_free_auto char *heading = intent_format("\n.Ss %s\n", pattern);
	const char *section = strstr(text, heading), *end;
	json_t *names = json_object();

	ck_assert_msg(section != NULL, "%s has no section \".Ss %s\"", page, pattern);
	section += strlen(heading) - 1;
	for (end = strstr(section, "\n.S"); end && end[3] != 's' && end[3] != 'h';)
		end = strstr(end + 1, "\n.S");
	for (const char *p = section; (p = strstr(p, "\n.It Cm ")) && p < end;) {
		p += strlen("\n.It Cm ");
		json_object_setn_new(names, p, strcspn(p, " \n"), json_true());
	}
	/* What a hold is made of stands once for all that have one. */
	if (json_object_get(names, "hold"))
		for (size_t i = 0; i < sizeof(of_hold) / sizeof(*of_hold); i++)
			json_object_set_new(names, of_hold[i], json_true());
	return names;
}

static void demand_names(const json_t *these, const json_t *those, const char *pattern,
			 const char *fault)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)these, name, value)
		ck_assert_msg(json_object_get(those, name) != NULL, "%s: \"%s\" %s", pattern,
			      name, fault);
}

/* 2026-01-01T00:00:00Z is 1767225600000. */
static const struct { const char *holds, *words; int64_t until; } holds[] = {
	{NULL, NULL, 0}, {"{}", NULL, 0}, {"{\"nodes/web1/\": false}", NULL, 0},
	{"{\"nodes/web1/\": true}", "nodes/web1/", 0},
	{"{\"nodes/web1/slug\": \"new disk\"}", "nodes/web1/slug: new disk", 0},
	{"{\"nodes/web1/slug\": {}}", "nodes/web1/slug", 0},
	{"{\"k\": {\"why\": \"new disk\", \"who\": \"anna\", \"until\": \"2026-01-01T00:00:00.001Z\"}}",
	 "k: new disk, says anna, until 2026-01-01T00:00:00.001Z", 1767225600001},
	{"{\"k\": {\"who\": \"anna\"}}", "k, says anna", 0},
	{"{\"k\": {\"until\": \"2026-01-01T00:00:00Z\"}}", NULL, 0},
	{"{\"k\": {\"until\": \"2026-01-01T01:00:00+02:00\"}}", NULL, 0},
	/* Not understood: a hold that never ends by itself is the safe reading. */
	{"{\"k\": {\"until\": \"tomorrow\"}}", "k, until tomorrow", 0}, {"{\"k\": 5}", "k", 0},
	{"{\"a\": {\"until\": \"2025-12-31T00:00:00Z\"}, \"b\": false, \"c\": \"still\"}", "c: still", 0},
};

START_TEST(test_hold)
{
	intent_json_auto json_t *given = holds[_i].holds ? json_loads(holds[_i].holds, 0, NULL) : NULL;
	int64_t until = -1;
	intent_free_auto char *words = intent_hold_in_force(given, 1767225600000, &until);

	ck_assert_msg(holds[_i].words ? words && !strcmp(words, holds[_i].words) : !words, "%s: %s", holds[_i].holds,
		      words ? words : "none");
	ck_assert_int_eq(until, holds[_i].until);
}
END_TEST

START_TEST(test_page)
{
	struct intent_error err;
	intent_free_auto char *text = NULL;
	int sections = 0, rows = 0;
	size_t length;

	ck_assert_msg(!intent_file_read(AT_FDCWD, page, 1 << 20, &text, &length, &err), "%s",
		      err.msg);
	for (const struct intent_document *row = intent_documents; row->pattern; row++, rows++) {
		intent_json_auto json_t *table = json_object(),
					*said = page_names(text, row->pattern);

		ck_assert_msg(row->summary && row->written_by, "%s", row->pattern);
		collect(row->schema, table, 0);
		demand_names(table, said, row->pattern, "is in the table and not in the manual");
		demand_names(said, table, row->pattern, "is in the manual and not in the table");
	}
	for (const char *p = text; (p = strstr(p, "\n.Ss ")); p++)
		sections++;
	ck_assert_int_eq(sections, rows);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("documents");
	TCase *tcase = tcase_create("documents");
	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, test_cases);
	tcase_add_test(tcase, test_find);
	tcase_add_test(tcase, test_bounds);
	tcase_add_test(tcase, test_active);
	tcase_add_test(tcase, test_basedir);
	tcase_add_loop_test(tcase, test_hold, 0, (int)(sizeof holds / sizeof *holds));
	tcase_add_test(tcase, test_page);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
