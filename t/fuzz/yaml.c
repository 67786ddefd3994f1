/* The YAML reader. What it takes must survive a trip through canonical JSON.
 * seeds: test-data/yaml contrib/platypus.yaml */
#include <intent/option.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct intent_error err = {0};
	json_t *json intent_json_auto = NULL, *again intent_json_auto = NULL;
	char *text intent_free_auto = NULL;

	if (intent_yaml_parse((const char *)bytes, count, "fuzz", &json, &err) < 0) {
		if (json || err.code == 0 || !intent_starts_with(err.msg, "fuzz:"))
			abort();
		return 0;
	}
	text = intent_json_canonical(json);
	if (!text || intent_json_parse(text, strlen(text), 0, &again, &err) < 0 || !json_equal(json, again))
		abort();
	return 0;
}
