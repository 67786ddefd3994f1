/*
 * Shutdown slots: how many nodes of a cluster may be down at once.
 *
 * One document per application and cluster, locks/<app>/<cluster>/shutdown, one slot per node:
 *
 *	{"slots": {"web1": {"holder": "setlive@web1", "since": "...", "version": "1.1", "target": "9f2c...",
 *	                    "fence": 3,            how often its node has taken it
 *	                    "waived": true,        taken without the test, see below
 *	                    "attempt": 1,          how often a retry was asked for (absent: 0)
 *	                    "failed": "was not healthy within 30s", "failed_at": "...",
 *	                    "instead": "1.0"}}}    set live in its place
 *
 * changed by compare-and-set and not bound to any session: only its node's setlive (or a person,
 * `ppctl lock break`) takes a slot away, so that neither a pause nor an expiry frees it while the service
 * is down. A slot with "failed" is *marked*: nobody takes a slot for its target any more.
 *
 * Beside it stand the facts of reality/health/<app>/<cluster>/. The document is read first, the
 * facts after it, and written only if it has not changed since: a node that took a slot in
 * between makes the write fail.
 *
 * The order of an update: read, take, write; verify what is read anew; stop; start; healthy; read, drop, write. It
 * begins with take in every round that stops something, even when the node holds a slot: a
 * release of an earlier round (of an agent that was killed, or that got no answer) may still be under way
 * and would free the slot of a stopped service. What take writes makes it fail.
 *
 * A slot that was taken without the test, because the service was found down, is *waived*. It serves to start
 * that service, not to stop it once it is healthy: for that its node must pass the test, and until
 * then others count it as if it had no slot. (Else ten nodes that were set up together and not released yet
 * might all be stopped at once.)
 *
 * All decisions are pure functions of these documents; t/unit/slots-model.c tries them in every
 * interleaving.
 */
#ifndef INTENT_SLOTS_H
#define INTENT_SLOTS_H

#include <intent/store.h>

/*
 * Is this fact of a node good? {"state": "healthy"} that somebody keeps alive: one that `--once` left
 * ("once") is not. `fact` may be NULL.
 */
bool intent_fact_is_good(const json_t *fact);

/* ---- the document ---- */

/* The node's slot, or NULL. `document` may be NULL: nobody has one. Borrowed. */
const json_t *intent_slots_find(const json_t *document, const char *node);

/* The slot that marks this target as failed, or NULL; *ret_node (may be NULL) whose it is. Borrowed. */
const json_t *intent_slots_marked(const json_t *document, const char *target, const char **ret_node);

/*
 * What a version would run with, as 16 hexadecimal digits: the version, its artifact, user_config, and
 * deploy_config but for what changes no process (hold, on_failure; min_nodes is in neither). The same on every
 * node; another one as soon as a person changes any of it, which is what lifts a mark.
 */
void intent_slots_target(const json_t *config, const json_t *deploy, char ret[17]);

struct intent_slots_claim {
	const char *node, *holder;        /* "web1", "setlive@web1" */
	const char *version, *target;     /* to be set live */
	int64_t min_nodes;                /* of config; 0: none are required */
	/* setlive's own findings; a missing or bad fact is neither. */
	bool is_down;       /* every service of it is told to be down and is down */
	bool is_unhealthy;  /* they run, but its own check says no: lets a waived slot serve to stop them */
};

/*
 * May the claim's node stop its service now? `facts`: {node: fact}. `now`: RFC 3339.
 *
 * 0: yes, once *ret_new (the document with the slot) is written; NULL: no slot is needed, because min_nodes is 0 and
 * the node holds none. INTENT_EWAITING: fewer than min_nodes others are healthy without a slot; the sentence
 * says how many, who holds slots and whose facts are missing or bad. INTENT_EUNHEALTHY: the
 * target is marked (with min_nodes 0, too); the sentence says by whom and how to try again.
 * INTENT_EMALFORMED. A slot that the node holds needs no further test, unless it is waived. It is
 * written anew in any case (see above), and for another target loses the mark of the old one.
 */
int intent_slots_take(const json_t *document, const json_t *facts, const struct intent_slots_claim *claim,
		      const char *now, json_t **ret_new, struct intent_error *err);

/*
 * Right before the stop, of a document that was read after the slot was written: does it still stand?
 * 0; INTENT_ECONFLICT: somebody took it away; INTENT_EUNHEALTHY: its target was marked
 * meanwhile. With min_nodes 0 none is needed.
 */
int intent_slots_verify(const json_t *document, const struct intent_slots_claim *claim, struct intent_error *err);

/*
 * The document without the node's slot; NULL (and 0) when it has none. *ret_new is an empty document, {},
 * when nobody else has one: the key goes.
 */
int intent_slots_drop(const json_t *document, const char *node, json_t **ret_new, struct intent_error *err);

/*
 * The document with the node's slot marked: its version failed, `instead` (may be NULL) is set live
 * in its place. A node without a slot gets one (waived). NULL when that target is marked by this node
 * already, with the same `instead`.
 */
int intent_slots_mark(const json_t *document, const struct intent_slots_claim *claim, const char *failed,
		      const char *instead, const char *now, json_t **ret_new, struct intent_error *err);

/* The document without marks, and each marked slot's attempt one higher; NULL when there is none. */
int intent_slots_retry(const json_t *document, json_t **ret_new, struct intent_error *err);

/* ---- in the store ---- */

struct intent_slots {
	char *key;                /* owned */
	json_t *document;         /* owned; NULL: there is none */
	uint64_t revision;        /* 0: there is none */
	json_t *facts;            /* {node: fact}, owned; what nobody keeps alive has "once": true,
				   * what cannot be understood is null */
};

/* With the strongest reads, the document first. A document that cannot be understood is INTENT_EMALFORMED. */
int intent_slots_read(struct intent_store *store, const char *app, const char *cluster,
		      struct intent_slots *ret, struct intent_error *err);
void intent_slots_release(struct intent_slots *slots);
/*
 * Write `document` ({} or one without slots: remove the key), if nothing has changed since it was read. INTENT_ECONFLICT:
 * read again and decide again. INTENT_EUNKNOWN likewise.
 */
int intent_slots_write(struct intent_store *store, const struct intent_slots *slots, const json_t *document,
		       struct intent_error *err);

#endif
