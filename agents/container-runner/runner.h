/*
 * What the files of pp-container-runner share.
 *
 *	plan.c        the cases: what is to run, what stands in the way, what follows a failure; pure
 *	plan-spec.c   from intent to all that a container is made of; pure
 *	plan-steps.c  the actions; pure
 *	plan-failure.c  what is to run, and what instead of what failed; pure
 *	observe.c     what is there
 *	observe-parts.c  ... of what a container needs
 *	look.c        the look at one container
 *	apply.c       the verbs, and shutdown slots
 *	apply-parts.c, apply-container.c  what the engine is told
 *	create.c      the engine's words for a container
 *	note.c        what one round leaves for the next
 *	engine.c, engine-open.c, engine-files.c, pull.c  the Docker Engine API
 *	account.c, parse-account.c  accounts of registries; the latter is pure
 *	agent.c       the table, options, main
 *
 * The observed document:
 *
 *	{"engine": {"code": -20027, "message"},  the engine cannot be asked: nothing else is known
 *	 "unproven": true,                       ... while the time of a new container runs
 *	 "pause": {"code", "message"},           what the engine was told last failed so, and is not tried again yet
 *	 "containers": {                         those with our labels, by name
 *	   "web.5d41402abc4b": {"id": "...",
 *	      "digest": "...", "version": "1.0", of what it was made
 *	      "spec": {...},                     ... and all of it, as docker__spec() has it
 *	      "state": "running",                created, running, restarting, paused, exited, removing, dead
 *	      "ended": true,                     it ended by itself, and its restart policy leaves it so
 *	      "lacks": ["front"],                networks that it is not on
 *	      "health": "", "up_ms": 1200,       of the one that serves and the one to be: good; else why not
 *	      "since_ms": 1200,                  since it was first started, by the note
 *	      "settled": true,                   it has been healthy since it was made
 *	      "drained": true}},                 ... and for as long as the old one was to go on beside it
 *	 "taken": {"web": "..."},                what stands under a name that we need and is not ours
 *	 "networks": {"front": true},            those that are needed and there; "foreign" sentences are in "taken"
 *	 "volumes": {"data": true},
 *	 "in_use": "...",                        who else writes to a volume that is ours alone
 *	 "idle_networks": ["front"],             of ours, for an application that goes: nothing else is on them
 *	 "images": {"web:1.0": "sha256:..."},    that are needed and here; "pulled": the registry was just asked
 *	 "environment": {"digest": "..."},       of envdir, or {"code", "message"}
 *	 "before": {...},                        the spec that ran before what runs alone was started
 *	 "noted_slot": true,                     a shutdown slot of ours may stand in the store
 *	 "hold", "slot", "marked", "fact", "elsewhere", "store_error": see rolling.h
 *	 "published": {...}}                     what fact.h wants to know; absent: the store cannot be asked
 */
#ifndef CONTAINER_RUNNER_H
#define CONTAINER_RUNNER_H

#include <intent/agent.h>
#include <intent/slots.h>
#include "engine.h"

#define DOCKER__NODE "platypus.node"
#define DOCKER__STORE "platypus.store" /* of a directory: two on one machine may use one node's name */
#define DOCKER__APP "platypus.application"
#define DOCKER__VERSION "platypus.version"
#define DOCKER__DIGEST "platypus.digest"
#define DOCKER__SPEC "platypus.spec"
#define DOCKER__CONFIG_PATH "/etc/platypus/config.yaml"

int container_runner_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			  struct intent_error *err);

/* ---- plan-spec.c ---- */

/*
 * All that a container of this version is made of, without a secret: it stands in a label. `environment` is the digest
 * of envdir, or NULL. INTENT_EMALFORMED: no image is named. New.
 */
int docker__spec(const json_t *intent, const char *version, const char *environment, json_t **ret_new,
		 struct intent_error *err);
/* Twelve hexadecimal digits. */
void docker__spec_digest(const json_t *spec, char out[13]);
/*
 * Must the old one go before the new one comes: it has state, or a port of the node that two cannot share? Without
 * "stateful", a volume that it may write says so.
 */
bool docker__is_alone(const json_t *intent, const json_t *spec);
bool docker__is_stateful(const json_t *intent, const json_t *spec);
/* The name of its container: the application's is the engine's own lock for one that is to be alone. Owned. */
char *docker__name(const json_t *intent, const json_t *spec);
/* "host", "none", "bridge": not made by anybody. */
bool docker__is_builtin(const char *network);
int64_t docker__drain_ms(const json_t *intent);

/* ---- note.c: <state-dir>/container-<app>.json ---- */

/*
 * {"containers": {id: {"since_ms": CLOCK_BOOTTIME of its first start, "settled_ms": since when it has been healthy}},
 *  "slot": true, "before": {spec},
 *  "failed": {"deed", "intent": digest, "at_ms", "attempts", "code", "message"}}; times of another boot are 0.
 * New, never NULL.
 */
json_t *docker__note_read(const struct intent_round *round);
int docker__note_write(const struct intent_round *round, const json_t *note, struct intent_error *err);
/* Set a member of the note, or with `id` of that container's; stolen. NULL removes it. */
int docker__note_set(const struct intent_round *round, const char *id, const char *name, json_t *value,
		     struct intent_error *err);
/* The time of those that have not been healthy yet begins anew. */
int docker__note_suspend(const struct intent_round *round, struct intent_error *err);
/* The engine was told so, and it failed; or it did not. */
void docker__note_failed(const struct intent_round *round, const char *verb, const char *subject,
			 const struct intent_error *failed);
int docker__note_done(const struct intent_round *round, const char *verb, const char *subject, struct intent_error *err);
/* How long what failed is not to be tried again: 0 for other intent, and when a person asks. */
int64_t docker__note_pause(const struct intent_round *round, const json_t *note);
int docker__note_remove(const struct intent_round *round, struct intent_error *err);
/* <state-dir>/log-<app>: the last lines of what failed. Owned. */
char *docker__log_path(const struct intent_round *round);

/* ---- look.c ---- */

/* Of which node, application (NULL: any) and store something is. */
struct docker__owner {
	const char *node, *app, *store;
};
struct docker__owner docker__owner_of(const struct intent_round *round);
/* Ours, by these labels? */
bool docker__is_ours(const json_t *labels, const struct docker__owner *owner);
/* Health: *ret stays empty when good; -1: it is down. */
void docker__health(const json_t *intent, const json_t *inspected, struct intent_text *ret, int64_t *ret_up_ms);
/* Ids of this application's containers, those that run, or all. New. */
int docker__list(struct engine *engine, const struct docker__owner *owner, bool all, json_t **ret_new,
		 struct intent_error *err);

/* ---- observe-parts.c ---- */

/* Which container of somebody else runs on a volume that this one writes: a sentence, "" when there is none. */
int docker__volume_users(struct engine *engine, const struct docker__owner *owner, const json_t *spec, char out[400],
			 struct intent_error *err);
/* What a container of this spec needs, and what stands in its way, into the observed document. */
int docker__look_at_parts(struct intent_round *round, struct engine *engine, const json_t *spec, json_t *observed,
			  struct intent_error *err);
/* What an application that goes leaves: networks of ours that nobody else is on. */
int docker__idle_networks(struct intent_round *round, struct engine *engine, json_t *observed, struct intent_error *err);

/* ---- create.c ---- */

/* The body of /containers/create. `variables` (of envdir, may be NULL) has secrets, and so has the result. New. */
json_t *docker__create_body(const json_t *spec, const struct docker__owner *owner, const json_t *variables);
/* The labels that everything of this owner's has. New. */
json_t *docker__owner_labels(const struct docker__owner *owner);
/* {"EndpointSettings"} of a network. New. */
json_t *docker__endpoint(const json_t *spec);

/* ---- observe.c ---- */

int docker__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		    struct intent_error *err);
/* The engine of this round, opened on first use. Borrowed. */
int docker__engine(struct intent_round *round, struct engine **ret, struct intent_error *err);
/* The variables of envdir, NULL when there is no such thing. New. INTENT_EENVIRONMENT. */
int docker__environment(const json_t *intent, json_t **ret_new, struct intent_error *err);

extern const struct intent_verb docker__verbs[];

#endif
