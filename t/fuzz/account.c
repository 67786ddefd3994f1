/* A config.json of any content, and a helper's answer: an account comes out, or a fault without what was read.
 * seeds: test-data/accounts */
#include "../../agents/container-runner/account.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void use(const json_t *account)
{
	intent_free_auto char *header = account ? docker__account_header(account) : NULL;

	if (header && strpbrk(header + strlen("X-Registry-Auth: "), "+/\r\n"))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	static const char *const images[] = { "web", "reg.example.com/web:1", "127.0.0.1:5000/a/b@sha256:0" };
	intent_json_auto json_t *document = NULL;
	char helper[DOCKER__HELPER_MAX + 1], registry[256];
	struct intent_error err;

	intent_json_parse((const char *)bytes, count, 0, &document, &err);
	const json_t *config = json_object_get(document, "config");
	for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
		intent_json_auto json_t *account = NULL, *said = NULL;

		docker__registry_of(images[i], registry);
		if (!docker__account_find(config ? config : document, registry, helper, &account, &err) && strchr(helper, '/'))
			abort();
		use(account);
		docker__account_heard(registry, (const char *)bytes, count, &said, &err);
		use(said);
	}
	intent_free_auto char *image = strndup((const char *)bytes, count < 1000 ? count : 1000);
	docker__registry_of(image, registry);
	return 0;
}
