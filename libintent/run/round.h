/*
 * One round, seen from inside its process. Not installed.
 *
 *	round.c        observe, plan, apply, until the plan is empty
 *	apply.c        carrying out a plan
 *	confirm.c      before anything is removed
 *	round-self.c   what the round knows of itself; its words with the runner
 */
#ifndef INTENT_ROUND_H
#define INTENT_ROUND_H

#include <signal.h>
#include "run.h"

struct intent_round {
	const struct intent__context *context;
	const char *slice;
	const json_t *intent;
	int channel;
	struct intent_store *store;
	char *session;             /* owned; NULL: not known yet */
	bool demanded;             /* by a person */
	bool aside;                /* in a process of one action: the channel's answers are not for us */
	json_t *detail, *watch;
	json_t *progress;          /* not sent yet */
	int64_t progress_sent, again_ms, patience_ms;
	int owned;
	int actions;               /* done in this round */
	bool interruptible;        /* a stop is one SIGINT now, never SIGKILL */
};

/* SIGTERM or SIGINT has come: the agent ends, and the plan is not gone on with. SIGUSR1: other intent has come. */
extern volatile sig_atomic_t intent__round_stop_requested, intent__round_outdated;
/* The helper has kept them blocked until here: none is lost, none ends us unasked. */
void intent__round_catch_signals(void);

/* A line of JSON to the runner. */
void intent__round_tell(struct intent_round *round, const json_t *message);

/* The rest of the runner's answer to a question of this kind ("session", "destroy"); INTENT_EUNAVAILABLE. */
int intent__round_answer(struct intent_round *round, const char *kind, int64_t patience_ms, char *rest, size_t size,
			 struct intent_error *err);

/* Is intent, read again, still what this round was started for? */
int intent__round_confirm(struct intent_round *round, struct intent_error *err);
/* May these subjects be removed? The runner counts over all slices. */
int intent__round_ask(struct intent_round *round, const json_t *subjects, struct intent_error *err);

/* The actions of a plan; the first failure, after whatever need not stop for it. */
int intent__round_apply(struct intent_round *round, const json_t *actions, struct intent_error *err);

#endif
