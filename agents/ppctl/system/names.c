/* Names as people write them, and what else there is that they may have meant. */
#include <ctype.h>
#include "parts.h"

json_t *system_find(const json_t *object, const char *name, const char **ret_key)
{
	json_t *exact = json_object_get(object, name), *value;
	const char *key;

	if (ret_key)
		*ret_key = name;
	if (exact)
		return exact;
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
		if (!strcasecmp(key, name)) {
			if (ret_key)
				*ret_key = key;
			return value;
		}
	return NULL;
}

char *system_lower(const char *name)
{
	char *copy = strdup(name);

	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* "redis/redis:4" and "redis:v3" are. */
static bool same_thing(const char *a, const char *b)
{
	const char *one = strrchr(a, '/') ? strrchr(a, '/') + 1 : a, *other = strrchr(b, '/') ? strrchr(b, '/') + 1 : b;
	size_t length = strcspn(one, ":@");

	return length && length == strcspn(other, ":@") && !strncasecmp(one, other, length);
}

void system_known(struct intent_text *out, const char *name, const json_t *known)
{
	const char *names[512], *key;
	size_t count = 0, said = 0;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)known, key, value)
		if (count < sizeof(names) / sizeof(*names))
			names[count++] = key;
	qsort(names, count, sizeof(*names), system_by_name);
	/* Those that it resembles, the nearest first; then the others. */
	while (count && said < 12) {
		const char *next = intent_nearest_name(name, names, count);
		size_t at = 0;

		for (size_t i = 0; i < count && !next; i++)
			next = same_thing(name, names[i]) ? names[i] : NULL;
		next = next ? next : names[0];
		while (names[at] != next)
			at++;
		memmove(names + at, names + at + 1, (count - at - 1) * sizeof(*names));
		count--;
		intent_text_printf(out, "%s%s", said++ ? ", " : "", next);
	}
	if (count)
		intent_text_printf(out, " and %zu more", count);
	if (!said)
		intent_text_puts(out, "none");
}

int system_by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct system_place system_at(const json_t *row)
{
	const json_t *at = json_object_get(row, "at");

	return (struct system_place){(int)json_integer_value(json_array_get(at, 0)),
				     (int)json_integer_value(json_array_get(at, 1))};
}

char *system_pointer(const char *before, const char *name)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	intent_text_printf(&out, "%s/", before);
	for (; *name; name++)
		if (*name == '/' || *name == '~')
			intent_text_puts(&out, *name == '/' ? "~1" : "~0");
		else
			intent_text_add(&out, name, 1);
	return intent_text_steal(&out);
}
