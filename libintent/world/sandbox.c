/* Sandboxed children. See sandbox.h. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <intent/child.h>
#include <intent/file.h>
#include <intent/sandbox.h>
#include "world.h"

/* Shorter than PIPE_BUF, so written and read as a whole. */
struct message {
	int32_t ended, code;
	uint64_t numbers[4];
	char words[512];
};

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SPACE_IS_BOUND 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SPACE_IS_BOUND 0
#endif
#endif
#ifndef ADDRESS_SPACE_IS_BOUND
#define ADDRESS_SPACE_IS_BOUND 1
#endif

/* ---- in the child ---- */

static void tell(const struct intent_sandbox_say *say, bool ended, const struct intent_error *err)
{
	struct message message = {.ended = ended, .code = err ? err->code : 0};

	memcpy(message.numbers, say->numbers, sizeof(message.numbers));
	if (err)
		snprintf(message.words, sizeof(message.words), "%s", err->msg);
	(void)intent_write_all(say->fd, &message, sizeof(message));
}

void intent_sandbox_report(struct intent_sandbox_say *say)
{
	tell(say, false, NULL);
}

static int limit(int resource, uint64_t value, const char *name, struct intent_error *err)
{
	struct rlimit limits = {value, value}, now;

	/* Never above what is already imposed on us. */
	if (getrlimit(resource, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < value)
		limits.rlim_cur = limits.rlim_max = now.rlim_max;
	return setrlimit(resource, &limits) < 0 ? intent_fail_errno(err, "cannot limit %s", name) : 0;
}

static int limit_all(const struct intent_sandbox *sandbox, struct intent_error *err)
{
	int code = limit(RLIMIT_CORE, 0, "core files", err);

	if (!code && sandbox->kind != INTENT_SANDBOX_FILES)
		code = limit(RLIMIT_FSIZE, 0, "file sizes", err);
	else if (!code && sandbox->file_size)
		code = limit(RLIMIT_FSIZE, sandbox->file_size, "file sizes", err);
	if (!code && sandbox->memory && ADDRESS_SPACE_IS_BOUND)
		code = limit(RLIMIT_AS, sandbox->memory, "memory", err);
	return code;
}

/* Root without them is a user like another, who happens to own much: where that is, Landlock and seccomp say. */
static int shed(struct intent_error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {0};

	return syscall(SYS_capset, &header, none) < 0 ? intent_fail_errno(err, "cannot drop capabilities") : 0;
}

static int become(const struct intent_sandbox *sandbox, struct intent_error *err)
{
	if (sandbox->uid == 0 && sandbox->gid == 0)
		return geteuid() == 0 ? shed(err) : 0;
	if (setgroups(0, NULL) < 0 || setresgid(sandbox->gid, sandbox->gid, sandbox->gid) < 0 ||
	    setresuid(sandbox->uid, sandbox->uid, sandbox->uid) < 0)
		return intent_fail_errno(err, "cannot become user %u", (unsigned)sandbox->uid);
	return 0;
}

static int compare_int(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Everything but `keep`, sorted, and standard error. */
static int close_others(int *keep, size_t count, struct intent_error *err)
{
	unsigned from = 3;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return intent_fail_errno(err, "cannot open /dev/null");
	qsort(keep, count, sizeof(*keep), compare_int);
	for (size_t i = 0; i <= count; i++) {
		unsigned next = i < count ? (unsigned)keep[i] : ~0u;

		if (next > from && syscall(SYS_close_range, from, i < count ? next - 1 : ~0u, 0) < 0)
			return intent_fail_errno(err, "cannot close descriptors (close_range needs Linux 5.9)");
		from = next + 1;
	}
	return 0;
}

/* Files are made below the directories that it was given, if it makes any. */
static int shut_in(const struct intent_sandbox *sandbox, struct intent_error *err)
{
	int fds[8], abi, code;
	struct intent__landlock wanted = {.fds = fds, .read = sandbox->kind == INTENT_SANDBOX_NETWORK};
	struct stat st;

	for (size_t i = 0; sandbox->kind == INTENT_SANDBOX_FILES && i < sandbox->keep_count; i++) {
		if (fstat(sandbox->keep[i], &st) < 0)
			return intent_fail_errno(err, "a directory to write to cannot be looked at");
		if (S_ISDIR(st.st_mode))
			fds[wanted.count++] = sandbox->keep[i];
	}
	code = intent__landlock(&wanted, &abi, err);
	return code == -ENOSYS ? 0 : code;
}

static int enter(const struct intent_sandbox *sandbox, int report_fd, pid_t parent,
		 struct intent_error *err)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;
	int keep[9], code;

	/* A pipe without reader and a file at its limit are errors to report, not deaths. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int number = 1; number < 32; number++)
		(void)sigaction(number, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < sandbox->keep_count; i++)
		keep[i] = sandbox->keep[i];
	keep[sandbox->keep_count] = report_fd;
	if ((code = close_others(keep, sandbox->keep_count + 1, err)) ||
	    (code = become(sandbox, err)) || (code = limit_all(sandbox, err)))
		return code;
	/* After the change of user, which clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return intent_fail_errno(err, "cannot enter the sandbox");
	if (getppid() != parent)
		return intent_fail(err, INTENT_ECRASHED, "the parent process is gone");
	code = shut_in(sandbox, err);
	return code ? code : intent__seccomp(sandbox->kind, err);
}

static void run_child(const struct intent_sandbox *sandbox, int report_fd, pid_t parent)
{
	struct intent_sandbox_say say = {.fd = report_fd};
	struct intent_error err = {0};
	int code = enter(sandbox, report_fd, parent, &err);

	if (code)
		(void)intent_wrap(&err, "%s", sandbox->name);
	else
		code = sandbox->run(&say, sandbox->data, &err);
	tell(&say, true, code ? &err : NULL);
	/* Not _exit(): a sanitizer would look for leaks here, with calls that are refused now. */
	syscall(SYS_exit_group, 0);
	/* A filter that libseccomp made without memory refuses even that. */
	__builtin_trap();
}

/* ---- in the parent ---- */

int intent_sandbox_start(const struct intent_sandbox *sandbox, struct intent_sandbox_child *ret,
			 struct intent_error *err)
{
	pid_t parent = getpid(), pid;
	int ends[2];

	if (sandbox->keep_count > 8)
		return intent_fail(err, -EINVAL, "%s: too many descriptors", sandbox->name);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return intent_fail_errno(err, "%s: cannot make a pipe", sandbox->name);
	pid = fork();
	if (pid == 0)
		run_child(sandbox, ends[1], parent);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return intent_fail_errno(err, "%s: cannot fork", sandbox->name);
	}
	*ret = (struct intent_sandbox_child){pid, ends[0], sandbox->name};
	return 0;
}

static bool read_message(int fd, struct message *ret)
{
	size_t had = 0;

	while (had < sizeof(*ret)) {
		ssize_t count = read(fd, (char *)ret + had, sizeof(*ret) - had);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return false;
		had += (size_t)count;
	}
	return true;
}

static int reap(struct intent_sandbox_child *child)
{
	int status = 0;

	while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
		;
	close(child->fd);
	child->pid = child->fd = -1;
	return status;
}

/* What a child says is foreign too: its code must be one of ours, its words clean. */
static int take(const struct message *message, struct intent_error *err)
{
	char words[sizeof(message->words)];
	int code = message->code;

	if (code == 0)
		return 0;
	if (!(code < 0 && code > -4096) && !(code <= INTENT_EBASE && code > INTENT_EBASE - 100))
		code = INTENT_ECHILD;
	memcpy(words, message->words, sizeof(words));
	words[sizeof(words) - 1] = '\0';
	if (!intent_utf8_is_clean(words, strlen(words)))
		for (char *at = words; *at; at++)
			if (*at < ' ' || *at > '~')
				*at = '?';
	return intent_fail(err, code, "%s", words);
}

int intent_sandbox_wait(struct intent_sandbox_child *child, uint64_t numbers[4], bool *ret_ended,
			struct intent_error *err)
{
	struct message message;
	const char *name = child->name;
	char words[64];
	bool said = read_message(child->fd, &message);
	int status = 0;

	*ret_ended = !said || message.ended;
	if (*ret_ended)
		intent_child_status_words(status = reap(child), words);
	if (!said && WIFEXITED(status) && WEXITSTATUS(status) == INTENT_EXIT_NO_MEMORY)
		return intent_fail(err, -ENOMEM, "the %s was out of memory", name);
	if (!said)
		return intent_fail(err, INTENT_ECHILD, "the %s ended without a word (%s)", name, words);
	if (numbers)
		memcpy(numbers, message.numbers, sizeof(message.numbers));
	return message.ended ? take(&message, err) : 0;
}

int intent_sandbox_finish(struct intent_sandbox_child *child, uint64_t numbers[4], struct intent_error *err)
{
	bool ended = false;
	int code = 0;

	while (!ended)
		code = intent_sandbox_wait(child, numbers, &ended, err);
	return code;
}

void intent_sandbox_stop(struct intent_sandbox_child *child)
{
	if (child->pid <= 0)
		return;
	kill(child->pid, SIGKILL);
	(void)reap(child);
}
