/* What people see: words, JSON, columns and colours. */
#include <pwd.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <intent/file.h>
#include "ppctl.h"

/* Control characters from the store must not reach a terminal: they could drive it. */
static size_t harmless(const char *p, char out[8])
{
	unsigned char c = (unsigned char)*p;
	size_t length = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

	for (size_t i = 1; i < length; i++)
		if (((unsigned char)p[i] & 0xc0) != 0x80)
			length = 1;
	bool control = c < 0x20 || c == 0x7f || (length == 1 && c >= 0x80) ||
		(c == 0xc2 && (unsigned char)p[1] < 0xa0);
	if (control)
		snprintf(out, 8, "?");
	else
		snprintf(out, 8, "%.*s", (int)length, p);
	return length;
}

const char *ppctl_program = "ppctl";

/* A line that a person can type bears the name he knows it by; a manual's or a file's name stays. */
char *ppctl_as_called(const char *text)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	const char *from = text, *found = strcmp(ppctl_program, "ppctl") ? text : NULL;

	while (found && (found = strstr(found, "ppctl"))) {
		bool begins = found == text || strchr(" \"'`(\n", found[-1]), ends = strchr(" :\"'", found[5]);

		if (begins && ends) {
			intent_text_add(&out, from, (size_t)(found - from));
			intent_text_puts(&out, ppctl_program);
			from = found + 5;
		}
		found += 5;
	}
	intent_text_puts(&out, from);
	return out.length ? intent_text_steal(&out) : strdup("");
}

char *ppctl_person(void)
{
	const char *sudo = getenv("SUDO_USER"), *user = sudo && *sudo ? sudo : getenv("USER");
	struct passwd *entry = user && *user ? NULL : getpwuid(getuid());
	char host[256] = "";

	if (gethostname(host, sizeof(host) - 1))
		*host = 0;
	return intent_format("%s@%s", user && *user ? user : entry ? entry->pw_name : "somebody",
			     *host ? host : "?");
}

void ppctl_say(const char *format, ...)
{
	char given[2048], one[8];
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	intent_free_auto char *line = NULL;
	va_list ap;

	va_start(ap, format);
	vsnprintf(given, sizeof(given), format, ap);
	va_end(ap);
	line = ppctl_as_called(given);
	for (const char *p = line ? line : given; *p;) {
		p += harmless(p, one);
		intent_text_puts(&out, one);
	}
	intent_text_puts(&out, "\n");
	fflush(stdout);
	fputs(intent_text_str(&out), stderr);
}

void ppctl_print(const char *string)
{
	fputs(string, stdout);
	fputc('\n', stdout);
}

void ppctl_print_json(const json_t *json, bool one_line)
{
	intent_free_auto char *text =
		one_line ? intent_json_canonical(json) : intent_json_pretty(json);
	if (!text)
		return;
	fputs(text, stdout);
	if (!intent_ends_with(text, "\n"))
		fputc('\n', stdout);
}

int ppctl_flush(struct intent_error *err)
{
	if (fflush(stdout) || ferror(stdout))
		return intent_fail_errno(err, "standard output");
	return 0;
}

static struct winsize window(void)
{
	struct winsize size = {0};
	if (!isatty(STDOUT_FILENO))
		return size;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col)
		size.ws_col = 80;
	if (!size.ws_row)
		size.ws_row = 24;
	return size;
}

int ppctl_columns(void)
{
	return window().ws_col;
}

int ppctl_lines(void)
{
	return window().ws_row;
}

bool ppctl_colored(void)
{
	const char *never = getenv("NO_COLOR"), *term = getenv("TERM");
	return isatty(STDOUT_FILENO) && !(never && *never) && term && strcmp(term, "dumb");
}

size_t ppctl_width(const char *string)
{
	char one[8];
	size_t width = 0;
	for (const char *p = string; *p; width++)
		p += harmless(p, one);
	return width;
}

static const char *const styles[] = {
	[PPCTL_BOLD] = "1",   [PPCTL_DIM] = "2",   [PPCTL_GREEN] = "32", [PPCTL_YELLOW] = "33",
	[PPCTL_RED] = "31;1", [PPCTL_CYAN] = "36", [PPCTL_PLAIN] = NULL,
	[PPCTL_BLUE] = "34",  [PPCTL_MAGENTA] = "35",
};

void ppctl_add(struct intent_text *out, const char *string, enum ppctl_style style, size_t width,
	       size_t fill)
{
	char one[8];
	size_t whole = ppctl_width(string), at = 0;
	bool cut = width && whole > width, color = styles[style] && *string && ppctl_colored();

	if (color)
		intent_text_printf(out, "\033[%sm", styles[style]);
	for (const char *p = string; *p && at < (cut ? width - 1 : whole); at++) {
		p += harmless(p, one);
		intent_text_puts(out, one);
	}
	if (cut) {
		intent_text_puts(out, "…");
		at++;
	}
	if (color)
		intent_text_puts(out, "\033[0m");
	for (; at < fill; at++)
		intent_text_puts(out, " ");
}

/* How many bytes of `text` fit into `width` columns, broken at a blank where there is one. */
static size_t fitting(const char *text, size_t width)
{
	size_t bytes = 0, blank = 0, at = 0;
	for (; text[bytes] && at < width; at++) {
		if (text[bytes] == ' ')
			blank = bytes;
		bytes++;
		while (((unsigned char)text[bytes] & 0xc0) == 0x80)
			bytes++;
	}
	return text[bytes] && blank ? blank : bytes;
}

int ppctl_add_wrapped(struct intent_text *out, const char *text, enum ppctl_style style,
		      size_t indent, size_t columns)
{
	int lines = 0;
	do {
		size_t bytes =
			columns > indent + 8 ? fitting(text, columns - indent - 1) : strlen(text);
		intent_free_auto char *part = strndup(text, bytes);
		intent_text_printf(out, "%s%*s", lines++ ? "\n" : "", (int)indent, "");
		ppctl_add(out, part, style, 0, 0);
		text += bytes + strspn(text + bytes, " ");
	} while (*text);
	return lines;
}

void ppctl_redraw(int *height, const char *text)
{
	intent_text_auto struct intent_text out = INTENT_TEXT_INIT;
	int room = ppctl_lines() - 1, lines = 0;

	/* Synchronized output where the terminal knows it; home of the old frame. */
	intent_text_puts(&out, "\033[?2026h");
	if (*height)
		intent_text_printf(&out, "\033[%dA", *height);
	intent_text_puts(&out, "\r");
	for (const char *p = text; *p && lines < room; lines++) {
		size_t length = strcspn(p, "\n");
		intent_text_add(&out, p, length);
		intent_text_puts(&out, "\033[0m\033[K\n");
		p += length + (p[length] == '\n');
	}
	intent_text_puts(&out, "\033[J\033[?2026l");
	fflush(stdout);
	*height = intent_write_all(STDOUT_FILENO, intent_text_str(&out), out.length) ? 0 : lines;
}
