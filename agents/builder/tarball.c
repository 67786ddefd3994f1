/* Archives of the source, and the repository that they go to: a directory, or a server that takes PUT. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <intent/archive.h>
#include <intent/digest.h>
#include <intent/fetch.h>
#include <intent/file.h>
#include "builder.h"

#define SUMS_MAX 4096

/* Where an archive goes. */
struct place {
	char *directory;     /* owned; NULL: it is a server */
	char *name;          /* owned: "api_<input>.tar.gz" */
	char *url, *sums_url; /* owned: of the archive, and of its digest */
};

static void release_place(struct place *place)
{
	free(place->directory);
	free(place->name);
	free(place->url);
	free(place->sums_url);
}

static void find_place(const struct builder *builder, const struct builder_target *target, struct place *ret)
{
	const char *repository = intent_json_string(target->tarball, "repository", "");
	intent_text_auto struct intent_text url = INTENT_TEXT_INIT;
	intent_free_auto char *path = *repository == '/' ? strdup(repository) : intent_fetch_path(repository);
	size_t length;

	*ret = (struct place){.name = intent_format("%s_%.*s.tar.gz", builder->app, BUILDER_SHORT, target->input)};
	for (length = strlen(repository); length > 1 && repository[length - 1] == '/';)
		length--;
	if (path) {
		for (length = strlen(path); length > 1 && path[length - 1] == '/';)
			length--;
		ret->directory = intent_format("%.*s/%s", (int)length, path, builder->app);
		intent_text_puts(&url, "file://");
		intent_url_escape(&url, ret->directory, "/");
	} else {
		intent_text_printf(&url, "%.*s/", (int)length, repository);
		intent_url_escape(&url, builder->app, "");
	}
	intent_text_puts(&url, "/");
	intent_url_escape(&url, ret->name, "");
	ret->url = intent_text_steal(&url);
	ret->sums_url = intent_format("%s.sha256", ret->url);
}

/* "<hex>  name": the digits, in `out`. */
static bool parse_sums(const char *text, char out[65])
{
	snprintf(out, 65, "%.64s", text);
	return !intent_check_sha256(out);
}

/* ---- a directory ---- */

static int sum_file(struct builder *builder, int fd, char sum[65], struct intent_error *err)
{
	struct intent_digest *digest = intent_digest_new(INTENT_SHA256);
	unsigned char raw[INTENT_DIGEST_MAX];
	static char block[1 << 18];
	ssize_t got = 1;

	if (!digest)
		return intent_fail(err, -ENOTSUP, "this OpenSSL has no SHA-256");
	while (got > 0 && !builder__cancel(builder)) {
		got = read(fd, block, sizeof(block));
		if (got > 0)
			intent_digest_add(digest, block, (size_t)got);
	}
	if (got == 0)
		intent_hex(sum, raw, intent_digest_finish(digest, raw));
	intent_digest_free(digest);
	if (got < 0)
		return intent_fail_errno(err, "reading it");
	return got == 0 ? 0 : intent_fail(err, INTENT_ESTALE, "stopped");
}

/* Its digest, read again only when the file is another one by its looks. */
static int known_sum(struct builder *builder, const char *path, char sum[65], struct intent_error *err)
{
	intent_close_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	const json_t *before = builder__recall(builder, "sums", path);
	intent_json_auto json_t *now = NULL;

	if (fd < 0 && errno == ENOENT)
		return intent_fail(err, INTENT_EABSENT, "%s", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return intent_fail_errno(err, "%s", path);
	now = json_pack("{sI sI sI sI sO*}", "size", (json_int_t)st.st_size, "mtime", (json_int_t)st.st_mtim.tv_sec,
			"nanoseconds", (json_int_t)st.st_mtim.tv_nsec, "inode", (json_int_t)st.st_ino, "sha256",
			json_object_get(before, "sha256"));
	if (before && now && json_equal(before, now)) {
		snprintf(sum, 65, "%s", intent_json_string(before, "sha256", ""));
	} else {
		if (sum_file(builder, fd, sum, err) < 0)
			return intent_wrap(err, "%s", path);
		json_object_set_new(now, "sha256", json_string(sum));
	}
	builder__remember(builder, "sums", path, json_incref(now));
	return 0;
}

/* Archive and digest are there, and fit: then it is. */
static int look_in_directory(struct builder *builder, const struct place *place, char sum[65], struct intent_error *err)
{
	intent_free_auto char *path = intent_format("%s/%s", place->directory, place->name);
	intent_free_auto char *sums = intent_format("%s/%s.sha256", place->directory, place->name), *text = NULL;
	char said[65];
	size_t count;

	if (intent_file_read(AT_FDCWD, sums, SUMS_MAX, &text, &count, err) < 0 ||
	    known_sum(builder, path, sum, err) < 0)
		return err->code;
	if (parse_sums(text, said) && !strcmp(said, sum))
		return 0;
	intent_round_log(builder->round, INTENT_WARN, "%s is not what %s.sha256 says: it is made anew", path,
			 place->name);
	return intent_fail(err, INTENT_EABSENT, "%s", path);
}

static int pack_into_directory(struct builder *builder, const struct place *place, const char *from,
			       struct builder_log *log, struct intent_error *err)
{
	struct intent_archive_totals totals;
	intent_close_auto int dirfd = -1, fd = -1;
	char temp[256], sum[65], line[400];
	int code;

	if (intent_directory_make(place->directory, 0755, err) < 0 ||
	    intent_temp_sweep(place->directory, NULL, err) < 0)
		return err->code;
	intent_temp_name(temp, "tarball");
	dirfd = open(place->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = dirfd < 0 ? -1 : openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return intent_fail_errno(err, "%s", place->directory);
	code = intent_archive_pack(from, fd, builder__cancelled, builder, &totals, sum, err);
	if (!code && (fsync(fd) < 0 || renameat(dirfd, temp, dirfd, place->name) < 0))
		code = intent_fail_errno(err, "%s/%s", place->directory, place->name);
	if (code) {
		unlinkat(dirfd, temp, 0);
		return code;
	}
	/* The digest comes last: it says that the archive is whole. */
	snprintf(line, sizeof(line), "%s  %s\n", sum, place->name);
	snprintf(temp, sizeof(temp), "%s.sha256", place->name);
	builder__log_printf(log, "%s/%s: %llu entries, %llu bytes, sha256 %s", place->directory, place->name,
			    (unsigned long long)totals.entries, (unsigned long long)totals.packed, sum);
	return intent_file_write_at(dirfd, temp, line, strlen(line), 0644, (uid_t)-1, (gid_t)-1, err);
}

/* ---- a server ---- */

/* One request; the status, or an error. *ret_body (may be NULL): owned. */
static int ask_server(struct builder *builder, const char *method, const char *url, const void *body, size_t length,
		      char **ret_body, struct intent_error *err)
{
	const struct intent_http_settings settings = {0};
	intent_free_auto char *token = NULL, *header = NULL;
	const char *file = builder__option(builder, "token-file", NULL);
	const char *headers[] = {NULL, NULL};
	struct intent_http_response response = {0};
	struct intent_http_request request = {
		.method = method, .url = url, .headers = headers, .body = body, .body_length = length,
		.stall_ms = 60000, .body_max = SUMS_MAX,
	};
	struct intent_http *http;
	char shown[512];
	size_t count;
	int code;

	intent_fetch_show(url, shown);
	if (file && intent_file_read(AT_FDCWD, file, 8192, &token, &count, err) < 0)
		return intent_wrap(err, "--token-file %s", file);
	if (token) {
		header = intent_format("Authorization: Bearer %.*s", (int)strcspn(token, "\r\n"), token);
		headers[0] = header;
	}
	http = intent_http_new(&settings);
	code = intent_http_perform(http, &request, &response, NULL, err);
	if (!code)
		code = response.status;
	if (code > 0 && ret_body)
		*ret_body = intent_text_steal(&response.body);
	intent_http_response_release(&response);
	intent_http_free(http);
	return code < 0 ? intent_wrap(err, "%s", shown) : code;
}

static int refuse_status(const char *url, int status, struct intent_error *err)
{
	char shown[512];

	intent_fetch_show(url, shown);
	return intent_fail(err, INTENT_EUNAVAILABLE, "%s: the server answers with status %d%s", shown, status,
			   status == 401 || status == 403 ? ": --token-file names what lets us in" :
			   status == 405 ? ": does it take PUT?" : "");
}

static int look_on_server(struct builder *builder, const struct place *place, char sum[65], struct intent_error *err)
{
	intent_free_auto char *body = NULL;
	int status = ask_server(builder, "GET", place->sums_url, NULL, 0, &body, err);

	if (status < 0)
		return status;
	if (status == 200 && body && parse_sums(body, sum)) {
		/* The digest is put last; what somebody removed is gone all the same. */
		status = ask_server(builder, "HEAD", place->url, NULL, 0, NULL, err);
		if (status < 0)
			return status;
		if (status == 200)
			return 0;
	}
	if (status == 200 || status == 404 || status == 410)
		return intent_fail(err, INTENT_EABSENT, "%s", place->url);
	return refuse_status(place->url, status, err);
}

static int put(struct builder *builder, const char *url, const void *bytes, size_t count, struct intent_error *err)
{
	int status = ask_server(builder, "PUT", url, bytes, count, NULL, err);

	if (status < 0)
		return status;
	return status >= 200 && status < 300 ? 0 : refuse_status(url, status, err);
}

/* In a process of its own: an upload may take long, and meanwhile the lock has to be kept and a stop heard. */
static int put_aside(struct builder *builder, const char *url, const void *bytes, size_t count,
		     struct intent_error *err)
{
	struct pollfd answer = {.events = POLLIN};
	bool stopped = false;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return intent_fail_errno(err, "no process for an upload");
	if (pid == 0) {
		struct intent_error result = {0};

		if (put(builder, url, bytes, count, &result) == 0)
			result.code = 0;
		_exit(intent_write_all(ends[1], &result, sizeof(result)) < 0);
	}
	close(ends[1]);
	answer.fd = ends[0];
	while (!stopped && poll(&answer, 1, 100) <= 0)
		stopped = builder__cancel(builder);
	if (stopped)
		kill(pid, SIGKILL);
	if (read(ends[0], err, sizeof(*err)) != (ssize_t)sizeof(*err))
		intent_fail(err, stopped ? INTENT_ESTALE : INTENT_EUNAVAILABLE, "the upload was ended");
	close(ends[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return err->code;
}

static int put_file(struct builder *builder, const char *url, int fd, struct intent_error *err)
{
	struct stat st;
	void *bytes;
	int code;

	if (fstat(fd, &st) < 0)
		return intent_fail_errno(err, "the packed archive");
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return intent_fail_errno(err, "the packed archive");
	code = put_aside(builder, url, bytes, (size_t)st.st_size, err);
	munmap(bytes, (size_t)st.st_size);
	return code;
}

static int pack_onto_server(struct builder *builder, const struct place *place, const char *from,
			    struct builder_log *log, struct intent_error *err)
{
	intent_free_auto char *file = intent_format("%s.tar.gz", from);
	struct intent_archive_totals totals;
	intent_close_auto int fd = file ? open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	char sum[65], line[400];
	int code;

	if (fd < 0)
		return intent_fail_errno(err, "%s", file ? file : "an archive");
	unlink(file);
	code = intent_archive_pack(from, fd, builder__cancelled, builder, &totals, sum, err);
	builder->phase = "upload";
	if (!code)
		code = put_file(builder, place->url, fd, err);
	if (code)
		return code;
	snprintf(line, sizeof(line), "%s  %s\n", sum, place->name);
	builder__log_printf(log, "%s: %llu entries, %llu bytes, sha256 %s", place->url,
			    (unsigned long long)totals.entries, (unsigned long long)totals.packed, sum);
	return put(builder, place->sums_url, line, strlen(line), err);
}

/* ---- either ---- */

int builder__look_for_tarball(struct builder *builder, const struct builder_target *target, json_t **ret_new,
			      struct intent_error *err)
{
	struct place place;
	char sum[65];
	int code;

	*ret_new = NULL;
	find_place(builder, target, &place);
	code = place.directory ? look_in_directory(builder, &place, sum, err) :
				 look_on_server(builder, &place, sum, err);
	if (!code)
		*ret_new = json_pack("{ss ss}", "url", place.url, "sha256", sum);
	release_place(&place);
	return code == INTENT_EABSENT ? 0 : code;
}

/* A developer's words, run by whoever the builder is: not by root, unless somebody said so. */
static int run_command(struct builder *builder, const struct builder_target *target, const char *directory,
		       struct builder_log *log, struct intent_error *err)
{
	const json_t *command = json_object_get(target->tarball, "command");
	const char **argv;
	int code;

	if (!command)
		return 0;
	if (geteuid() == 0 && !intent_json_boolean(builder->options, "as-root", false))
		return intent_fail(err, INTENT_EREFUSED,
				   "its command would run as root: run pp-builder as a user of its own, or "
				   "with --as-root where whoever writes apps/ may be root");
	argv = calloc(json_array_size(command) + 1, sizeof(*argv));
	for (size_t i = 0; i < json_array_size(command); i++)
		argv[i] = json_string_value(json_array_get(command, i));
	code = builder__run(builder, log, argv, directory, false, err);
	free(argv);
	return code;
}

int builder__make_tarball(struct builder *builder, const struct builder_target *target, const char *directory,
			  struct builder_log *log, struct intent_error *err)
{
	const char *below = intent_json_string(target->tarball, "directory", NULL);
	intent_free_auto char *from = intent_format("%s%s%s", directory, below ? "/" : "", below ? below : "");
	struct place place;
	int code;

	if (run_command(builder, target, directory, log, err) < 0)
		return err->code;
	find_place(builder, target, &place);
	builder->phase = "pack";
	if (below && access(from, F_OK) < 0)
		code = intent_fail(err, INTENT_EMALFORMED, "there is no directory %s to be packed%s", below,
				   json_object_get(target->tarball, "command") ? ": its command did not make it" : "");
	else
		code = place.directory ? pack_into_directory(builder, &place, from, log, err) :
					 pack_onto_server(builder, &place, from, log, err);
	release_place(&place);
	return code;
}
