/*
 * Runs a command, counting the system calls of its whole family, and lets one of them go wrong.
 *
 *	killat [-w DIRECTORY | -b DIRECTORY] FILE -- COMMAND...
 *	                                     writes "NUMBER ORDINAL KIND SPACE" per call to FILE; SPACE is
 *	                                     the ordinal among those of kind `space`, or `disk`
 *	killat NUMBER ORDINAL -- COMMAND...  kills every process of it at the entry of the
 *	                                     ORDINAL-th call of that number in the family
 *	killat [-b DIRECTORY] -e ERRNO NUMBER ORDINAL -- COMMAND...
 *	                                     that call of kind `space` (ORDINAL is SPACE, and no other
 *	                                     call counts) fails with ERRNO, a number, undone; with
 *	                                     "ERRNO+" every later one of that kind does so too
 *
 * KIND is `space` for a call that may need room on a disk, `change` for any other that
 * changes what somebody else can see, `look` for the rest. With -w the world below DIRECTORY is looked at
 * at each call: its files and what is in them, what waits in pipes to supervisors, locks, and processes there
 * that are not of the family. `look` is then only a call at which all of it is as at the call before and
 * the call after, and which comes between two that look, too; who is killed there leaves what they leave.
 * Those two ends of such a row are of kind `edge`. With -b there are only `disk`, a call by which a program of ours
 * (pp*) asks the disk for something at or below DIRECTORY, and `look`, all others: what a loader does, and what
 * a shell or nft makes of a broken disk, is not ours. strace counts per process, so that calls
 * spread over children are never reached, and it cannot say "the disk is full from now on".
 *
 * What one call costs decides how many can be tried, and a stop of the family is nearly all of it: a
 * seccomp filter lets all calls pass but those that may be the one, and all run on one processor, for a
 * stop across two takes ten times as long. A call that a filter of the command's own refuses is none.
 *
 * Exit status: 0 when killed, 3 when the command ended before that call came, 77
 * where -e is not supported, else that of the command.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>

#define CALLS 600
#define FAMILY 256

enum kind { LOOK, CHANGE, SPACE, EDGE, DISK };
/* What decides the kind of a call: its number alone, the flags of an open, what a descriptor is. */
enum by { BY_NUMBER = 1, BY_FLAGS, BY_FILE };

static const struct call {
	int number;
	enum kind kind;
	enum by by;
	int argument; /* where the flags, or the descriptor, are */
} calls[] = {
#ifdef SYS_open
	{SYS_open, SPACE, BY_FLAGS, 1}, {SYS_creat, SPACE, BY_NUMBER, 0}, {SYS_mkdir, SPACE, BY_NUMBER, 0},
	{SYS_rename, SPACE, BY_NUMBER, 0}, {SYS_symlink, SPACE, BY_NUMBER, 0}, {SYS_link, SPACE, BY_NUMBER, 0},
	{SYS_mknod, SPACE, BY_NUMBER, 0}, {SYS_unlink, CHANGE, BY_NUMBER, 0}, {SYS_rmdir, CHANGE, BY_NUMBER, 0},
	{SYS_chmod, CHANGE, BY_NUMBER, 0}, {SYS_chown, CHANGE, BY_NUMBER, 0}, {SYS_lchown, CHANGE, BY_NUMBER, 0},
	{SYS_fork, CHANGE, BY_NUMBER, 0}, {SYS_vfork, CHANGE, BY_NUMBER, 0},
#endif
#ifdef SYS_renameat
	{SYS_renameat, SPACE, BY_NUMBER, 0},
#endif
	/* openat2 has its flags in memory; it is used where files are made. */
	{SYS_openat, SPACE, BY_FLAGS, 2}, {SYS_openat2, SPACE, BY_NUMBER, 0}, {SYS_mkdirat, SPACE, BY_NUMBER, 0},
	{SYS_renameat2, SPACE, BY_NUMBER, 0}, {SYS_symlinkat, SPACE, BY_NUMBER, 0},
	{SYS_linkat, SPACE, BY_NUMBER, 0}, {SYS_mknodat, SPACE, BY_NUMBER, 0},
	{SYS_write, SPACE, BY_FILE, 0}, {SYS_writev, SPACE, BY_FILE, 0}, {SYS_pwrite64, SPACE, BY_FILE, 0},
	{SYS_ftruncate, SPACE, BY_FILE, 0}, {SYS_fallocate, SPACE, BY_FILE, 0},
	{SYS_copy_file_range, SPACE, BY_FILE, 2}, {SYS_sendfile, SPACE, BY_FILE, 0}, {SYS_splice, SPACE, BY_FILE, 2},
	{SYS_fsync, SPACE, BY_FILE, 0}, {SYS_fdatasync, SPACE, BY_FILE, 0}, {SYS_syncfs, SPACE, BY_NUMBER, 0},
	{SYS_unlinkat, CHANGE, BY_NUMBER, 0}, {SYS_fchmod, CHANGE, BY_NUMBER, 0},
	{SYS_fchmodat, CHANGE, BY_NUMBER, 0}, {SYS_fchown, CHANGE, BY_NUMBER, 0},
	{SYS_fchownat, CHANGE, BY_NUMBER, 0}, {SYS_utimensat, CHANGE, BY_NUMBER, 0},
	{SYS_kill, CHANGE, BY_NUMBER, 0}, {SYS_flock, CHANGE, BY_NUMBER, 0}, {SYS_clone, CHANGE, BY_NUMBER, 0},
	{SYS_clone3, CHANGE, BY_NUMBER, 0}, {SYS_execve, CHANGE, BY_NUMBER, 0},
	{SYS_exit_group, CHANGE, BY_NUMBER, 0},
	/* To the kernel's tables, or to somebody who acts on it. */
	{SYS_sendto, CHANGE, BY_NUMBER, 0}, {SYS_sendmsg, CHANGE, BY_NUMBER, 0}, {SYS_sendmmsg, CHANGE, BY_NUMBER, 0},
};

/* Which calls ask the disk, and where they say for what; -1: not so. */
static const struct reach {
	int number;
	int at, path; /* a descriptor, and a path below it */
	int flags;    /* where AT_EMPTY_PATH would be */
} reaches[] = {
#ifdef SYS_open
	{SYS_open, -1, 0, -1}, {SYS_creat, -1, 0, -1}, {SYS_stat, -1, 0, -1}, {SYS_lstat, -1, 0, -1},
	{SYS_access, -1, 0, -1}, {SYS_readlink, -1, 0, -1}, {SYS_mkdir, -1, 0, -1}, {SYS_rmdir, -1, 0, -1},
	{SYS_unlink, -1, 0, -1}, {SYS_rename, -1, 1, -1}, {SYS_symlink, -1, 1, -1}, {SYS_link, -1, 1, -1},
	{SYS_chmod, -1, 0, -1}, {SYS_chown, -1, 0, -1}, {SYS_lchown, -1, 0, -1}, {SYS_mknod, -1, 0, -1},
	{SYS_getdents, 0, -1, -1},
#endif
#ifdef SYS_renameat
	{SYS_renameat, 2, 3, -1},
#endif
#ifdef SYS_newfstatat
	{SYS_newfstatat, 0, 1, 3},
#endif
	{SYS_openat, 0, 1, -1}, {SYS_openat2, 0, 1, -1}, {SYS_statx, 0, 1, 2}, {SYS_faccessat, 0, 1, -1},
	{SYS_faccessat2, 0, 1, 3}, {SYS_readlinkat, 0, 1, -1}, {SYS_mkdirat, 0, 1, -1}, {SYS_unlinkat, 0, 1, -1},
	{SYS_renameat2, 2, 3, -1}, {SYS_symlinkat, 1, 2, -1}, {SYS_linkat, 2, 3, -1}, {SYS_mknodat, 0, 1, -1},
	{SYS_fchmodat, 0, 1, -1}, {SYS_fchownat, 0, 1, 4}, {SYS_utimensat, 0, 1, -1}, {SYS_truncate, -1, 0, -1},
	{SYS_statfs, -1, 0, -1}, {SYS_chdir, -1, 0, -1}, {SYS_inotify_add_watch, -1, 1, -1},
	{SYS_fstat, 0, -1, -1}, {SYS_fstatfs, 0, -1, -1}, {SYS_getdents64, 0, -1, -1}, {SYS_read, 0, -1, -1},
	{SYS_readv, 0, -1, -1}, {SYS_pread64, 0, -1, -1}, {SYS_write, 0, -1, -1}, {SYS_writev, 0, -1, -1},
	{SYS_pwrite64, 0, -1, -1}, {SYS_ftruncate, 0, -1, -1}, {SYS_fallocate, 0, -1, -1}, {SYS_fsync, 0, -1, -1},
	{SYS_fdatasync, 0, -1, -1}, {SYS_syncfs, 0, -1, -1}, {SYS_fchmod, 0, -1, -1}, {SYS_fchown, 0, -1, -1},
	{SYS_copy_file_range, 2, -1, -1}, {SYS_sendfile, 0, -1, -1}, {SYS_splice, 2, -1, -1},
};

struct target {
	long number, ordinal;
	int error;       /* 0: kill */
	bool lasting;    /* the error stays */
};

static pid_t family[FAMILY];
static int members;
static long counts[CALLS], space_counts[CALLS];
static FILE *record;
static const char *world;       /* -w; NULL: not looked at */
static const char *disk;        /* -b; NULL: what fails is what needs room */

static int member(pid_t pid)
{
	for (int i = 0; i < members; i++)
		if (family[i] == pid)
			return i;
	return -1;
}

static void join(pid_t pid)
{
	if (member(pid) < 0 && members < FAMILY)
		family[members++] = pid;
}

static void leave(pid_t pid)
{
	int i = member(pid);

	if (i >= 0)
		family[i] = family[--members];
}

static void kill_family(void)
{
	/* New children may appear while we kill: they are stopped at birth and join when waited for. */
	for (int i = 0; i < members; i++)
		kill(family[i], SIGKILL);
}

/* ---- where it stops ---- */

static void one_processor(void)
{
	cpu_set_t set;
	int here = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(here < 0 ? 0 : here, &set);
	/* Refused where that processor is not ours: then it only takes longer. */
	(void)sched_setaffinity(0, sizeof(set), &set);
}

static void stop_at(struct sock_filter *filter, int *length, long number)
{
	filter[(*length)++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
	filter[(*length)++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
}

/* Before the command begins, by itself: the calls of it and all below it that may be the one stop it. */
static int filter_calls(const struct target *target)
{
	struct sock_filter filter[4 + 2 * (sizeof(calls) / sizeof(calls[0]) + sizeof(reaches) / sizeof(reaches[0]))];
	struct sock_fprog program = {.filter = filter};
	int length = 0;

	filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	if (target->ordinal)
		stop_at(filter, &length, target->number);
	for (size_t i = 0; target->lasting && !disk && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i].kind == SPACE)
			stop_at(filter, &length, calls[i].number);
	for (size_t i = 0; target->lasting && disk && i < sizeof(reaches) / sizeof(reaches[0]); i++)
		stop_at(filter, &length, reaches[i].number);
	filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, target->ordinal ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRACE);
	program.len = (unsigned short)length;
	/* Without privilege only for who gives up getting any. */
	if (!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 0;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -1 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static pid_t begin(char **argv, const struct target *target)
{
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		if (filter_calls(target) < 0)
			perror("killat: seccomp");
		else
			execvp(argv[0], argv);
		_exit(127);
	}
	/* Orphans become our children: all of the family is reaped, no zombie is left, when we end. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	waitpid(pid, NULL, 0);
	ptrace(PTRACE_SETOPTIONS, pid, NULL,
	       PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
	       PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
	join(pid);
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	return pid;
}

/* ---- what a call is ---- */

static void name_of(pid_t pid, uint64_t fd, char name[32])
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/%d/fd/%llu", pid, (unsigned long long)fd);
	length = readlink(link, name, 31);
	name[length < 0 ? 0 : length] = '\0';
}

/* A file of some directory, not a pipe, a socket, a device, memory, or what is said. By its type: worlds may be in /dev/shm. */
static bool is_file(pid_t pid, uint64_t fd)
{
	char path[64], name[32];
	struct stat st;

	if (fd <= 2)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd/%llu", pid, (unsigned long long)fd);
	name_of(pid, fd, name);
	return !stat(path, &st) && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && strncmp(name, "/memfd:", 7);
}

static bool is_socket(pid_t pid, uint64_t fd)
{
	char path[32];

	name_of(pid, fd, path);
	return !strncmp(path, "socket:", 7);
}

/* What a link of /proc/PID leads to: "exe", "cwd", "fd/N". */
static void read_link(pid_t pid, const char *name, char *out, size_t room)
{
	char link[64];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/%d/%s", pid, name);
	length = readlink(link, out, room - 1);
	out[length < 0 ? 0 : length] = '\0';
}

/* By words, a page at most at a time: the string may end right before memory that is not there. */
static void read_string(pid_t pid, uint64_t address, char *out, size_t room)
{
	size_t have = 0;

	while (have + 1 < room) {
		size_t count = 4096 - (address + have) % 4096;
		struct iovec here, there = {(void *)(uintptr_t)(address + have), 0};
		ssize_t got;

		if (count > room - 1 - have)
			count = room - 1 - have;
		here = (struct iovec){out + have, count};
		there.iov_len = count;
		got = process_vm_readv(pid, &here, 1, &there, 1, 0);
		if (got <= 0 || memchr(out + have, '\0', (size_t)got))
			break;
		have += (size_t)got;
	}
	out[room - 1] = '\0';
}

static bool is_below(const char *path)
{
	size_t length = strlen(disk);

	return !strncmp(path, disk, length) && (!path[length] || path[length] == '/');
}

static bool is_our_program(pid_t pid)
{
	char program[PATH_MAX];
	const char *name;

	read_link(pid, "exe", program, sizeof(program));
	name = strrchr(program, '/');
	return name && !strncmp(name, "/pp", 3);
}

static bool asks_disk(pid_t pid, const struct ptrace_syscall_info *info, const struct reach *reach)
{
	uint64_t fd = reach->at < 0 ? (uint32_t)AT_FDCWD : (uint32_t)info->seccomp.args[reach->at];
	char path[2 * PATH_MAX] = "";

	if (reach->path >= 0)
		read_string(pid, info->seccomp.args[reach->path], path, sizeof(path));
	if (*path != '/') {
		bool itself = !*path;
		char name[32] = "cwd";

		if (reach->path >= 0 && itself && (reach->flags < 0 || !(info->seccomp.args[reach->flags] & AT_EMPTY_PATH)))
			return false;
		/* Pipes to a supervisor are below the directory, but what is in them is on no disk. */
		if (itself && !is_file(pid, fd))
			return false;
		if (fd != (uint32_t)AT_FDCWD)
			snprintf(name, sizeof(name), "fd/%llu", (unsigned long long)fd);
		read_link(pid, name, path, sizeof(path));
	}
	return is_below(path) && is_our_program(pid);
}

static enum kind disk_kind_of(pid_t pid, const struct ptrace_syscall_info *info)
{
	for (size_t i = 0; i < sizeof(reaches) / sizeof(reaches[0]); i++)
		if (reaches[i].number == (long)info->seccomp.nr)
			return asks_disk(pid, info, &reaches[i]) ? DISK : LOOK;
	return LOOK;
}

static enum kind kind_of(pid_t pid, const struct ptrace_syscall_info *info)
{
	if (disk)
		return disk_kind_of(pid, info);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct call *call = &calls[i];
		uint64_t argument = info->seccomp.args[call->argument];

		if (call->number != (long)info->seccomp.nr)
			continue;
		if (call->by == BY_FLAGS && !(argument & (O_CREAT | O_TRUNC)))
			return argument & (O_WRONLY | O_RDWR) ? CHANGE : LOOK;
		if (call->by == BY_FILE && !is_file(pid, argument))
			return is_socket(pid, argument) ? CHANGE : LOOK;
		return call->kind;
	}
	return LOOK;
}

/* ---- the world ---- */

#define INODES 20000

static uint64_t state;
static ino_t inodes[INODES];
static size_t inode_count;

static void mix(const void *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		state = (state ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
}

static void mix_file(const char *path)
{
	char buffer[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t count;

	while (fd >= 0 && (count = read(fd, buffer, sizeof(buffer))) > 0)
		mix(buffer, (size_t)count);
	if (fd >= 0)
		close(fd);
}

static void mix_pipe(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), waiting = 0;

	if (fd >= 0 && !ioctl(fd, FIONREAD, &waiting))
		mix(&waiting, sizeof(waiting));
	if (fd >= 0)
		close(fd);
}

static int mix_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	char target[4096];
	ssize_t count;

	mix(path, strlen(path));
	if (type == FTW_NS)
		return 0;
	mix(&st->st_ino, sizeof(st->st_ino));
	mix(&st->st_mode, sizeof(st->st_mode));
	mix(&st->st_uid, sizeof(st->st_uid));
	mix(&st->st_gid, sizeof(st->st_gid));
	if (S_ISREG(st->st_mode))
		mix_file(path);
	else if (S_ISLNK(st->st_mode) && (count = readlink(path, target, sizeof(target))) > 0)
		mix(target, (size_t)count);
	else if (S_ISFIFO(st->st_mode) && !strcmp(path + at->base, "control"))
		mix_pipe(path);
	if (inode_count < INODES)
		inodes[inode_count++] = st->st_ino;
	return 0;
}

static void mix_locks(void)
{
	char line[256], how[16], mode[16];
	FILE *locks = fopen("/proc/locks", "re");
	unsigned long inode;

	while (locks && fgets(line, sizeof(line), locks)) {
		if (sscanf(line, "%*d: %15s %*s %15s %*d %*x:%*x:%lu", how, mode, &inode) != 3)
			continue;
		for (size_t i = 0; i < inode_count; i++)
			if (inodes[i] == inode) {
				mix(how, strlen(how));
				mix(mode, strlen(mode));
				mix(&inode, sizeof(inode));
			}
	}
	if (locks)
		fclose(locks);
}

static void mix_processes(void)
{
	DIR *all = opendir("/proc");
	struct dirent *entry;
	char path[64], where[4096];

	while (all && (entry = readdir(all))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		ssize_t count;

		snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
		if (pid <= 0 || member(pid) >= 0 || (count = readlink(path, where, sizeof(where) - 1)) < 0)
			continue;
		where[count] = '\0';
		if (strncmp(where, world, strlen(world)) || !strchr("/", where[strlen(world)]))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
		mix(&pid, sizeof(pid));
		mix(where, (size_t)count);
		mix_file(path);
	}
	if (all)
		closedir(all);
}

static uint64_t look_at_world(void)
{
	state = 14695981039346656037u;
	inode_count = 0;
	nftw(world, mix_entry, 16, FTW_PHYS);
	mix_locks();
	mix_processes();
	return state;
}

/* ---- noting ---- */

static const char *const kinds[] = {"look", "change", "space", "edge", "disk"};
/* The call before, if it looks: whether its row ends with it is only seen now. */
static char held[64];            /* NUMBER and ORDINAL, "" for none */
static enum kind held_kind;      /* what it is unless its row ends with it */
static uint64_t held_state;

static void note_held(bool row_goes_on)
{
	if (*held)
		fprintf(record, "%s %s 0\n", held, kinds[row_goes_on ? held_kind : EDGE]);
	*held = '\0';
}

static void note(int number, enum kind kind)
{
	bool row_goes_on;
	uint64_t now = world ? look_at_world() : 0;

	if (!world || kind != LOOK) {
		note_held(false);
		fprintf(record, "%d %ld %s %ld\n", number, counts[number], kinds[kind], space_counts[number]);
		return;
	}
	row_goes_on = *held && held_state == now;
	note_held(row_goes_on);
	snprintf(held, sizeof(held), "%d %ld", number, counts[number]);
	held_kind = row_goes_on ? LOOK : EDGE;
	held_state = now;
}

/* ---- making a call fail ---- */

#ifdef __x86_64__
/* No call has number -1: the kernel does nothing, and the result is what we write. */
static void spoil(pid_t pid, long result)
{
	ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), (void *)-1L);
	ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), (void *)result);
}
static const bool can_fail = true;
#else
static void spoil(pid_t pid, long result) { (void)pid; (void)result; }
static const bool can_fail = false;
#endif

/* ---- following ---- */

enum verdict { GO_ON, HIT };

static enum verdict at_call(pid_t pid, const struct target *target, bool hit)
{
	const enum kind failing = disk ? DISK : SPACE;
	struct ptrace_syscall_info info;
	enum kind kind;
	uint64_t number;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_SECCOMP)
		return GO_ON;
	number = info.seccomp.nr;
	if (number >= CALLS)
		return GO_ON;
	kind = kind_of(pid, &info);
	counts[number]++;
	space_counts[number] += kind == failing;
	if (record)
		note((int)number, kind);
	/* Who waits for others makes now more, now fewer calls: one that only looks must not come to fail. */
	if ((long)number == target->number && (target->error ? kind == failing && space_counts[number] == target->ordinal :
					       counts[number] == target->ordinal))
		return HIT;
	return hit && target->lasting && kind == failing ? HIT : GO_ON;
}

static int follow(pid_t first, const struct target *target)
{
	bool hit = false, killed = false;
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
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
			if (at_call(pid, target, hit) == HIT) {
				hit = true;
				killed = !target->error;
				if (killed) {
					kill_family();
					continue;
				}
				spoil(pid, -target->error);
			}
		} else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
			pass = WSTOPSIG(status);
		}
		ptrace(PTRACE_CONT, pid, NULL, (void *)(long)pass);
	}
	if (target->ordinal && !hit)
		return 3;
	return killed ? 0 : result;
}

static int usage(void)
{
	fprintf(stderr, "usage: killat [-w DIRECTORY | -b DIRECTORY] FILE -- COMMAND...\n"
		"       killat [[-b DIRECTORY] -e ERRNO[+]] NUMBER ORDINAL -- COMMAND...\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct target target = {.number = -1};
	int result;

	one_processor();
	if (argc > 3 && (!strcmp(argv[1], "-w") || !strcmp(argv[1], "-b"))) {
		*(argv[1][1] == 'w' ? &world : &disk) = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc > 3 && !strcmp(argv[2], "--")) {
		record = fopen(argv[1], "w");
		if (!record) {
			perror(argv[1]);
			return 2;
		}
		fcntl(fileno(record), F_SETFD, FD_CLOEXEC);
		result = follow(begin(argv + 3, &target), &target);
		note_held(false);
		return fclose(record) ? 2 : result;
	}
	if (argc > 2 && !strcmp(argv[1], "-e")) {
		target.error = (int)strtol(argv[2], NULL, 10);
		target.lasting = strchr(argv[2], '+') != NULL;
		if (!can_fail)
			return 77;
		argc -= 2;
		argv += 2;
	}
	if (argc < 5 || strcmp(argv[3], "--"))
		return usage();
	target.number = strtol(argv[1], NULL, 10);
	target.ordinal = strtol(argv[2], NULL, 10);
	return follow(begin(argv + 4, &target), &target);
}
