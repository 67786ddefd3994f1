/*
 * bin/check and hooks: as children, or, where a unit of systemd confines us, beside us.
 *
 * They are programs of an application, and may need anything that its service may need: another user, memory to
 * write and execute, /tmp, a look at processes. If they were children of a unit, all of that would have to be left to
 * the unit, and so to us. So systemd is asked to run them, as a unit of the moment, by systemd-run(1); without
 * --wait, which takes a message bus that not every machine has. What was said, and how it ended, is told in a file.
 */
#include <errno.h>
#include <fcntl.h>

#include <intent/child.h>
#include "supervisor.h"
#include "systemd.h"

#define OUTPUT_MAX (1 << 20) /* of the file, before it is emptied */
#define TAIL_MAX 4096
#define GRACE_MS 2000
#define START_MS 10000       /* for systemd, on top of what the program has */

/* RUNTIME_DIRECTORY is what our own units have: files of a moment go there. Borrowed; NULL: no such unit. */
static const char *unit_directory(const struct intent_site *site)
{
	const char *directory = getenv("RUNTIME_DIRECTORY");

	return site->root && getenv("INVOCATION_ID") && directory && *directory == '/' && !strchr(directory, ':') &&
		       !access("/run/systemd/system", F_OK) ? directory : NULL;
}

struct beside {
	const struct intent_child_options *options;
	char said[1024], env[1024];  /* paths; env "": none */
	int fd;                      /* of said */
	char *unit;                  /* owned */
};

/* A file of 0600 that only root can open: systemd opens it before it changes users. */
static int make_file(const char *directory, char path[1024], struct intent_error *err)
{
	char name[256];

	intent_temp_name(name, "");
	snprintf(path, 1024, "%.700s/%s", directory, name);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? intent_fail_errno(err, "%s", path) : fd;
}

static int write_environment(struct beside *beside, const char *directory, struct intent_error *err)
{
	intent_json_auto json_t *variables = json_object();
	intent_free_auto char *text = NULL;

	for (const char *const *each = beside->options->env; each && *each; each++) {
		intent_free_auto char *name = strndup(*each, strcspn(*each, "="));

		if (strchr(*each, '='))
			json_object_set_new(variables, name, json_string(strchr(*each, '=') + 1));
	}
	text = intent__unit_environment(variables);
	int fd = make_file(directory, beside->env, err);
	if (fd < 0) {
		*beside->env = '\0';
		return fd;
	}
	int code = intent_write_all(fd, text, strlen(text));
	close(fd);
	errno = -code;
	return code ? intent_fail_errno(err, "%s", beside->env) : 0;
}

/* What talks without end fills no disk. */
static bool look_at_output(void *data)
{
	const struct beside *beside = data;
	struct stat seen;

	if (!fstat(beside->fd, &seen) && seen.st_size > OUTPUT_MAX && ftruncate(beside->fd, 0))
		return true;
	return beside->options->cancelled && beside->options->cancelled(beside->options->data);
}

static int ask_systemd(struct beside *beside, struct intent_child_result *ret, struct intent_error *err)
{
	const struct intent_child_options *options = beside->options;
	int64_t grace = options->grace_ms ? options->grace_ms : GRACE_MS;
	char unit[600], uid[32], gid[32], directory[1100], env[1100], said[1100], stderr_too[1100];
	char within[64], stop[64];
	const char *argv[] = {
		"systemd-run", "--quiet", "--no-ask-password", "--collect", "--service-type=oneshot",
		unit, uid, gid, directory, env, said, stderr_too, within, stop, "--property=LogLevelMax=emerg",
		"--property=ExecStopPost=/bin/sh -c 'echo; echo \"$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS\"'",
		"--", options->argv[0], NULL,
	};
	struct intent_child_options run = {
		.argv = argv, .deadline_ms = options->deadline_ms ? options->deadline_ms + grace + START_MS : 0,
		.cancelled = look_at_output, .data = beside,
	};

	snprintf(unit, sizeof unit, "--unit=%s", beside->unit);
	snprintf(uid, sizeof uid, "--uid=%u", (unsigned)options->uid);
	snprintf(gid, sizeof gid, "--gid=%u", (unsigned)options->gid);
	snprintf(directory, sizeof directory, "--working-directory=%s", options->directory ? options->directory : "/");
	snprintf(env, sizeof env, "--property=EnvironmentFile=%s", beside->env);
	snprintf(said, sizeof said, "--property=StandardOutput=append:%s", beside->said);
	snprintf(stderr_too, sizeof stderr_too, "--property=StandardError=append:%s", beside->said);
	snprintf(within, sizeof within, "--property=TimeoutStartSec=%lldms", (long long)options->deadline_ms);
	snprintf(stop, sizeof stop, "--property=TimeoutStopSec=%lldms", (long long)grace);
	return intent_child_run(&run, ret, err);
}

/* The last line with something in it of so much of the text, which ends there. Borrowed. */
static const char *cut_line(char *text)
{
	size_t length = strlen(text);
	char *line;

	while (length && (unsigned char)text[length - 1] <= ' ')
		text[--length] = '\0';
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	return line;
}

/* "exit-code exited 3", "timeout killed TERM", "success exited 0": what ExecStopPost= said. */
static int judge(const struct intent_child_options *options, char *text, bool *ret_told, struct intent_error *err)
{
	char result[32], code[16], status[16], took[24];
	const char *line = cut_line(text), *last;

	*ret_told = sscanf(line, "%31s %15s %15s", result, code, status) == 3 &&
		    (!strcmp(code, "exited") || !strcmp(code, "killed") || !strcmp(code, "dumped"));
	if (!*ret_told)
		return 0;
	text[line - text] = '\0';
	last = cut_line(text);
	if (!strcmp(result, "success"))
		return 0;
	if (!strcmp(result, "timeout")) {
		intent_duration_format(options->deadline_ms, took);
		return intent_fail(err, INTENT_ETIMEOUT, "%s did not end within %s and was stopped",
				   options->argv[0], took);
	}
	if (!strcmp(code, "exited") && !strcmp(status, "203"))
		return intent_fail(err, INTENT_ECHILD, "%s: systemd cannot run it: is it a program, and is what its "
				   "first line names?", options->argv[0]);
	return intent_fail(err, INTENT_ECHILD, "%s: %s%s%s%.190s", options->argv[0],
			   !strcmp(code, "exited") ? "exit status " : "killed by signal ", status, *last ? ": " : "", last);
}

static int try(struct beside *beside, bool *ret_told, struct intent_error *err)
{
	struct intent_child_result result = { 0 };
	char text[TAIL_MAX + 1];
	struct stat seen;
	ssize_t got;
	int code = ask_systemd(beside, &result, err);

	*ret_told = false;
	if (!code) {
		off_t size = fstat(beside->fd, &seen) ? 0 : seen.st_size;

		got = pread(beside->fd, text, TAIL_MAX, size > TAIL_MAX ? size - TAIL_MAX : 0);
		text[got > 0 ? got : 0] = '\0';
		code = judge(beside->options, text, ret_told, err);
		if (!*ret_told && result.err.length) {
			/* A byte too many is cut: for messages only. */
			snprintf(text, sizeof text, "%.*s", TAIL_MAX, intent_text_str(&result.err));
			code = intent_fail(err, INTENT_ECHILD, "%s: systemd-run: %.300s",
					   beside->options->argv[0], cut_line(text));
		} else if (!*ret_told) {
			code = intent_fail(err, INTENT_ECHILD, "%s: systemd did not say how it ended",
					   beside->options->argv[0]);
		}
	}
	intent_child_result_release(&result);
	return code;
}

/* Also of one that a killed round left behind: two of them at a time could undo each other's work. */
static void stop(const struct beside *beside)
{
	const char *argv[] = { "systemctl", "--no-ask-password", "--quiet", "stop", beside->unit, NULL };
	struct intent_child_options options = { .argv = argv, .deadline_ms = START_MS };
	struct intent_error ignored;

	(void)intent_child_check(&options, &ignored);
}

static int run_beside(const char *directory, const char *service, const struct intent_child_options *options,
		      struct intent_error *err)
{
	intent_free_auto char *unit = intent__unit_name(service);
	struct beside beside = { .options = options, .fd = -1 };
	struct intent_error ignored;
	bool told = false;

	beside.unit = intent_format("%s-hook-%s", program_invocation_short_name, unit);
	(void)intent_temp_sweep(directory, NULL, &ignored);
	int code = write_environment(&beside, directory, err);
	if (!code) {
		beside.fd = make_file(directory, beside.said, err);
		code = beside.fd < 0 ? beside.fd : try(&beside, &told, err);
		if (code && !told && beside.fd >= 0) {
			stop(&beside);
			if (code == INTENT_ECHILD)
				code = try(&beside, &told, err);
		}
	}
	if (*beside.env)
		unlink(beside.env);
	if (beside.fd >= 0) {
		unlink(beside.said);
		close(beside.fd);
	}
	free(beside.unit);
	return code;
}

int intent_service_run(const struct intent_site *site, const char *service,
		       const struct intent_child_options *options, struct intent_error *err)
{
	const char *directory = unit_directory(site);

	return directory ? run_beside(directory, service, options, err) : intent_child_check(options, err);
}
