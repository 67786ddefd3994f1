/*
 * Waking slices when a path changes. A path that is not there yet is watched
 * through its nearest directory that is; each event looks again from the top.
 */
#include <errno.h>
#include <sys/stat.h>
#include "slice.h"

struct watched {
	struct watched *next;
	uv_fs_event_t event;
	struct intent__runner *runner;
	struct intent__slice *slice; /* NULL: closing */
	char *path, *directory;      /* wanted, and what is really watched */
};

struct intent__paths {
	struct watched *first;
	json_t *list;
};

static void start_watching(struct watched *watched);

static void on_closed(uv_handle_t *handle)
{
	struct watched *watched = handle->data;

	free(watched->path);
	free(watched->directory);
	free(watched);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct watched *watched = event->data;

	(void)name;
	(void)events;
	(void)status;
	if (!watched->slice)
		return;
	intent__slice_wake(watched->runner, watched->slice);
	/* A directory that appeared or went: the nearest one may be another now. */
	if (strcmp(watched->path, watched->directory) || access(watched->path, F_OK) < 0) {
		uv_fs_event_stop(event);
		start_watching(watched);
	}
}

static char *nearest_directory(const char *path)
{
	char *directory = strdup(path);
	struct stat st;

	while (directory && *directory && (stat(directory, &st) < 0 || !S_ISDIR(st.st_mode))) {
		char *slash = strrchr(directory, '/');

		if (!slash || slash == directory) {
			free(directory);
			return strdup("/");
		}
		*slash = '\0';
	}
	return directory;
}

static void start_watching(struct watched *watched)
{
	/* Twice: it may have changed between looking and watching. */
	for (int i = 0; i < 2; i++) {
		char *nearest = nearest_directory(watched->path);

		if (!nearest || (i && watched->directory && !strcmp(nearest, watched->directory))) {
			free(nearest);
			return;
		}
		free(watched->directory);
		watched->directory = nearest;
		uv_fs_event_stop(&watched->event);
		uv_fs_event_start(&watched->event, on_event, nearest, 0);
	}
}

static void stop_all(struct intent__paths *paths)
{
	struct watched *next;

	for (struct watched *watched = paths->first; watched; watched = next) {
		next = watched->next;
		watched->slice = NULL;
		uv_close((uv_handle_t *)&watched->event, on_closed);
	}
	json_decref(paths->list);
	free(paths);
}

static void add(struct intent__runner *runner, struct intent__slice *slice, const char *path)
{
	struct watched *watched = calloc(1, sizeof(*watched));

	if (!watched)
		return;
	watched->runner = runner;
	watched->slice = slice;
	watched->path = strdup(path);
	uv_fs_event_init(&runner->loop, &watched->event);
	watched->event.data = watched;
	uv_unref((uv_handle_t *)&watched->event);
	start_watching(watched);
	watched->next = slice->paths->first;
	slice->paths->first = watched;
}

void intent__paths_set(struct intent__runner *runner, struct intent__slice *slice, const json_t *list)
{
	size_t i;
	json_t *path;

	if (slice->paths && list && json_equal(slice->paths->list, list))
		return;
	if (slice->paths)
		stop_all(slice->paths);
	slice->paths = NULL;
	if (!json_array_size(list) || runner->context->once)
		return;
	slice->paths = calloc(1, sizeof(*slice->paths));
	if (!slice->paths)
		return;
	slice->paths->list = json_incref((json_t *)(uintptr_t)list);
	json_array_foreach((json_t *)(uintptr_t)list, i, path)
		add(runner, slice, json_string_value(path));
}
