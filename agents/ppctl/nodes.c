/* Many nodes' names in few words: web[1-8,12], as schedulers of clusters write them. */
#include "ppctl.h"

/* "web012" is "web" and 12 in three digits; false when no number stands at its end. */
static bool split_number(const char *name, size_t *ret_stem, unsigned long *ret_number)
{
	size_t stem = strlen(name);

	while (stem && name[stem - 1] >= '0' && name[stem - 1] <= '9')
		stem--;
	size_t digits = strlen(name) - stem;
	if (!digits || digits > 9)
		return false;
	*ret_stem = stem;
	*ret_number = strtoul(name + stem, NULL, 10);
	return true;
}

/* Same stem; and where zeros fill a number up, as many digits. */
static bool are_kin(const char *a, const char *b, size_t stem)
{
	size_t other;
	unsigned long ignored;

	if (!split_number(b, &other, &ignored) || other != stem || strncmp(a, b, stem))
		return false;
	return strlen(a) == strlen(b) || (a[stem] != '0' && b[stem] != '0');
}

static size_t add_family(struct intent_text *out, const json_t *names, size_t at)
{
	const char *first = json_string_value(json_array_get(names, at));
	size_t stem = 0, end = at + 1, count = json_array_size(names);
	unsigned long number = 0, next;

	if (split_number(first, &stem, &number))
		while (end < count &&
		       are_kin(first, json_string_value(json_array_get(names, end)), stem))
			end++;
	if (end == at + 1) {
		intent_text_puts(out, first);
		return end;
	}
	intent_text_printf(out, "%.*s[", (int)stem, first);
	for (size_t i = at, run; i < end; i = run) {
		const char *from = json_string_value(json_array_get(names, i)) + stem, *to = from;
		number = strtoul(from, NULL, 10);
		for (run = i + 1; run < end; run++, number = next) {
			const char *name = json_string_value(json_array_get(names, run)) + stem;
			next = strtoul(name, NULL, 10);
			if (next != number + 1)
				break;
			to = name;
		}
		intent_text_printf(out, "%s%s%s%s", i > at ? "," : "", from,
				   to == from ? "" : "-", to == from ? "" : to);
	}
	intent_text_puts(out, "]");
	return end;
}

static int compare_names(const void *a, const void *b)
{
	return strverscmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

/* web2 before web10. New. */
static json_t *sorted(const json_t *names)
{
	size_t count = json_array_size(names);
	json_t **list = calloc(count + 1, sizeof(*list)), *result = json_array();

	for (size_t i = 0; i < count; i++)
		list[i] = json_array_get(names, i);
	if (count)
		qsort(list, count, sizeof(*list), compare_names);
	for (size_t i = 0; i < count; i++)
		json_array_append(result, list[i]);
	free(list);
	return result;
}

void ppctl_add_nodes(struct intent_text *out, const json_t *unsorted)
{
	intent_json_auto json_t *names = sorted(unsorted);

	for (size_t at = 0; at < json_array_size(names);) {
		if (at)
			intent_text_puts(out, " ");
		at = add_family(out, names, at);
	}
}
