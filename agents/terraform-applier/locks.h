/* The locks that an apply is made under: kept while it runs, for as long as the store can be reached. */
#ifndef LOCKS_H
#define LOCKS_H

#include "applier.h"

/*
 * locks/stack/<world>/<name>, and locks/world/<lock> when the stack names one; a session of this round's own, so that
 * neither another agent nor this one's next process has it. INTENT_EBUSY names the holder; nothing is held then.
 */
int applier__locks_take(struct applier *applier, struct intent_error *err);
/* The strongest read: are they ours still? */
int applier__locks_verify(struct applier_locks *locks, struct intent_error *err);
/* Renew the session when it is time. */
void applier__locks_beat(struct applier_locks *locks);
/* It was not renewed for so long that somebody else may soon have them. */
bool applier__locks_lost(const struct applier_locks *locks);
void applier__locks_release(struct applier *applier, struct intent_error *err);

#endif
