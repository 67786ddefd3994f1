/* What sinks below a directory share. Not for others. */
#ifndef SINK_PLACE_H
#define SINK_PLACE_H

#include <dirent.h>
#include <sys/stat.h>
#include "injector.h"

struct injector_rights {
	uid_t uid; gid_t gid;
	mode_t mode;              /* of files */
};

/* INTENT_EWAITING: no such user or group yet; INTENT_EREFUSED: who we are cannot give it to them. */
int injector__rights(const struct injector_sink *sink, struct injector_rights *ret, struct intent_error *err);
/* Adds "differs" where they do. */
void injector__compare_rights(const struct stat *seen, const struct injector_rights *rights, mode_t mode, json_t *observed);
/*
 * The directory that an absolute path stands in, as a descriptor, and the path's last part. INTENT_EABSENT; with
 * `create` it is made, and what killed writes left in it is swept.
 */
int injector__open_parent(const char *path, bool create, const char **ret_name, struct intent_error *err);
bool injector__has_leftovers(int dirfd);

#endif
