/*
 * Any bytes as JSON: what is taken has one canonical form that reads back as the same, and checking it
 * as a config leaves sentences of clean UTF-8, one a line.
 * It begins from its seeds: test-data/documents
 */
#include <intent/documents.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_faults(const json_t *json, bool strict)
{
	intent_text_auto struct intent_text faults = INTENT_TEXT_INIT;
	struct intent_error err = {0};
	int code = intent_json_check(json, intent_config_schema, strict, &faults, &err);

	if ((code != 0) != (faults.length != 0) || faults.failed)
		abort();
	if (code && (code != INTENT_EMALFORMED || !err.msg[0] || !intent_utf8_is_clean(err.msg, strlen(err.msg))))
		abort();
	for (const char *line = intent_text_str(&faults), *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end || end == line || !intent_utf8_is_clean(line, (size_t)(end - line)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	intent_json_auto json_t *json = NULL, *again = NULL;
	intent_free_auto char *text = NULL, *twice = NULL;
	struct intent_error err = {0};
	int code = intent_json_parse((const char *)data, size, 0, &json, &err);

	if (code) {
		if (err.code != code || !err.msg[0] || !intent_utf8_is_clean(err.msg, strlen(err.msg)))
			abort();
		return 0;
	}
	text = intent_json_canonical(json);
	if (!text || intent_json_parse(text, strlen(text), SIZE_MAX, &again, &err))
		abort();
	twice = intent_json_canonical(again);
	if (!twice || strcmp(text, twice) != 0)
		abort();
	check_faults(json, true);
	check_faults(json, false);
	if (json_is_object(json)) {
		intent_json_auto json_t *target = json_object();

		/* Into nothing, then into what that left. */
		for (int i = 0; i < 2; i++)
			intent_json_merge(target, json);
	}
	return 0;
}
