/* Conformance of a store engine: values, keys, lists, revisions, transactions. */
#include "conformance.h"

/* ---- values ---- */

static void expect_bytes(const void *bytes, size_t length)
{
	struct intent_snapshot *snapshot;

	EXPECT_OK(intent_store_put(store, key("v"), bytes, length, &err));
	snapshot = get("v");
	EXPECT(snapshot->entries[0].length == length);
	EXPECT(memcmp(snapshot->entries[0].value, bytes, length) == 0);
	EXPECT(snapshot->entries[0].value[length] == 0);
	intent_snapshot_unref(snapshot);
	snapshot = list("");
	EXPECT(snapshot->count == 1);
	EXPECT(snapshot->entries[0].length == length);
	EXPECT(memcmp(snapshot->entries[0].value, bytes, length) == 0);
	intent_snapshot_unref(snapshot);
}

static void value_is_read_back(void)
{
	expect_bytes("{\"cluster\": \"development\"}", 26);
}

static void value_may_be_empty(void)
{
	expect_bytes("", 0);
}

static void value_may_hold_nul(void)
{
	expect_bytes("a\0b\0", 4);
}

static void value_may_hold_every_byte(void)
{
	unsigned char bytes[512];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7 + 3);
	expect_bytes(bytes, sizeof(bytes));
}

static void value_may_be_unicode(void)
{
	static const char text[] = "{\"name\": \"\xc3\xa4\xe2\x82\xac\xf0\x9f\xa6\x86\"}";

	expect_bytes(text, sizeof(text) - 1);
}

static void value_may_look_like_our_own_header(void)
{
	static const char text[] = "#intent 7 - 0000000000000000\nx\n\n";

	expect_bytes(text, sizeof(text) - 1);
}

static void value_may_be_a_json_literal(void)
{
	expect_bytes("null", 4);
	expect_bytes("\"\"", 2);
}

static void value_may_end_in_newlines(void)
{
	expect_bytes("\n\n", 2);
}

static void value_of_512_kib(void)
{
	char *bytes = malloc(INTENT_VALUE_MAX);

	memset(bytes, 'x', INTENT_VALUE_MAX);
	bytes[0] = 0;
	bytes[INTENT_VALUE_MAX - 1] = (char)0xff;
	expect_bytes(bytes, INTENT_VALUE_MAX);
	free(bytes);
}

static void value_of_one_byte_more_is_refused(void)
{
	char *bytes = calloc(1, INTENT_VALUE_MAX + 1);

	EXPECT_CODE(intent_store_put(store, key("v"), bytes, INTENT_VALUE_MAX + 1, &err),
		    INTENT_ETOOBIG);
	EXPECT(strstr(err.msg, key("v")), "(the message names the key)");
	EXPECT(is_absent("v"));
	free(bytes);
}

static void value_is_overwritten(void)
{
	put("v", "a long first value");
	put("v", "second");
	EXPECT(has_value("v", "second"));
	EXPECT(count_below("") == 1);
}

/* ---- keys ---- */

static void key_round_trip(const char *name)
{
	struct intent_snapshot *snapshot;

	put(name, name);
	EXPECT(has_value(name, name));
	snapshot = list("");
	EXPECT(intent_snapshot_find(snapshot, key(name)), "(%s is listed)", name);
	intent_snapshot_unref(snapshot);
}

static void key_absent(void)
{
	struct intent_snapshot *snapshot = NULL;

	EXPECT_CODE(intent_store_get(store, key("no"), INTENT_DEFAULT, &snapshot, &err),
		    INTENT_EABSENT);
	EXPECT(strstr(err.msg, key("no")), "(the message names the key)");
	EXPECT(!snapshot, "(outputs are untouched on failure)");
	EXPECT_CODE(intent_store_get(store, key("no"), INTENT_STRONGEST, &snapshot, &err),
		    INTENT_EABSENT);
}

static void key_of_odd_characters(void)
{
	static const char *const names[] = {
		"with space", "per%cent", "%41", "%", "a+b", "a&b=c", "q?x", "h#x", "semi;colon",
		"quo\"te", "ap'os", "back\\slash", "a*b", "[x]", "{y}", "<z>", "~", "tilde~", "a|b",
		"$dollar", "colon:at@", "comma,", "(paren)", "!", "^", "`",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		key_round_trip(names[i]);
	EXPECT(count_below("") == sizeof(names) / sizeof(names[0]));
}

static void key_of_dots(void)
{
	key_round_trip(".hidden");
	key_round_trip("..x");
	key_round_trip("a/.b/c");
	key_round_trip("trailing.");
	EXPECT(count_below("") == 4);
}

static void key_case_matters(void)
{
	put("Node", "upper");
	put("node", "lower");
	EXPECT(has_value("Node", "upper") && has_value("node", "lower"));
}

static void key_of_512_bytes(void)
{
	char name[INTENT_KEY_MAX + 2];
	size_t length = INTENT_KEY_MAX - strlen(base);

	memset(name, 'k', sizeof(name));
	name[length] = 0;
	key_round_trip(name);
	name[length] = 'k';
	name[length + 1] = 0;
	EXPECT_CODE(intent_store_put(store, key(name), "x", 1, &err), INTENT_EUSAGE);
}

static void key_of_long_odd_component(void)
{
	char name[330];

	memset(name, ' ', sizeof(name));
	memcpy(name, "x/", 2);
	memcpy(name + 300, "/leaf", 6);
	key_round_trip(name);
	name[300] = 0;
	key_round_trip(name);
	EXPECT(count_below("x/") == 2);
}

static void key_that_is_refused(void)
{
	EXPECT_CODE(intent_store_put(store, "", "x", 1, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_store_put(store, "a\nb", "x", 1, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_store_put(store, "\xc3\xa4", "x", 1, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_store_put(store, "del\x7f", "x", 1, &err), INTENT_EUSAGE);
}

static void key_with_trailing_slash(void)
{
	put("nodes/web1/", "{}");
	EXPECT(has_value("nodes/web1/", "{}"));
	EXPECT(is_absent("nodes/web1"));
	EXPECT(count_below("nodes/web1/") == 1);
	put("nodes/web1/slug", "s");
	EXPECT(count_below("nodes/web1/") == 2);
	EXPECT_OK(intent_store_delete(store, key("nodes/web1/"), &err));
	EXPECT(is_absent("nodes/web1/") && has_value("nodes/web1/slug", "s"));
}

static void key_with_empty_component(void)
{
	key_round_trip("a//b");
	key_round_trip("a//");
	key_round_trip("a/b");
	EXPECT(count_below("a//") == 2);
	EXPECT(count_below("a/") == 3);
}

static void key_and_key_below_it(void)
{
	put("a", "1");
	put("a/b", "2");
	put("a/b/c", "3");
	EXPECT(has_value("a", "1") && has_value("a/b", "2") && has_value("a/b/c", "3"));
	EXPECT(count_below("") == 3 && count_below("a/") == 2 && count_below("a/b/") == 1);
	put("a", "4");
	EXPECT(has_value("a", "4") && has_value("a/b", "2"));
	EXPECT_OK(intent_store_delete(store, key("a/b"), &err));
	EXPECT(is_absent("a/b") && has_value("a", "4") && has_value("a/b/c", "3"));
	EXPECT_OK(intent_store_delete(store, key("a/b/c"), &err));
	EXPECT(has_value("a", "4") && count_below("") == 1);
	put("a/b", "5");
	EXPECT_OK(intent_store_delete(store, key("a"), &err));
	EXPECT(is_absent("a") && has_value("a/b", "5"));
}

static void key_moves_aside_with_its_revision(void)
{
	uint64_t before;

	put("a", "1");
	before = revision_of("a");
	put("a/b", "2");
	EXPECT(revision_of("a") == before, "(a was not written)");
}

/* ---- lists ---- */

static void list_of_nothing(void)
{
	struct intent_snapshot *snapshot = list("nothing/here/");

	EXPECT(snapshot->count == 0);
	intent_snapshot_unref(snapshot);
}

static void list_is_sorted_by_byte(void)
{
	static const char *const names[] = {"b", "a/z", "a", "B", "a-", "a0", "a/", "Z", "_"};
	struct intent_snapshot *snapshot;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		put(names[i], names[i]);
	snapshot = list("");
	EXPECT(snapshot->count == sizeof(names) / sizeof(names[0]));
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct intent_entry *entry = &snapshot->entries[i];

		EXPECT(!i || strcmp(entry[-1].key, entry->key) < 0);
		EXPECT(strcmp(entry->value, entry->key + strlen(base)) == 0, "(%s)", entry->key);
	}
	intent_snapshot_unref(snapshot);
}

static void list_web1_is_not_web10(void)
{
	put("nodes/web1/slug", "1");
	put("nodes/web10/slug", "10");
	put("nodes/web1", "file");
	put("nodes/web1-", "dash");
	EXPECT(count_below("nodes/web1/") == 1);
	EXPECT(count_below("nodes/web10/") == 1);
	EXPECT(count_below("nodes/") == 4);
}

static void list_prefix_must_end_in_slash(void)
{
	struct intent_snapshot *snapshot = NULL;

	put("nodes/web1/slug", "1");
	EXPECT_CODE(intent_store_list(store, key("nodes/web1"), INTENT_DEFAULT, &snapshot, &err),
		    INTENT_EUSAGE);
}

static void list_of_everything(void)
{
	struct intent_snapshot *snapshot = NULL;

	put("a/b/c", "1");
	EXPECT_OK(intent_store_list(store, "", INTENT_DEFAULT, &snapshot, &err));
	EXPECT(intent_snapshot_find(snapshot, key("a/b/c")));
	intent_snapshot_unref(snapshot);
}

static void list_strongest(void)
{
	struct intent_snapshot *snapshot = NULL;

	put("x", "1");
	EXPECT_OK(intent_store_list(store, base, INTENT_STRONGEST, &snapshot, &err));
	EXPECT(snapshot->count == 1 && strcmp(snapshot->entries[0].value, "1") == 0);
	intent_snapshot_unref(snapshot);
}

static void list_of_a_thousand(void)
{
	struct intent_snapshot *snapshot;
	struct intent_op ops[INTENT_TXN_MAX];
	static char names[INTENT_TXN_MAX][160];

	for (int i = 0; i < 1000;) {
		size_t count = 0;

		for (; count < 50; count++, i++) {
			snprintf(names[count], sizeof(names[count]), "%sapp%d/n%03d", base, i % 7, i);
			ops[count] = op_put("", names[count]);
			ops[count].key = names[count];
		}
		txn(ops, count);
	}
	snapshot = list("");
	EXPECT(snapshot->count == 1000);
	for (size_t i = 0; i < snapshot->count; i++)
		EXPECT(strcmp(snapshot->entries[i].key, snapshot->entries[i].value) == 0);
	intent_snapshot_unref(snapshot);
	EXPECT(count_below("app3/") == 143);
}

static void list_finds_and_ranges(void)
{
	struct intent_snapshot *snapshot;
	size_t count;

	put("a/1", "x");
	put("a/2", "y");
	put("b/1", "z");
	snapshot = list("");
	EXPECT(strcmp(intent_snapshot_find(snapshot, key("a/2"))->value, "y") == 0);
	EXPECT(!intent_snapshot_find(snapshot, key("a")));
	EXPECT(strcmp(intent_snapshot_range(snapshot, key("a/"), &count)->value, "x") == 0);
	EXPECT(count == 2);
	EXPECT(!intent_snapshot_range(snapshot, key("c/"), &count) && count == 0);
	intent_snapshot_unref(snapshot);
}

/* ---- revisions ---- */

static void revision_grows_with_every_write(void)
{
	uint64_t last = 0;

	for (int i = 0; i < 5; i++) {
		char value[8];
		uint64_t now;

		snprintf(value, sizeof(value), "%d", i);
		put("v", value);
		now = revision_of("v");
		EXPECT(now > last);
		last = now;
	}
}

static void revision_grows_across_keys(void)
{
	put("a", "1");
	put("b", "1");
	EXPECT(revision_of("b") > revision_of("a"));
	put("a", "2");
	EXPECT(revision_of("a") > revision_of("b"));
}

static void revision_stays_without_a_write(void)
{
	uint64_t before;

	put("a", "1");
	before = revision_of("a");
	put("b", "1");
	EXPECT(revision_of("a") == before);
}

static void revision_of_txn_is_the_entries(void)
{
	struct intent_op ops[] = {op_put("a", "1"), op_put("b", "2")};
	uint64_t revision = txn(ops, 2);

	EXPECT(revision > 0);
	EXPECT(revision_of("a") == revision && revision_of("b") == revision);
}

static void revision_grows_over_a_deletion(void)
{
	uint64_t before;

	put("v", "1");
	before = revision_of("v");
	EXPECT_OK(intent_store_delete(store, key("v"), &err));
	put("v", "1");
	EXPECT(revision_of("v") > before);
}

static void revision_of_snapshot_is_not_behind(void)
{
	struct intent_snapshot *snapshot;

	put("a", "1");
	put("b", "2");
	snapshot = list("");
	for (size_t i = 0; i < snapshot->count; i++)
		EXPECT(snapshot->revision >= snapshot->entries[i].revision);
	intent_snapshot_unref(snapshot);
}

/* ---- deleting ---- */

static void delete_removes(void)
{
	put("v", "1");
	EXPECT_OK(intent_store_delete(store, key("v"), &err));
	EXPECT(is_absent("v") && count_below("") == 0);
}

static void delete_of_nothing_is_fine(void)
{
	EXPECT_OK(intent_store_delete(store, key("never"), &err));
	EXPECT_OK(intent_store_delete(store, key("never/was/"), &err));
}

static void delete_leaves_the_others(void)
{
	put("a/x", "1");
	put("a/xy", "2");
	put("a/x/y", "3");
	EXPECT_OK(intent_store_delete(store, key("a/x"), &err));
	EXPECT(is_absent("a/x") && has_value("a/xy", "2") && has_value("a/x/y", "3"));
}

/* ---- compare and set ---- */

static void cas_creates(void)
{
	uint64_t revision = 0;

	EXPECT_OK(intent_store_cas(store, key("v"), 0, "1", 1, &revision, &err));
	EXPECT(revision == revision_of("v") && has_value("v", "1"));
}

static void cas_zero_refuses_what_exists(void)
{
	put("v", "1");
	EXPECT_CODE(intent_store_cas(store, key("v"), 0, "2", 1, NULL, &err), INTENT_ECONFLICT);
	EXPECT(strstr(err.msg, key("v")), "(the message names the key)");
	EXPECT(has_value("v", "1"));
}

static void cas_chain(void)
{
	uint64_t revision = 0;

	for (int i = 0; i < 5; i++) {
		char value[8];

		snprintf(value, sizeof(value), "%d", i);
		EXPECT_OK(intent_store_cas(store, key("v"), revision, value, strlen(value),
					   &revision, &err));
	}
	EXPECT(has_value("v", "4"));
}

static void cas_refuses_an_old_revision(void)
{
	uint64_t old;

	put("v", "1");
	old = revision_of("v");
	put("v", "2");
	EXPECT_CODE(intent_store_cas(store, key("v"), old, "3", 1, NULL, &err), INTENT_ECONFLICT);
	EXPECT(has_value("v", "2"));
}

static void cas_refuses_what_is_gone(void)
{
	uint64_t old;

	put("v", "1");
	old = revision_of("v");
	EXPECT_OK(intent_store_delete(store, key("v"), &err));
	EXPECT_CODE(intent_store_cas(store, key("v"), old, "3", 1, NULL, &err), INTENT_ECONFLICT);
	EXPECT(is_absent("v"));
}

static void cas_refuses_what_came_back(void)
{
	uint64_t old;

	put("v", "1");
	old = revision_of("v");
	EXPECT_OK(intent_store_delete(store, key("v"), &err));
	put("v", "1");
	EXPECT_CODE(intent_store_cas(store, key("v"), old, "3", 1, NULL, &err), INTENT_ECONFLICT);
}

static void cas_keeps_outputs_on_failure(void)
{
	uint64_t revision = 4711;

	put("v", "1");
	EXPECT_CODE(intent_store_cas(store, key("v"), 0, "2", 1, &revision, &err),
		    INTENT_ECONFLICT);
	EXPECT(revision == 4711);
}

static void add_ten(void *data)
{
	(void)data;
	for (int done = 0; done < 10;) {
		struct intent_snapshot *snapshot = get("counter");
		int value = (int)strtol(snapshot->entries[0].value, NULL, 10) + 1;
		uint64_t revision = snapshot->entries[0].revision;
		char text[16];
		int rc;

		intent_snapshot_unref(snapshot);
		snprintf(text, sizeof(text), "%d", value);
		rc = intent_store_cas(store, key("counter"), revision, text, strlen(text), NULL,
				      &err);
		EXPECT(rc == 0 || rc == INTENT_ECONFLICT);
		done += rc == 0;
	}
}

static void cas_loses_no_update(void)
{
	pid_t pids[4];

	put("counter", "0");
	for (int i = 0; i < 4; i++)
		pids[i] = fork_with_store(add_ten, NULL);
	for (int i = 0; i < 4; i++)
		wait_child(pids[i]);
	EXPECT(has_value("counter", "40"));
}

/* ---- transactions ---- */

static void txn_does_all(void)
{
	struct intent_op ops[3];

	put("old", "x");
	ops[0] = op_put("a", "1");
	ops[1] = op_delete("old");
	ops[2] = op_put("b/c", "2");
	txn(ops, 3);
	EXPECT(has_value("a", "1") && has_value("b/c", "2") && is_absent("old"));
}

static void txn_does_nothing_when_a_compare_fails(void)
{
	struct intent_op ops[4];

	put("keep", "x");
	ops[0] = op_put("a", "1");
	ops[1] = op_delete("keep");
	ops[2] = op_check("missing", 17);
	ops[3] = op_put("b", "2");
	EXPECT_CODE(intent_store_txn(store, ops, 4, NULL, &err), INTENT_ECONFLICT);
	EXPECT(is_absent("a") && is_absent("b") && has_value("keep", "x"));
}

static void txn_names_the_first_conflict(void)
{
	struct intent_op ops[4];

	put("fine", "1");
	put("bad", "1");
	ops[0] = op_check("fine", revision_of("fine"));
	ops[1] = op_check("bad", 0);
	ops[2] = op_check("worse", 99);
	ops[3] = op_put("fine", "2");
	EXPECT_CODE(intent_store_txn(store, ops, 4, NULL, &err), INTENT_ECONFLICT);
	EXPECT(strstr(err.msg, key("bad")));
	EXPECT(!strstr(err.msg, key("fine")) && !strstr(err.msg, key("worse")));
}

static void txn_of_compares_only(void)
{
	struct intent_op ops[2];

	put("a", "1");
	ops[0] = op_check("a", revision_of("a"));
	ops[1] = op_check("none", 0);
	txn(ops, 2);
	ops[1] = op_check("a/none", 5);
	EXPECT_CODE(intent_store_txn(store, ops, 2, NULL, &err), INTENT_ECONFLICT);
}

static void txn_compares_before_it_writes(void)
{
	struct intent_op ops[4];

	put("b", "1");
	ops[0] = op_put("a", "1");
	ops[1] = op_check("a", 0);
	ops[2] = op_delete("b");
	ops[3] = op_check("b", revision_of("b"));
	txn(ops, 4);
	EXPECT(has_value("a", "1") && is_absent("b"));
}

static void txn_of_64(void)
{
	static char names[INTENT_TXN_MAX][128];
	struct intent_op ops[INTENT_TXN_MAX];

	for (int i = 0; i < INTENT_TXN_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "%sk%02d", base, i);
		ops[i] = op_put("", "v");
		ops[i].key = names[i];
	}
	txn(ops, INTENT_TXN_MAX);
	EXPECT(count_below("") == INTENT_TXN_MAX);
}

static void txn_of_65_is_refused(void)
{
	static char names[INTENT_TXN_MAX + 1][128];
	struct intent_op ops[INTENT_TXN_MAX + 1];

	for (int i = 0; i <= INTENT_TXN_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "%sk%02d", base, i);
		ops[i] = op_put("", "v");
		ops[i].key = names[i];
	}
	EXPECT_CODE(intent_store_txn(store, ops, INTENT_TXN_MAX + 1, NULL, &err), INTENT_ETOOBIG);
	EXPECT(count_below("") == 0);
}

static void txn_of_nothing_is_refused(void)
{
	EXPECT_CODE(intent_store_txn(store, NULL, 0, NULL, &err), INTENT_EUSAGE);
}

static void txn_writes_a_key_once(void)
{
	struct intent_op ops[] = {op_put("a", "1"), op_delete("a")};

	EXPECT_CODE(intent_store_txn(store, ops, 2, NULL, &err), INTENT_EUSAGE);
	EXPECT(is_absent("a"));
}

static void txn_deletes_what_is_absent(void)
{
	struct intent_op ops[] = {op_delete("none"), op_put("a", "1")};

	txn(ops, 2);
	EXPECT(has_value("a", "1"));
}

static void txn_guards_a_deletion(void)
{
	struct intent_op ops[2];
	uint64_t old;

	put("v", "1");
	old = revision_of("v");
	put("v", "2");
	ops[0] = op_check("v", old);
	ops[1] = op_delete("v");
	EXPECT_CODE(intent_store_txn(store, ops, 2, NULL, &err), INTENT_ECONFLICT);
	EXPECT(has_value("v", "2"));
	ops[0] = op_check("v", revision_of("v"));
	txn(ops, 2);
	EXPECT(is_absent("v"));
}

static void txn_of_key_and_key_below_it(void)
{
	struct intent_op both[2], swap[3];

	both[0] = op_put("a", "1");
	both[1] = op_put("a/b", "2");
	txn(both, 2);
	EXPECT(has_value("a", "1") && has_value("a/b", "2"));
	swap[0] = op_delete("a");
	swap[1] = op_delete("a/b");
	swap[2] = op_put("a/b/c", "3");
	txn(swap, 3);
	EXPECT(is_absent("a") && is_absent("a/b") && has_value("a/b/c", "3"));
	both[0] = op_put("a", "4");
	both[1] = op_delete("a/b/c");
	txn(both, 2);
	EXPECT(has_value("a", "4") && count_below("") == 1);
	both[0] = op_delete("a");
	both[1] = op_put("a/b", "5");
	txn(both, 2);
	EXPECT(is_absent("a") && has_value("a/b", "5"));
}

/* Together more than Consul takes: refused or done, never half. */
static void txn_of_too_much(void)
{
	size_t length = 400000;
	char *bytes = malloc(length);
	struct intent_op ops[] = {op_put("a", ""), op_put("b", "")};
	int rc;

	memset(bytes, 'x', length);
	ops[0].value = ops[1].value = bytes;
	ops[0].length = ops[1].length = length;
	rc = intent_store_txn(store, ops, 2, NULL, &err);
	EXPECT(rc == 0 || rc == INTENT_ETOOBIG);
	EXPECT(count_below("") == (rc == 0 ? 2u : 0u));
	free(bytes);
}

static void flip(void *data)
{
	(void)data;
	for (int i = 0; i < 100; i++) {
		struct intent_op ops[] = {op_put("x/left", i % 2 ? "A" : "B"),
					  op_put("y/right", i % 2 ? "A" : "B")};

		txn(ops, 2);
	}
}

static void txn_is_never_seen_half(void)
{
	struct intent_op ops[] = {op_put("x/left", "A"), op_put("y/right", "A")};
	int status = 0;
	pid_t pid;

	txn(ops, 2);
	pid = fork_with_store(flip, NULL);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		struct intent_snapshot *snapshot = list("");

		EXPECT(snapshot->count == 2);
		EXPECT(strcmp(snapshot->entries[0].value, snapshot->entries[1].value) == 0);
		EXPECT(snapshot->entries[0].revision == snapshot->entries[1].revision);
		intent_snapshot_unref(snapshot);
	}
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- the key prefix ---- */

static void prefix_is_added_and_stripped(void)
{
	struct intent_store *inner = open_store(base);
	struct intent_snapshot *snapshot;

	EXPECT_OK(intent_store_put(inner, "nodes/web1/slug", "1", 1, &err));
	EXPECT(has_value("nodes/web1/slug", "1"));
	EXPECT_OK(intent_store_get(inner, "nodes/web1/slug", INTENT_DEFAULT, &snapshot, &err));
	EXPECT(strcmp(snapshot->entries[0].key, "nodes/web1/slug") == 0);
	intent_snapshot_unref(snapshot);
	EXPECT_OK(intent_store_list(inner, "nodes/", INTENT_DEFAULT, &snapshot, &err));
	EXPECT(snapshot->count == 1 &&
	       strcmp(snapshot->entries[0].key, "nodes/web1/slug") == 0);
	intent_snapshot_unref(snapshot);
	intent_store_close(inner);
}

static void prefix_hides_everything_else(void)
{
	char other[128];
	struct intent_store *inner;
	struct intent_snapshot *snapshot;

	snprintf(other, sizeof(other), "%sinner", base);
	inner = open_store(other); /* without its slash */
	put("outside", "1");
	put("inner", "the prefix without its slash");
	put("inner-not", "1");
	EXPECT_OK(intent_store_put(inner, "a", "1", 1, &err));
	EXPECT_OK(intent_store_list(inner, "", INTENT_DEFAULT, &snapshot, &err));
	EXPECT(snapshot->count == 1 && strcmp(snapshot->entries[0].key, "a") == 0);
	intent_snapshot_unref(snapshot);
	EXPECT_OK(intent_store_delete(inner, "a", &err));
	EXPECT(has_value("inner", "the prefix without its slash"));
	intent_store_close(inner);
}

/* ---- opening ---- */

static void open_of_unknown_kind_is_refused(void)
{
	struct intent_store *opened = NULL;

	EXPECT_CODE(intent_store_open("redis://x", NULL, &opened, &err), INTENT_EUSAGE);
	EXPECT(strstr(err.msg, "redis://x") && strstr(err.msg, "dir:"));
	EXPECT_CODE(intent_store_open("", NULL, &opened, &err), INTENT_EUSAGE);
	EXPECT_CODE(intent_store_open(url, "bad\nprefix", &opened, &err), INTENT_EUSAGE);
	EXPECT(!opened);
}

static void open_twice(void)
{
	struct intent_store *second = open_store(NULL);
	struct intent_snapshot *snapshot;

	put("v", "1");
	EXPECT_OK(intent_store_get(second, key("v"), INTENT_DEFAULT, &snapshot, &err));
	intent_snapshot_unref(snapshot);
	EXPECT(intent_store_name(second) && *intent_store_name(second));
	EXPECT(!intent_store_close(second));
	EXPECT(!intent_store_close(NULL));
	EXPECT(has_value("v", "1"));
}

static void snapshot_survives_its_store(void)
{
	struct intent_store *second = open_store(NULL);
	struct intent_snapshot *snapshot, *copy;
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	json_t *json = NULL;

	put("v", "1");
	EXPECT_OK(intent_store_list(second, base, INTENT_DEFAULT, &snapshot, &err));
	intent_store_close(second);
	EXPECT(strcmp(snapshot->entries[0].value, "1") == 0);
	intent_snapshot_write(snapshot, NULL, &text);
	EXPECT_OK(intent_json_parse(intent_text_str(&text), text.length, 0, &json, &err));
	EXPECT_OK(intent_snapshot_from_json(json, &copy, &err));
	EXPECT(intent_snapshot_same(snapshot, copy) && copy->revision == snapshot->revision);
	json_decref(json);
	intent_snapshot_unref(copy);
	intent_snapshot_unref(snapshot);
}

#define CASE(function) {#function, function}

static const struct test_case cases[] = {
	CASE(list_of_a_thousand), CASE(cas_loses_no_update), CASE(txn_is_never_seen_half),
	CASE(value_is_read_back), CASE(value_may_be_empty), CASE(value_may_hold_nul),
	CASE(value_may_hold_every_byte), CASE(value_may_be_unicode),
	CASE(value_may_look_like_our_own_header), CASE(value_may_be_a_json_literal),
	CASE(value_may_end_in_newlines), CASE(value_of_512_kib),
	CASE(value_of_one_byte_more_is_refused), CASE(value_is_overwritten),
	CASE(key_absent), CASE(key_of_odd_characters), CASE(key_of_dots), CASE(key_case_matters),
	CASE(key_of_512_bytes), CASE(key_of_long_odd_component), CASE(key_that_is_refused),
	CASE(key_with_trailing_slash), CASE(key_with_empty_component),
	CASE(key_and_key_below_it), CASE(key_moves_aside_with_its_revision),
	CASE(list_of_nothing), CASE(list_is_sorted_by_byte), CASE(list_web1_is_not_web10),
	CASE(list_prefix_must_end_in_slash), CASE(list_of_everything), CASE(list_strongest),
	CASE(list_finds_and_ranges),
	CASE(revision_grows_with_every_write), CASE(revision_grows_across_keys),
	CASE(revision_stays_without_a_write), CASE(revision_of_txn_is_the_entries),
	CASE(revision_grows_over_a_deletion), CASE(revision_of_snapshot_is_not_behind),
	CASE(delete_removes), CASE(delete_of_nothing_is_fine), CASE(delete_leaves_the_others),
	CASE(cas_creates), CASE(cas_zero_refuses_what_exists), CASE(cas_chain),
	CASE(cas_refuses_an_old_revision), CASE(cas_refuses_what_is_gone),
	CASE(cas_refuses_what_came_back), CASE(cas_keeps_outputs_on_failure),
	CASE(txn_does_all), CASE(txn_does_nothing_when_a_compare_fails),
	CASE(txn_names_the_first_conflict), CASE(txn_of_compares_only),
	CASE(txn_compares_before_it_writes), CASE(txn_of_64), CASE(txn_of_65_is_refused),
	CASE(txn_of_nothing_is_refused), CASE(txn_writes_a_key_once),
	CASE(txn_deletes_what_is_absent), CASE(txn_guards_a_deletion),
	CASE(txn_of_key_and_key_below_it), CASE(txn_of_too_much),
	CASE(prefix_is_added_and_stripped), CASE(prefix_hides_everything_else),
	CASE(open_of_unknown_kind_is_refused), CASE(open_twice),
	CASE(snapshot_survives_its_store),
};

int main(int argc, char **argv)
{
	return conformance_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
