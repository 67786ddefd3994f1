/* A container in the engine's words. */
#include <stdlib.h>
#include "runner.h"

#define NS_PER_MS 1000000

static json_t *environment(const json_t *spec, const json_t *variables)
{
	intent_json_auto json_t *all = json_copy(json_object_get(spec, "env"));
	json_t *list = json_array(), *value;
	const char *name;

	json_object_update(all, (json_t *)(uintptr_t)variables);
	json_object_foreach(all, name, value)
		if (json_is_string(value))
			json_array_append_new(list, json_sprintf("%s=%s", name, json_string_value(value)));
	return list;
}

static void add_ports(const json_t *spec, json_t *body, json_t *host)
{
	json_t *exposed = json_object(), *bindings = json_object(), *item;
	size_t i;

	json_array_foreach(json_object_get(spec, "ports"), i, item) {
		intent_free_auto char *name = intent_format("%lld/%s",
			(long long)intent_json_integer(item, "container", 0), intent_json_string(item,
												 "protocol", "tcp"));
		json_int_t port = intent_json_integer(item, "host", 0);

		json_object_set_new(exposed, name, json_object());
		if (!json_object_get(bindings, name))
			json_object_set_new(bindings, name, json_array());
		json_array_append_new(json_object_get(bindings, name),
			json_pack("{ss so}", "HostIp", intent_json_string(item, "address", ""), "HostPort",
				  port ? json_sprintf("%lld", (long long)port) : json_string("")));
	}
	json_object_set_new(body, "ExposedPorts", exposed);
	json_object_set_new(host, "PortBindings", bindings);
}

static json_t *mounts(const json_t *spec)
{
	json_t *list = json_array(), *item;
	size_t i;

	json_array_foreach(json_object_get(spec, "volumes"), i, item) {
		const char *volume = intent_json_string(item, "volume", NULL);

		json_array_append_new(list, json_pack("{ss ss ss sb}", "Type", volume ? "volume" : "bind", "Source",
			volume ? volume : intent_json_string(item, "path", ""), "Target",
			intent_json_string(item, "target", ""), "ReadOnly",
			intent_json_boolean(item, "read_only", false)));
	}
	return list;
}

static json_t *restart(const json_t *spec)
{
	const char *word = intent_json_string(spec, "restart", "always");

	/* What we stopped stays so when the engine comes back. */
	return json_pack("{ss}", "Name", !strcmp(word, "never") ? "no" :
			 !strcmp(word, "on-failure") ? "on-failure" : "unless-stopped");
}

static json_t *healthcheck(const json_t *health)
{
	json_t *test = json_pack("[s]", "CMD");

	json_array_extend(test, json_object_get(health, "command"));
	return json_pack("{so sI sI sI sI}", "Test", test,
		"Interval", (json_int_t)intent_json_duration(health, "interval", 0) * NS_PER_MS,
		"Timeout", (json_int_t)intent_json_duration(health, "timeout", 0) * NS_PER_MS,
		"Retries", (json_int_t)intent_json_integer(health, "retries", 0),
		"StartPeriod", (json_int_t)intent_json_duration(health, "start_period", 0) * NS_PER_MS);
}

static json_t *log_config(const json_t *log)
{
	json_t *options = json_object();

	if (json_object_get(log, "size"))
		json_object_set_new(options, "max-size",
				    json_sprintf("%lld", (long long)intent_json_integer(log, "size", 0)));
	if (json_object_get(log, "keep"))
		json_object_set_new(options, "max-file",
				    json_sprintf("%lld", (long long)intent_json_integer(log, "keep", 0)));
	return json_pack("{ss so}", "Type", "json-file", "Config", options);
}

json_t *docker__owner_labels(const struct docker__owner *owner)
{
	return json_pack("{ss ss ss*}", DOCKER__NODE, owner->node, DOCKER__APP, owner->app, DOCKER__STORE,
			 intent_starts_with(owner->store, "dir:") ? owner->store : NULL);
}

static json_t *labels(const json_t *spec, const struct docker__owner *owner)
{
	json_t *labels = json_copy(json_object_get(spec, "labels"));
	intent_free_auto char *whole = intent_json_canonical(spec);
	char digest[13];

	docker__spec_digest(spec, digest);
	labels = labels ? labels : json_object();
	json_object_update_new(labels, docker__owner_labels(owner));
	json_object_update_new(labels, json_pack("{sO ss ss}", DOCKER__VERSION, json_object_get(spec, "version"),
						 DOCKER__DIGEST, digest, DOCKER__SPEC, whole ? whole : ""));
	return labels;
}

json_t *docker__endpoint(const json_t *spec)
{
	json_t *aliases = json_pack("[O]", json_object_get(spec, "app"));

	json_array_extend(aliases, json_object_get(spec, "aliases"));
	return json_pack("{so}", "Aliases", aliases);
}

static json_t *host_config(const json_t *spec, json_t *body)
{
	const char *network = json_string_value(json_array_get(json_object_get(spec, "networks"), 0));
	const char *cpus = intent_json_string(spec, "cpus", NULL);
	json_t *host = json_pack("{so so}", "Mounts", mounts(spec), "RestartPolicy", restart(spec));

	add_ports(spec, body, host);
	if (network)
		json_object_set_new(host, "NetworkMode", json_string(network));
	if (json_object_get(spec, "memory"))
		json_object_set(host, "Memory", json_object_get(spec, "memory"));
	if (cpus)
		json_object_set_new(host, "NanoCpus", json_integer((json_int_t)(strtod(cpus, NULL) * 1e9)));
	if (json_object_get(spec, "log"))
		json_object_set_new(host, "LogConfig", log_config(json_object_get(spec, "log")));
	return host;
}

json_t *docker__create_body(const json_t *spec, const struct docker__owner *owner, const json_t *variables)
{
	const char *network = json_string_value(json_array_get(json_object_get(spec, "networks"), 0));
	json_t *body = json_pack("{sO so so}", "Image", json_object_get(spec, "image"), "Env",
				 environment(spec, variables), "Labels", labels(spec, owner));

	json_object_set_new(body, "HostConfig", host_config(spec, body));
	if (json_object_get(spec, "entrypoint"))
		json_object_set(body, "Entrypoint", json_object_get(spec, "entrypoint"));
	if (json_object_get(spec, "command"))
		json_object_set(body, "Cmd", json_object_get(spec, "command"));
	if (json_object_get(spec, "user"))
		json_object_set(body, "User", json_object_get(spec, "user"));
	if (json_object_get(spec, "stop_timeout"))
		json_object_set(body, "StopTimeout", json_object_get(spec, "stop_timeout"));
	if (json_object_get(spec, "health"))
		json_object_set_new(body, "Healthcheck", healthcheck(json_object_get(spec, "health")));
	/* One of them here, the others before it is started: an engine before 1.44 takes no more. */
	if (network && !docker__is_builtin(network))
		json_object_set_new(body, "NetworkingConfig",
				    json_pack("{s{so}}", "EndpointsConfig", network, docker__endpoint(spec)));
	return body;
}
