/* Injections: values from where they are known, put where applications look for them. */
#include <ctype.h>
#include "schemas.h"

static const char *check_from(const char *string)
{
	static const char *const schemes[] = {"tfstate:", "env:", "file:", "injection:", NULL};
	const char *const *scheme = schemes;

	while (*scheme && !intent_starts_with(string, *scheme))
		scheme++;
	if (!*scheme)
		return "must begin with tfstate:, env:, file: or injection:";
	const char *rest = string + strlen(*scheme), *mark = strchr(rest, '#');
	if (!intent_utf8_is_clean(string, strlen(string)) || !*rest)
		return "must name something, without control characters";
	if (scheme == schemes || !strcmp(*scheme, "injection:"))
		return mark && mark > rest && mark[1] ? NULL :
			"must name what is taken from it behind a #, such as tfstate:/srv/net/terraform.tfstate#address";
	if (!strcmp(*scheme, "file:"))
		return *rest == '/' ? NULL : "must name a file by its absolute path, such as file:/etc/db/password";
	return mark ? "takes nothing behind a #" : NULL;
}

static const char *check_type(const char *string);

static const char *check_endpoint(const char *string)
{
	return intent_starts_with(string, "http://") || intent_starts_with(string, "https://") ? NULL :
		"must begin with http:// or https://";
}

static const char *check_format(const char *string)
{
	return !strcmp(string, "json") || !strcmp(string, "dotenv") ? NULL : "must be \"json\" or \"dotenv\"";
}

static const char *check_encryption(const char *string)
{
	return !strcmp(string, "AES256") || !strcmp(string, "aws:kms") ? NULL :
		"must be \"AES256\" or \"aws:kms\"";
}

static const char *check_owner(const char *string)
{
	return *string && strlen(string) <= 65 && !strpbrk(string, "/ \t\n") ? NULL : "must be USER or USER:GROUP";
}

static const char *check_mode(const char *string)
{
	return strlen(string) == 4 && *string == '0' && strspn(string, "01234567") == 4 ? NULL :
		"must be four octal digits, such as \"0640\"";
}

/* What Kubernetes takes as a name of a namespace or a service, and of the other kinds. */
static bool is_dns_name(const char *string, size_t max, const char *extra)
{
	size_t length = strlen(string);
	bool good = length && length <= max && isalnum((unsigned char)*string) &&
		isalnum((unsigned char)string[length - 1]);

	for (const char *p = string; *p; p++)
		good = good && (islower((unsigned char)*p) || isdigit((unsigned char)*p) || strchr(extra, *p));
	return good;
}

static const char *check_namespace(const char *string)
{
	return is_dns_name(string, 63, "-") ? NULL :
		"must be a namespace's name: at most 63 lower-case letters, digits and -";
}

/* ---- values ---- */

static const char *one_source(const json_t *value)
{
	if (json_object_get(value, "value") && intent_json_boolean(value, "sensitive", false))
		return "must not be \"sensitive\" when it stands here: whoever reads the store sees it";
	return !json_object_get(value, "from") == !json_object_get(value, "value") ?
		"must have either \"from\" or \"value\"" : NULL;
}

static const struct intent_json_field value_fields[] = {
	{.name = "from", .type = INTENT_JSON_STRING, .min = 1, .max = 2048, .check = check_from,
	 .help = "where it is taken from: tfstate:STATE#OUTPUT, env:NAME, file:PATH or injection:WORLD/NAME#KEY"},
	{.name = "value", .type = INTENT_JSON_ANY, .help = "the value itself; no secrets"},
	{.name = "sensitive", .type = INTENT_JSON_BOOLEAN,
	 .help = "it goes into no ConfigMap and is shown nowhere"},
	{.name = "optional", .type = INTENT_JSON_BOOLEAN,
	 .help = "without its output it is left out; default: then nothing is written at all"},
	END
};
static const struct intent_json_field value_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .whole = one_source, .members = value_fields},
	END
};

static const char *check_key(const char *string)
{
	size_t length = strlen(string);
	bool good = length && length <= 253 && strcmp(string, ".") && strcmp(string, "..");

	for (const char *p = string; *p; p++)
		good = good && (isalnum((unsigned char)*p) || strchr("-._", *p));
	return good ? NULL : "must be at most 253 letters, digits, - _ and .";
}

/* ---- sinks ---- */

static const struct intent_json_field key_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = check_key}, END
};
static const struct intent_json_field node_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = intent_check_name}, END
};
static const struct intent_json_field sink_fields[] = {
	{.name = "type", .type = INTENT_JSON_STRING, .flags = INTENT_JSON_REQUIRED, .check = check_type,
	 .help = "configmap, secret, externalname, s3, envdir, dotenv or json"},
	{.name = "keys", .type = INTENT_JSON_ARRAY, .min = 1, .max = 10000, .members = key_item,
	 .help = "only these values; default: what is not sensitive (configmap), what is (secret), all (the others)"},
	{.name = "namespace", .type = INTENT_JSON_STRING, .check = check_namespace,
	 .help = "the object's namespace"},
	{.name = "name", .type = INTENT_JSON_STRING, .min = 1, .max = 253, .help = "the object's name"},
	{.name = "adopt", .type = INTENT_JSON_BOOLEAN,
	 .help = "take over an object or a file that is there and not ours"},
	{.name = "value", .type = INTENT_JSON_STRING, .check = check_key,
	 .help = "the value that is the address; default: the only one"},
	{.name = "bucket", .type = INTENT_JSON_STRING, .min = 3, .max = 63, .help = "the object's bucket"},
	{.name = "key", .type = INTENT_JSON_STRING, .min = 1, .max = 1024, .help = "the object's key"},
	{.name = "region", .type = INTENT_JSON_STRING, .min = 1, .max = 63, .help = "the bucket's region"},
	{.name = "endpoint", .type = INTENT_JSON_STRING, .max = 1024, .check = check_endpoint,
	 .help = "a server that speaks like S3"},
	{.name = "format", .type = INTENT_JSON_STRING, .check = check_format,
	 .help = "of the object: \"json\" (default) or \"dotenv\""},
	{.name = "encryption", .type = INTENT_JSON_STRING, .check = check_encryption,
	 .help = "at rest: \"AES256\" or \"aws:kms\"; default: as the bucket does"},
	{.name = "path", .type = INTENT_JSON_STRING, .min = 2, .max = 1024, .check = intent_check_absolute,
	 .help = "the directory (envdir) or file"},
	{.name = "owner", .type = INTENT_JSON_STRING, .check = check_owner,
	 .help = "to whom it belongs: USER or USER:GROUP; default: who runs the injector"},
	{.name = "mode", .type = INTENT_JSON_STRING, .check = check_mode,
	 .help = "of the files, as four octal digits; default: \"0600\""},
	{.name = "nodes", .type = INTENT_JSON_ARRAY, .min = 1, .max = 10000, .members = node_item,
	 .help = "only on these nodes; default: wherever an injector runs"},
	END
};

/* Which members each type has beside "type" and "keys"; those before the bar are required. */
static const struct sink_type {
	const char *name, *members, *fault;
} sink_types[] = {
	{"configmap", " namespace name | adopt ", "a configmap sink has namespace and name, and may have keys and adopt"},
	{"secret", " namespace name | adopt ", "a secret sink has namespace and name, and may have keys and adopt"},
	{"externalname", " namespace name | value adopt ",
	 "an externalname sink has namespace and name, and may have value and adopt"},
	{"s3", " bucket key | region endpoint format encryption adopt ",
	 "an s3 sink has bucket and key, and may have keys, region, endpoint, format, encryption and adopt"},
	{"envdir", " path | owner mode nodes adopt ",
	 "an envdir sink has path, and may have keys, owner, mode, nodes and adopt"},
	{"dotenv", " path | owner mode nodes adopt ",
	 "a dotenv sink has path, and may have keys, owner, mode, nodes and adopt"},
	{"json", " path | owner mode nodes adopt ",
	 "a json sink has path, and may have keys, owner, mode, nodes and adopt"},
};

static const struct sink_type *find_type(const char *name)
{
	for (size_t i = 0; i < sizeof(sink_types) / sizeof(*sink_types); i++)
		if (!strcmp(sink_types[i].name, name))
			return &sink_types[i];
	return NULL;
}

static const char *check_type(const char *string)
{
	return find_type(string) ? NULL :
		"must be one of configmap, secret, externalname, s3, envdir, dotenv, json";
}

static const char *members_of_type(const json_t *sink)
{
	const struct sink_type *type = find_type(intent_json_string(sink, "type", ""));

	if (!type)
		return NULL; /* said already */
	for (const struct intent_json_field *field = sink_fields + 1; field->name; field++) {
		char word[32];
		snprintf(word, sizeof(word), " %s ", field->name);
		const char *at = strstr(type->members, word);
		bool there = json_object_get(sink, field->name) != NULL;
		bool required = at && at < strchr(type->members, '|');
		bool known = at || (!strcmp(field->name, "keys") && strcmp(type->name, "externalname"));
		if (there ? !known : required)
			return type->fault;
	}
	return NULL;
}

static const struct intent_json_field sink_item[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .whole = members_of_type, .members = sink_fields},
	END
};

static const struct intent_json_field injection_fields[] = {
	{.name = "values", .type = INTENT_JSON_MAP, .flags = INTENT_JSON_REQUIRED, .max = 10000,
	 .check = check_key, .members = value_item, .help = "name to where its value comes from"},
	{.name = "sinks", .type = INTENT_JSON_ARRAY, .max = 64, .members = sink_item,
	 .help = "where the values are put"},
	{.name = "ensure", .type = INTENT_JSON_STRING, .check = intent__check_ensure,
	 .help = "\"absent\" removes what was written; a missing document does not"},
	END
};
const struct intent_json_field intent_injection_schema[] = DOCUMENT(injection_fields);
