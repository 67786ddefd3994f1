/* What a process that confined itself can still do: each attempt in a child that gave up something. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <intent/confine.h>

static char place[] = "/tmp/platypus-confine.XXXXXX";

/* ---- attempts: 0, or errno ---- */

static int told(long result)
{
	return result < 0 ? errno : 0;
}

static int run_program(void)
{
	char *argv[] = {(char *)(uintptr_t)"true", NULL};

	execv("/bin/true", argv);
	return errno;
}

static int begin_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return told(pid);
}

static void *nothing(void *data)
{
	return data;
}

static int begin_thread(void)
{
	pthread_t thread;
	int code = pthread_create(&thread, NULL, nothing, NULL);

	return code ? code : pthread_join(thread, NULL);
}

static int signal_parent(void) { return told(kill(getppid(), 0)); }
static int signal_parents_thread(void) { return told(syscall(SYS_tgkill, getppid(), getppid(), 0)); }
static int signal_oneself(void) { return told(syscall(SYS_tgkill, getpid(), gettid(), 0)); }
static int trace_parent(void) { return told(ptrace(PTRACE_SEIZE, getppid(), 0, 0)); }
static int share_not(void) { return told(unshare(CLONE_FS)); }
static int become_same(void) { return told(setuid(getuid())); }
static int own_same(void) { return told(chown(place, getuid(), getgid())); }
static int set_clock(void) { return told(syscall(SYS_adjtimex, NULL)); }
static int type_a_letter(void) { return told(ioctl(0, TIOCSTI, "x")); }
static int open_ring(void) { return told(syscall(SYS_io_uring_setup, 0, NULL)); }

static int open_socket(int family, int type)
{
	return told(socket(family, type, 0));
}
static int open_network(void) { return open_socket(AF_INET, SOCK_STREAM); }
static int open_local(void) { return open_socket(AF_UNIX, SOCK_STREAM); }
static int open_netlink(void) { return open_socket(AF_NETLINK, SOCK_RAW); }
static int open_crypto(void) { return open_socket(38 /* AF_ALG */, SOCK_SEQPACKET); }
static int open_amateurs(void) { return open_socket(3 /* AF_AX25 */, SOCK_SEQPACKET); }

static int bind_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return told(bind(fd, (struct sockaddr *)&address, sizeof(address)));
}

static int make_file(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", place, name);
	return told(open(path, O_WRONLY | O_CREAT, 0600));
}
static int make_inside(void) { return make_file("inside/made"); }
static int make_outside(void) { return make_file("made"); }

static int move_outside(void)
{
	char from[128], to[128];

	snprintf(from, sizeof(from), "%s/inside/file", place);
	snprintf(to, sizeof(to), "%s/moved", place);
	return told(rename(from, to));
}

static int move_inside(void)
{
	char from[128], to[128];

	snprintf(from, sizeof(from), "%s/inside/file", place);
	snprintf(to, sizeof(to), "%s/inside/deeper/moved", place);
	return told(rename(from, to));
}

static int cut_outside(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", place);
	return told(truncate(path, 0));
}

static int read_outside(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", place);
	return told(open(path, O_RDONLY));
}

static int remove_outside(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", place);
	return told(unlink(path));
}

static int write_null(void) { return told(open("/dev/null", O_WRONLY)); }

/* ---- confinements ---- */

enum { FREE, LOOP, ALONE, TOOLS, SHUT, KINDS };
static int abi;

static int confine(int kind)
{
	char inside[64];
	const char *const writable[] = {"/dev/null", inside, "/no/such/place", NULL};
	struct intent_error err;

	snprintf(inside, sizeof(inside), "%s/inside", place);
	switch (kind) {
	case LOOP:
		return intent_confine_calls(INTENT_CALLS_LOOP, &err);
	case ALONE:
		return intent_confine_calls(INTENT_CALLS_ALONE, &err);
	case TOOLS:
		return intent_confine_calls(INTENT_CALLS_TOOLS, &err);
	case SHUT:
		return intent_confine_files(writable, false, &abi, &err);
	}
	return 0;
}

/* errno by confinement; -1: as without any; -2: anything but what it is without. */
static const struct attempt {
	const char *what;
	int (*attempt)(void);
	int want[KINDS];
	int abi; /* Landlock's that forbids it */
} attempts[] = {
	{"to run a program", run_program, {-1, EPERM, EPERM, 0, EACCES}, 1},
	{"to begin a process", begin_process, {0, EPERM, 0, 0, 0}, 0},
	{"to begin a thread", begin_thread, {0, 0, 0, 0, 0}, 0},
	{"to signal another process", signal_parent, {0, EPERM, 0, 0, EPERM}, 6},
	{"to signal another's thread", signal_parents_thread, {0, EPERM, 0, 0, EPERM}, 6},
	{"to abort", signal_oneself, {0, 0, 0, 0, 0}, 0},
	{"to trace another process", trace_parent, {-1, EPERM, EPERM, EPERM, EPERM}, 1},
	{"to leave name spaces", share_not, {0, EPERM, EPERM, EPERM, 0}, 0},
	{"to become who one is", become_same, {0, EPERM, 0, 0, 0}, 0},
	{"to own what one owns", own_same, {0, EPERM, 0, 0, 0}, 0},
	{"to set the clock", set_clock, {EFAULT, EPERM, EPERM, EPERM, EFAULT}, 0},
	{"to type for somebody", type_a_letter, {-1, EPERM, EPERM, EPERM, -1}, 0},
	{"to have a ring", open_ring, {-1, EPERM, EPERM, EPERM, -1}, 0},
	{"to reach the network", open_network, {0, 0, 0, 0, 0}, 0},
	{"to reach local servers", open_local, {0, 0, 0, 0, 0}, 0},
	{"to ask for addresses", open_netlink, {0, 0, 0, 0, 0}, 0},
	{"to use the kernel's ciphers", open_crypto, {-1, EAFNOSUPPORT, -1, -1, -1}, 0},
	{"to speak AX.25", open_amateurs, {-1, EAFNOSUPPORT, -1, -1, -1}, 0},
	{"to listen", bind_port, {0, 0, 0, 0, EACCES}, 4},
	{"to make a file where it may", make_inside, {0, 0, 0, 0, 0}, 0},
	{"to make a file elsewhere", make_outside, {0, 0, 0, 0, EACCES}, 1},
	{"to move a file out", move_outside, {0, 0, 0, 0, EACCES}, 1},
	{"to move a file within", move_inside, {0, 0, 0, 0, 0}, 0},
	{"to cut a file elsewhere", cut_outside, {0, 0, 0, 0, EACCES}, 3},
	{"to remove a file elsewhere", remove_outside, {0, 0, 0, 0, EACCES}, 1},
	{"to read elsewhere", read_outside, {0, 0, 0, 0, 0}, 0},
	{"to write to nowhere", write_null, {0, 0, 0, 0, 0}, 0},
};

/* With the place as $1. */
static void shell(const char *command)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, "sh", place, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

/* Its exit status: not by exit(), which a sanitizer follows with calls of its own. */
static int try(int kind, int (*attempt)(void))
{
	pid_t pid;
	int status;

	shell("cd $1 && rm -rf inside made moved && mkdir -p inside/deeper && echo x >file && echo x >inside/file");
	pid = fork();
	if (pid == 0) {
		int code = confine(kind);

		_exit(code == -ENOSYS ? 253 : code ? 254 : attempt());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

START_TEST(test_attempts)
{
	const struct attempt *one = &attempts[_i];
	int free_code = try(FREE, one->attempt);

	if (one->want[FREE] >= 0)
		ck_assert_msg(free_code == one->want[FREE], "%s, unconfined: %s", one->what, strerror(free_code));
	for (int kind = LOOP; kind < KINDS; kind++) {
		int got = try(kind, one->attempt), want = one->want[kind];

		if (got == 253 || (kind == SHUT && one->abi > abi))
			continue; /* not on this kernel */
		if (want == -1)
			want = free_code;
		ck_assert_msg(got == want, "%s, kind %d: %s, not %s", one->what, kind, strerror(got), strerror(want));
	}
}
END_TEST

static unsigned long long status_mask(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long long mask = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			mask = strtoull(line + strlen(name), NULL, 16);
	if (file)
		fclose(file);
	return mask;
}

START_TEST(test_capabilities)
{
	unsigned long long keep = 1ull << CAP_CHOWN | 1ull << CAP_SYSLOG, had = status_mask("CapPrm:");
	struct intent_error err;

	ck_assert_int_eq(intent_confine_capabilities(keep, &err), 0);
	ck_assert_uint_eq(status_mask("CapPrm:"), had & keep);
	ck_assert_uint_eq(status_mask("CapEff:"), had & keep);
	if (had >> CAP_SETPCAP & 1)
		ck_assert_uint_eq(status_mask("CapBnd:"), keep);
	/* Again, and with more: what is gone stays gone. */
	ck_assert_int_eq(intent_confine_capabilities(~0ull, &err), 0);
	ck_assert_uint_eq(status_mask("CapPrm:"), had & keep);
}
END_TEST

START_TEST(test_memory)
{
	struct rlimit core = {1, 1};
	int dumpable = prctl(PR_GET_DUMPABLE);

	intent_confine_memory();
	getrlimit(RLIMIT_CORE, &core);
	ck_assert_uint_eq(core.rlim_cur, 0);
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 0);
	/* A sanitizer looks at us at the end. */
	prctl(PR_SET_DUMPABLE, dumpable);
}
END_TEST

/* Left out unseen, it could never be written again. */
START_TEST(test_unreadable)
{
	char loop[64];
	const char *const writable[] = {loop, NULL};
	struct intent_error err = {0};
	int ignored;

	snprintf(loop, sizeof(loop), "%s/loop", place);
	ck_assert_int_eq(symlink("loop", loop), 0);
	ck_assert_int_eq(intent_confine_files(writable, false, &ignored, &err), -ELOOP);
	ck_assert_ptr_nonnull(strstr(err.msg, loop));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("confine");
	TCase *tcase = tcase_create("confine");
	struct intent_error err;
	const char *const nowhere[] = {NULL};

	if (!mkdtemp(place))
		return 1;
	/* What this kernel has, asked in a child: it is for good. */
	if (fork() == 0) {
		(void)intent_confine_files(nowhere, false, &abi, &err);
		_exit(abi);
	}
	wait(&abi);
	abi = WEXITSTATUS(abi);
	tcase_add_loop_test(tcase, test_attempts, 0, (int)(sizeof(attempts) / sizeof(attempts[0])));
	tcase_add_test(tcase, test_capabilities);
	tcase_add_test(tcase, test_memory);
	tcase_add_test(tcase, test_unreadable);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	shell("rm -rf $1");
	return failed ? 1 : 0;
}
