/*
 * JSON documents: bounded reading, one canonical form, checking by table.
 *
 * jansson's json_t is the currency between all parts. Pointers are *new* (the
 * caller owns a reference), *borrowed* (until the named thing goes) or *stolen*
 * (taken over, also on failure).
 */
#ifndef INTENT_JSON_H
#define INTENT_JSON_H

#include <jansson.h>
#include <intent/text.h>

#define intent_json_auto __attribute__((cleanup(intent__json_decref)))
void intent__json_decref(json_t **json);

#define INTENT_JSON_MAX_BYTES (8u << 20)  /* a document or reply from outside */
#define INTENT_JSON_MAX_DEPTH 64

/*
 * Parse one document; duplicate members, trailing bytes, more than `max_bytes`
 * (0: INTENT_JSON_MAX_BYTES) and deeper than INTENT_JSON_MAX_DEPTH are
 * INTENT_EMALFORMED / INTENT_ETOOBIG, with line and column. Any JSON value is
 * taken at the top.
 */
int intent_json_parse(const char *bytes, size_t count, size_t max_bytes,
		      json_t **ret_new, struct intent_error *err);

/*
 * The canonical form: members sorted by byte, no white space, plain UTF-8, "/"
 * not escaped. Owned (free()); NULL only for NULL.
 */
char *intent_json_canonical(const json_t *json) intent_owned(free);

/* Indented for people, members in canonical order. Owned. */
char *intent_json_pretty(const json_t *json) intent_owned(free);

/* Member lookups that never fail: NULL json, wrong type or absence give the default. */
const char *intent_json_string(const json_t *object, const char *name, const char *otherwise);
int64_t intent_json_integer(const json_t *object, const char *name, int64_t otherwise);
bool intent_json_boolean(const json_t *object, const char *name, bool otherwise);
/* A duration of a document, "30s" or whole seconds, in ms. */
int64_t intent_json_duration(const json_t *object, const char *name, int64_t otherwise_ms);

/* RFC 6901 pointer; borrowed, NULL when absent. "" is the document itself. */
json_t *intent_json_at(const json_t *json, const char *pointer);

/* RFC 7396: target changed in place by patch (borrowed). */
void intent_json_merge(json_t *target, const json_t *patch);

/* ---- checking by table ---- */

enum intent_json_type {
	INTENT_JSON_ANY,
	INTENT_JSON_STRING,
	INTENT_JSON_INTEGER,
	INTENT_JSON_BOOLEAN,
	INTENT_JSON_DURATION, /* "10s" or a number of seconds */
	INTENT_JSON_OBJECT,   /* members by `members` */
	INTENT_JSON_MAP,      /* any member names; each value by `members[0]` */
	INTENT_JSON_ARRAY,    /* each item by `members[0]` */
	INTENT_JSON_ONE_OF,   /* by the row of `members` whose type fits the value's */
};

enum {
	INTENT_JSON_REQUIRED = 1,
	INTENT_JSON_OPEN = 2,   /* OBJECT: unknown members are not a fault */
	INTENT_JSON_NULLABLE = 4,
};

/*
 * One row a member; a table ends with a row whose name is NULL. For the item
 * rows of MAP, ARRAY and ONE_OF the name is only a placeholder.
 */
struct intent_json_field {
	const char *name;
	enum intent_json_type type;
	unsigned flags;
	/* INTEGER: range. STRING: length. ARRAY, MAP: count. Both 0: unbounded
	 * (but for the bound on the whole document). */
	int64_t min, max;
	/* STRING values and MAP member names: NULL or why it will not do (static). */
	const char *(*check)(const char *string);
	/* What holds between several members: NULL or why it will not do (static).
	 * Called for OBJECT, MAP and ARRAY rows after their members. */
	const char *(*whole)(const json_t *json);
	const struct intent_json_field *members;
	const char *help;  /* for the manual and ppctl; one sentence */
};

/*
 * All faults of a document at once, one a line:
 *	/ports/1: must be between 1 and 65535
 * Returns 0, or INTENT_EMALFORMED with the first fault in *err (and how many
 * more) and all of them appended to `faults` (may be NULL). `strict` makes unknown
 * members faults, naming the nearest known one.
 */
int intent_json_check(const json_t *json, const struct intent_json_field *row, bool strict,
		      struct intent_text *faults, struct intent_error *err);

/* Checks that fit `check`. */
const char *intent_check_name(const char *string);      /* intent_name_is_valid */
const char *intent_check_absolute(const char *string);  /* absolute path, no "..", no control characters */
const char *intent_check_sha256(const char *string);    /* 64 lower- or upper-case hex digits */

#endif
