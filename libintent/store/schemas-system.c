/* The system as a whole: worlds, the resources that they know, and where applications come from. */
#include "schemas.h"

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

static const struct intent_json_field name_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = intent_check_name}, END
};

/* ---- worlds, resources ---- */

static const struct intent_json_field capability_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_capability}, END
};
static const struct intent_json_field world_fields[] = {
	{.name = "capabilities", .type = INTENT_JSON_ARRAY, .max = 64, .members = capability_item,
	 .help = "what can be done there: deploy:runit, deploy:docker, deploy:kubernetes, "
		"aws, google"},
	{.name = "resources", .type = INTENT_JSON_ARRAY, .max = 10000, .members = name_item,
	 .help = "the resource repositories whose slugs are known there; the first that knows one is taken"},
	{.name = "environment", .type = INTENT_JSON_STRING, .check = intent_check_name,
	 .help = "which line of a component holds there, such as dev or prod; default: the world's name"},
	{.name = "nodes", .type = INTENT_JSON_ARRAY, .max = 10000, .members = name_item,
	 .help = "the nodes that run its services; none where Kubernetes does"},
	{.name = "basedir", .type = INTENT_JSON_STRING, .min = 2, .max = 1024, .check = intent_check_absolute,
	 .help = "below which each service has its directory; default: /srv"},
	{.name = "runas", .type = INTENT_JSON_STRING, .min = 1, .max = 65,
	 .help = "as whom its services run, unless they say"},
	{.name = "artifacts", .type = INTENT_JSON_STRING, .min = 2, .max = 2048,
	 .help = "where archives of its services are built to: a directory or URL"},
	{.name = "state", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = intent__any_item + 1,
	 .help = "where Terraform keeps its states: the backend and its settings; %s is the stack's name"},
	{.name = "namespace", .type = INTENT_JSON_STRING, .check = intent_check_name,
	 .help = "the Kubernetes namespace; default: the world's name"},
	END
};
const struct intent_json_field intent_world_schema[] = OPEN_DOCUMENT(world_fields);

/* As people name components: postgresql:v9.6, redis/redis:4. */
static const char *check_slug(const char *string)
{
	return *string && strlen(string) <= 256 && !strpbrk(string, " \t") &&
			intent_utf8_is_clean(string, strlen(string)) ? NULL :
		"must be 1 to 256 bytes without blanks and control characters";
}

static const struct intent_json_field component_fields[] = {
	{.name = "extends", .type = INTENT_JSON_STRING, .min = 1, .max = 256,
	 .help = "the component it takes everything from that it does not say itself"},
	{.name = "resolve", .type = INTENT_JSON_MAP, .max = 1000, .check = intent_check_name,
	 .members = intent__any_item, .help = "environment to resolver, such as docker://redis/redis:3.2"},
	{.name = "params", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = intent__any_item + 1, .help = "what the resolver is given"},
	{.name = "exports", .type = INTENT_JSON_ANY, .help = "what a consumer gets from it"},
	END
};
static const struct intent_json_field component_item[] = DOCUMENT(component_fields);
static const struct intent_json_field resource_fields[] = {
	{.name = "inherits", .type = INTENT_JSON_ARRAY, .max = 64, .members = name_item,
	 .help = "repositories whose components are also in this one"},
	{.name = "components", .type = INTENT_JSON_MAP, .max = 10000, .check = check_slug,
	 .members = component_item, .help = "slug to component"},
	END
};
const struct intent_json_field intent_resource_schema[] = DOCUMENT(resource_fields);

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
	 .members = intent__any_object, .help = "name to how it is built"},
	{.name = "pipeline", .type = INTENT_JSON_ANY,
	 .help = "through which worlds a version is promoted, and on what conditions"},
	{.name = "quiet_period", .type = INTENT_JSON_DURATION,
	 .help = "how long a branch must rest before it is built"},
	{.name = "concurrency", .type = INTENT_JSON_INTEGER, .min = 1, .max = 1000,
	 .help = "how many builds at once"},
	END
};
const struct intent_json_field intent_app_schema[] = OPEN_DOCUMENT(app_fields);
