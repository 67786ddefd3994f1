/* Any bytes as supervise/status: a sane status, or a fault and nothing written.
 * seeds: test-data/runit */
#include "../../libintent/world/runit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct intent__runit_status status = { .pid = -7, .since = -7 };
	struct intent_error err = { 0 };

	if (intent__runit_status_parse(bytes, count, &status, &err)) {
		if (err.code != INTENT_EMALFORMED || status.pid != -7 || status.since != -7)
			abort();
		return 0;
	}
	if (count != INTENT__RUNIT_STATUS_SIZE || status.pid < 0 || status.since < 0 || status.state > INTENT__RUNIT_FINISH)
		abort();
	return 0;
}
