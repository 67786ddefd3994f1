#include <errno.h>
#include <stdarg.h>
#include <intent/json.h>
#include <intent/log.h>

static struct {
	enum intent_log_level level;
	enum intent_log_format format;
	const char *agent;
} log_setup = {INTENT_INFO, INTENT_LOG_TEXT, "platypus"};

static const char *const level_words[] = {"debug", "info", "warn", "error"};
static const char *const level_marks[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const char *const format_words[] = {"text", "logfmt", "json"};

void intent_log_setup(enum intent_log_level level, enum intent_log_format format, const char *agent)
{
	log_setup.level = level;
	log_setup.format = format;
	log_setup.agent = agent;
}

int intent_log_level_parse(const char *word, enum intent_log_level *ret, struct intent_error *err)
{
	for (int i = 0; i < 4; i++)
		if (!strcmp(word, level_words[i])) {
			*ret = (enum intent_log_level)i;
			return 0;
		}
	return intent_fail(err, INTENT_EUSAGE, "log level '%s' is none of debug, info, warn, error", word);
}

int intent_log_format_parse(const char *word, enum intent_log_format *ret, struct intent_error *err)
{
	for (int i = 0; i < 3; i++)
		if (!strcmp(word, format_words[i])) {
			*ret = (enum intent_log_format)i;
			return 0;
		}
	return intent_fail(err, INTENT_EUSAGE, "log format '%s' is none of text, logfmt, json", word);
}

/* Does the message hold this name as a word of its own? ("web" is not in "web10") */
static bool names(const char *message, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = message; (at = strstr(at, name)); at++)
		if ((at == message || strchr(" /:'\"(", at[-1])) &&
		    (!at[length] || strchr(" /:'\"),;", at[length])))
			return true;
	return false;
}

/* The form of the seed, with the milliseconds always in full so that lines align. */
static void put_text(struct intent_text *line, enum intent_log_level level,
		     const char *slice, const char *message, int64_t now)
{
	time_t seconds = (time_t)(now / 1000);
	struct tm tm;
	char date[32] = "";

	if (localtime_r(&seconds, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	/* A line that names its slice already is not prefixed with it: as the seed's transcript. */
	if (slice && names(message, slice))
		slice = NULL;
	intent_text_printf(line, "%s [%s.%03d] %s%s%s\n", level_marks[level], date,
			   (int)(now % 1000), slice ? slice : "", slice ? ": " : "", message);
}

static void put_logfmt_value(struct intent_text *line, const char *name, const char *value)
{
	bool quote = !*value || strpbrk(value, " \"=\\");

	intent_text_printf(line, " %s=%s", name, quote ? "\"" : "");
	for (; *value; value++) {
		if (quote && (*value == '"' || *value == '\\'))
			intent_text_puts(line, "\\");
		intent_text_add(line, value, 1);
	}
	intent_text_puts(line, quote ? "\"" : "");
}

static void put_structured(struct intent_text *line, enum intent_log_level level,
			   const char *slice, const char *message, int64_t now)
{
	char when[32];

	intent_time_format(now, when);
	if (log_setup.format == INTENT_LOG_LOGFMT) {
		intent_text_printf(line, "time=%s level=%s agent=%s", when, level_words[level], log_setup.agent);
		if (slice)
			put_logfmt_value(line, "slice", slice);
		put_logfmt_value(line, "msg", message);
	} else {
		json_t *row = json_pack("{ss ss ss ss* ss}", "time", when, "level", level_words[level],
					"agent", log_setup.agent, "slice", slice, "msg", message);
		char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;

		intent_text_puts(line, text ? text : "{}");
		free(text);
		json_decref(row);
	}
	intent_text_puts(line, "\n");
}

void intent_log(enum intent_log_level level, const char *slice, const char *format, ...)
{
	intent_text_auto struct intent_text line = {.limit = 8192};
	char message[2048];
	ssize_t written;
	va_list ap;

	if (level < log_setup.level)
		return;
	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	intent_utf8_clean(message);
	if (log_setup.format == INTENT_LOG_TEXT)
		put_text(&line, level, slice, message, intent_time_now());
	else
		put_structured(&line, level, slice, message, intent_time_now());
	/* A log that cannot be written must not stop the work. */
	written = write(STDERR_FILENO, intent_text_str(&line), line.length);
	(void)written;
}

/* Without a time: whoever asked in vain may hold the C library's lock on time zones. And nothing is to be escaped. */
void intent_log_no_memory(size_t bytes)
{
	char line[512], message[128];
	ssize_t written;

	snprintf(message, sizeof(message), "out of memory: %zu bytes could not be had; ended, to be started again", bytes);
	if (log_setup.format == INTENT_LOG_TEXT)
		snprintf(line, sizeof(line), "%s: %s\n", program_invocation_short_name, message);
	else if (log_setup.format == INTENT_LOG_LOGFMT)
		snprintf(line, sizeof(line), "level=error agent=%s msg=\"%s\"\n", log_setup.agent, message);
	else
		snprintf(line, sizeof(line), "{\"level\":\"error\",\"agent\":\"%s\",\"msg\":\"%s\"}\n", log_setup.agent, message);
	written = write(STDERR_FILENO, line, strlen(line));
	(void)written;
}
