/* The working directory: which system definition was loaded there, and reading what it consists of. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <intent/file.h>
#include "system/parts.h"

#define FILE_MAX ((1u << 20) + 1) /* one more than system_yaml() takes */
#define FILES_MAX 1000

/* ---- where ---- */

static int make(struct system_workspace *ret, const char *directory, const char *sysdef, const char *source,
		struct intent_error *err)
{
	intent_free_auto char *joined = intent_format("%s/%s", directory, sysdef);
	struct system_workspace workspace = {0};

	workspace.directory = realpath(directory, NULL);
	workspace.sysdef = realpath(joined, NULL);
	workspace.source = source ? strdup(source) : NULL;
	if (!workspace.directory || !workspace.sysdef) {
		system_workspace_release(&workspace);
		return intent_fail(err, INTENT_EABSENT, "%s does not exist; \"ppctl load SOURCE\" makes it",
				   joined);
	}
	*ret = workspace;
	return 0;
}

static int find_record(const char *directory, bool *ret_found, struct system_workspace *ret, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, SYSTEM_RECORD);
	intent_json_auto json_t *record = NULL;
	int code = intent_file_read_json(path, FILE_MAX, &record, err);

	*ret_found = code != INTENT_EABSENT;
	if (code)
		return code == INTENT_EABSENT ? 0 : code;
	return make(ret, directory, intent_json_string(record, "directory", "."), intent_json_string(record, "source", NULL),
		    err);
}

int system_workspace_find(struct system_workspace *ret, struct intent_error *err)
{
	intent_free_auto char *directory = getcwd(NULL, 0);
	bool found = false;

	if (!directory)
		return intent_fail_errno(err, "the current directory");
	for (;;) {
		int code = find_record(*directory ? directory : "/", &found, ret, err);
		char *slash = strrchr(directory, '/');

		if (code)
			return code;
		if (found || !slash || !*directory)
			break;
		*slash = '\0';
	}
	if (found)
		return 0;
	if (!access(SYSTEM_FILE, F_OK))
		return make(ret, ".", ".", NULL, err);
	return intent_fail(err, INTENT_EABSENT,
			   "there is no system definition here: \"ppctl load SOURCE\" fetches one, or stand in a directory "
			   "with a " SYSTEM_FILE);
}

int system_workspace_note(const char *directory, const char *source, const char *name, struct intent_error *err)
{
	intent_json_auto json_t *record = json_pack("{ss* ss}", "source", source, "directory", name);
	intent_free_auto char *path = intent_format("%s/%s", directory, SYSTEM_RECORD);

	if (!record)
		return intent_fail(err, INTENT_EUSAGE, "%s: a path that is not UTF-8; rename it", source ? source : name);
	return intent_file_write_json(path, record, 0644, err);
}

void system_workspace_release(struct system_workspace *workspace)
{
	free(workspace->directory);
	free(workspace->sysdef);
	free(workspace->source);
	*workspace = (struct system_workspace){0};
}

/* As a person standing in the working directory would name it. New. */
static char *shown(const struct system_workspace *workspace, const char *path)
{
	size_t length = strlen(workspace->directory);

	return strdup(!strncmp(path, workspace->directory, length) && path[length] == '/' ? path + length + 1 : path);
}

/* ---- files ---- */

/* A text of people; *ret_text stays NULL when there is none. Not to be read: a fault. */
static void read_text(const char *path, const char *name, json_t *faults, char **ret_owned, size_t *ret_length)
{
	struct intent_error err;
	int code = intent_file_read(AT_FDCWD, path, FILE_MAX, ret_owned, ret_length, &err);

	if (code && code != INTENT_EABSENT)
		system_fault(faults, name, (struct system_place){0, 0}, "cannot be read: %s", err.msg);
}

static bool is_file(const char *directory, const char *name)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name);
	struct stat st;

	return path && !stat(path, &st) && S_ISREG(st.st_mode);
}

struct loading {
	const struct system_workspace *workspace;
	struct system *system;
	const char *application;
};

static json_t *read_file(struct loading *loading, const char *directory, const char *name,
			 json_t *(*parse)(const char *, const char *, size_t, json_t *))
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name), *text = NULL;
	intent_free_auto char *label = shown(loading->workspace, path);
	size_t length = 0;

	read_text(path, label, loading->system->faults, &text, &length);
	return text ? parse(label, text, length, loading->system->faults) : NULL;
}

/* One service: at `path` below the checkout. */
static void add_service(struct loading *loading, const json_t *row, const char *checkout, const char *name,
			const char *path, const json_t *deployd)
{
	intent_free_auto char *directory = intent_format("%s%s%s", checkout, *path ? "/" : "", path);
	intent_json_auto json_t *pibstack = NULL;
	struct system_origin origin = {
		.application = loading->application, .source = intent_json_string(row, "source", ""),
		.checkout = checkout, .checkout_name = name, .path = path,
		.file = intent_json_string(loading->system->sysdef, "file", ""),
		.place = system_at(row),
	};
	size_t before = json_array_size(loading->system->faults);

	if (!directory)
		return;
	pibstack = read_file(loading, directory, "Pibstack", system_read_pibstack);
	origin.has_dockerfile = is_file(directory, "Dockerfile");
	origin.has_launch = is_file(directory, "bin/launch");
	if (!pibstack && !deployd && !origin.has_dockerfile && !origin.has_launch &&
	    json_array_size(loading->system->faults) == before) {
		system_fault(loading->system->faults, origin.file, origin.place,
			     "%s%s%s has nothing to run: no Pibstack, deployd.yaml, Dockerfile or bin/launch; add one", name,
			     *path ? "/" : "", path);
		return;
	}
	json_t *service = system_make_service(&origin, pibstack, deployd, loading->system->faults);
	if (service)
		json_array_append_new(loading->system->services, service);
}

static void missing(struct loading *loading, const json_t *row, const char *checkout)
{
	const char *source = intent_json_string(row, "source", "");
	intent_free_auto char *lower = system_lower(loading->application);
	intent_free_auto char *label = shown(loading->workspace, checkout);

	if (intent_starts_with(source, "dir:"))
		system_fault_of(loading->system->faults, row, "%s does not exist; correct the path, which begins at " SYSTEM_FILE,
				label);
	else
		system_fault_of(loading->system->faults, row, "%s is not here: there is no directory %s; \"ppctl get %s\" fetches it",
				source, label, lower);
}

/* "a//b@ref" -> "b" */
static char *path_of(const char *source)
{
	const char *scheme = strstr(source, "://"), *path = strstr(scheme ? scheme + 3 : source, "//");

	if (!path)
		return strdup("");
	size_t length = strcspn(path + 2, intent_starts_with(source, "dir:") ? "" : "@?");
	while (length && path[1 + length] == '/')
		length--;
	return strndup(path + 2, length);
}

static void load_source(struct loading *loading, const json_t *row)
{
	const char *source = intent_json_string(row, "source", "");
	intent_free_auto char *checkout = system_checkout(loading->workspace, source), *path = path_of(source);
	intent_free_auto char *top =
		checkout && path ? intent_format("%s%s%s", checkout, *path ? "/" : "", path) : NULL;
	intent_free_auto char *name = system_checkout_name(source);
	const char *slash = checkout ? strrchr(checkout, '/') : NULL;
	intent_json_auto json_t *files = NULL;
	struct stat st;
	size_t index;
	json_t *item;

	if (!top)
		return;
	if (stat(top, &st) || !S_ISDIR(st.st_mode)) {
		missing(loading, row, top);
		return;
	}
	size_t before = json_array_size(loading->system->faults);
	files = read_file(loading, top, "deployd.yaml", system_read_deployd);
	if (!files && json_array_size(loading->system->faults) == before)
		add_service(loading, row, checkout, name ? name : slash + 1, path, NULL);
	json_array_foreach(files, index, item) {
		const char *deeper = intent_json_string(json_object_get(item, "says"), "path", "");
		intent_free_auto char *whole = intent_format("%s%s%s", path, *path && *deeper ? "/" : "", deeper);
		if (whole)
			add_service(loading, row, checkout, name ? name : slash + 1, whole, item);
	}
}

/* Two repositories of one name cannot stand side by side. */
static bool check_checkouts(struct loading *loading, json_t *seen, const json_t *row)
{
	const char *source = intent_json_string(row, "source", "");
	intent_free_auto char *name = system_checkout_name(source), *path = path_of(source);
	size_t length = strcspn(source, "@?");
	const char *deeper = path && *path ? strstr(source, path) : NULL, *other;

	if (!name)
		return true;
	if (deeper && (size_t)(deeper - source) < length)
		length = (size_t)(deeper - source) - 2;
	const char *begin = intent_starts_with(source, "gh://") ? source + 5 : intent_starts_with(source, "gh:") ? source + 3 : source;
	json_t *repository = json_stringn(begin, length - (size_t)(begin - source));
	other = json_string_value(json_object_get(seen, name));
	bool clash = other && repository && strcmp(other, json_string_value(repository));
	if (clash)
		system_fault_of(loading->system->faults, row, "%s and %s would both be checked out as \"%s\"; rename one of the repositories", other,
			     json_string_value(repository), name);
	json_object_set_new(seen, name, repository);
	return !clash;
}

int system_load_sysdef(const struct system_workspace *workspace, struct system *ret, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", workspace->sysdef, SYSTEM_FILE), *text = NULL;
	intent_free_auto char *label = shown(workspace, path);
	size_t length = 0;
	struct system system = {.faults = json_array(), .services = json_array()};

	int code = intent_file_read(AT_FDCWD, path, FILE_MAX, &text, &length, err);
	if (code) {
		system_release(&system);
		return code == INTENT_EABSENT ? intent_fail(err, code, "%s does not exist; \"ppctl load SOURCE\" fetches a system "
							    "definition", path) : code;
	}
	system.sysdef = system_read_sysdef(label, text, length, system.faults);
	if (system.sysdef && !json_object_get(system.sysdef, "name"))
		json_object_set_new(system.sysdef, "name", system_default_name(workspace->source, workspace->sysdef));
	system_sort_faults(system.faults);
	*ret = system;
	return 0;
}

int system_load(const struct system_workspace *workspace, const json_t *applications, struct system *ret,
		struct intent_error *err)
{
	struct loading loading = {.workspace = workspace, .system = ret};
	intent_json_auto json_t *seen = json_object();
	const char *name;
	json_t *application, *row;
	size_t index;

	if (system_load_sysdef(workspace, ret, err))
		return err->code;
	json_object_foreach(json_object_get(ret->sysdef, "applications"), name, application) {
		loading.application = name;
		json_array_foreach(json_object_get(application, "services"), index, row) {
			if (check_checkouts(&loading, seen, row) &&
			    (!applications || json_object_get(applications, name)))
				load_source(&loading, row);
		}
	}
	system_sort_faults(ret->faults);
	return 0;
}

void system_release(struct system *system)
{
	json_decref(system->sysdef);
	json_decref(system->services);
	json_decref(system->faults);
	*system = (struct system){0};
}

/* ---- worlds and resource repositories ---- */

/* A document from a file beside sysdef.yaml; NULL: there is none, or it has faults. New. */
static json_t *read_beside(const struct system_workspace *workspace, const char *key, json_t *files, json_t *faults)
{
	intent_free_auto char *path = intent_format("%s/%s.yaml", workspace->sysdef, key), *text = NULL;
	intent_free_auto char *label = shown(workspace, path);
	intent_text_auto struct intent_text lines = INTENT_TEXT_INIT;
	const struct intent_document *row = intent_document_find(key);
	json_t *json, *places = NULL;
	struct intent_error err;
	size_t length = 0;

	if (!row)
		return NULL;
	read_text(path, label, faults, &text, &length);
	if (!text)
		return NULL;
	json = system_yaml(label, text, length, faults, &places);
	json_object_set_new(files, key, json_pack("{ss so*}", "file", label, "places", places));
	if (json && intent_json_check(json, row->schema, true, &lines, &err)) {
		system_place_faults(label, places, intent_text_str(&lines), "", faults);
		json_decref(json);
		json = NULL;
	}
	/* It is there, so the store is not asked; what is wrong with it has been said. */
	return json ? json : json_object();
}

/* Names of the documents of a kind ("worlds") that stand beside sysdef.yaml: {name: true}. New. */
static json_t *names_beside(const struct system_workspace *workspace, const char *kind)
{
	intent_free_auto char *path = intent_format("%s/%s", workspace->sysdef, kind);
	DIR *directory = path ? opendir(path) : NULL;
	json_t *names = json_object();

	for (struct dirent *entry; directory && (entry = readdir(directory)) && json_object_size(names) < FILES_MAX;) {
		size_t length = strlen(entry->d_name);
		intent_free_auto char *name = length > 5 && !strcmp(entry->d_name + length - 5, ".yaml") ?
			strndup(entry->d_name, length - 5) : NULL;

		if (name && intent_name_is_valid(name))
			json_object_set_new(names, name, json_true());
	}
	if (directory)
		closedir(directory);
	return names;
}

json_t *system_worlds(const struct system_workspace *workspace)
{
	return names_beside(workspace, "worlds");
}

static void read_repositories(const struct system_workspace *workspace, struct system_setting *ret, json_t *faults)
{
	intent_json_auto json_t *names = names_beside(workspace, "resources");
	const char *name;
	json_t *value;

	json_object_foreach(names, name, value) {
		intent_free_auto char *key = intent_format("resources/%s", name);
		json_t *document = key ? read_beside(workspace, key, ret->files, faults) : NULL;
		if (document)
			json_object_set_new(ret->resources, name, document);
	}
}

/* Beside sysdef.yaml, or in the store if it answers. */
static int no_such_world(struct ppctl *ctl, const struct system_workspace *workspace, const char *name,
			 struct intent_error *err)
{
	intent_json_auto json_t *known = workspace ? system_worlds(workspace) : json_object();
	intent_text_auto struct intent_text names = INTENT_TEXT_INIT;
	struct intent_snapshot *found = NULL;
	struct intent_error ignored;

	json_object_set_new(known, "local", json_true());
	if (!ppctl_list(ctl, "worlds/", &found, &ignored)) {
		for (size_t i = 0; i < found->count; i++)
			json_object_set_new(known, found->entries[i].key + strlen("worlds/"), json_true());
		intent_snapshot_unref(found);
	}
	system_known(&names, name, known);
	return intent_fail(err, INTENT_EABSENT,
			   "there is no world \"%s\"; there is %s. To have it: worlds/%s.yaml beside " SYSTEM_FILE ", or \"ppctl "
			   "put worlds/%s '{\"capabilities\": [...], \"nodes\": [...]}'\"", name, intent_text_str(&names), name, name);
}

/* What the store has, where no file says it. */
static int read_stored(struct ppctl *ctl, const char *name, struct system_setting *ret, struct intent_error *err)
{
	struct intent_snapshot *found = NULL;
	intent_free_auto char *key = intent_format("worlds/%s", name);
	int code = 0;

	if (!ret->document) {
		code = ppctl_list(ctl, key ? key : "", &found, err);
		const struct intent_entry *entry = code ? NULL : intent_snapshot_find(found, key);
		ret->document = entry ? ppctl_document(entry) : NULL;
		intent_snapshot_unref(found);
	}
	if (code || !json_array_size(json_object_get(ret->document, "resources")))
		return code;
	code = ppctl_list(ctl, "resources/", &found, err);
	for (size_t i = 0; !code && i < found->count; i++) {
		const char *repository = found->entries[i].key + strlen("resources/");
		if (!json_object_get(ret->resources, repository))
			json_object_set_new(ret->resources, repository, ppctl_document(&found->entries[i]));
	}
	if (!code)
		intent_snapshot_unref(found);
	return code;
}

/* Is everything that the world names in files? Then no store is needed. */
static bool is_complete(const struct system_setting *setting)
{
	const json_t *list = json_object_get(setting->document, "resources");
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)(uintptr_t)list, index, item)
		if (!json_object_get(setting->resources, json_string_value(item) ? json_string_value(item) : ""))
			return false;
	return setting->document != NULL;
}

int system_setting_load(struct ppctl *ctl, const struct system_workspace *workspace, const char *name, json_t *faults,
			struct system_setting *ret, struct intent_error *err)
{
	struct system_setting setting = {.resources = json_object(), .files = json_object()};
	intent_free_auto char *key = intent_format("worlds/%s", name);
	int code = 0;

	if (!intent_name_is_valid(name))
		code = intent_fail(err, INTENT_EUSAGE, "\"%.64s\" is no name of a world", name);
	if (!code && workspace)
		setting.document = key ? read_beside(workspace, key, setting.files, faults) : NULL;
	if (!code && workspace)
		read_repositories(workspace, &setting, faults);
	bool local = !code && !setting.document && !strcmp(name, "local");
	if (local)
		setting.document = system_local_world(ctl->node, "/srv", true);
	if (!code && !is_complete(&setting))
		code = read_stored(ctl, name, &setting, err);
	if (!code && !setting.document)
		code = no_such_world(ctl, workspace, name, err);
	if (code) {
		system_setting_release(&setting);
		return code;
	}
	setting.world = (struct system_world){.name = name, .document = setting.document,
					      .resources = setting.resources, .files = setting.files, .local = local};
	*ret = setting;
	return 0;
}

void system_setting_release(struct system_setting *setting)
{
	json_decref(setting->document);
	json_decref(setting->resources);
	json_decref(setting->files);
	*setting = (struct system_setting){0};
}
