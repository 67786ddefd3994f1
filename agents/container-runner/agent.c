/* pp-container-runner: the active version of each containerised application of this node runs, in the engine. */
#include <errno.h>
#include <linux/capability.h>
#include "runner.h"

#define DISCOVER_MS 2000

/* Whose containers there are: found again when the state directory is lost, and when intent went while we were away. */
static int docker__discover(const json_t *options, json_t **ret_new_names, struct intent_error *err)
{
	json_t *labels = json_pack("[o]", json_sprintf("%s=%s", DOCKER__NODE, intent_json_string(options, "node", "")));
	intent_json_auto json_t *found = NULL;
	const struct docker__owner owner = {
		.node = intent_json_string(options, "node", ""), .store = intent_json_string(options, "store", ""),
	};
	json_t *names, *item;
	struct engine engine;
	size_t i;

	if (engine__open(intent_json_string(options, "engine", NULL), DISCOVER_MS, &engine, err)) {
		json_decref(labels);
		return err->code;
	}
	int code = engine__find(&engine, "/containers/json?all=1&", "label", labels, &found, err);
	engine__close(&engine);
	if (code)
		return code;
	names = json_array();
	json_array_foreach(found, i, item) {
		const char *app = intent_json_string(json_object_get(item, "Labels"), DOCKER__APP, "");

		if (intent_name_is_valid(app) && docker__is_ours(json_object_get(item, "Labels"), &owner))
			json_array_append_new(names, json_string(app));
	}
	*ret_new_names = names;
	return 0;
}

static const struct intent_option options[] = {
	{ "engine", INTENT_OPTION_STRING, "URL", NULL, "DOCKER_HOST", 0, 0,
	  "unix:///PATH or tcp://HOST:PORT of the Docker or Podman engine (default: the usual sockets)" },
	{ "engine-timeout", INTENT_OPTION_DURATION, "DURATION", "30s", NULL, 100, 3600000,
	  "wait so long for each of the engine's answers" },
	{ "check-interval", INTENT_OPTION_DURATION, "DURATION", "5s", NULL, 100, 3600000,
	  "look at each container so often" },
	{ NULL, 0, NULL, NULL, NULL, 0, 0, NULL },
};

static const struct intent_agent agent = {
	.name = "container-runner",
	.summary = "Runs the active version of each containerised application of this node with Docker or Podman.",
	.options = options,
	.slicer = &intent_node_containers,
	.observe = docker__observe,
	.plan = container_runner_plan,
	.verbs = docker__verbs,
	.discover = docker__discover,
	/* The engine's socket, an envdir, and a directory store may be others'. */
	.capabilities = 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH | 1ull << CAP_FOWNER,
	/* docker-credential-NAME. */
	.programs = INTENT_PROGRAMS_OWN,
};

int main(int argc, char **argv)
{
	return intent_agent_main(&agent, argc, argv);
}
