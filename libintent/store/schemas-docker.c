/* The section of deploy_config for containers. */
#include <ctype.h>
#include "schemas.h"

/* Docker's rule for the names of networks, volumes and aliases. */
static const char *check_object(const char *string)
{
	bool good = isalnum((unsigned char)*string) && strlen(string) <= 128;

	for (const char *p = string; *p; p++)
		good = good && (isalnum((unsigned char)*p) || strchr("_.-", *p));
	return good ? NULL : "must be at most 128 letters, digits, _ . and -, and begin with a letter or digit";
}

static const char *check_image(const char *string)
{
	if (!isalnum((unsigned char)*string) || !intent_utf8_is_clean(string, strlen(string)) || strchr(string, ' '))
		return "must be an image, such as registry.example.com/slug:1.2 or slug@sha256:...";
	for (const char *p = strchr(string, '%'); p; p = strchr(p + 2, '%'))
		if (p[1] != 'v')
			return "may use % only as %v (the active version)";
	return NULL;
}

static const char *check_cpus(const char *string)
{
	char *end;
	double cpus = strtod(string, &end);

	return isdigit((unsigned char)*string) && !*end && cpus > 0 && cpus <= 4096 ? NULL :
		"must be a number of processors, such as \"0.5\"";
}

static const char *check_restart(const char *string)
{
	return !strcmp(string, "always") || !strcmp(string, "on-failure") || !strcmp(string, "never") ? NULL :
		"must be \"always\", \"on-failure\" or \"never\"";
}

static const char *check_pull(const char *string)
{
	return !strcmp(string, "missing") || !strcmp(string, "always") || !strcmp(string, "never") ? NULL :
		"must be \"missing\", \"always\" or \"never\"";
}

static const char *one_origin(const json_t *mount)
{
	return !json_object_get(mount, "volume") == !json_object_get(mount, "path") ?
		"must have either \"volume\" (a name) or \"path\" (a directory of the node)" : NULL;
}

static const char *check_argument(const char *string)
{
	return intent_utf8_is_clean(string, strlen(string)) ? NULL : "must not contain control characters";
}

static const struct intent_json_field word_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .max = 32768, .check = check_argument}, END
};
static const struct intent_json_field object_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_object}, END
};

static const struct intent_json_field publish_fields[] = {
	{.name = "container", .type = INTENT_JSON_INTEGER, .flags = INTENT_JSON_REQUIRED, .min = 1, .max = 65535,
	 .help = "the port inside"},
	{.name = "host", .type = INTENT_JSON_INTEGER, .min = 0, .max = 65535,
	 .help = "the port on the node; default: a free one"},
	{.name = "protocol", .type = INTENT_JSON_STRING, .check = intent__check_protocol,
	 .help = "\"tcp\" (default) or \"udp\""},
	{.name = "address", .type = INTENT_JSON_STRING, .max = 64,
	 .help = "the node's address it is bound to; default: every one"},
	END
};
static const struct intent_json_field publish_forms[] = {
	{.name = "", .type = INTENT_JSON_INTEGER, .min = 1, .max = 65535},
	{.name = "", .type = INTENT_JSON_OBJECT, .members = publish_fields}, END
};
static const struct intent_json_field publish_item[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = publish_forms}, END
};

static const struct intent_json_field mount_fields[] = {
	{.name = "volume", .type = INTENT_JSON_STRING, .check = check_object,
	 .help = "a named volume, made when it is missing and never removed"},
	{.name = "path", .type = INTENT_JSON_STRING, .max = 1024, .check = intent_check_absolute,
	 .help = "a directory or file of the node, which must be there"},
	{.name = "target", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .max = 1024,
	 .check = intent_check_absolute, .help = "where it is seen inside"},
	{.name = "read_only", .type = INTENT_JSON_BOOLEAN, .help = "not to be written"},
	END
};
static const struct intent_json_field mount_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .whole = one_origin, .members = mount_fields}, END
};

static const struct intent_json_field check_fields[] = {
	{.name = "command", .type = INTENT_JSON_ARRAY, .flags = INTENT_JSON_REQUIRED, .min = 1, .max = 256,
	 .members = word_item, .help = "program and arguments, run inside by the engine; 0 is healthy"},
	{.name = "interval", .type = INTENT_JSON_DURATION, .help = "between two checks"},
	{.name = "timeout", .type = INTENT_JSON_DURATION, .help = "of one check"},
	{.name = "retries", .type = INTENT_JSON_INTEGER, .min = 1, .max = 1000,
	 .help = "failures in a row that make it unhealthy"},
	{.name = "start_period", .type = INTENT_JSON_DURATION, .help = "how long failures at the start do not count"},
	END
};

const struct intent_json_field intent__docker_fields[] = {
	{.name = "image", .type = INTENT_JSON_STRING, .max = 1024, .check = check_image,
	 .help = "the image, %v being the active version; default: what the version's artifact names"},
	{.name = "pull", .type = INTENT_JSON_STRING, .check = check_pull,
	 .help = "when the registry is asked for it: \"missing\" (default), \"always\" or \"never\""},
	{.name = "entrypoint", .type = INTENT_JSON_ARRAY, .max = 256, .members = word_item,
	 .help = "instead of the image's own"},
	{.name = "command", .type = INTENT_JSON_ARRAY, .max = 256, .members = word_item,
	 .help = "instead of the image's own"},
	{.name = "env", .type = INTENT_JSON_MAP, .max = 1000, .check = intent__check_variable,
	 .members = intent__variable_item, .help = "environment variables beside \"environment\" and \"envdir\"; no secrets"},
	{.name = "ports", .type = INTENT_JSON_ARRAY, .max = 1024, .members = publish_item,
	 .help = "ports to publish on the node: numbers (the same inside), or objects"},
	{.name = "networks", .type = INTENT_JSON_ARRAY, .max = 64, .members = object_item,
	 .help = "networks it is on, made when they are missing; default: the engine's own"},
	{.name = "aliases", .type = INTENT_JSON_ARRAY, .max = 64, .members = object_item,
	 .help = "names it has there beside that of the application"},
	{.name = "volumes", .type = INTENT_JSON_ARRAY, .max = 256, .members = mount_item,
	 .help = "what is mounted where"},
	{.name = "user", .type = INTENT_JSON_STRING, .min = 1, .max = 65, .check = check_argument,
	 .help = "as whom it runs inside"},
	{.name = "memory", .type = INTENT_JSON_ONE_OF, .members = intent__size_forms,
	 .help = "at most so much memory, such as \"512M\""},
	{.name = "cpus", .type = INTENT_JSON_STRING, .check = check_cpus,
	 .help = "at most so many processors, such as \"0.5\""},
	{.name = "health", .type = INTENT_JSON_OBJECT, .members = check_fields,
	 .help = "a check inside the container, beside those of \"health\" from outside"},
	{.name = "restart", .type = INTENT_JSON_STRING, .check = check_restart,
	 .help = "when it ends by itself: \"always\" (default), \"on-failure\" or \"never\""},
	{.name = "stateful", .type = INTENT_JSON_BOOLEAN,
	 .help = "true: the old one is stopped before the new one starts; default: when it has a volume that it may write"},
	{.name = "drain", .type = INTENT_JSON_DURATION,
	 .help = "how long the old one goes on beside the new one, before it is stopped"},
	{.name = "labels", .type = INTENT_JSON_MAP, .max = 256, .members = intent__variable_item,
	 .help = "labels beside ours"},
	END
};
