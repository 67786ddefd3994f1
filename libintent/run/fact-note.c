/*
 * What one round of an application leaves for the next: <state-dir>/fact-<app>.json.
 *
 * It only spares and damps. Without it the store is asked, and the first look decides.
 */
#include <intent/file.h>
#include <intent/note.h>
#include "fact.h"

static char *note_path(const struct intent_round *round)
{
	return intent_format("%s/fact-%s.json", intent_round_state_dir(round), intent_round_slice(round));
}

json_t *intent__fact_note_read(const struct intent_round *round)
{
	intent_free_auto char *path = note_path(round);
	bool this_boot;
	json_t *note = intent_note_read(path, &this_boot);

	if (!this_boot)
		json_object_del(note, "history");
	return note;
}

int intent__fact_note_write(const struct intent_round *round, const char *session, const json_t *history,
			 struct intent_error *err)
{
	intent_free_auto char *path = note_path(round);
	intent_json_auto json_t *note =
		json_pack("{sO* so* sO*}", "cluster", json_object_get(intent_round_intent(round), "cluster"),
			  "session", session ? json_string(session) : NULL, "history", history);

	return intent_note_write(path, note, err);
}

int intent__fact_note_remove(const struct intent_round *round, struct intent_error *err)
{
	intent_free_auto char *path = note_path(round);

	return intent_file_remove(path, err);
}
