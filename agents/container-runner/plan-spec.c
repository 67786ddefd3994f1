/* From intent to what a container is made of. Pure. */
#include <intent/digest.h>
#include "runner.h"

/* Members that go from deploy_config.docker into the spec as they are. */
static const char *const taken_over[] = {
	"entrypoint", "command", "networks", "aliases", "volumes", "user", "cpus", "health", "labels",
};

/* %v is the version. Owned. */
static char *image_of(const json_t *intent, const char *version)
{
	const json_t *artifact = json_object_get(intent_json_at(intent, "/config/artifacts"), version);
	const char *image = intent_json_string(artifact, "image", NULL);
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

	if (!image)
		image = intent_json_string(intent_json_at(intent, "/deploy/docker"), "image", NULL);
	for (; image && *image; image++)
		if (*image == '%' && image[1] == 'v') {
			intent_text_puts(&text, version);
			image++;
		} else {
			intent_text_add(&text, image, 1);
		}
	return text.length ? intent_text_steal(&text) : NULL;
}

/* Numbers and objects in one form. */
static json_t *ports_of(const json_t *docker)
{
	json_t *ports = json_array(), *item;
	size_t i;

	json_array_foreach(json_object_get(docker, "ports"), i, item) {
		bool number = json_is_integer(item);
		json_int_t port = number ? json_integer_value(item) : intent_json_integer(item, "container", 0);

		json_array_append_new(ports, json_pack("{sI sI ss ss*}", "container", port,
			"host", number ? port : (json_int_t)intent_json_integer(item, "host", 0),
			"protocol", intent_json_string(item, "protocol", "tcp"),
			"address", intent_json_string(item, "address", NULL)));
	}
	return ports;
}

static json_t *environment_of(const json_t *intent, const char *version)
{
	json_t *env = json_pack("{ss ss ss ss}", "PP_APP", intent_json_string(intent, "app", ""),
				"PP_CLUSTER", intent_json_string(intent, "cluster", ""),
				"PP_NODE", intent_json_string(intent, "node", ""), "PP_VERSION", version);

	if (intent_json_at(intent, "/config/user_config"))
		json_object_set_new(env, "CONFIG_PATH", json_string(DOCKER__CONFIG_PATH));
	json_object_update(env, intent_json_at(intent, "/deploy/environment"));
	json_object_update(env, intent_json_at(intent, "/deploy/docker/env"));
	return env;
}

static void add_limits(json_t *spec, const json_t *intent, const json_t *docker)
{
	const json_t *memory = json_object_get(docker, "memory"), *log = intent_json_at(intent, "/deploy/log");
	int64_t stop_ms = intent_json_duration(json_object_get(intent, "deploy"), "stop_timeout", 0), bytes = 0;
	struct intent_error ignored;

	if (json_is_integer(memory))
		bytes = json_integer_value(memory);
	else if (json_is_string(memory) && intent_size_parse(json_string_value(memory), &bytes, &ignored))
		bytes = 0;
	if (bytes)
		json_object_set_new(spec, "memory", json_integer(bytes));
	if (stop_ms)
		json_object_set_new(spec, "stop_timeout", json_integer((stop_ms + 999) / 1000));
	if (log)
		json_object_set(spec, "log", (json_t *)(uintptr_t)log);
}

int docker__spec(const json_t *intent, const char *version, const char *environment, json_t **ret_new,
		 struct intent_error *err)
{
	const json_t *docker = intent_json_at(intent, "/deploy/docker");
	const char *app = intent_json_string(intent, "app", "");
	intent_free_auto char *image = image_of(intent, version);

	if (!image)
		return intent_fail(err, INTENT_EMALFORMED,
				   "no image of %s %s is named: say \"image\" in \"docker\" of its "
				   "deploy_config, or in \"artifacts\" of its config", app, version);
	json_t *spec = json_pack("{ss ss ss ss so so ss* sO*}", "app", app, "node",
				 intent_json_string(intent, "node", ""), "version", version, "image", image,
				 "env", environment_of(intent, version), "ports", ports_of(docker),
				 "environment", environment, "user_config", intent_json_at(intent,
											   "/config/user_config"));
	for (size_t i = 0; i < sizeof taken_over / sizeof *taken_over; i++)
		if (json_object_get(docker, taken_over[i]))
			json_object_set(spec, taken_over[i], json_object_get(docker, taken_over[i]));
	json_object_set_new(spec, "restart", json_string(intent_json_string(docker, "restart",
		intent_json_string(json_object_get(intent, "deploy"), "restart", "always"))));
	add_limits(spec, intent, docker);
	*ret_new = spec;
	return 0;
}

void docker__spec_digest(const json_t *spec, char out[13])
{
	char digest[65];

	intent_json_digest(spec, digest);
	snprintf(out, 13, "%.12s", digest);
}

static bool has_writable_volume(const json_t *spec)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(spec, "volumes"), i, item)
		if (json_object_get(item, "volume") && !intent_json_boolean(item, "read_only", false))
			return true;
	return false;
}

bool docker__is_stateful(const json_t *intent, const json_t *spec)
{
	return intent_json_boolean(intent_json_at(intent, "/deploy/docker"), "stateful", has_writable_volume(spec));
}

bool docker__is_alone(const json_t *intent, const json_t *spec)
{
	size_t i;
	json_t *item;

	json_array_foreach(json_object_get(spec, "ports"), i, item)
		if (intent_json_integer(item, "host", 0))
			return true;
	json_array_foreach(json_object_get(spec, "networks"), i, item)
		if (!strcmp(json_string_value(item), "host"))
			return true;
	return docker__is_stateful(intent, spec);
}

char *docker__name(const json_t *intent, const json_t *spec)
{
	const char *app = intent_json_string(intent, "app", "");
	char digest[13];

	if (docker__is_alone(intent, spec))
		return strdup(app);
	docker__spec_digest(spec, digest);
	return intent_format("%s.%s", app, digest);
}

bool docker__is_builtin(const char *network)
{
	return !strcmp(network, "host") || !strcmp(network, "none") || !strcmp(network, "bridge");
}

int64_t docker__drain_ms(const json_t *intent)
{
	return intent_json_duration(intent_json_at(intent, "/deploy/docker"), "drain", 0);
}
