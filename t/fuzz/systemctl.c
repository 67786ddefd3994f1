/* Any text as what `systemctl show` and the notes of ends say: a sane status, or a fault and nothing written.
 * seeds: test-data/systemd */
#include "../../libintent/world/supervisor.h"
#include "../../libintent/world/systemd.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	intent_free_auto char *text = strndup((const char *)bytes, count);
	struct intent__unit_status status = { .pid = -7 };
	struct intent__end ends[INTENT_EXITS_MAX];
	struct intent_error err = { 0 };

	if (!text)
		return 0;
	if (intent__unit_status_parse(text, &status, &err)) {
		if (err.code != INTENT_EMALFORMED || status.pid != -7)
			abort();
	} else if (status.pid < 0 || strlen(status.fragment) >= sizeof status.fragment) {
		abort();
	}
	size_t found = intent__exits_parse(text, ends);
	if (found > INTENT_EXITS_MAX)
		abort();
	for (size_t i = 0; i < found; i++)
		if (ends[i].number < 0 || ends[i].number > 255 || ends[i].uptime_ms < 0)
			abort();
	return 0;
}
