/*
 * For agents that publish whether an application is healthy on this node: reality/health/<app>/<cluster>/<node>, bound to
 * the agent's lease. Intent is that of intent_node_applications.
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
#ifndef INTENT_FACT_H
#define INTENT_FACT_H

#include <intent/agent.h>

/* A check that failed once is tried again so soon, before the application is called unhealthy. */
#define INTENT_FACT_CONFIRM_MS 1000

/*
 * The observed document. `look` is borrowed; NULL: nothing is meant to run. `interval_ms`: how often that is asked. Asks
 * the store, too, but mostly believes what was published. INTENT_EUNAVAILABLE: there is no session yet.
 */
int intent_fact_observe(struct intent_round *round, const json_t *look, int64_t interval_ms, json_t **ret_new,
			struct intent_error *err);

/* Pure: what to publish, to note and to withdraw. */
void intent_fact_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan);

int intent_fact_withdraw(struct intent_round *round, const json_t *action, struct intent_error *err);
int intent_fact_publish(struct intent_round *round, const json_t *action, struct intent_error *err);
int intent_fact_note(struct intent_round *round, const json_t *action, struct intent_error *err);

/*
 * Rows of an agent's verbs. Not DESTROYS: a fact is made again in a moment, and a good one that outlives its service is
 * the danger.
 */
#define INTENT_FACT_VERBS \
	{ "withdraw", INTENT_VERB_INDEPENDENT, intent_fact_withdraw }, \
	{ "publish", INTENT_VERB_INDEPENDENT, intent_fact_publish }, \
	{ "note", INTENT_VERB_INDEPENDENT, intent_fact_note }

#endif
