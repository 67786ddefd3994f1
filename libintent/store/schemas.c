/*
 * What stands in the store: every key pattern and the shape of its document.
 *
 * Data only; intent-documents(5) says the same to people, and t/unit/documents.c compares the
 * two. A closed object names every member it may have, so that a misspelt one is a fault;
 * objects that other programs define are open.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <intent/documents.h>
#include <intent/health.h>

#define END {.name = NULL}
/* The whole document is an object with these members. */
#define DOCUMENT(fields) {{.name = "", .type = INTENT_JSON_OBJECT, .members = (fields)}, END}
#define OPEN_DOCUMENT(fields) {{.name = "", .type = INTENT_JSON_OBJECT, \
	.flags = INTENT_JSON_OPEN, .members = (fields)}, END}

static const char *check_version_state(const char *string)
{
	return !strcmp(string, "prep") || !strcmp(string, "active") ? NULL :
		"must be \"prep\" (installed) or \"active\" (installed and running)";
}

static const char *check_url(const char *string)
{
	static const char *const schemes[] = {"file:///", "http://", "https://"};
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		if (!intent_starts_with(string, schemes[i]) || !string[strlen(schemes[i])])
			continue;
		if (!intent_utf8_is_clean(string, strlen(string)) || strchr(string, ' '))
			return "must not contain blanks or control characters";
		const char *authority = strstr(string, "//") + 2;
		if (i && memchr(authority, '@', strcspn(authority, "/?#")))
			return "must not carry a user or password: "
				"whoever reads the store would see it";
		return NULL;
	}
	return "must begin with file:///, http:// or https://";
}

static const char *check_basedir(const char *string)
{
	const char *fault = intent_check_absolute(string);
	if (fault)
		return fault;
	for (const char *p = strchr(string, '%'); p; p = strchr(p + 2, '%'))
		if (p[1] != 'n' && p[1] != '%')
			return "may use % only as %n (the node's name) or %% (a percent sign)";
	return string[strspn(string, "/.")] ? NULL :
		"must be a directory below /, for example /srv/app";
}

static const char *check_user(const char *string)
{
	size_t user = strcspn(string, ":");
	if (!user || (string[user] && !string[user + 1]) || strlen(string) > 65)
		return "must be USER or USER:GROUP";
	for (const char *p = string; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_-.$:", *p))
			return "must be USER or USER:GROUP, made of letters, digits, _ - . and $";
	return strchr(string + user + (string[user] != 0), ':') ?
		"must be USER or USER:GROUP, with one colon" : NULL;
}

static const char *check_variable(const char *string)
{
	bool good = isalpha((unsigned char)*string) || *string == '_';
	for (const char *p = string; *p; p++)
		good = good && (isalnum((unsigned char)*p) || *p == '_');
	return good ? NULL : "must be made of letters, digits and _ and not begin with a digit";
}

static const char *check_protocol(const char *string)
{
	return !strcmp(string, "tcp") || !strcmp(string, "udp") ? NULL :
		"must be \"tcp\" or \"udp\"";
}

static const char *check_network(const char *string)
{
	static const char fault[] =
		"must be an address or a network such as 10.0.0.0/8 or fd00::/8";
	char address[INET6_ADDRSTRLEN];
	unsigned char bytes[16];
	size_t length = strcspn(string, "/");
	if (length >= sizeof(address))
		return fault;
	memcpy(address, string, length);
	address[length] = 0;
	int bits = inet_pton(AF_INET, address, bytes) == 1 ? 32 :
		inet_pton(AF_INET6, address, bytes) == 1 ? 128 : -1;
	if (bits < 0 || !string[length])
		return bits < 0 ? fault : NULL;
	int64_t mask;
	struct intent_error ignored;
	return intent_integer_parse(string + length + 1, 0, bits, &mask, &ignored) ? fault : NULL;
}

static const char *check_failure(const char *string)
{
	return !strcmp(string, "keep") || !strcmp(string, "rollback") ? NULL :
		"must be \"keep\" or \"rollback\"";
}

static const char *check_ensure(const char *string)
{
	return !strcmp(string, "present") || !strcmp(string, "absent") ? NULL :
		"must be \"present\" or \"absent\"";
}

static const char *check_capability(const char *string)
{
	static const char *const words[] = {
		"deploy:runit", "deploy:docker", "deploy:kubernetes", "aws", "google"
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(string, words[i]))
			return NULL;
	return "must be one of deploy:runit, deploy:docker, deploy:kubernetes, aws, google";
}

static const char *one_active(const json_t *versions)
{
	int active = 0;
	/* jansson iterates without changing anything, but its prototypes say otherwise. */
	json_t *object = (json_t *)(uintptr_t)versions;
	for (void *i = json_object_iter(object); i; i = json_object_iter_next(object, i)) {
		const char *state = json_string_value(json_object_iter_value(i));
		active += state && !strcmp(state, "active");
	}
	return active > 1 ? "has more than one active version: make all but one \"prep\"" : NULL;
}

/* Only containers need no directory on the node. */
static const char *has_basedir(const json_t *deploy)
{
	return json_object_get(deploy, "basedir") || json_object_get(deploy, "docker") ||
		json_object_get(deploy, "kubernetes") ? NULL :
		"\"basedir\" is missing: the absolute directory of the application on each node";
}

static const char *one_source(const json_t *value)
{
	return !json_object_get(value, "from") == !json_object_get(value, "value") ?
		"must have either \"from\" or \"value\"" : NULL;
}

/* ---- shared rows ---- */

static const struct intent_json_field any_item[] = {
	{.name = "", .type = INTENT_JSON_ANY}, END
};
static const struct intent_json_field any_object[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = any_item + 1},
	END
};
static const struct intent_json_field name_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = intent_check_name}, END
};
static const struct intent_json_field hold_forms[] = {
	{.name = "", .type = INTENT_JSON_BOOLEAN},
	{.name = "", .type = INTENT_JSON_STRING, .min = 1, .max = 512}, END
};

/* ---- nodes ---- */

static const struct intent_json_field marker_fields[] = {
	{.name = "ensure", .type = INTENT_JSON_STRING, .check = check_ensure,
	 .help = "\"absent\" retires the node: everything of ours on it is removed"},
	END
};
static const struct intent_json_field marker_schema[] = DOCUMENT(marker_fields);

static const struct intent_json_field node_fields[] = {
	{.name = "cluster", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .check = intent_check_name,
	 .help = "the cluster of this application that the node belongs to"},
	{.name = "hold", .type = INTENT_JSON_ONE_OF, .members = hold_forms,
	 .help = "true, or the reason in words: leave this application on this node as it is"},
	END
};
const struct intent_json_field intent_node_schema[] = DOCUMENT(node_fields);

/* ---- clusters: config ---- */

static const struct intent_json_field version_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_version_state}, END
};

static const struct intent_json_field artifact_fields[] = {
	{.name = "url", .type = INTENT_JSON_STRING, .max = 2048, .check = check_url,
	 .help = "where the archive is (file, http or https); "
		"otherwise it is looked for below the preparer's --repo"},
	{.name = "sha256", .type = INTENT_JSON_STRING, .check = intent_check_sha256,
	 .help = "SHA-256 of the archive as 64 hexadecimal digits"},
	END
};
static const struct intent_json_field artifact_item[] = DOCUMENT(artifact_fields);

static const struct intent_json_field config_fields[] = {
	{.name = "versions", .type = INTENT_JSON_MAP, .flags = INTENT_JSON_REQUIRED,
	 .max = 1000, .check = intent_check_name, .whole = one_active, .members = version_item,
	 .help = "version identifier to \"prep\" (installed) or \"active\" (installed and "
		"running); at most one is active"},
	{.name = "artifacts", .type = INTENT_JSON_MAP, .max = 1000, .check = intent_check_name,
	 .members = artifact_item, .help = "version identifier to its archive"},
	{.name = "previous", .type = INTENT_JSON_STRING, .check = intent_check_name,
	 .help = "the version that was active before; "
		"written by ppctl activate, read by ppctl rollback"},
	{.name = "min_nodes", .type = INTENT_JSON_INTEGER, .min = 0, .max = 1000000,
	 .help = "how many other nodes must be healthy before one may stop"},
	{.name = "user_config", .type = INTENT_JSON_ANY,
	 .help = "handed to the application as a file, unread"},
	END
};
const struct intent_json_field intent_config_schema[] = DOCUMENT(config_fields);

/* ---- clusters: deploy_config ---- */

static const struct intent_json_field network_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_network}, END
};
static const struct intent_json_field from_forms[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_network},
	{.name = "", .type = INTENT_JSON_ARRAY, .min = 1, .max = 256, .members = network_item}, END
};
static const struct intent_json_field port_fields[] = {
	{.name = "port", .type = INTENT_JSON_INTEGER, .flags = INTENT_JSON_REQUIRED,
	 .min = 1, .max = 65535, .help = "the port, 1 to 65535"},
	{.name = "protocol", .type = INTENT_JSON_STRING, .check = check_protocol,
	 .help = "\"tcp\" (default) or \"udp\""},
	{.name = "from", .type = INTENT_JSON_ONE_OF, .members = from_forms,
	 .help = "an address, a network or a list of them that may connect; default: everybody"},
	END
};
static const struct intent_json_field port_forms[] = {
	{.name = "", .type = INTENT_JSON_INTEGER, .min = 1, .max = 65535},
	{.name = "", .type = INTENT_JSON_OBJECT, .members = port_fields}, END
};
static const struct intent_json_field port_item[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = port_forms}, END
};
static const struct intent_json_field variable_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .max = 32768}, END
};
static const struct intent_json_field log_fields[] = {
	{.name = "size", .type = INTENT_JSON_INTEGER, .min = 4096, .max = 1 << 30,
	 .help = "bytes after which a log file is rotated"},
	{.name = "keep", .type = INTENT_JSON_INTEGER, .min = 1, .max = 1000,
	 .help = "how many rotated log files are kept"},
	END
};

static const struct intent_json_field deploy_fields[] = {
	{.name = "basedir", .type = INTENT_JSON_STRING, .min = 1, .check = check_basedir,
	 .help = "absolute directory of the application on each node; %n is the node's name"},
	{.name = "ports", .type = INTENT_JSON_ARRAY, .max = 1024, .members = port_item,
	 .help = "the ports it listens on: numbers, or objects with port, protocol and from"},
	{.name = "runas", .type = INTENT_JSON_STRING, .check = check_user,
	 .help = "the user (or USER:GROUP) it runs as"},
	{.name = "health", .type = INTENT_JSON_OBJECT, .members = intent_health_fields,
	 .help = "when the service counts as healthy"},
	{.name = "environment", .type = INTENT_JSON_MAP, .max = 1000, .check = check_variable,
	 .members = variable_item, .help = "environment variables of the service; no secrets"},
	{.name = "log", .type = INTENT_JSON_OBJECT, .members = log_fields,
	 .help = "how much of its output is kept"},
	{.name = "stop_timeout", .type = INTENT_JSON_DURATION,
	 .help = "how long it may take to stop before it is killed"},
	{.name = "on_failure", .type = INTENT_JSON_STRING, .check = check_failure,
	 .help = "when a new version does not become healthy: \"keep\" (default) or \"rollback\""},
	{.name = "hold", .type = INTENT_JSON_ONE_OF, .members = hold_forms,
	 .help = "true, or the reason in words: leave this cluster as it is"},
	{.name = "limits", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = any_item + 1, .help = "resource limits of the service"},
	{.name = "docker", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = any_item + 1, .help = "how it runs in containers"},
	{.name = "kubernetes", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = any_item + 1, .help = "how it runs on Kubernetes"},
	END
};
const struct intent_json_field intent_deploy_schema[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .whole = has_basedir, .members = deploy_fields},
	END
};

/* ---- worlds, resources ---- */

static const struct intent_json_field capability_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_capability}, END
};
static const struct intent_json_field world_fields[] = {
	{.name = "capabilities", .type = INTENT_JSON_ARRAY, .max = 64, .members = capability_item,
	 .help = "what can be done there: deploy:runit, deploy:docker, deploy:kubernetes, "
		"aws, google"},
	{.name = "resources", .type = INTENT_JSON_ARRAY, .max = 10000, .members = any_item,
	 .help = "the resources it exposes and the repositories they come from"},
	END
};
static const struct intent_json_field world_schema[] = OPEN_DOCUMENT(world_fields);

static const struct intent_json_field component_fields[] = {
	{.name = "extends", .type = INTENT_JSON_STRING, .min = 1, .max = 256,
	 .help = "the component it takes everything from that it does not say itself"},
	{.name = "resolve", .type = INTENT_JSON_MAP, .max = 1000, .check = intent_check_name,
	 .members = any_item, .help = "environment to resolver, such as docker://redis/redis:3.2"},
	{.name = "params", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = any_item + 1, .help = "what the resolver is given"},
	{.name = "exports", .type = INTENT_JSON_ANY, .help = "what a consumer gets from it"},
	END
};
static const struct intent_json_field component_item[] = DOCUMENT(component_fields);
static const struct intent_json_field resource_fields[] = {
	{.name = "inherits", .type = INTENT_JSON_ARRAY, .max = 64, .members = name_item,
	 .help = "repositories whose components are also in this one"},
	{.name = "components", .type = INTENT_JSON_MAP, .max = 10000, .check = intent_check_name,
	 .members = component_item, .help = "slug to component"},
	END
};
static const struct intent_json_field resource_schema[] = DOCUMENT(resource_fields);

/* ---- apps ---- */

static const struct intent_json_field rule_fields[] = {
	{.name = "ref", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .min = 1, .max = 512, .help = "pattern of branch or tag names, such as release-*"},
	{.name = "recipe", .type = INTENT_JSON_STRING, .check = intent_check_name,
	 .help = "the recipe that builds it"},
	{.name = "world", .type = INTENT_JSON_STRING, .check = intent_check_name,
	 .help = "the world it is deployed to"},
	END
};
static const struct intent_json_field rule_item[] = OPEN_DOCUMENT(rule_fields);
static const struct intent_json_field app_fields[] = {
	{.name = "repo", .type = INTENT_JSON_STRING, .min = 1, .max = 2048,
	 .help = "the repository of its source"},
	{.name = "path", .type = INTENT_JSON_STRING, .min = 1, .max = 2048,
	 .help = "its directory in the repository"},
	{.name = "rules", .type = INTENT_JSON_ARRAY, .max = 1000, .members = rule_item,
	 .help = "which branches and tags are built how and go where"},
	{.name = "recipes", .type = INTENT_JSON_MAP, .max = 1000, .check = intent_check_name,
	 .members = any_object, .help = "name to how it is built"},
	{.name = "pipeline", .type = INTENT_JSON_ANY,
	 .help = "through which worlds a version is promoted, and on what conditions"},
	{.name = "quiet_period", .type = INTENT_JSON_DURATION,
	 .help = "how long a branch must rest before it is built"},
	{.name = "concurrency", .type = INTENT_JSON_INTEGER, .min = 1, .max = 1000,
	 .help = "how many builds at once"},
	END
};
static const struct intent_json_field app_schema[] = OPEN_DOCUMENT(app_fields);

/* ---- stacks, injections ---- */

static const struct intent_json_field stack_fields[] = {
	{.name = "source", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .min = 1, .max = 2048, .help = "the Terraform module"},
	{.name = "vars", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = any_item + 1, .help = "input variables; no secrets"},
	{.name = "state", .type = INTENT_JSON_ANY, .help = "where its state is kept"},
	{.name = "apply", .type = INTENT_JSON_ANY, .help = "when a plan is applied"},
	{.name = "protect", .type = INTENT_JSON_ANY, .help = "what is never destroyed"},
	{.name = "ensure", .type = INTENT_JSON_STRING, .check = check_ensure,
	 .help = "\"absent\" destroys the stack; a missing document does not"},
	END
};
static const struct intent_json_field stack_schema[] = OPEN_DOCUMENT(stack_fields);

static const struct intent_json_field value_fields[] = {
	{.name = "from", .type = INTENT_JSON_STRING, .min = 1, .max = 2048,
	 .help = "a reference: tfstate:...#output, env:NAME or file:PATH"},
	{.name = "value", .type = INTENT_JSON_ANY, .help = "the value itself; no secrets"},
	END
};
static const struct intent_json_field value_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .whole = one_source, .members = value_fields},
	END
};
static const struct intent_json_field injection_fields[] = {
	{.name = "values", .type = INTENT_JSON_MAP, .flags = INTENT_JSON_REQUIRED, .max = 10000,
	 .members = value_item, .help = "name to where its value comes from"},
	{.name = "sinks", .type = INTENT_JSON_ARRAY, .max = 64, .members = any_object,
	 .help = "where the values are put"},
	END
};
static const struct intent_json_field injection_schema[] = OPEN_DOCUMENT(injection_fields);

/* ---- reality ---- */

static const struct intent_json_field status_fields[] = {
	{.name = "state", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .help = "converged, converging, waiting, blocked or failing"},
	{.name = "reason", .type = INTENT_JSON_STRING, .help = "why, in one CamelCase word"},
	{.name = "message", .type = INTENT_JSON_STRING, .help = "why, in a sentence"},
	{.name = "since", .type = INTENT_JSON_STRING,
	 .help = "RFC 3339 time of the state's beginning"},
	{.name = "attempts", .type = INTENT_JSON_INTEGER, .help = "failed rounds in a row"},
	{.name = "next_attempt", .type = INTENT_JSON_ANY,
	 .help = "RFC 3339 time of the next round"},
	{.name = "intent_digest", .type = INTENT_JSON_STRING,
	 .help = "SHA-256 of the slice's intent"},
	{.name = "detail", .type = INTENT_JSON_ANY, .help = "what the agent has to add"},
	{.name = "once", .type = INTENT_JSON_BOOLEAN, .help = "true: left by a run with --once"},
	END
};
static const struct intent_json_field status_schema[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = status_fields},
	END
};

const struct intent_document intent_documents[] = {
	{"nodes/<node>/", marker_schema,
	 "the node is meant to be managed", "ppctl"},
	{"nodes/<node>/<app>", intent_node_schema,
	 "the application runs on the node, in this cluster", "operator"},
	{"clusters/<app>/<cluster>/config", intent_config_schema,
	 "versions and their state, and what developers may set", "developer, promoter"},
	{"clusters/<app>/<cluster>/deploy_config", intent_deploy_schema,
	 "where and as whom it runs: privileged", "operator"},
	{"worlds/<world>", world_schema,
	 "a named place and what can be done there", "operator"},
	{"resources/<repository>", resource_schema,
	 "infrastructure components by name", "systems engineer"},
	{"apps/<app>", app_schema,
	 "where its source is, how it is built and where it goes", "developer"},
	{"stacks/<world>/<name>", stack_schema,
	 "infrastructure that Terraform converges", "ppctl, operator"},
	{"injections/<world>/<name>", injection_schema,
	 "values handed to where applications find them", "ppctl, developer"},
	{"jobs/<world>/<name>", any_object,
	 "something to run, under its lock", "operator"},
	{"entrypoints/<world>/<name>", any_object,
	 "what the proxy serves", "operator"},
	{"gates/<world>/<name>", any_object,
	 "which ports are open to whom", "operator, ppctl"},
	{"approvals/<kind>/<world>/<name>", any_object,
	 "a person's consent", "a person"},
	{"reality/status/<agent>/<node>/<slice...>", status_schema,
	 "how an agent stands with one slice, for people and monitors", "every agent"},
	{"reality/health/<app>/<cluster>/<node>", any_item,
	 "whether the service is healthy", "health-reporter"},
	{"reality/refs/<app>/<ref...>", any_item,
	 "where a branch or tag points", "ref-watcher"},
	{"reality/builds/<build...>", any_item,
	 "an artifact that exists", "builder"},
	{"reality/results/<job...>", any_item,
	 "what a job came to", "job-runner"},
	{"locks/<app>/<cluster>/shutdown", any_item,
	 "shutdown slots, one a node", "setlive"},
	{"locks/world/<world>", any_item,
	 "one changer of a world at a time", "agents"},
	{"locks/stack/<world>/<name>", any_item,
	 "one Terraform run at a time", "terraform-applier"},
	{"locks/job/<key...>", any_item,
	 "one run of a job at a time", "job-runner"},
	{NULL, NULL, NULL, NULL}
};
