/*
 * runsvdir without its wait of up to five seconds: a real runsv(8) for every entry of a directory,
 * as soon as it is there, and its end as soon as it is not.
 *
 *	scan DIRECTORY
 *
 * At SIGTERM everything below it is killed at once, services included: nothing of a
 * world that is thrown away may outlive it.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <intent/banned.h>

#define SERVICES 1000

static struct service {
	char name[256];
	dev_t device;
	ino_t inode;
	pid_t pid;      /* leader of its group; 0: to be started */
	int seen;       /* 0: gone from the directory */
} services[SERVICES];
static int count;

static void start(struct service *service)
{
	pid_t pid = fork();

	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setpgid(0, 0);
		execlp("runsv", "runsv", service->name, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		setpgid(pid, pid);
	service->pid = pid > 0 ? pid : 0;
}

/* As runsvdir does, by what the name leads to, not by the name. */
static void found(const char *name)
{
	struct stat st;

	if (name[0] == '.' || stat(name, &st) < 0 || !S_ISDIR(st.st_mode))
		return;
	for (int i = 0; i < count; i++)
		if (services[i].inode == st.st_ino && services[i].device == st.st_dev) {
			services[i].seen = 1;
			return;
		}
	if (count == SERVICES)
		return;
	services[count] = (struct service){.device = st.st_dev, .inode = st.st_ino, .seen = 1};
	snprintf(services[count].name, sizeof(services[count].name), "%s", name);
	start(&services[count++]);
}

static void look(void)
{
	DIR *directory = opendir(".");
	struct dirent *entry;

	for (int i = 0; i < count; i++)
		services[i].seen = 0;
	while (directory && (entry = readdir(directory)))
		found(entry->d_name);
	if (directory)
		closedir(directory);
	for (int i = 0; i < count; i++) {
		if (services[i].seen)
			continue;
		if (services[i].pid)
			kill(services[i].pid, SIGTERM);
		services[i--] = services[--count];
	}
}

static void reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		for (int i = 0; i < count; i++)
			if (services[i].pid == pid)
				start(&services[i]);
}

/* What left its group is found as our child once its parents are gone: we are its subreaper. */
static void end_children(void)
{
	char path[64];
	FILE *list;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	list = fopen(path, "r");
	while (list && fscanf(list, "%d", &pid) == 1) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
	}
	if (list)
		fclose(list);
}

int main(int argc, char **argv)
{
	struct pollfd polls[2] = {{.events = POLLIN}, {.events = POLLIN}};
	char buffer[4096];
	sigset_t set;

	if (argc != 2 || chdir(argv[1]) < 0)
		return 2;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	polls[0].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	polls[1].fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (inotify_add_watch(polls[1].fd, ".", IN_CREATE | IN_DELETE | IN_MOVE) < 0)
		return 2;
	for (look(); poll(polls, 2, 5000) >= 0 || errno == EINTR; look()) {
		struct signalfd_siginfo info;

		while (read(polls[1].fd, buffer, sizeof(buffer)) > 0)
			;
		while (read(polls[0].fd, &info, sizeof(info)) == sizeof(info))
			if (info.ssi_signo != SIGCHLD)
				goto end;
		reap();
	}
end:
	do
		end_children();
	while (waitpid(-1, NULL, 0) > 0 || errno != ECHILD);
	return 0;
}
