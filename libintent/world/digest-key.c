/* A secret key, kept in a file. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <intent/digest.h>
#include <intent/file.h>

#define KEY_BYTES 32

static int read_key(const char *path, unsigned char ret[KEY_BYTES], struct intent_error *err)
{
	intent_free_auto char *bytes = NULL;
	size_t count;

	if (intent_file_read(AT_FDCWD, path, 4096, &bytes, &count, err) < 0)
		return err->code;
	/* One that people made, or that several machines share, may be any secret text. */
	if (count < KEY_BYTES)
		return intent_fail(err, INTENT_EMALFORMED, "%s: a key has %d bytes or more, this has %zu; remove it, and a "
				   "new one is made", path, KEY_BYTES, count);
	intent_hmac_sha256("digest key", 10, bytes, count, ret);
	explicit_bzero(bytes, count);
	return 0;
}

int intent_digest_key(const char *path, bool create, unsigned char ret[KEY_BYTES], struct intent_error *err)
{
	unsigned char fresh[KEY_BYTES];
	char text[2 * KEY_BYTES + 2];
	intent_free_auto char *lock_path = intent_format("%s.lock", path);
	intent_close_auto int lock = -1;

	int code = read_key(path, ret, err);
	if (code != INTENT_EABSENT)
		return code;
	if (getrandom(fresh, sizeof(fresh), 0) != sizeof(fresh))
		return intent_fail_errno(err, "random numbers");
	intent_hex(text, fresh, sizeof(fresh));
	intent_hmac_sha256("digest key", 10, text, 2 * KEY_BYTES, ret);
	if (!create)
		return 0;
	/* Two that begin at once must not each have their own. */
	if (intent_file_lock(lock_path, LOCK_EX, true, &lock, err) < 0)
		return err->code;
	code = read_key(path, ret, err);
	if (code != INTENT_EABSENT)
		return code;
	intent_hmac_sha256("digest key", 10, text, 2 * KEY_BYTES, ret);
	return intent_file_write(path, text, 2 * KEY_BYTES, 0600, err);
}
