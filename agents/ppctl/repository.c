/*
 * A repository brought up to date by the person's own git, with his configuration and credentials. Several at once:
 * each in a process and session of its own, where nothing can ask at the terminal that they would share.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <intent/file.h>
#include "repository.h"

#define LINE_MAX_BYTES 300

/* ---- git ---- */

struct work {
	const struct repository *repository;
	char *words;               /* REPOSITORY_WORDS */
	char line[LINE_MAX_BYTES]; /* of what git says now */
	size_t length;
	char said[LINE_MAX_BYTES]; /* its last complaint */
};

/* "Receiving objects:  45% (9/20)": how far it is; anything else may be a reason. */
static void take_line(struct work *work)
{
	char *percent = strstr(work->line, "% ("), *line = work->line;

	work->line[work->length] = '\0';
	work->length = 0;
	intent_utf8_clean(line);
	if (intent_starts_with(line, "remote: "))
		line += strlen("remote: ");
	if (percent) {
		percent[1] = '\0';
		if (work->repository->on_progress)
			work->repository->on_progress(line, work->repository->data);
	} else if (line[strspn(line, " ")] && !intent_starts_with(line, "Cloning into") &&
		   (!intent_starts_with(work->said, "fatal: ") || intent_starts_with(line, "fatal: "))) {
		/* What comes after the first "fatal:" only explains it at length. */
		if (!intent_starts_with(work->said, "fatal: "))
			snprintf(work->said, sizeof(work->said), "%s", line);
	}
}

static void take_bytes(struct work *work, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i] == '\r' || bytes[i] == '\n')
			take_line(work);
		else if (work->length + 1 < sizeof(work->line))
			work->line[work->length++] = bytes[i];
}

/* Until both have ended. */
static void hear_out(struct work *work, int out, int err, struct intent_text *ret_out)
{
	struct pollfd fds[] = {{out, POLLIN, 0}, {err, POLLIN, 0}};
	char bytes[4096];

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		for (int i = 0; i < 2; i++) {
			ssize_t got = fds[i].fd >= 0 && fds[i].revents ? read(fds[i].fd, bytes, sizeof(bytes)) : -2;

			if (got > 0 && i == 0)
				intent_text_add(ret_out, bytes, (size_t)got);
			else if (got > 0)
				take_bytes(work, bytes, (size_t)got);
			else if (got == 0 || (got == -1 && errno != EINTR))
				fds[i].fd = -1;
		}
	}
	take_bytes(work, "\n", 1);
}

static int spawn(const struct work *work, const char *const *argv, int out, int err, pid_t *ret)
{
	union { const char *const *given; char *const *wanted; } vector = {.given = argv};
	posix_spawn_file_actions_t actions;
	int code;

	posix_spawn_file_actions_init(&actions);
	if (!work->repository->foreground) {
		posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
		posix_spawn_file_actions_adddup2(&actions, err, 2);
	}
	posix_spawn_file_actions_adddup2(&actions, out, 1);
	code = posix_spawnp(ret, "git", &actions, NULL, vector.wanted, environ);
	posix_spawn_file_actions_destroy(&actions);
	return code;
}

/* "git ARGUMENT...": its exit status; -1 and a complaint when there is none. *ret_out (may be NULL) is appended to. */
static int git(struct work *work, struct intent_text *ret_out, const char *const *argv)
{
	intent_text_auto struct intent_text unread = INTENT_TEXT_INIT;
	int out[2] = {-1, -1}, err[2] = {-1, -1}, status = 0, code;
	pid_t pid = 0;

	*work->said = '\0';
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
		snprintf(work->said, sizeof(work->said), "no pipe: %s", strerror(errno));
		return -1;
	}
	code = spawn(work, argv, out[1], err[1], &pid);
	close(out[1]);
	close(err[1]);
	if (code)
		snprintf(work->said, sizeof(work->said), code == ENOENT ? "git is not on PATH: install it" : "git: %s",
			 strerror(code));
	else
		hear_out(work, out[0], err[0], ret_out ? ret_out : &unread);
	close(out[0]);
	close(err[0]);
	while (!code && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return code || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

/* Its one line of output, cut at the end. Owned; NULL when it fails. */
static char *ask(struct work *work, const char *const *argv)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	char *line;

	if (git(work, &out, argv))
		return NULL;
	line = strdup(intent_text_str(&out));
	if (line)
		line[strcspn(line, "\n")] = '\0';
	return line;
}

#define ASK(...) ask(work, (const char *const[]){"git", "-C", work->repository->directory, __VA_ARGS__, NULL})
#define GIT(...) git(work, NULL, (const char *const[]){"git", "-C", work->repository->directory, __VA_ARGS__, NULL})

/* ---- outcomes ---- */

__attribute__((format(printf, 3, 4)))
static enum repository_outcome end(struct work *work, enum repository_outcome outcome, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(work->words, REPOSITORY_WORDS, format, ap);
	va_end(ap);
	return outcome;
}

/* Git's own reason; nobody could be asked for what it needs? */
static enum repository_outcome give_up(struct work *work, const char *what)
{
	static const char *const questions[] = {
		"terminal prompts disabled", "could not read", "Permission denied", "Host key verification failed",
		"Authentication failed",
	};
	const char *said = work->said + (intent_starts_with(work->said, "fatal: ") ? 7 : 0);
	bool asks = false;

	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++)
		asks |= strstr(said, questions[i]) != NULL;
	return end(work, asks ? REPOSITORY_ASKS : REPOSITORY_FAILED, "%s: %s", what,
		   *said ? said : work->repository->foreground ? "git says why above" : "git failed without a word");
}

static const char *short_name(const struct work *work)
{
	const char *slash = strrchr(work->repository->directory, '/');

	return slash ? slash + 1 : work->repository->directory;
}

static bool is_commit(const char *ref)
{
	return ref && (strlen(ref) == 40 || strlen(ref) == 64) && strspn(ref, "0123456789abcdef") == strlen(ref);
}

/* ---- what is not there ---- */

static int clone_into(struct work *work, const char *place)
{
	const struct repository *repository = work->repository;
	const char *branch[] = {"git", "clone", "--progress", "--branch", repository->ref, "--", repository->url, place,
				NULL};
	const char *plain[] = {"git", "clone", "--progress", "--", repository->url, place, NULL};
	const char *commit[] = {"git", "-C", place, "checkout", "-q", "--detach", repository->ref, NULL};

	if (!repository->ref || !is_commit(repository->ref))
		return git(work, NULL, repository->ref ? branch : plain);
	return git(work, NULL, plain) || git(work, NULL, commit);
}

/* Under another name first: what is cut short must not look like a repository. */
static enum repository_outcome bring_new(struct work *work)
{
	const char *directory = work->repository->directory;
	intent_free_auto char *place = NULL;
	struct intent_error ignored;
	char temp[256];

	intent_temp_name(temp, "clone");
	place = intent_format("%.*s/%s", (int)(strrchr(directory, '/') - directory), directory, temp);
	if (clone_into(work, place)) {
		enum repository_outcome outcome = give_up(work, "cannot be cloned");

		intent_tree_remove(place, &ignored);
		return outcome;
	}
	if (rename(place, directory) < 0) {
		enum repository_outcome outcome = end(work, REPOSITORY_FAILED, "%s: %s", directory, strerror(errno));

		intent_tree_remove(place, &ignored);
		return outcome;
	}
	return end(work, REPOSITORY_CLONED, "cloned from %s", work->repository->url);
}

/* ---- what is there ---- */

/* On no branch: right only where the definition names a commit or a tag. */
static enum repository_outcome judge_detached(struct work *work)
{
	const char *ref = work->repository->ref;
	intent_free_auto char *want = ref ? intent_format("%s^{commit}", ref) : NULL;
	intent_free_auto char *wanted = want ? ASK("rev-parse", "-q", "--verify", "--end-of-options", want) : NULL;
	intent_free_auto char *head = ASK("rev-parse", "HEAD");

	if (wanted && head && !strcmp(wanted, head))
		return end(work, REPOSITORY_CURRENT, "at %s", ref);
	return end(work, REPOSITORY_LEFT, "left alone: it is on no branch; git -C %s switch %s", short_name(work),
		   ref ? ref : "-");
}

static const char *plural(long count)
{
	return count == 1 ? "" : "s";
}

/* Something new has come to the branch's other side. */
static enum repository_outcome forward(struct work *work, const char *branch, long ahead, long behind, bool dirty)
{
	if (ahead)
		return end(work, REPOSITORY_LEFT, "left alone: %s has diverged, %ld commit%s here and %ld there; "
			   "git -C %s pull --rebase, or --no-rebase to merge", branch, ahead, plural(ahead), behind,
			   short_name(work));
	if (dirty)
		return end(work, REPOSITORY_LEFT, "left alone: %s is %ld commit%s behind, but there are changes in the "
			   "tree; commit or stash them, then get it again", branch, behind, plural(behind));
	if (GIT("merge", "-q", "--ff-only", "@{upstream}"))
		return end(work, REPOSITORY_LEFT, "left alone: %s",
			   *work->said ? work->said : "git cannot fast-forward it");
	return end(work, REPOSITORY_UPDATED, "%s: %ld new commit%s", branch, behind, plural(behind));
}

static enum repository_outcome bring_branch(struct work *work, const char *branch)
{
	const char *ref = work->repository->ref;
	intent_free_auto char *counts = ASK("rev-list", "--left-right", "--count", "HEAD...@{upstream}");
	intent_free_auto char *changed = ASK("status", "--porcelain", "--untracked-files=no");
	bool dirty = changed && *changed;
	char *rest = counts;
	long ahead, behind;

	if (ref && strcmp(ref, branch))
		return end(work, REPOSITORY_LEFT, "left alone: it is on %s, and the definition says %s; git -C %s "
			   "switch %s%s", branch, ref, short_name(work), is_commit(ref) ? "--detach " : "", ref);
	if (!counts)
		return end(work, REPOSITORY_LEFT, "left alone: %s follows no other branch; "
			   "git -C %s branch --set-upstream-to=origin/%s", branch, short_name(work), branch);
	ahead = strtol(counts, &rest, 10);
	behind = strtol(rest, NULL, 10);
	if (behind)
		return forward(work, branch, ahead, behind, dirty);
	if (ahead)
		return end(work, REPOSITORY_CURRENT, "up to date, %ld commit%s not pushed%s", ahead, plural(ahead),
			   dirty ? ", and changes in the tree" : "");
	return end(work, REPOSITORY_CURRENT, "up to date%s", dirty ? ", with changes in the tree" : "");
}

static enum repository_outcome bring_old(struct work *work)
{
	intent_free_auto char *top = ASK("rev-parse", "--show-toplevel");
	intent_free_auto char *real = realpath(work->repository->directory, NULL), *branch = NULL;

	if (!top || !real || strcmp(top, real))
		return end(work, REPOSITORY_FAILED, "%s is in the way, and is no git repository: move it aside, then get "
			   "it again", work->repository->directory);
	if (GIT("fetch", "--progress"))
		return give_up(work, "cannot be fetched");
	branch = ASK("symbolic-ref", "-q", "--short", "HEAD");
	return branch ? bring_branch(work, branch) : judge_detached(work);
}

enum repository_outcome repository_bring(const struct repository *repository, char words[REPOSITORY_WORDS])
{
	struct work work = {.repository = repository, .words = words};
	struct stat st;

	/* Messages are read. Looking at a tree must not write to it. */
	setenv("LC_ALL", "C", 1);
	setenv("GIT_OPTIONAL_LOCKS", "0", 1);
	if (!repository->foreground)
		setenv("GIT_TERMINAL_PROMPT", "0", 1);
	*words = '\0';
	return lstat(repository->directory, &st) < 0 && errno == ENOENT ? bring_new(&work) : bring_old(&work);
}

/* ---- in a process of its own ---- */

struct teller { int fd; };

static void tell(const char *phase, void *data)
{
	const struct teller *teller = data;
	char line[LINE_MAX_BYTES + 8];
	int length = snprintf(line, sizeof(line), "p %s\n", phase);

	(void)!intent_write_all(teller->fd, line, (size_t)length);
}

pid_t repository_start(const struct repository *repository, int *ret_fd)
{
	struct repository copy = *repository;
	char words[REPOSITORY_WORDS], line[REPOSITORY_WORDS + 16];
	struct teller teller;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		/* No terminal to ask at; a group that can be ended with all of its family. */
		if (!copy.foreground)
			setsid();
		teller.fd = ends[1];
		copy.on_progress = tell;
		copy.data = &teller;
		int outcome = (int)repository_bring(&copy, words);
		int length = snprintf(line, sizeof(line), "r %d %s\n", outcome, words);
		_exit(intent_write_all(ends[1], line, (size_t)length) < 0);
	}
	close(ends[1]);
	if (pid < 0)
		close(ends[0]);
	else
		*ret_fd = ends[0];
	return pid;
}

enum repository_outcome repository_run(const struct repository *repository, char words[REPOSITORY_WORDS])
{
	enum repository_outcome outcome = REPOSITORY_FAILED;
	char line[REPOSITORY_WORDS + 16];
	int fd = -1;
	pid_t pid = repository_start(repository, &fd);
	FILE *stream = pid > 0 ? fdopen(fd, "r") : NULL;

	snprintf(words, REPOSITORY_WORDS, "git was ended");
	while (stream && fgets(line, sizeof(line), stream))
		if (line[0] == 'r' && line[2] >= '0' && line[2] <= '9') {
			outcome = (enum repository_outcome)(line[2] - '0');
			snprintf(words, REPOSITORY_WORDS, "%.*s", (int)strcspn(line + 4, "\n"), line + 4);
		}
	if (stream)
		fclose(stream);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return outcome;
}
