/*
 * For agents that replace what runs, node by node: holds and shutdown slots as a round needs them.
 *
 * Looking is for observe(): it reads the store as a watch would, and what cannot be read is a member of
 * the observed document, not an error. Everything else is for apply(): strongest reads, and writes that are
 * tried again when somebody else wrote in between. Intent is that of intent_node_applications.
 */
#ifndef INTENT_ROLLING_H
#define INTENT_ROLLING_H

#include <intent/agent.h>
#include <intent/slots.h>

/* "hold": a hold in force, as a sentence. The slice is looked at again when it ends. */
void intent_rolling_hold(struct intent_round *round, json_t *observed);

/*
 *	"slot": {...}                             this node's, in its cluster
 *	"marked": {"node": "web2", "failed": ...} whose slot says that the target failed
 *	"fact": true                              the published fact of this node is good (only with a slot)
 *	"elsewhere": {"old": true}                clusters of which this node still holds a slot, though it
 *	                                          belongs to them no more; is the fact there good?
 *	"store_error": "..."                      none of this is known
 */
void intent_rolling_look(struct intent_round *round, json_t *observed);

/* Take the slot: as intent_slots_take(); INTENT_EWAITING makes the slice due again in 1 to 5 s. */
int intent_rolling_take(struct intent_round *round, const struct intent_slots_claim *claim, struct intent_error *err);

/*
 * At the last moment: is there no hold, and (`claim` may be NULL: none is needed) does our slot stand? One that
 * is marked will do for the version that it names instead. A store that cannot be read is an error only
 * with a claim. INTENT_EWAITING: on hold.
 */
int intent_rolling_verify(struct intent_round *round, const struct intent_slots_claim *claim, struct intent_error *err);

/* Mark the slot: as intent_slots_mark(). */
int intent_rolling_mark(struct intent_round *round, const struct intent_slots_claim *claim, const char *failed,
			const char *instead, struct intent_error *err);

/*
 * Give back the slot of a cluster, if there is one. `version`: it runs and its own check is good, and with
 * `confirmed` the fact must be good, too, and of that version if it names one; NULL: nothing runs, and no
 * good fact may be left. INTENT_EWAITING: the fact says otherwise.
 */
int intent_rolling_release(struct intent_round *round, const char *cluster, const char *version, bool confirmed,
			   struct intent_error *err);

#endif
