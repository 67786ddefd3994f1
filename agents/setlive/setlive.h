/*
 * What the files of pp-setlive share.
 *
 *	plan.c, plan-*.c   what to do, from two documents; pure
 *	observe.c          what is there
 *	apply.c            what the verbs do
 *	agent.c            the table, options, main
 *
 * The observed document:
 *
 *	{"runit": "/etc/service",                where links go
 *	 "supervisor_error", "runas_error": "...", the supervisor, the service's user, will not do
 *	 "installs": {"1.0": ["slug"],           installed, and the services its bin/launch means
 *	              "1.1": {"error": "..."}},  installed, but it cannot be run
 *	 "hooks": {"1.0": ["disable", "enable"]}, which of these bin/ has
 *	 "current": "1.0",                       the version that the link names; absent: no link
 *	 "current_foreign": "...",               what stands at <basedir>/current is not ours
 *	 "previous": "0.9",                      what that link names, if it is installed: healthy here before
 *	 "strays": ["/directory"],               holds leftovers of a killed round
 *	 "checked": "1.0", "health": "",         health of that version: good; else why not; absent: not looked at
 *	 "started_ms": 1200,                     since it was started, or since boot
 *	 "envdir": "9f2c...",                    digest of the variables that deploy_config.envdir holds; or
 *	 "envdir_error": {"code", "message"},    why they cannot be had
 *	 "hold", "slot", "marked", "fact", "elsewhere", "store_error": see rolling.h; of the store nothing is
 *	                                         read where nothing depends on it
 *	 "services": {
 *	   "slug": {"foreign": "..."}            somebody else's, or
 *	   "slug": {"linked": true,
 *	            "stale": ["run"],            files that are not as intent wants them
 *	            "supervised": true,          the supervisor holds it
 *	            "want": "up",                what the supervisor is told, or will do at boot
 *	            "running": true,             its program runs
 *	            "down": false,               it stays down at boot
 *	            "started": {...}}}}          what it was last started with: setlive__wanted(), and
 *
 *	            "settled": true              it has been healthy since
 *	            "enabled": true, false       bin/enable has run since; bin/disable may have
 *	            "slot": true                 it may hold a shutdown slot
 *	            "attempt": 1                 of its slot, then
 *	            "instead_for": "9f2c..."     it stands in for what failed with this target
 */
#ifndef SETLIVE_H
#define SETLIVE_H

#include <intent/agent.h>
#include <intent/service.h>

int setlive_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
		 struct intent_error *err);

/*
 * Everything that a running process saw of intent: it must be started again when any of
 * this changes. {"version", "basedir"}, and "user_config", "environment", "runas", "limits", "restart" where
 * there are such; "envdir", what was observed of it. New.
 */
json_t *setlive__wanted(const json_t *intent, const json_t *observed, const char *version);
/* Was it started with all that, whatever else was noted? */
bool setlive__is_as_wanted(const json_t *started, const json_t *wanted);

int setlive__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		     struct intent_error *err);

extern const struct intent_verb setlive__verbs[];

#endif
