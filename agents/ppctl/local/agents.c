/* Which agents the documents of a workspace need, and how each is told where everything is. */
#include <intent/file.h>
#include "local.h"

enum { ARGS_MAX = 40 };

/* Does any document ask for this agent? */
static bool any_section(const json_t *documents, const char *section)
{
	const char *key;
	json_t *document;

	json_object_foreach((json_t *)(uintptr_t)documents, key, document)
		if (intent_ends_with(key, "/deploy_config") && json_object_get(document, section))
			return true;
	return false;
}

static bool any_below(const json_t *documents, const char *prefix)
{
	const char *key;
	json_t *document;

	json_object_foreach((json_t *)(uintptr_t)documents, key, document)
		if (intent_starts_with(key, prefix))
			return true;
	return false;
}

#define SITE "--supervisor=runit", "--runit=%s/service", "--runit-stage=%s/stage"

const char *const local_agent_names[] = {
	"preparer", "setlive", "health-reporter", "container-runner", "builder", "configmap-injector", NULL,
};

/*
 * %s in an argument is the state directory of the workspace. Logs are written by whoever runs this: another user may
 * not be let into the place.
 */
static const struct local_agent {
	const char *name;
	const char *section; /* of a deploy_config that it is needed for; or */
	const char *prefix;  /* of keys */
	bool removes;        /* it takes something away when intent for it goes */
	const char *arguments[6];
} agents[] = {
	{"preparer", "basedir", NULL, false, {"--repo=file://%s/artifacts", "--keep=1"}},
	{"setlive", "basedir", NULL, true, {SITE, "--stop-timeout=10s", "--log-user=root"}},
	{"health-reporter", "basedir", NULL, false, {SITE, "--check-interval=1s"}},
	{"container-runner", "docker", NULL, true, {NULL}},
	{"builder", NULL, "apps/", false, {"--quiet-period=300ms", "--as-root", "--keep=3"}},
	{"configmap-injector", NULL, "injections/", true, {"--world=" LOCAL_WORLD}},
};

static bool is_needed(const struct local_agent *agent, const json_t *documents)
{
	return agent->section ? any_section(documents, agent->section) : any_below(documents, agent->prefix);
}

int local_program(const char *name, char **ret_owned, struct intent_error *err)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *path = getenv("PATH");

	self[length > 0 ? length : 0] = 0;
	if (strrchr(self, '/'))
		*strrchr(self, '/') = 0;
	for (const char *at = self; at && *at;) {
		size_t part = strcspn(at, ":");
		char *program = intent_format("%.*s/%s", (int)part, at, name);
		if (*program == '/' && !access(program, X_OK)) {
			*ret_owned = program;
			return 0;
		}
		free(program);
		if (at == self)
			at = path;
		else
			at += part + (at[part] == ':');
	}
	return intent_fail(err, INTENT_EABSENT,
			   "there is no %s beside ppctl nor on PATH; \"make install\" puts it there", name);
}

/*
 * Whatever the machine's own agents are told, be it by variables or by /etc/platypus, is not for these.
 */
static void forget_environment(void)
{
	static const char *const names[] = {
		"PP_", "CONSUL_", "ETCDCTL_", "SVDIR=", "NOTIFY_SOCKET=", "WATCHDOG_", "STATE_DIRECTORY=",
		"RUNTIME_DIRECTORY=",
	};
	for (size_t i = 0; environ && environ[i];) {
		bool ours = false;
		for (size_t k = 0; k < sizeof(names) / sizeof(*names); k++)
			ours = ours || intent_starts_with(environ[i], names[k]);
		intent_free_auto char *name = ours ? strndup(environ[i], strcspn(environ[i], "=")) : NULL;
		if (!name || unsetenv(name))
			i++;
	}
}

static int add(json_t *arguments, char *argument)
{
	int code = json_array_append_new(arguments, json_string(argument));

	free(argument);
	return code;
}

/* What agents have in common, then what this one is told. */
static int tell(const struct local_place *place, const struct local_agent *agent, bool once, const char *program,
		json_t *arguments)
{
	int code = add(arguments, strdup(program)) | add(arguments, intent_format("--store=%s", place->url)) |
		add(arguments, intent_format("--node=%s", place->node)) |
		add(arguments, intent_format("--config-file=%s/agents.yaml", place->state)) |
		add(arguments, intent_format("--state-dir=%s/agents/%s", place->state, agent->name)) |
		add(arguments, strdup("--listen=none")) | add(arguments, strdup("--max-destroy=100000")) |
		add(arguments, strdup(once ? "--once" : "--splay=1s"));

	for (size_t i = 0; i < 6 && agent->arguments[i]; i++) {
		const char *argument = agent->arguments[i], *mark = strstr(argument, "%s");
		code |= add(arguments, mark ? intent_format("%.*s%s%s", (int)(mark - argument), argument,
							    place->state, mark + 2) :
					      strdup(argument));
	}
	return code;
}

static int start(const struct local_place *place, const struct local_agent *agent, bool once,
		 struct local_children *children, const struct local_child_options *how, struct intent_error *err)
{
	intent_free_auto char *name = intent_format("pp-%s", agent->name), *program = NULL;
	intent_free_auto char *log = local_path(place, "logs/%s.log", agent->name);
	intent_json_auto json_t *arguments = json_array();
	struct local_child_options options = *how;
	const char *argv[ARGS_MAX] = {0};

	if (local_program(name, &program, err))
		return err->code;
	if (tell(place, agent, once, program, arguments))
		return intent_fail(err, INTENT_EUSAGE, "%s, or %s: a path that is not UTF-8; rename it", place->state,
				   program);
	for (size_t i = 0; i < json_array_size(arguments) && i < ARGS_MAX - 1; i++)
		argv[i] = json_string_value(json_array_get(arguments, i));
	options.name = agent->name;
	options.argv = argv;
	options.log = log;
	options.once = once;
	return local_children_start(children, &options, err);
}

int local_agents_start(const struct local_place *place, const json_t *documents, bool once,
		       struct local_children *children, const struct local_child_options *how,
		       struct intent_error *err)
{
	intent_free_auto char *file = local_path(place, "agents.yaml");
	static const char words[] = "# Nothing: these agents take everything from their command lines.\n";
	int code = intent_file_write(file, words, strlen(words), 0600, err);

	forget_environment();
	for (size_t i = 0; !code && i < sizeof(agents) / sizeof(*agents); i++)
		if ((!once || agents[i].removes) && is_needed(&agents[i], documents))
			code = start(place, &agents[i], once, children, how, err);
	return code;
}
