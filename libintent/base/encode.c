/* Encodings and value forms: base64, hexadecimal, URLs, numbers, durations, times. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <intent/text.h>

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void intent_base64_encode(struct intent_text *out, const void *bytes, size_t count)
{
	const unsigned char *p = bytes;
	char digits[1024];
	size_t length = 0;

	for (; count; p += 3, count -= count < 3 ? count : 3) {
		char *quad = digits + length;
		unsigned word = (unsigned)p[0] << 16 | (count > 1 ? (unsigned)p[1] << 8 : 0) |
				(count > 2 ? p[2] : 0u);

		quad[0] = base64_digits[word >> 18];
		quad[1] = base64_digits[word >> 12 & 63];
		quad[2] = count > 1 ? base64_digits[word >> 6 & 63] : '=';
		quad[3] = count > 2 ? base64_digits[word & 63] : '=';
		length += 4;
		if (length == sizeof(digits) || count <= 3) {
			intent_text_add(out, digits, length);
			length = 0;
		}
	}
}

static int base64_value(char c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;

	return at ? (int)(at - base64_digits) : -1;
}

int intent_base64_decode(struct intent_text *out, const char *string, size_t count,
			 struct intent_error *err)
{
	if (count % 4)
		return intent_fail(err, INTENT_EMALFORMED, "base64: length is not a multiple of four");
	for (size_t i = 0; i < count; i += 4) {
		bool last = i + 4 == count;
		int pad = last && string[i + 3] == '=' ? 1 + (string[i + 2] == '=') : 0;
		unsigned word = 0;
		unsigned char triple[3];

		for (int k = 0; k < 4; k++) {
			int value = k >= 4 - pad ? 0 : base64_value(string[i + (size_t)k]);

			if (value < 0)
				return intent_fail(err, INTENT_EMALFORMED,
						   "base64: bad character at offset %zu", i + (size_t)k);
			word = word << 6 | (unsigned)value;
		}
		triple[0] = (unsigned char)(word >> 16);
		triple[1] = (unsigned char)(word >> 8);
		triple[2] = (unsigned char)word;
		intent_text_add(out, triple, 3 - (size_t)pad);
	}
	if (out->failed)
		return intent_fail(err, INTENT_ETOOBIG, "base64: value is too long");
	return 0;
}

void intent_hex(char *out, const unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		*out++ = "0123456789abcdef"[bytes[i] >> 4];
		*out++ = "0123456789abcdef"[bytes[i] & 15];
	}
	*out = '\0';
}

void intent_url_escape(struct intent_text *out, const char *string, const char *keep)
{
	for (; *string; string++) {
		unsigned char c = (unsigned char)*string;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || strchr("-._~", c) || strchr(keep, c);

		if (plain)
			intent_text_add(out, string, 1);
		else
			intent_text_printf(out, "%%%02X", c);
	}
}

int intent_integer_parse(const char *string, int64_t min, int64_t max,
			 int64_t *ret, struct intent_error *err)
{
	const char *digits = string + (*string == '-');
	char *end;
	long long value;

	errno = 0;
	value = strtoll(string, &end, 10);
	if (*digits < '0' || *digits > '9' || *end || errno || strlen(string) > 20)
		return intent_fail(err, INTENT_EMALFORMED, "'%.40s' is not a whole number", string);
	if (value < min || value > max)
		return intent_fail(err, INTENT_EMALFORMED,
				   "%s is not between %" PRId64 " and %" PRId64, string, min, max);
	*ret = value;
	return 0;
}

static const struct {
	const char *unit;
	int64_t ms;
} units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}, {"", 1000},
};

int intent_duration_parse(const char *string, int64_t *ret_ms, struct intent_error *err)
{
	char number[20];
	size_t digits = strspn(string, "0123456789");
	int64_t value;

	if (!digits || digits >= 16)
		goto bad;
	memcpy(number, string, digits);
	number[digits] = '\0';
	if (intent_integer_parse(number, 0, INT64_MAX / 1000, &value, err) < 0)
		return err->code;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(string + digits, units[i].unit))
			continue;
		if (value > (int64_t)3650 * 86400 * 1000 / units[i].ms)
			return intent_fail(err, INTENT_EMALFORMED, "'%s' is longer than ten years", string);
		*ret_ms = value * units[i].ms;
		return 0;
	}
bad:
	return intent_fail(err, INTENT_EMALFORMED,
			   "'%.40s' is not a duration: write for example 500ms, 10s, 5m, 2h or 1d", string);
}

int intent_size_parse(const char *string, int64_t *ret_bytes, struct intent_error *err)
{
	static const char suffixes[] = "KMGT";
	size_t digits = strspn(string, "0123456789");
	const char *suffix = string[digits] ? strchr(suffixes, string[digits]) : NULL;
	int shift = suffix ? 10 * (int)(suffix - suffixes + 1) : 0;
	char number[20];
	int64_t value;

	if (!digits || digits >= sizeof(number) || (string[digits] && (!suffix || string[digits + 1])))
		return intent_fail(err, INTENT_EMALFORMED,
				   "'%.40s' is not a size: write for example 4096, 64K, 512M or 2G", string);
	memcpy(number, string, digits);
	number[digits] = '\0';
	if (intent_integer_parse(number, 0, INT64_MAX >> shift, &value, err) < 0)
		return err->code;
	*ret_bytes = value << shift;
	return 0;
}

void intent_duration_format(int64_t ms, char out[24])
{
	int64_t seconds = ms / 1000;

	if (ms < 1000)
		snprintf(out, 24, "%" PRId64 "ms", ms);
	else if (ms < 10000)
		snprintf(out, 24, "%" PRId64 ".%" PRId64 "s", seconds, ms % 1000 / 100);
	else if (seconds < 60)
		snprintf(out, 24, "%" PRId64 "s", seconds);
	else if (seconds < 3600)
		snprintf(out, 24, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		snprintf(out, 24, "%" PRId64 "h%02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
	else
		snprintf(out, 24, "%" PRId64 "d%02" PRId64 "h", seconds / 86400, seconds / 3600 % 24);
}

void intent_size_format(uint64_t bytes, char out[24])
{
	static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	int unit = -1;

	while (value >= 1024 && unit < 5) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(out, 24, "%" PRIu64 " B", bytes);
	else
		snprintf(out, 24, "%.1f %s", value, names[unit]);
}

void intent_time_format(int64_t unix_ms, char out[32])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	char date[24];

	if (!gmtime_r(&seconds, &tm) || !strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm))
		snprintf(date, sizeof(date), "1970-01-01T00:00:00");
	snprintf(out, 32, "%s.%03dZ", date, (int)(unix_ms % 1000));
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t intent_time_now(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t intent_time_monotonic(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

/* The zone behind a time: its offset in minutes, and nothing after it. */
static bool parse_zone(const char *zone, int *ret_minutes)
{
	char sign, end;
	int hours, minutes;

	*ret_minutes = 0;
	if (!strcmp(zone, "Z") || !strcmp(zone, "z"))
		return true;
	if (strlen(zone) != 6 || sscanf(zone, "%c%2d:%2d%c", &sign, &hours, &minutes, &end) != 3 ||
	    (sign != '+' && sign != '-') || hours > 23 || minutes > 59 || hours < 0 || minutes < 0)
		return false;
	*ret_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
	return true;
}

int intent_time_parse(const char *string, int64_t *ret_unix_ms, struct intent_error *err)
{
	static const char shape[] = "0000-00-00T00:00:00";
	int offset, ms = 0, scale = 100;
	struct tm tm = {0};
	const char *rest = string;
	bool good = true;

	for (const char *s = shape; *s && good; s++, rest += good)
		good = *s == '0' ? *rest >= '0' && *rest <= '9' : *s == *rest || (*s == 'T' && *rest == 't');
	good = good && sscanf(string, "%4d-%2d-%2d%*c%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			      &tm.tm_hour, &tm.tm_min, &tm.tm_sec) == 6 &&
	       tm.tm_mon >= 1 && tm.tm_mon <= 12 && tm.tm_mday >= 1 && tm.tm_mday <= 31 &&
	       tm.tm_hour < 24 && tm.tm_min < 60 && tm.tm_sec <= 60;
	if (good && *rest == '.')
		for (rest++; *rest >= '0' && *rest <= '9'; rest++, scale /= 10)
			ms += (*rest - '0') * scale;
	if (!good || !parse_zone(rest, &offset))
		return intent_fail(err, INTENT_EMALFORMED,
				   "'%.40s' is not a time: write for example 2026-11-21T18:00:00Z", string);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*ret_unix_ms = ((int64_t)timegm(&tm) - offset * 60) * 1000 + ms;
	return 0;
}
