/* One git repository on a person's machine. Between ppctl's own files. */
#ifndef PPCTL_REPOSITORY_H
#define PPCTL_REPOSITORY_H

#include <intent/source.h>
#include "ppctl.h"

struct repository {
	const char *url;        /* borrowed, all: what git takes */
	const char *ref;        /* NULL: the default branch */
	const char *directory;  /* absolute */
	/* A person's terminal is git's too: what it says goes there, and it may ask for a password. */
	bool foreground;
	/* Otherwise: how far git is, "Receiving objects: 45%". May be NULL. */
	void (*on_progress)(const char *phase, void *data);
	void *data;
};

enum repository_outcome {
	REPOSITORY_CLONED, REPOSITORY_UPDATED, REPOSITORY_CURRENT,
	REPOSITORY_LEFT,   /* as it is: what a person did in it comes first; words say what he can do */
	REPOSITORY_FAILED,
	REPOSITORY_ASKS,   /* failed, because nobody could be asked for a password */
};
#define REPOSITORY_WORDS 400

/*
 * Clone it, or fast-forward the branch that it is on to what that follows. A tree with changes, a branch with commits
 * of its own beside new ones, a directory that is no repository: left alone. Changes this process's environment: call
 * it in a child.
 */
enum repository_outcome repository_bring(const struct repository *repository, char words[REPOSITORY_WORDS]);
/* The same in a process of its own, without its end: *ret_fd gives lines "p PHASE" and one "r OUTCOME WORDS". */
pid_t repository_start(const struct repository *repository, int *ret_fd);
/* ... waited for. */
enum repository_outcome repository_run(const struct repository *repository, char words[REPOSITORY_WORDS]);

#endif
