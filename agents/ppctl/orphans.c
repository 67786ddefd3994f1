/* orphans: what definitions left behind, and how it goes. */
#include <errno.h>
#include "system/parts.h"

static char *way_to_go(const char *key)
{
	const char *name = strrchr(key, '/') + 1;

	if (intent_starts_with(key, "stacks/"))
		return intent_format("destroy it with: ppctl edit %s, adding \"ensure\": \"absent\"", key);
	if (intent_starts_with(key, "nodes/"))
		return intent_format("stop it with: ppctl rm %s; its volume %s stays on that node", key, name);
	if (intent_starts_with(key, "injections/"))
		return intent_format("its sinks are taken away (ppctl injection show %s); then: ppctl rm %s",
				     key + strlen("injections/"), key);
	return intent_format("then: ppctl rm %s", key);
}

/* What it is called, and that it is stopped before it is forgotten: "shop-cache 0 nodes/web1/shop-cache". New. */
static char *order_of(const char *key)
{
	bool cluster = intent_starts_with(key, "clusters/");
	const char *name = cluster ? key + strlen("clusters/") : strrchr(key, '/') + 1;

	return intent_format("%.*s %d %s", (int)strcspn(name, "/"), name, cluster, key);
}

static int by_order(const void *a, const void *b)
{
	return strcmp(intent_json_string(*(json_t *const *)a, "order", ""), intent_json_string(*(json_t *const *)b, "order", ""));
}

/* Of one record; what has gone meanwhile is no orphan. */
static void add_rows(json_t *rows, const struct intent_snapshot *now, const char *whose, const json_t *record)
{
	const char *key;
	json_t *value;

	json_object_foreach(json_object_get(record, "orphans"), key, value) {
		intent_free_auto char *way = intent_snapshot_find(now, key) ? way_to_go(key) : NULL;
		intent_free_auto char *order = order_of(key);
		if (way && order)
			json_array_append_new(rows, json_pack("{ss ss ss ss}", "system", whose, "key", key, "way_out", way,
							      "order", order));
	}
}

/* On a terminal the way out stands below, elsewhere beside. */
static void show(const json_t *rows)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	size_t columns = (size_t)ppctl_columns(), index;
	json_t *row;

	json_array_foreach((json_t *)(uintptr_t)rows, index, row) {
		const char *way = intent_json_string(row, "way_out", "");

		ppctl_add(&out, intent_json_string(row, "key", ""), ppctl_colored() ? PPCTL_BOLD : PPCTL_PLAIN, 0, 0);
		intent_text_puts(&out, columns ? "\n" : "  ");
		if (columns)
			ppctl_add_wrapped(&out, way, PPCTL_PLAIN, 4, columns);
		else
			intent_text_puts(&out, way);
		intent_text_puts(&out, "\n");
	}
	fputs(intent_text_str(&out), stdout);
}

int ppctl_orphans(struct ppctl *ctl, struct intent_error *err)
{
	const char *world = ppctl_option(ctl, "world");
	intent_json_auto json_t *rows = json_array(), *worlds = json_object();
	struct intent_snapshot *now = NULL;
	size_t count = 0, index;
	json_t *row;
	int code = system_read(ctl, &now, err);

	if (code)
		return code;
	const struct intent_entry *entry = intent_snapshot_range(now, "systems/", &count);
	for (size_t i = 0; i < count; i++) {
		const char *whose = entry[i].key + strlen("systems/");
		size_t length = strcspn(whose, "/");
		intent_json_auto json_t *record = ppctl_document(&entry[i]);

		json_object_setn_new(worlds, whose, length, json_true());
		if (!world || (strlen(world) == length && !strncmp(world, whose, length)))
			add_rows(rows, now, whose, record);
	}
	intent_snapshot_unref(now);
	if (world && !json_object_get(worlds, world)) {
		intent_text_auto struct intent_text known = INTENT_TEXT_INIT;
		system_known(&known, world, worlds);
		return intent_fail(err, INTENT_EABSENT, "nothing was applied to a world \"%.64s\"; there is %s", world,
				   intent_text_str(&known));
	}
	system_sort(rows, by_order);
	json_array_foreach(rows, index, row)
		json_object_del(row, "order");
	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(rows, false);
	else
		show(rows);
	if (!json_array_size(rows))
		ppctl_say("nothing is left behind");
	return 0;
}
