/* Landlock by its three system calls: confine.h, and sandboxed children. */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/landlock.h>
#include <intent/confine.h>
#include <intent/file.h>
#include "world.h"

/* The first ABI cannot tell a rename from one directory to another from breaking out: it forbids both. */
#define ABI_MIN 2

/* By the ABI that brought them: the header may be older than the kernel. */
#define FS_TRUNCATE (1ull << 14)  /* 3 */
#define FS_IOCTL_DEV (1ull << 15) /* 5 */
#define NET_BIND_TCP (1ull << 0)  /* 4 */
#define SCOPE_ABSTRACT (1ull << 0) /* 6 */
#define SCOPE_SIGNAL (1ull << 1)  /* 6 */

#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ON_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

struct attributes { uint64_t files, net, scoped; };

static const struct { int abi; uint64_t files; } files_of_abi[] = {
	{1, LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | READ | LANDLOCK_ACCESS_FS_REMOVE_DIR |
	    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
	    LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
	    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM},
	{2, LANDLOCK_ACCESS_FS_REFER}, {3, FS_TRUNCATE}, {5, FS_IOCTL_DEV},
};

static int allow(int ruleset, int fd, uint64_t rights, struct intent_error *err)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return intent_fail_errno(err, "Landlock: a path cannot be looked at");
	if (!S_ISDIR(st.st_mode))
		rule.allowed_access &= ON_FILES;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return intent_fail_errno(err, "Landlock: cannot add a rule");
	return 0;
}

static int build(int ruleset, const struct intent__landlock *wanted, uint64_t rights, struct intent_error *err)
{
	int code = 0;

	for (size_t i = 0; i < wanted->count && !code; i++)
		code = allow(ruleset, wanted->fds[i], rights & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE, err);
	if (code || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		return code;
	return intent_fail_errno(err, "cannot set no-new-privileges");
}

int intent__landlock(const struct intent__landlock *wanted, int *ret_abi, struct intent_error *err)
{
	struct attributes attributes = {0};
	intent_close_auto int ruleset = -1;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	*ret_abi = abi < 0 ? 0 : (int)abi;
	if (abi < ABI_MIN)
		return intent_fail(err, -ENOSYS, "this kernel has no Landlock");
	for (size_t i = 0; i < sizeof(files_of_abi) / sizeof(*files_of_abi); i++)
		if (files_of_abi[i].abi <= abi)
			attributes.files |= files_of_abi[i].files;
	if (wanted->read)
		attributes.files &= ~(uint64_t)READ;
	attributes.net = abi >= 4 ? NET_BIND_TCP : 0;
	attributes.scoped = abi >= 6 ? SCOPE_SIGNAL | (wanted->abstract ? 0 : SCOPE_ABSTRACT) : 0;
	/* Trailing zeros are what an older kernel takes. */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
	if (ruleset < 0)
		return intent_fail_errno(err, "Landlock: cannot make a ruleset");
	if (build(ruleset, wanted, attributes.files, err) < 0)
		return err->code;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return intent_fail_errno(err, "Landlock: cannot enter it");
	return 0;
}

int intent_confine_files(const char *const *writable, bool abstract, int *ret_abi, struct intent_error *err)
{
	int fds[16], code = 0;
	struct intent__landlock wanted = {.fds = fds, .read = true, .abstract = abstract};

	for (; !code && *writable && wanted.count < sizeof(fds) / sizeof(*fds); writable++) {
		fds[wanted.count] = open(*writable, O_PATH | O_CLOEXEC);
		if (fds[wanted.count] >= 0)
			wanted.count++;
		else if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			code = intent_fail_errno(err, "%s, which is to be written to", *writable);
	}
	if (!code)
		code = intent__landlock(&wanted, ret_abi, err);
	while (wanted.count)
		close(fds[--wanted.count]);
	return code;
}
