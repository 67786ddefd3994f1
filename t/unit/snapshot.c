/* Snapshots and the parts of a watch. */
#include <check.h>

#include <intent/documents.h>
#include "../../libintent/store/engine.h"

static struct intent_error err;

/* "key=value key=value ...", all of this revision. */
static struct intent_snapshot *make(const char *text, uint64_t revision)
{
	struct intent_snapshot *snapshot = intent_snapshot_new();
	char *copy = strdup(text), *rest = copy, *word;

	while ((word = strsep(&rest, " "))) {
		char *value = strchr(word, '=');

		if (!value)
			continue;
		*value++ = 0;
		intent_snapshot_add(snapshot, word, value, strlen(value), revision, NULL, false);
	}
	free(copy);
	snapshot->revision = revision;
	intent_snapshot_sort(snapshot);
	return snapshot;
}

static void expect(const struct intent_snapshot *snapshot, const char *text)
{
	intent_text_auto struct intent_text all = INTENT_TEXT_INIT;

	ck_assert_ptr_nonnull(snapshot);
	for (size_t i = 0; i < snapshot->count; i++)
		intent_text_printf(&all, "%s%s=%s", i ? " " : "", snapshot->entries[i].key,
				   snapshot->entries[i].value);
	ck_assert_str_eq(intent_text_str(&all), text);
}

START_TEST(sorted_and_found)
{
	struct intent_snapshot *snapshot = make("b=2 a/b=1 a=0 a-=3 B=4", 7);
	size_t count;

	expect(snapshot, "B=4 a=0 a-=3 a/b=1 b=2");
	ck_assert_str_eq(intent_snapshot_find(snapshot, "a/b")->value, "1");
	ck_assert_ptr_null(intent_snapshot_find(snapshot, "a/"));
	ck_assert_ptr_null(intent_snapshot_find(snapshot, ""));
	ck_assert_str_eq(intent_snapshot_range(snapshot, "a", &count)->key, "a");
	ck_assert_uint_eq(count, 3);
	ck_assert_str_eq(intent_snapshot_range(snapshot, "", &count)->key, "B");
	ck_assert_uint_eq(count, 5);
	ck_assert_ptr_null(intent_snapshot_range(snapshot, "zz", &count));
	ck_assert_uint_eq(count, 0);
	ck_assert_ptr_null(intent_snapshot_range(snapshot, "a/bb", &count));
	intent_snapshot_unref(snapshot);
	snapshot = intent_snapshot_new();
	ck_assert_ptr_null(intent_snapshot_find(snapshot, "a"));
	ck_assert_ptr_null(intent_snapshot_range(snapshot, "", &count));
	intent_snapshot_unref(snapshot);
	ck_assert_ptr_null(intent_snapshot_unref(NULL));
	ck_assert_ptr_null(intent_snapshot_ref(NULL));
}
END_TEST

START_TEST(strings_are_copied)
{
	struct intent_snapshot *snapshot = intent_snapshot_new();
	char key[] = "key", value[] = "a\0b", session[] = "s1";

	intent_snapshot_add(snapshot, key, value, 3, 5, session, true);
	memset(key, 'x', 3);
	memset(value, 'x', 3);
	memset(session, 'x', 2);
	ck_assert_str_eq(snapshot->entries[0].key, "key");
	ck_assert_mem_eq(snapshot->entries[0].value, "a\0b", 4);
	ck_assert_str_eq(snapshot->entries[0].session, "s1");
	ck_assert(snapshot->entries[0].untrusted);
	intent_snapshot_unref(snapshot);
}
END_TEST

START_TEST(same_or_not)
{
	struct intent_snapshot *a = make("a=1 b=2", 1), *b = make("a=1 b=2", 9);
	static const char *const others[] = {"a=1", "a=1 b=3", "a=1 c=2", "a=1 b=22", "",
					     "a=1 b=2 c=3"};

	ck_assert_msg(intent_snapshot_same(a, b), "revisions do not count");
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct intent_snapshot *other = make(others[i], 1);

		ck_assert_msg(!intent_snapshot_same(a, other), "%s", others[i]);
		intent_snapshot_unref(other);
	}
	b->entries[0].untrusted = true;
	ck_assert_msg(!intent_snapshot_same(a, b), "trust counts");
	intent_snapshot_unref(a);
	intent_snapshot_unref(b);
}
END_TEST

START_TEST(through_json)
{
	struct intent_snapshot *a = make("a=1 b= c/=3", 12), *b = NULL;
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	json_t *json = NULL;

	intent_snapshot_add(a, "d", "\0\xff", 2, 13, "s", true);
	intent_snapshot_add(a, "e\"\\f\\", "", 0, 14, NULL, false);
	intent_snapshot_write(a, NULL, &text);
	ck_assert_int_eq(intent_json_parse(intent_text_str(&text), text.length, 0, &json, &err), 0);
	ck_assert_int_eq(intent_snapshot_from_json(json, &b, &err), 0);
	ck_assert(intent_snapshot_same(a, b));
	ck_assert_uint_eq(b->revision, 12);
	ck_assert_uint_eq(b->entries[3].revision, 13);
	ck_assert_str_eq(b->entries[3].session, "s");
	ck_assert_msg(b->entries[3].untrusted, "a cache must not launder");
	json_decref(json);
	intent_snapshot_unref(a);
	intent_snapshot_unref(b);
}
END_TEST

START_TEST(json_that_is_wrong)
{
	static const char *const texts[] = {
		"[]", "{}", "{\"revision\": 1}", "{\"revision\": -1, \"entries\": []}",
		"{\"revision\": 1, \"entries\": {}}", "{\"revision\": 1, \"entries\": [1]}",
		"{\"revision\": 1, \"entries\": [{\"key\": \"a\", \"value\": \"\"}]}",
		"{\"revision\": 1, \"entries\": [{\"key\": \"\", \"value\": \"\", \"revision\": 1}]}",
		"{\"revision\": 1, \"entries\": [{\"key\": \"a\", \"value\": \"*\", \"revision\": 1}]}",
		"{\"revision\": 1, \"entries\": [{\"key\": \"a\", \"value\": 1, \"revision\": 1}]}",
		("{\"revision\": 1, \"entries\": [{\"key\": \"a\", \"value\": \"\", \"revision\": 1},"
		 "{\"key\": \"a\", \"value\": \"\", \"revision\": 1}]}"),
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct intent_snapshot *snapshot = NULL;
		json_t *json = NULL;

		ck_assert_int_eq(intent_json_parse(texts[i], strlen(texts[i]), 0, &json, &err), 0);
		ck_assert_msg(intent_snapshot_from_json(json, &snapshot, &err) < 0, "%s", texts[i]);
		ck_assert_ptr_null(snapshot);
		json_decref(json);
	}
}
END_TEST

START_TEST(stripped)
{
	struct intent_snapshot *snapshot = make("p/=0 p/a=1 p/b/c=2", 3), *inner, *same;

	inner = intent__snapshot_strip(snapshot, 2);
	same = intent__snapshot_strip(snapshot, 0);
	ck_assert_ptr_eq(same, snapshot);
	intent_snapshot_unref(same);
	expect(snapshot, "p/=0 p/a=1 p/b/c=2");
	intent_snapshot_unref(snapshot);
	expect(inner, "a=1 b/c=2");
	ck_assert_uint_eq(inner->revision, 3);
	intent_snapshot_unref(inner);
}
END_TEST

START_TEST(parts_wait_for_all)
{
	const char *const prefixes[] = {"b/", "a/", "b/", NULL};
	struct intent__parts *parts = intent__parts_new();
	struct intent_snapshot *taken;

	intent__parts_set(parts, prefixes);
	ck_assert_uint_eq(intent__parts_count(parts), 2);
	ck_assert_ptr_null(intent__parts_take(parts));
	intent__parts_put(parts, 0, make("b/x=1", 3));
	ck_assert_ptr_null(intent__parts_take(parts));
	intent__parts_put(parts, 1, make("", 9));
	taken = intent__parts_take(parts);
	expect(taken, "b/x=1");
	ck_assert_uint_eq(taken->revision, 9);
	intent_snapshot_unref(taken);
	ck_assert_ptr_null(intent__parts_take(parts));
	intent__parts_put(parts, 1, make("a/y=2", 10));
	taken = intent__parts_take(parts);
	expect(taken, "a/y=2 b/x=1");
	intent_snapshot_unref(taken);
	intent__parts_put(parts, 0, make("b/x=1", 11));
	ck_assert_msg(!intent__parts_take(parts), "equal content is no news");
	intent__parts_put(parts, 0, NULL);
	ck_assert_ptr_null(intent__parts_take(parts));
	intent__parts_free(parts);
}
END_TEST

START_TEST(parts_of_another_set)
{
	const char *const two[] = {"a/", "b/", NULL}, *const other[] = {"c/", "b/", NULL};
	const char *const one[] = {"b/", NULL}, *const none[] = {NULL};
	struct intent__parts *parts = intent__parts_new();

	intent__parts_set(parts, two);
	intent__parts_put(parts, 0, make("a/x=1", 1));
	intent__parts_put(parts, 1, make("b/x=2", 1));
	intent_snapshot_unref(intent__parts_take(parts));
	intent__parts_set(parts, two);
	ck_assert_msg(!intent__parts_take(parts), "the same set is no news");
	intent__parts_set(parts, other);
	ck_assert_ptr_null(intent__parts_take(parts));
	ck_assert_ptr_null(intent__parts_get(parts, 0));
	ck_assert_ptr_nonnull(intent__parts_get(parts, 1));
	intent__parts_put(parts, 0, make("c/x=3", 2));
	for (int i = 0; i < 2; i++) {
		struct intent_snapshot *taken = intent__parts_take(parts);

		expect(taken, i ? "b/x=2" : "b/x=2 c/x=3");
		intent_snapshot_unref(taken);
		intent__parts_set(parts, one);
	}
	intent__parts_set(parts, none);
	intent_snapshot_unref(intent__parts_take(parts));
	intent__parts_free(parts);
}
END_TEST

START_TEST(parts_narrowed_by_an_empty_one)
{
	const char *const two[] = {"a/", "b/", NULL}, *const one[] = {"b/", NULL};
	struct intent__parts *parts = intent__parts_new();
	struct intent_snapshot *taken;

	intent__parts_set(parts, two);
	intent__parts_put(parts, 0, make("", 1));
	intent__parts_put(parts, 1, make("b/x=2", 1));
	intent_snapshot_unref(intent__parts_take(parts));
	intent__parts_set(parts, one);
	taken = intent__parts_take(parts);
	expect(taken, "b/x=2");
	intent_snapshot_unref(taken);
	ck_assert_ptr_null(intent__parts_take(parts));
	intent__parts_free(parts);
}
END_TEST

static const json_t *document_at(const struct intent_snapshot *snapshot, size_t index, bool strict)
{
	json_t *document = NULL;

	ck_assert_msg(!intent_document_read(&snapshot->entries[index], strict, &document, &err), "%s", err.msg);
	json_decref(document); /* the entry holds it */
	return document;
}

START_TEST(documents_are_read_once)
{
	struct intent_snapshot *a = make("p/nodes/n/b={\"cluster\":\"c\",\"x\":1} p/nodes/n/c={\"cluster\":\"c\"}", 3);
	struct intent_snapshot *b = intent__snapshot_strip(a, 2);
	json_t *document = NULL;

	ck_assert_ptr_eq(document_at(b, 0, false), document_at(b, 0, false));
	ck_assert_msg(intent_document_read(&b->entries[0], true, &document, &err) == INTENT_EMALFORMED,
		      "a member that is not known");
	ck_assert_ptr_eq(document_at(b, 1, true), document_at(b, 1, false));
	ck_assert_msg(intent_document_read(&a->entries[1], false, &document, &err) == INTENT_EMALFORMED,
		      "the same bytes under another key");
	intent_snapshot_unref(a);
	intent_snapshot_unref(b);
}
END_TEST

START_TEST(what_stays_is_shared)
{
	static const char *const prefixes[] = {"nodes/", NULL};
	struct intent__parts *parts = intent__parts_new();
	struct intent_snapshot *b = make("nodes/n/b={\"cluster\":\"c\"} nodes/n/c={\"cluster\":\"c\"} nodes/n/d={}", 3);
	const json_t *first = document_at(b, 0, false), *second = document_at(b, 1, false);

	intent__parts_set(parts, prefixes);
	intent__parts_put(parts, 0, b);
	b = make("nodes/n/a={\"cluster\":\"c\"} nodes/n/b={\"cluster\":\"c\"} nodes/n/c={\"cluster\":\"e\"} nodes/n/d={}", 3);
	intent__parts_put(parts, 0, b);
	ck_assert_ptr_eq(document_at(b, 1, false), first);
	ck_assert_ptr_ne(document_at(b, 2, false), second);
	expect(b, "nodes/n/a={\"cluster\":\"c\"} nodes/n/b={\"cluster\":\"c\"} nodes/n/c={\"cluster\":\"e\"} nodes/n/d={}");
	b = make("nodes/n/b={\"cluster\":\"c\"}", 4);
	intent__parts_put(parts, 0, b);
	ck_assert_msg(b->entries[0].revision == 4 && document_at(b, 0, false) != first, "another write is another entry");
	intent__parts_free(parts);
}
END_TEST

START_TEST(parts_that_overlap)
{
	const char *const prefixes[] = {"", "a/", "a/b/", NULL};
	struct intent__parts *parts = intent__parts_new();
	struct intent_snapshot *taken;

	intent__parts_set(parts, prefixes);
	intent__parts_put(parts, 0, make("a/b/c=old a/x=1 z=1", 5));
	intent__parts_put(parts, 1, make("a/b/c=new a/x=1", 8));
	intent__parts_put(parts, 2, make("a/b/c=mid", 6));
	taken = intent__parts_take(parts);
	expect(taken, "a/b/c=new a/x=1 z=1");
	intent_snapshot_unref(taken);
	intent__parts_free(parts);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot");
	TCase *all = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_test(all, sorted_and_found);
	tcase_add_test(all, strings_are_copied);
	tcase_add_test(all, same_or_not);
	tcase_add_test(all, through_json);
	tcase_add_test(all, json_that_is_wrong);
	tcase_add_test(all, stripped);
	tcase_add_test(all, parts_wait_for_all);
	tcase_add_test(all, parts_of_another_set);
	tcase_add_test(all, parts_narrowed_by_an_empty_one);
	tcase_add_test(all, documents_are_read_once);
	tcase_add_test(all, what_stays_is_shared);
	tcase_add_test(all, parts_that_overlap);
	suite_add_tcase(suite, all);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
