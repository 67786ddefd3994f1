/* get: every repository of an application in the working directory, several at once. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <intent/file.h>
#include "repository.h"
#include "system.h"

#define AT_ONCE 6
#define TICK_MS 100

struct job {
	struct intent_source source;   /* what it is of */
	char *name, *directory;        /* owned */
	pid_t pid;
	int fd;
	bool done;
	enum repository_outcome outcome;
	char phase[80], words[REPOSITORY_WORDS];
	char line[REPOSITORY_WORDS + 16]; /* what has come of the next message */
	size_t length;
};

struct getting {
	struct job *jobs;
	size_t count, started, ended;
	bool live;       /* a terminal shows how far each is */
	bool quiet;      /* --json */
	int height;
	char drawn[256]; /* of what was drawn last */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
	interrupted = signal_number;
}

/* ---- what is to be got ---- */

static int add_job(struct ppctl *ctl, const struct system_workspace *workspace, const char *source,
		   struct getting *getting, struct intent_error *err)
{
	struct job job = {.fd = -1};

	/* A directory is used where it is. */
	if (intent_starts_with(source, "dir:"))
		return 0;
	if (intent_source_parse(source, ppctl_option(ctl, "github"), &job.source, err) < 0)
		return err->code;
	job.name = system_checkout_name(source);
	if (!job.name) {
		intent_source_release(&job.source);
		return intent_fail(err, INTENT_EUSAGE, "%s names no repository that a directory could be named by", source);
	}
	job.directory = system_checkout(workspace, source);
	for (size_t i = 0; i < getting->count; i++) {
		const struct job *other = &getting->jobs[i];

		if (strcmp(other->name, job.name))
			continue;
		int code = !strcmp(other->source.url, job.source.url) ? 0 :
			intent_fail(err, INTENT_ECLASH, "%s and %s would both be in %s: rename one of the repositories",
				    other->source.url, job.source.url, job.directory);
		intent_source_release(&job.source);
		free(job.name);
		free(job.directory);
		return code;
	}
	getting->jobs = reallocarray(getting->jobs, getting->count + 1, sizeof(job));
	getting->jobs[getting->count++] = job;
	return 0;
}

static int add_application(struct ppctl *ctl, const struct system_workspace *workspace, const struct system *system,
			   const char *name, struct getting *getting, struct intent_error *err)
{
	const json_t *application = json_object_get(json_object_get(system->sysdef, "applications"), name);
	size_t i;
	json_t *service;

	json_array_foreach(json_object_get(application, "services"), i, service)
		if (add_job(ctl, workspace, intent_json_string(service, "source", ""), getting, err))
			return intent_wrap(err, "%s", name);
	return 0;
}

static int choose(struct ppctl *ctl, const struct system_workspace *workspace, struct getting *getting,
		  struct intent_error *err)
{
	struct system system = {0};
	const char *name;
	json_t *application;
	int code = system_load_sysdef(workspace, &system, err);

	if (!code)
		code = system_say_faults(system.faults);
	if (!code && ppctl_flag(ctl, "all"))
		json_object_foreach(json_object_get(system.sysdef, "applications"), name, application)
			code = code ? code : add_application(ctl, workspace, &system, name, getting, err);
	for (size_t i = 0; !code && ppctl_argument(ctl, i); i++) {
		name = system_application(&system, ppctl_argument(ctl, i), err);
		code = name ? add_application(ctl, workspace, &system, name, getting, err) : err->code;
	}
	system_release(&system);
	return code;
}

static void release(struct getting *getting)
{
	for (size_t i = 0; i < getting->count; i++) {
		intent_source_release(&getting->jobs[i].source);
		free(getting->jobs[i].name);
		free(getting->jobs[i].directory);
	}
	free(getting->jobs);
}

/* ---- showing ---- */

static enum ppctl_style style_of(const struct job *job)
{
	static const enum ppctl_style styles[] = {
		[REPOSITORY_CLONED] = PPCTL_GREEN, [REPOSITORY_UPDATED] = PPCTL_GREEN,
		[REPOSITORY_CURRENT] = PPCTL_PLAIN, [REPOSITORY_LEFT] = PPCTL_YELLOW,
		[REPOSITORY_FAILED] = PPCTL_RED, [REPOSITORY_ASKS] = PPCTL_YELLOW,
	};

	return job->done ? styles[job->outcome] : PPCTL_DIM;
}

static void draw(struct getting *getting)
{
	intent_text_auto struct intent_text frame = INTENT_TEXT_INIT;
	size_t columns = (size_t)ppctl_columns(), widest = 0;

	for (size_t i = 0; i < getting->count; i++)
		widest = ppctl_width(getting->jobs[i].name) > widest ? ppctl_width(getting->jobs[i].name) : widest;
	widest = widest > columns / 2 ? columns / 2 : widest;
	for (size_t i = 0; i < getting->count; i++) {
		const struct job *job = &getting->jobs[i];
		const char *words = job->done ? job->words : *job->phase ? job->phase : job->pid ? "asking" : "";

		ppctl_add(&frame, job->name, PPCTL_BOLD, widest, widest);
		intent_text_puts(&frame, "  ");
		ppctl_add(&frame, words, style_of(job), columns > widest + 3 ? columns - widest - 3 : 1, 0);
		intent_text_puts(&frame, "\n");
	}
	ppctl_redraw(&getting->height, intent_text_str(&frame));
}

/* At its end; what a person has to do something about, in full and at the end where lines are cut. */
static void show_end(const struct getting *getting, const struct job *job)
{
	if (getting->live || getting->quiet)
		return;
	if (job->outcome < REPOSITORY_LEFT) {
		printf("%s: %s\n", job->name, job->words);
		fflush(stdout);
	} else if (job->outcome != REPOSITORY_ASKS) {
		ppctl_say("%s: %s", job->name, job->words);
	}
}

/* ---- side by side ---- */

static void start(struct getting *getting, struct job *job, bool foreground)
{
	const struct repository repository = {
		.url = job->source.url, .ref = job->source.ref, .directory = job->directory, .foreground = foreground,
	};

	job->pid = repository_start(&repository, &job->fd);
	if (job->pid > 0)
		return;
	job->done = true;
	job->outcome = REPOSITORY_FAILED;
	snprintf(job->words, sizeof(job->words), "cannot be started: %s", strerror(errno));
	getting->ended++;
}

static void take_message(struct job *job)
{
	job->line[job->length] = '\0';
	if (job->line[0] == 'p' && job->length > 2)
		snprintf(job->phase, sizeof(job->phase), "%.79s", job->line + 2);
	if (job->line[0] == 'r' && job->length > 3) {
		job->done = true;
		job->outcome = (enum repository_outcome)(job->line[2] - '0');
		snprintf(job->words, sizeof(job->words), "%.*s", REPOSITORY_WORDS - 1, job->line + 4);
	}
	job->length = 0;
}

static void end_job(struct getting *getting, struct job *job)
{
	close(job->fd);
	job->fd = -1;
	while (waitpid(job->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!job->done) {
		job->done = true;
		job->outcome = REPOSITORY_FAILED;
		snprintf(job->words, sizeof(job->words), interrupted ? "interrupted" : "git was ended");
	}
	getting->ended++;
	show_end(getting, job);
}

static void hear(struct getting *getting, struct job *job)
{
	char bytes[1024];
	ssize_t got = read(job->fd, bytes, sizeof(bytes));

	for (ssize_t i = 0; i < got; i++)
		if (bytes[i] == '\n')
			take_message(job);
		else if (job->length + 1 < sizeof(job->line))
			job->line[job->length++] = bytes[i];
	if (got == 0 || (got < 0 && errno != EINTR))
		end_job(getting, job);
}

static void stop_all(struct getting *getting)
{
	for (size_t i = 0; i < getting->started; i++)
		if (getting->jobs[i].fd >= 0)
			kill(-getting->jobs[i].pid, SIGTERM);
}

static void wait_a_little(struct getting *getting)
{
	struct pollfd fds[AT_ONCE];
	struct job *of[AT_ONCE];
	nfds_t count = 0;

	for (size_t i = 0; i < getting->started && count < AT_ONCE; i++)
		if (getting->jobs[i].fd >= 0) {
			fds[count] = (struct pollfd){getting->jobs[i].fd, POLLIN, 0};
			of[count++] = &getting->jobs[i];
		}
	if (poll(fds, count, TICK_MS) > 0)
		for (nfds_t i = 0; i < count; i++)
			if (fds[i].revents)
				hear(getting, of[i]);
}

static void get_all(struct getting *getting)
{
	bool stopped = false;
	int64_t drawn = 0;

	while (getting->ended < getting->count && !(interrupted && getting->started == getting->ended)) {
		while (!interrupted && getting->started < getting->count && getting->started - getting->ended < AT_ONCE)
			start(getting, &getting->jobs[getting->started++], false);
		wait_a_little(getting);
		if (interrupted && !stopped)
			stop_all(getting);
		stopped = interrupted;
		if (getting->live && intent_time_monotonic() - drawn >= TICK_MS) {
			draw(getting);
			drawn = intent_time_monotonic();
		}
	}
	if (getting->live)
		draw(getting);
}

/* ---- in the foreground ---- */

/* Those that need a password, one after the other, where somebody is there to give it. */
static void ask_person(struct getting *getting)
{
	intent_close_auto int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	bool present = terminal >= 0 && isatty(STDERR_FILENO) && !getting->quiet;

	for (size_t i = 0; i < getting->count; i++) {
		struct job *job = &getting->jobs[i];
		const struct repository repository = {
			.url = job->source.url, .ref = job->source.ref, .directory = job->directory, .foreground = true,
		};

		if (!job->done || job->outcome != REPOSITORY_ASKS)
			continue;
		if (present && !interrupted) {
			ppctl_say("%s: %s", job->name, job->source.url);
			job->outcome = repository_run(&repository, job->words);
			if (job->outcome < REPOSITORY_LEFT)
				printf("%s: %s\n", job->name, job->words);
		}
		if (job->outcome == REPOSITORY_ASKS)
			job->outcome = REPOSITORY_FAILED;
		if (job->outcome == REPOSITORY_FAILED && !getting->live)
			show_end(getting, job);
	}
}

static void print_json(const struct getting *getting)
{
	static const char *const words[] = {
		[REPOSITORY_CLONED] = "cloned", [REPOSITORY_UPDATED] = "updated", [REPOSITORY_CURRENT] = "current",
		[REPOSITORY_LEFT] = "left", [REPOSITORY_FAILED] = "failed", [REPOSITORY_ASKS] = "failed",
	};
	intent_json_auto json_t *rows = json_array();

	for (size_t i = 0; i < getting->count; i++) {
		const struct job *job = &getting->jobs[i];

		const char *outcome = job->done ? words[job->outcome] : "failed";

		json_array_append_new(rows, json_pack("{ss ss ss ss ss}", "name", job->name, "url", job->source.url,
						      "directory", job->directory, "outcome", outcome,
						      "message", job->words));
	}
	ppctl_print_json(rows, false);
}

static int conclude(const struct getting *getting)
{
	size_t failed = 0;

	for (size_t i = 0; i < getting->count; i++) {
		const struct job *job = &getting->jobs[i];

		failed += !job->done || job->outcome == REPOSITORY_FAILED;
		if (getting->live && job->done && job->outcome >= REPOSITORY_LEFT)
			ppctl_say("%s: %s", job->name, job->words);
	}
	if (failed && !getting->quiet)
		ppctl_say("%zu of %zu could not be got", failed, getting->count);
	return failed ? PPCTL_REFUSED : 0;
}

static int get_application(struct ppctl *ctl, struct intent_error *err)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct system_workspace workspace = {0};
	struct getting getting = {.quiet = ppctl_flag(ctl, "json")};
	const char *directory = ppctl_option(ctl, "directory");
	struct intent_error ignored;

	if (directory && chdir(directory))
		return intent_fail_errno(err, "%s", directory);
	if (system_workspace_find(&workspace, err))
		return err->code;
	getting.live = ppctl_columns() > 0 && !getting.quiet;
	int code = choose(ctl, &workspace, &getting, err);
	if (!code) {
		/* Children get it back; a clone that is cut short removes what it made. */
		sigaction(SIGINT, &action, NULL);
		sigaction(SIGTERM, &action, NULL);
		intent_temp_sweep(workspace.directory, NULL, &ignored);
		get_all(&getting);
		ask_person(&getting);
		if (getting.quiet)
			print_json(&getting);
		code = conclude(&getting);
	}
	release(&getting);
	system_workspace_release(&workspace);
	return code;
}

/* A key has a slash in it; an application's name has none. */
int ppctl_get(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0);

	if (ppctl_flag(ctl, "all") && word)
		return intent_fail(err, INTENT_EUSAGE, "get: either APP or --all, not both");
	if (!word && !ppctl_flag(ctl, "all"))
		return intent_fail(err, INTENT_EUSAGE, "get needs what to get: APP, --all, or the KEY of a document");
	if (!word || !strchr(word, '/'))
		return get_application(ctl, err);
	if (ppctl_argument(ctl, 1))
		return intent_fail(err, INTENT_EUSAGE, "get: one document at a time; \"%s\" is too many",
				   ppctl_argument(ctl, 1));
	return ppctl_get_document(ctl, err);
}
