/* Minisign signatures. The file formats: https://jedisct1.github.io/minisign/#signature-format */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <intent/digest.h>
#include <intent/file.h>

enum {
	KEYS_MAX = 64,
	KEY_FILE_MAX = 64 << 10,
	SIGNATURE_MAX = 16 << 10,
	ID_SIZE = 8, KEY_SIZE = 32, SIG_SIZE = 64,
};

struct key {
	unsigned char id[ID_SIZE], bytes[KEY_SIZE];
};

struct intent_trusted_keys {
	size_t count;
	struct key keys[KEYS_MAX];
};

/* minisign shows an id as a number whose lowest byte is the first in the file. */
static void id_words(const unsigned char id[ID_SIZE], char out[17])
{
	unsigned long long number = 0;

	for (int i = ID_SIZE; i > 0; i--)
		number = number << 8 | id[i - 1];
	snprintf(out, 17, "%llX", number);
}

/* ---- lines ---- */

struct line { const char *at; size_t count; };

/* The next line without its end; false when nothing is left. */
static bool next_line(const char **at, const char *end, struct line *ret)
{
	const char *newline;

	if (*at >= end)
		return false;
	newline = memchr(*at, '\n', (size_t)(end - *at));
	ret->at = *at;
	ret->count = (size_t)((newline ? newline : end) - *at);
	if (ret->count > 0 && ret->at[ret->count - 1] == '\r')
		ret->count--;
	*at = newline ? newline + 1 : end;
	return true;
}

static bool line_starts(const struct line *line, const char *prefix)
{
	return line->count >= strlen(prefix) && memcmp(line->at, prefix, strlen(prefix)) == 0;
}

/* Exactly `count` bytes in base64. */
static bool decode(const struct line *line, unsigned char *out, size_t count)
{
	intent_text_auto struct intent_text bytes = INTENT_TEXT_INIT;
	struct intent_error ignored;

	if (intent_base64_decode(&bytes, line->at, line->count, &ignored) || bytes.failed ||
	    bytes.length != count)
		return false;
	memcpy(out, bytes.data, count);
	return true;
}

/* ---- keys ---- */

static int add_key(struct intent_trusted_keys *keys, const struct line *line, const char *path,
		   struct intent_error *err)
{
	unsigned char raw[2 + ID_SIZE + KEY_SIZE];
	struct key *key;

	if (!decode(line, raw, sizeof(raw)) || memcmp(raw, "Ed", 2) != 0)
		return intent_fail(err, INTENT_EMALFORMED, "%s holds a line that is no minisign public key",
				   path);
	if (keys->count == KEYS_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "more than %d trusted keys", KEYS_MAX);
	key = &keys->keys[keys->count++];
	memcpy(key->id, raw + 2, ID_SIZE);
	memcpy(key->bytes, raw + 2 + ID_SIZE, KEY_SIZE);
	return 0;
}

static int load_file(struct intent_trusted_keys *keys, int dirfd, const char *name, const char *path,
		     struct intent_error *err)
{
	intent_free_auto char *text = NULL;
	size_t count, before = keys->count;
	struct line line;
	const char *at;
	int code = intent_file_read(dirfd, name, KEY_FILE_MAX, &text, &count, err);

	if (code)
		return intent_wrap(err, "trusted keys");
	for (at = text; next_line(&at, text + count, &line);) {
		if (line.count == 0 || line.at[0] == '#' || line_starts(&line, "untrusted comment:"))
			continue;
		if ((code = add_key(keys, &line, path, err)))
			return code;
	}
	if (keys->count == before)
		return intent_fail(err, INTENT_EMALFORMED, "%s holds no minisign public key", path);
	return 0;
}

static int load_directory(struct intent_trusted_keys *keys, const char *path, struct intent_error *err)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int code = 0;

	if (!directory)
		return intent_fail_errno(err, "trusted keys %s", path);
	while (code == 0 && (errno = 0, entry = readdir(directory))) {
		intent_free_auto char *whole = NULL;

		if (entry->d_name[0] == '.' || !intent_ends_with(entry->d_name, ".pub"))
			continue;
		whole = intent_format("%s/%s", path, entry->d_name);
		code = load_file(keys, dirfd(directory), entry->d_name, whole, err);
	}
	if (code == 0 && errno)
		code = intent_fail_errno(err, "trusted keys %s", path);
	closedir(directory);
	if (code == 0 && keys->count == 0)
		return intent_fail(err, INTENT_EMALFORMED, "%s holds no *.pub file", path);
	return code;
}

int intent_trusted_keys_load(const char *path, struct intent_trusted_keys **ret_owned,
			     struct intent_error *err)
{
	struct intent_trusted_keys *keys;
	struct stat st;
	int code;

	if (stat(path, &st) < 0)
		return intent_fail_errno(err, "trusted keys %s", path);
	keys = calloc(1, sizeof(*keys));
	code = S_ISDIR(st.st_mode) ? load_directory(keys, path, err) :
		load_file(keys, AT_FDCWD, path, path, err);
	if (code)
		intent_trusted_keys_free(keys);
	else
		*ret_owned = keys;
	return code;
}

struct intent_trusted_keys *intent_trusted_keys_free(struct intent_trusted_keys *keys)
{
	free(keys);
	return NULL;
}

/* ---- signatures ---- */

struct signature {
	unsigned char id[ID_SIZE];
	/* What the second signature covers: the first one, then the comment. */
	unsigned char covered[SIG_SIZE + SIGNATURE_MAX];
	size_t covered_count;
	unsigned char second[SIG_SIZE];
};

static int parse(const char *text, size_t count, struct signature *ret, struct intent_error *err)
{
	static const char trusted[] = "trusted comment: ";
	unsigned char raw[2 + ID_SIZE + SIG_SIZE];
	struct line lines[4], more;
	const char *at = text;
	size_t comment;

	if (count > SIGNATURE_MAX)
		return intent_fail(err, INTENT_ETOOBIG, "a signature of more than %d bytes", SIGNATURE_MAX);
	for (int i = 0; i < 4; i++)
		if (!next_line(&at, text + count, &lines[i]))
			return intent_fail(err, INTENT_EMALFORMED, "no minisign signature: "
					   "it has %d lines instead of 4", i);
	while (next_line(&at, text + count, &more))
		if (more.count > 0)
			return intent_fail(err, INTENT_EMALFORMED,
					   "no minisign signature: lines follow its fourth");
	if (!line_starts(&lines[0], "untrusted comment: ") || !line_starts(&lines[2], trusted))
		return intent_fail(err, INTENT_EMALFORMED, "no minisign signature: a comment line is missing");
	if (!decode(&lines[1], raw, sizeof(raw)) || !decode(&lines[3], ret->second, SIG_SIZE))
		return intent_fail(err, INTENT_EMALFORMED, "no minisign signature: bad base64 or length");
	if (memcmp(raw, "Ed", 2) == 0)
		return intent_fail(err, INTENT_EREFUSED, "the signature is of minisign's old kind, "
				   "over the whole file; sign again with minisign -S -H");
	if (memcmp(raw, "ED", 2) != 0)
		return intent_fail(err, INTENT_EMALFORMED, "no minisign signature: unknown algorithm");
	comment = lines[2].count - strlen(trusted);
	memcpy(ret->id, raw + 2, ID_SIZE);
	memcpy(ret->covered, raw + 2 + ID_SIZE, SIG_SIZE);
	memcpy(ret->covered + SIG_SIZE, lines[2].at + strlen(trusted), comment);
	ret->covered_count = SIG_SIZE + comment;
	return 0;
}

static bool verify(const struct key *key, const unsigned char signature[SIG_SIZE],
		   const unsigned char *bytes, size_t count)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, KEY_SIZE);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = pkey && context &&
		EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
		EVP_DigestVerify(context, signature, SIG_SIZE, bytes, count) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	return good;
}

int intent_signature_check(const struct intent_trusted_keys *keys, const char *signature, size_t count,
			   const unsigned char blake2b[64], struct intent_error *err)
{
	bool known = false;
	struct signature parsed;
	char words[17];
	int code = parse(signature, count, &parsed, err);

	if (code)
		return code;
	id_words(parsed.id, words);
	/* Ids are no secret and may collide: every key that has it is tried. */
	for (size_t i = 0; i < keys->count; i++) {
		const struct key *key = &keys->keys[i];

		if (memcmp(key->id, parsed.id, ID_SIZE) != 0)
			continue;
		known = true;
		if (verify(key, parsed.covered, blake2b, 64) &&
		    verify(key, parsed.second, parsed.covered, parsed.covered_count))
			return 0;
	}
	if (!known)
		return intent_fail(err, INTENT_EDIGEST, "signed by key %s, which is not among the "
				   "trusted keys", words);
	return intent_fail(err, INTENT_EDIGEST, "the signature by key %s does not fit the file or "
			   "its own comment", words);
}

int intent_signature_describe(const char *signature, size_t count, char ret_key[17],
			      char *comment, size_t room, struct intent_error *err)
{
	struct signature parsed;
	int code = parse(signature, count, &parsed, err);
	size_t length;

	if (code)
		return code;
	length = parsed.covered_count - SIG_SIZE;
	if (length >= room)
		return intent_fail(err, INTENT_ETOOBIG, "a trusted comment of %zu bytes", length);
	if (memchr(parsed.covered + SIG_SIZE, '\0', length))
		return intent_fail(err, INTENT_EMALFORMED, "a trusted comment with a NUL in it");
	id_words(parsed.id, ret_key);
	memcpy(comment, parsed.covered + SIG_SIZE, length);
	comment[length] = '\0';
	return 0;
}
