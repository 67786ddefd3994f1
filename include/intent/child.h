/*
 * Child processes: argv in, exit status and bounded output out, a deadline, and
 * nothing of the family left behind.
 *
 * A child runs in its own process group, with stdin from /dev/null (or a given
 * descriptor), only the environment it is given, default signal handling, and no
 * descriptor but 0, 1, 2. At its deadline the whole group gets SIGTERM (or what
 * `stop` says), and SIGKILL after the grace period. When the child has ended, what
 * remains of its group is killed. It does not outlive who started it: then it gets SIGKILL, or with grace_ms -1 the
 * stop signal; and what is left of a round that is killed goes with it (helper.c).
 */
#ifndef INTENT_CHILD_H
#define INTENT_CHILD_H

#include <sys/types.h>
#include <intent/text.h>

struct intent_child_options {
	const char *const *argv;     /* NULL-terminated; argv[0] with '/' or found on PATH */
	const char *const *env;      /* NULL-terminated "NAME=value"; NULL: PATH, LANG, TZ of ours */
	const char *directory;       /* NULL: ours */
	int stdin_fd;                /* -1 or 0: /dev/null */
	int64_t deadline_ms;         /* from start; 0: none */
	int64_t grace_ms;            /* between stop signal and SIGKILL; 0: 2000; -1: never SIGKILL */
	int stop_signal;             /* 0: SIGTERM */
	size_t output_max;           /* bytes kept of stdout, and of stderr; 0: 64 KiB; the rest is read and dropped */
	uid_t uid; gid_t gid;        /* both 0: stay; else setgroups({gid}), setgid, setuid */
	/* Asked several times a second while it runs: is it to be stopped now, as at its deadline? (may be NULL) */
	bool (*cancelled)(void *data);
	/* Called for each full line of stdout as it comes (may be NULL). */
	void (*on_line)(const char *line, void *data);
	void *data;
};

struct intent_child_result {
	int status;            /* as waitpid(2) gives it */
	bool timed_out, cancelled;
	struct intent_text out; /* what it said on stdout; owned */
	struct intent_text err; /* ... on stderr; owned */
};

void intent_child_result_release(struct intent_child_result *result);

/*
 * Run to the end. Returns 0 when the child ran at all, whatever its status; INTENT_EABSENT
 * when there is no such program; INTENT_ETIMEOUT (result filled in) when it had to be stopped, INTENT_ESTALE (likewise)
 * when it was cancelled.
 */
int intent_child_run(const struct intent_child_options *options,
		     struct intent_child_result *ret, struct intent_error *err);

/* As intent_child_run, and any status but exit 0 is INTENT_ECHILD with the last line it said. */
int intent_child_check(const struct intent_child_options *options, struct intent_error *err);

/*
 * What children of foreign programs get of our environment: PATH, locale, TZ, TMPDIR, certificates, proxies and
 * the variables whose names fit `patterns` ("AWS_* TF_VAR_*", apart by blanks or commas; may be NULL), then
 * `more` (NULL-terminated "NAME=value"; may be NULL). New, with each string.
 */
char **intent_child_environment(const char *patterns, const char *const *more);
char **intent_child_environment_free(char **env); /* takes NULL, returns NULL */

/* "exit status 3", "killed by signal 9 (Killed)". */
void intent_child_status_words(int status, char out[64]);

#endif
