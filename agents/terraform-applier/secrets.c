/*
 * What a plan says is sensitive, wherever else its text may show it: a provider copies a value into an
 * attribute that nobody marked, or quotes it in an error.
 */
#include <errno.h>
#include "applier.h"

#define SHORTEST 4    /* shorter ones would blank out half the text */
#define SECRETS_MAX 10000

/* Each line for itself: a text may be shown indented. */
static void add(json_t *secrets, const char *value)
{
	while (*value && json_object_size(secrets) < SECRETS_MAX) {
		size_t length = strcspn(value, "\n");

		if (length >= SHORTEST) {
			intent_free_auto char *line = strndup(value, length);

			if (line)
				json_object_set_new(secrets, line, json_true());
		}
		value += length + (value[length] == '\n');
	}
}

/* `mask` is true where `value` is sensitive: at the top, or somewhere in it. */
static void collect(json_t *secrets, const json_t *value, const json_t *mask)
{
	bool whole = json_is_true(mask);
	const char *name;
	json_t *item;
	size_t i;

	if (!whole && !json_is_object(mask) && !json_is_array(mask))
		return;
	if (json_is_string(value) && whole)
		add(secrets, json_string_value(value));
	json_object_foreach((json_t *)(uintptr_t)value, name, item)
		collect(secrets, item, whole ? mask : json_object_get(mask, name));
	json_array_foreach((json_t *)(uintptr_t)value, i, item)
		collect(secrets, item, whole ? mask : json_array_get(mask, i));
}

static void collect_change(json_t *secrets, const json_t *change)
{
	collect(secrets, json_object_get(change, "before"), json_object_get(change, "before_sensitive"));
	collect(secrets, json_object_get(change, "after"), json_object_get(change, "after_sensitive"));
}

json_t *applier__secrets(const json_t *plan)
{
	json_t *secrets = json_object(), *item;
	const char *name;
	size_t i;

	json_array_foreach(json_object_get(plan, "resource_changes"), i, item)
		collect_change(secrets, json_object_get(item, "change"));
	json_array_foreach(json_object_get(plan, "resource_drift"), i, item)
		collect_change(secrets, json_object_get(item, "change"));
	json_object_foreach(json_object_get(plan, "output_changes"), name, item)
		collect_change(secrets, item);
	json_object_foreach(intent_json_at(plan, "/configuration/root_module/variables"), name, item)
		collect(secrets, json_object_get(json_object_get(json_object_get(plan, "variables"), name), "value"),
			json_object_get(item, "sensitive"));
	return secrets;
}

/* The longest secret that begins here; 0: none. */
static size_t secret_at(const json_t *secrets, const char *text)
{
	const char *secret;
	size_t longest = 0;
	json_t *ignored;

	json_object_foreach((json_t *)(uintptr_t)secrets, secret, ignored) {
		size_t length = strlen(secret);

		if (*secret == *text && length > longest && !strncmp(secret, text, length))
			longest = length;
	}
	return longest;
}

char *applier__redact(const json_t *secrets, const char *text)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	if (!json_object_size(secrets))
		return strdup(text);
	while (*text) {
		size_t length = secret_at(secrets, text);

		if (length)
			intent_text_puts(&out, "(sensitive value)");
		else
			intent_text_add(&out, text, 1);
		text += length ? length : 1;
	}
	return intent_text_steal(&out);
}
