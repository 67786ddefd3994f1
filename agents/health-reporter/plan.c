/* What to say of a service, and when: fact.h says it for all agents that have facts. Pure. */
#include "reporter.h"

int health_reporter_plan(const json_t *intent, const json_t *observed, struct intent_plan *plan,
			 struct intent_error *err)
{
	(void)err;
	intent_fact_plan(intent, observed, plan);
	return 0;
}
