/*
 * The processes that hold the services of a workspace: a runsv each, started apart from us and found again by the
 * FIFO that it reads, so that services outlive us.
 *
 * No runsvdir: it looks for new services every five seconds only, and would be one more process to be found and
 * ended. pp-setlive, which links services and lets their runsv end, does not mind who starts one.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <intent/file.h>
#include "local.h"

#define AGAIN_MS 1000 /* after one that did not take its service */

static bool is_held(const struct local_place *place, const char *service)
{
	intent_free_auto char *path = local_path(place, "service/%s/supervise/ok", service);
	intent_close_auto int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0;
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
	char name[] = "runsv", *argv[] = {name, directory, NULL};
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
	for (size_t i = 0; i < count; i++)
		if (passes(environ[i]))
			env[kept++] = environ[i];
	/* Twice: nobody waits for it but init. */
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
		return intent_fail_errno(err, "%s cannot be started", program);
	return 0;
}

/* Services as pp-setlive has linked them; {name: is it held}. New. */
static json_t *services_of(const struct local_place *place)
{
	intent_free_auto char *directory = local_path(place, "service");
	DIR *list = opendir(directory);
	json_t *services = json_object();

	for (struct dirent *entry; list && (entry = readdir(list));)
		if (entry->d_name[0] != '.')
			json_object_set_new(services, entry->d_name, json_boolean(is_held(place, entry->d_name)));
	if (list)
		closedir(list);
	return services;
}

int local_runsv_start(const struct local_place *place, json_t *tried, struct intent_error *err)
{
	intent_json_auto json_t *services = services_of(place);
	int64_t now = intent_time_monotonic();
	const char *name;
	json_t *held;

	json_object_foreach(services, name, held) {
		intent_free_auto char *program = NULL, *directory = local_path(place, "service/%s", name);
		if (json_is_true(held) || now - intent_json_integer(tried, name, -AGAIN_MS) < AGAIN_MS)
			continue;
		json_object_set_new(tried, name, json_integer(now));
		if (local_program("runsv", &program, err) || start(program, directory, err))
			return err->code;
	}
	return 0;
}

/* ---- what is there ---- */

static int64_t process_of(const struct local_place *place, const char *service)
{
	intent_free_auto char *path = local_path(place, "service/%s/supervise/pid", service);
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	size_t length;
	int64_t pid = 0;

	if (intent_file_read(AT_FDCWD, path, 64, &text, &length, &ignored))
		return 0;
	text[strcspn(text, "\n")] = 0;
	return intent_integer_parse(text, 1, INT32_MAX, &pid, &ignored) ? 0 : pid;
}

size_t local_runsv_held(const struct local_place *place, struct intent_text *text)
{
	intent_json_auto json_t *services = services_of(place);
	size_t count = 0;
	const char *name;
	json_t *held;

	json_object_foreach(services, name, held) {
		int64_t pid = process_of(place, name);
		if (!json_is_true(held))
			continue;
		if (text)
			intent_text_printf(text, "%s%s", count ? ", " : "", name);
		if (text && pid)
			intent_text_printf(text, " (process %lld)", (long long)pid);
		count++;
	}
	return count;
}
