/* What the state directory remembers of a stack: none of it is needed to be right, but for "pending". */
#include <intent/file.h>
#include "applier.h"

#define RECORD_MAX (4u << 20)

static char *path_of(const struct applier *applier, const char *name)
{
	return intent_format("%s/%s.json", applier->home, name);
}

json_t *applier__read(const struct applier *applier, const char *name)
{
	intent_free_auto char *path = path_of(applier, name);
	struct intent_error ignored;
	json_t *json = NULL;

	if (!path || intent_file_read_json(path, RECORD_MAX, &json, &ignored) == 0)
		return json;
	/* What cannot be read is not absent: an empty object says no more than that it is there. */
	return ignored.code == INTENT_EABSENT ? NULL : json_object();
}

int applier__write(const struct applier *applier, const char *name, const json_t *json, struct intent_error *err)
{
	intent_free_auto char *path = path_of(applier, name);

	return intent_file_write_json(path, json, 0600, err);
}

int applier__remove(const struct applier *applier, const char *name, struct intent_error *err)
{
	intent_free_auto char *path = path_of(applier, name);

	return intent_file_remove(path, err);
}

char *applier__errored(const struct applier *applier)
{
	char *path = intent_format("%s/errored.tfstate", applier->home);
	struct stat st;

	if (path && stat(path, &st) == 0)
		return path;
	free(path);
	return NULL;
}
