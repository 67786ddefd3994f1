/* Where everything of a workspace is, who is at work in it, and what it was told to run. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/file.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "local.h"
#include "../system.h"

#define RECORD_MAX (8u << 20)

char *local_path(const struct local_place *place, const char *format, ...)
{
	char rest[PATH_MAX]; /* what is longer is no path */
	va_list ap;

	va_start(ap, format);
	vsnprintf(rest, sizeof(rest), format, ap);
	va_end(ap);
	return intent_format("%s/%s", place->state, rest);
}

static char *state_home(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (state && *state == '/')
		return strdup(state);
	return home && *home == '/' ? intent_format("%s/.local/state", home) : NULL;
}

/* A name that a person knows again, and a digest that makes it the only one. */
static char *name_of(const char *workspace)
{
	const char *last = strrchr(workspace, '/') ? strrchr(workspace, '/') + 1 : workspace;
	char digest[65], name[33] = "";
	size_t length = 0;

	intent_sha256_hex(workspace, strlen(workspace), digest);
	for (const char *p = last; *p && length < sizeof(name) - 1; p++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *p) &&
		    (length || *p != '-'))
			name[length++] = *p;
	name[length] = 0;
	return intent_format("%s-%.8s", length ? name : "workspace", digest);
}

int local_place_find(struct ppctl *ctl, struct local_place *ret, struct intent_error *err)
{
	intent_free_auto char *home = state_home();
	struct local_place place = {.lock = -1};
	struct system_workspace workspace;

	if (!home)
		return intent_fail(err, INTENT_EUSAGE,
				   "neither XDG_STATE_HOME nor HOME is set, so there is no place for what runs here");
	if (system_workspace_find(&workspace, err))
		return err->code;
	place.workspace = strdup(workspace.directory);
	system_workspace_release(&workspace);
	intent_free_auto char *name = name_of(place.workspace);
	place.state = intent_format("%s/platypus/local/%s", home, name);
	place.url = intent_format("dir:%s/store", place.state);
	/* What an engine shows of two workspaces must differ. */
	snprintf(place.node, sizeof(place.node), "%s",
		 ppctl_option(ctl, "node") ? ppctl_option(ctl, "node") : name);
	*ret = place;
	return 0;
}

void local_place_release(struct local_place *place)
{
	free(place->workspace);
	free(place->state);
	free(place->url);
	if (place->lock >= 0)
		close(place->lock);
	*place = (struct local_place){.lock = -1};
}

int local_place_make(const struct local_place *place, struct ppctl *ctl, struct intent_error *err)
{
	static const struct {
		const char *name;
		mode_t mode;
	} directories[] = {
		{"apps", 0700}, {"agents", 0755}, {"logs", 0755}, {"service", 0755},
		{"stage", 0755}, {"srv", 0755}, {"artifacts", 0755},
	};
	int code = 0;

	for (size_t i = 0; !code && i < sizeof(directories) / sizeof(*directories); i++) {
		intent_free_auto char *path = local_path(place, "%s", directories[i].name);
		code = intent_directory_make(path, directories[i].mode, err);
	}
	if (code || intent_store_init(place->url, err))
		return err->code;
	ctl->store = intent_store_close(ctl->store);
	free(ctl->url);
	ctl->url = strdup(place->url);
	ctl->store_why = "workspace";
	snprintf(ctl->node, sizeof(ctl->node), "%s", place->node);
	return 0;
}

static int busy(const char *path, pid_t *ret_pid, char **ret_app, struct intent_error *err)
{
	intent_json_auto json_t *holder = NULL;
	struct intent_error ignored;

	/* Just after it was taken nothing stands in it yet. */
	if (intent_file_read_json(path, 4096, &holder, &ignored))
		holder = NULL;
	*ret_pid = (pid_t)intent_json_integer(holder, "pid", 0);
	const char *app = intent_json_string(holder, "app", NULL);
	*ret_app = app ? strdup(app) : NULL;
	return intent_fail(err, INTENT_EBUSY, "%s runs in this directory already (process %d)",
			   app ? app : "something", (int)*ret_pid);
}

int local_place_lock(struct local_place *place, const char *app, pid_t *ret_pid, char **ret_app,
		     struct intent_error *err)
{
	intent_free_auto char *path = local_path(place, "lock");
	intent_json_auto json_t *holder =
		json_pack("{si ss ss}", "pid", (int)getpid(), "app", app, "workspace", place->workspace);
	intent_free_auto char *words = intent_json_canonical(holder);
	if (!words)
		return intent_fail(err, INTENT_EUSAGE, "%s: a path that is not UTF-8; rename it", place->workspace);
	if (intent_directory_make(place->state, 0755, err))
		return err->code;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return intent_fail_errno(err, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int code = errno == EWOULDBLOCK ? busy(path, ret_pid, ret_app, err) :
						  intent_fail_errno(err, "%s", path);
		close(fd);
		return code;
	}
	/* In the locked file itself: whoever finds it locked reads who it is. */
	if (ftruncate(fd, 0) || intent_write_all(fd, words, strlen(words))) {
		intent_fail_errno(err, "%s", path);
		close(fd);
		return err->code;
	}
	place->lock = fd;
	return 0;
}

/* ---- the model ---- */

static char *record_path(const struct local_place *place, const char *app)
{
	return local_path(place, "apps/%s.json", app);
}

int local_model_read(const struct local_place *place, const char *app, json_t **ret_new, struct intent_error *err)
{
	intent_free_auto char *path = record_path(place, app);

	return intent_file_read_json(path, RECORD_MAX, ret_new, err);
}

int local_model_write(const struct local_place *place, const json_t *model, struct intent_error *err)
{
	intent_free_auto char *path = record_path(place, intent_json_string(model, "app", ""));

	return intent_file_write_json(path, model, 0600, err);
}

/* ---- other places ---- */

/* Who is at work there? New; NULL: nobody. */
static json_t *holder_of(const char *state)
{
	intent_free_auto char *path = intent_format("%s/lock", state);
	intent_close_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct intent_error ignored;
	json_t *holder = NULL;

	if (fd < 0 || intent_file_read_json(path, 4096, &holder, &ignored))
		return NULL;
	pid_t pid = (pid_t)intent_json_integer(holder, "pid", 0);
	bool alive = pid > 0 && (!kill(pid, 0) || errno == EPERM);
	if (alive && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK)
		return holder;
	json_decref(holder);
	return NULL;
}

/* A container that both would have; borrowed from model. */
static const char *shared_container(const json_t *model, const json_t *other)
{
	size_t index;
	json_t *service;

	json_array_foreach(json_object_get(model, "services"), index, service) {
		const char *name = intent_json_string(service, "name", "");
		const json_t *theirs = local_model_service(other, name);
		if (theirs && !json_object_get(service, "lacks") && !json_object_get(theirs, "lacks") &&
		    !strcmp(intent_json_string(service, "target", ""), "docker") &&
		    !strcmp(intent_json_string(theirs, "target", ""), "docker"))
			return name;
	}
	return NULL;
}

static int check_neighbour(const char *state, const json_t *model, struct intent_error *err)
{
	intent_json_auto json_t *holder = holder_of(state), *theirs = NULL;
	const char *app = intent_json_string(holder, "app", "");
	struct local_place there = {.state = (char *)(uintptr_t)state, .lock = -1};
	struct intent_error ignored;

	if (!holder || local_model_read(&there, app, &theirs, &ignored))
		return 0;
	const char *container = shared_container(model, theirs);
	return container ? intent_fail(err, INTENT_EBUSY,
				       "%s runs in %s (process %d), and both would have the container %s: stop it "
				       "there first", app, intent_json_string(holder, "workspace", "another directory"),
				       (int)intent_json_integer(holder, "pid", 0), container) : 0;
}

int local_place_check_others(const struct local_place *place, const json_t *model, struct intent_error *err)
{
	const char *own = strrchr(place->state, '/');
	intent_free_auto char *home = strndup(place->state, (size_t)(own - place->state));
	DIR *list = opendir(home);
	int code = 0;

	for (struct dirent *entry; list && !code && (entry = readdir(list));) {
		intent_free_auto char *state = intent_format("%s/%s", home, entry->d_name);
		if (*entry->d_name != '.' && strcmp(entry->d_name, own + 1))
			code = check_neighbour(state, model, err);
	}
	if (list)
		closedir(list);
	return code;
}

bool local_model_uses(const json_t *model, const char *target)
{
	json_t *service;
	size_t index;

	json_array_foreach(json_object_get(model, "services"), index, service)
		if (!json_object_get(service, "lacks") && !strcmp(intent_json_string(service, "target", ""), target))
			return true;
	return false;
}

json_t *local_model_service(const json_t *model, const char *name)
{
	json_t *service;
	size_t index;

	json_array_foreach(json_object_get(model, "services"), index, service)
		if (!strcmp(intent_json_string(service, "name", ""), name))
			return service;
	return NULL;
}
