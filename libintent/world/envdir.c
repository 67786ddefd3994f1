/* A directory of variables. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <intent/digest.h>
#include <intent/envdir.h>
#include <intent/file.h>
#include <sys/stat.h>

#define AGAIN_MAX 50  /* readings of a directory that is not left alone */
#define AGAIN_MS 10   /* between two of them, at least */

/* A value as chpst -e has it; new, NULL: it is no text. */
static json_t *value_of(char *bytes, size_t count)
{
	char *end = count ? memchr(bytes, '\n', count) : NULL;
	size_t length = end ? (size_t)(end - bytes) : count;

	if (!count)
		return json_null();
	while (length && strchr(" \t", bytes[length - 1]) && bytes[length - 1])
		length--;
	for (size_t i = 0; i < length; i++)
		if (!bytes[i])
			bytes[i] = '\n';
	return json_stringn(bytes, length);
}

static int read_one(int directory, const char *name, json_t *variables, size_t *total, struct intent_error *err)
{
	intent_free_auto char *bytes = NULL;
	json_t *value;
	size_t count;

	if (strchr(name, '=') || !intent_utf8_is_clean(name, strlen(name)))
		return intent_fail(err, INTENT_EMALFORMED, "%s: no variable can have this name; remove the file", name);
	if (intent_file_read(directory, name, INTENT_ENVDIR_VALUE_MAX, &bytes, &count, err) < 0)
		return err->code;
	*total += count + strlen(name) + 2;
	if (*total > INTENT_ENVDIR_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "more than %u bytes of variables", INTENT_ENVDIR_MAX);
	value = value_of(bytes, count);
	explicit_bzero(bytes, count);
	if (!value)
		return intent_fail(err, INTENT_EMALFORMED, "%s: its first line is no UTF-8 text", name);
	json_object_set_new(variables, name, value);
	return 0;
}

static int64_t ms_of(const struct timespec *time)
{
	return time->tv_sec * INT64_C(1000) + time->tv_nsec / 1000000;
}

/* When the directory, or one of these files of it, was changed last; -1: at `path` is another one, or none. */
static int64_t changed_at(const char *path, int directory, const json_t *variables)
{
	struct stat seen, there;
	int64_t latest;
	const char *name;
	json_t *value;

	if (fstat(directory, &seen) || stat(path, &there) || seen.st_ino != there.st_ino || seen.st_dev != there.st_dev)
		return -1;
	latest = ms_of(&seen.st_mtim);
	json_object_foreach((json_t *)(uintptr_t)variables, name, value)
		if (!fstatat(directory, name, &there, 0) && ms_of(&there.st_mtim) > latest)
			latest = ms_of(&there.st_mtim);
	return latest;
}

/* How long until it has been left alone for `rest_ms`; 0: it has, and nothing moved since `before`. */
static int64_t until_rest(const char *path, int directory, int64_t before, const json_t *variables, int64_t rest_ms)
{
	int64_t after = changed_at(path, directory, NULL), age;

	if (after < 0 || after != before)
		return AGAIN_MS;
	age = intent_time_now() - changed_at(path, directory, variables);
	/* A change in the future is a clock's, and not waited for. */
	return age < 0 || age >= rest_ms ? 0 : rest_ms - age;
}

/* One reading, which counts if *ret_wait_ms is 0. */
static int read_all(const char *path, json_t *variables, int64_t rest_ms, int64_t *ret_wait_ms,
		    struct intent_error *err)
{
	DIR *listing = opendir(path);
	struct dirent *entry;
	size_t total = 0;
	int64_t before;
	int code = 0;

	*ret_wait_ms = 0;
	if (!listing && errno == ENOENT)
		return intent_fail(err, INTENT_EENVIRONMENT, "%s: the directory of the service's variables is not there; "
				   "it comes from an injection with this sink, or make it", path);
	if (!listing)
		return intent_fail_errno(err, "%s: cannot read", path);
	before = changed_at(path, dirfd(listing), NULL);
	while (!code && (errno = 0, entry = readdir(listing)))
		if (*entry->d_name != '.')
			code = read_one(dirfd(listing), entry->d_name, variables, &total, err);
	if (!code && errno)
		code = intent_fail_errno(err, "cannot read");
	*ret_wait_ms = until_rest(path, dirfd(listing), before, variables, rest_ms);
	closedir(listing);
	return code ? intent_wrap(err, "%s", path) : 0;
}

int intent_envdir_read(const char *path, int64_t rest_ms, json_t **ret_new, struct intent_error *err)
{
	for (int i = 0; i < AGAIN_MAX; i++) {
		intent_json_auto json_t *variables = json_object();
		int64_t wait_ms;
		int code = read_all(path, variables, rest_ms, &wait_ms, err);

		if (!wait_ms && !code)
			*ret_new = json_incref(variables);
		if (!wait_ms)
			return code;
		usleep((useconds_t)(wait_ms > AGAIN_MS ? wait_ms : AGAIN_MS) * 1000);
	}
	return intent_fail(err, INTENT_EENVIRONMENT,
			   "%s: is changed all the time; it is read when it has been left alone", path);
}

void intent_envdir_digest(const json_t *variables, const unsigned char key[32], char ret[33])
{
	intent_free_auto char *canonical = intent_json_canonical(variables);
	unsigned char digest[32];

	intent_hmac_sha256(key, 32, canonical ? canonical : "", canonical ? strlen(canonical) : 0, digest);
	intent_hex(ret, digest, 16);
}
