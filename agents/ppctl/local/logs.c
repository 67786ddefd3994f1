/* What services say: svlogd's files followed across rotation, and the last lines of each kept. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <intent/file.h>
#include "local.h"

#define KEPT 20            /* last lines of a service */
#define TAIL_BYTES 8192    /* of a log that was there before us */
#define LINE_MAX_BYTES 16384
#define STAMP 26           /* "2026-11-21_13:00:00.12345 " */

/* One program's log. */
struct file {
	struct file *next;
	const char *service;       /* borrowed from its place */
	char *path;                /* owned: .../current */
	int fd;                    /* -1: not there yet */
	ino_t inode;
	bool silent;               /* what is read is older than we are: kept, not shown */
	struct intent_text line;
};

/* <basedir>/logs, with a directory a program; or a file. */
struct place {
	struct place *next;
	char *service, *path;      /* owned */
	bool is_file;
};

struct local_logs {
	void (*on_line)(const char *service, const char *line, void *data);
	void *data;
	json_t *last;              /* {service: [line, ...]} */
	struct place *places;
	struct file *files;
	bool begun;                /* what appears from now on is new */
};

struct local_logs *local_logs_new(void (*on_line)(const char *, const char *, void *), void *data)
{
	struct local_logs *logs = calloc(1, sizeof(*logs));

	*logs = (struct local_logs){.on_line = on_line, .data = data, .last = json_object()};
	return logs;
}

static void keep(struct local_logs *logs, const char *service, const char *line)
{
	json_t *lines = json_object_get(logs->last, service);

	if (!lines) {
		lines = json_array();
		json_object_set_new(logs->last, service, lines);
	}
	intent_free_auto char *clean = strdup(line);
	intent_utf8_clean(clean);
	json_array_append_new(lines, json_string(clean));
	if (json_array_size(lines) > KEPT)
		json_array_remove(lines, 0);
}

void local_logs_add(struct local_logs *logs, const char *service, const char *line)
{
	keep(logs, service, line);
	logs->on_line(service, line, logs->data);
}

const json_t *local_logs_last(const struct local_logs *logs, const char *service)
{
	return json_object_get(logs->last, service);
}

static void tell(struct local_logs *logs, struct file *file)
{
	const char *line = intent_text_str(&file->line);

	if (strlen(line) >= STAMP && line[10] == '_' && line[STAMP - 1] == ' ')
		line += STAMP;
	if (file->silent)
		keep(logs, file->service, line);
	else
		local_logs_add(logs, file->service, line);
	intent_text_clear(&file->line);
}

static void read_on(struct local_logs *logs, struct file *file)
{
	char bytes[65536];
	ssize_t count;

	while (file->fd >= 0 && (count = read(file->fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < count; i++) {
			if (bytes[i] == '\n' || file->line.length >= LINE_MAX_BYTES)
				tell(logs, file);
			if (bytes[i] != '\n' && bytes[i])
				intent_text_add(&file->line, &bytes[i], 1);
		}
}

/* Another file has the name: what is left of the old one, then the new one. */
static void follow(struct local_logs *logs, struct file *file)
{
	struct stat seen;

	read_on(logs, file);
	file->silent = false;
	if (stat(file->path, &seen) || (file->fd >= 0 && seen.st_ino == file->inode))
		return;
	if (file->fd >= 0)
		close(file->fd);
	file->fd = open(file->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (file->fd < 0 || fstat(file->fd, &seen))
		return;
	bool first = !file->inode && !logs->begun;
	file->inode = seen.st_ino;
	if (first && seen.st_size > TAIL_BYTES) {
		lseek(file->fd, -TAIL_BYTES, SEEK_END);
		char byte;
		while (read(file->fd, &byte, 1) == 1 && byte != '\n')
			;
	}
	file->silent = first;
	read_on(logs, file);
	file->silent = false;
}

static bool is_known(const struct local_logs *logs, const char *path)
{
	for (const struct file *file = logs->files; file; file = file->next)
		if (!strcmp(file->path, path))
			return true;
	return false;
}

/* path is stolen, and may be NULL. */
static void add_file(struct local_logs *logs, const char *service, char *path)
{
	struct file *file;

	if (is_known(logs, path)) {
		free(path);
		return;
	}
	file = malloc(sizeof(*file));
	*file = (struct file){.next = logs->files, .service = service, .path = path, .fd = -1};
	logs->files = file;
}

static void look(struct local_logs *logs, const struct place *place)
{
	DIR *list = place->is_file ? NULL : opendir(place->path);

	if (place->is_file)
		add_file(logs, place->service, strdup(place->path));
	for (struct dirent *entry; list && (entry = readdir(list));)
		if (entry->d_name[0] != '.')
			add_file(logs, place->service, intent_format("%s/%s/current", place->path, entry->d_name));
	if (list)
		closedir(list);
}

void local_logs_poll(struct local_logs *logs)
{
	for (const struct place *each = logs->places; each; each = each->next)
		look(logs, each);
	for (struct file *file = logs->files; file; file = file->next)
		follow(logs, file);
	logs->begun = true;
}

void local_logs_follow(struct local_logs *logs, const char *service, const char *path, bool is_file)
{
	struct place *place = calloc(1, sizeof(*place));

	place->service = strdup(service);
	place->path = strdup(path);
	place->is_file = is_file;
	place->next = logs->places;
	logs->places = place;
}

void local_logs_free(struct local_logs *logs)
{
	if (!logs)
		return;
	for (struct file *file = logs->files, *next; file; file = next) {
		next = file->next;
		if (file->fd >= 0)
			close(file->fd);
		intent_text_release(&file->line);
		free(file->path);
		free(file);
	}
	for (struct place *each = logs->places, *next; each; each = next) {
		next = each->next;
		free(each->service);
		free(each->path);
		free(each);
	}
	json_decref(logs->last);
	free(logs);
}
