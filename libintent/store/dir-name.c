/*
 * Keys as paths. Each component of a key is one name:
 *
 *	letters, digits and - . _ ~ + @ : , =   as they are
 *	anything else, a leading '.', a trailing '~'   %XX
 *	an empty component                      %
 *	more than 200 bytes                     pieces, each but the last a directory "...%"
 *
 * so that hidden files, editors' backups (slug~) and leftovers are nobody's key.
 */
#include <ctype.h>

#include "dir.h"

#define PIECE_MAX 200

static bool is_plain(const char *at, bool first, bool last)
{
	if (*at == '.')
		return !first;
	if (*at == '~')
		return !last;
	return isalnum((unsigned char)*at) || strchr("-_+@:,=", *at);
}

static char *encode_component(const char *component, size_t count, char *out)
{
	static const char digits[] = "0123456789ABCDEF";
	char *piece = out;

	if (!count)
		*out++ = '%';
	for (size_t i = 0; i < count; i++) {
		const char *at = component + i;
		bool plain;

		if (out - piece + 3 > PIECE_MAX) {
			*out++ = '%';
			*out++ = '/';
			piece = out;
		}
		plain = is_plain(at, out == piece, i + 1 == count);
		if (plain) {
			*out++ = *at;
		} else {
			*out++ = '%';
			*out++ = digits[(unsigned char)*at >> 4];
			*out++ = digits[*at & 15];
		}
	}
	return out;
}

void intent__dir_path(const char *key, char out[INTENT__DIR_PATH_MAX])
{
	for (;;) {
		size_t count = strcspn(key, "/");

		out = encode_component(key, count, out);
		key += count;
		if (!*key)
			break;
		*out++ = '/';
		key++;
	}
	*out = 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int intent__dir_decode(const char *name, char *out, size_t room, bool *ret_continues)
{
	size_t length = strlen(name), used = 0;
	bool continues = length > 1 && name[length - 1] == '%';

	if (strcmp(name, "%") == 0)
		length = 0;
	for (size_t i = 0; i < length - continues; i++) {
		int c = (unsigned char)name[i];

		if (c == '%') {
			if (i + 2 >= length || hex_digit(name[i + 1]) < 0 ||
			    hex_digit(name[i + 2]) < 0)
				return -1;
			c = hex_digit(name[i + 1]) * 16 + hex_digit(name[i + 2]);
			i += 2;
		}
		if (c < 0x20 || c > 0x7e || c == '/' || used >= room)
			return -1;
		out[used++] = (char)c;
	}
	*ret_continues = continues;
	return (int)used;
}
