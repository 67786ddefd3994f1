/*
 * An agent: three functions over JSON documents, and a table.
 *
 *	observe(intent) -> observed     looks at the world, changes nothing
 *	plan(intent, observed) -> plan  pure (plan.c)
 *	apply(action)                   does one, safe to repeat
 *
 * intent_agent_main() is the rest: options, store, watch, rounds, status, metrics.
 *
 * Each round of each slice runs in a process of its own: straight-line blocking code, nothing
 * survives it but the world it changed.
 */
#ifndef INTENT_AGENT_H
#define INTENT_AGENT_H

#include <intent/log.h>
#include <intent/option.h>
#include <intent/plan.h>
#include <intent/store.h>

struct intent_round; /* one round of one slice, in its own process */

enum {
	INTENT_VERB_DESTROYS = 1,  /* needs a strongest re-read of intent and counts against --max-destroy */
	INTENT_VERB_INDEPENDENT = 4, /* its failure does not stop the actions after it */
	INTENT_VERB_ASIDE = 8,       /* each in a process of its own, side by side with its neighbours
				      * of this kind: what apply leaves in memory is lost (details,
				      * watches); implies INDEPENDENT */
	INTENT_VERB_STOP_INT = 2,  /* at a stop: one SIGINT to the process group, then wait; never SIGKILL */
};

struct intent_verb {
	const char *name;
	unsigned flags;
	/* Safe to repeat. `action` is borrowed. */
	int (*apply)(struct intent_round *round, const json_t *action, struct intent_error *err);
};

/*
 * How a snapshot becomes slices. Both functions are pure. `options` are the parsed options
 * (with "node").
 */
struct intent_slicer {
	/* Which prefixes to watch, given what is known: a new array of strings. Called again
	 * after each snapshot until the set stays the same. */
	json_t *(*prefixes)(const struct intent_snapshot *snapshot, const json_t *options);
	/*
	 * Optional beside "intent": "wake", any JSON: when only that changes the slice becomes due at once, but it
	 * is no intent: not in the digest, not seen by the round, and a round under way is not outdated.
	 *
	 * slice name -> {"intent": {...}} or {"error": {"code", "message"}} (that slice alone
	 * is in trouble), new. `known` (array of names, borrowed) are slices that the agent
	 * knows from before; those without intent any more appear as
	 * {"intent": {"app": ..., "absent": true}}, or with INTENT_EVANISHED when everything is gone.
	 */
	json_t *(*slices)(const struct intent_snapshot *snapshot, const json_t *options, const json_t *known);
};

/*
 * The applications of this node. Intent of a slice (named by its application):
 *	{"app", "node", "cluster", "basedir", "envdir" (with %n replaced, where deploy_config has one),
 *	 "config": {...}, "deploy": {...}, "options": {the agent's own options},
 *	 "hold": {"nodes/web1/": ..., "nodes/web1/slug": ..., "clusters/slug/prod/config": ...,
 *	          "clusters/slug/prod/deploy_config": ...}}    what asks to leave it as it is, if anything does
 * or {"app", "node", "absent": true, "options"}.
 * Errors: malformed documents; INTENT_ENOCONFIG; INTENT_ECLASH for two applications with one basedir;
 * INTENT_EREFUSED for an untrusted deploy_config; INTENT_EVANISHED.
 */
extern const struct intent_slicer intent_node_applications;
/* Of those, the ones that a supervisor runs, and the ones that run in a container: their deploy_config has "docker". An
 * application that is the other's is none of this one's intent: what is left of it here goes. */
extern const struct intent_slicer intent_node_services, intent_node_containers;

/* What the rounds of an agent run. */
enum intent_programs {
	INTENT_PROGRAMS_FOREIGN, /* what people wrote (hooks, jobs, terraform): all system calls are left to it */
	INTENT_PROGRAMS_OWN,     /* tools by name (nft): they need not change the kernel or see into other processes */
	INTENT_PROGRAMS_NONE,
};

struct intent_agent {
	const char *name;            /* "preparer": the binary is pp-preparer */
	const char *summary;         /* one line */
	const struct intent_option *options; /* its own, ended by a NULL name */
	const struct intent_slicer *slicer;
	int (*observe)(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		       struct intent_error *err);
	intent_planner plan;
	const struct intent_verb *verbs; /* ended by a NULL name */
	/*
	 * Names of slices of which the world holds something of ours (may be NULL: only those
	 * the state directory remembers). An array of strings, new. Runs in the runner
	 * at start and at each resync; reads only, and can run no program there. `options`: all of them,
	 * with "node" and "store".
	 */
	int (*discover)(const json_t *options, json_t **ret_new_names, struct intent_error *err);
	int64_t deadline_ms;         /* of one round without progress; 0: 10 minutes */
	/*
	 * Least privilege, so that any supervisor gives what a systemd unit could. Of root's capabilities those
	 * that rounds, and what they run, keep: 1ull << CAP_CHOWN | ...; 0: all. But for INTENT_PROGRAMS_FOREIGN, nothing that they
	 * run gets more privileges than they have.
	 */
	unsigned long long capabilities;
	enum intent_programs programs;
	/* A slice hangs on every prefix, not only on those that bear its name: all are read again before it removes
	 * anything. */
	bool reads_all;
};

/* main() of an agent; returns the exit status. */
int intent_agent_main(const struct intent_agent *agent, int argc, char **argv);

/* ---- for observe and apply ---- */

const char *intent_round_slice(const struct intent_round *round);
const json_t *intent_round_intent(const struct intent_round *round);
/* The agent's options. */
const json_t *intent_round_options(const struct intent_round *round);
/* <state-dir>: this agent's, for caches and locks of its own. */
const char *intent_round_state_dir(const struct intent_round *round);
/* Which store it is, as the first line of the log has it. */
const char *intent_round_store_url(const struct intent_round *round);
/* A person at a terminal, in the foreground? (progress bars) */
bool intent_round_is_interactive(const struct intent_round *round);

/* --once: nobody comes back soon. */
bool intent_round_is_once(const struct intent_round *round);
/* --dry-run: not even the state directory is written. */
bool intent_round_is_dry(const struct intent_round *round);

/* Wake this slice when something below or at path changes (a directory that need not exist yet). */
void intent_round_watch(struct intent_round *round, const char *path);
/* Look again after so long, though nothing woke the slice (a deadline in observe). */
void intent_round_again(struct intent_round *round, int64_t ms);
/* Somebody asks for patience (Retry-After): without new intent, the next attempt is not before so long. */
void intent_round_patience(struct intent_round *round, int64_t ms);
/* Into status detail at most once per second; stolen. Also tells the runner that the round lives. */
void intent_round_progress(struct intent_round *round, json_t *detail);
/* Into the final status detail under `name`; stolen. */
void intent_round_detail(struct intent_round *round, const char *name, json_t *value);
/* How many things of ours exist in this slice (for --max-destroy). */
void intent_round_owned(struct intent_round *round, int count);
/* A log line of this slice. */
void intent_round_log(struct intent_round *round, enum intent_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * The intent of this slice as it stands in the store now, by the strongest read; what keeps it from being understood
 * is the error. New.
 */
int intent_round_reread(struct intent_round *round, json_t **ret_new_intent, struct intent_error *err);
/* The store, opened on first use, for blocking calls. */
int intent_round_store(struct intent_round *round, struct intent_store **ret_borrowed,
		       struct intent_error *err);
/*
 * The session of this process's lease, for facts under reality/ that go when the agent does: bind them with
 * INTENT_OP_PUT. NULL with --once (there is none: mark the fact "once"). INTENT_EUNAVAILABLE: not open yet. A new one
 * after a loss makes every slice due, so that what went with the old one is published again.
 */
int intent_round_session(struct intent_round *round, const char **ret_borrowed, struct intent_error *err);
/* SIGTERM arrived: long work should end soon. */
bool intent_round_should_stop(const struct intent_round *round);
/* Did a person ask for this round, by --once or SIGUSR1? */
bool intent_round_is_demanded(const struct intent_round *round);
/*
 * Other intent has come since the round began. The plan is carried out to its end all the same: half of
 * one (stopped, but not started again) may be worse than an old one. For work that is only preparation
 * and may be dropped at any time, like a download that nobody wants any more.
 */
bool intent_round_is_outdated(const struct intent_round *round);

#endif
