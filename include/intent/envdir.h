/*
 * A directory of which each file is a variable, as envdir(8) of daemontools and runit's chpst -e read it: the
 * first line without blanks at its end is the value, NUL in it stands for a newline, an empty file means that the
 * variable is not to be set. Names that begin with '.' are no variables.
 *
 * pp-configmap-injector replaces such a directory as a whole. What is read is all of one set: if the directory was
 * replaced or changed meanwhile, it is read again.
 */
#ifndef INTENT_ENVDIR_H
#define INTENT_ENVDIR_H

#include <intent/json.h>

#define INTENT_ENVDIR_VALUE_MAX (128u << 10)  /* the kernel takes no longer one */
#define INTENT_ENVDIR_MAX (1u << 20)          /* all of it */
#define INTENT_ENVDIR_REST_MS 100             /* for whoever starts services with it */

/*
 * Waits until nothing in it was changed for `rest_ms`, a few seconds at most: what "rm -r" or an editor left halfway is
 * no set.
 *
 * {NAME: "value", or null: not to be set}, new. INTENT_EENVIRONMENT: the directory is not there (yet), or not left
 * alone; INTENT_EMALFORMED names a file that is no UTF-8 text, or whose name cannot be a variable's; INTENT_ETOOBIG. No
 * value is in a sentence.
 */
int intent_envdir_read(const char *path, int64_t rest_ms, json_t **ret_new, struct intent_error *err);

/*
 * What stands for its content where others may look: 32 hex digits, HMAC-SHA-256 with a secret key
 * (intent_digest_key()), so that short values cannot be found by trying. No variables at all have one, too.
 */
void intent_envdir_digest(const json_t *variables, const unsigned char key[32], char ret[33]);

#endif
