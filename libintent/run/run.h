/*
 * What the files of run/ share. Not installed.
 *
 *	agent.c    main(): options, places, the first words of the log
 *	runner.c   the loop: snapshot -> slices -> rounds -> status (slice.h)
 *	helper.c   the process that forks rounds (and its client side)
 *	round.c    one round, in its own process
 *	status.c   status documents and the lease they hang on
 *	serve.c    /metrics, /healthz, /status
 *	memory.c   what survives a restart: last good snapshot, known slices, removals
 *	confine.c  what runner and helper give up
 */
#ifndef INTENT_RUN_H
#define INTENT_RUN_H

#include <intent/agent.h>

/* Set once by agent.c; the helper and its rounds inherit it. */
struct intent__context {
	const struct intent_agent *agent;
	json_t *options;          /* all, by name; replaced by SIGHUP (runner only) */
	json_t *own_options;      /* the agent's rows alone: part of each slice's intent */
	const char *node;
	const char *store_url;
	const char *state_dir;
	bool once, dry_run, interactive;
};

/* ---- helper.c ---- */

struct intent__helper;
struct intent__settings;

struct intent__helper_events {
	/* A line of JSON from a round. */
	void (*on_message)(unsigned id, json_t *message, void *data);
	/* The round's process has ended and its last line was delivered. */
	void (*on_exit)(unsigned id, int status, void *data);
	/* The helper itself is gone: nothing can be run any more. */
	void (*on_gone)(void *data);
	void *data;
};

/*
 * Forks the helper. Before this call the process has opened no socket, lock, thread or curl
 * handle. `begin` is called in the helper, `run` is what a round's process does with its request and channel.
 */
int intent__helper_fork(void (*begin)(void *data), int (*run)(const json_t *request, int channel, void *data),
			void *data, struct intent__helper **ret_owned, struct intent_error *err);
int intent__helper_attach(struct intent__helper *helper, uv_loop_t *loop,
			  const struct intent__helper_events *events, struct intent_error *err);
/* Start a round; `id` is the caller's. */
int intent__helper_start(struct intent__helper *helper, unsigned id, const json_t *request,
			 struct intent_error *err);
/* A line to the round (an answer). */
int intent__helper_answer(struct intent__helper *helper, unsigned id, const char *line);
/* A signal to the round's process (group: to all of its process group). */
void intent__helper_signal(struct intent__helper *helper, unsigned id, int signal_number, bool group);
/* When the round is killed, is what works for it spared? By default it is killed, too. */
void intent__helper_spare(struct intent__helper *helper, unsigned id, bool spare);
void intent__helper_close(struct intent__helper *helper);
struct intent__helper *intent__helper_free(struct intent__helper *helper);

/* ---- round.c ---- */

/* Runs in the round's process; returns its exit status. `data` is the context. */
int intent__round_main(const json_t *request, int channel, void *data);

/* ---- memory.c ---- */

struct intent__memory;
/* read_only (--dry-run): nothing is made, swept or written. */
int intent__memory_open(const char *state_dir, bool read_only, struct intent__memory **ret_owned,
			struct intent_error *err);
struct intent__memory *intent__memory_free(struct intent__memory *memory);
/* Slices known from before: {name: how many things of ours were last seen in it}, borrowed. */
const json_t *intent__memory_slices(const struct intent__memory *memory);
/* Written durably, and only when it changes anything. */
int intent__memory_know(struct intent__memory *memory, const char *const *names, size_t count, struct intent_error *err);
/* So that after a restart it is known how much there is, before every slice has been looked at. */
int intent__memory_owned(const struct intent__memory *memory, const char *name);
void intent__memory_set_owned(struct intent__memory *memory, const char *name, int count);
/* Write the counts, if any changed: when all rounds are over, since each may change one. */
int intent__memory_flush(struct intent__memory *memory, struct intent_error *err);
int intent__memory_forget(struct intent__memory *memory, const char *name, struct intent_error *err);
/* `store`: which one, with its prefix. What hangs on a lease, and status, is not kept. */
int intent__memory_save(struct intent__memory *memory, const struct intent_snapshot *snapshot, const char *store,
			struct intent_error *err);
/* INTENT_EABSENT when there is none, or it is of another store. */
int intent__memory_load(struct intent__memory *memory, const char *store,
			struct intent_snapshot **ret_owned, struct intent_error *err);
/*
 * May these be removed? Counts distinct subjects of the last ten minutes, over all slices and
 * across restarts; a subject that was permitted counts once, however often it is asked for. The limit
 * is max_destroy, or when that is -1, half of what was `owned` in all slices before the first of them
 * went, and at least 3. 0 (and remembered), or INTENT_EDESTROY.
 */
int intent__memory_permit(struct intent__memory *memory, const char *slice, const json_t *subjects,
			  int64_t owned, int64_t max_destroy, struct intent_error *err);

/* ---- status.c ---- */

struct intent__status;
struct intent__status *intent__status_new(const struct intent__context *context, struct intent_store *store,
					  uv_loop_t *loop);
/* The document of a slice changed (stolen); NULL removes it. Written soon, in batches. */
void intent__status_set(struct intent__status *status, const char *slice, json_t *document);
/* The current document, borrowed, or NULL. */
const json_t *intent__status_get(const struct intent__status *status, const char *slice);
/* {slice: document}, borrowed. */
const json_t *intent__status_all(const struct intent__status *status);
/* --once: what stands in the store already; equal documents are not written again. */
void intent__status_seen(struct intent__status *status, const struct intent_snapshot *snapshot);
/* The store can be reached again. */
void intent__status_retry(struct intent__status *status);
/*
 * The session that documents hang on: borrowed, NULL while there is none. One is opened when there is a document to
 * write, when somebody wants one, and again when it was lost; each time, and each time that
 * this fails (with NULL), the callback is told.
 */
const char *intent__status_session(const struct intent__status *status);
void intent__status_want_session(struct intent__status *status);
void intent__status_on_session(struct intent__status *status, void (*callback)(const char *session, void *data),
			       void *data);
/* Write what is owed, close the lease, then call. */
void intent__status_finish(struct intent__status *status, void (*on_done)(void *data), void *data);
/* Another handle on the store (SIGHUP); everything is published again under a new lease. */
void intent__status_move(struct intent__status *status, struct intent_store *store);
struct intent__status *intent__status_free(struct intent__status *status);

/* ---- serve.c ---- */

struct intent__server;
struct intent__counters {
	uint64_t rounds[5];          /* by enum intent_state they ended in */
	uint64_t actions, failures;  /* actions done, actions that failed */
	uint64_t snapshots;
	bool store_up;
	int64_t started_ms;          /* wall clock */
};
/* address: "unix:PATH", "HOST:PORT", "none". */
int intent__server_start(uv_loop_t *loop, const char *address, const struct intent__context *context,
			 const struct intent__status *status, const struct intent__counters *counters,
			 struct intent__server **ret_owned, struct intent_error *err);
void intent__server_stop(struct intent__server *server);

/* ---- confine.c ---- */

/* The helper, and so its rounds, to what the agent says they need. `data` is the context. */
void intent__confine_helper(void *data);
/* The runner, once it has its socket and its state directory. */
void intent__confine_runner(const struct intent__context *context, const struct intent__settings *settings);

/* ---- notify.c ---- */

/* sd_notify(3): "READY=1" and friends; nothing without NOTIFY_SOCKET. */
void intent__notify(const char *state);
/* Half of WATCHDOG_USEC in ms, 0: no watchdog. */
int64_t intent__notify_interval(void);

/* ---- runner.c ---- */

struct intent__settings {
	int64_t interval_ms, splay_ms;
	int concurrency;
	int64_t max_destroy;         /* -1: half of what is owned, and more than 3 */
	const char *listen;
	/* SIGHUP: options parsed again into the context; the old ones stay on error. */
	int (*reload)(struct intent__context *context, struct intent__settings *settings, struct intent_error *err);
	int argc; char **argv;
};
/* The loop; returns the exit status. */
int intent__runner_main(struct intent__context *context, struct intent__settings *settings,
			struct intent__helper *helper);

#endif
