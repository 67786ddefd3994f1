/* A ref as a revision, its content, and a checkout of that. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <intent/digest.h>
#include <intent/file.h>
#include "builder.h"

#define FORMAT 1             /* of what is built: another number builds everything anew */
#define WATCHED_MAX 1000     /* directories */

int builder__target(const struct builder *builder, const char *name, struct builder_target *ret,
		    struct intent_error *err)
{
	size_t i;
	json_t *wanted;

	json_array_foreach(json_object_get(builder->intent, "wanted"), i, wanted)
		if (!strcmp(intent_json_string(wanted, "target", ""), name)) {
			const json_t *build = json_object_get(wanted, "build");

			*ret = (struct builder_target){
				.wanted = wanted, .name = intent_json_string(wanted, "target", ""),
				.recipe = intent_json_string(wanted, "recipe", ""),
				.ref = intent_json_string(wanted, "ref", ""),
				.image = json_object_get(build, "image"), .tarball = json_object_get(build, "tarball"),
			};
			return 0;
		}
	return intent_fail(err, INTENT_ESTALE, "%s is wanted no more", name);
}

/* The application's source, at the target's ref. */
static int open_source(const struct builder *builder, const struct builder_target *target, struct intent_source *ret,
		       struct intent_error *err)
{
	const char *path = intent_json_string(builder->intent, "path", "");
	struct intent_source source;
	char *whole, *ref;

	if (intent_source_parse(intent_json_string(builder->intent, "repo", ""),
				builder__option(builder, "github", "https://github.com/"), &source, err) < 0)
		return err->code;
	whole = intent_format("%s%s%.*s", source.path, *source.path && *path ? "/" : "",
			      (int)(strlen(path) - intent_ends_with(path, "/")), path);
	/* HEAD of a repository is what its URL means without a ref. */
	ref = *target->ref ? strdup(target->ref) : NULL;
	free(source.path);
	source.path = whole;
	if (ref && strcmp(ref, "HEAD")) {
		free(source.ref);
		source.ref = ref;
	} else {
		free(ref);
	}
	*ret = source;
	return 0;
}

static struct intent_git git_of(struct builder *builder)
{
	return (struct intent_git){builder->repository, builder__cancelled, builder};
}

/* Asked again and again, not waited for in the kernel: a stop must get through. */
static int lock_git(struct builder *builder, int *ret_fd, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/git.lock", builder->home);
	const struct timespec pause = {.tv_nsec = 50000000};

	while (intent_file_lock(path, LOCK_EX | LOCK_NB, true, ret_fd, err) < 0) {
		if (err->code != INTENT_EBUSY)
			return err->code;
		if (builder__cancel(builder))
			return intent_fail(err, INTENT_ESTALE, "stopped while another build used the repository");
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* What is not there may come: nobody is at fault yet. */
static int waits(struct intent_error *err)
{
	if (err->code == INTENT_EABSENT)
		err->code = INTENT_EWAITING;
	return err->code;
}

int builder__resolve(struct builder *builder, struct builder_target *target, struct intent_error *err)
{
	const char *commit = intent_json_string(target->wanted, "commit", NULL);
	struct intent_git git = git_of(builder);
	struct intent_source source;
	intent_close_auto int lock = -1;
	int code;

	if (!commit)
		commit = intent_json_string(builder->resolved, target->ref, NULL);
	if (commit) {
		snprintf(target->revision, sizeof(target->revision), "%s", commit);
		return 0;
	}
	if (open_source(builder, target, &source, err) < 0 || lock_git(builder, &lock, err) < 0)
		return err->code;
	code = intent_source_resolve(&source, &git, target->revision, err);
	intent_source_release(&source);
	if (code)
		return waits(err);
	json_object_set_new(builder->resolved, target->ref, json_string(target->revision));
	return 0;
}

static int find_tree(struct builder *builder, struct builder_target *target, struct intent_error *err)
{
	intent_free_auto char *place = intent_format("%s %s", target->revision,
						     intent_json_string(builder->intent, "path", ""));
	const json_t *known = place ? builder__recall(builder, "trees", place) : NULL;
	struct intent_git git = git_of(builder);
	struct intent_source source;
	intent_close_auto int lock = -1;
	int code;

	if (known) {
		snprintf(target->tree, sizeof(target->tree), "%s", json_string_value(known));
	} else {
		if (open_source(builder, target, &source, err) < 0 || lock_git(builder, &lock, err) < 0)
			return err->code;
		code = intent_source_tree(&source, &git, target->revision, target->tree, err);
		intent_source_release(&source);
		if (code)
			return waits(err);
	}
	builder__remember(builder, "trees", place, json_string(target->tree));
	return 0;
}

int builder__identify(struct builder *builder, struct builder_target *target, struct intent_error *err)
{
	intent_json_auto json_t *input = NULL;

	if (find_tree(builder, target, err) < 0)
		return err->code;
	input = json_pack("{si ss ss sO}", "format", FORMAT, "app", builder->app, "tree", target->tree, "recipe",
			  json_object_get(target->wanted, "build"));
	intent_json_digest(input, target->input);
	return 0;
}

int builder__checkout(struct builder *builder, const struct builder_target *target, char **ret_owned,
		      struct intent_error *err)
{
	intent_free_auto char *work = intent_format("%s/work", builder->home);
	char *directory = intent_format("%s/work/%.*s", builder->home, BUILDER_SHORT, target->input);
	struct intent_git git = git_of(builder);
	struct intent_source source;
	intent_close_auto int lock = -1;
	int code;

	/* Not what an earlier build, cut short, may have written into it. */
	if (!(code = intent_directory_make(work, 0700, err)) && !(code = intent_temp_sweep(work, NULL, err)) &&
		 !(code = intent_tree_remove(directory, err)) && !(code = lock_git(builder, &lock, err)) &&
		 !(code = open_source(builder, target, &source, err))) {
		char tree[INTENT_COMMIT_MAX];

		/* The tree by its own name, only what is below the path; no server gives one: the commit brings it. */
		code = intent_source_tree(&source, &git, target->revision, tree, err);
		if (!code)
			code = intent_source_checkout(&source, &git, target->tree, directory, err);
		intent_source_release(&source);
	}
	if (code)
		free(directory);
	else
		*ret_owned = directory;
	return code;
}

/* ---- waking ---- */

static void watch_below(struct builder *builder, const char *path, int *left)
{
	DIR *listing = (*left)-- > 0 ? opendir(path) : NULL;
	struct dirent *entry;

	if (!listing)
		return;
	intent_round_watch(builder->round, path);
	while ((entry = readdir(listing))) {
		intent_free_auto char *below = intent_format("%s/%s", path, entry->d_name);

		/* What git leaves out needs no watch, and what packages bring is not edited. */
		if (below && entry->d_type == DT_DIR && strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
		    strcmp(entry->d_name, ".git") && strcmp(entry->d_name, "node_modules"))
			watch_below(builder, below, left);
	}
	closedir(listing);
}

void builder__watch(struct builder *builder)
{
	struct builder_target none = {.ref = ""};
	struct intent_error ignored;
	struct intent_source source;
	int left = WATCHED_MAX;

	if (open_source(builder, &none, &source, &ignored) < 0)
		return;
	if (source.is_directory) {
		/* Also while it is not there. */
		intent_round_watch(builder->round, source.url);
		watch_below(builder, source.url, &left);
	}
	intent_source_release(&source);
}
