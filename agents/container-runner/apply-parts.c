/* What a container needs is fetched and made: images, networks, volumes. */
#include "apply.h"

static int on_pull(const char *words, void *data)
{
	struct intent_round *round = data;

	intent_round_progress(round, json_pack("{ss ss}", "doing", "pulling the image", "phase", words));
	return intent_round_should_stop(round) || intent_round_is_outdated(round) ? INTENT_ESTALE : 0;
}

int docker__apply_pull(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	struct engine *engine;

	if (docker__engine(round, &engine, err))
		return err->code;
	return engine__pull(engine, docker__subject(action), on_pull, round, err);
}

/* One that somebody made meanwhile is looked at in the next pass. */
int docker__apply_network(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round);
	intent_json_auto json_t *body = json_pack("{ss sb ss so}", "Name", docker__subject(action), "CheckDuplicate",
						  1, "Driver",
						  "bridge", "Labels", docker__owner_labels(&owner));
	struct engine *engine;
	int code = docker__engine(round, &engine, err);

	if (!code)
		code = engine__change(engine, "POST", "/networks/create", body, 0, NULL, err);
	return code && code != INTENT_ECONFLICT ? intent_wrap(err, "network %s", docker__subject(action)) : 0;
}

/* The engine is content with one that is there already, whoever's. */
int docker__apply_volume(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const struct docker__owner owner = docker__owner_of(round), any = { .node = owner.node,
		.store = owner.store };
	intent_json_auto json_t *body = json_pack("{ss so}", "Name", docker__subject(action), "Labels",
						  docker__owner_labels(&owner));
	intent_json_auto json_t *made = NULL;
	struct engine *engine;

	if (docker__engine(round, &engine, err) || engine__change(engine, "POST", "/volumes/create", body, 0,
								  &made, err))
		return intent_wrap(err, "volume %s", docker__subject(action));
	if (!docker__is_ours(json_object_get(made, "Labels"), &any))
		return intent_fail(err, INTENT_ENOTOURS, "volume %s has just been made by somebody else",
				   docker__subject(action));
	return 0;
}

int docker__connect(struct engine *engine, const char *network, const char *id, const json_t *spec,
		      struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/networks/%s/connect", network);
	intent_json_auto json_t *body = json_pack("{ss so}", "Container", id, "EndpointConfig",
						  docker__endpoint(spec));

	if (!engine__change(engine, "POST", path, body, 0, NULL, err) || strstr(err->msg, "already"))
		return 0;
	return intent_wrap(err, "network %s", network);
}

int docker__apply_connect(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *spec = json_object_get(args, "spec");
	intent_json_auto json_t *found = NULL;
	struct engine *engine;

	if (docker__engine(round, &engine, err) ||
	    docker__inspect_ours(round, engine, intent_json_string(args, "container", ""), &found, err))
		return err->code;
	return docker__connect(engine, docker__subject(action), intent_json_string(found, "Id", ""), spec, err);
}

int docker__apply_disuse(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("/networks/%s", docker__subject(action));
	struct engine *engine;
	int code = docker__engine(round, &engine, err);

	if (!code)
		code = docker__tell(engine, "DELETE", path, 0, err);
	/* Gone already, or somebody has come: both are fine. */
	return code && code != INTENT_EABSENT && code != INTENT_EREFUSED ? intent_wrap(err, "network %s",
										       docker__subject(action)) : 0;
}
