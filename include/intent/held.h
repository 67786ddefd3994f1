/*
 * The store's locks that long work is done under: kept while it runs, for as long as the store can be reached.
 *
 * They hang on a session of their own, not on the agent's lease: neither another agent nor this one's next
 * process has it.
 */
#ifndef INTENT_HELD_H
#define INTENT_HELD_H

#include <intent/store.h>

#define INTENT_HELD_MAX 4 /* locks held together */

struct intent_held;

/*
 * All of them or none, in this order; `store` is borrowed until release. `holder` (borrowed) says who: see
 * intent_lock_acquire(). INTENT_EBUSY names the holder that is in the way.
 */
int intent_held_take(struct intent_store *store, const char *const *keys, size_t count, const json_t *holder,
		     struct intent_held **ret_owned, struct intent_error *err);
/* The strongest read: are they ours still? */
int intent_held_verify(struct intent_held *held, struct intent_error *err);
/* Renew the session when it is time: to be called several times a second while the work lasts. */
void intent_held_beat(struct intent_held *held);
/* It was not renewed for so long that somebody else may soon have them. */
bool intent_held_lost(const struct intent_held *held);
/* Takes NULL, returns NULL. What cannot be given back goes with the session's end. */
struct intent_held *intent_held_release(struct intent_held *held);

/* {"key", "holder", "since"} of the first of them that somebody holds; NULL, 0: nobody. New. */
int intent_held_look(struct intent_store *store, const char *const *keys, size_t count, json_t **ret_new,
		     struct intent_error *err);

#endif
