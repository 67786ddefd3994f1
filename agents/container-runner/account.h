/* Accounts of registries, as Docker's client keeps them: see parse-account.c, which is pure, and account.c. */
#ifndef CONTAINER_RUNNER_ACCOUNT_H
#define CONTAINER_RUNNER_ACCOUNT_H

#include <intent/json.h>

#define DOCKER__HELPER_MAX 64
#define DOCKER__SAID_MAX (1u << 20)

/* The name under which accounts for an image's registry are kept: "registry.example.com:5000". */
void docker__registry_of(const char *image, char out[256]);
/*
 * What a config.json says of a registry: *ret_new (a secret; NULL: nothing) is the account that is kept in it, `helper`
 * ("": none) the end of docker-credential-NAME, which is to be asked first. INTENT_EMALFORMED. New.
 */
int docker__account_find(const json_t *config, const char *registry, char helper[DOCKER__HELPER_MAX + 1],
			 json_t **ret_new, struct intent_error *err);
/* What a helper said. INTENT_EMALFORMED, without what it said. New. */
int docker__account_heard(const char *registry, const char *bytes, size_t count, json_t **ret_new,
			  struct intent_error *err);
/* "X-Registry-Auth: ..."; owned, a secret. */
char *docker__account_header(const json_t *account);

#endif
