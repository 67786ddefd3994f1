/*
 * Health checks of a service: one verdict from `deploy_config.health`.
 *
 *	{"up": "2s",                          up without a break for so long (default 1s)
 *	 "check": true,                       run <install>/bin/check (default: when it is there)
 *	 "http": "http://127.0.0.1:1212/_status",  or {"port": 1212, "path": "/_status"}: status 2xx
 *	 "tcp": 1212,                         connects
 *	 "timeout": "5s",                     of one check
 *	 "deadline": "30s"}                   from start until healthy (for setlive)
 *
 * All that are named must be good. A check that hangs is a failed check.
 */
#ifndef INTENT_HEALTH_H
#define INTENT_HEALTH_H

#include <sys/types.h>
#include <intent/child.h>
#include <intent/json.h>

extern const struct intent_json_field intent_health_fields[]; /* a table for intent_json_check() */

struct intent_health_subject {
	const char *install;       /* where bin/check is, the directory it runs in; may be NULL */
	uid_t uid; gid_t gid;      /* as whom bin/check runs; both 0: oneself */
	const char *const *env;    /* its environment, NULL-terminated */
	const char *address;       /* of tcp, and of http without a host; NULL: 127.0.0.1 */
	int64_t up_ms;             /* how long the process has been up; < 0: it is down */
	int exits;                 /* ends in the last ten minutes that nobody asked for */
	/* How bin/check is run; NULL: intent_child_check(). */
	int (*run)(const struct intent_child_options *options, void *data, struct intent_error *err);
	void *data;
};

/*
 * One look. 0: healthy. INTENT_EUNHEALTHY: the sentence names the check and what it said.
 * `health` may be NULL (all defaults).
 */
int intent_health_check(const json_t *health, const struct intent_health_subject *subject,
			struct intent_error *err);

/*
 * How long it must have been up, in ms: `up`, and ten seconds more for each of its exits, a minute at most. So what
 * ends again and again is never healthy, however long it lives each time.
 */
int64_t intent_health_up(const json_t *health, int exits);

/* `deadline` of the document in ms (default 30 s). */
int64_t intent_health_deadline(const json_t *health);

#endif
