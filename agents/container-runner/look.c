/* Whose a container is, and how it is. */
#include <intent/health.h>
#include <stdlib.h>
#include "runner.h"

struct docker__owner docker__owner_of(const struct intent_round *round)
{
	const json_t *intent = intent_round_intent(round);

	return (struct docker__owner){
		.node = intent_json_string(intent, "node", ""), .app = intent_json_string(intent, "app", ""),
		.store = intent_round_store_url(round),
	};
}

/*
 * One machine may have several directory stores, and in each the same node: what was made from another one is not
 * ours. A server is one for all, however it is spelled.
 */
bool docker__is_ours(const json_t *labels, const struct docker__owner *owner)
{
	const char *store = intent_json_string(labels, DOCKER__STORE, owner->store);

	return !strcmp(intent_json_string(labels, DOCKER__NODE, ""), owner->node) &&
		(!owner->app || !strcmp(intent_json_string(labels, DOCKER__APP, ""), owner->app)) &&
		(!intent_starts_with(owner->store, "dir:") || !strcmp(store, owner->store));
}

int docker__list(struct engine *engine, const struct docker__owner *owner, bool all, json_t **ret_new,
		 struct intent_error *err)
{
	json_t *labels = json_pack("[oo]", json_sprintf("%s=%s", DOCKER__NODE, owner->node),
				   json_sprintf("%s=%s", DOCKER__APP, owner->app)), *item;
	intent_json_auto json_t *found = NULL;
	json_t *ids;
	size_t i;

	if (engine__find(engine, all ? "/containers/json?all=1&" : "/containers/json?", "label", labels, &found, err))
		return err->code;
	ids = json_array();
	json_array_foreach(found, i, item)
		if (docker__is_ours(json_object_get(item, "Labels"), owner))
			json_array_append(ids, json_object_get(item, "Id"));
	*ret_new = ids;
	return 0;
}

/* ---- health ---- */

static void take_binding(const json_t *binding, const char **address, int64_t *port)
{
	const char *host = intent_json_string(binding, "HostIp", "");

	*address = !*host || !strcmp(host, "0.0.0.0") || !strcmp(host, "::") ? "127.0.0.1" : host;
	*port = strtoll(intent_json_string(binding, "HostPort", "0"), NULL, 10);
}

/* Where a port of the container is reached from here: published, else at its own address. */
static void reach(const json_t *inspected, const char **address, int64_t *port)
{
	const json_t *ports = intent_json_at(inspected, "/NetworkSettings/Ports");
	intent_free_auto char *inside = intent_format("%lld/tcp", (long long)*port);
	const char *name;
	json_t *bindings, *network;

	*address = "127.0.0.1";
	bindings = json_object_get(ports, inside);
	if (json_array_size(bindings)) {
		take_binding(json_array_get(bindings, 0), address, port);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)ports, name, bindings) {
		const json_t *binding = json_array_get(bindings, 0);

		if (strtoll(intent_json_string(binding, "HostPort", "0"), NULL, 10) == *port) {
			take_binding(binding, address, port);
			return;
		}
	}
	json_object_foreach(intent_json_at(inspected, "/NetworkSettings/Networks"), name, network)
		if (*intent_json_string(network, "IPAddress", "")) {
			*address = intent_json_string(network, "IPAddress", "");
			return;
		}
}

/* One of the checks, together with how long it is to be up. */
static bool is_reached(const json_t *health, const char *kind, const json_t *inspected,
		       const struct intent_health_subject *subject, struct intent_error *err)
{
	struct intent_health_subject there = *subject;
	intent_json_auto json_t *one = json_copy((json_t *)(uintptr_t)health);
	json_t *check = json_object_get(one, kind);
	int64_t port = json_is_integer(check) ? json_integer_value(check) : intent_json_integer(check, "port", 0);

	json_object_del(one, !strcmp(kind, "tcp") ? "http" : "tcp");
	if (port) {
		reach(inspected, &there.address, &port);
		if (json_is_integer(check))
			json_object_set_new(one, kind, json_integer(port));
		else
			json_object_set_new(one, kind, json_pack("{sI ss}", "port", (json_int_t)port, "path",
								 intent_json_string(check, "path", "/")));
	}
	return !intent_health_check(one, &there, err);
}

/* The last thing that the check inside said. */
static void add_inside(const json_t *health, struct intent_text *ret)
{
	const json_t *log = json_object_get(health, "Log");
	const json_t *last = json_array_size(log) ? json_array_get(log, json_array_size(log) - 1) : NULL;
	const char *said = intent_json_string(last, "Output", "");
	char words[200];

	if (strcmp(intent_json_string(health, "Status", "none"), "unhealthy") != 0) {
		intent_text_puts(ret, "the check inside has not succeeded yet");
		return;
	}
	snprintf(words, sizeof words, "%.190s", said);
	words[strcspn(words, "\r\n")] = '\0';
	intent_utf8_clean(words);
	intent_text_printf(ret, "the check inside fails%s%s", *words ? ": " : "", words);
}

static void add_down(const json_t *state, struct intent_text *ret)
{
	const char *status = intent_json_string(state, "Status", "gone"), *error = intent_json_string(state,
												      "Error", "");
	char words[300];

	snprintf(words, sizeof words, "%.290s", error);
	intent_utf8_clean(words);
	intent_text_printf(ret, "it is %s", !strcmp(status, "created") ? "not started" : status);
	if (strcmp(status, "created") && strcmp(status, "paused"))
		intent_text_printf(ret, ", with exit status %lld%s", (long long)intent_json_integer(state,
												    "ExitCode", 0),
				   intent_json_boolean(state, "OOMKilled", false) ? " (out of memory)" : "");
	if (*words)
		intent_text_printf(ret, ": %s", words);
}

void docker__health(const json_t *intent, const json_t *inspected, struct intent_text *ret, int64_t *ret_up_ms)
{
	const json_t *state = json_object_get(inspected, "State"), *health = intent_json_at(intent, "/deploy/health");
	const json_t *inside = json_object_get(state, "Health");
	const char *status = intent_json_string(inside, "Status", "none");
	struct intent_health_subject subject = {
		.exits = (int)intent_json_integer(inspected, "RestartCount", 0),
	};
	struct intent_error err = { 0 };
	int64_t started;

	*ret_up_ms = -1;
	if (strcmp(intent_json_string(state, "Status", ""), "running")) {
		add_down(state, ret);
		return;
	}
	if (intent_time_parse(intent_json_string(state, "StartedAt", ""), &started, &err))
		started = intent_time_now();
	subject.up_ms = intent_time_now() > started ? intent_time_now() - started : 0;
	*ret_up_ms = subject.up_ms;
	if (*status && strcmp(status, "none") && strcmp(status, "healthy"))
		add_inside(inside, ret);
	else if (!is_reached(health, "tcp", inspected, &subject, &err) ||
		 !is_reached(health, "http", inspected, &subject, &err))
		intent_text_puts(ret, err.msg);
}
