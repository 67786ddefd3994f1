/* The module: its source as a commit, a checkout of that, backend, variables, terraform init. */
#include <dirent.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <intent/child.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "applier.h"

#define OVERRIDE "pp_backend_override.tf.json"

static bool is_cancelled(void *data)
{
	return applier__cancel(data);
}

static int open_source(const struct applier *applier, struct intent_source *ret, struct intent_error *err)
{
	return intent_source_parse(intent_json_string(applier->stack, "source", ""),
				   applier__option(applier, "github", "https://github.com/"), ret, err);
}

int applier__resolve(struct applier *applier, struct intent_error *err)
{
	intent_free_auto char *repository = intent_format("%s/git", applier->home);
	struct intent_git git = {repository, is_cancelled, applier};
	struct intent_source source;
	intent_json_auto json_t *inputs = NULL;
	int code;

	applier__begin(applier, "source");
	if (open_source(applier, &source, err) < 0)
		return err->code;
	code = intent_source_resolve(&source, &git, applier->commit, err);
	if (source.is_directory && !code)
		intent_round_watch(applier->round, source.url);
	if (!code)
		inputs = json_pack("{ss ss sO* sO* sb}", "commit", applier->commit, "path", source.path,
				   "vars", json_object_get(applier->stack, "vars"),
				   "state", json_object_get(applier->stack, "state"), "destroy", applier->destroy);
	intent_source_release(&source);
	if (!code)
		intent_json_digest(inputs, applier->inputs);
	return code;
}

/* ---- the checkout ---- */

/* Other commits' checkouts go: only one is ever planned. */
static void sweep(const struct applier *applier, const char *directory)
{
	DIR *listing = opendir(directory);
	struct intent_error ignored;
	struct dirent *entry;

	intent_temp_sweep(directory, NULL, &ignored);
	while (listing && (entry = readdir(listing))) {
		intent_free_auto char *path = intent_format("%s/%s", directory, entry->d_name);

		if (*entry->d_name != '.' && strcmp(entry->d_name, applier->commit) && path)
			intent_tree_remove(path, &ignored);
	}
	if (listing)
		closedir(listing);
}

static int check_out(struct applier *applier, struct intent_error *err)
{
	intent_free_auto char *repository = intent_format("%s/git", applier->home);
	intent_free_auto char *all = intent_format("%s/src", applier->home);
	intent_free_auto char *one = intent_format("%s/src/%s", applier->home, applier->commit);
	struct intent_git git = {repository, is_cancelled, applier};
	struct intent_source source;
	struct intent_error ignored;
	struct stat st;
	int code;

	if (intent_directory_make(all, 0700, err) < 0 || open_source(applier, &source, err) < 0)
		return err->code;
	code = intent_source_checkout(&source, &git, applier->commit, one, err);
	if (!code) {
		sweep(applier, all);
		free(applier->root);
		applier->root = intent_format("%s%s%s", one, *source.path ? "/" : "", source.path);
	}
	if (!code && (!applier->root || stat(applier->root, &st) < 0 || !S_ISDIR(st.st_mode)))
		code = intent_fail(err, INTENT_EABSENT, "source %s: there is no directory %s in it at %.12s",
				   source.url, source.path, applier->commit);
	intent_source_release(&source);
	/* What we put into it may have been cut short. */
	if (!code)
		intent_temp_sweep(applier->root, NULL, &ignored);
	return code;
}

/* ---- what is put into it ---- */

static int write_override(const struct applier *applier, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/" OVERRIDE, applier->root);
	const json_t *state = json_object_get(applier->stack, "state");
	intent_json_auto json_t *settings = json_deep_copy(state), *override = NULL;

	if (!state)
		return intent_file_remove(path, err);
	json_object_del(settings, "backend");
	override = json_pack("{s{s{sO}}}", "terraform", "backend", intent_json_string(state, "backend", "local"),
			     settings);
	return intent_file_write_json(path, override, 0600, err);
}

static int write_variables(const struct applier *applier, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/pp.tfvars.json", applier->root);
	const json_t *vars = json_object_get(applier->stack, "vars");
	intent_json_auto json_t *none = json_object();

	return intent_file_write_json(path, vars ? vars : none, 0600, err);
}

/* ---- init ---- */

/* Terraform's cache of plug-ins bears one init at a time. */
static int lock_plugins(struct applier *applier, int *ret_fd, struct intent_error *err)
{
	intent_free_auto char *own = intent_format("%s/plugins", intent_round_state_dir(applier->round));
	intent_free_auto char *home = intent_format("%s/home", intent_round_state_dir(applier->round));
	const char *cache = applier__option(applier, "plugin-cache", own);
	intent_free_auto char *path = intent_format("%s/.lock", cache ? cache : "");
	const struct timespec pause = {.tv_nsec = 100000000};

	if (intent_directory_make(cache, 0700, err) < 0 || intent_directory_make(home, 0700, err) < 0)
		return err->code;
	while (intent_file_lock(path, LOCK_EX | LOCK_NB, true, ret_fd, err) < 0) {
		if (err->code != INTENT_EBUSY)
			return intent_wrap(err, "plug-in cache");
		if (applier__cancel(applier))
			return intent_fail(err, INTENT_ESTALE, "stopped while another stack used the plug-in cache");
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* A state that vanished with its checkout would be made twice. */
static int check_backend(const struct applier *applier, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/.terraform/terraform.tfstate", applier->root);
	intent_json_auto json_t *json = NULL;
	struct intent_error ignored;
	const char *type, *where;

	if (intent_file_read_json(path, 1 << 20, &json, &ignored) < 0)
		json = NULL;
	type = intent_json_string(json_object_get(json, "backend"), "type", NULL);
	where = json_string_value(intent_json_at(json, "/backend/config/path"));
	if (type && (strcmp(type, "local") || (where && *where == '/')))
		return 0;
	return intent_fail(err, INTENT_EMALFORMED, "nothing says where the state is kept: give the stack \"state\" "
			   "(or the module a backend, with an absolute path if it is local)");
}

static int run_init(struct applier *applier, bool readonly, struct intent_error *err)
{
	const char *arguments[] = {"init", "-input=false", "-no-color", "-reconfigure",
				   readonly ? "-lockfile=readonly" : NULL, NULL};
	struct applier_terraform run = {
		.applier = applier, .arguments = arguments, .plan_fd = -1,
		.deadline_ms = intent_json_integer(applier->options, "plan-timeout", 1800000),
	};
	char words[64];
	int lock = -1, code;

	applier__begin(applier, "init");
	if (lock_plugins(applier, &lock, err) < 0)
		return err->code;
	code = applier__run(&run, err);
	intent__close(&lock);
	intent_child_status_words(run.status, words);
	if (!code && run.status)
		code = intent_fail(err, INTENT_ECHILD, "terraform init: %s", *run.fault ? run.fault : words);
	applier__run_release(&run);
	return code;
}

/* Once for each checkout, backend and version of Terraform. */
static int initialise(struct applier *applier, struct intent_error *err)
{
	intent_free_auto char *lock = intent_format("%s/.terraform.lock.hcl", applier->root);
	intent_json_auto json_t *before = applier__read(applier, "module");
	intent_json_auto json_t *made = json_pack("{ss ss sO*}", "root", applier->root, "version", applier->version,
						  "state", json_object_get(applier->stack, "state"));
	bool is_same = !strcmp(intent_json_string(before, "root", ""), applier->root);
	/* Of a lock file that the source brought nothing is changed; one that init made stays with its checkout. */
	bool readonly = is_same ? intent_json_boolean(before, "readonly", false) : access(lock, F_OK) == 0;

	json_object_set_new(made, "readonly", json_boolean(readonly));
	json_object_set_new(made, "done", json_true());
	if (before && json_equal(before, made))
		return 0;
	json_object_set_new(made, "done", json_false());
	if (applier__write(applier, "module", made, err) < 0 || run_init(applier, readonly, err) < 0)
		return err->code;
	if (!json_object_get(applier->stack, "state") && check_backend(applier, err) < 0)
		return err->code;
	json_object_set_new(made, "done", json_true());
	return applier__write(applier, "module", made, err);
}

int applier__module(struct applier *applier, struct intent_error *err)
{
	if (applier__version(applier, err) < 0 || check_out(applier, err) < 0 || write_override(applier, err) < 0 ||
	    write_variables(applier, err) < 0)
		return err->code;
	return initialise(applier, err);
}
