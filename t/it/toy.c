/*
 * The smallest agent: a file <basedir>/greeting says what user_config.greeting
 * of the application says; without that there is none. <state-dir>/of-<app> links to the basedir, so
 * that it is found when intent is gone. For tests of the runner: user_config.trick is "sleep",
 * "nap", "deaf", "crash", "fail", "again" or "progress".
 */
#include <errno.h>
#include <fcntl.h>
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

/* What tests ask for besides. */
static int play(struct intent_round *round, const char *trick, struct intent_error *err)
{
	if (!strcmp(trick, "sleep"))
		for (int i = 0; i < 600 && !intent_round_should_stop(round); i++)
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
	if (!strcmp(trick, "fail"))
		return intent_fail(err, -EIO, "%s: failing as asked", intent_round_slice(round));
	return 0;
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = greeting_path(round), *text = NULL;
	const char *trick = json_string_value(intent_json_at(intent, "/config/user_config/trick"));
	size_t length;

	if (trick && play(round, trick, err) < 0)
		return err->code;
	if (json_object_get(intent, "basedir"))
		intent_round_watch(round, intent_json_string(intent, "basedir", "/"));
	if (path && intent_file_read(AT_FDCWD, path, 1000, &text, &length, err) < 0 && err->code != INTENT_EABSENT)
		return err->code;
	intent_round_owned(round, text != NULL);
	*ret_new = json_pack("{ss*}", "greeting", text);
	return 0;
}

static int plan(const json_t *intent, const json_t *observed, struct intent_plan *plan, struct intent_error *err)
{
	const char *want = json_string_value(intent_json_at(intent, "/config/user_config/greeting"));
	const char *have = intent_json_string(observed, "greeting", NULL);

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

static const struct intent_verb verbs[] = {
	{"write", 0, apply_write}, {"remove", INTENT_VERB_DESTROYS, apply_remove}, {NULL, 0, NULL},
};

int main(int argc, char **argv)
{
	static const struct intent_agent agent = {
		.name = "toy", .summary = "Keep a greeting in a file", .slicer = &intent_node_applications,
		.observe = observe, .plan = plan, .verbs = verbs,
	};

	return intent_agent_main(&agent, argc, argv);
}
