/*
 * A directory of which each file is a variable: <intent/envdir.h>. It is replaced as a whole: a new one is made
 * beside it, and the two change names.
 */
#include <errno.h>
#include <fcntl.h>
#include <intent/envdir.h>
#include <intent/file.h>
#include "sink-place.h"

#define MARK ".platypus.json" /* no variable: its name begins with a dot */
#define MARK_MAX 4096

static const char *path_of(const struct injector_sink *sink)
{
	return intent_json_string(sink->document, "path", "/");
}

/* Who may read a file may look into its directory. */
static mode_t directory_mode(mode_t mode)
{
	return mode | 0700 | ((mode & 0444) >> 2);
}

/* ---- what is there ---- */

/* NULL: it is ours; else whose it is, owned. */
static char *whose(const struct injector_sink *sink, int directory)
{
	intent_free_auto char *bytes = NULL;
	intent_json_auto json_t *mark = NULL;
	struct intent_error err;
	const char *owner;
	size_t count;

	if (intent_file_read(directory, MARK, MARK_MAX, &bytes, &count, &err) < 0 ||
	    intent_json_parse(bytes, count, 0, &mark, &err) < 0)
		return strdup("it has no mark of ours");
	owner = intent_json_string(mark, "injection", "?");
	return !strcmp(owner, sink->owner) ? NULL : intent_format("it is of the injection %.300s", owner);
}

/* Empty, and nobody's: as good as none. */
static bool is_empty(const char *path)
{
	DIR *listing = opendir(path);
	struct dirent *entry;
	bool empty = listing != NULL;

	while (empty && (entry = readdir(listing)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	if (listing)
		closedir(listing);
	return empty;
}

static json_t *digests(const struct injector *injector, const json_t *variables)
{
	json_t *keys = json_object(), *value;
	const char *name;

	json_object_foreach((json_t *)(uintptr_t)variables, name, value) {
		char digest[INJECTOR_DIGEST] = "unset";

		if (json_is_string(value))
			injector__digest(injector, json_string_value(value), json_string_length(value), digest);
		json_object_set_new(keys, name, json_string(digest));
	}
	return keys;
}

static void compare_rights(int directory, const struct injector_rights *rights, const json_t *variables,
			   json_t *observed)
{
	const char *name;
	json_t *ignored;
	struct stat seen;

	if (fstat(directory, &seen) == 0)
		injector__compare_rights(&seen, rights, directory_mode(rights->mode), observed);
	json_object_foreach((json_t *)(uintptr_t)variables, name, ignored)
		if (fstatat(directory, name, &seen, AT_SYMLINK_NOFOLLOW) == 0)
			injector__compare_rights(&seen, rights, rights->mode, observed);
}

static int look(struct injector *injector, const struct injector_sink *sink, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *variables = NULL;
	intent_free_auto char *foreign = NULL;
	struct injector_rights rights;
	intent_close_auto int directory = open(path_of(sink), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool is_bad;

	if (directory < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		return intent_fail_errno(err, "%s", path_of(sink));
	if (directory < 0 && errno != ENOENT) {
		*ret_new = json_pack("{ss ss}", "state", "foreign", "by", "it is no directory");
		return 0;
	}
	if (directory < 0 || is_empty(path_of(sink))) {
		*ret_new = json_pack("{ss}", "state", "absent");
		return 0;
	}
	/* What is to go need not have an owner that still exists. */
	if (sink->wanted && injector__rights(sink, &rights, err) < 0)
		return err->code;
	foreign = whose(sink, directory);
	is_bad = intent_envdir_read(path_of(sink), 0, &variables, err) < 0;
	/* What somebody spoilt is put right, what is somebody else's need not be understood. */
	*ret_new = json_pack("{ss ss* so}", "state", foreign ? "foreign" : "ours", "by", foreign,
			     "keys", digests(injector, variables));
	if (!foreign && sink->wanted)
		compare_rights(directory, &rights, variables, *ret_new);
	if (!foreign && is_bad)
		json_object_set_new(*ret_new, "differs", json_string("it is not as we write it"));
	return 0;
}

static int observe(struct injector *injector, const struct injector_sink *sink, json_t **ret_new,
		   struct intent_error *err)
{
	const char *name;
	intent_close_auto int parent = injector__open_parent(path_of(sink), false, &name, err);

	intent_round_watch(injector->round, path_of(sink));
	if (look(injector, sink, ret_new, err) < 0)
		return err->code;
	if (parent >= 0 && injector__has_leftovers(parent))
		json_object_set_new(*ret_new, "differs", json_string("what a killed write left is beside it"));
	return 0;
}

/* ---- making it so ---- */

static int write_file(int directory, const char *name, const char *bytes, size_t count,
		      const struct injector_rights *rights, struct intent_error *err)
{
	intent_close_auto int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || intent_write_all(fd, bytes, count) < 0 ||
	    (!geteuid() && fchown(fd, rights->uid, rights->gid) < 0) || fchmod(fd, rights->mode) < 0 || fsync(fd) < 0)
		return intent_fail_errno(err, "%s: cannot write", name);
	return 0;
}

/* In the form that chpst -e reads; INTENT_EREFUSED names what that cannot hold. */
static int write_variable(int directory, const char *name, const json_t *value, const struct injector_rights *rights,
			  struct intent_error *err)
{
	intent_text_auto struct intent_text line = INTENT_TEXT_INIT;
	size_t length = json_string_length(value);
	int code;

	intent_text_add(&line, json_string_value(value), length);
	if (*name == '.')
		return intent_fail(err, INTENT_EREFUSED, "%s: a name that begins with a dot is no variable; leave it out with "
				   "\"keys\"", name);
	if (length && strchr(" \t", line.data[length - 1]))
		return intent_fail(err, INTENT_EREFUSED, "the value of %s ends in a blank, which an envdir cannot hold", name);
	if (length + 1 > INTENT_ENVDIR_VALUE_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "the value of %s is longer than a variable can be", name);
	for (size_t i = 0; i < length; i++)
		if (line.data[i] == '\n')
			line.data[i] = '\0';
	intent_text_puts(&line, "\n");
	code = write_file(directory, name, line.data, line.length, rights, err);
	explicit_bzero(line.data, line.length);
	return code;
}

static int fill(int directory, const struct injector_sink *sink, const json_t *values,
		const struct injector_rights *rights,
		struct intent_error *err)
{
	intent_json_auto json_t *mark = json_pack("{ss ss}", "agent", "configmap-injector", "injection", sink->owner);
	intent_free_auto char *text = intent_json_canonical(mark);
	const char *name;
	json_t *value;

	if (write_file(directory, MARK, text, strlen(text), rights, err) < 0)
		return err->code;
	json_object_foreach((json_t *)(uintptr_t)values, name, value)
		if (write_variable(directory, name, value, rights, err) < 0)
			return err->code;
	if ((!geteuid() && fchown(directory, rights->uid, rights->gid) < 0) ||
	    fchmod(directory, directory_mode(rights->mode)) < 0 || fsync(directory) < 0)
		return intent_fail_errno(err, "cannot write");
	return 0;
}

/* Into place. Where a file system cannot let the two change names, there is a moment without one. */
static int publish(int parent, const char *temp, const char *name, struct intent_error *err)
{
	char aside[256];

	if (renameat(parent, temp, parent, name) == 0) /* nothing there, or an empty one */
		return fsync(parent) ? intent_fail_errno(err, "cannot sync its directory") : 0;
	if (renameat2(parent, temp, parent, name, RENAME_EXCHANGE) == 0) {
		snprintf(aside, sizeof(aside), "%s", temp);
	} else {
		intent_temp_name(aside, name);
		if (renameat(parent, name, parent, aside) < 0 || renameat(parent, temp, parent, name) < 0)
			return intent_fail_errno(err, "cannot be replaced");
	}
	if (fsync(parent) < 0)
		return intent_fail_errno(err, "cannot sync its directory");
	return intent_tree_remove_at(parent, aside, err);
}

static int write_values(struct injector *injector, const struct injector_sink *sink, const json_t *values,
			struct intent_error *err)
{
	struct injector_rights rights;
	struct intent_error ignored;
	const char *name;
	char temp[256];
	int code;

	(void)injector;
	if (injector__rights(sink, &rights, err) < 0)
		return err->code;
	intent_close_auto int parent = injector__open_parent(path_of(sink), true, &name, err);
	if (parent < 0)
		return parent;
	intent_temp_name(temp, name);
	if (mkdirat(parent, temp, 0700) < 0)
		return intent_fail_errno(err, "cannot make a directory beside it");
	intent_close_auto int directory = openat(parent, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	code = directory < 0 ? intent_fail_errno(err, "cannot open") : fill(directory, sink, values, &rights, err);
	if (!code)
		code = publish(parent, temp, name, err);
	if (code)
		intent_tree_remove_at(parent, temp, &ignored);
	return code;
}

static int remove_directory(struct injector *injector, const struct injector_sink *sink, struct intent_error *err)
{
	intent_json_auto json_t *seen = NULL;

	if (look(injector, sink, &seen, err) < 0)
		return err->code;
	return strcmp(intent_json_string(seen, "state", ""), "ours") ? 0 : intent_tree_retire(path_of(sink), err);
}

const struct injector_sink_kind injector__envdir = {"envdir", observe, write_values, remove_directory};
