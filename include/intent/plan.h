/*
 * Plans: what an agent would do, as data.
 *
 * An action is {verb, subject, reason, args, effect}. The reason is the
 * log line, the --dry-run output and what tests compare. `effect` is what the action
 * makes of the observed document, as a JSON merge patch (RFC 7396): the plan driver
 * applies it and demands that planning again gives nothing.
 *
 * A planner is pure: it sees intent and observed, nothing else. It ends in one of
 *	0, an empty plan                    converged
 *	0, actions                          work to do
 *	0, actions or none, and a verdict   do these, then it is waiting or blocked:
 *	                                    intent_plan_verdict()
 *	an error                            nothing can be planned (malformed, clash ...)
 */
#ifndef INTENT_PLAN_H
#define INTENT_PLAN_H

#include <intent/json.h>

struct intent_plan {
	json_t *actions;              /* array, owned */
	struct intent_error verdict;  /* code 0: none */
	bool broken;                  /* an action could not be written down: none is done */
};

void intent_plan_init(struct intent_plan *plan);
void intent_plan_release(struct intent_plan *plan);

/*
 * args and effect are stolen (may be NULL). The reason is printf-like and says why, naming
 * what was found: "current points at 1.0, 1.1 is active". What is not UTF-8 breaks the plan, which is
 * said by its verdict then.
 */
void intent_plan_add(struct intent_plan *plan, const char *verb, const char *subject,
		     json_t *args, json_t *effect, const char *reason, ...)
	__attribute__((format(printf, 6, 7)));

/* What stands in the way of convergence after the actions; the first one wins. */
void intent_plan_verdict(struct intent_plan *plan, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* {"actions": [...], "verdict": {"state", "reason", "message"}} without what is empty. New. */
json_t *intent_plan_to_json(const struct intent_plan *plan);

typedef int (*intent_planner)(const json_t *intent, const json_t *observed,
			      struct intent_plan *plan, struct intent_error *err);

#endif
