/*
 * Waking slices when a path changes. A path that is not there yet is watched
 * through its nearest directory that is; each event looks again from the top.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "slice.h"

#define GRAIN_MS 20      /* of the times that files bear */
#define ENTRIES_MAX 1000 /* looked at in a directory; one with more is taken for changed */

struct watched {
	struct watched *next;
	uv_fs_event_t event;
	struct intent__runner *runner;
	struct intent__slice *slice; /* NULL: closing */
	void (*wake)(struct intent__runner *runner, struct intent__slice *slice);
	char *path, *directory;      /* wanted, and what is really watched (NULL: nothing) */
	struct stat seen;            /* that directory, by which it is known again */
};

struct intent__paths {
	struct watched *first;
	json_t *list;
};

static void on_closed(uv_handle_t *handle)
{
	struct watched *watched = handle->data;

	free(watched->path);
	free(watched->directory);
	free(watched);
}

/* Owned; a link is watched through the directory it stands in, where it is replaced. */
static char *nearest_directory(const char *path, struct stat *ret)
{
	char *directory = strdup(path);
	int (*look)(const char *, struct stat *) = lstat;

	while (directory && (look(directory, ret) < 0 || !S_ISDIR(ret->st_mode))) {
		char *slash = strrchr(directory, '/');

		look = stat;
		if (!slash || !slash[1]) {
			free(directory);
			return NULL;
		}
		slash[slash == directory] = '\0';
	}
	return directory;
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status);

/* Watch what is nearest now; nothing to do when that is being watched already. */
static void look_again(struct watched *watched)
{
	/* Twice: it may have changed between looking and watching. */
	for (int i = 0; i < 2; i++) {
		struct stat st;
		char *nearest = nearest_directory(watched->path, &st);
		int code;

		if (nearest && watched->directory && !strcmp(nearest, watched->directory) &&
		    st.st_ino == watched->seen.st_ino && st.st_dev == watched->seen.st_dev) {
			free(nearest);
			return;
		}
		uv_fs_event_stop(&watched->event);
		free(watched->directory);
		watched->directory = nearest;
		watched->seen = st;
		code = nearest ? uv_fs_event_start(&watched->event, on_event, nearest, 0) : 0;
		if (code == UV_ENOENT)
			continue;
		if (code < 0 && !watched->runner->deaf) {
			watched->runner->deaf = true;
			intent_log(INTENT_WARN, NULL, "%s cannot be watched, so changes are found at --interval only: %s "
				   "(fs.inotify.max_user_watches may be too low)", nearest, uv_strerror(code));
		}
	}
}

/*
 * Of what happens in a directory that is watched for something in it, only that something counts: others may have their
 * files beside it, by the hundred.
 */
static bool concerns(const struct watched *watched, const char *name)
{
	size_t directory = watched->directory ? strlen(watched->directory) : 0;
	const char *next, *own;

	if (!name || !directory || strncmp(watched->path, watched->directory, directory))
		return true;
	/* What happens to the directory itself bears its own name. */
	own = strrchr(watched->directory, '/');
	if (own && !strcmp(own + 1, name))
		return true;
	next = watched->path + directory;
	next += strspn(next, "/");
	return !*next || (strcspn(next, "/") == strlen(name) && !strncmp(next, name, strlen(name)));
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct watched *watched = event->data;

	(void)events;
	(void)status;
	if (!watched->slice || !concerns(watched, name))
		return;
	watched->wake(watched->runner, watched->slice);
	look_again(watched);
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

static bool is_since(const struct stat *st, int64_t since_ms)
{
	return (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000 >= since_ms - GRAIN_MS;
}

/* That a file in it was written to is not to be seen from the directory. */
static bool any_since(const char *directory, int64_t since_ms)
{
	DIR *listing = opendir(directory);
	bool is = false;
	int left = ENTRIES_MAX;
	struct stat st;

	for (struct dirent *entry; listing && !is && (entry = readdir(listing));)
		is = !left-- || (strcmp(entry->d_name, "..") &&
				 !fstatat(dirfd(listing), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
				 is_since(&st, since_ms));
	if (listing)
		closedir(listing);
	return is;
}

/* The round may have looked at it before that. Its own doing counts too, and costs one look more. */
static bool has_changed(const struct watched *watched, int64_t since_ms)
{
	struct stat st;

	if (!lstat(watched->path, &st))
		return S_ISDIR(st.st_mode) ? any_since(watched->path, since_ms) : is_since(&st, since_ms);
	return watched->directory && !stat(watched->directory, &st) && is_since(&st, since_ms);
}

static void add(struct intent__runner *runner, struct intent__slice *slice, const char *path,
		void (*wake)(struct intent__runner *runner, struct intent__slice *slice))
{
	struct watched *watched = calloc(1, sizeof(*watched));

	watched->runner = runner;
	watched->slice = slice;
	watched->wake = wake;
	watched->path = strdup(path);
	uv_fs_event_init(&runner->loop, &watched->event);
	watched->event.data = watched;
	uv_unref((uv_handle_t *)&watched->event);
	look_again(watched);
	slice->woken |= has_changed(watched, slice->began_ms);
	watched->next = slice->paths->first;
	slice->paths->first = watched;
}

void intent__paths_set(struct intent__runner *runner, struct intent__slice *slice, const json_t *list,
		       void (*wake)(struct intent__runner *runner, struct intent__slice *slice))
{
	size_t i;
	json_t *path;

	if (slice->paths && list && json_equal(slice->paths->list, list)) {
		/* A directory that was removed and made again looks the same, but is silent. */
		for (struct watched *watched = slice->paths->first; watched; watched = watched->next)
			look_again(watched);
		return;
	}
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
		add(runner, slice, json_string_value(path), wake);
}
