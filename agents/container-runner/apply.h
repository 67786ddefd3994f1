/* What the verbs share: apply.c, apply-parts.c, apply-container.c. */
#ifndef CONTAINER_RUNNER_APPLY_H
#define CONTAINER_RUNNER_APPLY_H

#include "runner.h"

/* ---- apply.c ---- */

const char *docker__subject(const json_t *action);
/* POST or DELETE without a body. */
int docker__tell(struct engine *engine, const char *method, const char *path, int64_t patience_ms,
		 struct intent_error *err);
/* Ours, by its name; anything else under that name is a conflict. New. */
int docker__inspect_ours(struct intent_round *round, struct engine *engine, const char *name, json_t **ret_new,
			 struct intent_error *err);

/* ---- apply-parts.c ---- */

/* Puts a container onto a network, if it is not there already. */
int docker__connect(struct engine *engine, const char *network, const char *id, const json_t *spec,
		    struct intent_error *err);
int docker__apply_pull(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_network(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_volume(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_connect(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_disuse(struct intent_round *round, const json_t *action, struct intent_error *err);

/* ---- apply-container.c ---- */

int docker__apply_create(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_start(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_suspend(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_await(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_drain(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_retire(struct intent_round *round, const json_t *action, struct intent_error *err);
int docker__apply_remove(struct intent_round *round, const json_t *action, struct intent_error *err);

#endif
