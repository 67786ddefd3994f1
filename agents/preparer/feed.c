/*
 * The bytes of an artifact: from a file, from a sandboxed fetcher, or from the copy that another
 * application fetched a moment ago.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <intent/fetch.h>
#include <intent/file.h>
#include "preparer.h"

enum { BESIDE_MAX = 16 << 10, PIPE_SIZE = 1 << 20, POLL_MS = 250 };

int preparer_await(struct intent_round *round, int fd, struct intent_error *err)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	for (;;) {
		int ready = poll(&poller, 1, POLL_MS);

		if (ready > 0)
			return 0;
		if (ready < 0 && errno != EINTR)
			return intent_fail_errno(err, "cannot wait");
		if (intent_round_should_stop(round))
			return intent_fail(err, INTENT_ESTALE, "stopped before its end");
	}
}

/* ---- the fetcher ---- */

struct fetch_job { const char *url, *ca_file; int64_t stall_ms; int out; struct intent_sandbox_say *say; };

static int fetch_begin(uint64_t total, void *data, struct intent_error *err)
{
	struct fetch_job *job = data;

	(void)err;
	job->say->numbers[0] = total;
	intent_sandbox_report(job->say);
	return 0;
}

static int fetch_bytes(const void *bytes, size_t count, void *data, struct intent_error *err)
{
	struct fetch_job *job = data;
	int code = intent_write_all(job->out, bytes, count);

	errno = -code;
	return code ? intent_fail_errno(err, "cannot hand the artifact on") : 0;
}

static int fetch_main(struct intent_sandbox_say *say, void *data, struct intent_error *err)
{
	struct fetch_job *job = data;
	struct intent_fetch fetch = {job->url, job->stall_ms, fetch_begin, fetch_bytes, job,
		.ca_file = job->ca_file, .ca_option = "--ca-file"};

	job->say = say;
	return intent_fetch_run(&fetch, err);
}

/* Start a fetcher and wait for its first word; *ret_fd gives the bytes. */
static int start_fetcher(const struct preparer_feed *feed, const char *url, int *ret_fd, uint64_t *ret_total,
			 struct intent_sandbox_child *ret, struct intent_error *err)
{
	struct fetch_job job = {.url = url, .ca_file = feed->ca_file, .stall_ms = feed->stall_ms};
	struct intent_sandbox sandbox = {
		.name = "fetcher", .kind = INTENT_SANDBOX_NETWORK, .uid = feed->uid, .gid = feed->gid,
		.keep = &job.out, .keep_count = 1, .run = fetch_main, .data = &job,
	};
	struct intent_sandbox_child child = INTENT_SANDBOX_CHILD_INIT;
	uint64_t numbers[4] = {0};
	bool ended = false;
	int ends[2], code;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return intent_fail_errno(err, "cannot make a pipe");
	(void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
	job.out = ends[1];
	code = intent_sandbox_start(&sandbox, &child, err);
	close(ends[1]);
	if (!code)
		code = preparer_await(feed->round, child.fd, err);
	if (!code)
		code = intent_sandbox_wait(&child, numbers, &ended, err);
	if (!code && ended)
		code = intent_fail(err, INTENT_ECHILD, "the fetcher ended without a word");
	if (code) {
		intent_sandbox_stop(&child);
		close(ends[0]);
		return code;
	}
	*ret = child;
	*ret_fd = ends[0];
	*ret_total = numbers[0];
	return 0;
}

/* ---- the cache ---- */

static int lock_entry(struct preparer_feed *feed, struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/lock-%.2s", feed->cache, feed->entry);
	int code;

	while ((code = intent_file_lock(path, LOCK_EX | LOCK_NB, true, &feed->lock_fd, err)) == INTENT_EBUSY) {
		if (intent_round_should_stop(feed->round))
			return intent_fail(err, INTENT_ESTALE, "stopped before its end");
		intent_round_progress(feed->round, json_pack("{s:s}", "phase", "waiting for another "
							     "application that fetches the same artifact"));
		nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
	}
	return code;
}

static bool is_expired(const struct stat *st)
{
	int64_t age = intent_time_now() - ((int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000);

	/* A clock that was set back makes no copy live for ever. */
	return age > PREPARER_CACHE_MS || age < -PREPARER_CACHE_MS;
}

/* Takes the lock; opens the copy when there is a good one, else a place for a new one. */
static int open_cache(struct preparer_feed *feed, const char *url, bool fresh, struct intent_error *err)
{
	intent_close_auto int dirfd = -1;
	struct stat st;
	int code;

	feed->cache = intent_format("%s/cache", intent_round_state_dir(feed->round));
	intent_sha256_hex(url, strlen(url), feed->entry);
	if ((code = intent_directory_make(feed->cache, 0700, err)) || (code = lock_entry(feed, err)))
		return code;
	dirfd = open(feed->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return intent_fail_errno(err, "%s", feed->cache);
	feed->fd = fresh ? -1 : openat(dirfd, feed->entry, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (feed->fd >= 0 && fstat(feed->fd, &st) == 0 && !is_expired(&st)) {
		feed->total = (uint64_t)st.st_size;
		feed->cached = true;
		return 0;
	}
	intent__close(&feed->fd);
	feed->fd = -1;
	intent_temp_name(feed->spool, "");
	feed->spool_fd = openat(dirfd, feed->spool, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return feed->spool_fd < 0 ? intent_fail_errno(err, "%s/%s", feed->cache, feed->spool) : 0;
}

static void drop_spool(struct preparer_feed *feed)
{
	intent_free_auto char *path = intent_format("%s/%s", feed->cache, feed->spool);

	if (feed->spool_fd < 0)
		return;
	close(feed->spool_fd);
	feed->spool_fd = -1;
	if (path)
		unlink(path);
}

void preparer_feed_note(struct preparer_feed *feed, const void *bytes, size_t count)
{
	if (feed->spool_fd >= 0 && intent_write_all(feed->spool_fd, bytes, count) < 0)
		drop_spool(feed);
}

void preparer_feed_release(struct preparer_feed *feed, bool good)
{
	intent_free_auto char *entry = feed->cache ? intent_format("%s/%s", feed->cache, feed->entry) : NULL;
	intent_free_auto char *spool = feed->cache ? intent_format("%s/%s", feed->cache, feed->spool) : NULL;

	intent_sandbox_stop(&feed->child);
	if (entry && spool && feed->spool_fd >= 0 && good && rename(spool, entry) == 0) {
		close(feed->spool_fd);
		feed->spool_fd = -1;
	}
	if (entry && feed->cached && !good)
		unlink(entry);
	drop_spool(feed);
	intent__close(&feed->fd);
	intent__close(&feed->lock_fd);
	free(feed->cache);
	*feed = (struct preparer_feed){
		.round = feed->round, .uid = feed->uid, .gid = feed->gid, .stall_ms = feed->stall_ms,
		.ca_file = feed->ca_file, .fd = -1, .lock_fd = -1, .spool_fd = -1, .child = INTENT_SANDBOX_CHILD_INIT,
	};
}

int preparer_cache_look(const char *state_dir, bool remove, int *ret_expired, int *ret_fresh,
			struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/cache", state_dir);
	DIR *directory = path ? opendir(path) : NULL;
	struct dirent *entry;
	struct stat st;

	*ret_expired = *ret_fresh = 0;
	if (!directory)
		return errno == ENOENT ? 0 : intent_fail_errno(err, "%s", path ? path : state_dir);
	while ((entry = readdir(directory))) {
		bool copy = strlen(entry->d_name) == 64;

		if (copy ? fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 :
			   !intent_temp_is_stale(entry->d_name))
			continue;
		if (copy && !is_expired(&st)) {
			++*ret_fresh;
			continue;
		}
		++*ret_expired;
		if (remove)
			(void)unlinkat(dirfd(directory), entry->d_name, 0);
	}
	closedir(directory);
	return 0;
}

/* ---- opening ---- */

/* A file that an option names is the operator's choice: it may be readable by us alone. */
static int open_file(struct preparer_feed *feed, const char *path, struct intent_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return intent_fail(err, INTENT_EABSENT, "%s: not there", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return intent_fail_errno(err, "%s", path);
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return intent_fail(err, INTENT_EREFUSED, "%s: is not a regular file", path);
	}
	feed->fd = fd;
	feed->total = (uint64_t)st.st_size;
	return 0;
}

int preparer_feed_open(struct preparer_feed *feed, const struct preparer_source *source, bool fresh,
		       struct intent_error *err)
{
	intent_free_auto char *path = source->trusted ? intent_fetch_path(source->url) : NULL;
	int code = 0;

	if (path)
		return open_file(feed, path, err);
	if (source->shared)
		code = open_cache(feed, source->url, fresh, err);
	if (code || feed->fd >= 0)
		return code;
	return start_fetcher(feed, source->url, &feed->fd, &feed->total, &feed->child, err);
}

int preparer_feed_finish(struct preparer_feed *feed, struct intent_error *err)
{
	return feed->child.pid > 0 ? intent_sandbox_finish(&feed->child, NULL, err) : 0;
}

/* ---- what stands beside ---- */

static int read_beside(const struct preparer_feed *feed, const char *url, struct intent_text *text,
		       struct intent_error *err)
{
	struct intent_sandbox_child child = INTENT_SANDBOX_CHILD_INIT;
	char chunk[4096];
	ssize_t count;
	uint64_t total;
	int fd, code = start_fetcher(feed, url, &fd, &total, &child, err);

	if (code)
		return code;
	while (!(code = preparer_await(feed->round, fd, err)) && (count = read(fd, chunk, sizeof(chunk))) > 0) {
		intent_text_add(text, chunk, (size_t)count);
		if (text->failed || text->length > BESIDE_MAX) {
			code = intent_fail(err, INTENT_ETOOBIG, "it is longer than %d bytes", BESIDE_MAX);
			break;
		}
	}
	close(fd);
	if (!code)
		code = intent_sandbox_finish(&child, NULL, err);
	intent_sandbox_stop(&child);
	return code;
}

int preparer_feed_beside(const struct preparer_feed *feed, const struct preparer_source *source,
			 const char *suffix, char **ret_owned, size_t *ret_count, struct intent_error *err)
{
	intent_free_auto char *url = preparer_beside(source->url, suffix);
	intent_free_auto char *path = source->trusted ? intent_fetch_path(url) : NULL;
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT;
	int code;

	code = path ? intent_file_read(AT_FDCWD, path, BESIDE_MAX, ret_owned, ret_count, err) :
		read_beside(feed, url, &text, err);
	if (code == INTENT_EABSENT)
		return 0;
	if (code)
		return intent_wrap(err, "the artifact's %s file", suffix);
	if (path)
		return 0;
	*ret_count = text.length;
	*ret_owned = intent_text_steal(&text);
	return 0;
}
