/*
 * The runsvdir of a workspace. It holds the services, not us: it is started apart, found again by what the
 * kernel says of it, and ended only when nothing is left below it.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <intent/file.h>
#include "local.h"

#define END_MS 3000

/* Its arguments as the kernel keeps them: program, ..., directory. */
static bool watches(const char *pid, const char *directory)
{
	intent_free_auto char *path = intent_format("/proc/%s/cmdline", pid);
	intent_close_auto int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char line[4096];
	struct stat seen;
	ssize_t length = fd < 0 || fstat(fd, &seen) || seen.st_uid != geteuid() ? -1 :
		read(fd, line, sizeof(line) - 1);

	if (length <= 0)
		return false;
	line[length] = 0;
	const char *last = line;
	for (const char *p = line; p < line + length; p += strlen(p) + 1)
		last = p;
	return intent_ends_with(line, "runsvdir") && !strcmp(last, directory);
}

pid_t local_runsvdir_find(const struct local_place *place)
{
	intent_free_auto char *directory = local_path(place, "service");
	DIR *list = directory ? opendir("/proc") : NULL;
	pid_t found = 0;

	for (struct dirent *entry; list && !found && (entry = readdir(list));)
		if (isdigit((unsigned char)entry->d_name[0]) && watches(entry->d_name, directory)) {
			int64_t pid = 0;
			struct intent_error ignored;
			intent_integer_parse(entry->d_name, 1, INT32_MAX, &pid, &ignored);
			found = (pid_t)pid;
		}
	if (list)
		closedir(list);
	return found;
}

/* ---- starting ---- */

/*
 * What a service sees of the person's environment, beside what it was given itself: how a program is found and
 * speaks, and no credentials.
 */
static bool passes(const char *variable)
{
	static const char *const names[] = {
		"PATH=", "HOME=", "USER=", "LOGNAME=", "SHELL=", "LANG=", "LC_", "TZ=", "TMPDIR=", "XDG_",
		"http_proxy=", "https_proxy=", "no_proxy=", "HTTP_PROXY=", "HTTPS_PROXY=", "NO_PROXY=",
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (intent_starts_with(variable, names[i]))
			return true;
	return false;
}

__attribute__((noreturn)) static void become(char *program, char *directory, char **env)
{
	char name[] = "runsvdir", option[] = "-P", *argv[] = {name, option, directory, NULL};
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	setsid();
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	/* Above all not the lock of the workspace. */
	syscall(SYS_close_range, 3u, ~0u, 0u);
	if (chdir("/"))
		_exit(126);
	execve(program, argv, env);
	_exit(127);
}

static int start(char *program, char *directory, struct intent_error *err)
{
	size_t count = 0, kept = 0;

	while (environ[count])
		count++;
	char **env = calloc(count + 1, sizeof(*env));
	if (!env)
		return intent_fail(err, -ENOMEM, "no memory");
	for (size_t i = 0; i < count; i++)
		if (passes(environ[i]))
			env[kept++] = environ[i];
	/* Twice: whoever ends first, nobody waits for it but init. */
	pid_t pid = fork();
	if (!pid) {
		pid_t second = fork();
		if (!second)
			become(program, directory, env);
		_exit(second < 0);
	}
	free(env);
	int status = 1;
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		return intent_fail_errno(err, "runsvdir cannot be started");
	return 0;
}

int local_runsvdir_start(const struct local_place *place, bool *ret_adopted, struct intent_error *err)
{
	intent_free_auto char *directory = local_path(place, "service");
	intent_free_auto char *program = NULL;

	*ret_adopted = local_runsvdir_find(place) != 0;
	if (*ret_adopted)
		return 0;
	if (!directory)
		return intent_fail(err, -ENOMEM, "no memory");
	if (local_program("runsvdir", &program, err))
		return intent_fail(err, INTENT_EABSENT,
				   "services with bin/launch need runit, and runsvdir is not on PATH: install it "
				   "(Debian: apt install runit)");
	if (start(program, directory, err))
		return err->code;
	for (int64_t until = intent_time_monotonic() + END_MS; !local_runsvdir_find(place);) {
		if (intent_time_monotonic() > until)
			return intent_fail(err, INTENT_ECHILD, "%s ended as soon as it was started on %s", program,
					   directory);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return 0;
}

/* ---- ending ---- */

static int64_t process_of(const struct local_place *place, const char *service)
{
	intent_free_auto char *path = local_path(place, "service/%s/supervise/pid", service);
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	size_t length;
	int64_t pid = 0;

	if (!path || intent_file_read(AT_FDCWD, path, 64, &text, &length, &ignored))
		return 0;
	text[strcspn(text, "\n")] = 0;
	return intent_integer_parse(text, 1, INT32_MAX, &pid, &ignored) ? 0 : pid;
}

size_t local_runsvdir_left(const struct local_place *place, struct intent_text *text)
{
	intent_free_auto char *directory = local_path(place, "service");
	DIR *list = directory ? opendir(directory) : NULL;
	size_t count = 0;

	for (struct dirent *entry; list && (entry = readdir(list));) {
		if (entry->d_name[0] == '.')
			continue;
		int64_t pid = process_of(place, entry->d_name);
		intent_text_printf(text, "%s%s", count++ ? ", " : "", entry->d_name);
		if (pid)
			intent_text_printf(text, " (process %lld)", (long long)pid);
	}
	if (list)
		closedir(list);
	return count;
}

int local_runsvdir_end(const struct local_place *place, struct intent_error *err)
{
	intent_text_auto struct intent_text left = INTENT_TEXT_INIT;
	pid_t pid = local_runsvdir_find(place);

	if (!pid || local_runsvdir_left(place, &left))
		return 0;
	/* TERM ends it alone, and there is nothing else: a service that comes now keeps its runsv. */
	if (kill(pid, SIGTERM) && errno != ESRCH)
		return intent_fail_errno(err, "runsvdir (process %d)", (int)pid);
	for (int64_t until = intent_time_monotonic() + END_MS; local_runsvdir_find(place);) {
		if (intent_time_monotonic() > until)
			return intent_fail(err, INTENT_ETIMEOUT, "runsvdir (process %d) does not end", (int)pid);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return 0;
}
