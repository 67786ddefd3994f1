/* What the files that publish facts share. */
#ifndef LIBINTENT_FACT_H
#define LIBINTENT_FACT_H

#include <intent/fact.h>

/* reality/health/<app>/<cluster>/<node>; owned. */
char *intent__fact_key(const json_t *intent, const char *cluster);

/* {"boot", "cluster", "session", "history"?}; an empty object when there is none. New. */
json_t *intent__fact_note_read(const struct intent_round *round);
int intent__fact_note_write(const struct intent_round *round, const char *session, const json_t *history,
			    struct intent_error *err);
int intent__fact_note_remove(const struct intent_round *round, struct intent_error *err);

/*
 * Whose a fact is, by the session it is bound to: `session` is ours, NULL with --once; the note's was that of the
 * runs before this one. One without a session is ours, since the key is.
 */
bool intent__fact_is_ours(const struct intent_entry *entry, const char *session, const json_t *note);

#endif
