/*
 * What the files of pp-health-reporter share. The observed document is that of fact.h.
 *
 *	plan.c     what to say of a service; pure
 *	service.c  the look at the service
 *	agent.c    the table, options, main
 */
#ifndef REPORTER_H
#define REPORTER_H

#include <intent/fact.h>

int health_reporter_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			 struct intent_error *err);

int reporter__observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		      struct intent_error *err);

#endif
