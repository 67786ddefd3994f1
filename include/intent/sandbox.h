/*
 * A child process that parses foreign bytes, or talks to the network, with nothing but what it
 * was given: other descriptors are closed, the user is another one, no program can be started,
 * and most system calls are refused (seccomp). It answers in messages of a fixed form, so that
 * its parent, who may be root, parses nothing.
 */
#ifndef INTENT_SANDBOX_H
#define INTENT_SANDBOX_H

#include <sys/types.h>
#include <stdint.h>
#include <intent/error.h>

enum intent_sandbox_kind {
	INTENT_SANDBOX_NETWORK, /* sockets, reading files; makes and changes no file */
	INTENT_SANDBOX_FILES,   /* makes files below descriptors it holds */
	INTENT_SANDBOX_PURE,    /* computes */
};

struct intent_sandbox_say { /* from the child to its parent */
	int fd;
	uint64_t numbers[4];
};

struct intent_sandbox {
	const char *name;           /* "unpacker": for messages */
	enum intent_sandbox_kind kind;
	uid_t uid; gid_t gid;       /* both 0: stay who we are, but without capabilities */
	const int *keep;            /* descriptors it may use, besides standard error */
	size_t keep_count;          /* at most 8 */
	uint64_t memory;            /* address space in bytes; 0: unbounded */
	uint64_t file_size;         /* FILES: of each file; 0: unbounded */
	/* Runs in the child; its code, *err and say->numbers are what intent_sandbox_finish() gives. */
	int (*run)(struct intent_sandbox_say *say, void *data, struct intent_error *err);
	void *data;
};

struct intent_sandbox_child { pid_t pid; int fd; const char *name; };
#define INTENT_SANDBOX_CHILD_INIT {-1, -1, NULL}

int intent_sandbox_start(const struct intent_sandbox *sandbox, struct intent_sandbox_child *ret,
			 struct intent_error *err);

/* In the child: send the numbers as they are now. */
void intent_sandbox_report(struct intent_sandbox_say *say);

/*
 * Wait for a report. 0, or what the child ended with; then, and when it ended well without
 * one (*ret_ended), it is gone.
 */
int intent_sandbox_wait(struct intent_sandbox_child *child, uint64_t numbers[4], bool *ret_ended,
			struct intent_error *err);

/* Wait for its end, and return its code. INTENT_ECHILD when it ended without a word. `numbers` may be NULL. */
int intent_sandbox_finish(struct intent_sandbox_child *child, uint64_t numbers[4], struct intent_error *err);

/* End it now. One that has ended, or never began, is fine. */
void intent_sandbox_stop(struct intent_sandbox_child *child);

#endif
