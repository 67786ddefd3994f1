/*
 * From the system definition of the workspace to what is run here: compiled for the world `local', with what cannot
 * run on this machine marked, and why.
 */
#include <pwd.h>
#include "local.h"
#include "../system.h"

/* ---- what this machine can do ---- */

struct machine {
	struct intent_error containers, programs; /* code 0: it can */
};

static void look_at_machine(struct machine *machine)
{
	static const char *const programs[] = {"runsv", "svlogd", "chpst"};

	*machine = (struct machine){0};
	local_engine_find(&machine->containers);
	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs) && !machine->programs.code; i++) {
		intent_free_auto char *path = NULL;
		struct intent_error ignored;
		if (local_program(programs[i], &path, &ignored))
			intent_fail(&machine->programs, INTENT_EABSENT, "%s is not on PATH: install runit",
				    programs[i]);
	}
}

/* Without an engine, what could be an image and has bin/launch is run by that. */
static void prefer_programs(const struct machine *machine, json_t *services)
{
	json_t *service;
	size_t index;

	if (!machine->containers.code || machine->programs.code)
		return;
	json_array_foreach(services, index, service)
		if (intent_json_boolean(service, "launch", false)) {
			json_object_del(service, "dockerfile");
			json_object_del(service, "image");
		}
}

/* ---- the model ---- */

static json_t *document_of(const json_t *documents, const char *name, const char *which)
{
	intent_free_auto char *key = intent_format("clusters/%s/" LOCAL_WORLD "/%s", name, which);

	return key ? json_object_get(documents, key) : NULL;
}

/* An image that nobody builds: the registry's newest. */
static void name_image(const json_t *documents, const json_t *service)
{
	const char *image = intent_json_string(service, "image", NULL);
	json_t *config = document_of(documents, intent_json_string(service, "name", ""), "config");

	if (!image || json_object_get(service, "recipe") || strcmp(intent_json_string(service, "target", ""), "docker"))
		return;
	json_object_set_new(config, "versions", json_pack("{ss}", "latest", "active"));
	json_object_set_new(config, "artifacts", json_pack("{s{so}}", "latest", "image", json_sprintf("%s:latest", image)));
}

/* A service's user may be there in production only. */
static void drop_user(json_t *deploy)
{
	const char *runas = intent_json_string(deploy, "runas", NULL);
	intent_free_auto char *user = runas ? strndup(runas, strcspn(runas, ":")) : NULL;

	if (user && (geteuid() || !getpwnam(user)))
		json_object_del(deploy, "runas");
}

static const char *lacks(const struct machine *machine, const char *target)
{
	const struct intent_error *why = !strcmp(target, "docker") ? &machine->containers : &machine->programs;

	return why->code ? why->msg : NULL;
}

static json_t *volumes_of(const json_t *deploy)
{
	json_t *names = json_array(), *mount;
	size_t index;

	json_array_foreach(intent_json_at(deploy, "/docker/volumes"), index, mount)
		if (json_object_get(mount, "volume"))
			json_array_append(names, json_object_get(mount, "volume"));
	return names;
}

static json_t *row_of(const struct machine *machine, const json_t *documents, const char *name, const char *target,
		      const json_t *needs, const char *recipe)
{
	const json_t *deploy = document_of(documents, name, "deploy_config");

	return json_pack("{ss ss sO? ss* ss* so}", "name", name, "target", target, "needs", needs, "recipe", recipe, "lacks",
			 lacks(machine, target), "volumes", volumes_of(deploy));
}

/* What others need comes first. */
static json_t *rows_of(const struct machine *machine, const json_t *compiled)
{
	const json_t *documents = json_object_get(compiled, "documents");
	json_t *rows = json_array(), *item;
	size_t index;

	json_array_foreach(json_object_get(compiled, "instances"), index, item)
		if (!strcmp(intent_json_string(item, "kind", ""), "image"))
			json_array_append_new(rows, row_of(machine, documents, intent_json_string(item, "name", ""),
							   "docker", NULL, NULL));
	json_array_foreach(json_object_get(compiled, "services"), index, item) {
		const char *name = intent_json_string(item, "name", "");
		name_image(documents, item);
		drop_user(document_of(documents, name, "deploy_config"));
		json_array_append_new(rows, row_of(machine, documents, name, intent_json_string(item, "target", ""),
						   json_object_get(item, "needs"),
						   intent_json_string(item, "recipe", NULL)));
	}
	return rows;
}

/* Is this key about the service: clusters/<name>/, injections/local/<name>, apps/<name>, nodes/<node>/<name>? */
static bool is_about(const char *key, const char *name)
{
	const char *at = strstr(key, name);
	size_t length = strlen(name);

	while (at && (at == key || at[-1] != '/' || (at[length] && at[length] != '/')))
		at = strstr(at + 1, name);
	return at && !intent_starts_with(key, "worlds/") && !intent_starts_with(key, "resources/");
}

/* Infrastructure is made by who asks for it, never by running something; what cannot run is not asked for. */
static void drop_documents(json_t *documents, const json_t *rows)
{
	const char *key;
	json_t *document, *row;
	void *next;
	size_t index;

	json_object_foreach_safe(documents, next, key, document) {
		bool drop = intent_starts_with(key, "stacks/");
		json_array_foreach((json_t *)(uintptr_t)rows, index, row)
			drop = drop || (json_object_get(row, "lacks") &&
					is_about(key, intent_json_string(row, "name", "")));
		if (drop)
			json_object_del(documents, key);
	}
}

/* ---- compiling ---- */

/* What a document of the world may say of it; where things are is ours. */
static json_t *world_of(const struct local_place *place, const json_t *says)
{
	static const char *const members[] = {"environment", "resources", "state"};
	intent_free_auto char *basedir = local_path(place, "srv");
	json_t *world = system_local_world(place->node, basedir, true), *item;
	size_t index;

	json_object_set_new(world, "artifacts", json_sprintf("%s/artifacts", place->state));
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		if (json_object_get(says, members[i]))
			json_object_set(world, members[i], json_object_get(says, members[i]));
	json_array_foreach(json_object_get(says, "capabilities"), index, item)
		if (!intent_starts_with(json_string_value(item), "deploy:"))
			json_array_append(json_object_get(world, "capabilities"), item);
	return world;
}

static int compile(const struct local_place *place, struct system *system, const struct system_setting *setting,
		   const char *app, json_t **ret_new, struct intent_error *err)
{
	struct machine machine;
	intent_json_auto json_t *world = world_of(place, setting->document);
	struct system_world local = setting->world;

	if (!world)
		return intent_fail(err, INTENT_EUSAGE, "%s: a path that is not UTF-8; rename it", place->state);
	local.document = world;
	local.local = true;
	look_at_machine(&machine);
	prefer_programs(&machine, system->services);
	intent_json_auto json_t *compiled = system_compile(system, &local);
	system_sort_faults(system->faults);
	int code = system_say_faults(system->faults);
	if (code)
		return code;
	json_t *rows = rows_of(&machine, compiled), *documents = json_object_get(compiled, "documents");
	drop_documents(documents, rows);
	*ret_new = json_pack("{ss so sO}", "app", app, "services", rows, "documents", documents);
	return 0;
}

/* With the application's own name as sysdef.yaml has it. */
static int find_application(const struct system_workspace *workspace, const char *word, json_t **ret_new,
			    struct intent_error *err)
{
	struct system sysdef = {0};
	int code = system_load_sysdef(workspace, &sysdef, err);

	if (!code)
		code = system_say_faults(sysdef.faults);
	const char *name = code ? NULL : system_application(&sysdef, word, err);
	if (name)
		*ret_new = json_pack("{sb}", name, 1);
	else if (!code)
		code = err->code;
	system_release(&sysdef);
	return code;
}

int local_model_compile(struct ppctl *ctl, const struct local_place *place, const char *app, json_t **ret_new,
			struct intent_error *err)
{
	struct system_workspace workspace = {0};
	struct system_setting setting = {0};
	struct system system = {0};
	intent_json_auto json_t *wanted = NULL;
	int code = system_workspace_find(&workspace, err);

	if (!code)
		code = find_application(&workspace, app, &wanted, err);
	if (!code)
		code = system_load(&workspace, wanted, &system, err);
	if (!code)
		code = system_setting_load(ctl, &workspace, LOCAL_WORLD, system.faults, &setting, err);
	if (!code && !system.sysdef)
		code = system_say_faults(system.faults);
	if (!code)
		code = compile(place, &system, &setting, app, ret_new, err);
	system_release(&system);
	system_setting_release(&setting);
	system_workspace_release(&workspace);
	return code;
}
