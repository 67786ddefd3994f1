/*
 * Children on the loop: started, followed, started anew when they end. They are in process groups of their own, so
 * that Ctrl-C reaches us alone, and get SIGTERM when we die, however that happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <intent/child.h>
#include <intent/file.h>
#include "local.h"

#define ARGS_MAX 40
#define LINE_MAX_BYTES 65536
#define LOG_MAX (4 << 20)      /* what an agent said before goes when it is more */
#define STEADY_MS 20000        /* who lived so long is started anew at once */
#define PAUSE_MAX_MS 30000
#define LAST_TRIES 60          /* 50 ms each, for agents to end their rounds */

struct child {
	struct child *next;
	struct local_children *family;
	char *name, *log;                   /* owned; log may be NULL */
	char *argv[ARGS_MAX];               /* owned */
	struct local_child_options options; /* name, argv, log are those above */
	uv_pipe_t *pipe;                    /* of its output; closes itself */
	struct intent_text line;
	pid_t pid;                          /* 0: it does not run */
	int64_t started, due;               /* CLOCK_BOOTTIME ms; due 0: not started anew */
	int failures;
};

struct local_children {
	uv_loop_t *loop;
	uv_signal_t *signal;
	uv_timer_t *timer;
	void (*say)(const char *words, void *data);
	void *data;
	struct child *first;
	bool ending;
};

/* ---- the process ---- */

__attribute__((noreturn)) static void become(const struct child *child, int out, int tell, pid_t parent)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	setpgid(0, 0);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null < 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent || dup2(null, 0) < 0 ||
	    dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	syscall(SYS_close_range, 3u, ~0u, 1u << 2 /* CLOSE_RANGE_CLOEXEC */);
	execve(child->argv[0], child->argv, environ);
	int code = errno;
	if (write(tell, &code, sizeof(code)) < 0)
		_exit(126);
	_exit(127);
}

/* Returns when it has become what it is to be. */
static int launch(struct child *child, int out, struct intent_error *err)
{
	int tell[2], code = 0;
	pid_t parent = getpid();

	if (pipe2(tell, O_CLOEXEC))
		return intent_fail_errno(err, "%s", child->name);
	pid_t pid = fork();
	if (!pid)
		become(child, out, tell[1], parent);
	close(tell[1]);
	if (pid > 0 && read(tell[0], &code, sizeof(code)) == sizeof(code)) {
		waitpid(pid, NULL, 0);
		errno = code;
		pid = -1;
	}
	close(tell[0]);
	if (pid < 0)
		return intent_fail_errno(err, "%s cannot be started", child->argv[0]);
	child->pid = pid;
	child->started = intent_time_monotonic();
	return 0;
}

/* ---- what it says ---- */

static void tell_line(struct child *child)
{
	child->options.on_line(intent_text_str(&child->line), child->options.data);
	intent_text_clear(&child->line);
}

static void take(struct child *child, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == '\n' || child->line.length >= LINE_MAX_BYTES)
			tell_line(child);
		if (bytes[i] != '\n')
			intent_text_add(&child->line, &bytes[i], 1);
	}
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void close_pipe(struct child *child)
{
	if (!child->pipe)
		return;
	if (child->line.length)
		tell_line(child);
	uv_close((uv_handle_t *)child->pipe, on_closed);
	child->pipe = NULL;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	static char buffer[65536]; /* one read at a time */
	(void)handle;
	(void)suggested;
	*ret = uv_buf_init(buffer, sizeof(buffer));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
	struct child *child = stream->data;

	if (count > 0)
		take(child, buffer->base, (size_t)count);
	else if (count < 0)
		close_pipe(child);
}

static int open_pipe(struct child *child, int *ret_out, struct intent_error *err)
{
	int ends[2];

	child->pipe = calloc(1, sizeof(*child->pipe));
	uv_pipe_init(child->family->loop, child->pipe, 0);
	child->pipe->data = child;
	if (pipe2(ends, O_CLOEXEC))
		return intent_fail_errno(err, "%s", child->name);
	uv_pipe_open(child->pipe, ends[0]);
	uv_read_start((uv_stream_t *)child->pipe, on_alloc, on_read);
	*ret_out = ends[1];
	return 0;
}

static int open_log(const struct child *child, int *ret_out, struct intent_error *err)
{
	int fd = open(child->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct stat seen;

	if (fd < 0)
		return intent_fail_errno(err, "%s", child->log);
	if (!fstat(fd, &seen) && seen.st_size > LOG_MAX && ftruncate(fd, 0)) {
		close(fd);
		return intent_fail_errno(err, "%s", child->log);
	}
	*ret_out = fd;
	return 0;
}

/* ---- its life ---- */

static int start(struct child *child, struct intent_error *err)
{
	int out = -1;

	child->due = 0;
	if (child->log ? open_log(child, &out, err) : open_pipe(child, &out, err))
		return err->code;
	int code = launch(child, out, err);
	close(out);
	return code;
}

static void say(struct local_children *family, const char *words)
{
	if (family->say)
		family->say(words, family->data);
}

/* It ended though nobody asked for it: again, ever later while it goes on so. */
static void start_anew(struct child *child, int status)
{
	int64_t now = intent_time_monotonic(), pause;
	char words[64], when[24];

	if (now - child->started >= STEADY_MS)
		child->failures = 0;
	pause = child->failures > 5 ? PAUSE_MAX_MS : 1000LL << child->failures;
	child->failures++;
	child->due = now + pause;
	intent_child_status_words(status, words);
	intent_duration_format(pause, when);
	intent_free_auto char *line =
		intent_format("%s ended (%s); it is started anew in %s%s%s", child->name, words, when,
			      child->log ? "; what it said is in " : "", child->log ? child->log : "");
	if (line)
		say(child->family, line);
}

static void release(struct child *child)
{
	close_pipe(child);
	for (size_t i = 0; child->argv[i]; i++)
		free(child->argv[i]);
	intent_text_release(&child->line);
	free(child->name);
	free(child->log);
	free(child);
}

static void ended(struct child *child, int status)
{
	child->pid = 0;
	/* A pipe is read to its end: what was said last matters most. */
	if (child->options.on_end)
		child->options.on_end(child->name, status, child->options.data);
	if (!child->options.once && !child->family->ending)
		start_anew(child, status);
}

static void reap(struct local_children *family)
{
	int status;

	for (struct child *child = family->first; child; child = child->next)
		if (child->pid && waitpid(child->pid, &status, WNOHANG) == child->pid)
			ended(child, status);
}

/* Who has ended for good and said all. */
static void forget(struct local_children *family)
{
	for (struct child **at = &family->first; *at;) {
		struct child *child = *at;
		if (child->pid || child->pipe || child->due) {
			at = &child->next;
			continue;
		}
		*at = child->next;
		release(child);
	}
}

static void on_child(uv_signal_t *handle, int number)
{
	(void)number;
	reap(handle->data);
}

static void on_timer(uv_timer_t *handle)
{
	struct local_children *family = handle->data;
	int64_t now = intent_time_monotonic();
	struct intent_error err;

	reap(family);
	for (struct child *child = family->first; child; child = child->next)
		if (child->due && child->due <= now && !family->ending && start(child, &err)) {
			say(family, err.msg);
			child->due = now + PAUSE_MAX_MS;
		}
	forget(family);
}

struct local_children *local_children_new(uv_loop_t *loop, void (*words)(const char *, void *), void *data)
{
	struct local_children *family = calloc(1, sizeof(*family));

	*family = (struct local_children){.loop = loop, .say = words, .data = data};
	family->signal = calloc(1, sizeof(*family->signal));
	family->timer = calloc(1, sizeof(*family->timer));
	uv_signal_init(loop, family->signal);
	uv_timer_init(loop, family->timer);
	family->signal->data = family->timer->data = family;
	uv_signal_start(family->signal, on_child, SIGCHLD);
	uv_timer_start(family->timer, on_timer, 500, 500);
	return family;
}

int local_children_start(struct local_children *family, const struct local_child_options *options,
			 struct intent_error *err)
{
	struct child *child = calloc(1, sizeof(*child));

	child->family = family;
	child->options = *options;
	child->name = strdup(options->name);
	child->log = options->log ? strdup(options->log) : NULL;
	for (size_t i = 0; i < ARGS_MAX - 1 && options->argv[i]; i++)
		child->argv[i] = strdup(options->argv[i]);
	int code = start(child, err);
	if (code) {
		release(child);
		return code;
	}
	child->next = family->first;
	family->first = child;
	return 0;
}

void local_children_end(struct local_children *family, int number)
{
	for (struct child *child = family->first; child; child = child->next) {
		if (child->options.aside)
			continue;
		child->options.once = true;
		child->due = 0;
		if (child->pid)
			kill(number == SIGKILL ? -child->pid : child->pid, number);
	}
}

size_t local_children_count(const struct local_children *family)
{
	size_t count = 0;

	for (const struct child *child = family->first; child; child = child->next)
		count += child->pid && !child->options.aside;
	return count;
}

/* A second SIGTERM ends an agent's rounds too; killed, it would leave them to go on alone. */
static void end_agents(struct local_children *family)
{
	const struct timespec pause = {.tv_nsec = 50000000};
	bool any = true;

	for (int i = 0; any && i < LAST_TRIES; i++) {
		any = false;
		for (struct child *child = family->first; child; child = child->next) {
			if (!child->pid || child->options.aside)
				continue;
			if (waitpid(child->pid, NULL, WNOHANG) == child->pid) {
				child->pid = 0;
				continue;
			}
			any = true;
			if (i % 10 == 0)
				kill(child->pid, SIGTERM);
		}
		if (any)
			nanosleep(&pause, NULL);
	}
}

void local_children_free(struct local_children *family)
{
	if (!family)
		return;
	family->ending = true;
	end_agents(family);
	for (struct child *child = family->first, *next; child; child = next) {
		next = child->next;
		if (child->pid) {
			kill(-child->pid, SIGKILL);
			waitpid(child->pid, NULL, 0);
		}
		release(child);
	}
	uv_close((uv_handle_t *)family->signal, on_closed);
	uv_close((uv_handle_t *)family->timer, on_closed);
	free(family);
}
