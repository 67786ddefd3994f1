/*
 * The least that can watch a store and render a file: the floor that agents are measured against.
 *
 *	floor etcd://HOST:PORT PREFIX DIRECTORY
 *	floor dir:PATH PREFIX DIRECTORY          (inotify on each directory below PREFIX)
 *
 * user_config.greeting of a document changed at clusters/<app>/... becomes DIRECTORY/<app>/greeting, durably. No
 * locks, no status, no plan, no second look, nothing but this.
 */
#include <curl/curl.h>
#include <errno.h>
#include <ftw.h>
#include <sys/inotify.h>
#include <intent.h>

#define WATCHES_MAX 20000

static const char *out;

static void render(const char *key, const char *value, size_t length)
{
	intent_json_auto json_t *json = NULL;
	struct intent_error err;
	const char *app = strchr(key, '/'), *end = app ? strchr(app + 1, '/') : NULL, *text;
	const char *line = length ? memchr(value, '\n', length) : NULL;

	if (line && intent_starts_with(value, "#intent ")) {
		length -= (size_t)(line + 1 - value);
		value = line + 1;
	}
	if (!end || intent_json_parse(value, length, 0, &json, &err) < 0)
		return;
	text = json_string_value(intent_json_at(json, "/user_config/greeting"));
	if (!text)
		return;
	intent_free_auto char *directory = intent_format("%s/%.*s", out, (int)(end - app - 1), app + 1);
	intent_free_auto char *path = intent_format("%s/greeting", directory);

	if (intent_directory_make(directory, 0755, &err) < 0 ||
	    intent_file_write(path, text, strlen(text), 0644, &err) < 0)
		fprintf(stderr, "floor: %s\n", err.msg);
}

/* ---- etcd ---- */

static void on_event(const json_t *kv)
{
	intent_text_auto struct intent_text key = INTENT_TEXT_INIT, value = INTENT_TEXT_INIT;
	const char *text = intent_json_string(kv, "value", "");
	struct intent_error err;

	if (!intent_base64_decode(&key, intent_json_string(kv, "key", ""), strlen(intent_json_string(kv, "key", "")), &err) &&
	    !intent_base64_decode(&value, text, strlen(text), &err))
		render(intent_text_str(&key), intent_text_str(&value), value.length);
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *data)
{
	struct intent_text *text = data;
	const char *newline;

	intent_text_add(text, bytes, size * count);
	while (text->length && (newline = memchr(text->data, '\n', text->length))) {
		intent_json_auto json_t *message = NULL;
		intent_text_auto struct intent_text rest = INTENT_TEXT_INIT;
		struct intent_error err;
		size_t i;
		json_t *event;

		if (!intent_json_parse(text->data, (size_t)(newline - text->data), 0, &message, &err))
			json_array_foreach(intent_json_at(message, "/result/events"), i, event)
				on_event(json_object_get(event, "kv"));
		intent_text_puts(&rest, newline + 1);
		intent_text_clear(text);
		intent_text_add(text, intent_text_str(&rest), rest.length);
	}
	return size * count;
}

static int watch_etcd(const char *place, const char *prefix)
{
	intent_text_auto struct intent_text text = INTENT_TEXT_INIT, key = INTENT_TEXT_INIT, end = INTENT_TEXT_INIT;
	intent_free_auto char *url = intent_format("http://%s/v3/watch", place), *last = strdup(prefix);
	CURLM *multi = curl_multi_init();
	CURL *easy = curl_easy_init();
	int running = 1;

	last[strlen(last) - 1]++;
	intent_base64_encode(&key, prefix, strlen(prefix));
	intent_base64_encode(&end, last, strlen(last));
	intent_free_auto char *body = intent_format("{\"create_request\":{\"key\":\"%s\",\"range_end\":\"%s\"}}",
						    intent_text_str(&key), intent_text_str(&end));
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &text);
	curl_multi_add_handle(multi, easy);
	while (running) {
		curl_multi_perform(multi, &running);
		curl_multi_poll(multi, NULL, 0, 3600000, NULL);
	}
	return 1;
}

/* ---- a directory ---- */

static char *watched[WATCHES_MAX];
static int notify;

static int add_watch(const char *path, const struct stat *st, int type, struct FTW *at)
{
	int watch;

	(void)st;
	(void)at;
	if (type != FTW_D)
		return 0;
	watch = inotify_add_watch(notify, path, IN_MOVED_TO);
	if (watch >= 0 && watch < WATCHES_MAX)
		watched[watch] = strdup(path);
	return 0;
}

static int watch_directory(const char *root, const char *prefix)
{
	intent_free_auto char *start = intent_format("%s/%s", root, prefix);
	char buffer[16384] __attribute__((aligned(8)));
	ssize_t got;

	notify = inotify_init1(IN_CLOEXEC);
	start[strlen(start) - 1] = '\0';
	nftw(start, add_watch, 16, FTW_PHYS);
	while ((got = read(notify, buffer, sizeof(buffer))) > 0)
		for (char *at = buffer; at < buffer + got;) {
			const struct inotify_event *event = (const struct inotify_event *)(void *)at;
			struct intent_error err;
			intent_free_auto char *path = event->len ? intent_format("%s/%s", watched[event->wd], event->name) : NULL;
			intent_free_auto char *bytes = NULL;
			size_t length;

			at += sizeof(*event) + event->len;
			if (path && !intent_file_read(AT_FDCWD, path, INTENT_VALUE_MAX, &bytes, &length, &err))
				render(path + strlen(root) + 1, bytes, length);
		}
	return 1;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	out = argv[3];
	if (intent_starts_with(argv[1], "etcd://"))
		return watch_etcd(argv[1] + 7, argv[2]);
	return watch_directory(argv[1] + strlen("dir:"), argv[2]);
}
