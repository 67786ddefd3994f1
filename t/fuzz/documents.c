/*
 * Any key and any value: up to the first newline a key, then the value. Nothing is taken whose key has
 * no row, and every refusal is a clean sentence.
 * It begins from its seeds: test-data/documents
 */
#include <intent/documents.h>
#include <intent/store.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *key, const char *value, size_t length, bool strict)
{
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	intent_json_auto json_t *json = NULL;
	struct intent_error err = {0};
	int code = intent_document_check(key, value, length, strict, &json, &faults, &err);

	if ((code == 0) != (json != NULL) || (code == 0) != (faults.length == 0))
		abort();
	if (!code && !intent_document_find(key))
		abort();
	if (code && (code != err.code || !err.msg[0] || !intent_utf8_is_clean(err.msg, strlen(err.msg))))
		abort();
	if (!code && strstr(key, "/config"))
		(void)intent_config_active(json);
	if (!code && intent_ends_with(key, "/deploy_config")) {
		intent_free_auto char *basedir = intent_deploy_basedir(json, "node");

		if (basedir && *basedir && *basedir != '/')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = memchr(data, '\n', size);
	size_t length = newline ? (size_t)(newline - data) : size;
	intent_free_auto char *key = strndup((const char *)data, length);
	const char *value = newline ? (const char *)newline + 1 : "";
	size_t rest = newline ? size - length - 1 : 0;

	if (!key)
		return 0;
	check(key, value, rest, true);
	check(key, value, rest, false);
	/* Where a guessed key would never get to. */
	check("clusters/a/c/config", value, rest, true);
	check("clusters/a/c/deploy_config", value, rest, true);
	return 0;
}
