/* Which system calls sandboxed children, the runner and its rounds may make. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <intent/confine.h>
#include <intent/sandbox.h>
#include "world.h"

/*
 * PURE and FILES are lists of what is allowed. The others are lists of what is not: resolvers, TLS libraries and
 * tools differ too much from system to system for the other way round.
 */
#if defined(__s390__)
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif

enum { PURE = 1, FILES = 2, NETWORK = 4, LOOP = 8, ALONE = 16, TOOLS = 32, EVERY = NETWORK | LOOP | ALONE | TOOLS };

static const struct { int number; unsigned kinds; } rules[] = {
	{SCMP_SYS(read), PURE | FILES}, {SCMP_SYS(readv), PURE | FILES},
	{SCMP_SYS(write), PURE | FILES}, {SCMP_SYS(writev), PURE | FILES},
	{SCMP_SYS(close), PURE | FILES}, {SCMP_SYS(fstat), PURE | FILES},
	{SCMP_SYS(fcntl), PURE | FILES}, {SCMP_SYS(poll), PURE | FILES},
	{SCMP_SYS(brk), PURE | FILES}, {SCMP_SYS(mmap), PURE | FILES},
	{SCMP_SYS(munmap), PURE | FILES}, {SCMP_SYS(mremap), PURE | FILES},
	{SCMP_SYS(mprotect), PURE | FILES}, {SCMP_SYS(madvise), PURE | FILES},
	{SCMP_SYS(futex), PURE | FILES}, {SCMP_SYS(getrandom), PURE | FILES},
	{SCMP_SYS(clock_gettime), PURE | FILES}, {SCMP_SYS(gettimeofday), PURE | FILES},
	{SCMP_SYS(getpid), PURE | FILES}, {SCMP_SYS(gettid), PURE | FILES},
	{SCMP_SYS(tgkill), PURE | FILES}, {SCMP_SYS(rt_sigaction), PURE | FILES},
	{SCMP_SYS(rt_sigprocmask), PURE | FILES}, {SCMP_SYS(rt_sigreturn), PURE | FILES},
	{SCMP_SYS(sigaltstack), PURE | FILES}, {SCMP_SYS(sched_yield), PURE | FILES},
	{SCMP_SYS(restart_syscall), PURE | FILES},
	{SCMP_SYS(exit), PURE | FILES}, {SCMP_SYS(exit_group), PURE | FILES},
	/* Below a descriptor. */
	{SCMP_SYS(mkdirat), FILES}, {SCMP_SYS(symlinkat), FILES},
	{SCMP_SYS(linkat), FILES}, {SCMP_SYS(pwrite64), FILES}, {SCMP_SYS(ftruncate), FILES},
	{SCMP_SYS(lseek), FILES}, {SCMP_SYS(umask), FILES},

	/* The kernel, its clocks and name spaces; a look into other processes. */
	{SCMP_SYS(ptrace), EVERY}, {SCMP_SYS(process_vm_readv), EVERY}, {SCMP_SYS(process_vm_writev), EVERY},
	{SCMP_SYS(pidfd_getfd), EVERY}, {SCMP_SYS(kcmp), EVERY},
	{SCMP_SYS(mount), EVERY}, {SCMP_SYS(umount2), EVERY}, {SCMP_SYS(pivot_root), EVERY},
	{SCMP_SYS(move_mount), EVERY}, {SCMP_SYS(open_tree), EVERY}, {SCMP_SYS(fsopen), EVERY},
	{SCMP_SYS(fsmount), EVERY}, {SCMP_SYS(fspick), EVERY}, {SCMP_SYS(mount_setattr), EVERY},
	{SCMP_SYS(chroot), EVERY}, {SCMP_SYS(setns), EVERY}, {SCMP_SYS(unshare), EVERY},
	{SCMP_SYS(bpf), EVERY}, {SCMP_SYS(perf_event_open), EVERY}, {SCMP_SYS(userfaultfd), EVERY},
	{SCMP_SYS(io_uring_setup), EVERY}, {SCMP_SYS(io_uring_enter), EVERY}, {SCMP_SYS(io_uring_register), EVERY},
	{SCMP_SYS(keyctl), EVERY}, {SCMP_SYS(add_key), EVERY}, {SCMP_SYS(request_key), EVERY},
	{SCMP_SYS(init_module), EVERY}, {SCMP_SYS(finit_module), EVERY}, {SCMP_SYS(delete_module), EVERY},
	{SCMP_SYS(kexec_load), EVERY}, {SCMP_SYS(kexec_file_load), EVERY}, {SCMP_SYS(reboot), EVERY},
	{SCMP_SYS(swapon), EVERY}, {SCMP_SYS(swapoff), EVERY}, {SCMP_SYS(acct), EVERY}, {SCMP_SYS(quotactl), EVERY},
	{SCMP_SYS(settimeofday), EVERY}, {SCMP_SYS(clock_settime), EVERY}, {SCMP_SYS(adjtimex), EVERY},
	{SCMP_SYS(clock_adjtime), EVERY}, {SCMP_SYS(stime), EVERY}, {SCMP_SYS(iopl), EVERY}, {SCMP_SYS(ioperm), EVERY},
	{SCMP_SYS(syslog), EVERY}, {SCMP_SYS(sethostname), EVERY}, {SCMP_SYS(setdomainname), EVERY},
	{SCMP_SYS(vhangup), EVERY}, {SCMP_SYS(fanotify_init), EVERY}, {SCMP_SYS(modify_ldt), EVERY},
	{SCMP_SYS(open_by_handle_at), EVERY}, {SCMP_SYS(personality), EVERY}, {SCMP_SYS(move_pages), EVERY},
	{SCMP_SYS(migrate_pages), EVERY},
	/* Programs. */
	{SCMP_SYS(execve), NETWORK | LOOP | ALONE}, {SCMP_SYS(execveat), NETWORK | LOOP | ALONE},
	/* Other processes. clone() is for threads only, see below. */
	{SCMP_SYS(kill), NETWORK | LOOP}, {SCMP_SYS(tkill), LOOP}, {SCMP_SYS(rt_sigqueueinfo), LOOP},
	{SCMP_SYS(rt_tgsigqueueinfo), LOOP}, {SCMP_SYS(pidfd_send_signal), NETWORK | LOOP},
	{SCMP_SYS(pidfd_open), LOOP}, {SCMP_SYS(fork), NETWORK | LOOP}, {SCMP_SYS(vfork), NETWORK | LOOP},
	/* Identities and owners. */
	{SCMP_SYS(setuid), LOOP}, {SCMP_SYS(setgid), LOOP}, {SCMP_SYS(setreuid), LOOP}, {SCMP_SYS(setregid), LOOP},
	{SCMP_SYS(setresuid), LOOP}, {SCMP_SYS(setresgid), LOOP}, {SCMP_SYS(setfsuid), LOOP},
	{SCMP_SYS(setfsgid), LOOP}, {SCMP_SYS(setgroups), LOOP}, {SCMP_SYS(capset), LOOP},
	{SCMP_SYS(chown), NETWORK | LOOP}, {SCMP_SYS(fchown), NETWORK | LOOP}, {SCMP_SYS(fchownat), NETWORK | LOOP},
	{SCMP_SYS(lchown), NETWORK | LOOP}, {SCMP_SYS(setxattr), NETWORK | LOOP},
	{SCMP_SYS(fsetxattr), NETWORK | LOOP}, {SCMP_SYS(lsetxattr), NETWORK | LOOP},
	{SCMP_SYS(mknod), NETWORK | LOOP}, {SCMP_SYS(mknodat), NETWORK | LOOP},
	/* Files at all. */
	{SCMP_SYS(rename), NETWORK}, {SCMP_SYS(renameat), NETWORK}, {SCMP_SYS(renameat2), NETWORK},
	{SCMP_SYS(unlink), NETWORK}, {SCMP_SYS(unlinkat), NETWORK}, {SCMP_SYS(rmdir), NETWORK},
	{SCMP_SYS(mkdir), NETWORK}, {SCMP_SYS(mkdirat), NETWORK}, {SCMP_SYS(link), NETWORK},
	{SCMP_SYS(linkat), NETWORK}, {SCMP_SYS(symlink), NETWORK}, {SCMP_SYS(symlinkat), NETWORK},
	{SCMP_SYS(creat), NETWORK}, {SCMP_SYS(truncate), NETWORK}, {SCMP_SYS(ftruncate), NETWORK},
	{SCMP_SYS(chmod), NETWORK}, {SCMP_SYS(fchmod), NETWORK}, {SCMP_SYS(fchmodat), NETWORK},
	{SCMP_SYS(openat2), NETWORK},
};

#define ARGUMENT(...) ((struct scmp_arg_cmp){__VA_ARGS__})

/* A rule on one argument; a call that this architecture does not have needs none. */
static int refuse(scmp_filter_ctx filter, int error, int call, struct scmp_arg_cmp argument)
{
	int code = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(error & 0xffff), call, 1, &argument);

	return code == -EDOM ? 0 : code;
}

/* Nobody types into a terminal for its person. */
static int refuse_typing(scmp_filter_ctx filter)
{
	int code = refuse(filter, EPERM, SCMP_SYS(ioctl), ARGUMENT(1, SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCSTI));

	if (!code)
		code = refuse(filter, EPERM, SCMP_SYS(ioctl), ARGUMENT(1, SCMP_CMP_MASKED_EQ, 0xffffffff, TIOCLINUX));
	return code;
}

/* Threads yes (a resolver's), processes no; what clone3() is asked for cannot be seen, and glibc falls back. */
static int refuse_processes(scmp_filter_ctx filter)
{
	int code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (!code || code == -EDOM)
		code = refuse(filter, EPERM, SCMP_SYS(clone),
			      ARGUMENT(CLONE_FLAGS, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	/* abort() is fine. */
	if (!code)
		code = refuse(filter, EPERM, SCMP_SYS(tgkill), ARGUMENT(0, SCMP_CMP_NE, (scmp_datum_t)getpid(), 0));
	return code;
}

/* Of sockets those that stores, supervisors and resolvers are reached by. */
static int refuse_families(scmp_filter_ctx filter)
{
	int code = refuse(filter, EAFNOSUPPORT, SCMP_SYS(socket), ARGUMENT(0, SCMP_CMP_GT, AF_NETLINK, 0));

	for (unsigned family = 0; family < AF_NETLINK && !code; family++)
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
			code = refuse(filter, EAFNOSUPPORT, SCMP_SYS(socket), ARGUMENT(0, SCMP_CMP_EQ, family, 0));
	return code;
}

/* Opening is fine, opening to write is not. */
static int refuse_writing(scmp_filter_ctx filter)
{
	static const unsigned flags[] = {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC};
	int code = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags) && !code; i++) {
		code = refuse(filter, EPERM, SCMP_SYS(open), ARGUMENT(1, SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
		if (!code)
			code = refuse(filter, EPERM, SCMP_SYS(openat),
				      ARGUMENT(2, SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
	}
	return code;
}

/* One component at a time, and never through a link; where, Landlock says. */
static int allow_no_link(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, O_NOFOLLOW, O_NOFOLLOW));
}

/* By kind, what a list of calls alone cannot say. */
static const struct { unsigned kinds; int (*add)(scmp_filter_ctx filter); } special[] = {
	{EVERY, refuse_typing}, {NETWORK | LOOP, refuse_processes}, {NETWORK | LOOP, refuse_families},
	{NETWORK, refuse_writing}, {FILES, allow_no_link},
};

static int fill(scmp_filter_ctx filter, unsigned bit)
{
	uint32_t action = bit & EVERY ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW;
	int code = 0;

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules) && !code; i++) {
		if (rules[i].kinds & bit)
			code = seccomp_rule_add(filter, action, rules[i].number, 0);
		/* A call that this architecture does not have needs no rule. */
		if (code == -EDOM)
			code = 0;
	}
	for (size_t i = 0; i < sizeof(special) / sizeof(*special) && !code; i++)
		if (special[i].kinds & bit)
			code = special[i].add(filter);
	return code;
}

static int load(unsigned bit, struct intent_error *err)
{
	scmp_filter_ctx filter = seccomp_init(bit & EVERY ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
	int code = filter ? fill(filter, bit) : -ENOMEM;

	/* A tree of comparisons, not a list, where this libseccomp can. */
	if (!code)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!code)
		code = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	malloc_trim(0); /* a filter is made of much that nobody needs again */
	if (!code)
		return 0;
	if (prctl(PR_GET_SECCOMP) < 0)
		return intent_fail(err, -ENOSYS, "this kernel has no seccomp");
	errno = -code;
	return intent_fail_errno(err, "cannot install the seccomp filter");
}

int intent__seccomp(enum intent_sandbox_kind kind, struct intent_error *err)
{
	static const unsigned bits[] = {
		[INTENT_SANDBOX_NETWORK] = NETWORK, [INTENT_SANDBOX_FILES] = FILES, [INTENT_SANDBOX_PURE] = PURE,
	};
	int code = load(bits[kind], err);

	return code == -ENOSYS ? 0 : code;
}

int intent_confine_calls(enum intent_calls calls, struct intent_error *err)
{
	static const unsigned bits[] = {
		[INTENT_CALLS_LOOP] = LOOP, [INTENT_CALLS_ALONE] = ALONE, [INTENT_CALLS_TOOLS] = TOOLS,
	};

	return load(bits[calls], err);
}
