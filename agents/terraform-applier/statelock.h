/* Terraform's own lock on a state: whose it is, how old, and whether he still lives. */
#ifndef STATELOCK_H
#define STATELOCK_H

#include "applier.h"

/* From the detail of "Error acquiring the state lock": {"id", "who", "since", "words"}. New. */
json_t *applier__state_lock(const struct applier *applier, const char *detail);

#endif
