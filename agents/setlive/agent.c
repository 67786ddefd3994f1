/* pp-setlive: the active version of each application runs, and <basedir>/current points at it. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include <intent/agent.h>
#include "service.h"
#include "setlive.h"

/* Whose service directories are in --runit-stage: found again when the state directory is lost. */
static int setlive_discover(const json_t *options, json_t **ret_new_names, struct intent_error *err)
{
	const char *stage = intent_json_string(options, "runit-stage", "/var/service-stage");
	DIR *listing = opendir(stage);
	json_t *names = json_array();
	struct dirent *entry;

	if (!listing && errno != ENOENT) {
		json_decref(names);
		return intent_fail_errno(err, "%s: cannot list it", stage);
	}
	while (listing && (entry = readdir(listing))) {
		intent_free_auto char *path =
			intent_format("%s/%s/" SERVICE_OWNER, stage, entry->d_name);
		intent_json_auto json_t *record = NULL;
		struct intent_error ignored;
		bool known = false;
		size_t i;
		json_t *item;

		if (*entry->d_name == '.' || !path ||
		    intent_file_read_json(path, 4096, &record, &ignored) ||
		    strcmp(intent_json_string(record, "agent", ""), "setlive"))
			continue;
		const char *app = intent_json_string(record, "app", "");
		json_array_foreach(names, i, item)
			known = known || !strcmp(json_string_value(item), app);
		if (!known && intent_name_is_valid(app))
			json_array_append_new(names, json_string(app));
	}
	if (listing)
		closedir(listing);
	*ret_new_names = names;
	return 0;
}

static const struct intent_option options[] = {
	{ "runit", INTENT_OPTION_PATH, "DIR", NULL, "SVDIR", 0, 0,
	  "directory that runsvdir watches (default: /var/service, or /etc/service where only that "
	  "exists)" },
	{ "runit-stage", INTENT_OPTION_PATH, "DIR", "/var/service-stage", NULL, 0, 0,
	  "where service directories are built; on the same machine, not below --runit" },
	{ "servicebuilder", INTENT_OPTION_STRING, "COMMAND", NULL, NULL, 0, 0,
	  "let this command build the service directories from definitions in --config" },
	{ "config", INTENT_OPTION_PATH, "DIR", "/etc/servicebuilder.d", NULL, 0, 0,
	  "definitions for --servicebuilder" },
	{ "log-dir", INTENT_OPTION_PATH, "DIR", NULL, NULL, 0, 0,
	  "logs go to DIR/<service> (default: <basedir>/logs/<service>)" },
	{ "log-user", INTENT_OPTION_STRING, "USER", NULL, NULL, 0, 0,
	  "svlogd runs as this user (default: _runit-log where it exists)" },
	{ "stop-timeout", INTENT_OPTION_DURATION, "DURATION", "30s", NULL, 0, 86400000,
	  "from SIGTERM to SIGKILL, unless deploy_config says stop_timeout" },
	{ "supervise-timeout", INTENT_OPTION_DURATION, "DURATION", "10s", NULL, 0, 600000,
	  "wait so long for runsvdir to take a new service" },
	{ NULL, 0, NULL, NULL, NULL, 0, 0, NULL },
};

static const struct intent_agent agent = {
	.name = "setlive",
	.summary = "Run the active version of each application of this node under runit.",
	.options = options,
	.slicer = &intent_node_applications,
	.observe = setlive__observe,
	.plan = setlive_plan,
	.verbs = setlive__verbs,
	.discover = setlive_discover,
};

int main(int argc, char **argv)
{
	/* Services' users must be able to reach what belongs to them. */
	umask(022);
	return intent_agent_main(&agent, argc, argv);
}
