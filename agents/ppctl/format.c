/* fmt: the files of a system definition, laid out alike. */
#include <dirent.h>
#include <fcntl.h>
#include <intent/file.h>
#include "system/parts.h"

struct formatting {
	bool check;
	json_t *faults, *files; /* owned; files: {path: as shown} */
	size_t changed;
};

static int format_file(struct formatting *formatting, const char *path, const char *label, struct intent_error *err)
{
	intent_free_auto char *bytes = NULL, *text = NULL;
	intent_json_auto json_t *faults = json_array();
	size_t length = 0;
	struct stat st;

	if (intent_file_read(AT_FDCWD, path, (1u << 20) + 1, &bytes, &length, err) || stat(path, &st))
		return err->code ? intent_wrap(err, "%s", label) : intent_fail_errno(err, "%s", label);
	text = strlen(bytes) == length ? system_formatted(label, bytes, length, faults) : NULL;
	json_array_extend(formatting->faults, faults);
	if (!text || (strlen(text) == length && !memcmp(text, bytes, length)))
		return 0;
	formatting->changed++;
	ppctl_print(label);
	return formatting->check ? 0 : intent_file_write(path, text, strlen(text), st.st_mode & 0777, err);
}

static void add_file(struct formatting *formatting, const struct system_workspace *workspace, const char *directory,
		     const char *name)
{
	intent_free_auto char *path = intent_format("%s%s%s", directory, *directory ? "/" : "", name);
	size_t length = workspace ? strlen(workspace->directory) : 0;

	if (access(path, F_OK))
		return;
	bool below = length && !strncmp(path, workspace->directory, length) && path[length] == '/';
	json_object_set_new(formatting->files, path, json_string(path + (below ? length + 1 : 0)));
}

static void add_directory(struct formatting *formatting, const struct system_workspace *workspace, const char *below)
{
	intent_free_auto char *path = intent_format("%s/%s", workspace->sysdef, below);
	DIR *directory = opendir(path);

	for (struct dirent *entry; directory && (entry = readdir(directory));)
		if (intent_ends_with(entry->d_name, ".yaml"))
			add_file(formatting, workspace, path, entry->d_name);
	if (directory)
		closedir(directory);
}

/* Everything that the definition here consists of. */
static int find_files(struct formatting *formatting, struct intent_error *err)
{
	struct system_workspace workspace;
	struct system system = {0};
	size_t index;
	json_t *service;

	if (system_workspace_find(&workspace, err))
		return err->code;
	int code = system_load(&workspace, NULL, &system, err);
	if (!code) {
		add_file(formatting, &workspace, workspace.sysdef, SYSTEM_FILE);
		add_directory(formatting, &workspace, "worlds");
		add_directory(formatting, &workspace, "resources");
	}
	json_array_foreach(system.services, index, service) {
		const char *checkout = intent_json_string(service, "checkout", ""), *path = intent_json_string(service, "path", "");
		intent_free_auto char *directory = intent_format("%s%s%s", checkout, *path ? "/" : "", path);
		add_file(formatting, &workspace, checkout, "deployd.yaml");
		add_file(formatting, &workspace, directory, "deployd.yaml");
		add_file(formatting, &workspace, directory, "Pibstack");
	}
	system_release(&system);
	system_workspace_release(&workspace);
	return code;
}

int ppctl_fmt(struct ppctl *ctl, struct intent_error *err)
{
	struct formatting formatting = {
		.check = ppctl_flag(ctl, "check"), .faults = json_array(), .files = json_object()};
	int code = system_go(ctl, err);
	const char *names[4096] = {0}, *path;
	size_t count = 0;
	json_t *value;

	for (size_t i = 0; !code && ppctl_argument(ctl, i); i++) {
		json_object_set_new(formatting.files, ppctl_argument(ctl, i), json_string(ppctl_argument(ctl, i)));
	}
	if (!code && !ppctl_argument(ctl, 0))
		code = find_files(&formatting, err);
	json_object_foreach(formatting.files, path, value)
		if (count < sizeof(names) / sizeof(*names))
			names[count++] = path;
	qsort(names, count, sizeof(*names), system_by_name);
	for (size_t i = 0; !code && i < count; i++)
		code = format_file(&formatting, names[i],
				   json_string_value(json_object_get(formatting.files, names[i])), err);
	if (!code)
		code = system_say_faults(formatting.faults);
	if (!code && formatting.check && formatting.changed)
		code = PPCTL_REFUSED;
	if (!code || code == PPCTL_REFUSED)
		ppctl_say("%zu of %zu files %s", formatting.changed, count,
			  formatting.check ? "are not laid out as \"ppctl fmt\" does it" : "changed");
	json_decref(formatting.faults);
	json_decref(formatting.files);
	return code;
}
