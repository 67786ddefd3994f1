/* The system as a whole: worlds, the resources that they know, and where applications come from. */
#include <intent/source.h>
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

/* ---- systems ---- */

static const struct intent_json_field digest_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .min = 1, .max = 64}, END
};
static const struct intent_json_field system_fields[] = {
	{.name = "keys", .type = INTENT_JSON_MAP, .flags = INTENT_JSON_REQUIRED, .members = digest_item,
	 .help = "key of each document that it wrote to a digest of what it wrote (several while apply writes)"},
	{.name = "orphans", .type = INTENT_JSON_MAP, .members = digest_item,
	 .help = "the same of what it no longer says, and left as it was"},
	{.name = "instances", .type = INTENT_JSON_ARRAY, .members = name_item,
	 .help = "the names of the components among them"},
	END
};
const struct intent_json_field intent_system_schema[] = DOCUMENT(system_fields);

/* ---- apps ---- */

static const char *check_inside(const char *string)
{
	for (const char *part = string; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
		if (!strncmp(part, "..", 2) && (!part[2] || part[2] == '/'))
			return "must stay inside: no \"..\"";
	return *string == '/' || *string == '-' || !intent_utf8_is_clean(string, strlen(string)) ?
		"must be a path below the source, without control characters" : NULL;
}

static const char *check_image_name(const char *string)
{
	const char *last = strrchr(string, '/');

	if (strspn(string, "abcdefghijklmnopqrstuvwxyz0123456789._-/:") != strlen(string) ||
	    !strchr("abcdefghijklmnopqrstuvwxyz0123456789", *string))
		return "must be an image's name in lower case, such as registry.example/team/api";
	return strchr(last ? last : string, ':') ? "must not have a tag: the builder gives it one by content" : NULL;
}

static const char *check_repository(const char *string)
{
	size_t scheme = intent_starts_with(string, "http://") ? 7 : intent_starts_with(string, "https://") ? 8 : 0;

	if (!intent_utf8_is_clean(string, strlen(string)) || strchr(string, ' '))
		return "must not contain blanks or control characters";
	if (scheme)
		return memchr(string + scheme, '@', strcspn(string + scheme, "/?#")) ?
			"must not carry a user or password: whoever reads the store would see it" : NULL;
	return *string == '/' || intent_starts_with(string, "file:///") ? NULL :
		"must be an absolute directory, or a URL (file, http, https)";
}

static const char *check_option(const char *string)
{
	return *string == '-' ? "must not begin with -" : NULL;
}

static const char *one_kind(const json_t *recipe)
{
	return !json_object_get(recipe, "image") != !json_object_get(recipe, "tarball") ? NULL : "must be either an \"image\" or a \"tarball\"";
}

static const struct intent_json_field argument_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .max = 4096}, END
};
static const struct intent_json_field image_fields[] = {
	{.name = "name", .type = INTENT_JSON_STRING, .min = 1, .max = 255, .check = check_image_name,
	 .help = "its name, with the registry's where it is pushed to one; default: the application's"},
	{.name = "dockerfile", .type = INTENT_JSON_STRING, .min = 1, .max = 1024, .check = check_inside,
	 .help = "below the source; default: Dockerfile"},
	{.name = "target", .type = INTENT_JSON_STRING, .min = 1, .max = 255, .check = check_option,
	 .help = "the stage to build; default: the last"},
	{.name = "args", .type = INTENT_JSON_MAP, .max = 100, .check = intent_check_name,
	 .members = argument_item, .help = "build arguments; no secrets: whoever reads the store sees them"},
	{.name = "push", .type = INTENT_JSON_BOOLEAN, .help = "push it to the registry that its name says"},
	END
};
static const struct intent_json_field tarball_fields[] = {
	{.name = "repository", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .min = 2, .max = 2048,
	 .check = check_repository,
	 .help = "where it goes: a directory, or a URL that takes PUT"},
	{.name = "command", .type = INTENT_JSON_ARRAY, .min = 1, .max = 256, .members = argument_item,
	 .help = "program and arguments, run in a checkout before it is packed"},
	{.name = "directory", .type = INTENT_JSON_STRING, .min = 1, .max = 1024, .check = check_inside,
	 .help = "what of the checkout is packed; default: all"},
	END
};
static const struct intent_json_field recipe_fields[] = {
	{.name = "image", .type = INTENT_JSON_OBJECT, .members = image_fields,
	 .help = "a container image, built by the engine's own client"},
	{.name = "tarball", .type = INTENT_JSON_OBJECT, .members = tarball_fields,
	 .help = "an archive of the source, for pp-preparer"},
	END
};
static const struct intent_json_field recipe_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = recipe_fields, .whole = one_kind}, END
};
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
	{.name = "repo", .type = INTENT_JSON_STRING, .min = 1, .max = 2048, .check = intent_check_source,
	 .help = "the repository of its source"},
	{.name = "path", .type = INTENT_JSON_STRING, .max = 2048, .check = check_inside,
	 .help = "its directory in the repository"},
	{.name = "rules", .type = INTENT_JSON_ARRAY, .max = 1000, .members = rule_item,
	 .help = "which branches and tags are built how and go where"},
	{.name = "recipes", .type = INTENT_JSON_MAP, .max = 1000, .check = intent_check_name,
	 .members = recipe_item, .help = "name to how it is built"},
	{.name = "pipeline", .type = INTENT_JSON_ANY,
	 .help = "through which worlds a version is promoted, and on what conditions"},
	{.name = "quiet_period", .type = INTENT_JSON_DURATION,
	 .help = "how long a branch must rest before it is built"},
	{.name = "concurrency", .type = INTENT_JSON_INTEGER, .min = 1, .max = 1000,
	 .help = "how many builds at once"},
	END
};
const struct intent_json_field intent_app_schema[] = OPEN_DOCUMENT(app_fields);

/* ---- what was built ---- */

static const struct intent_json_field build_fields[] = {
	{.name = "input", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = intent_check_sha256,
	 .help = "digest of the source's content and the recipe: what the artifact is known by"},
	{.name = "image", .type = INTENT_JSON_STRING, .min = 1, .max = 1024,
	 .help = "the image: by digest where it was pushed, else by a tag on that node"},
	{.name = "id", .type = INTENT_JSON_STRING, .max = 256, .help = "the engine's name of the image"},
	{.name = "url", .type = INTENT_JSON_STRING, .max = 4096, .help = "where the archive is"},
	{.name = "sha256", .type = INTENT_JSON_STRING, .check = intent_check_sha256, .help = "of the archive"},
	{.name = "at", .type = INTENT_JSON_STRING, .help = "RFC 3339 time when it was published"},
	{.name = "node", .type = INTENT_JSON_STRING, .help = "the node of the builder that says so"},
	END
};
const struct intent_json_field intent__build_schema[] = OPEN_DOCUMENT(build_fields);
