/*
 * Where source is: a git repository or a directory, and a place in it.
 *
 *	gh://ORG/REPO[//PATH][@REF]         GitHub, or what stands in for it
 *	https://HOST/REPO[//PATH][@REF]     any URL that git takes: https, http, ssh, git, file
 *	USER@HOST:REPO[//PATH][@REF]        ssh, in the short form
 *	dir:/DIRECTORY[//PATH]              what is in a directory now, for development
 *
 * "git::" before a URL and "?ref=" for "@" are taken too. REF is a branch, a tag or a commit in full;
 * without one, the repository's default branch.
 */
#ifndef INTENT_SOURCE_H
#define INTENT_SOURCE_H

#include <intent/text.h>

#define INTENT_COMMIT_MAX 65 /* room for a commit's name */

struct intent_source {
	char *url;     /* owned: what git takes, or the directory */
	char *path;    /* owned: below its top, "" for the top itself */
	char *ref;     /* owned, or NULL */
	bool is_directory;
};

/* NULL, or why a string is no source (static). */
const char *intent_check_source(const char *string);

/* `github`: what "gh://" stands for, "https://github.com/". INTENT_EMALFORMED. */
int intent_source_parse(const char *string, const char *github, struct intent_source *ret,
			struct intent_error *err);
void intent_source_release(struct intent_source *source);

struct intent_git {
	const char *repository;   /* a bare repository of ours, made when it is missing */
	bool (*cancel)(void *data); /* asked now and then; true ends git (INTENT_ESTALE). May be NULL */
	void *data;
};

/*
 * The commit that it is now: of the ref, asked of the server; of a directory, the git tree of its
 * content (without .terraform and Terraform's state files). INTENT_EABSENT: no such ref or directory;
 * INTENT_ECLASH: both a branch and a tag; INTENT_EUNAVAILABLE.
 */
int intent_source_resolve(const struct intent_source *source, const struct intent_git *git,
			  char ret_commit[INTENT_COMMIT_MAX], struct intent_error *err);

/*
 * The git tree of source->path at that commit: the digest of what is there, names and modes included. The commit
 * is fetched if need be. INTENT_EABSENT: there is no such directory in it.
 */
int intent_source_tree(const struct intent_source *source, const struct intent_git *git, const char *commit,
		       char ret_tree[INTENT_COMMIT_MAX], struct intent_error *err);

/*
 * Make `directory`, whose parent is there, of that commit: whole or not at all. It need not be the newest.
 * One that is there already is left as it is.
 */
int intent_source_checkout(const struct intent_source *source, const struct intent_git *git, const char *commit,
			   const char *directory, struct intent_error *err);

#endif
