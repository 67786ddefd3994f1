/* What the files of the planner share: one planning, and the steps it is made of. */
#ifndef SETLIVE_PLAN_H
#define SETLIVE_PLAN_H

#include "setlive.h"

/* One planning. All pointers are borrowed, but for `wanted`. */
struct look {
	const json_t *intent, *observed;
	struct intent_plan *plan;
	const char *app, *active;    /* active: what intent says; NULL when no version is */
	const char *version;         /* to be run: active, or what stands in for it */
	const json_t *run;           /* array: services that should run; NULL when none */
	json_t *wanted;              /* what they should have been started with */
	const json_t *slot;          /* ours; NULL: none, or not known */
	enum { ASK_NOTHING, ASK_HOLD, ASK_SLOT } ask; /* of the store, at the last moment */
	bool asked;                  /* an action of this plan does */
	int64_t min_nodes;
	char target[17];             /* intent_slots_target() of intent */
};

/* What must be done so that `run` runs as wanted. */
struct change {
	json_t *restart, *leave, *start; /* names; owned, for setlive__change_release() */
	json_t *running;                 /* those of restart and leave that do */
	char why[512];                   /* of the first that is stopped */
	bool known;                      /* stops nothing that runs, and starts only what was begun with */
};

/* plan-services.c: the services, one by one */
const json_t *setlive__service_of(const struct look *look, const char *name);
const json_t *setlive__install_of(const struct look *look, const char *version);
bool setlive__has(const json_t *array, const char *name);
void setlive__add(json_t *array, const char *name);
bool setlive__is_up(const json_t *service);
bool setlive__has_hook(const struct look *look, const char *version, const char *hook);
/* Has every (any) one of these been started with this noted (`value`) beside? */
bool setlive__all_noted(const struct look *look, const json_t *names, const char *note);
bool setlive__any_noted(const struct look *look, const json_t *names, const char *note, bool value);
void setlive__change_find(const struct look *look, struct change *ret);
void setlive__change_release(struct change *change);
bool setlive__is_due(const struct change *change);

/* plan-steps.c: each adds its action, or nothing */
void setlive__plan_slot(struct look *look);
void setlive__plan_disable(struct look *look, const json_t *names, const char *why);
void setlive__plan_stop(struct look *look, json_t *names, bool for_good, const char *why);
void setlive__plan_configure(struct look *look, const char *name);
void setlive__plan_symlink(struct look *look);
void setlive__plan_start(struct look *look, json_t *names);
void setlive__plan_enable(struct look *look, const char *version, const json_t *names);
void setlive__plan_await(struct look *look, bool starts, int64_t within_ms);
void setlive__plan_mark(struct look *look, const char *failed, const char *instead);
void setlive__plan_release(struct look *look, const char *cluster, const char *version, const json_t *names);
void setlive__plan_remove(struct look *look, const char *verb, const char *name, const char *why);

#endif
