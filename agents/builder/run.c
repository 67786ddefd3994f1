/* Programs of a build: with a clean environment, and all that they say in a log. */
#include <intent/child.h>
#include <intent/file.h>
#include "builder.h"

#define ANSWER_MAX (1u << 20)
#define ASK_MS 60000
#define GRACE_MS 10000        /* for an engine's client to take its build back */

/* What the engines' clients are told by: where the engine is, and a person's own logins. */
static const char engine_variables[] = "HOME DOCKER_* BUILDKIT_* BUILDX_* CONTAINER_HOST CONTAINERS_* "
				       "REGISTRY_AUTH_FILE XDG_RUNTIME_DIR XDG_CONFIG_HOME";

static void on_line(const char *line, void *data)
{
	struct builder *builder = data;

	builder__log_line(builder->log, line);
}

static char **environment(const struct builder *builder, bool engine)
{
	const char *also = builder__option(builder, "pass-env", "");
	intent_free_auto char *patterns = intent_format("%s %s", engine ? engine_variables : "", also);
	intent_free_auto char *home = intent_format("HOME=%s/home", intent_round_state_dir(builder->round));
	const char *const more[] = {engine ? NULL : home, NULL};

	return intent_child_environment(patterns, more);
}

/* "sh -c 'exec "$@" 2>&1'": what it says on both is one log, in order. */
static const char **joined(const char *const *argv)
{
	static const char *const shell[] = {"/bin/sh", "-c", "exec \"$@\" 2>&1", "sh"};
	size_t count = 0;
	const char **all;

	while (argv[count])
		count++;
	all = calloc(count + 5, sizeof(*all));
	for (size_t i = 0; i < 4 + count; i++)
		all[i] = i < 4 ? shell[i] : argv[i - 4];
	return all;
}

static int judge(const struct builder *builder, const char *program, const struct intent_child_result *result,
		 struct intent_error *err)
{
	char words[64];

	if (!result->status)
		return 0;
	intent_child_status_words(result->status, words);
	return intent_fail(err, INTENT_ECHILD, "%.80s: %s: %.200s", program, words, builder__log_last(builder->log));
}

int builder__run(struct builder *builder, struct builder_log *log, const char *const *argv, const char *directory,
		 bool engine, struct intent_error *err)
{
	intent_free_auto char *home = intent_format("%s/home", intent_round_state_dir(builder->round));
	const char **all = joined(argv);
	char **env = environment(builder, engine);
	union { char **made; const char *const *wanted; } vector = {.made = env};
	struct intent_child_options options = {
		.argv = all, .env = vector.wanted, .directory = directory, .grace_ms = GRACE_MS, .output_max = 1,
		.deadline_ms = intent_json_integer(builder->options, "build-timeout", 3600000),
		.cancelled = builder__cancelled, .on_line = on_line, .data = builder,
	};
	struct intent_child_result result = {0};
	int code;

	builder->log = log;
	if (!(code = intent_directory_make(home, 0700, err)) && !(code = intent_child_run(&options, &result, err)))
		code = judge(builder, argv[0], &result, err);
	builder->log = NULL;
	intent_child_result_release(&result);
	intent_child_environment_free(env);
	free(all);
	return code;
}

int builder__ask_engine(struct builder *builder, const char *const *argv, char **ret_owned, struct intent_error *err)
{
	char **env = environment(builder, true);
	union { char **made; const char *const *wanted; } vector = {.made = env};
	struct intent_child_options options = {
		.argv = argv, .env = vector.wanted, .deadline_ms = ASK_MS, .output_max = ANSWER_MAX,
		.cancelled = builder__cancelled, .data = builder,
	};
	struct intent_child_result result = {0};
	int code = intent_child_run(&options, &result, err);
	const char *said = intent_text_str(&result.err);

	said += strspn(said, "\n ");
	if (code == INTENT_EABSENT)
		code = intent_fail(err, INTENT_EWAITING,
				   "%s is not on PATH: install the client of a container engine, or name it "
				   "with --docker", argv[0]);
	else if (!code && result.status)
		code = intent_fail(err, INTENT_EWAITING, "no container engine answers: %.*s",
				   (int)strcspn(said, "\n"), said);
	else if (!code)
		*ret_owned = intent_text_steal(&result.out);
	intent_child_result_release(&result);
	intent_child_environment_free(env);
	return code;
}
