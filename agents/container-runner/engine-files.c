/* What goes into a container, and what it said. */
#include "engine.h"

#define READ_MAX (8u << 20)  /* 200 lines of an engine that cuts them at 16 KiB */

/* One regular file in the oldest tar that there is. */
static void add_tar(struct intent_text *tar, const char *name, const char *bytes)
{
	char block[512] = "";
	size_t count = strlen(bytes);
	unsigned sum = 0;

	snprintf(block, 100, "%s", name);
	memcpy(block + 100, "0000444", 8);
	memcpy(block + 108, "0000000", 8);
	memcpy(block + 116, "0000000", 8);
	snprintf(block + 124, 12, "%011o", (unsigned)count);
	memcpy(block + 136, "00000000000", 12);
	memset(block + 148, ' ', 8);
	block[156] = '0';
	memcpy(block + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof block; i++)
		sum += (unsigned char)block[i];
	snprintf(block + 148, 8, "%06o", sum);
	intent_text_add(tar, block, sizeof block);
	intent_text_add(tar, bytes, count);
	memset(block, 0, sizeof block);
	intent_text_add(tar, block, (512 - count % 512) % 512);
	intent_text_add(tar, block, 512);
	intent_text_add(tar, block, 512);
}

int engine__put_file(struct engine *engine, const char *container, const char *path, const char *bytes,
		     struct intent_error *err)
{
	static const char *const headers[] = { "Content-Type: application/x-tar", NULL };
	intent_free_auto char *url = intent_format("%s/containers/%s/archive?path=%%2F", engine->base, container);
	intent_text_auto struct intent_text tar = INTENT_TEXT_INIT;
	struct intent_http_response response = { 0 };

	add_tar(&tar, path + 1, bytes);
	if (tar.failed)
		return intent_fail(err, INTENT_ETOOBIG, "%s is larger than 64 MiB", path);
	struct intent_http_request request = {
		.method = "PUT", .url = url, .headers = headers, .body = tar.data, .body_length = tar.length,
		.timeout_ms = engine->patience_ms, .once = true,
	};
	int code = engine__perform(engine, &request, &response, err);

	intent_http_response_release(&response);
	return code ? intent_wrap(err, "%s in the container", path) : 0;
}

/* Without a terminal each piece has a head of eight bytes: its stream, and how long it is. */
static void add_frames(struct intent_text *out, const char *bytes, size_t count)
{
	while (count > 8 && (unsigned char)*bytes <= 2 && !bytes[1] && !bytes[2] && !bytes[3]) {
		const unsigned char *b = (const unsigned char *)bytes;
		size_t length = (size_t)b[4] << 24 | (size_t)b[5] << 16 | (size_t)b[6] << 8 | b[7];

		if (length > count - 8)
			length = count - 8;
		intent_text_add(out, bytes + 8, length);
		bytes += 8 + length;
		count -= 8 + length;
	}
	intent_text_add(out, bytes, count);
}

int engine__logs(struct engine *engine, const char *container, int lines, struct intent_text *out,
		 struct intent_error *err)
{
	intent_free_auto char *url = intent_format("%s/containers/%s/logs?stdout=1&stderr=1&tail=%d", engine->base,
						   container, lines);
	struct intent_http_response response = { 0 };
	struct intent_http_request request = { .url = url, .timeout_ms = engine->patience_ms, .body_max = READ_MAX };

	int code = engine__perform(engine, &request, &response, err);

	if (!code)
		add_frames(out, intent_text_str(&response.body), response.body.length);
	intent_http_response_release(&response);
	return code;
}
