/*
 * The shape of deploy_config.health. A file of its own, so that a program which only reads
 * documents is not linked with what carries the checks out.
 */
#include <intent/health.h>

#define END {.name = NULL}

static const char *check_url(const char *url)
{
	if (!intent_starts_with(url, "http://") && !intent_starts_with(url, "https://"))
		return "must be an http:// or https:// URL, or {\"port\", \"path\"}";
	for (const char *c = url; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127)
			return "must contain no blanks or control characters";
	const char *authority = strstr(url, "//") + 2;
	if (memchr(authority, '@', strcspn(authority, "/?#")))
		return "must not carry a user or password: whoever reads the store would see it";
	return NULL;
}

static const char *check_path(const char *path)
{
	if (*path != '/')
		return "must begin with '/'";
	for (const char *c = path; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127)
			return "must contain no blanks or control characters";
	return NULL;
}

static const struct intent_json_field http_object[] = {
	{ "port", INTENT_JSON_INTEGER, INTENT_JSON_REQUIRED, 1, 65535,
	  .help = "Port on 127.0.0.1" },
	{ "path", INTENT_JSON_STRING, .min = 1, .max = 2048, .check = check_path,
	  .help = "What to ask for, default /" },
	END
};

static const struct intent_json_field http_forms[] = {
	{ "url", INTENT_JSON_STRING, .min = 1, .max = 2048, .check = check_url },
	{ "local", INTENT_JSON_OBJECT, .members = http_object },
	END
};

const struct intent_json_field intent_health_fields[] = {
	{ "up", INTENT_JSON_DURATION,
	  .help = "Up without a break for so long, default 1s" },
	{ "check", INTENT_JSON_BOOLEAN,
	  .help = "Run bin/check of the install; default: when it is there" },
	{ "http", INTENT_JSON_ONE_OF, .members = http_forms,
	  .help = "This URL answers with a status of 200 to 299" },
	{ "tcp", INTENT_JSON_INTEGER, .min = 1, .max = 65535,
	  .help = "This port of 127.0.0.1 accepts a connection" },
	{ "timeout", INTENT_JSON_DURATION, .help = "Of one check, default 5s" },
	{ "deadline", INTENT_JSON_DURATION, .help = "From start until healthy, default 30s" },
	END
};
