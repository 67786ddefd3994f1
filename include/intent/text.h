/*
 * Text: a growing buffer with a bound, encodings, and the few value forms
 * (durations, sizes, names) that options and documents share.
 */
#ifndef INTENT_TEXT_H
#define INTENT_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <intent/error.h>

/*
 * A byte buffer that is always terminated by NUL (not counted in length).
 * Zero-initialised is empty. An append that would pass `limit` (0: 64 MiB) sets
 * `failed` and leaves the content alone, so a sequence of appends of unbounded
 * input is checked once at its end.
 */
struct intent_text {
	char *data;      /* owned; NULL while empty */
	size_t length;
	size_t room;
	size_t limit;
	bool failed;
};

#define INTENT_TEXT_INIT {0}
#define intent_text_auto __attribute__((cleanup(intent_text_release)))

void intent_text_release(struct intent_text *text);
void intent_text_clear(struct intent_text *text);      /* empty, memory kept */
void intent_text_add(struct intent_text *text, const void *bytes, size_t count);
void intent_text_puts(struct intent_text *text, const char *string);
void intent_text_printf(struct intent_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The content, never NULL: borrowed until the next change. */
const char *intent_text_str(const struct intent_text *text);
/* The content, owned by the caller (free()); text becomes empty. NULL when failed. */
char *intent_text_steal(struct intent_text *text) __attribute__((warn_unused_result));

/* free() as a scoped cleanup. */
#define intent_free_auto __attribute__((cleanup(intent__free)))
void intent__free(void *pointer);

/* asprintf() that returns what it made; owned, free(). */
char *intent_format(const char *format, ...)
	__attribute__((format(printf, 1, 2), returns_nonnull)) intent_owned(free);

/* Standard base64 with padding (what Consul and etcd take; etcd refuses URL-safe). */
void intent_base64_encode(struct intent_text *out, const void *bytes, size_t count);
/* -> 0, or INTENT_EMALFORMED. Appends to out. */
int intent_base64_decode(struct intent_text *out, const char *string, size_t count,
			 struct intent_error *err);

/* Lower-case hexadecimal; `out` holds 2*count+1. */
void intent_hex(char *out, const unsigned char *bytes, size_t count);

/* Percent-encode all but A-Z a-z 0-9 - . _ ~ and the characters in `keep`. */
void intent_url_escape(struct intent_text *out, const char *string, const char *keep);

/*
 * "500ms", "10s", "5m", "2h", "1d", or a bare number of seconds -> milliseconds.
 * Returns 0 or INTENT_EMALFORMED.
 */
int intent_duration_parse(const char *string, int64_t *ret_ms, struct intent_error *err);
/* "4096", "64K", "512M", "2G", "1T" (powers of 1024) -> bytes. INTENT_EMALFORMED. */
int intent_size_parse(const char *string, int64_t *ret_bytes, struct intent_error *err);
/* Milliseconds as a person says them: "350ms", "1.2s", "3m05s", "2h10m". */
void intent_duration_format(int64_t ms, char out[24]);
/* Bytes as a person says them: "640 B", "12.3 MiB". */
void intent_size_format(uint64_t bytes, char out[24]);

/*
 * Whole decimal number within [min, max]; no sign but '-', no blanks.
 * Returns 0 or INTENT_EMALFORMED.
 */
int intent_integer_parse(const char *string, int64_t min, int64_t max,
			 int64_t *ret, struct intent_error *err);

bool intent_starts_with(const char *string, const char *prefix);
bool intent_ends_with(const char *string, const char *suffix);

/*
 * May this be a node, application, cluster, world or version name, that is,
 * one component of a key and of a path? 1-128 of A-Z a-z 0-9 . _ - + ~ @ : and
 * not starting with '.' or '-'.
 */
bool intent_name_is_valid(const char *name);

/* The known name that a mistyped one probably meant, or NULL. */
const char *intent_nearest_name(const char *name, const char *const *known, size_t count);

/* Valid UTF-8 without control characters? (for what is shown or put in a path) */
bool intent_utf8_is_clean(const char *bytes, size_t count);

/*
 * Make a string that in place: each byte of a control character, and each byte that belongs to no
 * well-formed sequence (one that was cut off, too), becomes '?'.
 */
void intent_utf8_clean(char *string);

/* RFC 3339 in UTC with milliseconds, "2026-01-02T03:04:05.678Z". */
void intent_time_format(int64_t unix_ms, char out[32]);
/* "2026-11-21T18:00:00Z", with a fraction or an offset ("+01:00") if it likes -> Unix ms. INTENT_EMALFORMED. */
int intent_time_parse(const char *string, int64_t *ret_unix_ms, struct intent_error *err);
int64_t intent_time_now(void);        /* wall clock, Unix ms: only to show */
int64_t intent_time_monotonic(void);  /* CLOCK_BOOTTIME ms: all deadlines */

#endif
