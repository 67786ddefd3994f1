/* pp-setlive: the active version of each application runs, and <basedir>/current points at it. */
#include <sys/stat.h>
#include <linux/capability.h>

#include <intent/agent.h>
#include "setlive.h"

/* Whose services there are: found again when the state directory is lost. */
static int setlive_discover(const json_t *options, json_t **ret_new_names, struct intent_error *err)
{
	intent_json_auto json_t *intent = json_pack("{sO}", "options", options);
	struct intent_site site;

	if (intent_site_init(intent, &site, err))
		return err->code;
	return intent_service_apps(&site, ret_new_names, err);
}

static const struct intent_option options[] = {
	INTENT_SITE_OPTIONS,
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
	.summary = "Runs the active version of each application of this node under runit or systemd.",
	.options = options,
	.slicer = &intent_node_services,
	.observe = setlive__observe,
	.plan = setlive_plan,
	.verbs = setlive__verbs,
	.discover = setlive_discover,
	/*
	 * Files of any owner, ownership; for children (not in a unit of systemd, which runs them itself) the service's
	 * user for bin/check and hooks, and the end of what hangs.
	 */
	.capabilities = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER | 1ull << CAP_SETUID |
		1ull << CAP_SETGID | 1ull << CAP_KILL,
};

int main(int argc, char **argv)
{
	/* Services' users must be able to reach what belongs to them. */
	umask(022);
	return intent_agent_main(&agent, argc, argv);
}
