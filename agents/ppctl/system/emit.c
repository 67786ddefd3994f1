/* One service becomes its documents, and gets what it needs. */
#include <ctype.h>
#include <stdarg.h>
#include <intent/source.h>
#include "parts.h"

/* ---- documents ---- */

void system_put(struct compiler *compiler, json_t *document, const char *format, ...)
{
	char key[INTENT_KEY_MAX + 1];
	va_list ap;

	va_start(ap, format);
	vsnprintf(key, sizeof(key), format, ap);
	va_end(ap);
	json_object_set_new(compiler->documents, key, document);
}

json_t *system_text(const json_t *value)
{
	if (json_is_string(value))
		return json_incref((json_t *)(uintptr_t)value);
	char *bytes = intent_json_canonical(value);
	json_t *text = json_string(bytes ? bytes : "");
	free(bytes);
	return text;
}

/* Every value as a string, as the environment has it. New. */
json_t *system_texts(const json_t *object)
{
	json_t *result = json_object(), *value;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)object, name, value)
		json_object_set_new(result, name, system_text(value));
	return result;
}

const char *system_keep_port(struct compiler *compiler, int64_t port, const char *who)
{
	char name[24];
	const char *other;

	snprintf(name, sizeof(name), "%lld", (long long)port);
	other = json_string_value(json_object_get(compiler->ports, name));
	if (!other)
		json_object_set_new(compiler->ports, name, json_string(who));
	return other && strcmp(other, who) ? other : NULL;
}

static bool port_is_free(const struct compiler *compiler, int64_t port)
{
	char name[24];

	snprintf(name, sizeof(name), "%lld", (long long)port);
	return !json_object_get(compiler->ports, name);
}

/* ---- what a service gets from them ---- */

/* Of an image: where it is, else what it was given; NULL: it has no such thing. New. */
static json_t *value_of_image(const json_t *instance, const char *name)
{
	const char *param;
	json_t *value;

	if (!strcasecmp(name, "host") || !strcasecmp(name, "hostname") || !strcasecmp(name, "address"))
		return json_incref(json_object_get(instance, "host"));
	if (!strcasecmp(name, "port") && intent_json_integer(instance, "port", 0))
		return json_incref(json_object_get(instance, "port"));
	json_object_foreach(json_object_get(instance, "params"), param, value)
		if (!strcasecmp(param, name))
			return json_incref(value);
	return NULL;
}

/* One export: {"value"} or {"from"}; NULL: there is none. New. */
static json_t *export_of(struct compiler *compiler, const json_t *instance, const char *name, const json_t *says)
{
	const char *kind = intent_json_string(instance, "kind", "");
	const char *output = json_is_string(says) ? json_string_value(says) : intent_json_string(says, "output", NULL);
	json_t *given = json_is_integer(says) ? (json_t *)(uintptr_t)says : json_object_get(says, "value"), *value;

	if (!strcmp(kind, "stack") && (output || !given)) {
		intent_free_auto char *lower = system_lower(name);
		value = json_pack("{so}", "from", json_sprintf("%s#%s", intent_json_string(instance, "reference", ""),
							       output ? output : lower));
		if (intent_json_boolean(says, "sensitive", false))
			json_object_set_new(value, "sensitive", json_true());
		if (intent_json_boolean(says, "optional", false))
			json_object_set_new(value, "optional", json_true());
		return value;
	}
	value = !strcmp(kind, "image") ? value_of_image(instance, name) : NULL;
	if (!value && given)
		value = json_incref(given);
	if (!value && json_is_string(says) && !strcmp(kind, "static"))
		value = json_incref((json_t *)(uintptr_t)says);
	if (!value && !strcmp(kind, "static"))
		value = value_of_image(instance, name);
	if (!value && !strcmp(kind, "static") && !intent_json_boolean(says, "optional", false))
		system_fault_of(compiler->system->faults, instance, "\"%s\" is there already (static:) in world \"%s\", but nobody says its \"%s\"; write it into its "
			     "exports or params", intent_json_string(instance, "component", ""), compiler->world->name, name);
	return value ? json_pack("{so}", "value", value) : NULL;
}

static void add_export(struct compiler *compiler, json_t *values, const char *prefix, const json_t *instance,
		       const char *name, const json_t *says)
{
	json_t *value = export_of(compiler, instance, name, says);
	char *variable = intent_format("%s%s", prefix, name);

	for (char *p = variable ? variable + strlen(prefix) : NULL; p && *p; p++)
		*p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
	if (value && variable && json_object_get(values, variable))
		json_decref(value);
	else if (value && variable)
		json_object_set_new(values, variable, value);
	free(variable);
}

static void add_exports(struct compiler *compiler, json_t *values, const char *prefix, const json_t *instance)
{
	const json_t *exports = json_object_get(instance, "exports");
	const char *kind = intent_json_string(instance, "kind", ""), *name;
	size_t index;
	json_t *item;

	if (!strcmp(kind, "image")) {
		add_export(compiler, values, prefix, instance, "host", NULL);
		add_export(compiler, values, prefix, instance, "port", NULL);
	}
	json_array_foreach((json_t *)(uintptr_t)exports, index, item)
		add_export(compiler, values, prefix, instance, json_string_value(item), NULL);
	if (json_is_object(exports))
		json_object_foreach((json_t *)(uintptr_t)exports, name, item)
			add_export(compiler, values, prefix, instance, name, item);
	if (exports || !strcmp(kind, "image"))
		return;
	system_fault_of(compiler->system->faults, instance, "\"%s\" is %s%s in world \"%s\", and nothing says what a service gets from it; add \"exports: [host, port]\" "
		     "to the component, or a slug \"%s\" with exports to a resource repository of that world",
		     intent_json_string(instance, "component", ""), !strcmp(kind, "stack") ? "terraform:" : "static:",
		     intent_json_string(instance, "where", ""), compiler->world->name,
		     intent_json_string(instance, "component", ""));
}

/* Where the values go: beside the service, or into its namespace. New. */
static json_t *sinks_of(struct compiler *compiler, const json_t *unit, const char *name, const char *envdir)
{
	const char *world = compiler->world->name;
	const char *space = intent_json_string(compiler->world->document, "namespace", world);
	intent_free_auto char *lower = system_lower(name);

	if (strcmp(intent_json_string(unit, "target", ""), "kubernetes"))
		return json_pack("[{ss ss sO}]", "type", "envdir", "path", envdir, "nodes", json_object_get(unit, "nodes"));
	return json_pack("[{ss ss ss} {ss ss ss}]", "type", "configmap", "namespace", space, "name", lower, "type",
			 "secret", "namespace", space, "name", lower);
}

static bool out_of_network(const struct compiler *compiler, const json_t *unit)
{
	const char *target = intent_json_string(unit, "target", "");

	return !strcmp(target, "runit") || (!strcmp(target, "docker") &&
		json_array_size(json_object_get(compiler->world->document, "nodes")) > 1);
}

static bool inject(struct compiler *compiler, const json_t *unit, const char *name, const char *envdir)
{
	json_t *values = json_object(), *instance;
	const char *prefix;

	json_object_foreach(json_object_get(unit, "needs"), prefix, instance) {
		intent_json_auto json_t *view =
			json_copy(json_object_get(compiler->instances, json_string_value(instance)));

		if (out_of_network(compiler, unit))
			json_object_update(view, json_object_get(view, "outside"));
		add_exports(compiler, values, prefix, view);
	}
	if (!json_object_size(values)) {
		json_decref(values);
		return false;
	}
	system_put(compiler, json_pack("{so so}", "values", values, "sinks", sinks_of(compiler, unit, name, envdir)),
	    "injections/%s/%s", compiler->world->name, name);
	return true;
}

/* ---- a service ---- */

/* "listens on": the node's ports that deploy_config speaks of, and those that an engine publishes. */
static void emit_ports(struct compiler *compiler, const json_t *unit, json_t *deploy, json_t *section)
{
	const json_t *ports = json_object_get(json_object_get(unit, "says"), "ports");
	const char *target = intent_json_string(unit, "target", "");
	json_t *open = json_array(), *published = json_array(), *item;
	size_t index;

	json_array_foreach((json_t *)(uintptr_t)ports, index, item) {
		int64_t port = json_is_integer(item) ? json_integer_value(item) : intent_json_integer(item, "port", 0);
		int64_t publish = intent_json_integer(item, "publish", 0);
		const char *protocol = intent_json_string(item, "protocol", NULL);
		json_t *row = json_is_integer(item) ? json_incref(item) : json_deep_copy(item);

		if (!strcmp(target, "runit")) {
			json_object_del(row, "publish");
			json_array_append_new(open, row);
			continue;
		}
		/* On a person's machine the number they know, as long as only one wants it. */
		if (!publish && compiler->world->local && port_is_free(compiler, port))
			publish = port;
		json_array_append_new(published, json_pack("{sI ss*}", "container", (json_int_t)port, "protocol", protocol));
		if (publish) {
			system_keep_port(compiler, publish,
					 intent_json_string(json_object_get(unit, "service"), "name", ""));
			json_object_set_new(json_array_get(published, json_array_size(published) - 1), "host",
					    json_integer(publish));
			if (json_is_object(row)) {
				json_object_del(row, "publish");
				json_object_set_new(row, "port", json_integer(publish));
			}
			json_array_append_new(open, json_is_object(row) ? json_incref(row) : json_integer(publish));
		}
		json_decref(row);
	}
	if (json_array_size(open) && strcmp(target, "kubernetes"))
		json_object_set(deploy, "ports", open);
	if (json_array_size(published))
		json_object_set(section, "ports", !strcmp(target, "docker") ? published : (json_t *)(uintptr_t)ports);
	json_decref(open);
	json_decref(published);
}

static void copy(json_t *to, const json_t *from, const char *const *members)
{
	for (; *members; members++)
		if (json_object_get(from, *members))
			json_object_set(to, *members, json_object_get(from, *members));
}

static void emit_section(struct compiler *compiler, const json_t *unit, json_t *section)
{
	static const char *const shared[] = {"command", "stateful", "volumes", NULL};
	const json_t *says = json_object_get(unit, "says"), *service = json_object_get(unit, "service");
	const char *world = compiler->world->name, *name = intent_json_string(service, "name", "");
	intent_free_auto char *network = system_lower(intent_json_string(service, "application", ""));
	intent_free_auto char *lower = system_lower(name);

	copy(section, says, shared);
	if (json_object_get(says, "memory"))
		json_object_set(section, "memory", json_object_get(says, "memory"));
	if (json_object_get(says, "cpus"))
		json_object_set_new(section, "cpus", system_text(json_object_get(says, "cpus")));
	if (!strcmp(intent_json_string(unit, "target", ""), "docker")) {
		json_object_set_new(section, "networks", json_pack("[s]", network));
		if (json_object_get(says, "runas"))
			json_object_set(section, "user", json_object_get(says, "runas"));
		return;
	}
	json_object_set_new(section, "namespace",
			    json_string(intent_json_string(compiler->world->document, "namespace", world)));
	json_object_set_new(section, "replicas", json_integer(intent_json_integer(says, "replicas", 1)));
	if (json_object_size(json_object_get(unit, "needs")))
		json_object_update_new(section, json_pack("{ss ss}", "configmap", lower, "secret", lower));
}

static void emit_deploy(struct compiler *compiler, const json_t *unit, const char *name, const char *basedir,
			const char *envdir)
{
	static const char *const handed[] = {"health", "stop_timeout", "on_failure", "restart", "log", NULL};
	const json_t *says = json_object_get(unit, "says");
	const char *target = intent_json_string(unit, "target", "");
	const char *runas = intent_json_string(says, "runas", intent_json_string(compiler->world->document, "runas", NULL));
	bool runit = !strcmp(target, "runit");
	json_t *deploy = json_object(), *section = json_object(), *limits;

	copy(deploy, says, handed);
	if (json_object_size(json_object_get(says, "environment")))
		json_object_set_new(deploy, "environment", system_texts(json_object_get(says, "environment")));
	emit_ports(compiler, unit, deploy, section);
	if (inject(compiler, unit, name, envdir) && strcmp(target, "kubernetes"))
		json_object_set_new(deploy, "envdir", json_string(envdir));
	if (runit) {
		limits = json_object_get(says, "limits") ? json_deep_copy(json_object_get(says, "limits")) : json_object();
		if (json_object_get(says, "memory") && json_is_object(limits))
			json_object_set(limits, "memory", json_object_get(says, "memory"));
		if (!json_is_object(limits) || json_object_size(limits))
			json_object_set(deploy, "limits", limits);
		json_decref(limits);
		json_object_set_new(deploy, "basedir", json_string(basedir));
		if (runas)
			json_object_set_new(deploy, "runas", json_string(runas));
		json_decref(section);
	} else {
		emit_section(compiler, unit, section);
		json_object_set_new(deploy, target, section);
	}
	system_put(compiler, deploy, "clusters/%s/%s/deploy_config", name, compiler->world->name);
}

/* The source as it was written, but without its path and ref. */
static json_t *repository_of(const struct intent_source *source)
{
	size_t length = strlen(source->url);

	return json_stringn(source->url, length - (intent_starts_with(source->url, "gh://") ? strlen(".git") : 0));
}

/* How it is built: an image where there is a Dockerfile, else an archive for the preparer. */
static void emit_app(struct compiler *compiler, json_t *unit, const char *name)
{
	const json_t *service = json_object_get(unit, "service"), *says = json_object_get(unit, "says");
	const struct system_world *world = compiler->world;
	const char *source = intent_json_string(service, "source", ""), *path = intent_json_string(service, "path", "");
	const char *dockerfile = intent_json_string(service, "dockerfile", NULL);
	const char *image = intent_json_string(service, "image", NULL);
	const char *artifacts = intent_json_string(world->document, "artifacts", NULL);
	bool runit = !strcmp(intent_json_string(unit, "target", ""), "runit");
	const char *recipe = !runit && dockerfile ? "image" : runit && artifacts ? "tarball" : NULL;
	intent_free_auto char *lower = system_lower(name);
	struct intent_source parsed = {0};
	struct intent_error ignored;
	json_t *app = json_object(), *steps;

	if (world->local || intent_starts_with(source, "dir:"))
		json_object_set_new(app, "repo", json_sprintf("dir:%s", intent_json_string(service, "checkout", "")));
	else if (!intent_source_parse(source, "gh://", &parsed, &ignored))
		json_object_set_new(app, "repo", repository_of(&parsed));
	if (*path)
		json_object_set_new(app, "path", json_string(path));
	if (recipe && !strcmp(recipe, "image"))
		steps = json_pack("{s{ss ss sb}}", "image", "name", image && !world->local ? image : lower, "dockerfile",
				  dockerfile, "push", image && !world->local);
	else
		steps = json_pack("{s{ss* sO* sO*}}", "tarball", "repository", artifacts, "command",
				  json_object_get(says, "build"), "directory", json_object_get(says, "output"));
	if (recipe) {
		json_object_set_new(app, "recipes", json_pack("{sO}", recipe, steps));
		json_object_set_new(app, "rules", json_pack("[{ss ss ss}]", "ref", parsed.ref && !world->local ? parsed.ref : "HEAD",
							    "recipe", recipe, "world", world->name));
		json_object_set_new(unit, "recipe", json_string(recipe));
	}
	json_decref(steps);
	intent_source_release(&parsed);
	system_put(compiler, app, "apps/%s", name);
}

void system_emit_service(struct compiler *compiler, json_t *unit)
{
	const json_t *service = json_object_get(unit, "service"), *says = json_object_get(unit, "says");
	const char *name = intent_json_string(service, "name", ""), *world = compiler->world->name;
	const char *below = intent_json_string(compiler->world->document, "basedir", "/srv");
	intent_free_auto char *basedir = intent_format("%s/%s", below, name);
	intent_free_auto char *envdir = intent_format("%s/env", basedir);
	json_t *config = json_pack("{s{}}", "versions"), *node;
	size_t index;

	if (json_object_get(says, "min_nodes"))
		json_object_set(config, "min_nodes", json_object_get(says, "min_nodes"));
	if (json_object_get(says, "config"))
		json_object_set(config, "user_config", json_object_get(says, "config"));
	system_put(compiler, config, "clusters/%s/%s/config", name, world);
	emit_deploy(compiler, unit, name, basedir, envdir);
	emit_app(compiler, unit, name);
	if (strcmp(intent_json_string(unit, "target", ""), "kubernetes"))
		json_array_foreach(json_object_get(unit, "nodes"), index, node)
			system_put(compiler, json_pack("{ss}", "cluster", world), "nodes/%s/%s",
				   json_string_value(node), name);
}

/* Worlds and repositories that are kept beside sysdef.yaml are part of what it says. */
void system_emit_files(struct compiler *compiler)
{
	const json_t *file;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)compiler->world->files, key, file) {
		const json_t *document = intent_starts_with(key, "worlds/") ? compiler->world->document :
			json_object_get(compiler->world->resources, key + strlen("resources/"));
		if (document)
			system_put(compiler, json_deep_copy(document), "%s", key);
	}
}
