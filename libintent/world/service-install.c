#include <dirent.h>
#include <errno.h>

#include "supervisor.h"

char *intent_install_path(const struct intent_site *site, const char *version)
{
	return intent_format("%s/installs/%s_%s", site->basedir, site->app, version);
}

static bool is_absence(int code)
{
	return code == ENOENT || code == ENOTDIR || code == ELOOP;
}

/* 1, 0, or -errno: it cannot be told. */
static int is_program(const char *directory, const char *name)
{
	intent_free_auto char *path = intent_format("%s/%s", directory, name);
	struct stat seen;

	if (stat(path, &seen))
		return is_absence(errno) ? 0 : -errno;
	return S_ISREG(seen.st_mode) && seen.st_mode & 0111;
}

static int by_name(const void *a, const void *b)
{
	const json_t *const *left = a, *const *right = b;

	return strcmp(json_string_value(*left), json_string_value(*right));
}

/*
 * One service for each program in bin/launch/, in the order of their names. NULL with errno when they cannot all be
 * seen: what seems to be in no version any more is stopped.
 */
static json_t *launch_directory(const char *app, const char *launch)
{
	DIR *listing = opendir(launch);
	json_t *found[INTENT_LAUNCH_MAX], *names = json_array();
	size_t count = 0;
	int code = listing ? 0 : -errno, one;
	struct dirent *entry;

	while (!code && count < INTENT_LAUNCH_MAX && (errno = 0, entry = readdir(listing))) {
		one = intent_name_is_valid(entry->d_name) ? is_program(launch, entry->d_name) : 0;
		if (one < 0)
			code = one;
		else if (one)
			found[count++] = json_sprintf("%s-%s", app, entry->d_name);
	}
	if (!code && count < INTENT_LAUNCH_MAX && errno)
		code = -errno;
	if (listing)
		closedir(listing);
	if (code) {
		while (count)
			json_decref(found[--count]);
		json_decref(names);
		errno = -code;
		return NULL;
	}
	qsort(found, count, sizeof *found, by_name);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(names, found[i]);
	return names;
}

static json_t *unreadable(const char *path)
{
	return json_pack("{so}", "error", json_sprintf("%s: %s", path, strerror(errno)));
}

json_t *intent_install_services(const struct intent_site *site, const char *version)
{
	intent_free_auto char *path = intent_install_path(site, version);
	intent_free_auto char *launch = path ? intent_format("%s/bin/launch", path) : NULL;
	struct stat seen;

	if (lstat(path, &seen))
		return is_absence(errno) ? NULL : unreadable(path);
	if (!S_ISDIR(seen.st_mode))
		return NULL;
	if (stat(launch, &seen))
		return !is_absence(errno) ? unreadable(launch) : json_pack("{so}", "error",
				 json_sprintf("%s cannot be run: it has no bin/launch, a program "
					      "or a directory of programs",
					      path));
	if (S_ISREG(seen.st_mode) && seen.st_mode & 0111)
		return json_pack("[s]", site->app);
	bool directory = S_ISDIR(seen.st_mode);
	json_t *names = directory ? launch_directory(site->app, launch) : NULL;
	if (directory && !names)
		return unreadable(launch);
	if (json_array_size(names))
		return names;
	json_decref(names);
	return json_pack("{so}", "error",
			 json_sprintf("%s cannot be run: %s", launch,
				      S_ISDIR(seen.st_mode) ? "no program is in it" :
							      "it is not executable"));
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
