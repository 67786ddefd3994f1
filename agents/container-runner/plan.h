/* One planning of pp-container-runner, shared by its plan*.c. */
#ifndef CONTAINER_RUNNER_PLAN_H
#define CONTAINER_RUNNER_PLAN_H

#include "runner.h"

/* All pointers are borrowed, but for `wanted` and `name`. */
struct look {
	const json_t *intent, *observed, *containers;
	struct intent_plan *plan;
	const char *app, *active;
	const json_t *slot;
	int64_t min_nodes;
	char target[17];
	json_t *wanted;            /* spec of what is to run, owned */
	char *name;                /* of its container, owned */
	char digest[13];
	bool stand_in;             /* ... in place of the active version, which failed */
	const char *current;       /* the container that is as wanted, by name; NULL: none */
	const json_t *is;          /* ... itself */
	char failed[13];           /* digest of what failed, ""; its last words are kept */
	bool others_gone;          /* planned already */
};

enum ask { ASK_NOTHING, ASK_HOLD, ASK_SLOT };

/* ---- plan-failure.c ---- */

/* Why the store cannot be asked; NULL: it can. */
const char *docker__store_error(const struct look *look);
/* Running, restarting or paused. */
bool docker__runs(const json_t *container);
/* Did we find that what intent wants does not become healthy? */
bool docker__is_marked(const struct look *look);
bool docker__is_failed(const struct look *look, const json_t *container);
/* `spec` (stolen) is what is to run. */
void docker__choose(struct look *look, json_t *spec);
/* What was chosen failed: chooses what stands in for it, if there is anything. */
void docker__fall_back(struct look *look);
int64_t docker__time_left(const struct look *look);
/* Marks what had its time, and falls back. */
void docker__plan_failure(struct look *look);
void docker__say_mark(struct look *look);

/* ---- plan-steps.c ---- */

void docker__plan_slot(struct look *look);
void docker__plan_pull(struct look *look);
void docker__plan_objects(struct look *look);
void docker__plan_create(struct look *look, const char *why);
void docker__plan_start(struct look *look, const char *why, bool made);
void docker__plan_connect(struct look *look);
void docker__plan_await(struct look *look, int64_t within_ms);
void docker__plan_drain(struct look *look);
/* Stop it and take it away; `verb` is "retire" or "remove". */
void docker__plan_retire(struct look *look, const char *verb, const char *name, const char *why, bool alone);
void docker__plan_mark(struct look *look, const char *failed);
void docker__plan_release(struct look *look, const char *cluster, const char *version);

#endif
