/*
 * What stands in the store: every key pattern and the shape of its document.
 *
 * Data only; intent-documents(5) says the same to people, and t/unit/documents.c compares the
 * two. A closed object names every member it may have, so that a misspelt one is a fault;
 * objects that other programs define are open.
 */
#include "schemas.h"

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

static const char *check_image(const char *string)
{
	return intent_utf8_is_clean(string, strlen(string)) && !strpbrk(string, " %") ? NULL :
		"must be an image, such as registry.example.com/slug@sha256:...";
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

/* ---- nodes ---- */

static const struct intent_json_field marker_fields[] = {
	{.name = "ensure", .type = INTENT_JSON_STRING, .check = intent__check_ensure,
	 .help = "\"absent\" retires the node: everything of ours on it is removed"},
	{.name = "hold", .type = INTENT_JSON_ONE_OF, .members = intent__hold_forms,
	 .help = "leave every application on this node as it is"},
	END
};
static const struct intent_json_field marker_schema[] = DOCUMENT(marker_fields);

static const struct intent_json_field node_fields[] = {
	{.name = "cluster", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .check = intent_check_name,
	 .help = "the cluster of this application that the node belongs to"},
	{.name = "hold", .type = INTENT_JSON_ONE_OF, .members = intent__hold_forms,
	 .help = "leave this application on this node as it is"},
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
	{.name = "image", .type = INTENT_JSON_STRING, .min = 1, .max = 1024, .check = check_image,
	 .help = "of a container: its image, best by digest (slug@sha256:...)"},
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
	{.name = "hold", .type = INTENT_JSON_ONE_OF, .members = intent__hold_forms,
	 .help = "leave this cluster as it is"},
	{.name = "user_config", .type = INTENT_JSON_ANY,
	 .help = "handed to the application as a file, unread"},
	END
};
const struct intent_json_field intent_config_schema[] = DOCUMENT(config_fields);

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

static const char *check_health_state(const char *string)
{
	return !strcmp(string, "healthy") || !strcmp(string, "unhealthy") ||
		!strcmp(string, "unknown") ? NULL :
		"must be \"healthy\", \"unhealthy\" or \"unknown\"";
}

static const struct intent_json_field fact_fields[] = {
	{.name = "state", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .check = check_health_state, .help = "healthy, unhealthy or unknown"},
	{.name = "version", .type = INTENT_JSON_STRING,
	 .help = "the version that was looked at"},
	{.name = "reason", .type = INTENT_JSON_STRING, .help = "why it is not healthy, in a sentence"},
	{.name = "since", .type = INTENT_JSON_STRING,
	 .help = "RFC 3339 time of the state's beginning"},
	{.name = "host", .type = INTENT_JSON_STRING, .help = "the host name of who looks"},
	{.name = "once", .type = INTENT_JSON_BOOLEAN,
	 .help = "true: left by a run with --once; nobody relies on it"},
	END
};
static const struct intent_json_field fact_schema[] = OPEN_DOCUMENT(fact_fields);

/* ---- locks ---- */

static const struct intent_json_field slot_fields[] = {
	{.name = "holder", .type = INTENT_JSON_STRING, .help = "who holds it: <agent>@<node>"},
	{.name = "since", .type = INTENT_JSON_STRING, .help = "RFC 3339 time when it was taken"},
	{.name = "version", .type = INTENT_JSON_STRING, .help = "the version it was taken for"},
	{.name = "target", .type = INTENT_JSON_STRING,
	 .help = "digest of all that the version would run with"},
	{.name = "fence", .type = INTENT_JSON_INTEGER, .min = 0, .max = INT64_MAX,
	 .help = "how often its node has taken it: no older write finds the document unchanged"},
	{.name = "waived", .type = INTENT_JSON_BOOLEAN,
	 .help = "taken without asking for min_nodes, because the service was down"},
	{.name = "attempt", .type = INTENT_JSON_INTEGER, .min = 0, .max = 1000000,
	 .help = "how often \"ppctl rollout retry\" was said"},
	{.name = "failed", .type = INTENT_JSON_STRING,
	 .help = "why that version is not tried again, in a sentence"},
	{.name = "failed_at", .type = INTENT_JSON_STRING, .help = "RFC 3339 time of the failure"},
	{.name = "instead", .type = INTENT_JSON_STRING,
	 .help = "the version that was set live in its place"},
	END
};
static const struct intent_json_field slot_item[] = OPEN_DOCUMENT(slot_fields);
static const struct intent_json_field slots_fields[] = {
	{.name = "slots", .type = INTENT_JSON_MAP, .max = 10000, .check = intent_check_name,
	 .members = slot_item, .help = "node to its slot"},
	END
};
static const struct intent_json_field slots_schema[] = OPEN_DOCUMENT(slots_fields);

const struct intent_document intent_documents[] = {
	{"nodes/<node>/", marker_schema,
	 "the node is meant to be managed", "ppctl"},
	{"nodes/<node>/<app>", intent_node_schema,
	 "the application runs on the node, in this cluster", "operator"},
	{"clusters/<app>/<cluster>/config", intent_config_schema,
	 "versions and their state, and what developers may set", "developer, promoter"},
	{"clusters/<app>/<cluster>/deploy_config", intent_deploy_schema,
	 "where and as whom it runs: privileged", "operator"},
	{"worlds/<world>", intent_world_schema,
	 "a named place and what can be done there", "operator"},
	{"resources/<repository>", intent_resource_schema,
	 "infrastructure components by name", "systems engineer"},
	{"systems/<world>/<system>", intent_system_schema,
	 "what a system definition wrote into a world", "ppctl apply"},
	{"apps/<app>", intent_app_schema,
	 "where its source is, how it is built and where it goes", "developer"},
	{"stacks/<world>/<name>", intent_stack_schema,
	 "infrastructure that Terraform converges", "ppctl, operator"},
	{"injections/<world>/<name>", intent_injection_schema,
	 "values handed to where applications find them", "ppctl, developer"},
	{"jobs/<world>/<name>", intent__any_object,
	 "something to run, under its lock", "operator"},
	{"entrypoints/<world>/<name>", intent__any_object,
	 "what the proxy serves", "operator"},
	{"gates/<world>/<name>", intent_gate_schema,
	 "which ports are open to whom", "operator, ppctl"},
	{"approvals/stack/<world>/<name>", intent_approval_schema,
	 "a person's consent to one plan of a stack", "a person"},
	{"approvals/<kind>/<world>/<name>", intent__any_object,
	 "a person's consent", "a person"},
	{"reality/status/<agent>/<node>/<slice...>", status_schema,
	 "how an agent stands with one slice, for people and monitors", "every agent"},
	{"reality/health/<app>/<cluster>/<node>", fact_schema,
	 "whether the service is healthy", "health-reporter"},
	{"reality/refs/<app>/<ref...>", intent__any_item,
	 "where a branch or tag points", "ref-watcher"},
	{"reality/builds/<app>/<revision>/<recipe>", intent__build_schema,
	 "an artifact that exists", "builder"},
	{"reality/results/<job...>", intent__any_item,
	 "what a job came to", "job-runner"},
	{"locks/<app>/<cluster>/shutdown", slots_schema,
	 "shutdown slots, one a node", "setlive"},
	{"locks/world/<world>", intent__any_item,
	 "one changer of a world at a time", "agents"},
	{"locks/stack/<world>/<name>", intent__any_item,
	 "one Terraform run at a time", "terraform-applier"},
	{"locks/build/<input>", intent__any_item,
	 "one build of the same content at a time", "builder"},
	{"locks/job/<key...>", intent__any_item,
	 "one run of a job at a time", "job-runner"},
	{NULL, NULL, NULL, NULL}
};
