/* What the files of world/ share among themselves. Not installed. */
#ifndef INTENT_WORLD_H
#define INTENT_WORLD_H

#include <intent/error.h>
#include <intent/sandbox.h>

/* Split a path: its open parent directory (close it) and the last component, borrowed. */
int intent__open_parent(const char *path, const char **ret_name, struct intent_error *err);

/* Load the filter of a kind of sandboxed child: for good. A kernel without seccomp is no error. */
int intent__seccomp(enum intent_sandbox_kind kind, struct intent_error *err);

/* As confine.h has it: writing is allowed below `fds` only, and reading, unless `read`, too. */
struct intent__landlock {
	const int *fds;
	size_t count;
	bool read, abstract;
};
int intent__landlock(const struct intent__landlock *wanted, int *ret_abi, struct intent_error *err);

#endif
