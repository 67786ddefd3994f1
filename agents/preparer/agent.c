/*
 * pp-preparer: every version that intent names is installed on this node, whole.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <linux/capability.h>
#include <intent/fetch.h>
#include <intent/file.h>
#include "preparer.h"

enum { RECORD_MAX = 64 << 10 };

/* Root without CAP_DAC_OVERRIDE stops where any other would: said, because nobody expects it. */
static int explain(int code, struct intent_error *err)
{
	if (geteuid() != 0 || (code != -EACCES && code != -EPERM))
		return code;
	return intent_fail(err, code, "%s. Root, too, is held to permissions here: give it to root, or let "
			   "others in (chmod o+rx)", err->msg);
}

/* ---- observe ---- */

static const char *kind_words(mode_t mode)
{
	return S_ISREG(mode) ? "a regular file" : S_ISLNK(mode) ? "a symbolic link that leads nowhere" :
		"neither a directory nor a file";
}

/*
 * An installation that is ours has a record that says so; what has none may be anybody's. *ret_new NULL: there
 * is none.
 */
static int look_at(int installs_fd, const char *name, const char *app, json_t **ret_new, bool *ret_ours,
		   struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/" PREPARER_RECORD, name), *text = NULL;
	intent_json_auto json_t *record = NULL;
	struct intent_error ignored;
	struct stat st;
	size_t count;

	*ret_ours = false;
	*ret_new = NULL;
	if (fstatat(installs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : intent_fail_errno(err, "%s", name);
	/* Somebody's link to a directory serves as an installation, but is not ours. */
	if (S_ISLNK(st.st_mode) && fstatat(installs_fd, name, &st, 0) == 0 && S_ISDIR(st.st_mode)) {
		*ret_new = json_pack("{s:b}", "ours", 0);
		return 0;
	}
	if (!S_ISDIR(st.st_mode)) {
		*ret_new = json_pack("{s:b, s:s}", "ours", 0, "obstacle", kind_words(st.st_mode));
		return 0;
	}
	if (intent_file_read(installs_fd, path, RECORD_MAX, &text, &count, err) == 0)
		(void)intent_json_parse(text, count, RECORD_MAX, &record, &ignored);
	else if (err->code == -EIO)
		return err->code;
	if (strcmp(intent_json_string(record, "app", ""), app) != 0 ||
	    !intent_json_string(record, "version", NULL)) {
		*ret_new = json_pack("{s:b}", "ours", 0);
		return 0;
	}
	*ret_ours = true;
	*ret_new = json_pack("{s:b, s:s, s:s*, s:s*}", "ours", 1, "version",
			     intent_json_string(record, "version", ""), "sha256",
			     intent_json_string(record, "sha256", NULL), "installed",
			     intent_json_string(record, "installed", NULL));
	return 0;
}

struct looking {
	struct intent_round *round;
	const char *app, *basedir;
	char *path;            /* of installs; owned */
	json_t *installs, *foreign, *links; /* owned until packed */
	int ours, leftovers;
};

static int look_at_installs(struct looking *look, struct intent_error *err)
{
	size_t prefix = strlen(look->app);
	DIR *directory = opendir(look->path);
	struct dirent *entry;
	int code = 0;

	if (!directory)
		return errno == ENOENT ? 0 : intent_fail_errno(err, "%s", look->path);
	while (!code && (errno = 0, entry = readdir(directory))) {
		const char *name = entry->d_name;
		json_t *install;
		bool ours;

		look->leftovers += intent_temp_is_stale(name);
		if (strncmp(name, look->app, prefix) != 0 || name[prefix] != '_' ||
		    !intent_utf8_is_clean(name, strlen(name)))
			continue;
		code = look_at(dirfd(directory), name, look->app, &install, &ours, err);
		if (code)
			break;
		look->ours += ours;
		if (install && !ours)
			json_array_append_new(look->foreign, json_string(name));
		if (install)
			json_object_set_new(look->installs, name, install);
	}
	if (!code && errno)
		code = intent_fail_errno(err, "%s", look->path);
	closedir(directory);
	return code;
}

/* The installation that a link names: by what it leads to, or, dangling, by its words. */
static int look_at_link(const struct looking *look, const char *link, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", look->basedir, link), *target = NULL;
	const char *name;
	json_t *install;
	struct stat there, st;
	bool leads;
	int code = intent_link_read(path, &target, err);

	if (code == INTENT_EABSENT || code == INTENT_ENOTOURS)
		return 0;
	if (code)
		return code;
	leads = stat(path, &there) == 0;
	json_object_foreach(look->installs, name, install) {
		intent_free_auto char *whole = intent_format("%s/%s", look->path, name);

		if (leads && stat(whole, &st) == 0 && st.st_ino == there.st_ino &&
		    st.st_dev == there.st_dev)
			break;
	}
	/* A link that leads elsewhere keeps nothing here. */
	if (!name && leads)
		return 0;
	if (!name)
		name = strrchr(target, '/') ? strrchr(target, '/') + 1 : target;
	if (json_object_set_new(look->links, link, json_string(name)))
		return intent_fail(err, INTENT_EREFUSED, "%s leads to a name that is not UTF-8: make it lead to an installation, "
				   "or remove it", path);
	return 0;
}

/* Artifacts in a directory: wake when they appear. */
static void watch_repository(const struct looking *look)
{
	const char *repo = intent_json_string(intent_round_options(look->round), "repo", "");
	intent_free_auto char *path = intent_fetch_path(repo), *whole = NULL;

	if (path)
		whole = intent_format("%s/%s", path, look->app);
	if (whole)
		intent_round_watch(look->round, whole);
}

static int look_at_all(struct looking *look, struct intent_error *err)
{
	int expired = 0, fresh = 0, code = look_at_installs(look, err);

	if (!code)
		code = look_at_link(look, "current", err);
	if (!code)
		code = look_at_link(look, "previous", err);
	if (!code)
		code = preparer_cache_look(intent_round_state_dir(look->round), false, &expired, &fresh, err);
	look->leftovers += expired;
	if (fresh > 0)
		intent_round_again(look->round, PREPARER_CACHE_MS + 1000);
	return code;
}

static int observe(struct intent_round *round, const json_t *intent, json_t **ret_new_observed,
		   struct intent_error *err)
{
	struct looking look = {
		.round = round,
		.app = intent_json_string(intent, "app", ""),
		.basedir = intent_json_string(intent, "basedir", ""),
		.installs = json_object(), .foreign = json_array(), .links = json_object(),
	};
	int code = 0;

	if (!intent_json_boolean(intent, "absent", false)) {
		look.path = intent_format("%s/" PREPARER_INSTALLS, look.basedir);
		code = look_at_all(&look, err);
		intent_round_watch(round, look.path);
		watch_repository(&look);
		intent_round_owned(round, look.ours);
		/* Nobody vouches for these; said, because nobody else would. */
		if (json_array_size(look.foreign) > 0)
			intent_round_detail(round, "unrecorded", json_incref(look.foreign));
	}
	free(look.path);
	json_decref(look.foreign);
	*ret_new_observed = json_pack("{s:o, s:o, s:i}", "installs", look.installs, "links", look.links,
				      "leftovers", look.leftovers);
	if (code)
		json_decref(*ret_new_observed), *ret_new_observed = NULL;
	return explain(code, err);
}

/* ---- apply ---- */

static bool is_linked(const json_t *intent, const char *install)
{
	static const char *const links[] = {"current", "previous"};
	struct stat there, st;

	for (size_t i = 0; i < 2; i++) {
		intent_free_auto char *path = intent_format("%s/%s", intent_json_string(intent, "basedir", ""),
							    links[i]);

		/* In doubt it is. */
		if (stat(path, &there) == 0 && (stat(install, &st) < 0 ||
						(st.st_ino == there.st_ino && st.st_dev == there.st_dev)))
			return true;
	}
	return false;
}

/*
 * setlive holds the same lock, shared, from looking at an installation until its service is
 * up: so whoever comes second sees what the first one did.
 */
static int try_remove(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *intent = intent_round_intent(round);
	const char *name = intent_json_string(action, "subject", "");
	intent_free_auto char *path = intent_format("%s/" PREPARER_INSTALLS "/%s",
						    intent_json_string(intent, "basedir", ""), name);
	intent_json_auto json_t *install = NULL;
	intent_close_auto int lock = -1, directory = -1;
	bool ours = false;
	int code;

	if (strchr(name, '/'))
		return intent_fail(err, -EINVAL, "'%s' names no installation", name);
	code = intent_file_lock(path, LOCK_EX | LOCK_NB, false, &lock, err);
	if (code == INTENT_EABSENT)
		return 0;
	if (code)
		return intent_wrap(err, "%s is in use", path);
	if (is_linked(intent, path))
		return intent_fail(err, INTENT_EBUSY, "%s is named by current or previous now", path);
	directory = open(intent_json_string(intent, "basedir", ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return intent_fail_errno(err, "%s", intent_json_string(intent, "basedir", ""));

	intent_free_auto char *below = intent_format(PREPARER_INSTALLS "/%s", name);

	if (look_at(directory, below, intent_json_string(intent, "app", ""), &install, &ours, err) < 0)
		return intent_wrap(err, "%s", path);
	if (!ours)
		return intent_fail(err, INTENT_ENOTOURS, "%s has no record of ours any more", path);
	intent_round_log(round, INTENT_INFO, "Removing %s", path);
	return intent_tree_retire(path, err);
}

static int remove_install(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	return explain(try_remove(round, action, err), err);
}

static int install(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	return explain(preparer_install(round, action, err), err);
}

static int sweep(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/" PREPARER_INSTALLS,
						    intent_json_string(intent_round_intent(round), "basedir", ""));
	int expired, fresh, code;

	(void)action;
	code = intent_temp_sweep(path, NULL, err);
	if (!code)
		code = preparer_cache_look(intent_round_state_dir(round), true, &expired, &fresh, err);
	return explain(code, err);
}

/* ---- the table ---- */

static const struct intent_option options[] = {
	{.name = "repo", .type = INTENT_OPTION_STRING, .metavar = "URL",
	 .help = "where artifacts are: <URL>/<app>/<app>_<version>.tar.gz (.zst, .xz), by file, http or https"},
	{.name = "ca-file", .type = INTENT_OPTION_PATH, .metavar = "FILE",
	 .help = "who must have certified https servers of artifacts, in PEM (default: the system's CAs)"},
	{.name = "require-digest", .type = INTENT_OPTION_FLAG,
	 .help = "refuse an artifact whose sha256 nobody names"},
	{.name = "trusted-keys", .type = INTENT_OPTION_PATH, .metavar = "PATH",
	 .help = "minisign public keys (a file, or a directory of *.pub); each artifact must be signed by one"},
	{.name = "unpack-user", .type = INTENT_OPTION_STRING, .metavar = "USER",
	 .help = "who fetches and unpacks when run as root (default: _platypus, else nobody)"},
	{.name = "keep", .type = INTENT_OPTION_INTEGER, .metavar = "N", .otherwise = "2", .max = 1000,
	 .help = "how many installations that nothing names any more are kept, the newest"},
	{.name = "stall-timeout", .type = INTENT_OPTION_DURATION, .metavar = "TIME", .otherwise = "30s",
	 .min = 100, .max = 86400000,
	 .help = "how long a transfer may stand still; there is no limit in all"},
	{.name = "max-unpacked", .type = INTENT_OPTION_INTEGER, .metavar = "MIB", .otherwise = "4096",
	 .min = 1, .max = 1 << 24, .help = "how large the content of an artifact may be"},
	{.name = "max-entries", .type = INTENT_OPTION_INTEGER, .metavar = "N", .otherwise = "200000",
	 .min = 1, .max = 100000000, .help = "how many files, directories and links an artifact may have"},
	{.name = NULL},
};

/* One version that cannot be had is no reason to go without the others. */
static const struct intent_verb verbs[] = {
	{"install", INTENT_VERB_INDEPENDENT | INTENT_VERB_ASIDE, install},
	{"remove", INTENT_VERB_DESTROYS | INTENT_VERB_INDEPENDENT, remove_install},
	{"sweep", INTENT_VERB_INDEPENDENT, sweep},
	{NULL, 0, NULL},
};

static const struct intent_agent agent = {
	.name = "preparer",
	.summary = "Installs the versions of applications that intent names for this node.",
	.options = options,
	.slicer = &intent_node_services,
	.observe = observe,
	.plan = preparer_plan,
	.verbs = verbs,
	/* Another user for those who fetch and unpack, and their end when they hang. */
	.capabilities = 1ull << CAP_SETUID | 1ull << CAP_SETGID | 1ull << CAP_KILL,
	.programs = INTENT_PROGRAMS_NONE,
};

int main(int argc, char **argv)
{
	return intent_agent_main(&agent, argc, argv);
}
