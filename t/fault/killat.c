/*
 * Runs a command and kills its whole family at one system call.
 *
 *	killat FILE -- COMMAND...            writes "<number> <count>" per system call to FILE
 *	killat NUMBER ORDINAL -- COMMAND...  kills every process of it at the entry of the
 *	                                     ORDINAL-th call of that number in the family
 *
 * strace counts per process, so that calls spread over children are never
 * reached; this counts over the family. Exit status: 0 when killed, 3 when
 * the command ended before (its count of that call fell short), else that of recording.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#define CALLS 600
#define FAMILY 256

static pid_t family[FAMILY];
static int members;
static long counts[CALLS];

static void join(pid_t pid)
{
	for (int i = 0; i < members; i++)
		if (family[i] == pid)
			return;
	if (members < FAMILY)
		family[members++] = pid;
}

static void leave(pid_t pid)
{
	for (int i = 0; i < members; i++)
		if (family[i] == pid)
			family[i] = family[--members];
}

static void kill_family(void)
{
	/* New children may appear while we kill: they are stopped at birth and join when waited for. */
	for (int i = 0; i < members; i++)
		kill(family[i], SIGKILL);
}

static pid_t begin(char **argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execvp(argv[0], argv);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	ptrace(PTRACE_SETOPTIONS, pid, NULL,
	       PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
	       PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
	join(pid);
	ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
	return pid;
}

/* True when this stop is the call to die at. */
static bool at_call(pid_t pid, long number, long ordinal)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	if (info.entry.nr >= CALLS)
		return false;
	counts[info.entry.nr]++;
	return number == (long)info.entry.nr && counts[info.entry.nr] == ordinal;
}

static int follow(pid_t first, long number, long ordinal)
{
	bool killed = false;
	int status, result = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		int pass = 0;

		if (pid < 0)
			continue;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			leave(pid);
			if (pid == first)
				result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			continue;
		}
		join(pid);
		if (killed) {
			kill(pid, SIGKILL);
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			if (at_call(pid, number, ordinal)) {
				killed = true;
				kill_family();
				continue;
			}
		} else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
			pass = WSTOPSIG(status);
		}
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)pass);
	}
	if (ordinal)
		return killed ? 0 : 3;
	return result;
}

int main(int argc, char **argv)
{
	bool record = argc > 3 && !strcmp(argv[2], "--");
	bool killing = argc > 4 && !strcmp(argv[3], "--");
	int result;
	FILE *out;

	if (!record && !killing) {
		fprintf(stderr, "usage: killat FILE -- COMMAND...\n       killat NUMBER ORDINAL -- COMMAND...\n");
		return 2;
	}
	if (killing)
		return follow(begin(argv + 4), strtol(argv[1], NULL, 10), strtol(argv[2], NULL, 10));
	result = follow(begin(argv + 3), -1, 0);
	out = fopen(argv[1], "w");
	if (!out)
		return 2;
	for (int i = 0; i < CALLS; i++)
		if (counts[i])
			fprintf(out, "%d %ld\n", i, counts[i]);
	return fclose(out) ? 2 : result;
}
