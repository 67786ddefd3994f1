/*
 * Accounts of registries, as Docker's client keeps them. Pure: bytes and documents in, documents out.
 *
 * config.json (docker/cli, cli/config/configfile): {"auths": {REGISTRY: {"auth": base64 of "user:password",
 * "identitytoken"}}, "credHelpers": {REGISTRY: NAME}, "credsStore": NAME}. A helper is docker-credential-NAME; it says
 * {"ServerURL", "Username", "Secret"} (docker/docker-credential-helpers).
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include "account.h"

#define HUB "https://index.docker.io/v1/"    /* the name that accounts of docker.io are kept under */
#define TOKEN_USER "<token>"                 /* a helper's word for: the secret is an identity token */

/* ---- names ---- */

/* As far as it is a host: "https://registry.example.com/v1/" is "registry.example.com". */
static void host_of(const char *name, char out[256])
{
	static const char *const hub[] = { "docker.io", "registry-1.docker.io" };
	const char *scheme = strstr(name, "://"), *from = scheme ? scheme + 3 : name;

	snprintf(out, 256, "%.*s", (int)strcspn(from, "/"), from);
	for (size_t i = 0; i < sizeof hub / sizeof *hub; i++)
		if (!strcmp(out, hub[i]))
			snprintf(out, 256, "index.docker.io");
}

void docker__registry_of(const char *image, char out[256])
{
	size_t length = strcspn(image, "/");
	bool host = length < 255 && image[length] &&
		(memchr(image, '.', length) || memchr(image, ':', length) ||
		 (length == strlen("localhost") && !strncmp(image, "localhost", length)));
	char name[256];

	snprintf(name, sizeof name, "%.*s", host ? (int)length : 0, image);
	host_of(host ? name : HUB, out);
	if (!strcmp(out, "index.docker.io"))
		snprintf(out, 256, HUB);
}

/* The member for a registry: by its very name, else by one that means the same host. */
static const json_t *member_for(const json_t *members, const char *registry)
{
	const json_t *exact = json_object_get(members, registry);
	char wanted[256], host[256];
	const char *name;
	json_t *value;

	host_of(registry, wanted);
	json_object_foreach((json_t *)(uintptr_t)members, name, value) {
		host_of(name, host);
		if (!exact && !strcmp(host, wanted))
			return value;
	}
	return exact;
}

/* ---- accounts ---- */

static json_t *account(const char *user, size_t user_length, const char *password, const char *registry)
{
	if (!strncmp(user, TOKEN_USER, user_length) && user_length == strlen(TOKEN_USER))
		return json_pack("{ss ss}", "identitytoken", password, "serveraddress", registry);
	return json_pack("{ss% ss ss}", "username", user, user_length, "password", password, "serveraddress", registry);
}

static int malformed(const char *registry, struct intent_error *err)
{
	return intent_fail(err, INTENT_EMALFORMED, "what is kept for %s is no account: docker login%s%s", registry,
			   !strcmp(registry, HUB) ? "" : " ", !strcmp(registry, HUB) ? "" : registry);
}

/* "user:password" in base64; some writers end it with bytes of 0. */
static int decode(const char *auth, const char *registry, json_t **ret_new, struct intent_error *err)
{
	intent_text_auto struct intent_text pair = INTENT_TEXT_INIT;
	struct intent_error ignored;
	const char *colon = NULL;
	json_t *found = NULL;

	if (!intent_base64_decode(&pair, auth, strlen(auth), &ignored) && pair.length)
		colon = memchr(pair.data, ':', pair.length);
	if (colon && colon > pair.data)
		found = account(pair.data, (size_t)(colon - pair.data), colon + 1, registry);
	if (pair.data)
		explicit_bzero(pair.data, pair.length);
	if (!found)
		return malformed(registry, err);
	*ret_new = found;
	return 0;
}

/* It becomes part of a program's name. */
static bool is_helper(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return length && length <= DOCKER__HELPER_MAX && !name[length];
}

int docker__account_find(const json_t *config, const char *registry, char helper[DOCKER__HELPER_MAX + 1],
			 json_t **ret_new, struct intent_error *err)
{
	const json_t *named = member_for(json_object_get(config, "credHelpers"), registry);
	const json_t *kept = member_for(json_object_get(config, "auths"), registry);
	const char *name = json_string_value(named), *token = intent_json_string(kept, "identitytoken", "");
	const char *auth = intent_json_string(kept, "auth", ""), *user = intent_json_string(kept, "username", "");

	*helper = '\0';
	*ret_new = NULL;
	name = name ? name : intent_json_string(config, "credsStore", "");
	if (*name && !is_helper(name))
		return intent_fail(err, INTENT_EMALFORMED, "the helper of %s has no name that can be one: write NAME "
				   "of docker-credential-NAME", registry);
	snprintf(helper, DOCKER__HELPER_MAX + 1, "%s", name);
	if (*token)
		*ret_new = account(TOKEN_USER, strlen(TOKEN_USER), token, registry);
	else if (*auth)
		return decode(auth, registry, ret_new, err);
	else if (*user)
		*ret_new = account(user, strlen(user), intent_json_string(kept, "password", ""), registry);
	return 0;
}

int docker__account_heard(const char *registry, const char *bytes, size_t count, json_t **ret_new,
			  struct intent_error *err)
{
	intent_json_auto json_t *said = NULL;
	struct intent_error ignored;
	json_t *found = NULL;

	intent_json_parse(bytes, count, DOCKER__SAID_MAX, &said, &ignored);
	const char *user = intent_json_string(said, "Username", ""), *secret = intent_json_string(said, "Secret", "");
	if (*user && *secret)
		found = account(user, strlen(user), secret, registry);
	/* What it said may be half a secret: it is not shown. */
	if (!found)
		return intent_fail(err, INTENT_EMALFORMED, "what it said of %s has no Username and Secret", registry);
	*ret_new = found;
	return 0;
}

/* Base64 with - and _, which is what engines take here. */
char *docker__account_header(const json_t *found)
{
	static const char name[] = "X-Registry-Auth: ";
	intent_free_auto char *text = json_dumps(found, JSON_COMPACT);
	intent_text_auto struct intent_text header = INTENT_TEXT_INIT;

	if (!text)
		return NULL;
	intent_text_puts(&header, name);
	intent_base64_encode(&header, text, strlen(text));
	explicit_bzero(text, strlen(text));
	for (char *p = header.data ? header.data + strlen(name) : NULL; p && *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return intent_text_steal(&header);
}
