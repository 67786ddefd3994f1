/* What may stand in sysdef.yaml, Pibstack and deployd.yaml, resolvers and exports too; and faults of it with places. */
#include <ctype.h>
#include <intent/health.h>
#include <intent/source.h>
#include "parts.h"

#define END {.name = NULL}

static const struct intent_json_field any_item[] = {{.name = "", .type = INTENT_JSON_ANY}, END};
static const struct intent_json_field name_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = intent_check_name}, END
};
static const struct intent_json_field word_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .max = 32768}, END
};

static const char *check_component(const char *string)
{
	return *string && strlen(string) <= 256 && !strpbrk(string, " \t") &&
			intent_utf8_is_clean(string, strlen(string)) ? NULL : "must be a component such as postgresql:v9.6, without blanks";
}

static const struct intent_json_field requirement_fields[] = {
	{.name = "component", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_component,
	 .help = "a component, a slug or an image, such as postgresql:v9.6"},
	{.name = "as", .type = INTENT_JSON_STRING, .check = intent_check_name},
	{.name = "params", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN, .members = any_item + 1},
	END
};
static const struct intent_json_field requirement_forms[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_component},
	{.name = "", .type = INTENT_JSON_OBJECT, .members = requirement_fields}, END
};
static const struct intent_json_field requirement_item[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = requirement_forms}, END
};

static const struct intent_json_field application_fields[] = {
	{.name = "services", .type = INTENT_JSON_ARRAY, .flags = INTENT_JSON_REQUIRED, .min = 1, .max = 1000,
	 .members = word_item, .help = "a list of repositories, such as \"- gh:foocorp/wickedcool-api\""},
	{.name = "provides", .type = INTENT_JSON_ARRAY, .max = 100, .members = requirement_item},
	END
};
static const struct intent_json_field application_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = application_fields}, END
};
static const struct intent_json_field component_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN, .members = any_item + 1}, END
};
static const struct intent_json_field sysdef_fields[] = {
	{.name = "name", .type = INTENT_JSON_STRING, .check = intent_check_name},
	{.name = "components", .type = INTENT_JSON_MAP, .max = 10000, .check = check_component,
	 .members = component_item},
	{.name = "applications", .type = INTENT_JSON_MAP, .max = 1000, .check = intent_check_name,
	 .members = application_item},
	END
};
const struct intent_json_field system_sysdef_schema[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = sysdef_fields}, END
};

static const char *check_repository(const char *string)
{
	const char *slash = strrchr(string, '/');
	bool good = *string && isalnum((unsigned char)*string) && strlen(string) <= 256;

	for (const char *p = string; *p; p++)
		good = good && (islower((unsigned char)*p) || isdigit((unsigned char)*p) || strchr("._-/:", *p));
	if (strchr(slash ? slash : string, ':'))
		return "must be an image's repository without tag; the version is said at deploying";
	return good && !strstr(string, "//") && !intent_ends_with(string, "/") ? NULL :
		"must be an image's repository, such as registry.example.com/foocorp/api, in small letters";
}

static const struct intent_json_field image_fields[] = {
	{.name = "repository", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED,
	 .check = check_repository, .help = "where its images are, such as registry.example.com/foocorp/api"},
	END
};
static const struct intent_json_field pibstack_fields[] = {
	{.name = "image", .type = INTENT_JSON_OBJECT, .members = image_fields},
	{.name = "requires", .type = INTENT_JSON_ARRAY, .max = 100, .members = requirement_item},
	END
};
const struct intent_json_field system_pibstack_schema[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = pibstack_fields}, END
};

static const char *check_target(const char *string)
{
	return !strcmp(string, "runit") || !strcmp(string, "docker") || !strcmp(string, "kubernetes") ? NULL :
		"must be runit, docker or kubernetes";
}

static const char *check_below(const char *string)
{
	return *string && *string != '/' && strcmp(string, "..") && !intent_starts_with(string, "../") &&
			!strstr(string, "/../") && !intent_ends_with(string, "/..") ? NULL :
		"must be a path below this file, without \"..\"";
}

static const struct intent_json_field port_fields[] = {
	{.name = "port", .type = INTENT_JSON_INTEGER, .flags = INTENT_JSON_REQUIRED, .min = 1, .max = 65535,
	 .help = "the port it listens on"},
	{.name = "protocol", .type = INTENT_JSON_STRING},
	{.name = "from", .type = INTENT_JSON_ANY},
	{.name = "publish", .type = INTENT_JSON_INTEGER, .min = 1, .max = 65535},
	END
};
static const struct intent_json_field port_forms[] = {
	{.name = "", .type = INTENT_JSON_INTEGER, .min = 1, .max = 65535},
	{.name = "", .type = INTENT_JSON_OBJECT, .members = port_fields}, END
};
static const struct intent_json_field port_item[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = port_forms}, END
};
static const struct intent_json_field variable_forms[] = {
	{.name = "", .type = INTENT_JSON_STRING, .max = 32768}, {.name = "", .type = INTENT_JSON_INTEGER},
	{.name = "", .type = INTENT_JSON_BOOLEAN}, END
};
static const struct intent_json_field variable_item[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = variable_forms}, END
};
static const char *check_variable(const char *string)
{
	bool good = isalpha((unsigned char)*string) || *string == '_';
	for (const char *p = string; *p; p++)
		good = good && (isalnum((unsigned char)*p) || *p == '_');
	return good ? NULL : "must be made of letters, digits and _ and not begin with a digit";
}
static const struct intent_json_field number_forms[] = {
	{.name = "", .type = INTENT_JSON_STRING, .max = 32}, {.name = "", .type = INTENT_JSON_INTEGER}, END
};

/* What may differ from world to world. What goes into deploy_config as it is, is checked there. */
#define DEPLOY_FIELDS \
	{.name = "ports", .type = INTENT_JSON_ARRAY, .max = 1024, .members = port_item}, \
	{.name = "environment", .type = INTENT_JSON_MAP, .max = 1000, .check = check_variable, \
	 .members = variable_item}, \
	{.name = "health", .type = INTENT_JSON_OBJECT, .members = intent_health_fields}, \
	{.name = "command", .type = INTENT_JSON_ARRAY, .max = 256, .members = word_item}, \
	{.name = "runas", .type = INTENT_JSON_STRING}, \
	{.name = "min_nodes", .type = INTENT_JSON_INTEGER, .min = 0, .max = 1000000}, \
	{.name = "config", .type = INTENT_JSON_ANY}, \
	{.name = "memory", .type = INTENT_JSON_ONE_OF, .members = number_forms}, \
	{.name = "cpus", .type = INTENT_JSON_ONE_OF, .members = number_forms}, \
	{.name = "volumes", .type = INTENT_JSON_ARRAY, .max = 256, .members = any_item}, \
	{.name = "stateful", .type = INTENT_JSON_BOOLEAN}, \
	{.name = "replicas", .type = INTENT_JSON_INTEGER, .min = 0, .max = 10000}, \
	{.name = "deploy", .type = INTENT_JSON_STRING, .check = check_target}, \
	{.name = "nodes", .type = INTENT_JSON_ARRAY, .min = 1, .max = 10000, .members = name_item}, \
	{.name = "stop_timeout", .type = INTENT_JSON_DURATION}, \
	{.name = "on_failure", .type = INTENT_JSON_STRING}, \
	{.name = "restart", .type = INTENT_JSON_STRING}, \
	{.name = "log", .type = INTENT_JSON_ANY}, \
	{.name = "limits", .type = INTENT_JSON_ANY}

static const struct intent_json_field world_fields[] = {DEPLOY_FIELDS, END};
static const struct intent_json_field world_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = world_fields}, END
};
#define SERVICE_FIELDS \
	{.name = "service", .type = INTENT_JSON_STRING, .check = intent_check_name}, \
	{.name = "dockerfile", .type = INTENT_JSON_STRING, .check = check_below}, \
	{.name = "image", .type = INTENT_JSON_STRING, .check = check_repository}, \
	{.name = "build", .type = INTENT_JSON_ARRAY, .min = 1, .max = 256, .members = word_item}, \
	{.name = "output", .type = INTENT_JSON_STRING, .check = check_below}, \
	{.name = "requires", .type = INTENT_JSON_ARRAY, .max = 100, .members = requirement_item}, \
	{.name = "worlds", .type = INTENT_JSON_MAP, .max = 1000, .check = intent_check_name, .members = world_item}, \
	DEPLOY_FIELDS
static const struct intent_json_field service_fields[] = {
	{.name = "path", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_below,
	 .help = "the directory of this service, such as \"path: api\""},
	SERVICE_FIELDS, END
};
static const struct intent_json_field service_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = service_fields}, END
};
static const struct intent_json_field deployd_fields[] = {SERVICE_FIELDS, END};
const struct intent_json_field system_deployd_schema[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = deployd_fields}, END
};
static const struct intent_json_field several_fields[] = {
	{.name = "services", .type = INTENT_JSON_ARRAY, .min = 1, .max = 1000, .members = service_item}, END
};
const struct intent_json_field system_several_schema[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .members = several_fields}, END
};

/* Appended to "must be a list" and the like: what a person would write there. */
static const struct {
	const char *member, *instead;
} ways_out[] = {
	{"applications", "write \"applications:\" and below it each name with a colon"},
	{"components", "write \"components:\" and below it each name with a colon"},
	{"services", "write one \"- gh:ORG/REPO\" a line"},
	{"provides", "write one \"- NAME:VERSION\" a line"},
	{"requires", "write one \"- NAME:VERSION\" a line"},
	{"ports", "write them as [8080, 9090]"},
	{"environment", "write one \"NAME: value\" a line"},
	{"image", "write \"image:\" and below it \"repository: registry.example.com/NAME\""},
	{"worlds", "write each world's name with a colon, and below it what differs"},
	{"build", "write it as [\"program\", \"argument\"]"},
	{"command", "write it as [\"program\", \"argument\"]"},
	{"nodes", "write them as [web1, web2]"},
};

static const char *way_out(const char *pointer, const char *what)
{
	const char *member = strrchr(pointer, '/');

	if (!intent_starts_with(what, "must be a list") && !intent_starts_with(what, "must be an object"))
		return NULL;
	for (size_t i = 0; member && i < sizeof(ways_out) / sizeof(*ways_out); i++)
		if (!strcmp(member + 1, ways_out[i].member))
			return ways_out[i].instead;
	return intent_starts_with(what, "must be an object") ?
		"write NAME: VALUE lines, each name with a colon and a blank behind it" : NULL;
}

/* "/a/b~1c" as people read it: "a/b/c: ", nothing for the whole. */
static char *readable(const char *pointer, size_t length)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;

	for (size_t i = *pointer == '/'; i < length; i++)
		if (pointer[i] == '~' && i + 1 < length) {
			i++;
			intent_text_puts(&out, pointer[i] == '1' ? "/" : "~");
		} else {
			intent_text_add(&out, pointer + i, 1);
		}
	if (out.length)
		intent_text_puts(&out, ": ");
	return out.length ? intent_text_steal(&out) : strdup("");
}

void system_place_faults(const char *file, const json_t *places, const char *lines, const char *below, json_t *faults)
{
	for (const char *line = lines; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *colon = memmem(line, strcspn(line, "\n"), ": ", 2);
		size_t length = strcspn(line, "\n");

		if (!colon)
			continue;
		/* A name may hold ": " itself; then what stands before the first is enough to find it. */
		bool whole = intent_starts_with(line, "document: ");
		intent_free_auto char *pointer = intent_format("%s%.*s", below, whole ? 0 : (int)(colon - line), line);
		intent_free_auto char *what = strndup(colon + 2, length - (size_t)(colon - line) - 2);
		intent_free_auto char *shown = readable(pointer, strlen(pointer));
		const char *instead = way_out(pointer, what);
		bool of_name = strstr(what, "unknown field") || intent_starts_with(what, "the name");
		system_fault(faults, file, system_place_at(places, pointer, of_name), "%s%s%s%s", shown, what,
			     instead ? "; " : "", instead ? instead : "");
	}
}

bool system_check(const char *file, const json_t *json, const json_t *places, const struct intent_json_field *schema,
		  json_t *faults)
{
	intent_text_auto struct intent_text lines = INTENT_TEXT_INIT;
	struct intent_error ignored;

	if (!intent_json_check(json, schema, true, &lines, &ignored))
		return true;
	system_place_faults(file, places, intent_text_str(&lines), "", faults);
	return false;
}

/* ---- resolvers, exports ---- */

const char *system_check_image(const char *image)
{
	bool good = isalnum((unsigned char)*image) && strlen(image) <= 512;

	for (const char *p = image; *p; p++)
		good = good && (isalnum((unsigned char)*p) || strchr("._-/:@", *p));
	return good && !strstr(image, "//") ? NULL : "must name an image behind docker://, such as docker://redis:4";
}

static const char *check_resolver(const char *string)
{
	if (intent_starts_with(string, "docker://"))
		return system_check_image(string + 9);
	if (intent_starts_with(string, "terraform:"))
		return intent_check_source(string + 10);
	if (!strcmp(string, "static:"))
		return NULL;
	if (intent_starts_with(string, "docker:"))
		return "must begin with docker://, with two slashes";
	if (intent_check_source(string) == NULL)
		return "must say by what; write terraform: before it";
	return "must be docker://IMAGE:TAG, terraform:gh://ORG/REPO//PATH[@REF], or static: for what is there already";
}

/* A line is a string, or an object that says more about it. */
static const struct intent_json_field line_fields[] = {
	{.name = "resolver", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_resolver,
	 .help = "docker://IMAGE:TAG, terraform:SOURCE or static:"},
	{.name = "params", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN},
	{.name = "port", .type = INTENT_JSON_INTEGER, .min = 1, .max = 65535},
	{.name = "volume", .type = INTENT_JSON_STRING, .check = intent_check_absolute},
	{.name = NULL}
};
static const struct intent_json_field line_forms[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_resolver},
	{.name = "", .type = INTENT_JSON_OBJECT, .members = line_fields}, {.name = NULL}
};
static const struct intent_json_field line_schema[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = line_forms}, {.name = NULL}
};

static int check_row(const char *file, struct system_place place, const json_t *json,
		     const struct intent_json_field *schema, const char *what, json_t *faults)
{
	struct intent_error err;

	if (!intent_json_check(json, schema, true, NULL, &err))
		return 0;
	const char *text = intent_starts_with(err.msg, "document: ") ? err.msg + 10 : err.msg;
	const char *given = json_string_value(json);
	system_fault(faults, file, place, "%s %s%.100s%s%s", what, given ? "\"" : "", given ? given : "",
		     given ? "\" " : "", text);
	return 1;
}

int system_check_resolver(const char *file, struct system_place place, const json_t *resolver, json_t *faults)
{
	return check_row(file, place, resolver, line_schema, "resolver", faults);
}

static const char *check_export(const char *string)
{
	bool good = *string && strlen(string) <= 128;

	for (const char *p = string; *p; p++)
		good = good && (isalnum((unsigned char)*p) || strchr("_-.", *p));
	return good ? NULL : "must be a name of letters, digits, _ - and ., such as host";
}

static const struct intent_json_field export_fields[] = {
	{.name = "output", .type = INTENT_JSON_STRING, .min = 1, .max = 512},
	{.name = "value", .type = INTENT_JSON_ANY},
	{.name = "sensitive", .type = INTENT_JSON_BOOLEAN},
	{.name = "optional", .type = INTENT_JSON_BOOLEAN},
	{.name = NULL}
};
static const struct intent_json_field export_forms[] = {
	{.name = "", .type = INTENT_JSON_STRING, .min = 1, .max = 512},
	{.name = "", .type = INTENT_JSON_INTEGER},
	{.name = "", .type = INTENT_JSON_OBJECT, .members = export_fields},
	{.name = NULL}
};
static const struct intent_json_field export_item[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = export_forms}, {.name = NULL}
};
static const struct intent_json_field export_name[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_export}, {.name = NULL}
};
static const struct intent_json_field exports_forms[] = {
	{.name = "", .type = INTENT_JSON_ARRAY, .min = 1, .max = 256, .members = export_name},
	{.name = "", .type = INTENT_JSON_MAP, .min = 1, .max = 256, .check = check_export, .members = export_item},
	{.name = NULL}
};
static const struct intent_json_field exports_schema[] = {
	{.name = "", .type = INTENT_JSON_ONE_OF, .members = exports_forms}, {.name = NULL}
};

int system_check_exports(const char *file, struct system_place place, const json_t *exports, json_t *faults)
{
	return check_row(file, place, exports, exports_schema, "exports:", faults);
}
