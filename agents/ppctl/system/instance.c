/* One instance of a component becomes its documents: an image or a stack. */
#include "parts.h"

/* ---- images that everybody knows ---- */

/* What an image does not tell without being asked: where it listens, where its data is. */
static const struct {
	const char *name;
	int port;
	const char *volume;
} known_images[] = {
	{"postgres", 5432, "/var/lib/postgresql/data"},
	{"postgresql", 5432, "/var/lib/postgresql/data"},
	{"redis", 6379, "/data"},
	{"valkey", 6379, "/data"},
	{"mysql", 3306, "/var/lib/mysql"},
	{"mariadb", 3306, "/var/lib/mysql"},
	{"mongo", 27017, "/data/db"},
	{"mongodb", 27017, "/data/db"},
	{"rabbitmq", 5672, "/var/lib/rabbitmq"},
	{"elasticsearch", 9200, "/usr/share/elasticsearch/data"},
	{"cassandra", 9042, "/var/lib/cassandra"},
	{"influxdb", 8086, "/var/lib/influxdb"},
	{"minio", 9000, "/data"},
	{"nats", 4222, NULL},
	{"memcached", 11211, NULL},
};

void system_know_image(json_t *instance)
{
	const char *where = intent_json_string(instance, "where", ""), *slash = strrchr(where, '/');
	const char *name = slash ? slash + 1 : where;
	size_t length = strcspn(name, ":@");

	if (strcmp(intent_json_string(instance, "kind", ""), "image"))
		return;
	for (size_t i = 0; i < sizeof(known_images) / sizeof(*known_images); i++) {
		if (strlen(known_images[i].name) != length || strncmp(known_images[i].name, name, length))
			continue;
		if (!intent_json_integer(instance, "port", 0))
			json_object_set_new(instance, "port", json_integer(known_images[i].port));
		if (!json_object_get(instance, "volume") && known_images[i].volume)
			json_object_set_new(instance, "volume", json_string(known_images[i].volume));
	}
}

/* ---- images ---- */

/* The same port for the same name, wherever possible: other documents, and firewalls, name it. */
static int host_port(struct compiler *compiler, const char *name)
{
	uint32_t hash = 2166136261u;

	for (const char *p = name; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	for (;; hash++) {
		char port[16];
		snprintf(port, sizeof(port), "%u", 20000 + hash % 10000);
		if (json_object_get(compiler->ports, port))
			continue;
		json_object_set_new(compiler->ports, port, json_string(name));
		return (int)(20000 + hash % 10000);
	}
}

/* The version of an image is its tag: "4", "latest", "sha256:..." */
static char *image_version(const char *image)
{
	const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image, *digest = strchr(name, '@');
	const char *tag = digest ? digest + 1 : strchr(name, ':') ? strchr(name, ':') + 1 : "latest";

	return intent_name_is_valid(tag) ? strdup(tag) : strdup("1");
}

/*
 * In its network an image is reached by its name. Who is not in it, a service under runit or on another node,
 * takes a port of the image's node.
 */
static void reach(struct compiler *compiler, json_t *instance, json_t *docker)
{
	const json_t *nodes = json_object_get(compiler->world->document, "nodes");
	bool alone = json_array_size(nodes) == 1, outside = json_array_size(nodes) > 1;
	int64_t port = intent_json_integer(instance, "port", 0);
	const char *name = intent_json_string(instance, "name", "");
	size_t index;
	json_t *consumer;

	json_array_foreach(json_object_get(instance, "consumers"), index, consumer)
		outside = outside || !strcmp(json_string_value(consumer), "runit");
	if (!outside)
		return;
	if (!port) {
		system_fault_of(compiler->system->faults, instance, "\"%s\" is an image whose port is not known, and not everybody who needs it is in its network; "
			     "write its line as {resolver: \"docker://%s\", port: PORT}",
			     intent_json_string(instance, "component", ""), intent_json_string(instance, "where", ""));
		return;
	}
	int host = host_port(compiler, name);
	json_object_set_new(docker, "ports", json_pack("[{sI si ss*}]", "container", (json_int_t)port, "host", host,
						       "address", alone ? "127.0.0.1" : NULL));
	const char *address = alone ? "127.0.0.1" : json_string_value(json_array_get(nodes, 0));
	json_object_set_new(instance, "outside", json_pack("{ss si}", "host", address, "port", host));
}

static void emit_image(struct compiler *compiler, json_t *instance)
{
	const char *name = intent_json_string(instance, "name", ""), *world = compiler->world->name;
	const char *where = intent_json_string(instance, "where", ""), *volume = intent_json_string(instance, "volume", NULL);
	intent_free_auto char *version = image_version(where);
	const json_t *node = json_array_get(json_object_get(compiler->world->document, "nodes"), 0);
	bool docker = system_can(compiler->world, "deploy:docker");
	json_t *section = json_pack("{sb}", "stateful", 1);

	if (!version || !section)
		return;
	if (json_object_size(json_object_get(instance, "params")))
		json_object_set_new(section, "env", system_texts(json_object_get(instance, "params")));
	json_object_set_new(instance, "host", json_string(name));
	if (volume)
		json_object_set_new(section, "volumes", json_pack("[{ss ss}]", "volume", name, "target", volume));
	if (docker) {
		json_object_set_new(section, "networks",
				    json_pack("[s]", intent_json_string(instance, "network", "")));
		reach(compiler, instance, section);
		if (node)
			system_put(compiler, json_pack("{ss}", "cluster", world), "nodes/%s/%s",
				   json_string_value(node), name);
	} else {
		json_object_set_new(section, "namespace", json_string(intent_json_string(compiler->world->document,
											 "namespace", world)));
		if (intent_json_integer(instance, "port", 0))
			json_object_set_new(section, "ports", json_pack("[I]", (json_int_t)intent_json_integer(instance, "port", 0)));
	}
	system_put(compiler, json_pack("{s{ss} s{s{ss}}}", "versions", version, "active", "artifacts", version, "image", where),
	    "clusters/%s/%s/config", name, world);
	system_put(compiler, json_pack("{so}", docker ? "docker" : "kubernetes", section), "clusters/%s/%s/deploy_config", name,
	    world);
	json_object_set_new(instance, "key", json_sprintf("clusters/%s/%s/config", name, world));
}

/* Every string of the world's state with the stack's name for %s. *ret_named: was there one? */
static json_t *state_of(const json_t *state, const char *name, bool *ret_named)
{
	json_t *own = json_object(), *value;
	const char *member;

	json_object_foreach((json_t *)(uintptr_t)state, member, value) {
		intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
		const char *text = json_string_value(value), *at;

		if (!text) {
			json_object_set(own, member, value);
			continue;
		}
		for (; (at = strstr(text, "%s")); text = at + 2) {
			intent_text_add(&out, text, (size_t)(at - text));
			intent_text_puts(&out, name);
			*ret_named = true;
		}
		intent_text_puts(&out, text);
		json_object_set_new(own, member, json_string(intent_text_str(&out)));
	}
	return own;
}

static void add_query(struct intent_text *out, const json_t *state, const char *member, const char *name)
{
	const char *value = intent_json_string(state, member, NULL);

	if (!value)
		return;
	intent_text_printf(out, "%c%s=", strchr(intent_text_str(out), '?') ? '&' : '?', name);
	intent_url_escape(out, value, "/:");
}

/* How pp-configmap-injector reads that state; NULL: it cannot. New. */
static char *state_reference(const json_t *state)
{
	const char *backend = intent_json_string(state, "backend", "");
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	intent_text_puts(&out, "tfstate:");
	if (!strcmp(backend, "local")) {
		intent_text_puts(&out, intent_json_string(state, "path", ""));
	} else if (!strcmp(backend, "s3")) {
		intent_text_printf(&out, "s3://%s/%s", intent_json_string(state, "bucket", ""),
				   intent_json_string(state, "key", ""));
		add_query(&out, state, "region", "region");
		add_query(&out, state, "endpoint", "endpoint");
	} else if (!strcmp(backend, "consul")) {
		intent_text_printf(&out, "consul%s://%s/%s",
				   !strcmp(intent_json_string(state, "scheme", "http"), "https") ? "+https" : "",
				   intent_json_string(state, "address", "127.0.0.1:8500"),
				   intent_json_string(state, "path", ""));
	} else if (!strcmp(backend, "http")) {
		intent_text_puts(&out, intent_json_string(state, "address", ""));
	} else if (!strcmp(backend, "kubernetes")) {
		intent_text_printf(&out, "kubernetes://%s/%s", intent_json_string(state, "namespace", "default"),
				   intent_json_string(state, "secret_suffix", ""));
	} else {
		return NULL;
	}
	return intent_text_steal(&out);
}

static void emit_stack(struct compiler *compiler, json_t *instance)
{
	const struct system_world *world = compiler->world;
	const char *name = intent_json_string(instance, "name", "");
	const json_t *state = json_object_get(world->document, "state");
	intent_free_auto char *key = intent_format("worlds/%s", world->name);
	bool named = false;
	json_t *own = state_of(state, name, &named);
	intent_free_auto char *reference = state_reference(own);

	if (!state)
		system_key_fault(world, key, "", compiler->system->faults,
				 "world \"%s\" does not say where Terraform keeps its states, and \"%s\" is made by it; add "
				 "\"state: {backend: s3, bucket: ..., key: \"states/%%s.tfstate\", region: ...}\"", world->name,
				 name);
	else if (!named)
		system_key_fault(world, key, "/state", compiler->system->faults,
				 "state has no %%s, so all stacks would share one; write the stack's name into it, such as key: "
				 "\"states/%%s.tfstate\"");
	else if (!reference)
		system_key_fault(world, key, "/state/backend", compiler->system->faults,
				 "nobody can read values out of a state of backend \"%s\"; take local, s3, consul, http or "
				 "kubernetes", intent_json_string(own, "backend", ""));
	json_object_set_new(instance, "reference", json_string(reference ? reference : ""));
	json_object_set_new(instance, "key", json_sprintf("stacks/%s/%s", world->name, name));
	json_t *document = json_pack("{ss so ss}", "source", intent_json_string(instance, "where", ""), "state", own, "lock",
				     world->name);
	if (json_object_size(json_object_get(instance, "params")))
		json_object_set(document, "vars", json_object_get(instance, "params"));
	system_put(compiler, document, "stacks/%s/%s", world->name, name);
}

void system_emit_instance(struct compiler *compiler, json_t *instance)
{
	const char *kind = intent_json_string(instance, "kind", "");

	if (!strcmp(kind, "image"))
		emit_image(compiler, instance);
	else if (!strcmp(kind, "stack"))
		emit_stack(compiler, instance);
}
