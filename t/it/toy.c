/*
 * The smallest agent: a file <basedir>/greeting says what user_config.greeting
 * of the application says. For tests of the runner.
 */
#include <errno.h>
#include <fcntl.h>
#include <intent.h>

static char *greeting_path(const json_t *intent)
{
	return intent_format("%s/greeting", intent_json_string(intent, "basedir", "/nonexistent"));
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = greeting_path(intent), *text = NULL;
	const char *trick = json_string_value(intent_json_at(intent, "/config/user_config/trick"));
	size_t length;

	(void)round;
	if (trick && !strcmp(trick, "sleep"))
		sleep(60);
	if (trick && !strcmp(trick, "crash"))
		abort();
	if (json_object_get(intent, "absent")) {
		*ret_new = json_object();
		return 0;
	}
	intent_round_watch(round, intent_json_string(intent, "basedir", "/"));
	if (intent_file_read(AT_FDCWD, path, 1000, &text, &length, err) < 0 && err->code != INTENT_EABSENT)
		return err->code;
	if (text)
		intent_round_owned(round, 1);
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
	const json_t *intent = intent_round_intent(round);
	intent_free_auto char *path = greeting_path(intent);
	const char *text = json_string_value(intent_json_at(action, "/args/text"));

	if (intent_directory_make(intent_json_string(intent, "basedir", ""), 0755, err) < 0)
		return err->code;
	return intent_file_write(path, text, strlen(text), 0644, err);
}

static int apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *path = greeting_path(intent_round_intent(round));

	(void)action;
	return intent_file_remove(path, err);
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
