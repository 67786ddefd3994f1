#include <intent/file.h>
#include <intent/note.h>

#define NOTE_MAX (1u << 20)

json_t *intent_note_read(const char *path, bool *ret_this_boot)
{
	struct intent_error ignored;
	json_t *note = NULL;

	*ret_this_boot = true;
	if (intent_file_read_json(path, NOTE_MAX, &note, &ignored) || !json_is_object(note)) {
		json_decref(note);
		return json_object();
	}
	*ret_this_boot = !strcmp(intent_json_string(note, "boot", "?"), intent_boot_id());
	return note;
}

int intent_note_write(const char *path, const json_t *note, struct intent_error *err)
{
	intent_json_auto json_t *whole = json_copy((json_t *)(uintptr_t)note);

	json_object_set_new(whole, "boot", json_string(intent_boot_id()));
	return intent_file_write_json(path, whole, 0600, err);
}
