/*
 * pp-health-reporter: whether each application of this node is healthy stands in the store, for as long as we live.
 */
#include <linux/capability.h>
#include <intent/service.h>
#include "reporter.h"

static const struct intent_verb verbs[] = {
	INTENT_FACT_VERBS,
	{ NULL, 0, NULL }
};

static const struct intent_option options[] = {
	{ "check-interval", INTENT_OPTION_DURATION, "DURATION", "5s", NULL, 100, 3600000,
	  "look at each service so often" },
	INTENT_SITE_OPTIONS,
	{ NULL, 0, NULL, NULL, NULL, 0, 0, NULL }
};

static const struct intent_agent agent = {
	.name = "health-reporter",
	.summary = "Publishes whether each application of this node is healthy.",
	.options = options,
	.slicer = &intent_node_services,
	.observe = reporter__observe,
	.plan = health_reporter_plan,
	.verbs = verbs,
	/* The services' users for bin/check and the end of what hangs; a directory store of somebody else. */
	.capabilities = 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_KILL | 1ull << CAP_DAC_READ_SEARCH |
		1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER,
};

int main(int argc, char **argv)
{
	return intent_agent_main(&agent, argc, argv);
}
