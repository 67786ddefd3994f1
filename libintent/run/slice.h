/*
 * The runner and its slices. Not installed.
 *
 *	runner.c   the loop: store, signals, beginning and end
 *	rounds.c   what is due is started, what it says is heard
 *	reslice.c  intent comes in
 *	slice.c    what becomes of one slice: status, when next, the end of its rounds
 *	paths.c    waking slices when a path changes
 */
#ifndef INTENT_SLICE_H
#define INTENT_SLICE_H

#include "run.h"

#define RUNNER_SIGNALS 4

struct intent__paths; /* what a slice watches in the file system */

struct intent__slice {
	struct intent__slice *next;
	char *name;
	json_t *intent;             /* NULL: `trouble` says why there is none */
	json_t *asked;              /* the intent of the round under way, or of the last one */
	json_t *wake;               /* what else makes it due when it changes; NULL: nothing */
	char digest[65];            /* of the intent of the last round: libcrypto stays out of the runner */
	struct intent_error trouble;
	unsigned round;             /* id of the round under way; 0: none */
	int64_t due_ms;             /* next round (monotonic); INT64_MAX: when woken */
	int64_t heard_ms;           /* last word of the round under way, or when it ended */
	int64_t began_ms;           /* wall clock, of the round under way or the last one */
	int stop_signal;            /* what ends that round */
	json_t *result;             /* what that round said; owned */
	struct intent__paths *paths;
	enum intent_state state;
	int64_t since_ms;           /* wall clock, of state and reason */
	int attempts, owned, actions;
	bool woken;                 /* a path it watches changed, or SIGUSR1 came, while the round ran */
	bool demanded;              /* the next round is one that a person asked for */
	bool again;                 /* look again right after the round */
	bool asks_session;          /* the round under way waits to be told the session */
	bool unbound;               /* a round had to do without one */
	bool announce, killed, ran, work;
};

struct intent__runner {
	struct intent__context *context;
	struct intent__settings *settings;
	struct intent__helper *helper;
	struct intent__memory *memory;
	struct intent__status *status;
	struct intent__server *server;
	struct intent__counters counters;
	struct intent_store *store;
	struct intent_watch *watch;
	struct intent_snapshot *snapshot;
	json_t *prefixes, *discovered;
	struct intent__slice *slices;
	unsigned last_round;
	unsigned sessions;          /* opened so far, one after another */
	int running;
	uv_loop_t loop;
	uv_timer_t timer, resync, watchdog;
	uv_timer_cb schedule;       /* of `timer`: starts what is due */
	uv_signal_t signals[RUNNER_SIGNALS];
	char *store_identity;       /* URL and prefix: whose snapshot is kept */
	bool deaf;                  /* it was said that a path cannot be watched */
	bool have_snapshot, store_failed, stopping, interrupted, finishing, ended, ready, helper_gone;
	int exit_status;
};

/* ---- rounds.c ---- */

/* Hear of rounds through the helper. */
int intent__rounds_attach(struct intent__runner *runner, struct intent_error *err);
/* Start what is due, end what is silent, then sleep until the next is. */
void intent__rounds_schedule(struct intent__runner *runner);
/* How much there is of each slice, for after a restart. */
void intent__rounds_keep_counts(struct intent__runner *runner);
/* Start no more; the loop ends once rounds and status are through. */
void intent__rounds_stop(struct intent__runner *runner, int exit_status);

/* ---- reslice.c ---- */

/* The slices anew from runner->snapshot: changed ones become due now. */
void intent__runner_reslice(struct intent__runner *runner);
/* Every slice due now. */
void intent__runner_resync(struct intent__runner *runner);
/* Ask the agent which slices the world holds something of. */
void intent__runner_discover(struct intent__runner *runner);

/* ---- slice.c ---- */

/* Names that come in the order of the slices are found at once when `last` is the one found before; NULL: at the beginning. */
struct intent__slice *intent__slice_find(struct intent__runner *runner, struct intent__slice *last, const char *name);
struct intent__slice *intent__slice_by_round(struct intent__runner *runner, unsigned id);
struct intent__slice *intent__slice_add(struct intent__runner *runner, const char *name);
/* With its status. */
void intent__slice_drop(struct intent__runner *runner, struct intent__slice *slice);
/* All, and what is published of them stays. */
void intent__runner_drop_slices(struct intent__runner *runner);

/* Its status document, of slice->state. */
void intent__slice_publish(struct intent__runner *runner, struct intent__slice *slice, const char *reason,
			   const char *message, const json_t *detail);
void intent__slice_progress(struct intent__runner *runner, struct intent__slice *slice, const json_t *progress);
/* The round has ended with slice->result (NULL: it said nothing): state, status, when next. */
void intent__slice_finish(struct intent__runner *runner, struct intent__slice *slice, int status);
/* A round at once, or right after the one under way. */
void intent__slice_look_now(const struct intent__runner *runner, struct intent__slice *slice);

/* A round of this slice wants to know the session. */
void intent__slice_ask_session(struct intent__runner *runner, struct intent__slice *slice);
/* The session was opened, or (NULL) could not be. */
void intent__runner_session(struct intent__runner *runner, const char *session);

/* ---- paths.c ---- */

/* `list`: array of strings; the set replaces the one before. `wake`: one of them changed. */
void intent__paths_set(struct intent__runner *runner, struct intent__slice *slice, const json_t *list,
		       void (*wake)(struct intent__runner *runner, struct intent__slice *slice));

#endif
