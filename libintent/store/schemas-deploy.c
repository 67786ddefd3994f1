/*
 * The shape of what only operators may write, because it can run things as root: deploy_config, gates;
 * and the rows that all tables share.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include "schemas.h"

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

static const char *check_envdir(const char *string)
{
	const char *fault = check_basedir(string);

	return fault && strstr(fault, "/srv/app") ? "must be a directory below /, for example /srv/app/env" : fault;
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

const char *intent__check_variable(const char *string)
{
	bool good = isalpha((unsigned char)*string) || *string == '_';
	for (const char *p = string; *p; p++)
		good = good && (isalnum((unsigned char)*p) || *p == '_');
	return good ? NULL : "must be made of letters, digits and _ and not begin with a digit";
}

const char *intent__check_protocol(const char *string)
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

static const char *check_restart(const char *string)
{
	return !strcmp(string, "always") || !strcmp(string, "on-failure") ||
		!strcmp(string, "never") ? NULL :
		"must be \"always\", \"on-failure\" or \"never\"";
}

const char *intent__check_size(const char *string)
{
	struct intent_error ignored;
	int64_t bytes;
	return intent_size_parse(string, &bytes, &ignored) ?
		"must be a number of bytes, or one with K, M, G or T behind it, such as \"512M\"" : NULL;
}

static const char *check_time(const char *string)
{
	struct intent_error ignored;
	int64_t ms;
	return intent_time_parse(string, &ms, &ignored) ?
		"must be a time as in RFC 3339, such as 2026-11-21T18:00:00Z" : NULL;
}

/* Only containers need no directory on the node. */
static const char *has_basedir(const json_t *deploy)
{
	return json_object_get(deploy, "basedir") || json_object_get(deploy, "docker") ||
		json_object_get(deploy, "kubernetes") ? NULL :
		"\"basedir\" is missing: the absolute directory of the application on each node";
}

/* ---- shared rows ---- */

const struct intent_json_field intent__any_item[] = {
	{.name = "", .type = INTENT_JSON_ANY}, END
};
const struct intent_json_field intent__any_object[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = intent__any_item + 1},
	END
};

static const struct intent_json_field hold_fields[] = {
	{.name = "why", .type = INTENT_JSON_STRING, .max = 512, .help = "the reason, in words"},
	{.name = "who", .type = INTENT_JSON_STRING, .max = 128, .help = "who asked for it"},
	{.name = "since", .type = INTENT_JSON_STRING, .check = check_time,
	 .help = "RFC 3339 time when it was asked for"},
	{.name = "until", .type = INTENT_JSON_STRING, .check = check_time,
	 .help = "RFC 3339 time when it ends by itself"},
	END
};
const struct intent_json_field intent__hold_forms[] = {
	{.name = "", .type = INTENT_JSON_BOOLEAN},
	{.name = "", .type = INTENT_JSON_STRING, .min = 1, .max = 512},
	{.name = "", .type = INTENT_JSON_OBJECT, .members = hold_fields}, END
};

/* ---- ports ---- */

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
	{.name = "protocol", .type = INTENT_JSON_STRING, .check = intent__check_protocol,
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
/* ---- deploy_config ---- */

const struct intent_json_field intent__variable_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .max = 32768}, END
};
static const struct intent_json_field log_fields[] = {
	{.name = "size", .type = INTENT_JSON_INTEGER, .min = 4096, .max = 1 << 30,
	 .help = "bytes after which a log file is rotated"},
	{.name = "keep", .type = INTENT_JSON_INTEGER, .min = 1, .max = 1000,
	 .help = "how many rotated log files are kept"},
	END
};

const struct intent_json_field intent__size_forms[] = {
	{.name = "", .type = INTENT_JSON_INTEGER, .min = 0, .max = INT64_MAX},
	{.name = "", .type = INTENT_JSON_STRING, .check = intent__check_size}, END
};
static const struct intent_json_field limit_fields[] = {
	{.name = "files", .type = INTENT_JSON_INTEGER, .min = 16, .max = 1 << 30,
	 .help = "open files of one process"},
	{.name = "processes", .type = INTENT_JSON_INTEGER, .min = 1, .max = 1 << 22,
	 .help = "processes of its user (runit) or of the service (systemd)"},
	{.name = "memory", .type = INTENT_JSON_ONE_OF, .members = intent__size_forms,
	 .help = "memory of one process (runit) or of the service (systemd), such as \"512M\""},
	{.name = "file_size", .type = INTENT_JSON_ONE_OF, .members = intent__size_forms,
	 .help = "size of any file it writes"},
	{.name = "core", .type = INTENT_JSON_ONE_OF, .members = intent__size_forms,
	 .help = "size of a core dump"},
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
	{.name = "environment", .type = INTENT_JSON_MAP, .max = 1000, .check = intent__check_variable,
	 .members = intent__variable_item, .help = "environment variables of the service; no secrets"},
	{.name = "log", .type = INTENT_JSON_OBJECT, .members = log_fields,
	 .help = "how much of its output is kept"},
	{.name = "stop_timeout", .type = INTENT_JSON_DURATION,
	 .help = "how long it may take to stop before it is killed"},
	{.name = "on_failure", .type = INTENT_JSON_STRING, .check = check_failure,
	 .help = "when a new version does not become healthy: \"keep\" (default) or \"rollback\""},
	{.name = "hold", .type = INTENT_JSON_ONE_OF, .members = intent__hold_forms,
	 .help = "leave this cluster as it is"},
	{.name = "hook_timeout", .type = INTENT_JSON_DURATION,
	 .help = "how long bin/disable and bin/enable may take, 30s by default"},
	{.name = "restart", .type = INTENT_JSON_STRING, .check = check_restart,
	 .help = "when it ends by itself: \"always\" (default), \"on-failure\" or \"never\""},
	{.name = "limits", .type = INTENT_JSON_OBJECT, .members = limit_fields,
	 .help = "resource limits of the service"},
	{.name = "envdir", .type = INTENT_JSON_STRING, .min = 2, .max = 1024, .check = check_envdir,
	 .help = "a directory of which each file is a variable of the service; %n is the node's name"},
	{.name = "docker", .type = INTENT_JSON_OBJECT, .members = intent__docker_fields, .help = "how it runs in containers"},
	{.name = "kubernetes", .type = INTENT_JSON_OBJECT, .flags = INTENT_JSON_OPEN,
	 .members = intent__any_item + 1, .help = "how it runs on Kubernetes"},
	END
};
const struct intent_json_field intent_deploy_schema[] = {
	{.name = "", .type = INTENT_JSON_OBJECT, .whole = has_basedir, .members = deploy_fields},
	END
};

/* ---- gates ---- */

static const struct intent_json_field node_item[] = {
	{.name = "", .type = INTENT_JSON_STRING, .check = intent_check_name}, END
};
static const struct intent_json_field gate_fields[] = {
	{.name = "ports", .type = INTENT_JSON_ARRAY, .flags = INTENT_JSON_REQUIRED, .max = 1024,
	 .members = port_item,
	 .help = "ports to open: numbers, or objects with port, protocol and from"},
	{.name = "nodes", .type = INTENT_JSON_ARRAY, .max = 10000, .members = node_item,
	 .help = "only on these nodes; default: on every node that runs something of the world"},
	END
};
const struct intent_json_field intent_gate_schema[] = DOCUMENT(gate_fields);
