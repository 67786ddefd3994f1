/* Sources: reading their names, and having git resolve and check them out. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <intent/child.h>
#include <intent/file.h>
#include <intent/source.h>

#define RESOLVE_MS 60000
#define FETCH_MS 900000

/* ---- names ---- */

/* The parts of a source, as ranges of it. */
struct parts {
	const char *url, *path, *ref;
	size_t url_length, path_length;
	bool github, directory;
};

static bool is_plain(const char *string, size_t length, const char *also)
{
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)string[i]) && !strchr("._-/+", string[i]) && !strchr(also, string[i]))
			return false;
	return true;
}

static bool climbs(const char *path, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((!i || path[i - 1] == '/') && !strncmp(path + i, "..", 2) &&
		    (i + 2 >= length || path[i + 2] == '/'))
			return true;
	return false;
}

/* Where the path of a git URL begins, or why it is none. */
static const char *find_path(const char *string, const char **ret_path)
{
	static const char *const schemes[] = {"https://", "http://", "ssh://", "git://", "file://"};
	const char *colon = strchr(string, ':'), *at = strchr(string, '@');

	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		const char *host = string + strlen(schemes[i]);

		if (!intent_starts_with(string, schemes[i]))
			continue;
		if (memchr(host, '@', strcspn(host, "/?#")) && (i < 2 || memchr(host, ':', strcspn(host, "@"))))
			return "must not carry a user or password: whoever reads the store would see it";
		*ret_path = host + strcspn(host, "/");
		return **ret_path ? NULL : "names no repository";
	}
	if (strstr(string, "://") || !at || !colon || at > colon || strcspn(string, "/") < (size_t)(colon - string))
		return "must be gh://ORG/REPO, a git URL (https, ssh, git, file) or dir:/DIRECTORY, "
		       "with //PATH and @REF where wanted";
	*ret_path = colon + 1;
	return **ret_path ? NULL : "names no repository";
}

static const char *split_ref(const char *path, size_t *length, struct parts *parts)
{
	const char *query = strstr(path, "?ref="), *at = strrchr(path, '@');

	if (query)
		at = query;
	if (!at)
		return NULL;
	parts->ref = at + (query ? 5 : 1);
	*length = (size_t)(at - path);
	if (!*parts->ref || *parts->ref == '-' || !is_plain(parts->ref, strlen(parts->ref), "@=") ||
	    strstr(parts->ref, "..") || intent_ends_with(parts->ref, "/"))
		return "has a ref that is no branch, tag or commit";
	return NULL;
}

static const char *split(const char *string, struct parts *parts)
{
	const char *path, *why, *deeper;
	size_t length;

	memset(parts, 0, sizeof(*parts));
	if (!intent_utf8_is_clean(string, strlen(string)) || strpbrk(string, " \"'\\"))
		return "must not contain blanks, quotes or control characters";
	string += intent_starts_with(string, "git::") ? 5 : 0;
	parts->directory = intent_starts_with(string, "dir:");
	parts->github = intent_starts_with(string, "gh:");
	path = string += parts->directory ? 4 : parts->github ? 3 : 0;
	if (parts->github)
		path = string += intent_starts_with(string, "//") ? 2 : 0;
	else if (!parts->directory && (why = find_path(string, &path)))
		return why;
	length = strlen(path);
	if (!parts->directory && (why = split_ref(path, &length, parts)))
		return why;
	if (parts->directory && (*string != '/' || string[1] == '/'))
		return "must be dir: and an absolute path";
	deeper = memmem(path, length, "//", 2);
	parts->url = string;
	parts->url_length = (size_t)((deeper ? deeper : path + length) - string);
	parts->path = deeper ? deeper + 2 : "";
	parts->path_length = deeper ? (size_t)(path + length - parts->path) : 0;
	if (parts->github && (!memchr(string, '/', parts->url_length) || !is_plain(string, parts->url_length, "")))
		return "must be gh://ORG/REPO";
	if (*string == '-' || climbs(path, length) || *parts->path == '/')
		return "must not contain \"..\", or a path that begins with a slash or -";
	return NULL;
}

const char *intent_check_source(const char *string)
{
	struct parts parts;

	return split(string, &parts);
}

int intent_source_parse(const char *string, const char *github, struct intent_source *ret,
			struct intent_error *err)
{
	struct parts parts;
	const char *why = split(string, &parts);
	struct intent_source source;

	if (why)
		return intent_fail(err, INTENT_EMALFORMED, "source %s %s", string, why);
	if (parts.github)
		source.url = intent_format("%s%s%.*s.git", github, intent_ends_with(github, "/") ? "" : "/",
					   (int)parts.url_length, parts.url);
	else
		source.url = strndup(parts.url, parts.url_length);
	source.path = strndup(parts.path, parts.path_length);
	source.ref = parts.ref ? strdup(parts.ref) : NULL;
	source.is_directory = parts.directory;
	*ret = source;
	return 0;
}

void intent_source_release(struct intent_source *source)
{
	free(source->url);
	free(source->path);
	free(source->ref);
	*source = (struct intent_source){0};
}

/* ---- git ---- */

#define GIT_ENVIRONMENT_MAX 24

/* What git needs of our environment, and nothing that makes it ask a person. Borrowed. */
static void environment(const char *env[GIT_ENVIRONMENT_MAX], char *index)
{
	static const char *const kept[] = {
		"PATH=", "HOME=", "TZ=", "SSH_AUTH_SOCK=", "GIT_SSH_COMMAND=", "GIT_SSL_CAINFO=", "SSL_CERT_FILE=",
		"http_proxy=", "https_proxy=", "HTTPS_PROXY=", "no_proxy=", "NO_PROXY=", "XDG_CONFIG_HOME=",
	};
	size_t count = 0;
	bool has_ssh = getenv("GIT_SSH_COMMAND") != NULL;

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		for (char **each = environ; each && *each; each++)
			if (intent_starts_with(*each, kept[i])) {
				env[count++] = *each;
				break;
			}
	env[count++] = "LC_ALL=C";
	env[count++] = "GIT_TERMINAL_PROMPT=0";
	env[count++] = "GIT_ASKPASS=true";
	env[count++] = "GIT_ALLOW_PROTOCOL=file:git:http:https:ssh";
	if (!has_ssh)
		env[count++] = "GIT_SSH_COMMAND=ssh -oBatchMode=yes";
	if (index)
		env[count++] = index;
	env[count] = NULL;
}

/* What git said last, without its prefix. */
static void complaint(const struct intent_text *said, char out[200])
{
	const char *start = intent_text_str(said), *end = start + said->length, *line;

	line = strstr(start, "fatal: ");
	line = line ? line + 7 : start;
	end = line + strcspn(line, "\n");
	snprintf(out, 200, "%.*s", (int)(end - line), line);
}

/* argv from a list; `index` (may be NULL): "GIT_INDEX_FILE=...". *ret_out (may be NULL) is owned. */
static int run(const struct intent_git *git, int64_t deadline_ms, char *index, const char *const *argv,
	       char **ret_out, struct intent_error *err)
{
	const char *env[GIT_ENVIRONMENT_MAX];
	struct intent_child_options options = {
		.argv = argv, .env = env, .deadline_ms = deadline_ms, .output_max = 1 << 20,
		.cancelled = git->cancel, .data = git->data,
	};
	struct intent_child_result result = {0};
	char said[200];
	int code;

	environment(env, index);
	code = intent_child_run(&options, &result, err);
	if (!code && result.status) {
		complaint(&result.err, said);
		code = intent_fail(err, INTENT_EUNAVAILABLE, "git: %s", *said ? said : "failed without a word");
	}
	if (!code && ret_out)
		*ret_out = intent_text_steal(&result.out);
	intent_child_result_release(&result);
	return code;
}

/* What a git that was killed left: it would let no other begin. Two at once are not: see make_repository(). */
static int sweep(const char *path, const struct stat *st, int type, struct FTW *at)
{
	const char *name = path + at->base;
	bool is_left = intent_ends_with(name, ".lock") || intent_starts_with(name, "tmp_");

	if (is_left && type == FTW_F && S_ISREG(st->st_mode))
		unlink(path);
	return 0;
}

/*
 * Whole or not at all: one that has some of its files is none to git, and its `init` mends it not.
 * Two commands at once on one repository are its owner's business: he holds his slice's lock.
 */
static int make_repository(const struct intent_git *git, struct intent_error *err)
{
	intent_free_auto char *parent = strdup(git->repository), *whole = NULL;
	char *slash = strrchr(parent, '/');
	const char *argv[] = {"git", "init", "-q", "--bare", "--template=", "--", NULL, NULL};
	struct intent_error ignored;
	struct stat st;
	char temp[256];
	int code;

	if (stat(git->repository, &st) == 0)
		return nftw(git->repository, sweep, 16, FTW_PHYS) < 0 ?
			intent_fail_errno(err, "%s", git->repository) : 0;
	if (!slash)
		return intent_fail(err, -EINVAL, "%s is no absolute path", git->repository);
	*slash = '\0';
	intent_temp_name(temp, "git");
	argv[6] = whole = intent_format("%s/%s", parent, temp);
	code = run(git, RESOLVE_MS, NULL, argv, NULL, err);
	if (!code && rename(whole, git->repository) < 0)
		code = intent_fail_errno(err, "%s", git->repository);
	if (code)
		intent_tree_remove(whole, &ignored);
	return code;
}

static bool is_commit(const char *ref)
{
	size_t length = ref ? strlen(ref) : 0;

	return (length == 40 || length == 64) && strspn(ref, "0123456789abcdef") == length;
}

/* The commit of exactly this name in the output of ls-remote. */
static bool find_line(const char *listing, const char *name, char commit[INTENT_COMMIT_MAX])
{
	for (const char *line = listing; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t hash = strcspn(line, "\t\n"), length = strcspn(line, "\n");

		if (line[hash] != '\t' || hash >= INTENT_COMMIT_MAX || length - hash - 1 != strlen(name) ||
		    strncmp(line + hash + 1, name, strlen(name)))
			continue;
		snprintf(commit, INTENT_COMMIT_MAX, "%.*s", (int)hash, line);
		return is_commit(commit);
	}
	return false;
}

static int resolve_remote(const struct intent_source *source, const struct intent_git *git,
			  char commit[INTENT_COMMIT_MAX], struct intent_error *err)
{
	const char *ref = source->ref;
	bool whole = !ref || intent_starts_with(ref, "refs/");
	intent_free_auto char *branch = intent_format("%s%s", whole ? "" : "refs/heads/", ref ? ref : "HEAD");
	intent_free_auto char *tag = intent_format("%s%s", whole ? "" : "refs/tags/", ref ? ref : "HEAD");
	intent_free_auto char *peeled = intent_format("%s^{}", tag), *listing = NULL;
	const char *argv[] = {"git", "ls-remote", "--", source->url, branch, tag, peeled, NULL};
	char of_branch[INTENT_COMMIT_MAX];
	bool is_branch, is_tag;

	if (run(git, RESOLVE_MS, NULL, argv, &listing, err))
		return intent_wrap(err, "%s", source->url);
	is_branch = find_line(listing, branch, of_branch);
	/* An annotated tag is an object of its own: what it points at counts. */
	is_tag = find_line(listing, peeled, commit) || (!whole && find_line(listing, tag, commit));
	if (is_branch && is_tag && !whole)
		return intent_fail(err, INTENT_ECLASH, "%s: %s is a branch and a tag: say refs/heads/%s or refs/tags/%s",
				   source->url, ref, ref, ref);
	if (!is_branch && !is_tag)
		return intent_fail(err, INTENT_EABSENT, "%s has no branch or tag %s; a commit must be named in full",
				   source->url, ref ? ref : "HEAD");
	if (!is_tag)
		memcpy(commit, of_branch, INTENT_COMMIT_MAX);
	return 0;
}

/* Git's own tree object is the digest: only content, names and modes are in it. */
static int resolve_directory(const struct intent_source *source, const struct intent_git *git,
			     char commit[INTENT_COMMIT_MAX], struct intent_error *err)
{
	intent_free_auto char *tree = intent_format("--work-tree=%s", source->url);
	intent_free_auto char *repository = intent_format("--git-dir=%s", git->repository), *said = NULL;
	const char *add[] = {"git", repository, tree, "-c", "core.bare=false", "-C", source->url, "-c", "core.autocrlf=false",
			     "add", "-A", "-f", "--", ".", ":(exclude,glob)**/.terraform/**",
			     ":(exclude,glob)**/*.tfstate", ":(exclude,glob)**/*.tfstate.*",
			     ":(exclude,glob)**/.*.tfstate.lock.info", NULL};
	const char *write[] = {"git", repository, "write-tree", NULL};
	struct stat st;

	if (stat(source->url, &st) < 0)
		return errno == ENOENT ? intent_fail(err, INTENT_EABSENT, "%s does not exist", source->url) :
					 intent_fail_errno(err, "%s", source->url);
	if (make_repository(git, err) || run(git, FETCH_MS, NULL, add, NULL, err) ||
	    run(git, RESOLVE_MS, NULL, write, &said, err))
		return intent_wrap(err, "%s", source->url);
	said[strcspn(said, "\n")] = '\0';
	if (!is_commit(said))
		return intent_fail(err, INTENT_ECHILD, "%s: git gave no tree but \"%.80s\"", source->url, said);
	snprintf(commit, INTENT_COMMIT_MAX, "%.64s", said);
	return 0;
}

int intent_source_resolve(const struct intent_source *source, const struct intent_git *git,
			  char ret_commit[INTENT_COMMIT_MAX], struct intent_error *err)
{
	char commit[INTENT_COMMIT_MAX] = "";
	int code;

	if (is_commit(source->ref))
		snprintf(commit, sizeof(commit), "%s", source->ref);
	code = *commit ? 0 : source->is_directory ? resolve_directory(source, git, commit, err) :
						    resolve_remote(source, git, commit, err);
	if (!code)
		memcpy(ret_commit, commit, INTENT_COMMIT_MAX);
	return code;
}

/* ---- checking out ---- */

static int fetch(const struct intent_source *source, const struct intent_git *git, const char *commit,
		 struct intent_error *err)
{
	intent_free_auto char *repository = intent_format("--git-dir=%s", git->repository);
	intent_free_auto char *object = intent_format("%s^{tree}", commit);
	const char *have[] = {"git", repository, "cat-file", "-e", object, NULL};
	const char *get[] = {"git", repository, "fetch", "-q", "--depth=1", "--no-tags", "--", source->url, commit, NULL};

	if (make_repository(git, err))
		return err->code;
	if (run(git, RESOLVE_MS, NULL, have, NULL, err) == 0)
		return 0;
	return run(git, FETCH_MS, NULL, get, NULL, err);
}

/* Cuts the end of the line off. */
static bool is_tree(const struct intent_git *git, const char *repository, char *object)
{
	const char *argv[] = {"git", repository, "cat-file", "-t", object, NULL};
	intent_free_auto char *kind = NULL;
	struct intent_error ignored;

	object[strcspn(object, "\n")] = '\0';
	return is_commit(object) && run(git, RESOLVE_MS, NULL, argv, &kind, &ignored) == 0 &&
	       !strcmp(kind, "tree\n");
}

int intent_source_tree(const struct intent_source *source, const struct intent_git *git, const char *commit,
		       char ret_tree[INTENT_COMMIT_MAX], struct intent_error *err)
{
	intent_free_auto char *repository = intent_format("--git-dir=%s", git->repository);
	intent_free_auto char *object = intent_format("%s^{tree}:%s", commit, source->path), *said = NULL;
	const char *argv[] = {"git", repository, "rev-parse", "-q", "--verify", "--end-of-options", object, NULL};
	struct intent_error ignored;

	if (fetch(source, git, commit, err))
		return intent_wrap(err, "%s at %.12s", source->url, commit);
	/* A file of that name is no directory: its object is no tree. */
	if (run(git, RESOLVE_MS, NULL, argv, &said, &ignored) || !is_tree(git, repository, said))
		return intent_fail(err, INTENT_EABSENT, "%s: there is no directory %s in it at %.12s", source->url,
				   source->path, commit);
	snprintf(ret_tree, INTENT_COMMIT_MAX, "%.64s", said);
	return 0;
}

static int fill(const struct intent_git *git, const char *commit, const char *directory, struct intent_error *err)
{
	intent_free_auto char *repository = intent_format("--git-dir=%s", git->repository);
	intent_free_auto char *tree = intent_format("--work-tree=%s", directory);
	intent_free_auto char *index = intent_format("GIT_INDEX_FILE=%s/checkout.index", git->repository);
	const char *argv[] = {"git", repository, tree, "-c", "core.bare=false", "-c", "core.hooksPath=/dev/null",
			      "checkout", "-q", "-f", commit, "--", ".", NULL};
	int fd, code;

	if (intent_directory_make(directory, 0700, err) < 0)
		return err->code;
	unlink(index + strlen("GIT_INDEX_FILE="));
	code = run(git, FETCH_MS, index, argv, NULL, err);
	unlink(index + strlen("GIT_INDEX_FILE="));
	if (code)
		return code;
	/* All of it in one call, before the name promises that it is whole. */
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || syncfs(fd) < 0)
		code = intent_fail_errno(err, "%s", directory);
	if (fd >= 0)
		close(fd);
	return code;
}

int intent_source_checkout(const struct intent_source *source, const struct intent_git *git, const char *commit,
			   const char *directory, struct intent_error *err)
{
	intent_free_auto char *parent = strdup(directory), *whole = NULL;
	char *slash = strrchr(parent, '/');
	char temp[256];
	struct stat st;
	int code;

	if (stat(directory, &st) == 0)
		return 0;
	if (!slash)
		return intent_fail(err, -EINVAL, "%s is no absolute path", directory);
	*slash = '\0';
	intent_temp_name(temp, "source");
	whole = intent_format("%s/%s", parent, temp);
	code = fetch(source, git, commit, err);
	if (!code)
		code = fill(git, commit, whole, err);
	if (!code && rename(whole, directory) < 0)
		code = intent_fail_errno(err, "%s", directory);
	if (!code)
		code = intent_directory_sync(parent, err);
	if (code) {
		struct intent_error ignored;

		intent_tree_remove(whole, &ignored);
		return intent_wrap(err, "%s at %.12s", source->url, commit);
	}
	return 0;
}
