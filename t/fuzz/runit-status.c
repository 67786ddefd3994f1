/* Any bytes as supervise/status: a sane status, or a fault and nothing written.
 * An agent is no library, so its file is compiled in.
 * seeds: test-data/runit */
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "../../agents/setlive/runit.c"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
	struct runit_status status = { .pid = -7, .since = -7 };
	struct intent_error err = { 0 };

	if (runit_status_parse(bytes, count, &status, &err)) {
		if (err.code != INTENT_EMALFORMED || status.pid != -7 || status.since != -7)
			abort();
		return 0;
	}
	if (count != RUNIT_STATUS_SIZE || status.pid < 0 || status.since < 0 || status.state > RUNIT_FINISH)
		abort();
	return 0;
}
