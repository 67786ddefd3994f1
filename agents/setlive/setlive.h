/*
 * What the files of pp-setlive share.
 *
 *	plan.c     what to do, from two documents; pure
 *	observe.c  what is there
 *	apply.c    what the verbs do
 *	agent.c    the table, options, main
 *
 * The observed document:
 *
 *	{"runit": "/etc/service",                where links go
 *	 "runit_missing": true,                  there is no such directory
 *	 "runas_error": "...",                   the service's user will not do
 *	 "installs": {"1.0": ["slug"],           installed, and the services its bin/launch means
 *	              "1.1": {"error": "..."}},  installed, but it cannot be run
 *	 "current": "1.0",                       the version that the link names; absent: no link
 *	 "current_foreign": "...",               what stands at <basedir>/current is not ours
 *	 "strays": ["/directory"],               holds leftovers of a killed round
 *	 "started_ms": 1200,                     since the active version was started, or since boot
 *	 "health": "",                           good; else why not; absent: it is not meant to run
 *	 "services": {
 *	   "slug": {"foreign": "..."}            somebody else's, or
 *	   "slug": {"linked": true,
 *	            "stale": ["run"],            files that are not as intent wants them
 *	            "supervised": true,          a runsv holds it
 *	            "want": "up",                what the supervisor is told, or will do at boot
 *	            "down": false,               a down file: stays down at boot
 *	            "started": {...}}}}          what it was last started with, see
 *setlive__wanted()
 */
#ifndef SETLIVE_H
#define SETLIVE_H

#include <intent/agent.h>
#include <intent/service.h>

int setlive_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		 struct intent_error *err);

/*
 * Everything that a running process saw of intent: it must be started again when any of
 * this changes. {"version", "basedir", "user_config"?, "environment"?, "runas"?}. New.
 */
json_t *setlive__wanted(const json_t *intent, const char *version);

int setlive__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		     struct intent_error *err);

/*
 * The services that an install means, or {"error"}; NULL: it is not there. The active one is locked
 * (shared) until the process ends, so that preparer cannot take it away meanwhile. New.
 */
json_t *setlive__install(const struct intent_site *site, const char *version, bool active);

extern const struct intent_verb setlive__verbs[];

#endif
