/* Capabilities and memory: confine.h. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/capability.h>
#include <intent/confine.h>

int intent_confine_capabilities(unsigned long long keep, struct intent_error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2], had[2];

	/* First: it takes CAP_SETPCAP. The kernel knows where its capabilities end. */
	for (int one = 0; one < 64 && prctl(PR_CAPBSET_READ, one) >= 0; one++)
		if (!(keep >> one & 1) && prctl(PR_CAPBSET_DROP, one, 0, 0, 0) < 0 && errno != EPERM)
			return intent_fail_errno(err, "cannot bound capabilities");
	if (syscall(SYS_capget, &header, sets) < 0)
		return intent_fail_errno(err, "cannot read capabilities");
	memcpy(had, sets, sizeof(had));
	for (int i = 0; i < 2; i++) {
		__u32 part = (__u32)(keep >> (32 * i));

		sets[i].effective &= part;
		sets[i].permitted &= part;
		sets[i].inheritable &= part;
	}
	/* Less is never forbidden but by somebody's filter; who set that up has bounded us. */
	if (memcmp(had, sets, sizeof(had)) && syscall(SYS_capset, &header, sets) < 0 && errno != EPERM)
		return intent_fail_errno(err, "cannot drop capabilities");
	return 0;
}

void intent_confine_memory(void)
{
	struct rlimit limits;

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* What it runs may want core files of its own, and raise this again. */
	if (getrlimit(RLIMIT_CORE, &limits) == 0) {
		limits.rlim_cur = 0;
		(void)setrlimit(RLIMIT_CORE, &limits);
	}
}
