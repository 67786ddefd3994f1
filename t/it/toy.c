/*
 * The smallest agent: a file <basedir>/greeting says what user_config.greeting
 * of the application says; without that there is none. <state-dir>/of-<app> links to the basedir, so
 * that it is found when intent is gone. For tests of the runner: user_config.trick is "sleep",
 * "nap", "deaf", "crash", "fail", "again", "late", "progress", "count", "child" or "careless"; user_config.fact is published as
 * reality/health/<app>/<cluster>/<node>; a change below locks/<app>/ wakes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <intent.h>

static char *owner_path(const struct intent_round *round)
{
	return intent_format("%s/of-%s", intent_round_state_dir(round), intent_round_slice(round));
}

/* Of intent, or for want of it of the record; owned, NULL when there is neither. */
static char *base_path(const struct intent_round *round)
{
	const char *basedir = intent_json_string(intent_round_intent(round), "basedir", NULL);
	intent_free_auto char *owner = owner_path(round);
	struct intent_error ignored;
	char *target = NULL;

	if (basedir)
		return strdup(basedir);
	intent_link_read(owner, &target, &ignored);
	return target;
}

static char *greeting_path(const struct intent_round *round)
{
	intent_free_auto char *basedir = base_path(round);

	return basedir ? intent_format("%s/greeting", basedir) : NULL;
}

static bool is_cancelled(void *round)
{
	return intent_round_should_stop(round);
}

/* user_config.command, by a shell; careful: it ends when the round is asked to. */
static int run_command(struct intent_round *round, bool careful, int stop_signal, struct intent_error *err)
{
	const char *command = json_string_value(intent_json_at(intent_round_intent(round), "/config/user_config/command"));
	const char *const argv[] = {"sh", "-c", command ? command : "exit 1", NULL};
	const struct intent_child_options options = {
		.argv = argv, .cancelled = careful ? is_cancelled : NULL, .data = round,
		.stop_signal = stop_signal, .grace_ms = stop_signal ? -1 : 0,
	};

	return intent_child_check(&options, err);
}

/* A line a round, so that they can be counted. */
static void count_round(struct intent_round *round)
{
	intent_free_auto char *path = intent_format("%s/rounds", intent_round_state_dir(round));
	intent_close_auto int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;

	if (fd >= 0)
		(void)intent_write_all(fd, "\n", 1);
}

/* What tests ask for besides. */
static int play(struct intent_round *round, const char *trick, struct intent_error *err)
{
	if (!strcmp(trick, "sleep"))
		for (int i = 0; i < 6000 && !intent_round_should_stop(round); i++)
			usleep(100000);
	if (!strcmp(trick, "nap")) {
		intent_round_log(round, INTENT_INFO, "Napping");
		usleep(700000);
	}
	if (!strcmp(trick, "deaf")) {
		intent_round_log(round, INTENT_INFO, "Deaf");
		while (sleep(60))
			;
	}
	if (!strcmp(trick, "crash"))
		abort();
	if (!strcmp(trick, "again"))
		intent_round_again(round, 300);
	if (!strcmp(trick, "progress"))
		intent_round_progress(round, json_pack("{si}", "percent", 50));
	if (!strcmp(trick, "count"))
		count_round(round);
	if (!strcmp(trick, "child") || !strcmp(trick, "careless"))
		return run_command(round, !strcmp(trick, "child"), 0, err);
	if (!strcmp(trick, "fail"))
		return intent_fail(err, -EIO, "%s: failing as asked", intent_round_slice(round));
	return 0;
}

/* ---- a fact ---- */

static void fact_key(const struct intent_round *round, char key[INTENT_KEY_MAX + 1])
{
	const json_t *intent = intent_round_intent(round);

	snprintf(key, INTENT_KEY_MAX + 1, "reality/health/%s/%s/%s", intent_round_slice(round),
		 intent_json_string(intent, "cluster", ""), intent_json_string(intent, "node", ""));
}

/* What stands there, if it hangs on the session of now. */
static int observe_fact(struct intent_round *round, char **ret_owned, struct intent_error *err)
{
	char key[INTENT_KEY_MAX + 1];
	struct intent_snapshot *snapshot;
	struct intent_store *store;
	const char *session;

	fact_key(round, key);
	if (intent_round_store(round, &store, err) < 0 || intent_round_session(round, &session, err) < 0)
		return err->code;
	if (intent_store_get(store, key, INTENT_DEFAULT, &snapshot, err) < 0)
		return err->code == INTENT_EABSENT ? 0 : err->code;
	const char *bound = snapshot->entries[0].session;

	if ((bound && session && !strcmp(bound, session)) || (!bound && !session))
		*ret_owned = strdup(snapshot->entries[0].value);
	intent_snapshot_unref(snapshot);
	return 0;
}

static int apply_publish(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *text = json_string_value(intent_json_at(action, "/args/text"));
	char key[INTENT_KEY_MAX + 1];
	struct intent_op put = {.kind = INTENT_OP_PUT, .key = key, .value = text, .length = strlen(text)};
	struct intent_store *store;

	fact_key(round, key);
	if (intent_round_store(round, &store, err) < 0 || intent_round_session(round, &put.session, err) < 0)
		return err->code;
	return intent_store_txn(store, &put, 1, NULL, err);
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = greeting_path(round), *text = NULL, *fact = NULL;
	const char *trick = json_string_value(intent_json_at(intent, "/config/user_config/trick"));
	size_t length;

	if (trick && play(round, trick, err) < 0)
		return err->code;
	if (json_object_get(intent, "basedir"))
		intent_round_watch(round, intent_json_string(intent, "basedir", "/"));
	if (path && intent_file_read(AT_FDCWD, path, 1000, &text, &length, err) < 0 && err->code != INTENT_EABSENT)
		return err->code;
	if (trick && !strcmp(trick, "late")) {
		intent_round_log(round, INTENT_INFO, "Looked");
		usleep(700000);
	}
	intent_round_owned(round, text != NULL);
	if (intent_json_at(intent, "/config/user_config/fact") && observe_fact(round, &fact, err) < 0)
		return err->code;
	*ret_new = json_pack("{ss* ss*}", "greeting", text, "fact", fact);
	return 0;
}

static int plan(const json_t *intent, const json_t *observed, struct intent_plan *plan, struct intent_error *err)
{
	const char *want = json_string_value(intent_json_at(intent, "/config/user_config/greeting"));
	const char *have = intent_json_string(observed, "greeting", NULL);
	const char *fact = json_string_value(intent_json_at(intent, "/config/user_config/fact"));

	if (want && !have && intent_json_at(intent, "/config/user_config/work"))
		intent_plan_add(plan, "work", "command", NULL, NULL, "Working: before the first greeting");
	if (fact && strcmp(fact, intent_json_string(observed, "fact", "")))
		intent_plan_add(plan, "publish", "fact", json_pack("{ss}", "text", fact), NULL, "Publishing %s", fact);

	(void)err;
	if (want && (!have || strcmp(have, want)))
		intent_plan_add(plan, "write", "greeting", json_pack("{ss}", "text", want), NULL,
				"Writing: it says %s, %s is meant", have ? have : "nothing", want);
	if (!want && have)
		intent_plan_add(plan, "remove", "greeting", NULL, NULL, "Removing: no greeting is meant");
	return 0;
}

static int apply_write(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const char *basedir = intent_json_string(intent_round_intent(round), "basedir", "");
	intent_free_auto char *path = greeting_path(round), *owner = owner_path(round);
	const char *text = json_string_value(intent_json_at(action, "/args/text"));

	if (intent_directory_make(basedir, 0755, err) < 0 || intent_link_set(basedir, owner, NULL, err) < 0)
		return err->code;
	return intent_file_write(path, text, strlen(text), 0644, err);
}

static int apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *path = greeting_path(round);

	(void)action;
	return path ? intent_file_remove(path, err) : 0;
}

/* Interrupted once, it is waited for. */
static int apply_work(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	(void)action;
	return run_command(round, true, SIGINT, err);
}

static const struct intent_verb verbs[] = {
	{"write", 0, apply_write}, {"remove", INTENT_VERB_DESTROYS, apply_remove}, {"publish", 0, apply_publish},
	{"work", INTENT_VERB_STOP_INT, apply_work}, {NULL, 0, NULL},
};

/* ---- slices: a node's applications, woken by what is below locks/<app>/ ---- */

static json_t *prefixes(const struct intent_snapshot *snapshot, const json_t *options)
{
	json_t *list = intent_node_applications.prefixes(snapshot, options);
	size_t count = json_array_size(list);

	for (size_t i = 0; i < count; i++) {
		const char *prefix = json_string_value(json_array_get(list, i));

		if (intent_starts_with(prefix, "clusters/"))
			json_array_append_new(list, json_sprintf("locks%.*s", (int)strcspn(prefix + 9, "/") + 2, prefix + 8));
	}
	return list;
}

static json_t *slices(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known)
{
	json_t *all = intent_node_applications.slices(snapshot, options, known), *slice;
	const char *name;

	json_object_foreach(all, name, slice) {
		intent_free_auto char *prefix = intent_format("locks/%s/", name);
		size_t count;
		const struct intent_entry *entry = intent_snapshot_range(snapshot, prefix, &count);
		json_t *wake = json_object();

		for (size_t i = 0; i < count; i++)
			json_object_set_new(wake, entry[i].key, json_string(entry[i].value));
		json_object_set_new(slice, "wake", wake);
	}
	return all;
}

static const struct intent_slicer slicer = {prefixes, slices};

int main(int argc, char **argv)
{
	static const struct intent_agent agent = {
		.name = "toy", .summary = "Keep a greeting in a file", .slicer = &slicer,
		.observe = observe, .plan = plan, .verbs = verbs,
	};

	return intent_agent_main(&agent, argc, argv);
}
