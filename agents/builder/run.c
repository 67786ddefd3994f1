/* Programs of a build: with a clean environment, and all that they say in a log. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <intent/child.h>
#include <intent/file.h>
#include "builder.h"

#define LOG_MAX (32u << 20)   /* bytes of one log */
#define TAIL_LINES 20
#define TAIL_LINE_MAX 200
#define ANSWER_MAX (1u << 20)
#define ASK_MS 60000
#define GRACE_MS 10000        /* for an engine's client to take its build back */

/* What the engines' clients are told by: where the engine is, and a person's own logins. */
static const char engine_variables[] = "HOME DOCKER_* BUILDKIT_* BUILDX_* CONTAINER_HOST CONTAINERS_* "
				       "REGISTRY_AUTH_FILE XDG_RUNTIME_DIR XDG_CONFIG_HOME";

/* ---- logs ---- */

struct builder_log {
	char *path;                      /* owned */
	int fd;
	size_t written;
	char tail[TAIL_LINES][TAIL_LINE_MAX];
	unsigned lines;
};

/* <state-dir>/logs/<app>/: the oldest go; names begin with their time. */
static void sweep_logs(const char *directory, int64_t keep)
{
	struct dirent **names = NULL;
	int count = scandir(directory, &names, NULL, alphasort), logs = 0;
	struct intent_error ignored;

	for (int i = 0; i < count; i++)
		logs += *names[i]->d_name != '.';
	for (int i = 0; i < count; i++) {
		intent_free_auto char *path = intent_format("%s/%s", directory, names[i]->d_name);

		if (*names[i]->d_name != '.' && logs-- >= keep && path)
			intent_file_remove(path, &ignored);
		free(names[i]);
	}
	free(names);
}

struct builder_log *builder__log_open(struct builder *builder, const struct builder_target *target,
				      struct intent_error *err)
{
	intent_free_auto char *directory = intent_format("%s/logs/%s", intent_round_state_dir(builder->round),
							 builder->app);
	struct builder_log *log = calloc(1, sizeof(*log));
	char now[32];

	intent_time_format(intent_time_now(), now);
	if (log)
		log->path = intent_format("%s/%s_%s_%.12s.log", directory ? directory : "", now, target->recipe,
					  target->revision);
	if (!log || !directory || !log->path) {
		builder__log_close(log);
		intent_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	log->fd = -1;
	if (intent_directory_make(directory, 0700, err) == 0) {
		sweep_logs(directory, intent_json_integer(builder->options, "keep-logs", 20));
		log->fd = open(log->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (log->fd < 0)
			intent_fail_errno(err, "%s", log->path);
	}
	return log->fd < 0 ? builder__log_close(log) : log;
}

struct builder_log *builder__log_close(struct builder_log *log)
{
	if (log && log->fd > 0)
		close(log->fd);
	if (log)
		free(log->path);
	free(log);
	return NULL;
}

const char *builder__log_path(const struct builder_log *log)
{
	return log->path;
}

static void add_line(struct builder_log *log, const char *line)
{
	size_t length = strlen(line);
	char *kept = log->tail[log->lines % TAIL_LINES];

	/* A full disk is no reason to stop a build. */
	if (log->written + length < LOG_MAX)
		(void)!(intent_write_all(log->fd, line, length) || intent_write_all(log->fd, "\n", 1));
	else if (log->written < LOG_MAX)
		(void)!intent_write_all(log->fd, "(the rest is left out)\n", 23);
	log->written += length + 1;
	if (!line[strspn(line, " \t\r")])
		return;
	snprintf(kept, TAIL_LINE_MAX, "%s", line);
	intent_utf8_clean(kept);
	log->lines++;
}

void builder__log_printf(struct builder_log *log, const char *format, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	add_line(log, line);
}

const char *builder__log_last(const struct builder_log *log)
{
	return log->lines ? log->tail[(log->lines - 1) % TAIL_LINES] : "";
}

char *builder__log_tail(const struct builder_log *log)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	unsigned first = log->lines > TAIL_LINES ? log->lines - TAIL_LINES : 0;

	for (unsigned i = first; i < log->lines; i++)
		intent_text_printf(&text, "%s%s", i > first ? "\n" : "", log->tail[i % TAIL_LINES]);
	return text.length ? intent_text_steal(&text) : strdup("");
}

/* ---- programs ---- */

static void on_line(const char *line, void *data)
{
	struct builder *builder = data;

	add_line(builder->log, line);
}

static char **environment(const struct builder *builder, bool engine)
{
	const char *also = builder__option(builder, "pass-env", "");
	intent_free_auto char *patterns = intent_format("%s %s", engine ? engine_variables : "", also);
	intent_free_auto char *home = intent_format("HOME=%s/home", intent_round_state_dir(builder->round));
	const char *const more[] = {engine ? NULL : home, NULL};

	return patterns && home ? intent_child_environment(patterns, more) : NULL;
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
	for (size_t i = 0; all && i < 4 + count; i++)
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
	if (!all || !env || !home)
		code = intent_fail(err, -ENOMEM, "out of memory");
	else if (!(code = intent_directory_make(home, 0700, err)) && !(code = intent_child_run(&options, &result, err)))
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
	int code = env ? intent_child_run(&options, &result, err) : intent_fail(err, -ENOMEM, "out of memory");
	const char *said = intent_text_str(&result.err);

	said += strspn(said, "\n ");
	if (code == INTENT_EABSENT)
		code = intent_fail(err, INTENT_EWAITING,
				   "%s is not on PATH: install the client of a container engine, or name it "
				   "with --docker", argv[0]);
	else if (!code && result.status)
		code = intent_fail(err, INTENT_EWAITING, "no container engine answers: %.*s",
				   (int)strcspn(said, "\n"), said);
	else if (!code && !(*ret_owned = intent_text_steal(&result.out)) && !(*ret_owned = strdup("")))
		code = intent_fail(err, -ENOMEM, "out of memory");
	intent_child_result_release(&result);
	intent_child_environment_free(env);
	return code;
}
