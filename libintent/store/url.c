/* Which store is meant, when nobody or several say so. */
#include <errno.h>
#include <sys/stat.h>

#include "engine.h"

#define SYSTEM_STORE "/var/lib/platypus/store"

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static bool is_true(const char *value)
{
	return value && (strcasecmp(value, "true") == 0 || strcmp(value, "1") == 0);
}

/*
 * "http://h:8500", "https://h:8500", "h:8500" as CONSUL_HTTP_ADDR may have it. Anything else
 * with a scheme (unix://) is handed on, to be refused by its name.
 */
static char *consul_url(const char *address)
{
	if (intent_starts_with(address, "http://"))
		return intent_format("consul://%s", address + 7);
	if (intent_starts_with(address, "https://"))
		return intent_format("consul+https://%s", address + 8);
	if (strstr(address, "://"))
		return strdup(address);
	return intent_format("%s%s", is_true(variable("CONSUL_HTTP_SSL")) ? "consul+https://" :
									    "consul://", address);
}

/* A list, each with or without a scheme; one https:// means TLS for all. */
static char *etcd_url(const char *endpoints)
{
	intent_text_auto struct intent_text list = INTENT_TEXT_INIT;
	const char *at = endpoints;

	while (*at) {
		size_t length = strcspn(at, ",");

		if (list.length)
			intent_text_puts(&list, ",");
		if (intent_starts_with(at, "http://"))
			intent_text_add(&list, at + 7, length - 7);
		else if (intent_starts_with(at, "https://"))
			intent_text_add(&list, at + 8, length - 8);
		else
			intent_text_add(&list, at, length);
		at += length + (at[length] == ',');
	}
	if (list.failed)
		return NULL;
	return intent_format("%s%s", strstr(endpoints, "https://") ? "etcd+https://" : "etcd://",
			     intent_text_str(&list));
}

/* $XDG_STATE_HOME/platypus/store; a relative one is ignored, as that specification says. */
static char *person_store(void)
{
	const char *state = variable("XDG_STATE_HOME"), *home = variable("HOME");

	if (state && *state == '/')
		return intent_format("%s/platypus/store", state);
	return home ? intent_format("%s/.local/state/platypus/store", home) : NULL;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static char *made_store(const char **ret_why)
{
	intent_free_auto char *own = geteuid() ? person_store() : NULL;

	if (is_directory(own)) {
		*ret_why = "ppctl init";
		return intent_format("dir:%s", own);
	}
	if (is_directory(SYSTEM_STORE)) {
		*ret_why = "ppctl init";
		return strdup("dir:" SYSTEM_STORE);
	}
	return NULL;
}

char *intent_store_url(const char *given, const char *configured, const char **ret_why)
{
	const char *consul = variable("CONSUL_HTTP_ADDR"), *etcd = variable("ETCDCTL_ENDPOINTS");
	const char *own = variable("PP_STORE");
	char *made;

	if (given && *given) {
		*ret_why = "--store";
		return strdup(given);
	}
	if (own) {
		*ret_why = "PP_STORE";
		return strdup(own);
	}
	if (consul) {
		*ret_why = "CONSUL_HTTP_ADDR";
		return consul_url(consul);
	}
	if (etcd) {
		*ret_why = "ETCDCTL_ENDPOINTS";
		return etcd_url(etcd);
	}
	if (configured && *configured) {
		*ret_why = "configuration";
		return strdup(configured);
	}
	made = made_store(ret_why);
	if (made)
		return made;
	*ret_why = "default";
	return strdup("consul://127.0.0.1:8500");
}

int intent_store_init(const char *url, struct intent_error *err)
{
	if (!url || !intent_starts_with(url, "dir:"))
		return intent_fail(err, INTENT_EUSAGE, "store %.100s: only a dir: store is made "
				   "here; start that server instead", url ? url : "(none)");
	return intent__dir_init(url + strlen("dir:"), err);
}
