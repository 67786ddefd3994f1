/*
 * A system definition as a case of test-data/systems writes it, "-- NAME --" lines before files: every parser, the
 * compiler, the comparison with a store, and fmt. What is compiled without a fault must be documents that stand every
 * check; the same input must give the same; fmt must have nothing to do the second time.
 * seeds: test-data/systems
 */
#include <intent/store.h>
#include "../../agents/ppctl/system/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	json_t *faults, *pibstacks, *deployds, *files, *resources, *world;
	struct system system;
};

static void format(const char *text, size_t length)
{
	intent_json_auto json_t *faults = json_array();
	intent_free_auto char *once = system_formatted("f", text, length, faults), *twice = NULL;

	if (!once)
		return;
	twice = system_formatted("f", once, strlen(once), faults);
	if (!twice || strcmp(once, twice))
		abort();
}

static void take_world(struct input *input, const char *name, const char *text, size_t length)
{
	intent_free_auto char *key = strndup(name, strlen(name) - strlen(".yaml"));
	const struct intent_document *row = key ? intent_document_find(key) : NULL;
	json_t *places = NULL, *json = row ? system_yaml(name, text, length, input->faults, &places) : NULL;
	struct intent_error err;

	if (!json || intent_json_check(json, row->schema, true, NULL, &err)) {
		json_decref(json);
		json_decref(places);
		return;
	}
	json_object_set_new(input->files, key, json_pack("{ss so}", "file", name, "places", places));
	if (intent_starts_with(key, "resources/")) {
		json_object_set_new(input->resources, key + strlen("resources/"), json);
	} else {
		json_decref(input->world);
		input->world = json;
	}
}

static void take(struct input *input, const char *name, const char *text, size_t length)
{
	const char *slash = strrchr(name, '/');
	intent_free_auto char *directory = strndup(name, slash ? (size_t)(slash - name) : 0);

	format(text, length);
	if (!strcmp(name, "sysdef.yaml") && !input->system.sysdef)
		input->system.sysdef = system_read_sysdef(name, text, length, input->faults);
	else if (intent_ends_with(name, "Pibstack"))
		json_object_set_new(input->pibstacks, directory, system_read_pibstack(name, text, length, input->faults));
	else if (intent_ends_with(name, "deployd.yaml"))
		json_object_set_new(input->deployds, directory, system_read_deployd(name, text, length, input->faults));
	else if ((intent_starts_with(name, "worlds/") || intent_starts_with(name, "resources/")) &&
		 intent_ends_with(name, ".yaml"))
		take_world(input, name, text, length);
}

static void take_all(struct input *input, const char *text)
{
	while (*text) {
		const char *end = strchr(text, '\n'), *next;
		size_t length = end ? (size_t)(end - text) : strlen(text);

		next = end ? end + 1 : text + length;
		if (length > 6 && !strncmp(text, "-- ", 3) && !strncmp(text + length - 3, " --", 3)) {
			intent_free_auto char *name = strndup(text + 3, length - 6);
			const char *stop = strstr(next, "\n-- ");
			size_t body = intent_starts_with(next, "-- ") ? 0 : stop ? (size_t)(stop + 1 - next) : strlen(next);
			intent_free_auto char *own = strndup(next, body);

			take(input, name, own, body);
			next += body;
		}
		text = next;
	}
}

static void add_services(struct input *input)
{
	const char *application;
	json_t *one, *row;
	size_t index;

	json_object_foreach(json_object_get(input->system.sysdef, "applications"), application, one)
		json_array_foreach(json_object_get(one, "services"), index, row) {
			const char *source = intent_json_string(row, "source", "");
			intent_free_auto char *name = system_checkout_name(source);
			const json_t *deployd = json_array_get(json_object_get(input->deployds, name ? name : ""), 0);
			struct system_origin origin = {
				.application = application, .source = source, .checkout = "/w", .checkout_name = name ? name : "w",
				.path = "", .file = "sysdef.yaml", .place = system_at(row), .has_launch = true,
				.has_dockerfile = strlen(source) % 2,
			};
			const json_t *pibstack = json_object_get(input->pibstacks, name ? name : "");
			json_t *service = system_make_service(&origin, json_is_object(pibstack) ? pibstack : NULL, deployd,
							      input->faults);
			if (service)
				json_array_append_new(input->system.services, service);
		}
}

static void compile(struct input *input, const char *name, bool local)
{
	struct system_world world = {.name = name, .document = input->world, .resources = input->resources,
				     .files = input->files, .local = local};
	intent_json_auto json_t *compiled = system_compile(&input->system, &world);
	intent_json_auto json_t *again = system_compile(&input->system, &world), *diff = NULL;
	struct intent_snapshot *empty = intent_snapshot_new();
	struct system_applying applying = {.world = &world, .system = "s", .compiled = compiled, .provision = true, .whole = true};
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	struct intent_error err;

	if (!json_equal(compiled, again))
		abort();
	if (!system_compare(&applying, empty, &diff, &err) && json_array_size(input->faults) == 0) {
		const json_t *changes = json_object_get(diff, "changes");
		for (size_t i = 0; i < json_array_size(changes); i++) {
			const json_t *row = json_array_get(changes, i);
			intent_free_auto char *bytes = intent_json_canonical(json_object_get(row, "after"));

			if (!bytes || intent_document_check(intent_json_string(row, "key", ""), bytes, strlen(bytes), true, NULL, NULL,
							    &err))
				abort();
			system_describe(&out, "", json_object_get(row, "after"), json_object_get(json_array_get(changes, 0), "after"));
		}
	}
	intent_snapshot_unref(empty);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	intent_free_auto char *text = strndup((const char *)data, size);
	struct input input = {
		.faults = json_array(), .pibstacks = json_object(), .deployds = json_object(), .files = json_object(),
		.resources = json_object(), .world = system_local_world("web1", "/srv", true),
	};

	input.system.faults = input.faults;
	input.system.services = json_array();
	if (text)
		take_all(&input, text);
	system_sort_faults(input.faults);
	if (input.system.sysdef) {
		add_services(&input);
		compile(&input, "local", true);
		compile(&input, "prod", false);
	}
	json_decref(input.system.sysdef);
	json_decref(input.system.services);
	json_decref(input.faults);
	json_decref(input.pibstacks);
	json_decref(input.deployds);
	json_decref(input.files);
	json_decref(input.resources);
	json_decref(input.world);
	return 0;
}
