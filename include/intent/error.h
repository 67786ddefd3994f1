/*
 * Errors: a code and a sentence, on the caller's stack.
 *
 * Every function that can fail takes `struct intent_error *err` last and
 * returns 0 or a negative code; on failure it has filled *err and left its
 * other outputs (`ret_x`) untouched. The sentence names the object, the cause
 * and, where there is one, the way out. Whoever knows a subject adds it on the
 * way up with intent_wrap().
 *
 * A code is a negated errno value or one of the block below. Each code has
 * one row in a table (error.c): the reason word that the status document
 * shows, and what the slice is while the error stands.
 */
#ifndef INTENT_ERROR_H
#define INTENT_ERROR_H

#include <stdbool.h>
#include <intent/banned.h>

struct intent_error {
	int code;       /* 0: no error */
	char msg[512];  /* one line, no newline at its end */
};

/* Our own codes; far from errno (below 4096) and libuv's (down to -4095). */
enum {
	INTENT_EBASE = -20000,
	/* Permanent until somebody changes intent, an option or the world. */
	INTENT_EMALFORMED = -20001,  /* a document or bytes are not what they must be */
	INTENT_EREFUSED = -20002,    /* policy says no */
	INTENT_ENOTOURS = -20003,    /* the name is taken by something foreign */
	INTENT_EDIGEST = -20004,     /* digest or signature does not match */
	INTENT_EVANISHED = -20005,   /* all intent of a node is gone at once */
	INTENT_EDESTROY = -20006,    /* more removals than --max-destroy */
	INTENT_ETOOBIG = -20007,     /* a bound on outside input was met */
	INTENT_EUSAGE = -20008,      /* unknown option, impossible combination */
	INTENT_ECHANGED = -20009,    /* the digest of an installed version changed */
	INTENT_ECLASH = -20010,      /* two documents claim the same thing */
	INTENT_EAPPROVAL = -20015,   /* a person must approve the plan */
	INTENT_EOUTCOME = -20016,    /* an apply was cut short: what came of it is not known */
	INTENT_EORPHANED = -20017,   /* the document is gone, what it made is not */
	/* A precondition is missing: nobody is at fault, it may come. */
	INTENT_EWAITING = -20020,    /* some precondition */
	INTENT_ENOTINSTALLED = -20021, /* the version is not installed yet */
	INTENT_ENOCONFIG = -20022,   /* cluster documents not written yet */
	INTENT_EBUSY = -20023,       /* somebody else holds the lock */
	INTENT_EUNSUPERVISED = -20024, /* no supervisor has taken the service yet */
	INTENT_EENGINE = -20027,     /* no container engine answers */
	INTENT_EIMAGE = -20028,      /* an image is not there */
	INTENT_EOUTPUT = -20025,     /* a value that is asked for is not there */
	INTENT_EENVIRONMENT = -20026, /* the directory of a service's variables is not there */
	/* Temporary: try again, with backoff. */
	INTENT_EUNAVAILABLE = -20040, /* store or server unreachable, no leader */
	INTENT_EUNKNOWN = -20041,    /* a write was sent; its outcome is unknown */
	INTENT_ECONFLICT = -20042,   /* compare failed: somebody wrote in between */
	INTENT_EUNHEALTHY = -20043,  /* not healthy by its deadline */
	INTENT_ETIMEOUT = -20044,    /* a deadline passed */
	INTENT_ECHILD = -20045,      /* a child process failed */
	INTENT_ESTALE = -20046,      /* intent changed while the round ran */
	INTENT_ECRASHED = -20047,    /* a round ended without a result */
	INTENT_EABSENT = -20048,     /* 404 or ENOENT: it really is not there */
	INTENT_ESOURCE = -20049,     /* where a value comes from cannot be read */
};

/*
 * Memory: every malloc(), of whatever library, that finds none ends the process, with a line that says so and this
 * status, which is "temporary". So nothing of ours returns for want of memory, and no document is ever
 * short of a member for it. Who waits for a process of ours takes its end for what it is: unfinished.
 */
enum { INTENT_EXIT_NO_MEMORY = 111 };

/* What a slice is while an error stands. */
enum intent_state {
	INTENT_CONVERGED,
	INTENT_CONVERGING,
	INTENT_WAITING,
	INTENT_BLOCKED,
	INTENT_FAILING,
};

/* "converged", "waiting", ...: static. */
const char *intent_state_name(enum intent_state state);

/* The state an error puts its slice into; unknown codes and errno: failing. */
enum intent_state intent_error_state(int code);

/* CamelCase reason for the status document, e.g. "DigestMismatch"; static. */
const char *intent_error_reason(int code);

/* The code whose reason is this word, or 0. */
int intent_error_from_reason(const char *reason);

/* The one predicate of the loop: does trying again, unchanged, make sense? */
bool intent_error_is_temporary(int code);

/*
 * Is it a negated errno? Then nothing is known of the thing that was looked at, and a look that failed is never
 * an absence; while INTENT_EABSENT, INTENT_ENOTOURS, INTENT_EMALFORMED say what was found.
 */
bool intent_error_is_errno(int code);

/* Fill *err and return code: `return intent_fail(err, -EIO, "...", x);` */
int intent_fail(struct intent_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4), nonnull(1, 3)));

/* As intent_fail() with -errno, and ": <words of errno>" at the end. */
int intent_fail_errno(struct intent_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3), nonnull(1, 2)));

/* Put "subject: " before the message; returns err->code. */
int intent_wrap(struct intent_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3), nonnull(1, 2)));

#endif
