/* What the state directory remembers of an application: nothing that could not be found out again. */
#include <dirent.h>
#include <intent/file.h>
#include "builder.h"

#define RECORD_MAX (4u << 20)
#define FAILURE_MAX (64u << 10)

/* ---- <home>/record.json: as it was, and as this round has used it ---- */

const json_t *builder__recall(const struct builder *builder, const char *kind, const char *name)
{
	return json_object_get(json_object_get(builder->record, kind), name);
}

void builder__remember(struct builder *builder, const char *kind, const char *name, json_t *stolen)
{
	json_t *entries = json_object_get(builder->used, kind);

	if (!entries) {
		entries = json_object();
		json_object_set_new(builder->used, kind, entries);
	}
	json_object_set_new(entries, name, stolen);
}

void builder__read_record(struct builder *builder)
{
	intent_free_auto char *path = intent_format("%s/record.json", builder->home);
	struct intent_error ignored;

	builder->used = json_object();
	if (intent_file_read_json(path, RECORD_MAX, &builder->record, &ignored) < 0)
		builder->record = json_object();
}

int builder__keep_record(struct builder *builder, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/record.json", builder->home);

	return intent_file_write_json(path, builder->used, 0600, err);
}

/* ---- <home>/failed/<input>.json ---- */

static char *failure_path(const struct builder *builder, const struct builder_target *target)
{
	return intent_format("%s/failed/%s.json", builder->home, target->input);
}

json_t *builder__failure(const struct builder *builder, const struct builder_target *target)
{
	intent_free_auto char *path = failure_path(builder, target);
	struct intent_error ignored;
	json_t *failure = NULL;

	return path && intent_file_read_json(path, FAILURE_MAX, &failure, &ignored) == 0 ? failure : NULL;
}

int builder__note_failure(const struct builder *builder, const struct builder_target *target, const json_t *failure,
			  struct intent_error *err)
{
	intent_free_auto char *directory = intent_format("%s/failed", builder->home);
	intent_free_auto char *path = failure_path(builder, target);

	if (!failure)
		return intent_fail(err, INTENT_EMALFORMED, "it is not UTF-8");
	if (intent_directory_make(directory, 0700, err) < 0)
		return err->code;
	return intent_file_write_json(path, failure, 0600, err);
}

void builder__forget_failure(const struct builder *builder, const struct builder_target *target)
{
	intent_free_auto char *path = failure_path(builder, target);
	struct intent_error ignored;

	if (path && access(path, F_OK) == 0)
		intent_file_remove(path, &ignored);
}

void builder__sweep_failures(const struct builder *builder, const json_t *inputs)
{
	intent_free_auto char *directory = intent_format("%s/failed", builder->home);
	DIR *listing = directory ? opendir(directory) : NULL;
	struct intent_error ignored;
	struct dirent *entry;

	while (listing && (entry = readdir(listing))) {
		intent_free_auto char *input = strndup(entry->d_name, strcspn(entry->d_name, "."));
		intent_free_auto char *path = intent_format("%s/%s", directory, entry->d_name);

		if (input && *input && path && !json_object_get(inputs, input))
			intent_file_remove(path, &ignored);
	}
	if (listing)
		closedir(listing);
}
