/* What files and directories of variables have in common: to whom they belong, and the directory that they stand in. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <intent/file.h>
#include "sink-place.h"

int injector__rights(const struct injector_sink *sink, struct injector_rights *ret, struct intent_error *err)
{
	const char *owner = intent_json_string(sink->document, "owner", NULL), *group;
	char user[66];

	*ret = (struct injector_rights){
		.uid = geteuid(), .gid = getegid(),
		.mode = (mode_t)strtoul(intent_json_string(sink->document, "mode", "0600"), NULL, 8),
	};
	if (!owner)
		return 0;
	snprintf(user, sizeof(user), "%.*s", (int)strcspn(owner, ":"), owner);
	const struct passwd *passwd = getpwnam(user);
	if (!passwd)
		return intent_fail(err, INTENT_EWAITING, "there is no user %s here: create it, or correct \"owner\"", user);
	ret->uid = passwd->pw_uid;
	ret->gid = passwd->pw_gid;
	group = strchr(owner, ':');
	const struct group *found = group ? getgrnam(group + 1) : NULL;
	if (group && !found)
		return intent_fail(err, INTENT_EWAITING, "there is no group %s here: create it, or correct \"owner\"",
				   group + 1);
	if (found)
		ret->gid = found->gr_gid;
	if (geteuid() && (ret->uid != geteuid() || ret->gid != getegid()))
		return intent_fail(err, INTENT_EREFUSED, "only root can give it to %s: run pp-configmap-injector as root, or "
				   "as that user, or leave \"owner\" out", owner);
	return 0;
}

void injector__compare_rights(const struct stat *seen, const struct injector_rights *rights, mode_t mode,
			      json_t *observed)
{
	if ((seen->st_mode & 07777) != mode)
		json_object_set_new(observed, "differs", json_sprintf("its mode is %04o, not %04o", seen->st_mode & 07777, mode));
	else if (seen->st_uid != rights->uid || seen->st_gid != rights->gid)
		json_object_set_new(observed, "differs", json_sprintf("it belongs to %u:%u, not %u:%u", seen->st_uid,
				    seen->st_gid, rights->uid, rights->gid));
}

int injector__open_parent(const char *path, bool create, const char **ret_name, struct intent_error *err)
{
	intent_free_auto char *parent = strdup(path);
	int fd;

	*ret_name = strrchr(path, '/') + 1;
	parent[*ret_name == path + 1 ? 1 : *ret_name - path - 1] = '\0';
	if (create && intent_directory_make(parent, 0755, err) < 0)
		return err->code;
	/* What a killed write left holds values. */
	if (create && intent_temp_sweep(parent, NULL, err) < 0)
		return err->code;
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ?
			intent_fail(err, INTENT_EABSENT, "%s: is not there", parent) :
			intent_fail_errno(err, "%s: cannot open", parent);
	return fd;
}

bool injector__has_leftovers(int dirfd)
{
	intent_close_auto int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	bool found = false;

	while (listing && !found && (entry = readdir(listing)))
		found = intent_temp_is_stale(entry->d_name);
	if (listing) {
		closedir(listing);
		fd = -1;
	}
	return found;
}
