#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <intent/child.h>
#include <intent/file.h>

#define OUTPUT_MAX (64u << 10)
#define LINE_MAX_BYTES (64u << 10)
#define GRACE_MS 2000
#define DRAIN_READS 80
#define CANCEL_LOOK_MS 100

/* What the parent follows while the child runs. */
struct run {
	const struct intent_child_options *options;
	struct intent_child_result *result;
	struct intent_text line;  /* the unfinished line of stdout */
	pid_t pid;
	int pidfd, out, err;
	int64_t deadline;         /* of the next step: the stop signal, then SIGKILL; 0: none */
	bool pushed, ended;
};

static int pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

void intent_child_result_release(struct intent_child_result *result)
{
	if (!result)
		return;
	intent_text_release(&result->out);
	intent_text_release(&result->err);
}

void intent_child_status_words(int status, char out[64])
{
	if (WIFSIGNALED(status))
		snprintf(out, 64, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(out, 64, "exit status %d", WEXITSTATUS(status));
}

/* ---- in the child ---- */

static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int signal_number = 1; signal_number < NSIG; signal_number++)
		sigaction(signal_number, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int become(const struct intent_child_options *options)
{
	if (!options->uid && !options->gid)
		return 0;
	return setgroups(1, &options->gid) || setgid(options->gid) || setuid(options->uid) ? -1 : 0;
}

/* Everything but 0, 1, 2 and the pipe on which a failed exec is told. */
static void close_others(int keep)
{
	if (keep > 3)
		syscall(SYS_close_range, 3u, (unsigned)keep - 1, 0u);
	syscall(SYS_close_range, (unsigned)keep + 1, ~0u, 0u);
}

__attribute__((noreturn)) static void child_exec(const struct intent_child_options *options,
						 char *const *env, int in, int out, int err,
						 int tell, pid_t parent)
{
	int death = options->grace_ms < 0 ? options->stop_signal ? options->stop_signal : SIGTERM :
					    SIGKILL;
	int code;

	setpgid(0, 0);
	reset_signals();
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		goto failed;
	close_others(tell);
	if (become(options))
		goto failed;
	/* After the change of identity, which would clear it. */
	if (prctl(PR_SET_PDEATHSIG, death))
		goto failed;
	if (getppid() != parent)
		_exit(127);
	if (options->directory && chdir(options->directory))
		goto failed;
	/* execvpe takes neither of its vectors as const, and changes neither. */
	union { const char *const *given; char *const *wanted; } argv = { .given = options->argv };

	execvpe(options->argv[0], argv.wanted, env);
failed:
	code = errno;
	if (write(tell, &code, sizeof code) < 0)
		_exit(126);
	_exit(127);
}

/* ---- in the parent ---- */

/* PATH, LANG and TZ of ours: borrowed from environ. */
static void own_environment(char *env[4])
{
	static const char *const names[] = { "PATH=", "LANG=", "TZ=" };
	size_t count = 0;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		for (char **each = environ; each && *each; each++)
			if (intent_starts_with(*each, names[i])) {
				env[count++] = *each;
				break;
			}
	env[count] = NULL;
}

/* A pipe whose ends can take no place among 0, 1, 2 of the child. */
static int high_pipe(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC))
		return -1;
	for (int i = 0; i < 2; i++) {
		int fd = ends[i];

		if (fd > 2)
			continue;
		ends[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		close(fd);
		if (ends[i] < 0) {
			close(ends[!i]);
			return -1;
		}
	}
	return 0;
}

static int start(struct run *run, struct intent_error *err)
{
	const struct intent_child_options *options = run->options;
	intent_close_auto int in = -1, out_end = -1, err_end = -1, told = -1, tell = -1;
	int ends[2], code = 0;
	pid_t parent = getpid();
	char *own[4];
	union { const char *const *given; char *const *wanted; } env = { .given = options->env };

	in = options->stdin_fd > 0 ? fcntl(options->stdin_fd, F_DUPFD_CLOEXEC, 3)
				   : open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return intent_fail_errno(err, "%s: cannot open its standard input",
					 options->argv[0]);
	if (high_pipe(ends))
		return intent_fail_errno(err, "%s: no pipe for its output", options->argv[0]);
	run->out = ends[0];
	out_end = ends[1];
	if (high_pipe(ends))
		return intent_fail_errno(err, "%s: no pipe for its errors", options->argv[0]);
	run->err = ends[0];
	err_end = ends[1];
	if (high_pipe(ends))
		return intent_fail_errno(err, "%s: no pipe to start it", options->argv[0]);
	told = ends[0];
	tell = ends[1];
	if (!env.wanted) {
		own_environment(own);
		env.wanted = own;
	}
	run->pid = fork();
	if (run->pid < 0)
		return intent_fail_errno(err, "%s: cannot fork", options->argv[0]);
	if (!run->pid)
		child_exec(options, env.wanted, in, out_end, err_end, tell, parent);
	setpgid(run->pid, run->pid);
	close(tell);
	tell = -1;
	/* End of file: exec has closed it. */
	ssize_t got;
	do
		got = read(told, &code, sizeof code);
	while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof code)
		return 0;
	while (waitpid(run->pid, &(int){0}, 0) < 0 && errno == EINTR)
		;
	run->pid = 0;
	errno = code;
	if (code == ENOENT)
		return intent_fail(
			err, INTENT_EABSENT,
			"%s: no such program (or no such interpreter as its first line "
			"names, or directory to run it in): install it or correct the path",
			options->argv[0]);
	return intent_fail_errno(err, "cannot run %s", options->argv[0]);
}

/* Hand on each full line; a line that is too long comes in pieces. */
static void lines(struct run *run, const char *bytes, size_t count)
{
	const struct intent_child_options *options = run->options;

	if (!options->on_line)
		return;
	while (count) {
		const char *end = memchr(bytes, '\n', count);
		size_t take = end ? (size_t)(end - bytes) : count;
		size_t room = LINE_MAX_BYTES - run->line.length;

		if (take > room) {
			take = room;
			end = NULL;
		}
		intent_text_add(&run->line, bytes, take);
		bytes += take;
		count -= take;
		if (end || run->line.length >= LINE_MAX_BYTES) {
			options->on_line(intent_text_str(&run->line), options->data);
			intent_text_clear(&run->line);
		}
		if (end) {
			bytes++;
			count--;
		}
	}
}

/* One read; closes *fd at end of file. Returns whether more may be there. */
static bool take_output(struct run *run, int *fd, struct intent_text *into)
{
	size_t max = run->options->output_max ? run->options->output_max : OUTPUT_MAX;
	char bytes[16384];
	ssize_t got = read(*fd, bytes, sizeof bytes);

	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return errno == EINTR;
	if (got <= 0) {
		close(*fd);
		*fd = -1;
		return false;
	}
	if (into == &run->result->out)
		lines(run, bytes, (size_t)got);
	size_t room = max > into->length ? max - into->length : 0;
	intent_text_add(into, bytes, (size_t)got < room ? (size_t)got : room);
	return true;
}

/* It is to end: first the stop signal, then, when that did not help, SIGKILL. */
static void push(struct run *run)
{
	const struct intent_child_options *options = run->options;
	bool again = run->pushed;

	run->pushed = true;
	kill(-run->pid, again ? SIGKILL : options->stop_signal ? options->stop_signal : SIGTERM);
	/* A stopped process would not see the signal. */
	kill(-run->pid, SIGCONT);
	run->deadline = 0;
	if (!again && options->grace_ms >= 0)
		run->deadline = intent_time_monotonic() +
				(options->grace_ms ? options->grace_ms : GRACE_MS);
}

/* What it has to be stopped for, if anything. */
static bool is_due(struct run *run)
{
	const struct intent_child_options *options = run->options;

	if (run->deadline && run->deadline <= intent_time_monotonic()) {
		run->result->timed_out |= !run->pushed;
		return true;
	}
	if (run->pushed || !options->cancelled || !options->cancelled(options->data))
		return false;
	return run->result->cancelled = true;
}

static int wait_ms(const struct run *run)
{
	int64_t most = run->options->cancelled && !run->pushed ? CANCEL_LOOK_MS : 60000;
	int64_t left = run->deadline ? run->deadline - intent_time_monotonic() : most;

	return (int)(left < 0 ? 0 : left < most ? left : most);
}

static void follow(struct run *run)
{
	while (!run->ended) {
		struct pollfd polled[3] = {
			{ .fd = run->pidfd, .events = POLLIN },
			{ .fd = run->out, .events = POLLIN },
			{ .fd = run->err, .events = POLLIN },
		};

		if (is_due(run)) {
			push(run);
			continue;
		}
		if (poll(polled, 3, wait_ms(run)) <= 0)
			continue;
		if (polled[1].revents)
			take_output(run, &run->out, &run->result->out);
		if (polled[2].revents)
			take_output(run, &run->err, &run->result->err);
		if (polled[0].revents)
			run->ended = true;
	}
}

/* Not reaped yet, so its number, which is its group's, belongs to nobody else. */
static void finish(struct run *run)
{
	kill(-run->pid, SIGKILL);
	while (waitpid(run->pid, &run->result->status, 0) < 0 && errno == EINTR)
		;
	/*
	 * What is in the pipes now, which is at most what a pipe holds: whoever left the
	 * group may hold them open, and write, for ever.
	 */
	int *fds[] = { &run->out, &run->err };
	struct intent_text *into[] = { &run->result->out, &run->result->err };

	for (int i = 0; i < 2; i++)
		if (*fds[i] >= 0 && !fcntl(*fds[i], F_SETFL, O_NONBLOCK))
			for (int reads = 0; reads < DRAIN_READS && *fds[i] >= 0; reads++)
				if (!take_output(run, fds[i], into[i]))
					break;
	if (run->options->on_line && run->line.length)
		run->options->on_line(intent_text_str(&run->line), run->options->data);
}

int intent_child_run(const struct intent_child_options *options,
		     struct intent_child_result *ret, struct intent_error *err)
{
	struct intent_child_result result = { 0 };
	struct run run = {
		.options = options, .result = &result, .pidfd = -1, .out = -1, .err = -1
	};
	int code = 0;

	if (start(&run, err)) {
		code = err->code;
		goto out;
	}
	run.pidfd = pidfd_open(run.pid);
	if (run.pidfd < 0) {
		code = intent_fail_errno(err, "%s: cannot watch it", options->argv[0]);
		kill(-run.pid, SIGKILL);
		while (waitpid(run.pid, &result.status, 0) < 0 && errno == EINTR)
			;
		goto out;
	}
	if (options->deadline_ms > 0)
		run.deadline = intent_time_monotonic() + options->deadline_ms;
	follow(&run);
	finish(&run);
	if (result.cancelled)
		code = intent_fail(err, INTENT_ESTALE, "%s was stopped before its end", options->argv[0]);
	if (result.timed_out) {
		char took[24];

		intent_duration_format(options->deadline_ms, took);
		code = intent_fail(err, INTENT_ETIMEOUT, "%s did not end within %s and was stopped",
				   options->argv[0], took);
	}
	*ret = result;
	result = (struct intent_child_result){ 0 };
out:
	intent_text_release(&run.line);
	intent_child_result_release(&result);
	intent__close(&run.out);
	intent__close(&run.err);
	intent__close(&run.pidfd);
	return code;
}

/* The last line with something in it, cut to fit a sentence. */
static void last_line(const struct intent_text *text, char out[200])
{
	const char *start = intent_text_str(text), *end = start + text->length;

	while (end > start && (unsigned char)end[-1] <= ' ')
		end--;
	const char *from = end;
	while (from > start && from[-1] != '\n')
		from--;
	snprintf(out, 200, "%.*s", (int)(end - from), from);
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
}

int intent_child_check(const struct intent_child_options *options, struct intent_error *err)
{
	struct intent_child_result result = { 0 };
	char words[64], said[200];

	int code = intent_child_run(options, &result, err);
	if (!code && result.status) {
		intent_child_status_words(result.status, words);
		last_line(result.err.length ? &result.err : &result.out, said);
		code = intent_fail(err, INTENT_ECHILD, "%s: %s%s%s", options->argv[0], words,
				   *said ? ": " : "", said);
	}
	intent_child_result_release(&result);
	return code;
}
