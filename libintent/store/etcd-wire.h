/*
 * The etcd v3 JSON gateway as text: requests written, answers read. No I/O. Not installed.
 *
 * What the gateway does (measured on 3.4.23): keys and values in standard base64,
 * 64-bit numbers as strings, members that are zero left out (no "succeeded": false, no
 * "kvs": none, no "type": PUT, no "TTL" of a kept lease: it is gone, with status 200);
 * misspelt members are ignored, hence one encoder here. Errors come in two shapes:
 * {"error": "...", "code": 14} and, in a stream, {"error": {"grpc_code": 14, "message": "..."}}.
 */
#ifndef INTENT_ETCD_WIRE_H
#define INTENT_ETCD_WIRE_H

#include "remote.h"

#define INTENT__ETCD_PAGE 512

/* From an answer's header. */
struct intent__etcd_header {
	char cluster[24]; /* "" when it has none */
	uint64_t revision;
};

/* ---- requests; `api` is "v3", "v3beta" ... ---- */

void intent__etcd_version(struct intent__call *call);
/* "3.4.23" answers to v3, 3.3 to v3beta, 3.2 to v3alpha; static. INTENT_EMALFORMED: not etcd. */
int intent__etcd_api(const struct intent_http_response *response, const char **ret_api,
		     struct intent_error *err);
void intent__etcd_authenticate(struct intent__call *call, const char *api, const char *user,
			       const char *password);

struct intent__etcd_range {
	const char *key;
	bool exact;           /* else all keys that start with it; "" is the whole store */
	const char *after;    /* NULL or the last key of the page before: any bytes */
	size_t after_length;
	uint64_t revision;    /* 0: now, linearizable */
	bool serializable;    /* this member's own state: only for a revision it has shown */
	bool only_look;       /* one key without its value: what matters is the header */
	unsigned limit;       /* 0: none */
};
void intent__etcd_range(struct intent__call *call, const char *api, const struct intent__etcd_range *range);
/* A session that is not a lease's number: INTENT_EABSENT. */
int intent__etcd_txn(struct intent__call *call, const char *api, const struct intent_op *ops, size_t count,
		     struct intent_error *err);
void intent__etcd_grant(struct intent__call *call, const char *api, int64_t ttl_ms);
void intent__etcd_keepalive(struct intent__call *call, const char *api, const char *lease);
void intent__etcd_revoke(struct intent__call *call, const char *api, const char *lease);
/* One create_request; several make up the body of one stream, watch_id counting from 0. */
void intent__etcd_create_watch(struct intent_text *body, const char *prefix, uint64_t start_revision);
bool intent__etcd_is_lease(const char *id);

/* ---- answers ---- */

enum intent__etcd_fate {
	INTENT__ETCD_FINE,
	INTENT__ETCD_AUTHENTICATE, /* the token is old */
	INTENT__ETCD_PROBE,        /* no such path: another version answers here now */
	INTENT__ETCD_COMPACTED,    /* that revision is gone */
	INTENT__ETCD_TOO_LARGE,    /* the answer would be: ask for less */
	INTENT__ETCD_ELSEWHERE,    /* nothing was done here; another endpoint may */
	INTENT__ETCD_FAILED,
};
/* *ret_root is the new document when fine, else *err is filled. `writes`: as in the call. */
enum intent__etcd_fate intent__etcd_reply(const struct intent_http_response *response, bool writes,
					  json_t **ret_new, struct intent_error *err);
/* The same of an error document, in either shape. */
enum intent__etcd_fate intent__etcd_error(const json_t *root, int status, bool writes,
					  struct intent_error *err);
void intent__etcd_header(const json_t *root, struct intent__etcd_header *ret);
/* Adds what is there to `into`; *ret_more: there is another page. */
int intent__etcd_read_range(const json_t *root, struct intent_snapshot *into, bool *ret_more,
			    struct intent_error *err);
/* 0, or INTENT_ECONFLICT naming the first key whose compare failed. */
int intent__etcd_read_txn(const json_t *root, const struct intent_op *ops, size_t count,
			  struct intent_error *err);
int intent__etcd_read_grant(const json_t *root, char **ret_id_owned, struct intent_error *err);
/* INTENT_EABSENT when the lease is gone. */
int intent__etcd_read_keepalive(const json_t *root, const char *lease, struct intent_error *err);

/* ---- the watch's stream ---- */

struct intent__etcd_message {
	struct intent__etcd_header header;
	uint64_t watch;
	bool created, canceled;
	uint64_t compacted;       /* with canceled */
	const char *reason;       /* of canceled; borrowed from the line's document */
	const json_t *events;     /* borrowed; NULL for none */
};
/* One line. An error document: *ret_fate tells, *err is filled and the result negative. */
int intent__etcd_read_message(const char *line, size_t length, json_t **ret_new,
			      struct intent__etcd_message *ret, enum intent__etcd_fate *ret_fate,
			      struct intent_error *err);
/* The content after these events: a new snapshot, old one untouched. */
int intent__etcd_apply(const struct intent_snapshot *old, const json_t *events,
		       struct intent_snapshot **ret_owned, struct intent_error *err);

/* Bytes to lines, however they were cut. */
struct intent__lines {
	struct intent_text rest;
	size_t limit;
};
/* on_line's non-zero result ends it and is returned; a line over the limit is INTENT_ETOOBIG. */
int intent__lines_feed(struct intent__lines *lines, const char *bytes, size_t count,
		       int (*on_line)(const char *line, size_t length, void *data), void *data);
void intent__lines_release(struct intent__lines *lines);

/* Printable ASCII of 1-512 bytes? Other keys in a shared store are not ours to see. */
bool intent__key_is_ours(const char *key, size_t length);

#endif
