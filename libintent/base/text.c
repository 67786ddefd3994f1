#include <stdarg.h>
#include <intent/text.h>

#define LIMIT_DEFAULT (64u << 20)

void intent__free(void *pointer)
{
	free(*(void **)pointer);
}

void intent_text_release(struct intent_text *text)
{
	free(text->data);
	*text = (struct intent_text){.limit = text->limit};
}

void intent_text_clear(struct intent_text *text)
{
	text->length = 0;
	text->failed = false;
	if (text->data)
		text->data[0] = '\0';
}

static bool make_room(struct intent_text *text, size_t more)
{
	size_t limit = text->limit ? text->limit : LIMIT_DEFAULT;
	size_t room = text->room ? text->room : 64;

	if (text->failed || more > limit || text->length > limit - more) {
		text->failed = true;
		return false;
	}
	while (room < text->length + more + 1)
		room *= 2;
	if (room > text->room) {
		text->data = realloc(text->data, room);
		text->room = room;
	}
	return true;
}

void intent_text_add(struct intent_text *text, const void *bytes, size_t count)
{
	if (!make_room(text, count))
		return;
	if (count)
		memcpy(text->data + text->length, bytes, count);
	text->length += count;
	text->data[text->length] = '\0';
}

void intent_text_puts(struct intent_text *text, const char *string)
{
	intent_text_add(text, string, strlen(string));
}

void intent_text_printf(struct intent_text *text, const char *format, ...)
{
	va_list ap, again;
	int count;

	va_start(ap, format);
	va_copy(again, ap);
	count = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (count < 0)
		text->failed = true;
	else if (make_room(text, (size_t)count)) {
		vsnprintf(text->data + text->length, (size_t)count + 1, format, again);
		text->length += (size_t)count;
	}
	va_end(again);
}

const char *intent_text_str(const struct intent_text *text)
{
	return text->data ? text->data : "";
}

char *intent_text_steal(struct intent_text *text)
{
	char *data;

	if (!text->data)
		intent_text_add(text, "", 0);
	data = text->failed ? NULL : text->data;
	if (text->failed)
		free(text->data);
	*text = (struct intent_text){.limit = text->limit};
	return data;
}

char *intent_format(const char *format, ...)
{
	char *out;
	va_list ap;

	va_start(ap, format);
	/* Fails only for what printf() cannot count: more than INT_MAX bytes. */
	if (vasprintf(&out, format, ap) < 0)
		abort();
	va_end(ap);
	return out;
}

bool intent_starts_with(const char *string, const char *prefix)
{
	return !strncmp(string, prefix, strlen(prefix));
}

bool intent_ends_with(const char *string, const char *suffix)
{
	size_t length = strlen(string), tail = strlen(suffix);

	return length >= tail && !strcmp(string + length - tail, suffix);
}

bool intent_name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (!length || length > 128 || name[0] == '.' || name[0] == '-')
		return false;
	for (; *name; name++)
		if (!(*name >= 'a' && *name <= 'z') && !(*name >= 'A' && *name <= 'Z') &&
		    !(*name >= '0' && *name <= '9') && !strchr("._-+~@:", *name))
			return false;
	return true;
}

/* Length of the well-formed UTF-8 sequence at p, 0 if there is none. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
	size_t length = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;

	if (!length || length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return length;
}

/* Length of the character at p if it may be shown, else 0. */
static size_t clean_length(const char *bytes, size_t left)
{
	const unsigned char *p = (const unsigned char *)bytes;
	size_t length = utf8_length(p, left);

	if (*p < 0x20 || *p == 0x7f || (length == 2 && *p == 0xc2 && p[1] < 0xa0)) /* C0, DEL, C1 */
		return 0;
	return length;
}

bool intent_utf8_is_clean(const char *bytes, size_t count)
{
	while (count) {
		size_t length = clean_length(bytes, count);

		if (!length)
			return false;
		bytes += length;
		count -= length;
	}
	return true;
}

void intent_utf8_clean(char *string)
{
	size_t left = strlen(string);

	while (left) {
		size_t length = clean_length(string, left);

		if (!length) {
			*string = '?';
			length = 1;
		}
		string += length;
		left -= length;
	}
}

/* Edits between two short names: how far a typo is from what was meant. */
static unsigned name_distance(const char *a, const char *b)
{
	unsigned row[33];
	size_t n = strlen(b);

	if (n > 32 || strlen(a) > 32)
		return 99;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; *a; a++, i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned best = diagonal + (*a != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

const char *intent_nearest_name(const char *name, const char *const *known, size_t count)
{
	const char *nearest = NULL;
	unsigned best = 4;

	for (size_t i = 0; i < count; i++) {
		unsigned distance = name_distance(name, known[i]);

		if (distance < best && distance < strlen(known[i])) {
			best = distance;
			nearest = known[i];
		}
	}
	return nearest;
}
