/* One round's view of an application: its options and places, and whether to go on. */
#include <intent/file.h>
#include "builder.h"

#define QUIET_MS 3000        /* what takes less says nothing; what takes more, so often */

int builder__open(struct builder *builder, struct intent_round *round, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	bool absent = intent_json_boolean(intent, "absent", false);

	*builder = (struct builder){
		.round = round, .intent = intent, .options = intent_round_options(round),
		.app = intent_json_string(intent, "app", ""), .node = intent_json_string(intent, "node", ""),
		.resolved = json_object(), .phase = "look", .began = intent_time_monotonic(),
	};
	builder->told = builder->began;
	builder->home = intent_format("%s/apps/%s", intent_round_state_dir(round), builder->app);
	builder->repository = intent_format("%s/apps/%s/git", intent_round_state_dir(round), builder->app);
	if (absent || intent_directory_make(builder->home, 0700, err) == 0) {
		builder__read_record(builder);
		return 0;
	}
	builder__close(builder);
	return err->code;
}

void builder__close(struct builder *builder)
{
	free(builder->home);
	free(builder->repository);
	json_decref(builder->record);
	json_decref(builder->used);
	json_decref(builder->resolved);
}

const char *builder__option(const struct builder *builder, const char *name, const char *otherwise)
{
	return intent_json_string(builder->options, name, otherwise);
}

bool builder__cancel(struct builder *builder)
{
	int64_t now = intent_time_monotonic();
	char elapsed[24];

	if (builder->held)
		intent_held_beat(builder->held);
	if (now - builder->told >= QUIET_MS) {
		builder->told = now;
		intent_duration_format((now - builder->began) / 1000 * 1000, elapsed);
		intent_round_progress(builder->round, json_pack("{ss ss* ss ss*}", "phase", builder->phase, "target",
								builder->target, "elapsed", elapsed, "says",
								builder->log ? builder__log_last(builder->log) : NULL));
	}
	return intent_round_should_stop(builder->round);
}

bool builder__cancelled(void *data)
{
	return builder__cancel(data);
}
