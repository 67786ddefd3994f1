/* One round's view of a stack: its options and places, and whether to go on. */
#include <sys/resource.h>
#include <intent/file.h>
#include "applier.h"

#define QUIET_MS 10000 /* what takes less says nothing; what takes more, so often */

int applier__open(struct applier *applier, struct intent_round *round, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	const struct rlimit none = {0, 0};
	struct intent_error ignored;

	*applier = (struct applier){
		.round = round, .intent = intent, .options = intent_round_options(round),
		.stack = json_object_get(intent, "stack"),
		.world = intent_json_string(intent, "world", ""), .name = intent_json_string(intent, "name", ""),
	};
	applier->destroy = !strcmp(intent_json_string(applier->stack, "ensure", ""), "absent");
	/* A plan holds secrets in clear: no core of ours, nor of Terraform's. */
	setrlimit(RLIMIT_CORE, &none);
	applier->home = intent_format("%s/stacks/%s/%s", intent_round_state_dir(round), applier->world, applier->name);
	/* An absent stack gets no directory again. */
	if (applier->stack && intent_directory_make(applier->home, 0700, err) < 0) {
		applier__close(applier);
		return err->code;
	}
	intent_temp_sweep(applier->home, NULL, &ignored);
	return 0;
}

void applier__close(struct applier *applier)
{
	free(applier->home);
	free(applier->root);
	json_decref(applier->progress);
	json_decref(applier->secrets);
	applier->home = applier->root = NULL;
	applier->progress = applier->secrets = NULL;
}

const char *applier__option(const struct applier *applier, const char *name, const char *otherwise)
{
	return intent_json_string(applier->options, name, otherwise);
}

void applier__begin(struct applier *applier, const char *phase)
{
	applier->phase = phase;
	applier->began = applier->told = intent_time_monotonic();
}

bool applier__cancel(struct applier *applier)
{
	int64_t now = intent_time_monotonic();
	char elapsed[24];

	if (applier->locks)
		intent_held_beat(applier->locks);
	if (now - applier->told >= QUIET_MS) {
		applier->told = now;
		intent_duration_format((now - applier->began) / 1000 * 1000, elapsed);
		intent_round_progress(applier->round, json_pack("{ss ss sO*}", "phase", applier->phase,
								"elapsed", elapsed, "resource", applier->progress));
	}
	return intent_round_should_stop(applier->round) ||
	       (applier->locks && intent_held_lost(applier->locks));
}
