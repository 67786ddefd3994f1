/* What a requirement is: a component of sysdef.yaml, a slug of a resource repository, or an image. */
#include <stdarg.h>
#include <intent/source.h>
#include "parts.h"

#define DEPTH_MAX 32

/* ---- worlds ---- */

const char *system_environment(const struct system_world *world)
{
	return intent_json_string(world->document, "environment", world->name);
}

bool system_can(const struct system_world *world, const char *capability)
{
	const json_t *list = json_object_get(world->document, "capabilities");
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)list, index, item)
		if (!strcmp(json_string_value(item) ? json_string_value(item) : "", capability))
			return true;
	return false;
}

void system_key_fault(const struct system_world *world, const char *key, const char *pointer, json_t *faults,
		      const char *format, ...)
{
	const json_t *file = json_object_get(world->files, key);
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	system_fault(faults, intent_json_string(file, "file", key),
		     file ? system_place_at(json_object_get(file, "places"), pointer, false) :
			    (struct system_place){0, 0},
		     "%s", text);
}

/* ---- resource repositories ---- */

struct lookup {
	const struct system_world *world;
	json_t *orders; /* {repository: [repositories, nearest first]} */
	json_t *faults;
};

static const json_t *repository_of(const struct lookup *lookup, const char *name)
{
	return json_object_get(lookup->world->resources, name);
}

/* Goes round? Names the way, once for each cycle: from its first name in the alphabet. */
static void find_cycles(const struct lookup *lookup, const char *name, const char **path, size_t depth)
{
	const json_t *inherits = json_object_get(repository_of(lookup, name), "inherits");
	intent_free_auto char *key = intent_format("resources/%s", name);
	size_t index;
	json_t *item;

	path[depth] = name;
	json_array_foreach((json_t *)(uintptr_t)inherits, index, item) {
		const char *next = json_string_value(item);
		bool smaller = false;

		for (size_t i = 1; i <= depth; i++)
			smaller = smaller || strcmp(path[i], path[0]) < 0;
		if (next && !strcmp(next, path[0]) && !smaller) {
			intent_text_auto struct intent_text way = INTENT_TEXT_INIT;

			for (size_t i = 0; i <= depth; i++)
				intent_text_printf(&way, "%s inherits ", path[i]);
			intent_free_auto char *first = intent_format("resources/%s", path[0]);
			system_key_fault(lookup->world, first ? first : "", "/inherits", lookup->faults,
					 "%s%s: it goes round; take one of these out", intent_text_str(&way), path[0]);
			continue;
		}
		bool seen = false;
		for (size_t i = 0; i <= depth && next; i++)
			seen = seen || !strcmp(path[i], next);
		if (next && !seen && depth + 1 < DEPTH_MAX)
			find_cycles(lookup, next, path, depth + 1);
	}
	(void)key;
}

/* Itself, then what it inherits from left to right, then what these inherit: the nearest wins. */
static const json_t *order_of(struct lookup *lookup, const char *name)
{
	json_t *order = json_object_get(lookup->orders, name), *seen = json_object();

	if (order) {
		json_decref(seen);
		return order;
	}
	order = json_array();
	json_object_set_new(lookup->orders, name, order);
	json_array_append_new(order, json_string(name));
	json_object_set_new(seen, name, json_true());
	for (size_t i = 0; i < json_array_size(order); i++) {
		const char *one = json_string_value(json_array_get(order, i));
		const json_t *inherits = json_object_get(repository_of(lookup, one), "inherits");
		size_t index;
		json_t *item;

		json_array_foreach((json_t *)(uintptr_t)inherits, index, item) {
			const char *next = json_string_value(item);

			if (!next || json_object_get(seen, next))
				continue;
			json_object_set_new(seen, next, json_true());
			if (repository_of(lookup, next)) {
				json_array_append(order, item);
				continue;
			}
			intent_free_auto char *key = intent_format("resources/%s", one);
			intent_text_auto struct intent_text known = INTENT_TEXT_INIT;
			system_known(&known, next, lookup->world->resources);
			system_key_fault(lookup->world, key ? key : "", "/inherits", lookup->faults,
					 "inherits \"%s\", which is no resource repository; there is %s", next,
					 intent_text_str(&known));
		}
	}
	json_decref(seen);
	return order;
}

/* The nearest that has it, from `from` on; `beyond`: not in `from` itself. */
static const json_t *nearest(struct lookup *lookup, const char *from, const char *slug, bool beyond,
			     const char **ret_repository, const char **ret_slug)
{
	const json_t *order = order_of(lookup, from);

	for (size_t i = beyond; i < json_array_size(order); i++) {
		const char *name = json_string_value(json_array_get(order, i));
		const json_t *found =
			system_find(json_object_get(repository_of(lookup, name), "components"), slug, ret_slug);

		if (found) {
			*ret_repository = name;
			return found;
		}
	}
	return NULL;
}

/* What the one does not say, the other does; params and resolve by member. */
static void take_over(json_t *slug, const json_t *base)
{
	static const char *const merged[] = {"resolve", "params"};
	json_t *own;

	for (size_t i = 0; i < 2; i++) {
		own = json_object_get(slug, merged[i]);
		if (own)
			json_object_update_missing(own, json_object_get(base, merged[i]));
		else if (json_object_get(base, merged[i]))
			json_object_set_new(slug, merged[i], json_deep_copy(json_object_get(base, merged[i])));
	}
	if (!json_object_get(slug, "exports") && json_object_get(base, "exports"))
		json_object_set(slug, "exports", json_object_get(base, "exports"));
}

static void cannot_extend(struct lookup *lookup, const char *repository, const char *slug, const char *base)
{
	intent_free_auto char *key = intent_format("resources/%s", repository);
	intent_free_auto char *below = system_pointer("/components", slug);
	intent_free_auto char *pointer = below ? intent_format("%s/extends", below) : NULL;
	intent_text_auto struct intent_text names = INTENT_TEXT_INIT;
	intent_json_auto json_t *known = json_object();
	const json_t *order = order_of(lookup, repository);

	for (size_t i = 0; i < json_array_size(order); i++)
		json_object_update_missing(
			known, json_object_get(repository_of(lookup, json_string_value(json_array_get(order, i))),
					       "components"));
	json_object_del(known, slug);
	system_known(&names, base, known);
	system_key_fault(lookup->world, key ? key : "", pointer ? pointer : "", lookup->faults,
			 "\"%s\" extends \"%s\", which neither %s nor what it inherits has; there is %s", slug, base,
			 repository, intent_text_str(&names));
}

/* With all that it extends; `way` is how we came here. */
static json_t *whole_slug(struct lookup *lookup, const char *repository, const char *slug, const json_t *component,
			  struct intent_text *way, unsigned depth)
{
	json_t *result = json_deep_copy(component);
	const char *base = intent_json_string(component, "extends", NULL), *at = NULL, *spelt = NULL;
	const json_t *found;

	intent_text_printf(way, "%s%s/%s", way->length ? " extends " : "", repository, slug);
	if (!base || !result)
		return result;
	found = nearest(lookup, repository, base, !strcasecmp(base, slug), &at, &spelt);
	if (!found) {
		cannot_extend(lookup, repository, slug, base);
		return result;
	}
	intent_free_auto char *next = intent_format("%s/%s", at, spelt);
	const char *before = next ? strstr(intent_text_str(way), next) : NULL;
	bool round = before && (before == intent_text_str(way) || before[-1] == ' ') &&
		(before[strlen(next)] == ' ' || !before[strlen(next)]);
	if (round || depth > DEPTH_MAX) {
		intent_free_auto char *key = intent_format("resources/%s", repository);
		intent_free_auto char *pointer = system_pointer("/components", slug);
		system_key_fault(lookup->world, key ? key : "", pointer ? pointer : "", lookup->faults,
				 "%s extends %s: it goes round; take one of these out", intent_text_str(way), next);
		return result;
	}
	intent_json_auto json_t *rest = whole_slug(lookup, at, spelt, found, way, depth + 1);
	take_over(result, rest);
	return result;
}

static void add_repository(struct lookup *lookup, const char *name, json_t *slugs, json_t *lower)
{
	const json_t *order = order_of(lookup, name);

	for (size_t i = 0; i < json_array_size(order); i++) {
		const char *repository = json_string_value(json_array_get(order, i)), *slug;
		json_t *component;

		json_object_foreach(json_object_get(repository_of(lookup, repository), "components"), slug, component) {
			intent_text_auto struct intent_text way = INTENT_TEXT_INIT;
			intent_free_auto char *small = system_lower(slug);

			if (json_object_get(lower, small))
				continue;
			json_object_set_new(lower, small, json_true());
			json_t *whole = whole_slug(lookup, repository, slug, component, &way, 0);
			json_object_set_new(whole, "repository", json_string(repository));
			json_object_set_new(slugs, slug, whole);
		}
	}
}

json_t *system_slugs(const struct system_world *world, json_t *faults)
{
	struct lookup lookup = {.world = world, .orders = json_object(), .faults = faults};
	json_t *slugs = json_object(), *lower = json_object(), *item;
	intent_free_auto char *key = intent_format("worlds/%s", world->name);
	size_t index;

	json_array_foreach(json_object_get(world->document, "resources"), index, item) {
		const char *name = json_string_value(item), *path[DEPTH_MAX + 1];

		if (!name)
			continue;
		if (repository_of(&lookup, name)) {
			add_repository(&lookup, name, slugs, lower);
			const json_t *order = order_of(&lookup, name);
			for (size_t i = 0; i < json_array_size(order); i++)
				find_cycles(&lookup, json_string_value(json_array_get(order, i)), path, 0);
			continue;
		}
		intent_text_auto struct intent_text known = INTENT_TEXT_INIT;
		intent_free_auto char *pointer = intent_format("/resources/%zu", index);
		system_known(&known, name, world->resources);
		system_key_fault(world, key ? key : "", pointer ? pointer : "", faults,
				 "world \"%s\" names the resource repository \"%s\", which does not exist; there is %s",
				 world->name, name, intent_text_str(&known));
	}
	json_decref(lookup.orders);
	json_decref(lower);
	return slugs;
}

/* ---- requirements ---- */

static bool resolves_to_images(const struct system *system, const struct system_world *world)
{
	const char *name;
	json_t *component;

	if (!system_can(world, "deploy:docker") && !system_can(world, "deploy:kubernetes"))
		return false;
	json_object_foreach(json_object_get(system->sysdef, "components"), name, component) {
		const json_t *line = json_object_get(json_object_get(component, "resolve"), system_environment(world));
		const char *resolver = json_is_string(line) ? json_string_value(line) :
							      intent_json_string(line, "resolver", "docker://");

		if (!intent_starts_with(resolver, "docker://"))
			return false;
	}
	return true;
}

static void merge_params(json_t *params, const json_t *more)
{
	if (json_is_object(more))
		json_object_update(params, (json_t *)(uintptr_t)more);
}

/* line: of one environment. */
static int take_line(const json_t *line, struct system_found *ret)
{
	const char *resolver =
		json_is_string(line) ? json_string_value(line) : intent_json_string(line, "resolver", "");

	ret->port = intent_json_integer(line, "port", 0);
	ret->volume = intent_json_string(line, "volume", NULL);
	merge_params(ret->params, json_object_get(line, "params"));
	ret->kind = intent_starts_with(resolver, "docker://") ? SYSTEM_IMAGE :
		intent_starts_with(resolver, "terraform:") ? SYSTEM_STACK : SYSTEM_STATIC;
	ret->where = ret->kind == SYSTEM_IMAGE ? resolver + 9 : ret->kind == SYSTEM_STACK ? resolver + 10 : "";
	return 0;
}

static int not_here(const struct system_world *world, const json_t *requirement, const char *name, const char *what,
		    const char *where, const json_t *resolve, json_t *faults)
{
	intent_text_auto struct intent_text known = INTENT_TEXT_INIT;

	system_known(&known, system_environment(world), resolve);
	system_fault_of(faults, requirement, "%s \"%s\" says nothing about the environment \"%s\" of world \"%s\", only about: %s; add a line "
		     "\"%s: ...\" to it in %s", what, name, system_environment(world), world->name,
		     intent_text_str(&known), system_environment(world), where);
	return 1;
}

static int unknown(const struct system *system, const struct system_world *world, const json_t *slugs,
		   const json_t *requirement, json_t *faults)
{
	const char *wanted = intent_json_string(requirement, "component", "");
	intent_json_auto json_t *all = json_object();
	intent_text_auto struct intent_text known = INTENT_TEXT_INIT;

	json_object_update(all, json_object_get(system->sysdef, "components"));
	json_object_update(all, (json_t *)(uintptr_t)slugs);
	system_known(&known, wanted, all);
	system_fault_of(faults, requirement, "\"%s\" is no component of %s and no slug of world \"%s\"%s; known are: %s", wanted,
		     intent_json_string(system->sysdef, "file", SYSTEM_FILE), world->name,
		     system_can(world, "deploy:docker") || system_can(world, "deploy:kubernetes") ?
			     ", and its environment does not take plain images" : "",
		     intent_text_str(&known));
	return 1;
}

int system_look_up(const struct system *system, const struct system_world *world, const json_t *slugs,
		   const json_t *requirement, struct system_found *ret, json_t *faults)
{
	const char *wanted = intent_json_string(requirement, "component", ""), *name = NULL, *spelt = NULL;
	const char *environment = system_environment(world);
	const json_t *component = system_find(json_object_get(system->sysdef, "components"), wanted, &name);
	const json_t *slug = system_find(slugs, wanted, &spelt), *line;

	memset(ret, 0, sizeof(*ret));
	ret->params = json_object();
	ret->exports = json_object_get(component, "exports");
	if (!ret->exports)
		ret->exports = json_object_get(slug, "exports");
	merge_params(ret->params, json_object_get(slug, "params"));
	merge_params(ret->params, json_object_get(component, "params"));
	line = json_object_get(json_object_get(component, "resolve"), environment);
	/* A slug of the same name says what sysdef.yaml leaves open. */
	if (!line)
		line = json_object_get(json_object_get(slug, "resolve"), environment);
	if (line)
		take_line(line, ret);
	merge_params(ret->params, json_object_get(requirement, "params"));
	if (line)
		return 0;
	if (component)
		return not_here(world, requirement, name, "component", intent_json_string(component, "file", ""),
				json_object_get(component, "resolve"), faults);
	if (slug) {
		intent_free_auto char *key = intent_format("resources/%s", intent_json_string(slug, "repository", ""));
		return not_here(world, requirement, spelt, "slug", key ? key : "", json_object_get(slug, "resolve"),
				faults);
	}
	if (!resolves_to_images(system, world) || system_check_image(wanted))
		return unknown(system, world, slugs, requirement, faults);
	ret->kind = SYSTEM_IMAGE;
	ret->where = wanted;
	return 0;
}

void system_found_release(struct system_found *found)
{
	json_decref(found->params);
	found->params = NULL;
}
