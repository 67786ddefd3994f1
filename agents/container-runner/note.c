/* What one round of an application leaves for the next. */
#include <intent/digest.h>
#include <intent/file.h>
#include <intent/note.h>
#include "runner.h"

#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS 60000     /* as of rounds that fail */

static char *note_path(const struct intent_round *round)
{
	return intent_format("%s/container-%s.json", intent_round_state_dir(round), intent_round_slice(round));
}

char *docker__log_path(const struct intent_round *round)
{
	return intent_format("%s/log-%s", intent_round_state_dir(round), intent_round_slice(round));
}

static void forget_times(json_t *note)
{
	const char *id;
	json_t *container;

	json_object_del(note, "failed");
	json_object_foreach(json_object_get(note, "containers"), id, container) {
		json_object_del(container, "since_ms");
		if (json_object_get(container, "settled_ms"))
			json_object_set_new(container, "settled_ms", json_integer(0));
	}
}

json_t *docker__note_read(const struct intent_round *round)
{
	intent_free_auto char *path = note_path(round);
	bool this_boot;
	json_t *note = intent_note_read(path, &this_boot);

	if (!this_boot)
		forget_times(note);
	return note;
}

int docker__note_write(const struct intent_round *round, const json_t *note, struct intent_error *err)
{
	intent_free_auto char *path = note_path(round);

	return intent_note_write(path, note, err);
}

int docker__note_set(const struct intent_round *round, const char *id, const char *name, json_t *value,
		     struct intent_error *err)
{
	intent_json_auto json_t *note = docker__note_read(round);
	json_t *object = note;

	if (id) {
		if (!json_object_get(note, "containers"))
			json_object_set_new(note, "containers", json_object());
		object = json_object_get(note, "containers");
		if (!json_object_get(object, id))
			json_object_set_new(object, id, json_object());
		object = json_object_get(object, id);
	}
	if (value)
		json_object_set_new(object, name, value);
	else
		json_object_del(object, name);
	return docker__note_write(round, note, err);
}

int docker__note_suspend(const struct intent_round *round, struct intent_error *err)
{
	intent_json_auto json_t *note = docker__note_read(round);
	const char *id;
	json_t *container;

	json_object_foreach(json_object_get(note, "containers"), id, container)
		if (!json_object_get(container, "settled_ms"))
			json_object_del(container, "since_ms");
	return docker__note_write(round, note, err);
}

int docker__note_remove(const struct intent_round *round, struct intent_error *err)
{
	intent_free_auto char *path = note_path(round), *log = docker__log_path(round);

	return intent_file_remove(path, err) || intent_file_remove(log, err) ? err->code : 0;
}

/* ---- what failed ---- */

static void describe(const struct intent_round *round, const char *verb, const char *subject, char deed[300],
		     char intent[65])
{
	snprintf(deed, 300, "%s %.250s", verb, subject);
	intent_json_digest(intent_round_intent(round), intent);
}

void docker__note_failed(const struct intent_round *round, const char *verb, const char *subject,
			 const struct intent_error *failed)
{
	intent_json_auto json_t *note = docker__note_read(round);
	const json_t *before = json_object_get(note, "failed");
	struct intent_error ignored;
	char deed[300], intent[65];

	describe(round, verb, subject, deed, intent);
	bool same = !strcmp(intent_json_string(before, "deed", ""), deed) &&
		!strcmp(intent_json_string(before, "intent", ""), intent);
	json_object_set_new(note, "failed", json_pack("{ss ss sI sI si ss}", "deed", deed, "intent", intent, "at_ms",
		(json_int_t)intent_time_monotonic(), "attempts",
		(json_int_t)(same ? intent_json_integer(before, "attempts", 0) + 1 : 1), "code", failed->code, "message",
		failed->msg));
	/* Without it, it is tried again a little sooner. */
	docker__note_write(round, note, &ignored);
}

int docker__note_done(const struct intent_round *round, const char *verb, const char *subject, struct intent_error *err)
{
	intent_json_auto json_t *note = docker__note_read(round);
	char deed[300], intent[65];

	describe(round, verb, subject, deed, intent);
	if (strcmp(intent_json_string(json_object_get(note, "failed"), "deed", ""), deed) != 0)
		return 0;
	json_object_del(note, "failed");
	return docker__note_write(round, note, err);
}

int64_t docker__note_pause(const struct intent_round *round, const json_t *note)
{
	const json_t *failed = json_object_get(note, "failed");
	int64_t attempts = intent_json_integer(failed, "attempts", 0), pause = PAUSE_FIRST_MS;
	char intent[65];

	intent_json_digest(intent_round_intent(round), intent);
	if (!attempts || intent_round_is_demanded(round) ||
	    strcmp(intent_json_string(failed, "intent", ""), intent) != 0)
		return 0;
	for (int64_t i = 1; i < attempts && pause < PAUSE_MAX_MS; i++)
		pause *= 2;
	pause = pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
	int64_t left = intent_json_integer(failed, "at_ms", 0) + pause - intent_time_monotonic();
	return left > 0 ? left : 0;
}
