/*
 * From a write to the store until its consequence is seen, in milliseconds on standard output.
 *
 *	stopwatch activate STORE FIRST COUNT PORT VERSION OTHER
 *		the applications app<FIRST>... get this active version, in one transaction, until each
 *		service answers with it on PORT, PORT+1, ...
 *	stopwatch answers COUNT PORT VERSION
 *		only until they answer
 *	stopwatch render STORE KEY VALUE FILE TEXT
 *		until FILE holds TEXT
 *
 * and from a source that changed:
 *
 *	stopwatch injected NEW SOURCE LOG TEXT FILE...
 *		NEW takes the place of SOURCE; from the moment that LOG says that it was asked for, until each FILE
 *		holds TEXT
 *	stopwatch fetched URL TEXT FILE...
 *		how long it takes to fetch it once and write those files
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <intent.h>

#define PATIENCE_MS 60000
#define COUNT_MAX 64

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static bool answers(unsigned port, const char *version)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				      .sin_port = htons((uint16_t)port)};
	intent_close_auto int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = 1};
	char text[512] = "";
	const char *body;
	size_t length = 0;
	ssize_t got;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL) < 0)
		return false;
	while (length < sizeof(text) - 1 && (got = recv(fd, text + length, sizeof(text) - 1 - length, 0)) > 0)
		length += (size_t)got;
	body = strstr(text, "\r\n\r\n");
	return body && !strncmp(body + 4, version, strlen(version)) && body[4 + strlen(version)] == '\n';
}

static int await_answers(int count, unsigned port, const char *version, double since)
{
	/* Often enough to be exact, seldom enough to leave the processors to those who are timed. */
	useconds_t pause = count > 1 ? 2000 : 300;
	bool done[COUNT_MAX] = {false};

	for (int left = count; now() - since < PATIENCE_MS; usleep(pause)) {
		for (int i = 0; i < count; i++)
			if (!done[i] && answers(port + (unsigned)i, version)) {
				done[i] = true;
				left--;
			}
		if (!left) {
			printf("%.3f\n", now() - since);
			return 0;
		}
	}
	fprintf(stderr, "stopwatch: no answer %s within %d s\n", version, PATIENCE_MS / 1000);
	return 1;
}

static int fail(const struct intent_error *err)
{
	fprintf(stderr, "stopwatch: %s\n", err->msg);
	return 1;
}

static int activate(struct intent_store *store, int first, int count, unsigned port, const char *version,
		    const char *other)
{
	struct intent_op ops[COUNT_MAX] = {{0}};
	char keys[COUNT_MAX][64], value[256];
	struct intent_error err;
	double since;

	snprintf(value, sizeof(value), "{\"versions\":{\"%s\":\"active\",\"%s\":\"prep\"}}", version, other);
	for (int i = 0; i < count; i++) {
		snprintf(keys[i], sizeof(keys[i]), "clusters/app%d/c/config", first + i);
		ops[i] = (struct intent_op){.kind = INTENT_OP_PUT, .key = keys[i], .value = value, .length = strlen(value)};
	}
	since = now();
	if (intent_store_txn(store, ops, (size_t)count, NULL, &err) < 0)
		return fail(&err);
	return await_answers(count, port, version, since);
}

static int render(struct intent_store *store, char **argv)
{
	const char *key = argv[0], *value = argv[1], *path = argv[2], *text = argv[3];
	struct intent_error err;
	double since = now();

	if (intent_store_put(store, key, value, strlen(value), &err) < 0)
		return fail(&err);
	for (; now() - since < PATIENCE_MS; usleep(100)) {
		intent_free_auto char *found = NULL;
		size_t length;

		if (!intent_file_read(AT_FDCWD, path, 1000, &found, &length, &err) && !strcmp(found, text)) {
			printf("%.3f\n", now() - since);
			return 0;
		}
	}
	fprintf(stderr, "stopwatch: %s never said %s\n", path, text);
	return 1;
}

static bool holds(const char *path, const char *text)
{
	intent_free_auto char *found = NULL;
	struct intent_error err;
	size_t length;

	return !intent_file_read(AT_FDCWD, path, 1000, &found, &length, &err) && strstr(found, text);
}

static int64_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -1 : st.st_size;
}

static int injected(const char *new, const char *source, const char *log, const char *text, char **files)
{
	int64_t size = size_of(log);
	double begun = now(), since;

	if (rename(new, source) < 0)
		return 1;
	while (size_of(log) == size && now() - begun < PATIENCE_MS)
		usleep(200);
	for (since = now(); *files && now() - begun < PATIENCE_MS; usleep(1000))
		while (*files && holds(*files, text))
			files++;
	if (*files) {
		fprintf(stderr, "stopwatch: %s never said %s\n", *files, text);
		return 1;
	}
	printf("%.3f\n", now() - since);
	return 0;
}

static int fetched(const char *url, const char *text, char **files)
{
	const struct intent_http_settings plain = {0};
	struct intent_http_request request = {.url = url};
	struct intent_http_response response = {0};
	struct intent_http *http;
	struct intent_error err;
	double since = now();
	int code;

	http = intent_http_new(&plain);
	code = intent_http_perform(http, &request, &response, NULL, &err);
	for (; !code && *files; files++)
		code = intent_file_write(*files, text, strlen(text), 0600, &err);
	printf("%.3f\n", now() - since);
	intent_http_response_release(&response);
	intent_http_free(http);
	return code ? fail(&err) : 0;
}

static int number(const char *text, int max)
{
	int64_t value;
	struct intent_error err;

	if (intent_integer_parse(text, 0, max, &value, &err) == 0)
		return (int)value;
	fprintf(stderr, "stopwatch: %s: %s\n", text, err.msg);
	exit(2);
}

int main(int argc, char **argv)
{
	struct intent_store *store = NULL;
	struct intent_error err;
	int result = 2;

	if (argc == 5 && !strcmp(argv[1], "answers"))
		return await_answers(number(argv[2], COUNT_MAX), (unsigned)number(argv[3], 65535), argv[4], now());
	if (argc > 6 && !strcmp(argv[1], "injected"))
		return injected(argv[2], argv[3], argv[4], argv[5], argv + 6);
	if (argc > 4 && !strcmp(argv[1], "fetched"))
		return fetched(argv[2], argv[3], argv + 4);
	if (argc < 3 || intent_store_open(argv[2], NULL, &store, &err) < 0)
		return argc < 3 ? 2 : fail(&err);
	if (argc == 8 && !strcmp(argv[1], "activate"))
		result = activate(store, number(argv[3], 10000), number(argv[4], COUNT_MAX),
				  (unsigned)number(argv[5], 65535), argv[6], argv[7]);
	else if (argc == 7 && !strcmp(argv[1], "render"))
		result = render(store, argv + 3);
	intent_store_close(store);
	return result;
}
