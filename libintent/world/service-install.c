#include <errno.h>
#include <fcntl.h>

#include "supervisor.h"

char *intent_install_path(const struct intent_site *site, const char *version)
{
	return intent_format("%s/installs/%s_%s", site->basedir, site->app, version);
}

static bool is_program(const struct stat *seen)
{
	return S_ISREG(seen->st_mode) && seen->st_mode & 0111;
}

static int by_name(const void *a, const void *b)
{
	const json_t *const *left = a, *const *right = b;

	return strcmp(json_string_value(*left), json_string_value(*right));
}

/*
 * One service for each program in bin/launch/, in the order of their names. All of them, or an error: what seems to be
 * in no version any more is stopped.
 */
static int launch_directory(const char *app, const char *launch, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *entries = NULL, *names = json_array();
	json_t *found[INTENT_LAUNCH_MAX], *item;
	size_t count = 0, i;

	if (intent_directory_list(launch, &entries, err))
		return err->code;
	json_array_foreach(entries, i, item) {
		intent_free_auto char *path = intent_format("%s/%s", launch, json_string_value(item));
		struct stat seen = { 0 };

		if (!intent_name_is_valid(json_string_value(item)))
			continue;
		if (intent_file_stat(path, 0, &seen, err) && err->code != INTENT_EABSENT)
			return err->code;
		if (is_program(&seen))
			json_array_append_new(names, json_sprintf("%s-%s", app, json_string_value(item)));
	}
	json_array_foreach(names, i, item)
		if (count < INTENT_LAUNCH_MAX)
			found[count++] = item;
	qsort(found, count, sizeof *found, by_name);
	*ret_new = json_array();
	for (i = 0; i < count; i++)
		json_array_append(*ret_new, found[i]);
	return 0;
}

static json_t *cannot_run(const char *path, const char *why)
{
	return json_pack("{so}", "error", json_sprintf("%s cannot be run: %s", path, why));
}

int intent_install_services(const struct intent_site *site, const char *version, json_t **ret_new,
			    struct intent_error *err)
{
	intent_free_auto char *path = intent_install_path(site, version);
	intent_free_auto char *launch = intent_format("%s/bin/launch", path);
	struct stat seen;

	if (intent_file_stat(path, AT_SYMLINK_NOFOLLOW, &seen, err))
		return err->code;
	if (!S_ISDIR(seen.st_mode))
		return intent_fail(err, INTENT_EABSENT, "%s: is no directory", path);
	int code = intent_file_stat(launch, 0, &seen, err);
	if (code && code != INTENT_EABSENT)
		return code;
	if (code)
		*ret_new = cannot_run(path, "it has no bin/launch, a program or a directory of programs");
	else if (is_program(&seen))
		*ret_new = json_pack("[s]", site->app);
	else if (!S_ISDIR(seen.st_mode))
		*ret_new = cannot_run(launch, "it is not executable");
	else if (launch_directory(site->app, launch, ret_new, err))
		return err->code;
	if (json_is_array(*ret_new) && !json_array_size(*ret_new)) {
		json_decref(*ret_new);
		*ret_new = cannot_run(launch, "no program is in it");
	}
	return 0;
}

int intent_install_current(const struct intent_site *site, char **ret_owned, char foreign[512],
			   struct intent_error *err)
{
	intent_free_auto char *link = intent_format("%s/current", site->basedir);
	intent_free_auto char *prefix = intent_format("%s/installs/%s_", site->basedir, site->app);
	intent_free_auto char *target = NULL;

	if (!link || !prefix)
		return intent_fail(err, -ENOMEM, "%s: out of memory", site->app);
	int code = intent_link_read(link, &target, err);
	if (code && code != INTENT_ENOTOURS)
		return code;
	*ret_owned = NULL;
	*foreign = '\0';
	if (code) {
		snprintf(foreign, 512, "%.400s is not a link; move it away", link);
		return 0;
	}
	if (!intent_starts_with(target, prefix) || strchr(target + strlen(prefix), '/')) {
		snprintf(foreign, 512,
			 "%.128s points at %.128s, which is no version of %.64s below %.100s/installs; remove it",
			 link, target, site->app, site->basedir);
		return 0;
	}
	*ret_owned = strdup(target + strlen(prefix));
	return *ret_owned ? 0 : intent_fail(err, -ENOMEM, "%s: out of memory", site->app);
}
