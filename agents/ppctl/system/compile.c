/* The compiler: services and what they need become documents of a world. */
#include <ctype.h>
#include "parts.h"

/* ---- which target ---- */

static const struct {
	const char *target, *capability;
	bool image; /* runs an image */
} targets[] = {
	{"docker", "deploy:docker", true},
	{"kubernetes", "deploy:kubernetes", true},
	{"runit", "deploy:runit", false},
};
#define TARGETS (sizeof(targets) / sizeof(*targets))

static void capabilities(struct intent_text *out, const struct system_world *world)
{
	size_t index;
	json_t *item;

	json_array_foreach(json_object_get(world->document, "capabilities"), index, item)
		intent_text_printf(out, "%s%s", index ? ", " : "", json_string_value(item));
	if (!out->length)
		intent_text_puts(out, "none");
}

static void cannot(struct compiler *compiler, const json_t *service, const char *wanted, const char *why)
{
	intent_text_auto struct intent_text can = INTENT_TEXT_INIT;

	capabilities(&can, compiler->world);
	system_fault_of(compiler->system->faults, service, "world \"%s\" cannot run \"%s\"%s: that needs %s, and its capabilities are %s; add it to the "
		     "capabilities of worlds/%s, or take another world", compiler->world->name,
		     intent_json_string(service, "name", ""), why, wanted, intent_text_str(&can),
		     compiler->world->name);
}

/* What deployd.yaml wants, else what fits what there is to run. NULL: said why. */
static const char *choose_target(struct compiler *compiler, const json_t *service, const json_t *says)
{
	const char *wanted = intent_json_string(says, "deploy", NULL);
	bool image = json_object_get(service, "image") || json_object_get(service, "dockerfile");
	bool launch = intent_json_boolean(service, "launch", false);

	for (size_t i = 0; i < TARGETS; i++)
		if (wanted && !strcmp(targets[i].target, wanted)) {
			if (system_can(compiler->world, targets[i].capability))
				return targets[i].target;
			cannot(compiler, service, targets[i].capability, ", which says \"deploy\"");
			return NULL;
		}
	for (size_t i = 0; i < TARGETS; i++)
		if (targets[i].image == image && system_can(compiler->world, targets[i].capability))
			return targets[i].target;
	/* An image's source may well have a bin/launch too; a mere program never becomes an image. */
	if (image && launch && system_can(compiler->world, "deploy:runit"))
		return "runit";
	if (image && system_can(compiler->world, "deploy:runit") && !compiler->world->local)
		return "runit";
	cannot(compiler, service, image ? "deploy:docker, deploy:kubernetes or deploy:runit" : "deploy:runit",
	       image ? "" : ", which has neither an image nor a Dockerfile");
	return NULL;
}

/* ---- what is needed ---- */

static char *variable_prefix(const char *name)
{
	char *prefix = intent_format("%s%s_RESOURCE_", isdigit((unsigned char)*name) ? "_" : "", name);

	for (char *p = prefix; p && *p; p++)
		*p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
	return prefix;
}

static const char *const kinds[] = {
	[SYSTEM_IMAGE] = "image", [SYSTEM_STACK] = "stack", [SYSTEM_STATIC] = "static",
};

static bool world_can_have(struct compiler *compiler, const json_t *requirement, const struct system_found *found)
{
	const struct system_world *world = compiler->world;
	intent_text_auto struct intent_text can = INTENT_TEXT_INIT;
	const char *needs = found->kind == SYSTEM_IMAGE ? "deploy:docker or deploy:kubernetes" : "aws or google";
	bool able = found->kind == SYSTEM_STATIC ||
		(found->kind == SYSTEM_IMAGE && (system_can(world, "deploy:docker") ||
						 system_can(world, "deploy:kubernetes"))) ||
		(found->kind == SYSTEM_STACK && (system_can(world, "aws") || system_can(world, "google")));

	if (able)
		return true;
	capabilities(&can, world);
	system_fault_of(compiler->system->faults, requirement, "\"%s\" is %s%s in world \"%s\": that needs %s, and its capabilities are %s; add it to the "
		     "capabilities of worlds/%s, or let the component be something else in environment \"%s\"",
		     intent_json_string(requirement, "component", ""),
		     found->kind == SYSTEM_IMAGE ? "docker://" : "terraform:", found->where, world->name, needs,
		     intent_text_str(&can), world->name, system_environment(world));
	return false;
}

static json_t *make_instance(struct compiler *compiler, const char *name, const json_t *service,
			     const json_t *requirement, const char *owner)
{
	struct system_found found;
	json_t *row = NULL;

	if (!system_look_up(compiler->system, compiler->world, compiler->slugs, requirement, &found,
			    compiler->system->faults) && world_can_have(compiler, requirement, &found)) {
		intent_free_auto char *network = system_lower(intent_json_string(service, "application", ""));
		json_t *exports = (json_t *)(uintptr_t)found.exports;

		row = json_pack("{ss ss ss ss ss ss sO sO* sI ss ss* ss sO s[]}", "name", name, "owner", owner,
				"application", intent_json_string(service, "application", ""), "component",
				intent_json_string(requirement, "component", ""), "kind", kinds[found.kind], "where",
				found.where, "params", found.params, "exports", exports, "port", (json_int_t)found.port,
				"network", network, "volume", found.volume, "file",
				intent_json_string(requirement, "file", ""), "at", json_object_get(requirement, "at"),
				"consumers");
		system_know_image(row);
	}
	system_found_release(&found);
	json_object_set_new(compiler->instances, name, row ? row : json_null());
	return row;
}

/* One requirement of a service: its instance, made when it is the first to want it. */
static void need(struct compiler *compiler, json_t *unit, const json_t *requirement, const char *owner,
		 const char *before)
{
	const json_t *service = json_object_get(unit, "service");
	const char *short_name = intent_json_string(requirement, "name", "");
	intent_free_auto char *name = intent_format("%s-%s", before, short_name), *prefix = variable_prefix(short_name);
	json_t *instance = json_object_get(compiler->instances, name), *others;

	if (!instance)
		instance = make_instance(compiler, name, service, requirement, owner);
	if (!json_is_object(instance))
		return;
	if (strcmp(intent_json_string(instance, "owner", ""), owner)) {
		system_fault_of(compiler->system->faults, requirement, "\"%s\" would be the instance of %s and of %s; name one of the requirements: "
			     "{component: \"%s\", as: NAME}", name, intent_json_string(instance, "owner", ""), owner,
			     intent_json_string(requirement, "component", ""));
		return;
	}
	others = json_object_get(unit, "needs");
	if (json_object_get(others, prefix)) {
		system_fault_of(compiler->system->faults, requirement, "%s and another requirement of \"%s\" are both called \"%s\"; name this one: "
			     "{component: \"%s\", as: NAME}", intent_json_string(requirement, "component", ""),
			     intent_json_string(service, "name", ""), short_name,
			     intent_json_string(requirement, "component", ""));
		return;
	}
	json_object_set_new(others, prefix, json_string(name));
	json_array_append_new(json_object_get(instance, "consumers"),
			      json_string(intent_json_string(unit, "target", "")));
}

static void need_all(struct compiler *compiler, json_t *unit)
{
	const json_t *service = json_object_get(unit, "service"), *application;
	const char *called = intent_json_string(service, "application", ""), *name = intent_json_string(service, "name", "");
	intent_free_auto char *lower = system_lower(called);
	intent_free_auto char *shared = intent_format("application \"%s\"", called);
	intent_free_auto char *own = intent_format("service \"%s\"", name);
	size_t index;
	json_t *item;

	application = json_object_get(json_object_get(compiler->system->sysdef, "applications"), called);
	json_array_foreach(json_object_get(application, "provides"), index, item)
		need(compiler, unit, item, shared, lower);
	json_array_foreach(json_object_get(service, "requires"), index, item)
		need(compiler, unit, item, own, name);
}

/* ---- services ---- */

/* deployd.yaml with what it says about this world laid over it. New. */
static json_t *said_here(const struct compiler *compiler, const json_t *service)
{
	const json_t *says = json_object_get(service, "says");
	json_t *here = says ? json_deep_copy(says) : json_object();
	const json_t *over = system_find(json_object_get(says, "worlds"), compiler->world->name, NULL);

	if (over)
		intent_json_merge(here, over);
	return here;
}

static void keep_published(struct compiler *compiler, const json_t *service, const json_t *says)
{
	const char *name = intent_json_string(service, "name", "");
	size_t index;
	json_t *item;

	json_array_foreach(json_object_get(says, "ports"), index, item) {
		int64_t port = intent_json_integer(item, "publish", 0);
		const char *other = port ? system_keep_port(compiler, port, name) : NULL;

		if (other)
			system_fault_of(compiler->system->faults, service, "\"%s\" and \"%s\" both publish port %lld; give one of them another",
					other, name,
				     (long long)port);
	}
}

static void add_unit(struct compiler *compiler, json_t *service)
{
	const char *name = intent_json_string(service, "name", "");
	intent_free_auto char *lower = system_lower(name);
	json_t *says = said_here(compiler, service), *unit, *nodes;
	const json_t *taken = lower ? json_object_get(compiler->names, lower) : NULL;
	const char *target = choose_target(compiler, service, says);

	if (taken)
		system_fault_of(compiler->system->faults, service, "%s is a second service \"%s\", beside %s; write another name as \"service:\" into one "
			     "deployd.yaml", intent_json_string(service, "source", ""), name, json_string_value(taken));
	else if (lower)
		json_object_set_new(compiler->names, lower, json_string(intent_json_string(service, "source", "")));
	if (!target || taken) {
		json_decref(says);
		return;
	}
	nodes = json_object_get(says, "nodes");
	if (!nodes)
		nodes = json_object_get(compiler->world->document, "nodes");
	if (!json_array_size(nodes) && strcmp(target, "kubernetes"))
		system_fault_of(compiler->system->faults, service, "world \"%s\" names no nodes, so there is nothing to run \"%s\" on; add \"nodes: [NAME]\" to "
			     "worlds/%s", compiler->world->name, name, compiler->world->name);
	keep_published(compiler, service, says);
	unit = json_pack("{sO so ss so s{}}", "service", service, "says", says, "target", target, "nodes",
			 nodes ? json_incref(nodes) : json_array(), "needs");
	json_array_append_new(compiler->units, unit);
}

/* ---- checking our own work ---- */

/*
 * The documents are checked as ppctl put checks them. What deployd.yaml hands through has the same names there, so
 * that a fault of the document is found in it.
 */
static void check_documents(struct compiler *compiler)
{
	const char *key;
	json_t *document;

	json_object_foreach(compiler->documents, key, document) {
		intent_free_auto char *bytes = intent_json_canonical(document);
		intent_text_auto struct intent_text lines = INTENT_TEXT_INIT;
		struct intent_error err;
		const json_t *service = NULL, *unit;
		size_t index;

		if (!bytes || !intent_document_check(key, bytes, strlen(bytes), true, NULL, &lines, &err))
			continue;
		json_array_foreach(compiler->units, index, unit) {
			const char *name = intent_json_string(json_object_get(unit, "service"), "name", "");
			intent_free_auto char *part = intent_format("/%s/", name);
			if (part && strstr(key, part))
				service = json_object_get(unit, "service");
		}
		/* A fault of the key itself, or of what is too big, has no pointer. */
		if (service && json_object_get(service, "deployd") && *intent_text_str(&lines) == '/')
			system_place_faults(intent_json_string(service, "deployd", ""),
					    json_object_get(service, "places"), intent_text_str(&lines), "",
					    compiler->system->faults);
		else
			system_fault(compiler->system->faults,
				     intent_json_string(service ? service : compiler->system->sysdef, "file", ""),
				     service ? system_at(service) : (struct system_place){0, 0}, "%s: %s", key,
				     err.msg);
	}
}

/* ---- the whole ---- */

static void emit_instances(struct compiler *compiler)
{
	const char *name;
	json_t *instance;

	json_object_foreach(compiler->instances, name, instance) {
		intent_free_auto char *lower = system_lower(name);
		if (!json_is_object(instance))
			continue;
		if (lower && json_object_get(compiler->names, lower))
			system_fault_of(compiler->system->faults, instance, "the instance of %s would be called \"%s\", as a service is; "
				     "name it: {component: \"%s\", as: NAME}", intent_json_string(instance, "component", ""),
				     name, intent_json_string(instance, "component", ""));
		system_emit_instance(compiler, instance);
	}
}

static json_t *result_of(struct compiler *compiler)
{
	json_t *services = json_array(), *instances = json_array(), *row;
	const char *name;
	size_t index;

	json_array_foreach(compiler->units, index, row) {
		const json_t *service = json_object_get(row, "service");
		json_t *needs = json_array(), *one;
		const char *prefix;

		json_object_foreach(json_object_get(row, "needs"), prefix, one)
			json_array_append(needs, one);
		json_array_append_new(services, json_pack("{ss ss ss so ss* ss*}", "name",
							  intent_json_string(service, "name", ""), "application",
							  intent_json_string(service, "application", ""), "target",
							  intent_json_string(row, "target", ""), "needs", needs,
							  "recipe", intent_json_string(row, "recipe", NULL), "image",
							  intent_json_string(service, "image", NULL)));
	}
	json_object_foreach(compiler->instances, name, row)
		if (json_is_object(row))
			json_array_append_new(instances, json_pack("{ss ss ss ss ss*}", "name", name, "application",
								   intent_json_string(row, "application", ""),
								   "component",
								   intent_json_string(row, "component", ""), "kind",
								   intent_json_string(row, "kind", ""), "key",
								   intent_json_string(row, "key", NULL)));
	return json_pack("{sO so so}", "documents", compiler->documents, "services", services, "instances", instances);
}

json_t *system_compile(const struct system *system, const struct system_world *world)
{
	struct compiler compiler = {
		.system = system, .world = world, .documents = json_object(), .units = json_array(),
		.instances = json_object(), .names = json_object(), .ports = json_object(),
	};
	size_t index;
	json_t *row, *result;

	compiler.slugs = system_slugs(world, system->faults);
	json_array_foreach(system->services, index, row)
		add_unit(&compiler, row);
	json_array_foreach(compiler.units, index, row)
		need_all(&compiler, row);
	emit_instances(&compiler);
	json_array_foreach(compiler.units, index, row)
		system_emit_service(&compiler, row);
	system_emit_files(&compiler);
	/* Half a system is not checked: its documents lack what the faults are about. */
	if (!json_array_size(system->faults))
		check_documents(&compiler);
	result = result_of(&compiler);
	json_decref(compiler.slugs);
	json_decref(compiler.documents);
	json_decref(compiler.units);
	json_decref(compiler.instances);
	json_decref(compiler.names);
	json_decref(compiler.ports);
	return result;
}

json_t *system_local_world(const char *node, const char *basedir, bool has_containers)
{
	json_t *world = json_pack("{ss s[s] s[s] ss so}", "environment", "dev", "capabilities", "deploy:runit", "nodes",
				  node, "basedir", basedir, "artifacts", json_sprintf("%s/artifacts", basedir));

	if (has_containers)
		json_array_append_new(json_object_get(world, "capabilities"), json_string("deploy:docker"));
	return world;
}
