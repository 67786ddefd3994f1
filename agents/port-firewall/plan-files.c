/* The seed's back end: what the files for the command must be. Pure. */
#include <intent/digest.h>
#include "port-firewall.h"

void firewall__file_mark(const char *node, char ret[200])
{
	snprintf(ret, 200, "# Made by pp-port-firewall for node %.128s: changes here are undone.\n",
		 node);
}

/*
 * As the seed's command reads it: {"slug_80_tcp": {"port": 80, "protocol": "tcp"}}, and "from"
 * where there is one.
 */
static char *file_text(const struct firewall_look *look, const char *name)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	char mark[200];
	size_t i, k;
	json_t *opening, *network;

	firewall__file_mark(look->node, mark);
	intent_text_puts(&text, mark);
	json_array_foreach(json_object_get(look->known, name), i, opening) {
		int port = (int)intent_json_integer(opening, "port", 0);
		const char *protocol = intent_json_string(opening, "protocol", "");

		intent_text_printf(&text, "\"%s_%d_%s\":\n  port: %d\n  protocol: %s\n", name, port,
				   protocol, port, protocol);
		json_array_foreach(json_object_get(opening, "from"), k, network)
			intent_text_printf(&text, "%s  - \"%s\"\n", k ? "" : "  from:\n",
					   json_string_value(network));
	}
	return intent_text_steal(&text);
}

/* A gate's name holds slashes. Owned. */
static char *file_name(const char *name)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;

	intent_url_escape(&text, name, "@:+");
	intent_text_puts(&text, ".yml");
	return intent_text_steal(&text);
}

static bool is_foreign(const json_t *files, const char *file)
{
	return json_object_get(json_object_get(files, file), "foreign") != NULL;
}

/* `files` is what will be there. */
static void plan_write(struct firewall_look *look, const char *name, json_t *files)
{
	intent_free_auto char *file = file_name(name), *text = file_text(look, name);
	const json_t *is = json_object_get(files, file);
	bool there = is != NULL;

	if (is_foreign(files, file)) {
		intent_plan_verdict(look->plan, INTENT_ENOTOURS,
				    "%s/%s has not our first line: move it away, it stands "
				    "where the ports of %s belong",
				    intent_json_string(look->options, "config-dir", ""), file,
				    name);
		return;
	}
	if (!strcmp(intent_json_string(is, "text", ""), text))
		return;
	json_object_set_new(files, file, json_pack("{ss}", "text", text));
	intent_plan_add(look->plan, "write", file, json_pack("{ss}", "text", text),
			json_pack("{s{s{ss}}}", "files", file, "text", text),
			"Configuring port authority: %s %s", file,
			there ? "is not as intended" : "does not exist");
}

/* name NULL: what made it is not known; file NULL: there is none of ours. */
static void plan_close(struct firewall_look *look, const char *name, const char *file, json_t *files)
{
	json_t *effect = json_object();

	if (name) {
		json_object_del(look->known, name);
		json_object_set_new(effect, "known", json_pack("{sn}", name));
	}
	if (file) {
		json_object_del(files, file);
		json_object_set_new(effect, "files", json_pack("{sn}", file));
	}
	intent_plan_add(
		look->plan, "close", name ? name : file,
		json_pack("{so ss*}", "known", json_copy(look->known), "file", file), effect,
		"Closing what %s opened: intent for it is gone from this node", name ? name : file);
}

static void plan_gone(struct firewall_look *look, const char *const *names, json_t *files)
{
	for (; *names; names++) {
		intent_free_auto char *file = file_name(*names);
		bool ours = json_object_get(files, file) && !is_foreign(files, file);

		if (firewall__is_gone(look, *names))
			plan_close(look, *names, ours ? file : NULL, files);
	}
}

/* Files of ours that nobody is known to have asked for. Those of whom is in trouble stay. */
static void plan_strays(struct firewall_look *look, json_t *files)
{
	intent_json_auto json_t *asked = json_object(),
				*there = json_copy(files); /* holds the names */
	intent_free_auto const char **list = firewall__sorted_names(there);
	const json_t *askers[] = {look->known, json_object_get(look->intent, "troubles")};
	const char *name;
	json_t *value;

	for (size_t i = 0; i < 2; i++)
		json_object_foreach((json_t *)(uintptr_t)askers[i], name, value) {
			intent_free_auto char *file = file_name(name);

			json_object_set_new(asked, file, json_true());
		}
	for (const char **each = list; *each; each++)
		if (!is_foreign(files, *each) && !json_object_get(asked, *each))
			plan_close(look, NULL, *each, files);
}

/* The command is owed until it has succeeded for just these files. */
static void plan_refresh(struct firewall_look *look, const json_t *files)
{
	intent_json_auto json_t *ours = json_object(), *none = json_object();
	char digest[65], nothing[65];
	const char *file;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)files, file, value)
		if (!is_foreign(files, file))
			json_object_set(ours, file, json_object_get(value, "text"));
	intent_json_digest(ours, digest);
	intent_json_digest(none, nothing);
	if (!strcmp(intent_json_string(look->observed, "applied", nothing), digest))
		return;
	intent_plan_add(
		look->plan, "refresh", intent_json_string(look->options, "cmd", ""), NULL,
		json_pack("{ss}", "applied", digest),
		"refreshing portauthority: it has not succeeded for these files yet");
}

void firewall__plan_files(struct firewall_look *look)
{
	intent_json_auto json_t *files = json_deep_copy(json_object_get(look->observed, "files"));
	intent_json_auto json_t *before = json_copy(look->known); /* holds the names */
	intent_free_auto const char **list = firewall__sorted_names(before);

	firewall__plan_remember(look);
	if (intent_json_integer(look->observed, "leftovers", 0))
		intent_plan_add(look->plan, "sweep", intent_json_string(look->options, "config-dir", ""), NULL,
				json_pack("{si}", "leftovers", 0), "Removing what a killed round left behind");
	for (const char **each = list; *each; each++)
		if (!firewall__is_gone(look, *each) &&
		    json_array_size(json_object_get(look->known, *each)))
			plan_write(look, *each, files);
	plan_gone(look, list, files);
	plan_strays(look, files);
	plan_refresh(look, files);
}
