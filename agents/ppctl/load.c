/* load: where the system definition comes from, for this working directory. */
#include "repository.h"
#include "system.h"

/* From the working directory, by "..", since what is noted is below it by its name. Owned. */
static char *relative_to(const char *directory, const char *path)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	size_t length = strlen(directory);

	if (!strcmp(directory, path))
		return strdup(".");
	if (!strncmp(path, directory, length) && path[length] == '/')
		return strdup(path + length + 1);
	for (const char *p = directory; *p; p++)
		if (*p == '/' && p[1])
			intent_text_puts(&out, "../");
	intent_text_puts(&out, path + 1);
	return intent_text_steal(&out);
}

/* A directory of a person's, used where it is. *ret_name is owned. */
static int load_directory(const char *here, const char *word, char **ret_name, char **ret_source,
			  struct intent_error *err)
{
	intent_free_auto char *path = realpath(intent_starts_with(word, "dir:") ? word + 4 : word, NULL);

	if (!path)
		return intent_fail_errno(err, "%s", word);
	*ret_name = relative_to(here, path);
	*ret_source = intent_format("dir:%s", path);
	return 0;
}

static int load_repository(const struct ppctl *ctl, const char *here, const char *word, char **ret_name,
			   struct intent_error *err)
{
	intent_free_auto char *name = system_checkout_name(word);
	intent_free_auto char *directory = name ? intent_format("%s/%s", here, name) : NULL;
	struct intent_source source;
	char words[REPOSITORY_WORDS];

	if (intent_source_parse(word, ppctl_option(ctl, "github"), &source, err) < 0)
		return err->code;
	struct repository repository = {
		.url = source.url, .ref = source.ref, .directory = directory, .foreground = isatty(STDERR_FILENO),
	};
	int code = name ? 0 : intent_fail(err, INTENT_EUSAGE,
						       "%s names no repository that a directory could be named by", word);
	if (!code) {
		enum repository_outcome outcome = repository_run(&repository, words);

		if (outcome >= REPOSITORY_FAILED)
			code = intent_fail(err, INTENT_ECHILD, "%s: %s", word, words);
		else
			ppctl_say("%s: %s", name, words);
	}
	if (!code)
		*ret_name = intent_format("%s%s%s", name, *source.path ? "/" : "", source.path);
	intent_source_release(&source);
	return code;
}

static bool is_directory(const char *word)
{
	struct stat st;

	return intent_starts_with(word, "dir:") || (!stat(word, &st) && S_ISDIR(st.st_mode));
}

/* What is in it, and what to do next. */
static int describe(struct ppctl *ctl, struct intent_error *err)
{
	struct system_workspace workspace = {0};
	struct system system = {0};
	const char *name, *first = NULL;
	json_t *application;

	if (system_workspace_find(&workspace, err))
		return err->code;
	int code = system_load_sysdef(&workspace, &system, err);
	if (!code && ppctl_flag(ctl, "json"))
		ppctl_print_json(system.sysdef, false);
	json_object_foreach(json_object_get(system.sysdef, "applications"), name, application) {
		size_t services = json_array_size(json_object_get(application, "services"));

		first = first ? first : name;
		if (!code && !ppctl_flag(ctl, "json"))
			printf("%s: %zu service%s\n", name, services, services == 1 ? "" : "s");
	}
	if (!code)
		code = system_say_faults(system.faults);
	if (!code && first)
		ppctl_say("Next: ppctl get %s", first);
	system_release(&system);
	system_workspace_release(&workspace);
	return code;
}

int ppctl_load(struct ppctl *ctl, struct intent_error *err)
{
	const char *word = ppctl_argument(ctl, 0), *to = ppctl_option(ctl, "directory");
	intent_free_auto char *here = NULL, *name = NULL, *source = NULL, *file = NULL;

	if (to && chdir(to))
		return intent_fail_errno(err, "%s", to);
	here = getcwd(NULL, 0);
	if (!here)
		return intent_fail_errno(err, "the current directory");
	int code = is_directory(word) ? load_directory(here, word, &name, &source, err) :
					load_repository(ctl, here, word, &name, err);
	if (code)
		return code;
	file = intent_format("%s/%s/" SYSTEM_FILE, here, name);
	if (!file || access(file, R_OK))
		return intent_fail(err, INTENT_EABSENT, "there is no " SYSTEM_FILE " in %s: that is what describes a system, "
				   "see intent-system(5)", word);
	code = system_workspace_note(here, source ? source : word, name, err);
	return code ? code : describe(ctl, err);
}
