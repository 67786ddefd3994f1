/*
 * What each opens, now and before. It is remembered before it is opened, so that a document that goes bad later
 * closes nothing. Pure.
 */
#include "port-firewall.h"

#define NAMES_MAX 8 /* in one reason */

json_t *firewall__known_before(const struct firewall_look *look)
{
	return json_object_get(look->observed, "known");
}

bool firewall__is_gone(const struct firewall_look *look, const char *name)
{
	return !json_object_get(json_object_get(look->intent, "ports"), name) &&
	       !json_object_get(json_object_get(look->intent, "troubles"), name);
}

void firewall__take_known(struct firewall_look *look)
{
	const char *name;
	json_t *ports;

	look->known = firewall__known_before(look) ? json_copy(firewall__known_before(look)) : json_object();
	json_object_foreach(json_object_get(look->intent, "ports"), name, ports) {
		json_t *openings = firewall__openings(ports);

		json_object_set_new(look->known, name, openings);
		if (!json_array_size(openings))
			json_object_del(look->known, name);
	}
}

/* What is other in the one, and null for what it has not: a merge patch. New. */
static json_t *known_patch(const json_t *before, const json_t *after)
{
	json_t *patch = json_object(), *openings;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)after, name, openings)
		if (!json_equal(json_object_get(before, name), openings))
			json_object_set(patch, name, openings);
	json_object_foreach((json_t *)(uintptr_t)before, name, openings)
		if (!json_object_get(after, name))
			json_object_set_new(patch, name, json_null());
	return patch;
}

void firewall__plan_remember(struct firewall_look *look)
{
	json_t *patch = known_patch(firewall__known_before(look), look->known);
	intent_free_auto const char **names = firewall__sorted_names(patch);
	intent_text_auto struct intent_text words = INTENT_TEXT_INIT;
	size_t count = json_object_size(patch);

	if (firewall__known_before(look) && !count) {
		json_decref(patch);
		return;
	}
	for (size_t i = 0; i < count && i < NAMES_MAX; i++)
		intent_text_printf(&words, "%s%s", i ? ", " : "", names[i]);
	if (count > NAMES_MAX)
		intent_text_printf(&words, " and %zu more", count - NAMES_MAX);
	intent_plan_add(
		look->plan, "remember", "known", json_pack("{so}", "known", json_copy(look->known)),
		json_pack("{so}", "known", patch), "Remembering what is to be open: %s",
		count ? intent_text_str(&words) : "nothing");
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **firewall__sorted_names(const json_t *object)
{
	const char **list = calloc(json_object_size(object) + 1, sizeof(*list)), *name;
	size_t count = 0;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, name, value)
		list[count++] = name;
	if (count)
		qsort(list, count, sizeof(*list), compare_names);
	return list;
}
