/* compile, validate, slugs: a system definition looked at, nothing written. */
#include <errno.h>
#include "system/parts.h"

int system_say_faults(const json_t *faults)
{
	size_t index;
	json_t *row;

	json_array_foreach((json_t *)(uintptr_t)faults, index, row) {
		int64_t line = intent_json_integer(row, "line", 0);
		const char *file = intent_json_string(row, "file", ""), *text = intent_json_string(row, "text", "");

		if (line)
			ppctl_say("%s:%lld:%lld: %s", file, (long long)line,
				  (long long)intent_json_integer(row, "column", 0), text);
		else
			ppctl_say("%s: %s", file, text);
	}
	return json_array_size(faults) ? PPCTL_REFUSED : 0;
}

/* --directory, before anything is looked for. */
int system_go(struct ppctl *ctl, struct intent_error *err)
{
	const char *directory = ppctl_option(ctl, "directory");

	return directory && chdir(directory) ? intent_fail_errno(err, "%s", directory) : 0;
}

/* The applications named on the command line from argument `first` on; *ret_new stays NULL when there are none. */
static int chosen(struct ppctl *ctl, const struct system_workspace *workspace, size_t first, json_t **ret_new,
		  struct intent_error *err)
{
	struct system system = {0};
	int code = ppctl_argument(ctl, first) ? system_load_sysdef(workspace, &system, err) : 0;
	json_t *set = NULL;

	for (size_t i = first; !code && system.sysdef && ppctl_argument(ctl, i); i++) {
		const char *name = system_application(&system, ppctl_argument(ctl, i), err);

		if (!name)
			code = err->code;
		else
			json_object_set_new(set ? set : (set = json_object()), name, json_true());
	}
	system_release(&system);
	if (code)
		json_decref(set);
	else
		*ret_new = set;
	return code;
}

void system_job_release(struct system_job *job)
{
	system_workspace_release(&job->workspace);
	system_setting_release(&job->setting);
	system_release(&job->system);
	json_decref(job->applications);
	json_decref(job->compiled);
	*job = (struct system_job){0};
}

int system_job_start(struct ppctl *ctl, size_t first, struct system_job *ret, struct intent_error *err)
{
	const char *name = ppctl_option(ctl, "world");
	int code = system_go(ctl, err);

	if (!code)
		code = system_workspace_find(&ret->workspace, err);
	if (!code)
		code = chosen(ctl, &ret->workspace, first, &ret->applications, err);
	if (!code)
		code = system_load(&ret->workspace, ret->applications, &ret->system, err);
	size_t before = json_array_size(ret->system.faults);
	if (!code)
		code = system_setting_load(ctl, &ret->workspace, name ? name : "local", ret->system.faults,
					   &ret->setting, err);
	/* What a world lacks that could not be read is no fault of anybody's. */
	if (!code && ret->system.sysdef && json_array_size(ret->system.faults) == before)
		ret->compiled = system_compile(&ret->system, &ret->setting.world);
	system_sort_faults(ret->system.faults);
	return code;
}

int system_refuse(struct ppctl *ctl, const struct system_job *job, const char *way_out)
{
	size_t count = json_array_size(job->system.faults);

	if (ppctl_flag(ctl, "json"))
		ppctl_print_json(job->system.faults, false);
	system_say_faults(job->system.faults);
	ppctl_say("%zu fault%s. %s", count, count == 1 ? "" : "s", way_out);
	/* Who forgot to say which world is told of things that this one lacks. */
	intent_json_auto json_t *worlds = job->setting.world.local ? system_worlds(&job->workspace) : NULL;
	if (json_object_size(worlds)) {
		intent_text_auto struct intent_text names = INTENT_TEXT_INIT;
		system_known(&names, "", worlds);
		ppctl_say("This was the world local; --world names another: %s.", intent_text_str(&names));
	}
	return PPCTL_REFUSED;
}

/* One document a line, in the order of keys: the same definition is the same bytes, and a diff of two reads well. */
static void print_documents(const json_t *documents)
{
	size_t count = json_object_size(documents), at = 0;
	const char **keys = calloc(count + 1, sizeof(*keys)), *key;
	json_t *document;

	json_object_foreach((json_t *)(uintptr_t)documents, key, document)
		keys[at++] = key;
	qsort(keys, count, sizeof(*keys), system_by_name);
	puts("{");
	for (at = 0; at < count; at++) {
		intent_free_auto char *bytes = intent_json_canonical(json_object_get(documents, keys[at]));
		printf("\"%s\": %s%s\n", keys[at], bytes ? bytes : "null", at + 1 < count ? "," : "");
	}
	puts("}");
	free(keys);
}

int ppctl_compile(struct ppctl *ctl, struct intent_error *err)
{
	struct system_job job = {0};
	int code = system_job_start(ctl, 0, &job, err);

	if (!code && json_array_size(job.system.faults))
		code = system_refuse(ctl, &job, "Nothing was compiled.");
	else if (!code)
		print_documents(json_object_get(job.compiled, "documents"));
	system_job_release(&job);
	return code;
}

static void say_sound(const struct system *system)
{
	size_t services = json_array_size(system->services);
	size_t applications = json_object_size(json_object_get(system->sysdef, "applications"));

	ppctl_say("%zu service%s of %zu application%s, no faults", services, services == 1 ? "" : "s", applications,
		  applications == 1 ? "" : "s");
}

int ppctl_validate(struct ppctl *ctl, struct intent_error *err)
{
	struct system_job job = {0};
	bool with_world = ppctl_option(ctl, "world") != NULL;
	int code = with_world ? system_job_start(ctl, 0, &job, err) : system_go(ctl, err);

	if (!code && !with_world)
		code = system_workspace_find(&job.workspace, err);
	if (!code && !with_world)
		code = chosen(ctl, &job.workspace, 0, &job.applications, err);
	if (!code && !with_world)
		code = system_load(&job.workspace, job.applications, &job.system, err);
	if (!code && json_array_size(job.system.faults))
		code = system_refuse(ctl, &job, "Correct them and ask again.");
	else if (!code && ppctl_flag(ctl, "json"))
		ppctl_print_json(job.system.faults, true);
	else if (!code)
		say_sound(&job.system);
	system_job_release(&job);
	return code;
}

/* ---- slugs ---- */

static void add_slugs(json_t *rows, const json_t *slugs, const char *environment, const char *from)
{
	const char *name;
	json_t *slug;

	json_object_foreach((json_t *)(uintptr_t)slugs, name, slug) {
		const json_t *line = json_object_get(json_object_get(slug, "resolve"), environment);
		const char *resolver = json_is_string(line) ? json_string_value(line) :
							      intent_json_string(line, "resolver", NULL);
		const char *repository = intent_json_string(slug, "repository", NULL);

		json_array_append_new(rows, json_pack("{ss ss ss* sO*}", "slug", name, "from",
						      repository ? repository : from, "resolver", resolver, "exports",
						      json_object_get(slug, "exports")));
	}
}

static int by_slug(const void *a, const void *b)
{
	return strcmp(intent_json_string(*(json_t *const *)a, "slug", ""), intent_json_string(*(json_t *const *)b, "slug", ""));
}

static void show_slugs(const json_t *rows)
{
	struct ppctl_grid grid = {.columns = {{.title = "SLUG"}, {.title = "FROM"}, {.title = "EXPORTS"}, {.title = "IS"}},
				  .count = 4, .least = 20};
	size_t count = json_array_size(rows), index, i;
	struct ppctl_line *lines = calloc(count + 1, sizeof(*lines));
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	json_t *row, *item;
	const char *name;

	json_array_foreach((json_t *)(uintptr_t)rows, index, row) {
		intent_text_auto struct intent_text exports = INTENT_TEXT_INIT;
		const json_t *list = json_object_get(row, "exports");

		json_array_foreach((json_t *)(uintptr_t)list, i, item)
			intent_text_printf(&exports, "%s%s", exports.length ? "," : "", json_string_value(item));
		if (json_is_object(list))
			json_object_foreach((json_t *)(uintptr_t)list, name, item)
				intent_text_printf(&exports, "%s%s", exports.length ? "," : "", name);
		lines[index].cell[0] = strdup(intent_json_string(row, "slug", ""));
		lines[index].cell[1] = strdup(intent_json_string(row, "from", ""));
		lines[index].cell[2] = intent_text_steal(&exports);
		lines[index].cell[3] =
			strdup(intent_json_string(row, "resolver", "nothing in this world's environment"));
	}
	ppctl_grid(&out, &grid, lines, count, (size_t)ppctl_columns());
	fputs(intent_text_str(&out), stdout);
	free(lines);
}

/* The definition's own components too, where one is at hand. */
int ppctl_slugs_of(struct ppctl *ctl, struct intent_error *err)
{
	const char *name = ppctl_option(ctl, "world");
	struct system_job job = {0};
	struct intent_error none;
	intent_json_auto json_t *rows = json_array();
	int code = system_go(ctl, err);
	bool here = !code && !system_workspace_find(&job.workspace, &none);

	if (!code && here)
		code = system_load_sysdef(&job.workspace, &job.system, err);
	if (!job.system.faults)
		job.system.faults = json_array();
	if (!code)
		code = system_setting_load(ctl, here ? &job.workspace : NULL, name ? name : "local", job.system.faults,
					   &job.setting, err);
	if (!code) {
		intent_json_auto json_t *slugs = system_slugs(&job.setting.world, job.system.faults);
		const char *environment = system_environment(&job.setting.world);

		add_slugs(rows, json_object_get(job.system.sysdef, "components"), environment,
			  intent_json_string(job.system.sysdef, "file", SYSTEM_FILE));
		add_slugs(rows, slugs, environment, "");
		system_sort(rows, by_slug);
		if (ppctl_flag(ctl, "json"))
			ppctl_print_json(rows, false);
		else
			show_slugs(rows);
		code = system_say_faults(job.system.faults);
	}
	system_job_release(&job);
	return code;
}
