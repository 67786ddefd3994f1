#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <intent/digest.h>

struct intent_digest {
	EVP_MD_CTX *context;
};

struct intent_digest *intent_digest_new(enum intent_digest_kind kind)
{
	const EVP_MD *md = kind == INTENT_SHA256 ? EVP_sha256() : kind == INTENT_MD5 ? EVP_md5() : EVP_blake2b512();
	struct intent_digest *digest = calloc(1, sizeof(*digest));

	digest->context = EVP_MD_CTX_new();
	if (!EVP_DigestInit_ex(digest->context, md, NULL))
		return intent_digest_free(digest);
	return digest;
}

void intent_digest_add(struct intent_digest *digest, const void *bytes, size_t count)
{
	EVP_DigestUpdate(digest->context, bytes, count);
}

size_t intent_digest_finish(struct intent_digest *digest, unsigned char out[INTENT_DIGEST_MAX])
{
	unsigned size = 0;

	EVP_DigestFinal_ex(digest->context, out, &size);
	return size;
}

struct intent_digest *intent_digest_free(struct intent_digest *digest)
{
	if (digest) {
		EVP_MD_CTX_free(digest->context);
		free(digest);
	}
	return NULL;
}

void intent_sha256_hex(const void *bytes, size_t count, char out[65])
{
	unsigned char md[INTENT_DIGEST_MAX];
	unsigned size = 0;

	EVP_Digest(bytes, count, md, &size, EVP_sha256(), NULL);
	intent_hex(out, md, 32);
}

void intent_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t count, unsigned char out[32])
{
	unsigned size = 0;

	HMAC(EVP_sha256(), key, (int)key_length, bytes, count, out, &size);
}

void intent_json_digest(const json_t *json, char out[65])
{
	intent_free_auto char *text = intent_json_canonical(json);

	intent_sha256_hex(text ? text : "", text ? strlen(text) : 0, out);
}
