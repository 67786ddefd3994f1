/*
 * The log: one line an event, on standard error, in one write(2).
 *
 * Only programs and the runner log; library code returns errors. The human
 * format is that of the seed:
 *
 *	INFO  [2014-08-31 02:42:58.076] slug: Symlinking
 *
 * `logfmt` and `json` carry time (RFC 3339, UTC), level, agent, slice, msg.
 */
#ifndef INTENT_LOG_H
#define INTENT_LOG_H

#include <stddef.h>
#include <intent/error.h>

enum intent_log_level { INTENT_DEBUG, INTENT_INFO, INTENT_WARN, INTENT_ERROR };
enum intent_log_format { INTENT_LOG_TEXT, INTENT_LOG_LOGFMT, INTENT_LOG_JSON };

/* What a process logs with; set once at start. `agent` is borrowed for ever. */
void intent_log_setup(enum intent_log_level level, enum intent_log_format format,
		      const char *agent);

/* -> 0 or INTENT_EUSAGE; the words are debug|info|warn|error, text|logfmt|json. */
int intent_log_level_parse(const char *word, enum intent_log_level *ret, struct intent_error *err);
int intent_log_format_parse(const char *word, enum intent_log_format *ret, struct intent_error *err);

/* `slice` may be NULL; what is not clean UTF-8 in the message becomes '?'. */
void intent_log(enum intent_log_level level, const char *slice, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The last line of a process that found no memory for so many bytes; needs none itself. */
void intent_log_no_memory(size_t bytes);

#endif
