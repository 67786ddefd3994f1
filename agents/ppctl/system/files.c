/* sysdef.yaml, Pibstack and deployd.yaml: one model of what they say. */
#include <ctype.h>
#include <intent/source.h>
#include "parts.h"

/* ---- rows ---- */

static json_t *pack_place(struct system_place place)
{
	return json_pack("[ii]", place.line, place.column);
}

/* "redis/redis:4" -> "redis" */
static char *requirement_name(const char *component)
{
	const char *slash = strrchr(component, '/'), *name = slash ? slash + 1 : component;
	intent_free_auto char *cut = strndup(name, strcspn(name, ":@"));

	for (char *p = cut; p && *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_-.", *p))
			*p = '-';
	return cut ? system_lower(cut + strspn(cut, ".-")) : NULL;
}

/* A list of requirements as it is written -> rows. */
static json_t *requirements(const char *file, const json_t *list, const json_t *places, const char *pointer,
			    json_t *faults)
{
	json_t *rows = json_array(), *item;
	intent_json_auto json_t *seen = json_object();
	size_t index;

	json_array_foreach((json_t *)(uintptr_t)list, index, item) {
		const char *component = json_is_string(item) ? json_string_value(item) :
							       intent_json_string(item, "component", "");
		const char *as = intent_json_string(item, "as", NULL);
		intent_free_auto char *own = as ? system_lower(as) : requirement_name(component);
		intent_free_auto char *at = intent_format("%s/%zu", pointer, index);
		struct system_place place = at ? system_place_at(places, at, false) : (struct system_place){0, 0};

		if (!own || !*component)
			continue;
		if (!intent_name_is_valid(own)) {
			system_fault(faults, file, place, "\"%s\" gives no name to its variables; name it: "
				     "{component: \"%s\", as: NAME}", component, component);
			continue;
		}
		if (json_object_get(seen, own)) {
			system_fault(faults, file, place, "two requirements are called \"%s\"; name one of them: "
				     "{component: \"%s\", as: NAME}", own, component);
			continue;
		}
		json_object_set_new(seen, own, json_true());
		json_t *params = json_object_get(item, "params");
		json_array_append_new(rows, json_pack("{ss ss ss so sO*}", "component", component, "name", own, "file",
						      file, "at", pack_place(place), "params", params));
	}
	return rows;
}

/* ---- sysdef.yaml ---- */

static void read_services(const char *file, const json_t *list, const json_t *places,
			  const char *pointer, json_t *rows, json_t *faults)
{
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)list, index, item) {
		intent_free_auto char *at = intent_format("%s/services/%zu", pointer, index);
		const char *source = json_string_value(item), *fault;
		struct system_place place = at ? system_place_at(places, at, false) : (struct system_place){0, 0};
		intent_free_auto char *absolute = NULL;

		if (!source)
			continue;
		/* Relative directories begin where sysdef.yaml is, or above; the rest is checked like any other. */
		if (intent_starts_with(source, "dir:") && source[4] != '/') {
			const char *rest = source + 4;

			while ((intent_starts_with(rest, "./") && rest[2] != '/') || intent_starts_with(rest, "../"))
				rest = strchr(rest, '/') + 1;
			absolute = intent_format("dir:/%s", *rest && strcmp(rest, ".") ? rest : "here");
		}
		fault = intent_check_source(absolute ? absolute : source);
		if (fault)
			system_fault(faults, file, place, "service \"%s\" %s", source, fault);
		else
			json_array_append_new(rows, json_pack("{ss so ss}", "source", source, "at", pack_place(place),
							      "file", file));
	}
}

static void read_applications(const char *file, const json_t *json, const json_t *places, json_t *applications,
			      json_t *faults)
{
	intent_json_auto json_t *seen = json_object();
	const char *name;
	json_t *item;

	json_object_foreach(json_object_get(json, "applications"), name, item) {
		intent_free_auto char *pointer = system_pointer("/applications", name);
		intent_free_auto char *lower = system_lower(name), *provides = intent_format("%s/provides", pointer);
		json_t *services = json_array();

		if (json_object_get(seen, lower))
			system_fault(faults, file, system_place_at(places, pointer, true),
				     "application \"%s\" is also \"%s\": names are matched without regard to case; "
				     "rename one", name, json_string_value(json_object_get(seen, lower)));
		json_object_set_new(seen, lower, json_string(name));
		read_services(file, json_object_get(item, "services"), places, pointer, services, faults);
		json_object_set_new(applications, name,
				    json_pack("{so so so ss}", "services", services, "provides",
					      requirements(file, json_object_get(item, "provides"), places, provides,
							   faults),
					      "at", pack_place(system_place_at(places, pointer, true)), "file", file));
	}
}

/* A component's lines: environment to resolver, beside params and exports. */
static void read_component(const char *file, const char *name, const json_t *item, const json_t *places,
			   json_t *components, json_t *faults)
{
	intent_free_auto char *pointer = system_pointer("/components", name);
	json_t *resolve = json_object(), *value, *component;
	const char *member;

	component = json_pack("{so ss so}", "resolve", resolve, "file", file, "at",
			      pack_place(system_place_at(places, pointer, true)));
	json_object_set_new(components, name, component);
	json_object_foreach((json_t *)(uintptr_t)item, member, value) {
		intent_free_auto char *at = system_pointer(pointer, member);
		struct system_place place = system_place_at(places, at, false);

		if (!strcmp(member, "params") || !strcmp(member, "exports")) {
			json_object_set(component, member, value);
			if (!strcmp(member, "exports"))
				system_check_exports(file, place, value, faults);
			else if (!json_is_object(value))
				system_fault(faults, file, place, "params of \"%s\" must be NAME: VALUE lines", name);
		} else if (!intent_name_is_valid(member)) {
			system_fault(faults, file, system_place_at(places, at, true),
				     "\"%s\" is no name of an environment; write one such as dev or prod", member);
		} else if (!system_check_resolver(file, place, value, faults)) {
			json_object_set(resolve, member, value);
		}
	}
	if (!json_object_size(item))
		system_fault(faults, file, system_place_at(places, pointer, true),
			     "component \"%s\" says nothing; write for each environment what it is, such as "
			     "\"dev: docker://redis:4\"", name);
}

json_t *system_read_sysdef(const char *file, const char *bytes, size_t length, json_t *faults)
{
	intent_json_auto json_t *places = NULL;
	intent_json_auto json_t *json = system_yaml(file, bytes, length, faults, &places);
	json_t *applications, *components, *sysdef, *item;
	intent_json_auto json_t *seen = json_object();
	const char *name, *own;

	if (!json || !system_check(file, json, places, system_sysdef_schema, faults))
		if (!json_is_object(json))
			return NULL;
	own = intent_json_string(json, "name", NULL);
	applications = json_object();
	components = json_object();
	sysdef = json_pack("{so so ss ss*}", "applications", applications, "components", components, "file", file,
			   "name", own);
	json_object_foreach(json_object_get(json, "components"), name, item) {
		intent_free_auto char *lower = system_lower(name), *pointer = system_pointer("/components", name);

		if (lower && json_object_get(seen, lower))
			system_fault(faults, file, system_place_at(places, pointer, true),
				     "component \"%s\" is also \"%s\": names are matched without regard to case; "
				     "rename one", name, json_string_value(json_object_get(seen, lower)));
		if (lower)
			json_object_set_new(seen, lower, json_string(name));
		if (json_is_object(item))
			read_component(file, name, item, places, components, faults);
	}
	if (json_is_object(json_object_get(json, "applications")))
		read_applications(file, json, places, applications, faults);
	if (!json_object_get(json, "applications"))
		system_fault(faults, file, (struct system_place){1, 1},
			     "applications is missing; write \"applications:\", below it a name with a colon, and "
			     "below that \"services:\" with one \"- gh:ORG/REPO\" a line");
	return sysdef;
}

/* ---- Pibstack, deployd.yaml ---- */

json_t *system_read_deployd(const char *file, const char *bytes, size_t length, json_t *faults)
{
	intent_json_auto json_t *places = NULL;
	intent_json_auto json_t *json = system_yaml(file, bytes, length, faults, &places);
	json_t *rows, *list = json_object_get(json, "services"), *item;
	size_t index;

	if (json_is_null(json))
		return json_pack("[{ss s{} s[]}]", "file", file, "says", "places");
	if (!json || !system_check(file, json, places, list ? system_several_schema : system_deployd_schema, faults))
		return NULL;
	if (!list)
		return json_pack("[{ss sO sO}]", "file", file, "says", json, "places", places);
	rows = json_array();
	json_array_foreach(list, index, item) {
		const json_t *of_services = json_object_get(json_array_get(places, 2), "services");
		json_t *of_list = json_array_get(json_array_get(of_services, 2), 2);

		json_array_append_new(rows, json_pack("{ss sO sO}", "file", file, "says", item, "places",
						      json_array_get(of_list, index)));
	}
	return rows;
}

json_t *system_read_pibstack(const char *file, const char *bytes, size_t length, json_t *faults)
{
	intent_json_auto json_t *places = NULL;
	intent_json_auto json_t *json = system_yaml(file, bytes, length, faults, &places);

	if (json_is_null(json))
		return json_pack("{ss s{} s[]}", "file", file, "says", "places");
	if (!json || !system_check(file, json, places, system_pibstack_schema, faults))
		return NULL;
	return json_pack("{ss sO sO}", "file", file, "says", json, "places", places);
}

static void add_requirements(json_t *service, const json_t *file, json_t *faults)
{
	intent_json_auto json_t *more =
		requirements(intent_json_string(file, "file", ""), intent_json_at(file, "/says/requires"),
			     json_object_get(file, "places"), "/requires", faults);
	json_t *rows = json_object_get(service, "requires"), *row, *old;
	size_t i, j;

	json_array_foreach(more, i, row) {
		bool same = false;

		json_array_foreach(rows, j, old) {
			bool named = !strcmp(intent_json_string(old, "name", ""), intent_json_string(row, "name", ""));
			bool one = !strcasecmp(intent_json_string(old, "component", ""),
					       intent_json_string(row, "component", ""));
			same = same || named;
			if (named && !one)
				system_fault_of(faults, row, "\"%s\" is required as \"%s\" already, in %s; name one of them: "
					     "{component: ..., as: NAME}",
					     intent_json_string(old, "component", ""), intent_json_string(old, "name", ""),
					     intent_json_string(old, "file", ""));
		}
		if (!same)
			json_array_append(rows, row);
	}
}

json_t *system_make_service(const struct system_origin *origin, const json_t *pibstack, const json_t *deployd,
			    json_t *faults)
{
	const json_t *says = json_object_get(deployd, "says");
	const char *of_pib = json_string_value(intent_json_at(pibstack, "/says/image/repository"));
	const char *of_deployd = intent_json_string(says, "image", NULL);
	const char *slash = strrchr(origin->path, '/');
	const char *name = *origin->path ? (slash ? slash + 1 : origin->path) : origin->checkout_name;
	json_t *service;

	name = intent_json_string(says, "service", name);
	if (of_pib && of_deployd && strcmp(of_pib, of_deployd))
		system_fault(faults, intent_json_string(deployd, "file", ""),
			     system_place_at(json_object_get(deployd, "places"), "/image", false),
			     "image is %s here and %s in %s; leave one of them out", of_deployd, of_pib,
			     intent_json_string(pibstack, "file", ""));
	if (!intent_name_is_valid(name)) {
		system_fault(faults, origin->file, origin->place, "\"%s\" is no name of a service; write "
			     "\"service: NAME\" in its deployd.yaml", name);
		return NULL;
	}
	service = json_pack("{ss ss ss ss ss ss so s[]}", "name", name, "application", origin->application, "source",
			    origin->source, "path", origin->path, "checkout", origin->checkout, "file", origin->file, "at",
			    pack_place(origin->place), "requires");
	if (!service)
		return NULL;
	if (says)
		json_object_set_new(service, "says", json_deep_copy(says));
	if (deployd) {
		json_object_set(service, "places", json_object_get(deployd, "places"));
		json_object_set(service, "deployd", json_object_get(deployd, "file"));
	}
	if (of_pib || of_deployd)
		json_object_set_new(service, "image", json_string(of_deployd ? of_deployd : of_pib));
	if (intent_json_string(says, "dockerfile", NULL) || origin->has_dockerfile)
		json_object_set_new(service, "dockerfile",
				    json_string(intent_json_string(says, "dockerfile", "Dockerfile")));
	json_object_set_new(service, "launch", json_boolean(origin->has_launch));
	add_requirements(service, pibstack, faults);
	add_requirements(service, deployd, faults);
	return service;
}

/* ---- sources ---- */

char *system_checkout_name(const char *source)
{
	struct intent_source parsed;
	struct intent_error ignored;
	char *name = NULL, *end;

	if (intent_starts_with(source, "dir:") || intent_source_parse(source, "https://github.com/", &parsed, &ignored))
		return NULL;
	for (end = parsed.url + strlen(parsed.url); end > parsed.url && end[-1] == '/';)
		*--end = '\0';
	if (intent_ends_with(parsed.url, ".git"))
		end[-4] = '\0';
	for (end = parsed.url + strlen(parsed.url); end > parsed.url && !strchr("/:", end[-1]); end--)
		;
	if (intent_name_is_valid(end))
		name = strdup(end);
	intent_source_release(&parsed);
	return name;
}

char *system_checkout(const struct system_workspace *workspace, const char *source)
{
	intent_free_auto char *name = system_checkout_name(source);

	if (name)
		return intent_format("%s/%s", workspace->directory, name);
	if (!intent_starts_with(source, "dir:"))
		return NULL;
	const char *directory = source + 4, *deeper = strstr(directory, "//");
	int length = (int)(deeper ? (size_t)(deeper - directory) : strlen(directory));
	while (length > 1 && directory[length - 1] == '/')
		length--;
	if (*directory == '/')
		return strndup(directory, (size_t)length);
	if (!length || !strncmp(directory, ".", (size_t)length))
		return strdup(workspace->sysdef);
	if (length > 2 && intent_starts_with(directory, "./")) {
		directory += 2;
		length -= 2;
	}
	/* "../api" is written for what stands beside; a path with ".." in it is no canonical document. */
	intent_free_auto char *base = strdup(workspace->sysdef);
	while (base && length >= 2 && intent_starts_with(directory, "..") && (length == 2 || directory[2] == '/')) {
		char *slash = strrchr(base, '/');

		if (slash)
			*slash = '\0';
		directory += length == 2 ? 2 : 3;
		length -= length == 2 ? 2 : 3;
	}
	return base ? intent_format("%s%s%.*s", base, length ? "/" : "", length, directory) : NULL;
}

const char *system_application(const struct system *system, const char *word, struct intent_error *err)
{
	const json_t *applications = json_object_get(system->sysdef, "applications");
	intent_text_auto struct intent_text known = INTENT_TEXT_INIT;
	const char *key;

	if (system_find(applications, word, &key))
		return key;
	system_known(&known, word, applications);
	intent_fail(err, INTENT_EABSENT, "\"%.64s\" is no application of %s; there is %s", word,
		    intent_json_string(system->sysdef, "file", SYSTEM_FILE), intent_text_str(&known));
	return NULL;
}

json_t *system_default_name(const char *source, const char *directory)
{
	intent_text_auto struct intent_text name = INTENT_TEXT_INIT;
	struct intent_source parsed = {0};
	struct intent_error ignored;
	const char *from = directory;

	if (source && !intent_starts_with(source, "dir:") && !intent_source_parse(source, "https://github.com/", &parsed, &ignored))
		from = parsed.url;
	size_t end = strlen(from) - (intent_ends_with(from, ".git") ? 4 : 0), begin = end;
	/* The last part of a directory, the last two of a URL. */
	for (int parts = from == directory ? 1 : 2; begin && parts; begin -= parts != 0)
		parts -= strchr("/:", from[begin - 1]) != NULL;
	for (size_t i = begin; i < end; i++)
		intent_text_add(&name, isalnum((unsigned char)from[i]) || strchr("._-", from[i]) ? from + i : "-", 1);
	intent_source_release(&parsed);
	const char *result = intent_text_str(&name);
	return json_string(intent_name_is_valid(result) ? result : "system");
}
