/* What one round of an application leaves for the next. */
#include <errno.h>
#include <fcntl.h>
#include <intent/file.h>
#include "runner.h"

#define NOTE_MAX (1u << 20)

static char *note_path(const struct intent_round *round)
{
	return intent_format("%s/container-%s.json", intent_round_state_dir(round), intent_round_slice(round));
}

char *docker__log_path(const struct intent_round *round)
{
	return intent_format("%s/log-%s", intent_round_state_dir(round), intent_round_slice(round));
}

/* CLOCK_BOOTTIME means nothing in another one. */
static void boot_id(char out[64])
{
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	size_t count;

	*out = '\0';
	if (!intent_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &count, &ignored))
		snprintf(out, 64, "%.*s", (int)strcspn(text, "\n"), text);
}

static void forget_times(json_t *containers)
{
	const char *id;
	json_t *container;

	json_object_foreach(containers, id, container) {
		json_object_del(container, "since_ms");
		if (json_object_get(container, "settled_ms"))
			json_object_set_new(container, "settled_ms", json_integer(0));
	}
}

json_t *docker__note_read(const struct intent_round *round)
{
	intent_free_auto char *path = note_path(round);
	struct intent_error ignored;
	json_t *note = NULL;
	char boot[64];

	if (!path || intent_file_read_json(path, NOTE_MAX, &note, &ignored) || !json_is_object(note)) {
		json_decref(note);
		return json_object();
	}
	boot_id(boot);
	if (strcmp(intent_json_string(note, "boot", "?"), boot) != 0)
		forget_times(json_object_get(note, "containers"));
	return note;
}

int docker__note_write(const struct intent_round *round, const json_t *note, struct intent_error *err)
{
	intent_free_auto char *path = note_path(round);
	intent_json_auto json_t *whole = json_copy((json_t *)(uintptr_t)note);
	char boot[64];

	boot_id(boot);
	json_object_set_new(whole, "boot", json_string(boot));
	if (!path || !whole)
		return intent_fail(err, -ENOMEM, "out of memory");
	return intent_file_write_json(path, whole, 0600, err);
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

	if (!path || !log)
		return intent_fail(err, -ENOMEM, "out of memory");
	return intent_file_remove(path, err) || intent_file_remove(log, err) ? err->code : 0;
}
