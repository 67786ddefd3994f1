/* A directory of variables. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <intent/digest.h>
#include <intent/envdir.h>
#include <intent/file.h>

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

int intent_envdir_read(const char *path, json_t **ret_new, struct intent_error *err)
{
	intent_json_auto json_t *variables = json_object();
	DIR *listing = opendir(path);
	struct dirent *entry;
	size_t total = 0;
	int code = 0;

	if (!listing && errno == ENOENT)
		return intent_fail(err, INTENT_EENVIRONMENT, "%s: the directory of the service's variables is not there; "
				   "it comes from an injection with this sink, or make it", path);
	if (!listing)
		return intent_fail_errno(err, "%s: cannot read", path);
	while (!code && (errno = 0, entry = readdir(listing)))
		if (*entry->d_name != '.')
			code = read_one(dirfd(listing), entry->d_name, variables, &total, err);
	if (!code && errno)
		code = intent_fail_errno(err, "cannot read");
	closedir(listing);
	if (code)
		return intent_wrap(err, "%s", path);
	*ret_new = json_incref(variables);
	return 0;
}

void intent_envdir_digest(const json_t *variables, const unsigned char key[32], char ret[33])
{
	intent_free_auto char *canonical = intent_json_canonical(variables);
	unsigned char digest[32];

	intent_hmac_sha256(key, 32, canonical ? canonical : "", canonical ? strlen(canonical) : 0, digest);
	intent_hex(ret, digest, 16);
}
