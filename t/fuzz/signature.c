/*
 * Any bytes as the text of a signature: nothing is accepted, nothing but the shape is read.
 * seeds: test-data/signatures
 */
#include <fcntl.h>
#include <intent/digest.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct intent_trusted_keys *keys;
	static const unsigned char hash[64];
	char key[17], comment[256], *text = malloc(size + 1);
	struct intent_error err = {0};

	if (!keys) {
		char path[] = "/tmp/platypus-fuzz-key.XXXXXX";
		int fd = mkstemp(path);

		if (fd < 0 || dprintf(fd, "RWSvh7pUfNkh3/45y1wR6zCqW3QkRq6ITME33qp+KwpdtoSF/a4NYjAh\n") < 0 ||
		    intent_trusted_keys_load(path, &keys, &err))
			abort();
		close(fd);
		unlink(path);
	}
	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	if (intent_signature_check(keys, text, size, hash, &err) == 0)
		abort();
	(void)intent_signature_describe(text, size, key, comment, sizeof(comment), &err);
	free(text);
	return 0;
}
