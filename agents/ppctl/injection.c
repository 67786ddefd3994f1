/* injection show: which values, where from, into what; a digest of each, never the value. */
#include "ppctl.h"

static size_t longest_name(const json_t *object)
{
	const char *name;
	json_t *ignored;
	size_t longest = 0;

	json_object_foreach((json_t *)(uintptr_t)object, name, ignored)
		longest = ppctl_width(name) > longest ? ppctl_width(name) : longest;
	return longest;
}

static void show_value(const char *key, const json_t *value, size_t width)
{
	const char *trouble = intent_json_string(value, "trouble", NULL);
	intent_text_auto struct intent_text line = INTENT_TEXT_INIT;

	intent_text_puts(&line, "  ");
	ppctl_add(&line, key, PPCTL_BOLD, 0, width);
	intent_text_puts(&line, "  ");
	ppctl_add(&line, intent_json_string(value, "digest", "-"), PPCTL_CYAN, 0, 16);
	intent_text_puts(&line, "  ");
	ppctl_add(&line, intent_json_string(value, "from", ""), PPCTL_PLAIN, 0, 0);
	if (intent_json_boolean(value, "sensitive", false))
		intent_text_puts(&line, "  (sensitive)");
	if (trouble) {
		intent_text_puts(&line, "  ");
		ppctl_add(&line, trouble, PPCTL_RED, 0, 0);
	}
	ppctl_print(intent_text_str(&line));
}

static void show_sink(const char *id, const json_t *sink)
{
	const char *state = intent_json_string(sink, "state", ""), *why = intent_json_string(sink, "why", NULL);
	long long keys = (long long)intent_json_integer(sink, "keys", 0);
	intent_text_auto struct intent_text line = INTENT_TEXT_INIT;

	intent_text_puts(&line, "  > ");
	ppctl_add(&line, id, PPCTL_BOLD, 0, 0);
	intent_text_puts(&line, ": ");
	ppctl_add(&line, state, !strcmp(state, "written") ? PPCTL_GREEN : PPCTL_YELLOW, 0, 0);
	if (!strcmp(state, "written"))
		intent_text_printf(&line, ", %lld key%s", keys, keys == 1 ? "" : "s");
	if (why) {
		intent_text_puts(&line, ": ");
		ppctl_add(&line, why, PPCTL_PLAIN, 0, 0);
	}
	ppctl_print(intent_text_str(&line));
}

static void show(const json_t *row)
{
	json_t *values = intent_json_at(row, "/detail/values"), *sinks = intent_json_at(row, "/detail/sinks"), *item;
	const char *message = intent_json_string(row, "message", ""), *name;
	intent_text_auto struct intent_text head = INTENT_TEXT_INIT;
	size_t width = longest_name(values);

	ppctl_add(&head, intent_json_string(row, "name", "?"), PPCTL_BOLD, 0, 0);
	intent_text_puts(&head, ", injector on ");
	ppctl_add(&head, intent_json_string(row, "node", "?"), PPCTL_PLAIN, 0, 0);
	intent_text_puts(&head, ": ");
	ppctl_add(&head, intent_json_string(row, "state", "?"), PPCTL_BOLD, 0, 0);
	intent_text_puts(&head, *message ? ": " : "");
	ppctl_add(&head, message, PPCTL_PLAIN, 0, 0);
	ppctl_print(intent_text_str(&head));
	json_object_foreach(values, name, item)
		show_value(name, item, width);
	json_object_foreach(sinks, name, item)
		show_sink(name, item);
}

int ppctl_injection_show(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0), *name = word ? ppctl_slice_name(word, "injections/") : NULL;
	intent_json_auto json_t *rows = NULL;
	size_t i;
	json_t *row;

	if (word && !name)
		return intent_fail(err, INTENT_EUSAGE, "\"%.100s\" is no injection: name it as WORLD/NAME", word);
	if (ppctl_published(ctl, "configmap-injector", name, &rows, err))
		return err->code;
	if (ppctl_flag(ctl, "json")) {
		ppctl_print_json(rows, false);
		return 0;
	}
	if (!json_array_size(rows))
		return intent_fail(err, INTENT_EABSENT, "no injector has looked at %s%s: is it there (ppctl ls injections), and "
				   "does pp-configmap-injector run?", name ? "injections/" : "any injection", name ? name : "");
	json_array_foreach(rows, i, row)
		show(row);
	return 0;
}
