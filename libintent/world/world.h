/* What the files of world/ share among themselves. Not installed. */
#ifndef INTENT_WORLD_H
#define INTENT_WORLD_H

#include <intent/error.h>

/* Split a path: its open parent directory (close it) and the last component, borrowed. */
int intent__open_parent(const char *path, const char **ret_name, struct intent_error *err);

#endif
