/*
 * Consul's HTTP interface as text: requests written, answers read. No I/O. Not installed.
 *
 * Measured on 1.8.7 and 1.9.8: an absent key is a 404 with an X-Consul-Index and no body; an
 * empty value is null; Flags go up to 2^64-1; a path with "//" or a component "." or ".." is
 * redirected, whatever is percent-encoded; "set" in a transaction keeps the key's
 * session, "lock" refuses one held by another, "delete" before it in the same
 * transaction frees it; deleting what is not there is fine; no error body has a fixed form.
 */
#ifndef INTENT_CONSUL_WIRE_H
#define INTENT_CONSUL_WIRE_H

#include "remote.h"

#define INTENT__CONSUL_WAIT_MS 300000
#define INTENT__CONSUL_TXN_BYTES (512u << 10) /* a whole transaction's, by default */

/* ---- requests ---- */

/* The part of a key or prefix that Consul's router leaves as it is. */
void intent__consul_safe(const char *key, char out[INTENT_KEY_MAX + 1]);
/*
 * Keys that start with `key` (more than asked for, where that has no safe path). index 0: now;
 * else when something there has changed since, or INTENT__CONSUL_WAIT_MS (and 1/16) have passed.
 */
void intent__consul_list(struct intent__call *call, const char *key, bool consistent, uint64_t index);
/* One key, where its path is safe: else intent__consul_list(). */
void intent__consul_get(struct intent__call *call, const char *key, bool consistent);

/* Which of its operations a transaction's are; `clear` is a bit per operation (of at most 64). */
struct intent__consul_map {
	unsigned char op[3 * INTENT_TXN_MAX];
	size_t count;
};
/*
 * Compares first, whatever their place. A put whose bit is set in `clear` is preceded by a delete: it
 * takes the key from another session.
 */
void intent__consul_txn(struct intent__call *call, struct intent__consul_map *map,
			const struct intent_op *ops, size_t count, uint64_t clear);
/*
 * After a put without session had to leave the key's session in place (its revision then:
 * revisions[i]): delete and set, if nobody has written since; `absent`: if it has gone with that
 * session. For at most 20 of the operations in `which`; those are returned.
 */
uint64_t intent__consul_free(struct intent__call *call, struct intent__consul_map *map,
			     const struct intent_op *ops, size_t count, uint64_t which,
			     const uint64_t *revisions, bool absent);
/* A single put (with a compare, maybe) that is too large for a transaction; false: it is not one. */
bool intent__consul_raw_put(struct intent__call *call, const struct intent_op *ops, size_t count);

void intent__consul_session_create(struct intent__call *call, int64_t ttl_ms);
void intent__consul_session_renew(struct intent__call *call, const char *id);
void intent__consul_session_destroy(struct intent__call *call, const char *id);
bool intent__consul_is_session(const char *id);

/* ---- answers ---- */

/* An answer that is not the one hoped for: the code; *err says why. */
int intent__consul_error(const struct intent_http_response *response, bool writes, struct intent_error *err);
/*
 * What is there of `key` (exactly, or all that start with it); its revision is the index. Refused as
 * INTENT_EUNAVAILABLE: no known leader, a state that is not the leader's, a 404 that is not Consul's.
 */
int intent__consul_read_kv(const struct intent_http_response *response, const char *key, bool exact,
			   struct intent_snapshot **ret_owned, struct intent_error *err);

struct intent__consul_outcome {
	uint64_t revision;
	uint64_t held;     /* failed only because these keys are held by other sessions */
	uint64_t bound;    /* done, but these keys still have a session */
	uint64_t gone;     /* of intent__consul_free(): these have vanished meanwhile */
	uint64_t revisions[INTENT_TXN_MAX];
};
/* 0 (with held == 0: done), INTENT_ECONFLICT naming the first key whose compare failed, ... */
int intent__consul_read_txn(const struct intent_http_response *response, const struct intent__consul_map *map,
			    const struct intent_op *ops, size_t count, bool writes,
			    struct intent__consul_outcome *ret, struct intent_error *err);
int intent__consul_read_raw_put(const struct intent_http_response *response, const struct intent_op *ops,
				size_t count, struct intent_error *err);
int intent__consul_read_session(const struct intent_http_response *response, char **ret_id_owned,
				struct intent_error *err);

/*
 * In place: every whole number above 2^63-1 outside strings becomes 0. Only Flags can be so large,
 * jansson takes none of them, and its way round (all numbers as reals) would spoil indices.
 */
void intent__consul_tame_numbers(char *json, size_t length);

#endif
