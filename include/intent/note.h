/*
 * Notes: what one round leaves for the next, a JSON object in a file of the state directory. A note only spares or
 * damps: without it, it is looked again. What CLOCK_BOOTTIME or a pid said in it means nothing in another boot.
 */
#ifndef INTENT_NOTE_H
#define INTENT_NOTE_H

#include <intent/json.h>

/* New, never NULL: {} when there is none, or nothing that can be read. *ret_this_boot: written since the machine started? */
json_t *intent_note_read(const char *path, bool *ret_this_boot);
/* With "boot" added; mode 0600. */
int intent_note_write(const char *path, const json_t *note, struct intent_error *err);

#endif
