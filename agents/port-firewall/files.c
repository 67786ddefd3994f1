/* The seed's back end: a file per application and gate in --config-dir, and --cmd when they change. */
#include <dirent.h>
#include <errno.h>
#include <intent/child.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "port-firewall.h"

#define FILE_BYTES_MAX (1u << 20)
#define COMMAND_DEADLINE_MS 60000

static const char *directory_of(const struct intent_round *round)
{
	return intent_json_string(intent_round_options(round), "config-dir", "");
}

/* {"text"} of a file of ours, else {"foreign"}. New. */
static json_t *read_one(int directory, const char *name, const char *mark)
{
	intent_free_auto char *text = NULL;
	struct intent_error ignored;
	size_t count;

	if (intent_file_read(directory, name, FILE_BYTES_MAX, &text, &count, &ignored) ||
	    strlen(text) != count || !intent_starts_with(text, mark))
		return json_pack("{sb}", "foreign", 1);
	json_t *file = json_pack("{ss}", "text", text);
	/* What is no UTF-8 begins like ours and is not as we left it. */
	return file ? file : json_pack("{ss}", "text", mark);
}

static int read_all(const struct intent_round *round, json_t *files, int *leftovers,
		    struct intent_error *err)
{
	DIR *listing = opendir(directory_of(round));
	struct dirent *entry;
	char mark[200];

	if (!listing)
		return errno == ENOENT ? 0 : intent_fail_errno(err, "%s", directory_of(round));
	firewall__file_mark(intent_json_string(intent_round_intent(round), "node", ""), mark);
	while ((errno = 0, entry = readdir(listing))) {
		*leftovers += intent_temp_is_stale(entry->d_name);
		if (*entry->d_name != '.' && intent_ends_with(entry->d_name, ".yml"))
			json_object_set_new(files, entry->d_name,
					    read_one(dirfd(listing), entry->d_name, mark));
	}
	int code = errno ? intent_fail_errno(err, "%s", directory_of(round)) : 0;
	closedir(listing);
	return code;
}

static char *applied_path(const struct intent_round *round)
{
	return intent_format("%s/applied.json", intent_round_state_dir(round));
}

int firewall__files_observe(struct intent_round *round, json_t *observed, struct intent_error *err)
{
	intent_free_auto char *path = applied_path(round);
	intent_json_auto json_t *applied = NULL;
	json_t *files = json_object();
	struct intent_error ignored;
	int leftovers = 0;

	json_object_set_new(observed, "files", files);
	if (read_all(round, files, &leftovers, err))
		return err->code;
	json_object_set_new(observed, "leftovers", json_integer(leftovers));
	/* Damaged or absent: the command is run once more. */
	if (path && !intent_file_read_json(path, 4096, &applied, &ignored) &&
	    json_object_get(applied, "files"))
		json_object_set(observed, "applied", json_object_get(applied, "files"));
	return 0;
}

int firewall__files_put(struct intent_round *round, const char *name, const char *text,
			struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", directory_of(round), name);

	if (!text)
		return intent_file_remove(path, err);
	return intent_directory_make(directory_of(round), 0755, err)
		       ? err->code
		       : intent_file_write(path, text, strlen(text), 0644, err);
}

int firewall__files_refresh(struct intent_round *round, struct intent_error *err)
{
	const char *argv[] = {intent_json_string(intent_round_options(round), "cmd", ""), "rebuild",
			      NULL};
	const struct intent_child_options options = {.argv = argv,
						     .deadline_ms = COMMAND_DEADLINE_MS};
	intent_json_auto json_t *files = json_object(), *ours = json_object(), *record = NULL;
	intent_free_auto char *path = applied_path(round);
	int leftovers = 0;
	const char *name;
	json_t *file;
	char digest[65];

	/* What is there before it runs: what comes while it does is owed again. */
	if (read_all(round, files, &leftovers, err))
		return err->code;
	json_object_foreach(files, name, file)
		if (!json_object_get(file, "foreign"))
			json_object_set(ours, name, json_object_get(file, "text"));
	intent_json_digest(ours, digest);
	if (intent_child_check(&options, err))
		return intent_wrap(err, "--cmd");
	record = json_pack("{ss}", "files", digest);
	return intent_file_write_json(path, record, 0600, err);
}
