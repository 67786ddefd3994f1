/*
 * What the files of pp-health-reporter share.
 *
 *	plan.c     what to say of a service, and when; pure
 *	service.c  the look at the service
 *	observe.c  the fact that stands, what was found before, all of it together
 *	note.c     what one round leaves for the next
 *	agent.c    what the verbs do, the table, options, main
 *
 * The observed document; times are CLOCK_BOOTTIME in ms, so that no step of the clock matters:
 *
 *	{"now_ms": 5000000, "now": "2026-...",   when the look ended; the second only to be shown
 *	 "host": "web1.example.com",
 *	 "once": true,                           there is no lease: --once
 *	 "look": {"found": "good",               "bad", or "unseen": nobody can tell
 *	          "reason": "...", "code": -13,  why not good; of the error that stands in the way
 *	          "version": "1.0", "up_ms": 0}, the least of its services; -1: one is down
 *	                                         no look: nothing is meant to run here
 *	 "fact": {...},                          what stands at the key and is ours to change
 *	 "bound": false,                         ... but not on our lease
 *	 "keeper": "web2",                       somebody else's lease holds it: their host, and the lease
 *	 "elsewhere": ["cluster"],               where a fact of ours must go
 *	 "history": {...}}                       what was found before, of this boot and cluster:
 *
 *	{"found": "good", "at": 4000000,         the last finding, since when
 *	 "changes": [4000000],                   when it changed lately, oldest first
 *	 "fact": {...}, "told_at": 4000000,      what was published, and when
 *	 "state_at": 3000000}                    since when that is its state
 *
 * which stands in <state-dir>/fact-<app>.json, together with the boot, the cluster, and the session that
 * the fact was bound to.
 */
#ifndef REPORTER_H
#define REPORTER_H

#include <intent/agent.h>

/* A check that failed once is tried again so soon, before the service is called unhealthy. */
#define REPORTER_CONFIRM_MS 1000

int health_reporter_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			 struct intent_error *err);

int reporter__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		      struct intent_error *err);

/*
 * The "look" of the observed document; NULL when nothing is meant to run. New. Watches the services, and
 * asks for the next look.
 */
json_t *reporter__look(struct intent_round *round, const json_t *intent, int64_t interval_ms);

/* reality/health/<app>/<cluster>/<node>; owned. */
char *reporter__key(const json_t *intent, const char *cluster);

/* ---- the note: what an application's rounds leave for the next ones ---- */

/* {"boot", "cluster", "session", "history"?}; an empty object when there is none. New. */
json_t *reporter__note_read(const struct intent_round *round);
int reporter__note_write(const struct intent_round *round, const char *session, const json_t *history,
			 struct intent_error *err);
int reporter__note_remove(const struct intent_round *round, struct intent_error *err);

/* ---- what stands in the store ---- */

/*
 * Whose a fact is, by the session it is bound to: `session` is ours, NULL with --once; the note's was that of the
 * runs before this one. One without a session is ours, since the key is.
 */
bool reporter__is_ours(const struct intent_entry *entry, const char *session, const json_t *note);

#endif
