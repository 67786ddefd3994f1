/* Which system calls each kind of sandboxed child may make. */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <intent/sandbox.h>
#include "world.h"

/*
 * PURE and FILES are lists of what is allowed. NETWORK is a list of what is not: resolvers and
 * TLS libraries differ too much from system to system for the other way round.
 */
enum { PURE = 1, FILES = 2, NETWORK = 4 };

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
	/* Beneath a descriptor, by RESOLVE_BENEATH; plain openat is not here. */
	{SCMP_SYS(openat2), FILES}, {SCMP_SYS(mkdirat), FILES}, {SCMP_SYS(symlinkat), FILES},
	{SCMP_SYS(linkat), FILES}, {SCMP_SYS(pwrite64), FILES}, {SCMP_SYS(ftruncate), FILES},
	{SCMP_SYS(lseek), FILES}, {SCMP_SYS(umask), FILES},

	{SCMP_SYS(execve), NETWORK}, {SCMP_SYS(execveat), NETWORK}, {SCMP_SYS(ptrace), NETWORK},
	{SCMP_SYS(process_vm_readv), NETWORK}, {SCMP_SYS(process_vm_writev), NETWORK},
	{SCMP_SYS(pidfd_getfd), NETWORK}, {SCMP_SYS(kcmp), NETWORK}, {SCMP_SYS(kill), NETWORK},
	{SCMP_SYS(mount), NETWORK}, {SCMP_SYS(umount2), NETWORK}, {SCMP_SYS(pivot_root), NETWORK},
	{SCMP_SYS(move_mount), NETWORK}, {SCMP_SYS(open_tree), NETWORK}, {SCMP_SYS(fsopen), NETWORK},
	{SCMP_SYS(chroot), NETWORK}, {SCMP_SYS(setns), NETWORK}, {SCMP_SYS(unshare), NETWORK},
	{SCMP_SYS(bpf), NETWORK}, {SCMP_SYS(perf_event_open), NETWORK},
	{SCMP_SYS(userfaultfd), NETWORK}, {SCMP_SYS(io_uring_setup), NETWORK},
	{SCMP_SYS(keyctl), NETWORK}, {SCMP_SYS(add_key), NETWORK}, {SCMP_SYS(request_key), NETWORK},
	{SCMP_SYS(init_module), NETWORK}, {SCMP_SYS(finit_module), NETWORK},
	{SCMP_SYS(delete_module), NETWORK}, {SCMP_SYS(kexec_load), NETWORK},
	{SCMP_SYS(reboot), NETWORK}, {SCMP_SYS(swapon), NETWORK}, {SCMP_SYS(swapoff), NETWORK},
	{SCMP_SYS(open_by_handle_at), NETWORK}, {SCMP_SYS(personality), NETWORK},
	{SCMP_SYS(rename), NETWORK}, {SCMP_SYS(renameat), NETWORK}, {SCMP_SYS(renameat2), NETWORK},
	{SCMP_SYS(unlink), NETWORK}, {SCMP_SYS(unlinkat), NETWORK}, {SCMP_SYS(rmdir), NETWORK},
	{SCMP_SYS(mkdir), NETWORK}, {SCMP_SYS(mkdirat), NETWORK}, {SCMP_SYS(mknod), NETWORK},
	{SCMP_SYS(mknodat), NETWORK}, {SCMP_SYS(link), NETWORK}, {SCMP_SYS(linkat), NETWORK},
	{SCMP_SYS(symlink), NETWORK}, {SCMP_SYS(symlinkat), NETWORK}, {SCMP_SYS(creat), NETWORK},
	{SCMP_SYS(truncate), NETWORK}, {SCMP_SYS(ftruncate), NETWORK},
	{SCMP_SYS(chmod), NETWORK}, {SCMP_SYS(fchmod), NETWORK}, {SCMP_SYS(fchmodat), NETWORK},
	{SCMP_SYS(chown), NETWORK}, {SCMP_SYS(fchown), NETWORK}, {SCMP_SYS(fchownat), NETWORK},
	{SCMP_SYS(lchown), NETWORK}, {SCMP_SYS(setxattr), NETWORK}, {SCMP_SYS(fsetxattr), NETWORK},
	{SCMP_SYS(lsetxattr), NETWORK}, {SCMP_SYS(openat2), NETWORK},
};

/* Opening is fine, opening to write is not. */
static int refuse_writing(scmp_filter_ctx filter)
{
	static const unsigned flags[] = {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC};
	int code = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags) && !code; i++) {
		code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(open), 1,
					SCMP_A1(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
		if (!code)
			code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(openat), 1,
						SCMP_A2(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
	}
	return code;
}

int intent__seccomp(enum intent_sandbox_kind kind, struct intent_error *err)
{
	unsigned bit = kind == INTENT_SANDBOX_NETWORK ? NETWORK :
		       kind == INTENT_SANDBOX_FILES ? FILES : PURE;
	bool listed_is_refused = bit == NETWORK;
	scmp_filter_ctx filter = seccomp_init(listed_is_refused ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
	int code = filter ? 0 : -ENOMEM;

	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules) && !code; i++) {
		if (!(rules[i].kinds & bit))
			continue;
		code = seccomp_rule_add(filter, listed_is_refused ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW,
					rules[i].number, 0);
		/* A call that this architecture does not have needs no rule. */
		if (code == -EDOM)
			code = 0;
	}
	if (!code && listed_is_refused)
		code = refuse_writing(filter);
	if (!code)
		code = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	if (!code)
		return 0;
	errno = -code;
	return intent_fail_errno(err, "cannot install the seccomp filter "
				 "(a kernel with CONFIG_SECCOMP_FILTER is needed)");
}
