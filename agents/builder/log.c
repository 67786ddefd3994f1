/* What the programs of a build say: a file each, and its end for the status. */
#include <dirent.h>
#include <fcntl.h>
#include <intent/file.h>
#include "builder.h"

#define LOG_MAX (32u << 20)   /* bytes of one log */
#define TAIL_LINES 20
#define TAIL_LINE_MAX 200

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
	log->path = intent_format("%s/%s_%s_%.12s.log", directory, now, target->recipe, target->revision);
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

void builder__log_line(struct builder_log *log, const char *line)
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
	builder__log_line(log, line);
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
