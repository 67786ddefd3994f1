/*
 * Installing one version: fetcher -> this process -> unpacker -> writer, then the publisher.
 *
 * The round itself parses nothing. It hashes bytes that go by, because a fetcher that
 * was taken over must not be the one who says that the digest is right. Nor does the unpacker write: what it
 * finds goes to a writer of our own user, who holds it to the policy. So nothing ever changes owners.
 */
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <intent/archive.h>
#include <intent/fetch.h>
#include <intent/file.h>
#include "preparer.h"

enum { BUFFER_SIZE = 256 << 10, PIPE_SIZE = 1 << 20, PROGRESS_MS = 200 };
#define WORKER_MEMORY (1ull << 30)

char *preparer_install_path(const json_t *intent, const char *version)
{
	return intent_format("%s/" PREPARER_INSTALLS "/%s_%s", intent_json_string(intent, "basedir", ""),
			     intent_json_string(intent, "app", ""), version);
}

struct install {
	struct intent_round *round;
	const json_t *intent, *options;
	const char *app, *version, *digest; /* digest: of the document, or NULL */
	char *installs, *path;              /* owned */
	const char *name;                   /* last component of path */
	int installs_fd, staging_fd;
	char staging[256];                  /* "": none */
	uid_t uid; gid_t gid;               /* of fetcher, unpacker and judge; both 0: our own */
	struct intent_archive_limits limits;
	struct intent_trusted_keys *keys;
	struct preparer_feed feed;
	char shown[512];                    /* the source */
	unsigned char sha256[INTENT_DIGEST_MAX], blake2b[INTENT_DIGEST_MAX];
	uint64_t packed, bytes, entries, key;
	int64_t told;                       /* when progress was told last */
};

/* ---- who, where ---- */

static int find_user(struct install *in, struct intent_error *err)
{
	const char *name = intent_json_string(in->options, "unpack-user", NULL);
	const char *runas = intent_json_string(json_object_get(in->intent, "deploy"), "runas", "root");
	intent_free_auto char *service = strndup(runas, strcspn(runas, ":"));
	const struct passwd *found;

	if (geteuid() != 0)
		return 0;
	if (!name)
		name = getpwnam("_platypus") ? "_platypus" : "nobody";
	found = getpwnam(name);
	if (!found)
		return intent_fail(err, INTENT_EUSAGE, "there is no user '%s' to unpack as: "
				   "make it, or name another with --unpack-user", name);
	if (found->pw_uid == 0)
		return intent_fail(err, INTENT_EUSAGE, "artifacts are not unpacked as root: "
				   "name another user with --unpack-user");
	if (service && strcmp(service, name) == 0)
		return intent_fail(err, INTENT_EREFUSED, "%s runs as '%s', who could change what is being "
				   "unpacked: name another user with --unpack-user", in->app, name);
	in->uid = found->pw_uid;
	in->gid = found->pw_gid;
	return 0;
}

static int open_installs(struct install *in, struct intent_error *err)
{
	struct stat st;
	int code = intent_directory_make(in->installs, 0755, err);

	if (code)
		return code;
	in->installs_fd = open(in->installs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in->installs_fd < 0 || fstat(in->installs_fd, &st) < 0)
		return intent_fail_errno(err, "%s", in->installs);
	if (geteuid() == 0 && (st.st_uid != 0 || (st.st_mode & 02)))
		return intent_fail(err, INTENT_EREFUSED, "%s belongs to user %u with mode %04o: whoever may "
				   "write there could swap what root runs; chown root and chmod o-w it",
				   in->installs, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
	return 0;
}

static int open_staging(struct install *in, struct intent_error *err)
{
	char name[256];

	intent_temp_name(name, in->version);
	if (mkdirat(in->installs_fd, name, 0700) < 0)
		return intent_fail_errno(err, "cannot make a directory in %s", in->installs);
	memcpy(in->staging, name, sizeof(name));
	in->staging_fd = openat(in->installs_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* The group of `installs` is not to be that of all that is in it: without its setgid bit. */
	if (in->staging_fd < 0 || fchmod(in->staging_fd, 0700) < 0)
		return intent_fail_errno(err, "%s/%s", in->installs, name);
	return 0;
}

/* ---- telling ---- */

static void tell(struct install *in, const char *phase, bool now)
{
	int64_t time = intent_time_monotonic();
	char done[24], total[24];

	if (!now && time - in->told < PROGRESS_MS)
		return;
	in->told = time;
	intent_round_progress(in->round, json_pack("{s:s, s:s, s:I, s:I}", "version", in->version, "phase",
		phase, "bytes", (json_int_t)in->packed, "total", (json_int_t)in->feed.total));
	if (!intent_round_is_interactive(in->round))
		return;
	intent_size_format(in->packed, done);
	intent_size_format(in->feed.total, total);
	if (strcmp(phase, "fetching") != 0)
		dprintf(2, "\r\033[K");
	else if (in->feed.total > 0)
		dprintf(2, "\r\033[K%s %3d%%  %s of %s", in->name,
			(int)(in->packed * 100 / in->feed.total), done, total);
	else
		dprintf(2, "\r\033[K%s  %s", in->name, done);
}

/* ---- unpacking ---- */

struct job { int in, out; const struct intent_archive_limits *limits; };

static int unpack_main(struct intent_sandbox_say *say, void *data, struct intent_error *err)
{
	const struct job *job = data;

	(void)say;
	return intent_archive_read(job->in, job->out, job->limits, err);
}

static int write_main(struct intent_sandbox_say *say, void *data, struct intent_error *err)
{
	const struct job *job = data;
	struct intent_archive_totals totals;
	int code = intent_archive_write(job->in, job->out, job->limits, &totals, err);

	if (!code) {
		say->numbers[0] = totals.bytes;
		say->numbers[1] = totals.entries;
	}
	return code;
}

struct workers { struct intent_sandbox_child unpacker, writer; int fd; };

static int make_pipe(int ends[2], struct intent_error *err)
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return intent_fail_errno(err, "cannot make a pipe");
	(void)fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
	return 0;
}

/* From `in` to `out`, which are its only descriptors; `in` is closed here, in any case. */
static int start_worker(struct intent_sandbox sandbox, struct install *in, int from, int to,
			struct intent_sandbox_child *ret, struct intent_error *err)
{
	struct job job = {from, to, &in->limits};
	const int keep[] = {from, to};
	int code;

	sandbox.keep = keep;
	sandbox.keep_count = 2;
	sandbox.memory = WORKER_MEMORY;
	sandbox.data = &job;
	code = intent_sandbox_start(&sandbox, ret, err);
	close(from);
	return code;
}

/* Artifacts go into ret->fd. */
static int start_workers(struct install *in, struct workers *ret, struct intent_error *err)
{
	struct intent_sandbox unpacker = {
		.name = "unpacker", .kind = INTENT_SANDBOX_PURE, .uid = in->uid, .gid = in->gid, .run = unpack_main,
	};
	struct intent_sandbox writer = {
		.name = "writer", .kind = INTENT_SANDBOX_FILES, .file_size = in->limits.bytes, .run = write_main,
	};
	int orders[2], bytes[2], code;

	if (make_pipe(orders, err))
		return err->code;
	code = start_worker(writer, in, orders[0], in->staging_fd, &ret->writer, err);
	if (!code)
		code = make_pipe(bytes, err);
	if (!code) {
		code = start_worker(unpacker, in, bytes[0], orders[1], &ret->unpacker, err);
		if (code)
			close(bytes[1]);
		else
			ret->fd = bytes[1];
	}
	close(orders[1]);
	return code;
}

/* The first trouble of the two is the writer's, unless it only missed the rest. */
static void finish_workers(struct install *in, struct workers *workers, struct intent_error *ret)
{
	struct intent_error unpacked = {0};
	uint64_t numbers[4] = {0};

	*ret = (struct intent_error){0};
	(void)intent_sandbox_finish(&workers->unpacker, NULL, &unpacked);
	(void)intent_sandbox_finish(&workers->writer, numbers, ret);
	if (unpacked.code && (!ret->code || ret->code == INTENT_ECHILD))
		*ret = unpacked;
	in->bytes = numbers[0];
	in->entries = numbers[1];
}

/* From the feed through the digests to the unpacker, who may leave early; we read on for the digest. */
static int pump(struct install *in, int unpack_fd, struct intent_error *err)
{
	struct intent_digest *sha256 = intent_digest_new(INTENT_SHA256);
	struct intent_digest *blake2b = in->keys ? intent_digest_new(INTENT_BLAKE2B_512) : NULL;
	intent_free_auto char *buffer = malloc(BUFFER_SIZE);
	bool listening = true;
	ssize_t count = 0;
	int code = 0;

	if (!sha256 || (in->keys && !blake2b))
		code = intent_fail(err, INTENT_EREFUSED, "this OpenSSL has no %s, which %s", sha256 ? "BLAKE2" : "SHA-256",
				   sha256 ? "signatures are made of (FIPS mode)" : "artifacts are known by");
	while (!code && !(code = preparer_await(in->round, in->feed.fd, err)) &&
	       (count = read(in->feed.fd, buffer, BUFFER_SIZE)) > 0) {
		intent_digest_add(sha256, buffer, (size_t)count);
		if (blake2b)
			intent_digest_add(blake2b, buffer, (size_t)count);
		preparer_feed_note(&in->feed, buffer, (size_t)count);
		listening = listening && intent_write_all(unpack_fd, buffer, (size_t)count) == 0;
		in->packed += (uint64_t)count;
		if (in->packed > in->limits.bytes + (1ull << 30))
			code = intent_fail(err, INTENT_ETOOBIG, "the artifact alone is larger than "
					   "--max-unpacked allows for its content");
		else if (intent_round_should_stop(in->round))
			code = intent_fail(err, INTENT_ESTALE, "stopped before its end");
		tell(in, "fetching", false);
	}
	if (!code && count < 0)
		code = intent_fail_errno(err, "cannot read the artifact");
	if (!code)
		(void)intent_digest_finish(sha256, in->sha256);
	if (!code && blake2b)
		(void)intent_digest_finish(blake2b, in->blake2b);
	intent_digest_free(sha256);
	intent_digest_free(blake2b);
	return code;
}

/* *ret_unpacked: what unpacker and writer said; the function fails only when the bytes did not come whole. */
static int fetch_and_unpack(struct install *in, struct intent_error *ret_unpacked, struct intent_error *err)
{
	struct workers workers = {INTENT_SANDBOX_CHILD_INIT, INTENT_SANDBOX_CHILD_INIT, -1};
	int code = start_workers(in, &workers, err);

	if (!code)
		code = pump(in, workers.fd, err);
	intent__close(&workers.fd);
	if (!code)
		code = preparer_feed_finish(&in->feed, err);
	if (!code)
		finish_workers(in, &workers, ret_unpacked);
	intent_sandbox_stop(&workers.unpacker);
	intent_sandbox_stop(&workers.writer);
	return code;
}

/* ---- judging ---- */

static int judge_main(struct intent_sandbox_say *say, void *data, struct intent_error *err)
{
	return preparer_judge(data, &say->numbers[0], err);
}

/* What stands beside an artifact is foreign text: it is read by somebody who can do nothing. */
static int judge(struct install *in, const struct preparer_source *source, struct intent_error *err)
{
	intent_free_auto char *sums = NULL, *signature = NULL;
	intent_free_auto char *plain = strndup(source->url, strcspn(source->url, "?#"));
	struct preparer_evidence evidence = {
		.document = in->digest, .keys = in->keys, .sha256 = in->sha256, .blake2b = in->blake2b,
		.name = plain ? strrchr(plain, '/') + 1 : NULL,
	};
	struct intent_sandbox sandbox = {
		.name = "judge", .kind = INTENT_SANDBOX_PURE, .uid = in->uid, .gid = in->gid,
		.run = judge_main, .data = &evidence,
	};
	struct intent_sandbox_child child;
	uint64_t numbers[4] = {0};
	int code = 0;

	if (!in->digest)
		code = preparer_feed_beside(&in->feed, source, ".sha256", &sums, &evidence.sums_count, err);
	if (!code && in->keys)
		code = preparer_feed_beside(&in->feed, source, ".minisig", &signature,
					    &evidence.signature_count, err);
	if (code)
		return code;
	if (!in->digest && !sums && intent_json_boolean(in->options, "require-digest", false))
		return intent_fail(err, INTENT_EREFUSED, "--require-digest, and neither the document "
				   "(artifacts.%s.sha256) nor %s.sha256 names one", in->version, in->shown);
	if (!in->digest && !sums)
		intent_round_log(in->round, INTENT_WARN, "No digest for %s: neither the document nor "
				 "%s.sha256 names one", in->name, in->shown);
	evidence.sums = sums;
	evidence.signature = signature;
	if ((code = intent_sandbox_start(&sandbox, &child, err)) ||
	    (code = intent_sandbox_finish(&child, numbers, err)))
		return code;
	in->key = numbers[0];
	return 0;
}

static json_t *make_record(const struct install *in)
{
	char hex[65], key[17], time[32];

	intent_hex(hex, in->sha256, 32);
	snprintf(key, sizeof(key), "%llX", (unsigned long long)in->key);
	intent_time_format(intent_time_now(), time);
	return json_pack("{s:s, s:s, s:s, s:s, s:s*, s:I, s:I, s:s}", "app", in->app, "version", in->version,
			 "sha256", hex, "source", in->shown, "key", in->key ? key : NULL,
			 "bytes", (json_int_t)in->bytes, "entries", (json_int_t)in->entries,
			 "installed", time);
}

/* ---- all of it ---- */

static int try_source(struct install *in, const struct preparer_source *source, bool fresh,
		      struct intent_error *err)
{
	struct intent_error unpacked;
	intent_json_auto json_t *record = NULL;
	int code;

	in->packed = 0;
	intent_fetch_show(source->url, in->shown);
	if ((code = preparer_feed_open(&in->feed, source, fresh, err)) || (code = open_staging(in, err)))
		return code;
	intent_round_log(in->round, INTENT_INFO, "Extracting %s to %s/%s", in->shown, in->installs,
			 in->staging);
	code = fetch_and_unpack(in, &unpacked, err);
	tell(in, "checking", true);
	/* The digest first: it says more than what a damaged archive looks like from inside. */
	if (code || (code = judge(in, source, err)))
		return intent_wrap(err, "%s", in->shown);
	if (unpacked.code) {
		*err = unpacked;
		return intent_wrap(err, "%s", in->shown);
	}
	record = make_record(in);
	intent_round_log(in->round, INTENT_INFO, "Moving %s/%s to %s", in->installs, in->staging, in->path);
	code = preparer_publish(in->installs_fd, in->staging, in->staging_fd, in->name, record, err);
	if (code)
		return intent_wrap(err, "%s", in->path);
	in->staging[0] = '\0';
	return 0;
}

/* After each attempt: nothing of a failed one remains. */
static void clean_up(struct install *in, bool good)
{
	struct intent_error ignored;

	preparer_feed_release(&in->feed, good);
	intent__close(&in->staging_fd);
	in->staging_fd = -1;
	if (in->staging[0])
		(void)intent_tree_remove_at(in->installs_fd, in->staging, &ignored);
	in->staging[0] = '\0';
}

static int try_sources(struct install *in, const struct preparer_source *sources, struct intent_error *err)
{
	intent_text_auto struct intent_text tried = INTENT_TEXT_INIT;
	int code = INTENT_EABSENT;

	for (const struct preparer_source *source = sources; source->url && code == INTENT_EABSENT; source++) {
		bool cached;

		code = try_source(in, source, false, err);
		cached = in->feed.cached;
		clean_up(in, code == 0);
		/* The copy may be older than what is there now. */
		if (code && cached) {
			code = try_source(in, source, true, err);
			clean_up(in, code == 0);
		}
		intent_text_printf(&tried, "%s%s", tried.length ? ", " : "", in->shown);
	}
	if (code == INTENT_EABSENT)
		return intent_fail(err, code, "no artifact for %s: looked for %s; put it there, or give "
				   "artifacts.%s.url or --repo", in->name, intent_text_str(&tried), in->version);
	return code;
}

static int prepare(struct install *in, struct intent_error *err)
{
	const char *keys = intent_json_string(in->options, "trusted-keys", NULL);
	int code;

	in->path = preparer_install_path(in->intent, in->version);
	in->installs = strndup(in->path, (size_t)(strrchr(in->path, '/') - in->path));
	in->name = strrchr(in->path, '/') + 1;
	in->limits.bytes = (uint64_t)intent_json_integer(in->options, "max-unpacked", 4096) << 20;
	in->limits.entries = (uint64_t)intent_json_integer(in->options, "max-entries", 200000);
	if ((code = find_user(in, err)) || (code = open_installs(in, err)) ||
	    (keys && (code = intent_trusted_keys_load(keys, &in->keys, err))))
		return code;
	in->feed = (struct preparer_feed){.round = in->round, .uid = in->uid, .gid = in->gid,
		.stall_ms = intent_json_integer(in->options, "stall-timeout", 30000),
		.ca_file = intent_json_string(in->options, "ca-file", NULL),
		.fd = -1, .lock_fd = -1, .spool_fd = -1, .child = INTENT_SANDBOX_CHILD_INIT};
	return 0;
}

int preparer_install(struct intent_round *round, const json_t *action, struct intent_error *err)
{
	const json_t *args = json_object_get(action, "args"), *intent = intent_round_intent(round);
	struct install in = {
		.round = round, .intent = intent, .options = intent_round_options(round),
		.app = intent_json_string(intent, "app", ""),
		.version = intent_json_string(args, "version", ""),
		.digest = intent_json_string(args, "sha256", NULL),
		.installs_fd = -1, .staging_fd = -1,
	};
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	int code;

	/* An unpacker that refuses stops reading; that is no reason to die. */
	sigaction(SIGPIPE, &ignore, &before);
	code = prepare(&in, err);
	if (!code && faccessat(in.installs_fd, in.name, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
		struct preparer_source *sources = preparer_sources(intent, in.version);

		code = try_sources(&in, sources, err);
		preparer_sources_free(sources);
	}
	intent_trusted_keys_free(in.keys);
	intent__close(&in.installs_fd);
	free(in.installs);
	free(in.path);
	sigaction(SIGPIPE, &before, NULL);
	return code;
}
