/*
 * A process gives up what it does not need: for good, and for all its children.
 *
 * Each of these needs nothing but a kernel that can: where it cannot, the code is -ENOSYS, and the caller
 * goes on with less. All of them also set no-new-privileges.
 */
#ifndef INTENT_CONFINE_H
#define INTENT_CONFINE_H

#include <stdint.h>
#include <intent/error.h>

/* Which system calls it gives up: they fail with EPERM. */
enum intent_calls {
	/* Programs, other processes, identities, owners, devices, and all that the next ones are without. */
	INTENT_CALLS_LOOP,
	/* Programs, and all that the next one is without. */
	INTENT_CALLS_ALONE,
	/* What changes the kernel, its name spaces and clocks, or reaches into another process. */
	INTENT_CALLS_TOOLS,
};
int intent_confine_calls(enum intent_calls calls, struct intent_error *err);

/*
 * Landlock: nothing is made, changed or removed but below `writable` (NULL-terminated; what is not there, or not for
 * us, is left out), no program is run, no TCP port is bound, and from ABI 6 no process outside is signalled and no
 * abstract socket is connected to (but see `abstract`). Everything may be read. *ret_abi is that of the kernel.
 */
int intent_confine_files(const char *const *writable, bool abstract, int *ret_abi, struct intent_error *err);

/*
 * Of the capabilities it has, these are kept (1ull << CAP_CHOWN | ...), and programs that it runs get no others, where
 * it may bound that (CAP_SETPCAP). Never -ENOSYS; no-new-privileges is left as it is.
 */
int intent_confine_capabilities(unsigned long long keep, struct intent_error *err);

/* No core file, and /proc/<pid> is root's: nobody of the same user reads the tokens in our memory. */
void intent_confine_memory(void);

#endif
