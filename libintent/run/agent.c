/* main() of every agent: options, places, and the first words of the log. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <intent/file.h>
#include "run.h"

static const struct intent_option common_options[] = {
	{"store", INTENT_OPTION_STRING, "URL", NULL, NULL, 0, 0,
	 "intent store: dir:PATH, consul://HOST:PORT or etcd://HOST:PORT,..."},
	{"prefix", INTENT_OPTION_STRING, "PREFIX", NULL, "PP_PREFIX", 0, 0, "put before every key of the store"},
	{"node", INTENT_OPTION_STRING, "NAME", NULL, "PP_NODE", 0, 0,
		"this node's name in the store (default: the host name)"},
	{"once", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0, "one round of every slice, then exit"},
	{"dry-run", INTENT_OPTION_FLAG, NULL, NULL, NULL, 0, 0,
		"say what would be done, change nothing, exit 2 if there is work"},
	{"interval", INTENT_OPTION_DURATION, "DURATION", "5m", NULL, 1000, INT64_MAX,
		"look again without being woken, to find drift"},
	{"splay", INTENT_OPTION_DURATION, "DURATION", "30s", NULL, 0, INT64_MAX, "spread that by up to so much"},
	{"concurrency", INTENT_OPTION_INTEGER, "N", "32", NULL, 1, 250, "slices worked on side by side"},
	{"max-destroy", INTENT_OPTION_INTEGER, "N", NULL, NULL, 0, INT_MAX,
	 "removals in ten minutes (default: 3, or half of what there is)"},
	{"state-dir", INTENT_OPTION_PATH, "DIR", NULL, NULL, 0, 0, "what is remembered across restarts"},
	{"listen", INTENT_OPTION_STRING, "ADDRESS", NULL, NULL, 0, 0,
		"metrics, health, status: unix:PATH, HOST:PORT or none"},
	{"log-level", INTENT_OPTION_WORD, "debug|info|warn|error", "info", NULL, 0, 0, "least important lines shown"},
	{"log-format", INTENT_OPTION_WORD, "text|logfmt|json", "text", NULL, 0, 0, "form of the log on standard error"},
	{NULL, 0, NULL, NULL, NULL, 0, 0, NULL},
};

/* Everything parsed, with the agent's own options apart: they are part of each slice's intent. */
static int parse(const struct intent_agent *agent, int argc, char **argv, json_t **ret_new, bool *ret_done,
		 struct intent_error *err)
{
	static const struct intent_option none[] = {{NULL, 0, NULL, NULL, NULL, 0, 0, NULL}};
	const struct intent_option *tables[] = {agent->options ? agent->options : none, common_options, NULL};
	char name[64];
	struct intent_option_program program = {
		.name = name, .usage = "[OPTION]...", .summary = agent->summary, .section = agent->name,
				.tables = tables,
	};
	json_t *own = json_object();

	snprintf(name, sizeof(name), "pp-%s", agent->name);
	if (intent_options_parse(&program, argc, argv, ret_new, NULL, ret_done, err) < 0 || *ret_done) {
		json_decref(own);
		return *ret_done ? 0 : err->code;
	}
	for (const struct intent_option *row = tables[0]; row->name; row++) {
		json_t *value = json_object_get(*ret_new, row->name);

		if (value)
			json_object_set(own, row->name, value);
	}
	json_object_set_new(*ret_new, "own", own);
	return 0;
}

static int set_node(json_t *options, struct intent_error *err)
{
	const char *node = intent_json_string(options, "node", NULL);
	char host[HOST_NAME_MAX + 1] = "";

	if (!node) {
		gethostname(host, HOST_NAME_MAX);
		node = host;
	}
	if (!intent_name_is_valid(node))
		return intent_fail(err, INTENT_EUSAGE, "'%s' cannot be a node's name; give one with --node", node);
	json_object_set_new(options, "node", json_string(node));
	return 0;
}

/* <base>/<agent>/<node>: several nodes may live on one machine. */
static void set_state_dir(const struct intent_agent *agent, json_t *options)
{
	const char *node = intent_json_string(options, "node", ""), *given = getenv("STATE_DIRECTORY");
	const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	json_t *path;

	if (json_object_get(options, "state-dir"))
		return;
	if (given && *given) /* systemd separates several by colons */
		path = json_sprintf("%.*s/%s/%s", (int)strcspn(given, ":"), given, agent->name, node);
	else if (geteuid() == 0)
		path = json_sprintf("/var/lib/platypus/%s/%s", agent->name, node);
	else if (xdg && *xdg == '/')
		path = json_sprintf("%s/platypus/%s/%s", xdg, agent->name, node);
	else
		path = json_sprintf("%s/.local/state/platypus/%s/%s", home ? home : "/tmp", agent->name, node);
	json_object_set_new(options, "state-dir", path);
}

static void set_listen(const struct intent_agent *agent, json_t *options)
{
	const char *node = intent_json_string(options, "node", "");
	const char *runtime = getenv("RUNTIME_DIRECTORY"), *xdg = getenv("XDG_RUNTIME_DIR");

	if (json_object_get(options, "listen"))
		return;
	if (intent_json_boolean(options, "once", false) || intent_json_boolean(options, "dry-run", false))
		json_object_set_new(options, "listen", json_string("none"));
	else if (runtime && *runtime)
		json_object_set_new(options, "listen", json_sprintf("unix:%.*s/%s.%s.sock", (int)strcspn(runtime, ":"), runtime,
								    agent->name, node));
	else if (geteuid() == 0)
		json_object_set_new(options, "listen", json_sprintf("unix:/run/platypus/%s.%s.sock",
				agent->name, node));
	else if (xdg && *xdg == '/')
		json_object_set_new(options, "listen", json_sprintf("unix:%s/platypus/%s.%s.sock", xdg,
				agent->name, node));
	else
		json_object_set_new(options, "listen", json_string("none"));
}

static int complete(const struct intent_agent *agent, json_t *options, struct intent_error *err)
{
	enum intent_log_level level;
	enum intent_log_format format;

	if (set_node(options, err) < 0 ||
	    intent_log_level_parse(intent_json_string(options, "log-level", "info"), &level, err) < 0 ||
	    intent_log_format_parse(intent_json_string(options, "log-format", "text"), &format, err) < 0)
		return err->code;
	set_state_dir(agent, options);
	set_listen(agent, options);
	intent_log_setup(level, format, agent->name);
	return 0;
}

static void fill(struct intent__context *context, struct intent__settings *settings, json_t *options)
{
	context->options = options;
	context->own_options = json_object_get(options, "own");
	context->node = intent_json_string(options, "node", "");
	context->dry_run = intent_json_boolean(options, "dry-run", false);
	context->once = context->dry_run || intent_json_boolean(options, "once", false);
	context->state_dir = intent_json_string(options, "state-dir", "");
	settings->interval_ms = intent_json_integer(options, "interval", 300000);
	settings->splay_ms = intent_json_integer(options, "splay", 30000);
	settings->concurrency = (int)intent_json_integer(options, "concurrency", 32);
	settings->max_destroy = intent_json_integer(options, "max-destroy", -1);
	settings->listen = intent_json_string(options, "listen", "none");
}

/* What may change while running: not where the agent lives or which store it obeys. */
static int reload(struct intent__context *context, struct intent__settings *settings, struct intent_error *err)
{
	static const char *const fixed[] = {"store", "prefix", "node", "state-dir", "listen", "once", "dry-run"};
	json_t *options = NULL, *before = context->options;
	bool done = false;

	if (parse(context->agent, settings->argc, settings->argv, &options, &done, err) < 0)
		return err->code;
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		json_t *value = json_object_get(before, fixed[i]);

		if (value)
			json_object_set(options, fixed[i], value);
		else
			json_object_del(options, fixed[i]);
	}
	if (complete(context->agent, options, err) < 0) {
		json_decref(options);
		return err->code;
	}
	fill(context, settings, options);
	json_decref(before);
	return 0;
}

/* Until the runner has its handlers: who asks to read the configuration again must not end us. */
static void hold_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int intent_agent_main(const struct intent_agent *agent, int argc, char **argv)
{
	struct intent__context context = {.agent = agent};
	struct intent__settings settings = {.reload = reload, .argc = argc, .argv = argv};
	struct intent__helper *helper;
	struct intent_error err;
	json_t *options = NULL;
	bool done = false;
	const char *why;
	int status;

	hold_signals();
	intent_log_setup(INTENT_INFO, INTENT_LOG_TEXT, agent->name);
	if (parse(agent, argc, argv, &options, &done, &err) < 0 || (!done && complete(agent, options, &err) < 0)) {
		fprintf(stderr, "pp-%s: %s\n", agent->name, err.msg);
		json_decref(options);
		return 100;
	}
	if (done) {
		json_decref(options);
		return 0;
	}
	fill(&context, &settings, options);
	intent_free_auto char *url = intent_store_url(
		intent_json_string(json_object_get(options, "given"), "store", NULL),
		intent_json_string(options, "store", NULL), &why);

	context.store_url = url ? url : "";
	json_object_set_new(options, "store", json_string(context.store_url));
	context.interactive = isatty(STDERR_FILENO) && isatty(STDIN_FILENO) && !getenv("CI");
	if (intent__helper_fork(intent__confine_helper, intent__round_main, &context, &helper, &err) < 0) {
		intent_log(INTENT_ERROR, NULL, "%s", err.msg);
		return 111;
	}
	intent_log(INTENT_INFO, NULL, "Intent store %s (%s), node %s", context.store_url, why, context.node);
	status = intent__runner_main(&context, &settings, helper);
	intent__helper_free(helper);
	json_decref(context.options);
	return status;
}
