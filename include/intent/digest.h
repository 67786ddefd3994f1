/*
 * Digests (libcrypto behind; no type of it shows here).
 */
#ifndef INTENT_DIGEST_H
#define INTENT_DIGEST_H

#include <intent/json.h>

struct intent_digest; /* a running digest */

/* MD5 only where a format has it: it proves nothing. */
enum intent_digest_kind { INTENT_SHA256, INTENT_BLAKE2B_512, INTENT_MD5 };
#define INTENT_DIGEST_MAX 64

/* NULL where OpenSSL has no such digest: in FIPS mode only SHA-256 is left. */
struct intent_digest *intent_digest_new(enum intent_digest_kind kind);
void intent_digest_add(struct intent_digest *digest, const void *bytes, size_t count);
/* Writes the digest and returns its size in bytes; the digest is spent. */
size_t intent_digest_finish(struct intent_digest *digest, unsigned char out[INTENT_DIGEST_MAX]);
struct intent_digest *intent_digest_free(struct intent_digest *digest); /* takes NULL, returns NULL */

/* SHA-256 of a string of bytes as 64 hex digits. */
void intent_sha256_hex(const void *bytes, size_t count, char out[65]);

/* HMAC-SHA-256 (RFC 2104). */
void intent_hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t count, unsigned char out[32]);

/*
 * The secret key of a directory's digests: 32 random bytes in file `path`, mode 0600, made when it is not there. Without
 * `create` and without the file it is a random one, for this process.
 */
int intent_digest_key(const char *path, bool create, unsigned char ret[32], struct intent_error *err);

/* SHA-256 of a document's canonical form as 64 hex digits: its identity. */
void intent_json_digest(const json_t *json, char out[65]);

/*
 * Minisign (https://jedisct1.github.io/minisign/): Ed25519 over the BLAKE2b-512
 * of the file ("ED", the default since 0.10) and over signature + trusted comment.
 * Signatures of the whole file ("Ed", minisign -l) cannot be checked in constant
 * memory and are refused, saying so.
 */
struct intent_trusted_keys; /* public keys with their 8-byte ids */

/*
 * Reads every key of a file or of each *.pub in a directory. An unreadable or
 * malformed key is an error: trust is never narrowed silently.
 */
int intent_trusted_keys_load(const char *path, struct intent_trusted_keys **ret_owned,
			     struct intent_error *err);
struct intent_trusted_keys *intent_trusted_keys_free(struct intent_trusted_keys *keys);

/*
 * Does `signature` (the text of a .minisig file) by one of the keys fit a file
 * with this BLAKE2b-512? Returns 0 or INTENT_EDIGEST (unknown key, bad signature),
 * INTENT_EMALFORMED, INTENT_EREFUSED (the old kind).
 */
int intent_signature_check(const struct intent_trusted_keys *keys,
			   const char *signature, size_t count,
			   const unsigned char blake2b[64], struct intent_error *err);

/*
 * Who signed, and the trusted comment. Only worth something after intent_signature_check().
 * The key's id is written as minisign shows it.
 */
int intent_signature_describe(const char *signature, size_t count, char ret_key[17],
			      char *comment, size_t room, struct intent_error *err);

#endif
